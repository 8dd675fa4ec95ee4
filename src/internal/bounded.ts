/**
 * Store calls in a fiber of their own: started at once, so that a store that answers synchronously costs neither a
 * suspension nor a timer, and bounded in time once they suspend. Interrupting who waits does not interrupt the call.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Store from "../Store.js"

/** @internal */
export type Caller = Fiber.RuntimeFiber<unknown, unknown>

/** What a store call failed of: its defect is a failure like any other, whose meaning is the policy's to say. @internal */
export const failureOf = <E>(cause: Cause.Cause<E>, method: string): E | Store.StoreError =>
  Option.getOrElse(
    Cause.failureOption(cause),
    () => new Store.StoreError({ reason: "Unavailable", method, cause: Cause.squash(cause) })
  )

/**
 * Turns what a store call does wrong into its error: a defect, an interruption that it makes of itself, or a throw before
 * there is an effect at all.
 *
 * @internal
 */
export const contained = <A, E>(
  method: string,
  call: () => Effect.Effect<A, E>
): Effect.Effect<A, E | Store.StoreError> => {
  try {
    const effect = call()
    return Exit.isExit(effect) && Exit.isSuccess(effect)
      ? effect
      : Effect.catchAllCause(effect, (cause) => Effect.fail(failureOf(cause, method)))
  } catch (defect) {
    return Effect.fail(failureOf(Cause.die(defect), method))
  }
}

/** Those of any fiber but for the runtime's own metrics, which cost more than the call of a store in memory. */
const runtimeFlags = RuntimeFlags.disable(Runtime.defaultRuntimeFlags, RuntimeFlags.RuntimeMetrics)

/** @internal */
export const start = <A, E>(
  caller: Caller,
  call: Effect.Effect<A, E>,
  timeout: number,
  method: string,
  reason: () => "Contention" | "Timeout" = () => "Timeout"
): Fiber.RuntimeFiber<A, E | Store.StoreError> => {
  const fork = Runtime.runFork(Runtime.make({
    context: caller.currentContext,
    fiberRefs: caller.getFiberRefs(),
    runtimeFlags
  }))
  const fiber = fork(call)
  if (fiber.unsafePoll() !== null) {
    return fiber
  }
  return fork(
    Effect.flatMap(
      Effect.timeoutOption(Fiber.await(fiber), timeout),
      (exit): Effect.Effect<A, E | Store.StoreError> =>
        Option.isSome(exit)
          ? exit.value
          : Effect.zipRight(
            Fiber.interruptFork(fiber),
            Effect.suspend(() => Effect.fail(new Store.StoreError({ reason: reason(), method })))
          )
    )
  )
}

/** The outcome of a started call, at once where there is one. @internal */
export const outcome = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): Effect.Effect<A, E> => {
  const exit = fiber.unsafePoll()
  return exit !== null ? exit : Effect.flatMap(Fiber.await(fiber), (exit) => exit)
}

/** @internal */
export const isDone = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean => fiber.unsafePoll() !== null
