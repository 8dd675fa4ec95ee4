/**
 * What this library needs from the fiber that runs its code: the time by the fiber's clock, and a span if the app has a
 * tracer. The module knows nothing of sessions.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"

/** The fiber that runs the code. @internal */
export type Running = Fiber.RuntimeFiber<unknown, unknown>

/**
 * The time by the clock of a running fiber, in milliseconds since the epoch, without a step of the runtime.
 *
 * @internal
 */
export const nowOf = (fiber: Running): number =>
  Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock).unsafeCurrentTimeMillis()

const untraced = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * Runs a store call in a span, if the app has a tracer of its own. Nobody sees the spans of Effect's default tracer,
 * and they would make every call slower.
 *
 * @internal
 */
export const traced = <A, E, R>(name: string, id: string, call: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) =>
    Context.get(fiber.getFiberRef(DefaultServices.currentServices), Tracer.Tracer) === untraced
      ? call
      : Effect.withSpan(call, name, { attributes: { "session.id": id }, captureStackTrace: false })
  )
