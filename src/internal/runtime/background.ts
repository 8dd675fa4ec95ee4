/**
 * Carries an effect on to its end, whoever waits for it. The module knows nothing of sessions or stores.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Running } from "./caller.js"
import { attempt, Pending } from "./pending.js"
import { forkFrom, Started, takeSteps } from "./timeout.js"

/**
 * `Effect.disconnect(Effect.uninterruptible(Effect.suspend(begin)))`, which whoever waits without a fiber can run. It needs
 * a fiber only where the effect does, and that has the services and fiber refs of the caller.
 *
 * @internal
 */
export const carriedOn = <A, E>(caller: Running, begin: () => Effect.Effect<A, E>): Pending<A, E> =>
  new Pending<A, E>(() => ended(caller, attempt(begin)), (exit) => exit as Exit.Exit<A, E>)

const ended = <A, E>(caller: Running, effect: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> =>
  new Promise((resolve) => {
    // nothing limits it, so that it has no outcome before its end
    takeSteps(new Started<A, E>(undefined), effect, (left) => {
      if (Exit.isExit(left)) {
        resolve(left as Exit.Exit<A, E>)
      } else {
        forkFrom(caller)(Effect.uninterruptible(left)).addObserver(resolve)
      }
    })
  })
