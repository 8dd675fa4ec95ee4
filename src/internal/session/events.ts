/**
 * The events of a request's session: what they name of it, and the handler that they go to, which is the one that was in
 * force when the session was attached to the request. Knows nothing of when they happen.
 */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as SessionRecord from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import type { Running } from "../runtime/caller.js"
import { andThen } from "../runtime/exit.js"
import type { Emission } from "../sessionEvents/emit.js"
import * as events from "../sessionEvents/emit.js"
import type { Environment, Removal } from "./model.js"
import type { SessionState } from "./state.js"

/** What an event says of a session that is known. */
interface Named {
  readonly id: SessionToken.SessionId
  readonly subject?: string
}

/** Emits an event that has no log line. @internal */
export const emit = ({ environment }: { readonly environment: Environment }, caller: Running, event: Emission): void =>
  events.emit(caller, environment.events, event)

/** Emits an event, and logs it if it has a line. @internal */
export const emitting = (
  { environment }: { readonly environment: Environment },
  event: Emission,
  log?: Effect.Effect<void>
): Effect.Effect<void> => events.emitting(event, log, environment.events)

/** A session by its token, and by its record if that is known. @internal */
export const named = ({ record, token }: Removal): Effect.Effect<Named> =>
  record?.id !== undefined
    ? Exit.succeed(namedBy(record.id, record))
    : andThen(SessionToken.toId(token), (id) => Exit.succeed(namedBy(id, record)))

const namedBy = (
  id: SessionToken.SessionId,
  record: SessionRecord.SessionRecord | undefined
): Named => record?.subject === undefined ? { id } : { id, subject: record.subject }

/** A session of which a drawn token alone is known. A token of another form does not give away the id. @internal */
export const namedByToken = (token: SessionToken.Token | undefined): Effect.Effect<Partial<Named>> =>
  token !== undefined && SessionToken.isDrawn(token) ? named({ token }) : Exit.succeed({})

/** The session of the request as far as it is known: also one that has ended, or is to be removed. @internal */
export const namedIn = ({ carriedToken, value }: SessionState): Effect.Effect<Partial<Named>> => {
  if (value._tag !== "Open") {
    return Exit.succeed({})
  }
  const { base, removing } = value
  if (base._tag === "Live") {
    return named(base)
  }
  return removing[0] !== undefined
    ? named(removing[0])
    : namedByToken(base._tag === "Ended" ? carriedToken : undefined)
}
