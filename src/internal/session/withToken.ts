/**
 * A session outside of any HTTP request: that of a token which the caller has.
 */
import * as Effect from "effect/Effect"
import { SessionGone } from "../../SessionError.js"
import type { CommitError } from "./commit.js"
import { explicit } from "./commit.js"
import type { SessionHandle } from "./handle.js"
import { ready } from "./load.js"
import { finish } from "./requestEnd.js"

/**
 * Runs an effect that uses the session, and commits when it succeeds. Fails with `SessionGone` where the token names no live
 * session, so that none is ever begun.
 *
 * @internal
 */
export const runWithToken = <A, E, R>(
  session: SessionHandle,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | CommitError, R> => {
  const { state } = session
  const save = Effect.suspend(() => {
    const { open, response: { ignoring }, unsaved } = state
    const isDue = ignoring ? open.removing.length > 0 : unsaved || open.base._tag === "Live"
    return isDue ? session.committing({ ...explicit, discarding: ignoring }) : Effect.void
  })
  return Effect.withFiberRuntime<A, E | CommitError, R>((caller) => {
    // No new token reaches the client from here.
    state.upgrade()
    return Effect.flatMap(ready(state, caller), (): Effect.Effect<A, E | CommitError, R> => {
      const { base } = state.open
      if (base._tag === "Detached" && base.failure !== undefined) {
        return Effect.fail(base.failure)
      }
      return base._tag !== "Live" ? Effect.fail(new SessionGone()) : Effect.onExit(
        Effect.zipLeft(effect, save),
        // Whatever became of the effect, a destroyed session ends.
        () => finish(state, caller, 500)
      )
    })
  })
}
