/**
 * The spans of a session's work: `session.load` and `session.commit`, with the session's public id as OpenTelemetry's
 * semantic conventions name it. They are made for a tracer of the app's own alone.
 */
import * as Effect from "effect/Effect"
import * as SessionToken from "../../SessionToken.js"
import type { Running } from "../runtime/caller.js"
import { isTraced } from "../runtime/caller.js"
import type * as Draft from "./draft.js"

/** The public id of a session that is live, so that a record names it. @internal */
export const idOf = ({ record, token }: Draft.Live): Effect.Effect<SessionToken.SessionId> =>
  record.id !== undefined ? Effect.succeed(record.id) : SessionToken.toId(token)

/**
 * Runs an effect in a span. The effect is made inside of it, because a store's call may begin when its effect is made.
 * `restsOn` tells what the session rests on when the effect has succeeded.
 *
 * @internal
 */
export const spanned = <A, E>(
  caller: Running,
  name: "session.load" | "session.commit",
  effect: () => Effect.Effect<A, E>,
  restsOn: (value: A) => Draft.Base
): Effect.Effect<A, E> =>
  isTraced(caller)
    ? Effect.suspend(effect).pipe(
      Effect.tap((value) => {
        const base = restsOn(value)
        return base._tag === "Live"
          ? Effect.flatMap(idOf(base), (id) => Effect.annotateCurrentSpan("session.id", id))
          : Effect.void
      }),
      Effect.withSpan(name, { captureStackTrace: false })
    )
    : effect()
