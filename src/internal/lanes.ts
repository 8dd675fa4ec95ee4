/**
 * Commits of one session in one process go one after another, and each tells the next what it left: so N writers cost
 * about N store calls, where N conflicting ones would cost N squared. A session nobody else commits pays a map lookup.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { SessionRecord } from "../SessionRecord.js"
import type { Store } from "../Store.js"

/** @internal */
export interface Lane {
  tail: Fiber.RuntimeFiber<unknown, unknown> | undefined
  /** What the commit ahead left. */
  landed: { readonly record: SessionRecord } | undefined
}

const lanes = new WeakMap<Store, Map<unknown, Lane>>()

const lanesOf = (store: Store): Map<unknown, Lane> => {
  const known = lanes.get(store)
  if (known !== undefined) {
    return known
  }
  const made = new Map<unknown, Lane>()
  lanes.set(store, made)
  return made
}

/** Starts a commit, behind the last one of the same key if that is under way. @internal */
export const enqueue = <A, E, E2>(
  store: Store,
  key: unknown,
  commit: (lane: Lane) => Effect.Effect<A, E>,
  start: (call: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E2>
): Fiber.RuntimeFiber<A, E2> => {
  const open = lanesOf(store)
  const lane = open.get(key) ?? { tail: undefined, landed: undefined }
  const run = Effect.suspend(() => commit(lane))
  const fiber = start(lane.tail === undefined ? run : Effect.zipRight(Fiber.await(lane.tail), run))
  if (fiber.unsafePoll() === null) {
    lane.tail = fiber
    open.set(key, lane)
    fiber.addObserver(() => {
      if (lane.tail === fiber) {
        open.delete(key)
      }
    })
  }
  return fiber
}
