/**
 * The turn of the event loop, for work that would hold it for long.
 */
import * as Effect from "effect/Effect"

const runtime = globalThis as unknown as { readonly setImmediate?: (run: () => void) => unknown }

/**
 * Lets the event loop handle waiting requests (S68). Yielding to other fibers alone would block the loop. So would a
 * timer on Node, which runs all due timers before it looks for requests again.
 *
 * @internal
 */
export const yieldToEventLoop: Effect.Effect<void> = Effect.async((resume) => {
  const run = () => resume(Effect.void)
  if (runtime.setImmediate === undefined) {
    setTimeout(run, 0)
  } else {
    runtime.setImmediate(run)
  }
})
