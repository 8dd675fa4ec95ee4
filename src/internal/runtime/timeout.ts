/**
 * Store calls in a fiber of their own: started at once, so that a store that answers synchronously costs neither a
 * suspension nor a timer, and bounded in time once they suspend. Interrupting who waits does not interrupt the call.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Store from "../../Store.js"

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

/** A call that was started: its outcome, as soon as there is one. @internal */
export class Started<A, E> {
  private waiting: Array<(exit: Exit.Exit<A, E>) => void> = []

  constructor(public exit: Exit.Exit<A, E> | undefined) {}

  /** The first outcome counts. */
  settle(exit: Exit.Exit<A, E>): void {
    if (this.exit === undefined) {
      this.exit = exit
      this.waiting.forEach((tell) => tell(exit))
      this.waiting = []
    }
  }

  /** Told at once where the outcome is there, and in the order of asking otherwise. */
  whenDone(tell: (exit: Exit.Exit<A, E>) => void): void {
    if (this.exit === undefined) {
      this.waiting.push(tell)
    } else {
      tell(this.exit)
    }
  }
}

/**
 * Starts a call. Its time is kept by a second fiber, which costs less than a race of the two: `Effect.timeout` makes
 * three.
 *
 * @internal
 */
export const start = <A, E>(
  caller: Caller,
  call: Effect.Effect<A, E>,
  timeout: number,
  method: string,
  reason: () => "Contention" | "Timeout" = () => "Timeout"
): Started<A, E | Store.StoreError> => {
  const fork = Runtime.runFork(Runtime.make({
    context: caller.currentContext,
    fiberRefs: caller.getFiberRefs(),
    runtimeFlags
  }))
  const fiber = fork(call)
  const started = new Started<A, E | Store.StoreError>(fiber.unsafePoll() ?? undefined)
  if (started.exit !== undefined) {
    return started
  }
  // failed by the runtime, which puts its own copy in the place of an error that knows no span yet
  const late = Effect.suspend(() => Effect.fail(new Store.StoreError({ reason: reason(), method })))
  const timer = fork(Effect.map(Effect.zipRight(Effect.sleep(timeout), Effect.exit(late)), (exit) => {
    started.settle(exit)
    fiber.unsafeInterruptAsFork(caller.id())
  }))
  fiber.addObserver((exit) => {
    timer.unsafeInterruptAsFork(caller.id())
    started.settle(exit)
  })
  return started
}

/** The outcome of a started call, at once where there is one. @internal */
export const outcome = <A, E>(started: Started<A, E>): Effect.Effect<A, E> =>
  started.exit ?? Effect.async((resume) => started.whenDone(resume))
