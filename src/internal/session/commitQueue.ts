/**
 * Commits that rest on one token go one after another within this process, and each tells the next what it left: so N
 * writers cost about N store calls, where N conflicting ones would cost N squared.
 */
import * as Effect from "effect/Effect"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Store } from "../../Store.js"
import * as KeyedMutex from "../runtime/keyedMutex.js"

/** @internal */
export interface CommitQueue {
  /** Whether a commit of this key is under way, so that another one has to wait for its turn. */
  readonly isBusy: (key: string) => boolean
  /** Takes a key that is free. The answer gives it back, and says what the commit left. */
  readonly take: (key: string) => (left: SessionRecord | undefined) => void
  /**
   * Runs a commit when its turn has come. It is told what the one ahead left, if it had to wait for one, and answers what
   * it leaves itself by `leave`.
   */
  readonly run: <A, E>(
    key: string,
    commit: (ahead: SessionRecord | undefined, leave: (record: SessionRecord) => void) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E>
}

const make = (): CommitQueue => {
  const mutex = KeyedMutex.make()
  const left = new Map<string, SessionRecord>()
  const tidy = (key: string): void => {
    if (!mutex.isHeld(key)) {
      left.delete(key)
    }
  }
  return {
    isBusy: mutex.isHeld,
    take: (key) => {
      const release = mutex.take(key)
      return (record) => {
        if (record !== undefined) {
          left.set(key, record)
        }
        release()
        tidy(key)
      }
    },
    run: (key, commit) =>
      Effect.ensuring(
        mutex.run([key], () => commit(left.get(key), (record) => left.set(key, record))),
        Effect.sync(() => tidy(key))
      )
  }
}

/** A queue belongs to a store: two stores may give their sessions the same tokens. */
const queues = new WeakMap<Store, CommitQueue>()

/** @internal */
export const queueOf = (store: Store): CommitQueue => {
  const known = queues.get(store)
  if (known !== undefined) {
    return known
  }
  const made = make()
  queues.set(store, made)
  return made
}
