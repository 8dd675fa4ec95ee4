/**
 * Carries an effect on to its end, whoever waits for it. The module knows nothing of sessions or stores.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Running } from "./caller.js"
import { attempt, Pending } from "./pending.js"
import { forkFrom } from "./timeout.js"

/**
 * `Effect.disconnect(Effect.uninterruptible(Effect.suspend(begin)))`, which whoever waits without a fiber can run. It needs
 * a fiber only where the effect does, and that has the services and fiber refs of the caller.
 *
 * @internal
 */
export const carriedOn = <A, E>(caller: Running, begin: () => Effect.Effect<A, E>): Pending<A, E> =>
  new Pending<A, E>(() => ended(caller, attempt(begin)), (exit) => exit as Exit.Exit<A, E>)

const ended = async <A, E>(caller: Running, effect: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> => {
  let next = effect
  while (next instanceof Pending) {
    const pending = next as Pending<A, E>
    const answer = await pending.ask()
    next = attempt(() => pending.resume(answer))
  }
  const last = next
  return Exit.isExit(last)
    ? last as Exit.Exit<A, E>
    : new Promise((resolve) => {
      forkFrom(caller)(Effect.uninterruptible(last)).addObserver(resolve)
    })
}
