/**
 * What this library needs from the fiber that runs its code: the time by the fiber's clock, and whether the app has a
 * tracer. The module knows nothing of sessions.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"

/** The fiber that runs the code. @internal */
export type Running = Fiber.RuntimeFiber<unknown, unknown>

/**
 * The time by the clock of a running fiber, in milliseconds since the epoch, without a step of the runtime.
 *
 * @internal
 */
export const nowOf = (fiber: Running): number => clockOf(fiber).unsafeCurrentTimeMillis()

/** The clock of a running fiber. @internal */
export const clockOf = (fiber: Running): Clock.Clock =>
  Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock)

/** The runtime's own clock. @internal */
export const liveClock: Clock.Clock = Context.get(DefaultServices.liveServices, Clock.Clock)

const untraced = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * Whether the app has a tracer of its own. Nobody sees the spans of Effect's default tracer, and they would make every
 * call slower.
 *
 * @internal
 */
export const isTraced = (fiber: Running): boolean =>
  Context.get(fiber.getFiberRef(DefaultServices.currentServices), Tracer.Tracer) !== untraced
