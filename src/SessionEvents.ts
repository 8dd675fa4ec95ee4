/**
 * What becomes of sessions, told to the app as it happens: who logged in, how a session ended, which token was refused, which
 * store call failed. An app that wants to know gives a handler, for an audit log, a notification or a limit
 * of parallel sessions. The metrics of the library count the same events. Nothing here holds a token. The module knows
 * nothing of HTTP.
 *
 * A handler never holds up a request: it runs in a fiber of its own, with the fiber refs of whoever caused the event, and
 * its failures are logged as a warning, once for each kind of event. It is never part of an open transaction of the
 * app's own, which may be rolled back, and may end before the handler does. At most 1,000 events are being
 * handled at a time; while a handler is so far behind, further events are dropped, and a warning says so. A process that
 * ends does not wait for its handlers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SessionId } from "./SessionToken.js"
import type { StoreError } from "./Store.js"

// -------------------------------------------------------------------------------------------------------------- models

/**
 * What all events have.
 *
 * @since 0.1.0
 * @category models
 */
export interface Occurrence {
  /** When it happened by the `Clock` of whoever caused it, in milliseconds since the epoch. */
  readonly at: number
  /** The public id of the session, never the token. Absent where no session is known. */
  readonly id?: SessionId | undefined
  /** Who logged in to the session. Absent where nobody did, or where it is not known. */
  readonly subject?: string | undefined
}

/**
 * An event of a session that is known.
 *
 * @since 0.1.0
 * @category models
 */
export interface OfSession extends Occurrence {
  readonly id: SessionId
}

/**
 * A session began: it is in the store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Created extends OfSession {
  readonly _tag: "Created"
}

/**
 * A login by `Session.login` is in the store. It comes after the `Created` or `Renewed` of the same session, because a
 * login always gives the session a new token.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoggedIn extends OfSession {
  readonly _tag: "LoggedIn"
  readonly subject: string
  /** What the login called the session, such as "Firefox on Linux". */
  readonly label?: string | undefined
}

/**
 * A session got a new token, and so a new id, by a login or by `Session.renew`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Renewed extends OfSession {
  readonly _tag: "Renewed"
  /** The id that the session had before. */
  readonly previous: SessionId
}

/**
 * The app ended the session in a request of its own, by `Session.destroy`: a logout.
 *
 * @since 0.1.0
 * @category models
 */
export interface Destroyed extends OfSession {
  readonly _tag: "Destroyed"
}

/**
 * A live session was ended beside its requests, by `Sessions.revoke`, `revokeAll` or `keepNewest`. For `revoke`, which
 * is given an id, the subject is absent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Revoked extends OfSession {
  readonly _tag: "Revoked"
}

/**
 * A request came with the token of a session that has expired, and the store still had the session. It is told each time
 * that a request finds it so, and the token is then `Rejected` as `unknown`. Nobody is told if no request comes before the
 * store has forgotten the session, a minute or two after its end. `ExpressStore` never tells.
 *
 * @since 0.1.0
 * @category models
 */
export interface Expired extends OfSession {
  readonly _tag: "Expired"
  /** When the session ended, in milliseconds since the epoch. */
  readonly endedAt: number
}

/**
 * Why a token, a request or a stored value was not accepted:
 *
 * - `malformed`: text that is no token
 * - `unknown`: a token of the right form that names no session; the id is what a session of this token would have
 * - `superseded`: the token of a session that was renewed or ended within the last minute
 * - `unknown key`, `tampered`, `expired`: a sealed token of a key that is not there, that was altered, or past its deadline
 * - `undecodable`: a stored session that can't be decoded
 * - `invalid field`: a value that the schema of its field no longer accepts
 * - `cross-site`: a request that `Csrf.protect` refused
 *
 * @since 0.1.0
 * @category models
 */
export type Reason =
  | "malformed"
  | "unknown"
  | "superseded"
  | "unknown key"
  | "tampered"
  | "expired"
  | "undecodable"
  | "invalid field"
  | "cross-site"

/**
 * A token, a request or a stored value was not accepted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rejected extends Occurrence {
  readonly _tag: "Rejected"
  readonly reason: Reason
  /** The key of the field, if the reason is `invalid field`. */
  readonly field?: string | undefined
}

/**
 * Another request saved the session first, and this request's updates run again on what it left. Normal, now and then.
 *
 * @since 0.1.0
 * @category models
 */
export interface Conflict extends OfSession {
  readonly _tag: "Conflict"
}

/**
 * A request's changes were dropped, because its session had ended meanwhile. Normal: a request met a logout.
 *
 * @since 0.1.0
 * @category models
 */
export interface Gone extends Occurrence {
  readonly _tag: "Gone"
}

/**
 * A change or a logout was made where nothing saves it. Always a mistake in the app; a log line says which.
 *
 * @since 0.1.0
 * @category models
 */
export interface Unsaved extends Occurrence {
  readonly _tag: "Unsaved"
}

/**
 * A call of the store failed: once for each failure, however many requests meet it. Failures that the app handles itself,
 * such as those of `Session.commit`, are not told.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreFailed extends Occurrence {
  readonly _tag: "StoreFailed"
  /** The operation, as the error names it: `RedisStore.load`, `SqlStore.sweep`. */
  readonly method: string
  readonly reason: StoreError["reason"]
}

/**
 * What becomes of sessions. A commit inside a transaction of the app's own is told when it is written, even if the
 * transaction is rolled back later.
 *
 * @since 0.1.0
 * @category models
 */
export type Event =
  | Created
  | LoggedIn
  | Renewed
  | Destroyed
  | Revoked
  | Expired
  | Rejected
  | Conflict
  | Gone
  | Unsaved
  | StoreFailed

/**
 * What an app does with each event. It is told events in the order in which they happen, and does not wait for one to end
 * before the next begins. Of whoever caused the event it has the `HttpServerRequest`, the span, and this library's
 * services, if they are there. So it may use the session of the request (`Session`), which may have been sent by then, and
 * `Sessions`; what it causes by that are events too. Where it waits for what an open transaction holds, such as a row,
 * that transaction must not wait for the handler.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler = (event: Event) => Effect.Effect<void, unknown>

// ---------------------------------------------------------------------------------------------------------------- tags

const ignore: Handler = () => Effect.void

/**
 * The handler of events. Without a layer, nothing is done with them, and they cost nothing.
 *
 * @since 0.1.0
 * @category references
 */
export class SessionEvents extends Context.Reference<SessionEvents>()("effect-session/SessionEvents", {
  defaultValue: (): Handler => ignore
}) {}

// -------------------------------------------------------------------------------------------------------------- layers

/**
 * Gives the app's events to a handler, which may need services: those of the layer. Of the request, it has the
 * `HttpServerRequest`, the span and this library's services. Provide it where you provide State and Store;
 * `HttpApiSession` and `SessionRouter` take it from their own layer's context. What happens beside requests is told if the
 * layer of the store (for its sweep), or whoever calls `Sessions`, is provided with it too.
 *
 * The handler may fail: that is logged.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HttpServerRequest } from "@effect/platform"
 * import { Effect, Option } from "effect"
 * import { SessionEvents } from "effect-session"
 *
 * // An audit log: one line an event, with the address that the request came from.
 * const audit = SessionEvents.layer((event) =>
 *   Effect.gen(function*() {
 *     const request = yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest)
 *     const address = Option.flatMap(request, ({ remoteAddress }) => remoteAddress)
 *     yield* Effect.logInfo(`session: ${event._tag}`).pipe(
 *       Effect.annotateLogs({ ...event, address: Option.getOrElse(address, () => "unknown") })
 *     )
 *   })
 * )
 * ```
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SessionEvents, Sessions } from "effect-session"
 *
 * // Nobody has more than five sessions.
 * const capped = SessionEvents.layer((event) =>
 *   event._tag === "LoggedIn" ? Effect.asVoid(Sessions.keepNewest(event.subject, 5)) : Effect.void
 * )
 * ```
 */
export const layer = <E, R>(handler: (event: Event) => Effect.Effect<void, E, R>): Layer.Layer<never, never, R> =>
  Layer.effectContext(
    Effect.map(Effect.context<R>(), (services) =>
      Context.make(SessionEvents, (event) =>
        Effect.mapInputContext(
          Effect.suspend(() => handler(event)),
          (lent: Context.Context<never>) => Context.merge(services, lent)
        )))
  )
