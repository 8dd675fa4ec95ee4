/**
 * A queue for each key: what is run under the same key runs one at a time, in order, within this process. It is how a
 * backend that can't compare and set keeps the Store's contract against its own process at least.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** How long a write that nobody waits for any more keeps its turn: its client may never answer. */
const longestHold = Duration.minutes(1)

/**
 * A write that can't be called back. Interrupted, it is let go when it is over: it may still land, and what comes behind
 * it in the queue must not be overwritten by it.
 *
 * @internal
 */
export const untilOver = <A, E>(write: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(write), (fiber) =>
      Effect.onInterrupt(
        restore(Fiber.join(fiber)),
        // in a fiber of its own, for this one is interrupted wherever it may be
        () =>
          Effect.flatMap(
            Effect.forkDaemon(Effect.interruptible(Effect.timeoutOption(Fiber.await(fiber), longestHold))),
            Fiber.await
          )
      ))
  )

interface Lane {
  readonly semaphore: Effect.Semaphore
  waiting: number
}

/** @internal */
export interface Queue {
  /** Runs an effect when no other holds any of the keys. */
  readonly run: <A, E, R>(keys: ReadonlyArray<string>, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** How many keys are held or waited for. */
  readonly size: () => number
}

/** @internal */
export const make = (): Queue => {
  const lanes = new Map<string, Lane>()

  const enter = (key: string) => (): Lane => {
    const lane = lanes.get(key) ?? { semaphore: Effect.unsafeMakeSemaphore(1), waiting: 0 }
    lane.waiting++
    lanes.set(key, lane)
    return lane
  }

  const leave = (key: string) => (lane: Lane): Effect.Effect<void> =>
    Effect.sync(() => {
      lane.waiting--
      if (lane.waiting === 0) {
        lanes.delete(key)
      }
    })

  const under = <A, E, R>(effect: Effect.Effect<A, E, R>, key: string): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(Effect.sync(enter(key)), (lane) => lane.semaphore.withPermits(1)(effect), leave(key))

  return {
    // always taken in the same order, so that two that want the same keys can't wait for each other
    run: (keys, effect) => [...new Set(keys)].sort().reduceRight(under, effect),
    size: () => lanes.size
  }
}
