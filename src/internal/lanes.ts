/**
 * Commits of one session in one process go one after another, and each tells the next what it left: so N writers cost
 * about N store calls, where N conflicting ones would cost N squared.
 */
import * as Effect from "effect/Effect"
import type { SessionRecord } from "../SessionRecord.js"
import type { Store } from "../Store.js"

/** @internal */
export interface Lane {
  /** What the commit ahead left. */
  landed: { readonly record: SessionRecord } | undefined
}

interface Open extends Lane {
  readonly turns: Effect.Semaphore
  /** The commits that are under way or wait. */
  users: number
}

const lanes = new WeakMap<Store, Map<unknown, Open>>()

const lanesOf = (store: Store): Map<unknown, Open> => {
  const known = lanes.get(store)
  if (known !== undefined) {
    return known
  }
  const made = new Map<unknown, Open>()
  lanes.set(store, made)
  return made
}

/** Runs a commit when those of the same key that came before it are done. @internal */
export const inTurn = <A, E>(
  store: Store,
  key: unknown,
  commit: (lane: Lane) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const open = lanesOf(store)
    const lane: Open = open.get(key) ?? { turns: Effect.unsafeMakeSemaphore(1), landed: undefined, users: 0 }
    if (lane.users === 0) {
      open.set(key, lane)
    }
    lane.users += 1
    return Effect.ensuring(
      lane.turns.withPermits(1)(Effect.suspend(() => commit(lane))),
      Effect.sync(() => {
        lane.users -= 1
        if (lane.users === 0) {
          open.delete(key)
        }
      })
    )
  })
