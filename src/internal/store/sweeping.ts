/**
 * The daemon that deletes what has ended: in bounded batches, with other work between them, and asleep until something is
 * due where the backend can tell.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as metrics from "../runtime/metrics.js"

/** How often a sweep runs where the backend can't tell when something is due. @internal */
export const interval: Duration.Duration = Duration.minutes(1)

/** How long something has ended before it is deleted: other clocks may be behind by this much. @internal */
export const grace = 60_000

/** @internal */
export interface Options {
  readonly sweepInterval?: Duration.DurationInput | undefined
  readonly sweepBatch?: number | undefined
  /** Waits until the next sweep is worth its while. Default: the interval. */
  readonly untilDue?: Effect.Effect<void> | undefined
}

const runtime = globalThis as unknown as { readonly setImmediate?: (run: () => void) => unknown }

/**
 * Lets whatever waits in the event loop have its turn (S68). A yield to other fibers alone would hold it, and so would a
 * timer on Node, which runs those that fell due meanwhile before it looks for requests again.
 */
const turn: Effect.Effect<void> = Effect.async((resume) => {
  const run = () => resume(Effect.void)
  if (runtime.setImmediate === undefined) {
    setTimeout(run, 0)
  } else {
    runtime.setImmediate(run)
  }
})

/**
 * Runs a sweep in the scope whenever something is due: batch after batch, other work between them, until one comes back
 * short. A failed sweep is logged and counted and tried again the next time (S68).
 *
 * @internal
 */
export const sweeping = (
  name: string,
  sweep: (limit: number, now: number) => Effect.Effect<number, unknown>,
  options?: Options
): Effect.Effect<void, never, Scope.Scope> => {
  const limit = options?.sweepBatch ?? 500
  const batches: Effect.Effect<void, unknown> = Effect.flatMap(
    Effect.flatMap(Clock.currentTimeMillis, (now) => sweep(limit, now)),
    (count) => count < limit ? Effect.void : Effect.zipRight(turn, batches)
  )
  return (options?.untilDue ?? Effect.sleep(options?.sweepInterval ?? interval)).pipe(
    Effect.zipRight(batches),
    Effect.catchAllCause((cause) =>
      Effect.zipRight(metrics.storeFailed(`${name}.sweep`), Effect.logWarning(`${name}: sweep failed`, cause))
    ),
    Effect.forever,
    Effect.interruptible,
    Effect.forkScoped,
    Effect.asVoid
  )
}
