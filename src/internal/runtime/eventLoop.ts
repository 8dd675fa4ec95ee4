/**
 * Turns of the event loop, on runtimes with and without `setImmediate`.
 */
import * as Effect from "effect/Effect"

const runtime = globalThis as unknown as { readonly setImmediate?: (run: () => void) => unknown }

/**
 * Lets everything that waits for I/O go on, by one turn of the event loop. Yielding to other fibers alone would block the
 * loop. So would a timer on Node, which runs all due timers before it looks for requests again.
 *
 * @internal
 */
export const nextTurn: Effect.Effect<void> = Effect.async((resume) => {
  const run = () => resume(Effect.void)
  if (runtime.setImmediate === undefined) {
    setTimeout(run, 0)
  } else {
    runtime.setImmediate(run)
  }
})
