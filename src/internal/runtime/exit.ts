/**
 * `flatMap` and `exit` that skip the fiber runtime when the effect is already an `Exit`. A store in memory answers with
 * an `Exit`, so the session's part of a request runs without a step of the runtime. Compared with `Effect.flatMap`,
 * that saves a tenth of a bare request's time for a read, and a third for a write.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** `Effect.flatMap`. If the effect is an `Exit`, `f` runs at once. @internal */
export const andThen = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  f: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  if (!Exit.isExit(effect)) {
    return Effect.flatMap(effect, f)
  }
  const exit = effect as Exit.Exit<A, E>
  return Exit.isSuccess(exit) ? f(exit.value) : Exit.failCause(exit.cause)
}

/** `Effect.exit`, then `f`. If the effect is an `Exit`, `f` runs at once. @internal */
export const afterExit = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  f: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E2, R | R2> =>
  Exit.isExit(effect) ? f(effect as Exit.Exit<A, E>) : Effect.matchCauseEffect(effect, {
    onFailure: (cause) => f(Exit.failCause(cause)),
    onSuccess: (value) => f(Exit.succeed(value))
  })
