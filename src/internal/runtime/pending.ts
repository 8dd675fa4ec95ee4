/**
 * An effect that waits for a promise which is under way already, as a driver's answer is. What is to be done with the
 * answer is kept beside it, so that whoever waits runs it: no fiber is needed until a step asks for one. The module knows
 * nothing of stores or drivers.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"

/** @internal */
export class Pending<A, E> extends Effectable.Class<A, E> {
  /** The promise must not be rejected. `resume` may be called once. */
  constructor(
    readonly answer: Promise<unknown>,
    readonly resume: (answer: unknown) => Effect.Effect<A, E>
  ) {
    super()
  }

  /** How a fiber waits for it. */
  override commit(): Effect.Effect<A, E> {
    return Effect.async<A, E>((resume) => {
      void this.answer.then((answer) => resume(Effect.suspend(() => this.resume(answer))))
    })
  }

  /** The same with another step behind it. */
  step<B, E2>(f: (effect: Effect.Effect<A, E>) => Effect.Effect<B, E2>): Pending<B, E2> {
    return new Pending<B, E2>(this.answer, (answer) => f(attempt(() => this.resume(answer))))
  }
}

/** Makes an effect; what it throws is a defect. @internal */
export const attempt = <A, E>(f: () => Effect.Effect<A, E>): Effect.Effect<A, E> => {
  try {
    return f()
  } catch (defect) {
    return Exit.die(defect)
  }
}

/**
 * `Effect.tryPromise` for a call that can't be cancelled. The call is made at once.
 *
 * @internal
 */
export const tryPromise = <A, E>(call: () => Promise<A>, failure: (error: unknown) => E): Effect.Effect<A, E> => {
  try {
    return new Pending<A, E>(
      call().then(Exit.succeed, (error: unknown) => Exit.fail(failure(error))),
      (exit) => exit as Exit.Exit<A, E>
    )
  } catch (error) {
    return Exit.fail(failure(error))
  }
}
