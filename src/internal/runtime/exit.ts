/**
 * `flatMap` and its like, which take a step without the fiber runtime where the effect allows it: at once if it is an
 * `Exit`, as a store in memory answers, and when the answer comes if it is `Pending`, as a driver of promises answers.
 * Compared with `Effect.flatMap`, that saves a tenth of a bare request's time for a read, and a third for a write.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Pending } from "./pending.js"

/** `Effect.flatMap`. @internal */
export const andThen = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  f: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  if (Exit.isExit(effect)) {
    const exit = effect as Exit.Exit<A, E>
    return Exit.isSuccess(exit) ? f(exit.value) : Exit.failCause(exit.cause)
  }
  return effect instanceof Pending
    ? (effect as Pending<A, E>).step((effect) => andThen(effect, f as (value: A) => Effect.Effect<B, E2>))
    : Effect.flatMap(effect, f)
}

/** `Effect.exit`, then `f`. @internal */
export const afterExit = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  f: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E2, R | R2> => {
  if (Exit.isExit(effect)) {
    return f(effect as Exit.Exit<A, E>)
  }
  return effect instanceof Pending
    ? (effect as Pending<A, E>).step((effect) =>
      afterExit(effect, f as (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2>)
    )
    : Effect.matchCauseEffect(effect, {
      onFailure: (cause) => f(Exit.failCause(cause)),
      onSuccess: (value) => f(Exit.succeed(value))
    })
}

/** `Effect.mapError`. @internal */
export const mapError = <A, E, R, E2>(effect: Effect.Effect<A, E, R>, f: (error: E) => E2): Effect.Effect<A, E2, R> =>
  afterExit(
    effect,
    (exit): Effect.Effect<A, E2> =>
      Exit.isSuccess(exit) ? Exit.succeed(exit.value) : Exit.failCause(Cause.map(exit.cause, f))
  )

/** `Effect.catchAll`. @internal */
export const catchAll = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  f: (error: E) => Effect.Effect<B, E2, R2>
): Effect.Effect<A | B, E2, R | R2> =>
  afterExit(effect, (exit): Effect.Effect<A | B, E2, R2> => {
    if (Exit.isSuccess(exit)) {
      return Exit.succeed(exit.value)
    }
    const failure = Cause.failureOrCause(exit.cause)
    return failure._tag === "Left" ? f(failure.left) : Exit.failCause(failure.right)
  })
