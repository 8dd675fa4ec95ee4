/**
 * Carries an effect on to its end, whoever waits for it. The module knows nothing of sessions or stores.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Running } from "./caller.js"
import { attempt, Pending } from "./pending.js"
import { forkFrom } from "./timeout.js"

/**
 * `Effect.disconnect(Effect.uninterruptible(Effect.ensuring(effect, Effect.sync(whenDone))))` for an effect that is under
 * way already. It needs no fiber unless the effect needs one, and that has the services and fiber refs of the caller.
 *
 * @internal
 */
export const carriedOn = <A, E>(caller: Running, begun: Pending<A, E>, whenDone: () => void): Pending<A, E> =>
  new Pending<A, E>(
    ended(caller, begun).then((exit) => {
      whenDone()
      return exit
    }),
    (exit) => exit as Exit.Exit<A, E>
  )

const ended = async <A, E>(caller: Running, begun: Pending<A, E>): Promise<Exit.Exit<A, E>> => {
  let effect: Effect.Effect<A, E> = begun
  while (effect instanceof Pending) {
    const pending = effect as Pending<A, E>
    const answer = await pending.answer
    effect = attempt(() => pending.resume(answer))
  }
  const last = effect
  return Exit.isExit(last)
    ? last as Exit.Exit<A, E>
    : new Promise((resolve) => {
      forkFrom(caller)(Effect.uninterruptible(last)).addObserver(resolve)
    })
}
