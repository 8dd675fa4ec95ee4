/**
 * Commits of one session in one process go one after another, and each tells the next what it left: so N writers cost
 * about N store calls, where N conflicting ones would cost N squared.
 */
import * as Effect from "effect/Effect"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Store } from "../../Store.js"

/** @internal */
export interface Lane {
  /** What the commit ahead left. */
  landed: { readonly record: SessionRecord } | undefined
}

interface Open extends Lane {
  /** Those who wait for their turn. Made when the first has to. */
  turns: Effect.Semaphore | undefined
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
    const lane = open.get(key)
    if (lane !== undefined) {
      return behind(open, key, lane, commit)
    }
    const made: Open = { turns: undefined, landed: undefined, users: 1 }
    open.set(key, made)
    return Effect.onExit(commit(made), () => {
      leave(open, key, made)
      return made.turns === undefined ? Effect.void : made.turns.release(1)
    })
  })

const behind = <A, E>(
  open: Map<unknown, Open>,
  key: unknown,
  lane: Open,
  commit: (lane: Lane) => Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  // the one ahead holds the only turn, and releases it when it is done
  const turns = lane.turns ??= Effect.unsafeMakeSemaphore(0)
  lane.users += 1
  return Effect.ensuring(
    turns.withPermits(1)(Effect.suspend(() => commit(lane))),
    Effect.sync(() => leave(open, key, lane))
  )
}

const leave = (open: Map<unknown, Open>, key: unknown, lane: Open): void => {
  lane.users -= 1
  if (lane.users === 0) {
    open.delete(key)
  }
}
