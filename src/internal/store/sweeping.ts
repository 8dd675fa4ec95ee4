/**
 * The daemon that deletes ended sessions: in limited batches, with other work between them. It sleeps until something
 * is due, if the backend knows when that is. The module knows nothing of how a backend deletes.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { yieldToEventLoop } from "../runtime/eventLoop.js"
import { emitting } from "../sessionEvents/emit.js"

/** How long the sweep waits between two runs if the backend does not know when something is due. @internal */
export const interval: Duration.Duration = Duration.minutes(1)

/** How long after its end a session is deleted, in milliseconds: other clocks may be behind by this much. @internal */
export const grace = 60_000

/** @internal */
export interface Options {
  readonly sweepInterval?: Duration.DurationInput | undefined
  readonly sweepBatch?: number | undefined
  /** Waits until something is due. Default: waits for the interval. */
  readonly untilDue?: Effect.Effect<void> | undefined
}

/**
 * Runs sweeps until the scope closes. A sweep runs batch after batch, with other work between them, until a batch
 * deletes less than its limit. A failed sweep is logged and counted, and the next one tries again (S68).
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
    (count) => count < limit ? Effect.void : Effect.zipRight(yieldToEventLoop, batches)
  )
  return (options?.untilDue ?? Effect.sleep(options?.sweepInterval ?? interval)).pipe(
    Effect.zipRight(batches),
    Effect.catchAllCause((cause) =>
      emitting(
        { _tag: "StoreFailed", method: `${name}.sweep`, reason: "Unavailable" },
        Effect.logWarning(`${name}: The sweep of ended sessions failed. The next sweep tries again.`, cause)
      )
    ),
    Effect.forever,
    Effect.interruptible,
    Effect.forkScoped,
    Effect.asVoid
  )
}
