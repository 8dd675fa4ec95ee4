/**
 * How the middleware calls a store: whatever a call does wrong is a `StoreError`, and every failure is reported once.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Store from "../../Store.js"
import { logOnce } from "../http/respondable.js"
import type { Running } from "../runtime/caller.js"
import { clockOf } from "../runtime/caller.js"
import { afterExit, andThen } from "../runtime/exit.js"
import * as metrics from "../runtime/metrics.js"
import { emitting, namedIn } from "./events.js"
import type { SessionState } from "./state.js"

const failureOf = <E>(cause: Cause.Cause<E>, method: string): E | Store.StoreError =>
  Option.getOrElse(
    Cause.failureOption(cause),
    () => new Store.StoreError({ reason: "Unavailable", method, cause: Cause.squash(cause) })
  )

/**
 * Calls a store. A defect, an interruption of its own making, or a throw before there is an effect at all fails like a
 * backend that is down. A success that is there at once stays an `Exit`.
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
      : afterExit(effect, (exit) => Exit.isSuccess(exit) ? exit : Effect.fail(failureOf(exit.cause, method)))
  } catch (defect) {
    return Effect.fail(Store.isStoreError(defect) ? defect : failureOf(Cause.die(defect), method))
  }
}

/** An operation of a store, as metrics name it. @internal */
export type Method = "load" | "create" | "update" | "renew" | "touch" | "remove"

/**
 * Records how long a store took to answer and what it answered, unless it answered at once: such an answer took next to
 * no time, and to record it costs a read in memory 3 to 10 % of its processor time, and a write 1 to 12 % (in process,
 * medians of 220 rounds side by side in each of four processes, on a busy machine).
 *
 * @internal
 */
export const timed = <A extends { readonly _tag: string } | void, E>(
  caller: Running,
  method: Method,
  call: Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  if (Exit.isExit(call)) {
    return call
  }
  // Nothing is asked yet: the effect says how to.
  const clock = clockOf(caller)
  const began = clock.unsafeCurrentTimeNanos()
  return afterExit(call, (exit) => {
    metrics.storeCalled(caller, method, outcomeOf(exit), Number(clock.unsafeCurrentTimeNanos() - began) / 1e9)
    return exit
  })
}

const outcomeOf = (exit: Exit.Exit<{ readonly _tag: string } | void, unknown>): string =>
  Exit.isFailure(exit) ? "failed" : exit.value === undefined ? "removed" : exit.value._tag.toLowerCase()

/** Records a store call that was given up after so many milliseconds. @internal */
export const gaveUp = (caller: Running, method: Method, limit: number): void =>
  metrics.storeCalled(caller, method, "late", limit / 1000)

/** A call that took longer than the policy allows. @internal */
export const late = (method: string, reason: "Contention" | "Timeout" = "Timeout"): Store.StoreError =>
  new Store.StoreError({ reason, method })

/** Tells of a store's failure and logs it, once however many meet it. @internal */
export const report = (error: Store.StoreError, message: string, state: SessionState): Effect.Effect<void> =>
  logOnce(
    error,
    message,
    andThen(Effect.suspend(() => namedIn(state)), (session) => {
      const { method, reason } = error
      return emitting(state, { _tag: "StoreFailed", ...session, method, reason })
    })
  )
