/**
 * An effect that waits for one promise, such as a driver's answer, and then takes steps. Whoever waits can take them
 * without a fiber, until a step is an effect that needs one. The module knows nothing of stores or drivers.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"

/** @internal */
export class Pending<A, E> extends Effectable.Class<A, E> {
  /** `ask` makes the call; its promise must not be rejected. `resume` takes the next step from the answer. */
  constructor(
    readonly ask: () => Promise<unknown>,
    readonly resume: (answer: unknown) => Effect.Effect<A, E>
  ) {
    super()
  }

  /** How a fiber waits for it. */
  override commit(): Effect.Effect<A, E> {
    return Effect.async<A, E>((resume) => {
      void this.ask().then((answer) => resume(Effect.suspend(() => this.resume(answer))))
    })
  }

  /** The same with another step behind it. */
  step<B, E2>(f: (effect: Effect.Effect<A, E>) => Effect.Effect<B, E2>): Pending<B, E2> {
    return new Pending<B, E2>(this.ask, (answer) => f(attempt(() => this.resume(answer))))
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
 * `Effect.tryPromise` for a call that can't be cancelled.
 *
 * @internal
 */
export const tryPromise = <A, E>(call: () => Promise<A>, failure: (error: unknown) => E): Effect.Effect<A, E> => {
  const failed = (error: unknown) => Exit.fail(failure(error))
  const ask = (): Promise<Exit.Exit<A, E>> => {
    try {
      return call().then(Exit.succeed, failed)
    } catch (error) {
      return Promise.resolve(failed(error))
    }
  }
  return new Pending<A, E>(ask, (exit) => exit as Exit.Exit<A, E>)
}
