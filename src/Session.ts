/**
 * The session of the current request. `Session.Session` is a `Ref` over its data: all of `effect/Ref` works on it, and
 * what is read or written is loaded and committed by the middleware that provides it. The verbs here act on the session
 * as a whole; typed keys are in `SessionField`. Nothing here knows how the token travels or where the session lives.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Ref from "effect/Ref"
import * as internal from "./internal/session/handle.js"
import * as MemoryStore from "./MemoryStore.js"
import type { HeadSent, SessionGone } from "./SessionError.js"
import * as SessionPolicy from "./SessionPolicy.js"
import type * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"
import type * as Store from "./Store.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  HeadSent,
  /**
   * @since 0.1.0
   * @category errors
   */
  SessionDataError,
  /**
   * @since 0.1.0
   * @category errors
   */
  SessionGone
} from "./SessionError.js"

/**
 * What a session can hold.
 *
 * @since 0.1.0
 * @category models
 */
export type Json = string | number | boolean | null | ReadonlyArray<Json> | { readonly [key: string]: Json }

/**
 * A session's data: JSON by key, frozen.
 *
 * @since 0.1.0
 * @category models
 */
export type Data = SessionRecord.Data

/**
 * What the commit will do, or did:
 *
 * - `Nothing`, `Touch`, `Create`, `Update`, `Renew`, `Remove`: the store operation that is owed, or was carried out
 * - `Gone`: changes were dropped, because the session was over by then
 * - `RolledBack`: what an explicit commit wrote was taken back with the app's own transaction that it was part of
 * - `Failed`: the store failed, and the answer is an error
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Touch"; readonly deadline: number }
  | { readonly _tag: "Create" }
  | { readonly _tag: "Update" }
  | { readonly _tag: "Renew" }
  | { readonly _tag: "Remove" }
  | { readonly _tag: "Gone" }
  | { readonly _tag: "RolledBack" }
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<unknown> }

/**
 * A session's tag as `Tag` makes it.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionTag<Self> = Context.Tag<Self, Ref.Ref<Data>>

/**
 * Makes the tag of a second, named session in one app: one with its own State, Store and middleware
 * (`HttpMiddleware.makeSession`), its own verbs (`verbs`) and fields (`SessionField.make` with `session`).
 *
 * @since 0.1.0
 * @category tags
 * @example
 * ```ts
 * import { Session } from "effect-session"
 *
 * class Admin extends Session.Tag<Admin>()("admin") {}
 *
 * const renew = Session.verbs(Admin).renew
 * ```
 */
export const Tag = <Self>() => <const Name extends string>(name: Name) =>
  Context.Tag(`effect-session/Session/${name}`)<Self, Ref.Ref<Data>>()

/**
 * The session of the current request, a `Ref` over its data. Its operations never fail: they die with a `StoreError`,
 * answered with 503, when the session can't be loaded, and with a `SessionDataError` when given what is not JSON.
 *
 * @since 0.1.0
 * @category tags
 * @example
 * ```ts
 * import { Effect, Ref } from "effect"
 * import { Session } from "effect-session"
 *
 * const remember = Effect.gen(function*() {
 *   const session = yield* Session.Session
 *   yield* Ref.update(session, (data) => ({ ...data, theme: "dark" }))
 * })
 * ```
 */
export class Session extends Context.Tag("effect-session/Session")<Session, Ref.Ref<Data>>() {}

/**
 * The verbs of a session, for the tag `S`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Verbs<S> {
  /** See `id` of this module; so for the others. */
  readonly id: Effect.Effect<SessionToken.SessionId, never, S>
  readonly isNew: Effect.Effect<boolean, never, S>
  readonly renew: Effect.Effect<void, never, S>
  readonly destroy: Effect.Effect<void, never, S>
  readonly ignoreChanges: Effect.Effect<void, never, S>
  readonly commit: Effect.Effect<void, Store.StoreError | SessionGone | HeadSent, S>
  readonly load: Effect.Effect<Data, Store.StoreError, S>
  readonly reload: Effect.Effect<Data, Store.StoreError | SessionGone, S>
  readonly token: Effect.Effect<SessionToken.Token, Store.StoreError | SessionGone | HeadSent, S>
  readonly outcome: Effect.Effect<Outcome, never, S>
  readonly expireIn: (duration: Duration.DurationInput) => Effect.Effect<void, never, S>
  readonly transaction: <B>(
    f: (data: Data) => readonly [B, Data]
  ) => Effect.Effect<B, Store.StoreError | SessionGone, S>
}

/**
 * The verbs for a tag made by `Tag`. Those of this module are `verbs(Session)`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const verbs = <S>(tag: SessionTag<S>): Verbs<S> => {
  const use = <A, E>(f: (session: internal.SessionRef) => Effect.Effect<A, E>): Effect.Effect<A, E, S> =>
    Effect.flatMap(Effect.flatMap(tag, internal.fromRef), f)
  return {
    id: use((session) => session.id),
    isNew: use((session) => session.isNew),
    renew: use((session) => session.renew),
    destroy: use((session) => session.destroy),
    ignoreChanges: use((session) => session.ignoreChanges),
    commit: use((session) => session.save),
    load: use((session) => session.load),
    reload: use((session) => session.reload),
    token: use((session) => session.token),
    outcome: use((session) => session.outcome),
    expireIn: (duration) => use((session) => session.expireIn(duration)),
    transaction: (f) =>
      use((session) =>
        session.transaction((draft) => {
          const [answer, data] = f(draft.data)
          return [answer, session.withData(draft, data)]
        })
      )
  }
}

const own = verbs(Session)

/**
 * The public id: safe to log, never the token (S07). After `renew` it is the new one's.
 *
 * @since 0.1.0
 * @category accessors
 */
export const id: Effect.Effect<SessionToken.SessionId, never, Session> = own.id

/**
 * Whether the request came without a live session.
 *
 * @since 0.1.0
 * @category accessors
 */
export const isNew: Effect.Effect<boolean, never, Session> = own.isNew

/**
 * What the commit will do, or did, as a value: for logs and tests. Does not load the session.
 *
 * @since 0.1.0
 * @category accessors
 */
export const outcome: Effect.Effect<Outcome, never, Session> = own.outcome

/**
 * Loads the session, if nothing did yet, and gives its data. What a `Ref` operation dies of is typed here.
 *
 * @since 0.1.0
 * @category accessors
 */
export const load: Effect.Effect<Data, Store.StoreError, Session> = own.load

/**
 * Reads the session afresh and puts this request's uncommitted updates on top: for sockets and long streams (S72). Fails
 * with `SessionGone` once it was destroyed, renewed or expired.
 *
 * @since 0.1.0
 * @category accessors
 */
export const reload: Effect.Effect<Data, Store.StoreError | SessionGone, Session> = own.reload

/**
 * The token, for links and forms under `ParamState`. Commits first, so that the token is good; the response is marked
 * `Cache-Control: no-store`. A page that shows it should send `Referrer-Policy: no-referrer`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const token: Effect.Effect<SessionToken.Token, Store.StoreError | SessionGone | HeadSent, Session> = own.token

/**
 * Gives the session a new token at the commit and ends the old one, data and absolute bound kept. Call it at every login
 * and change of privilege (S11, S12): a token planted before is worth nothing after. On a session that is over it begins
 * a new one, from this request's own updates. Fields declared with `onRenew: "remove"` are dropped.
 *
 * @since 0.1.0
 * @category combinators
 */
export const renew: Effect.Effect<void, never, Session> = own.renew

/**
 * Ends the session: its data is gone at once, the store's record and the client's cookie at the commit, whatever the
 * response's status (S25). Updates made after it begin a new session, so a logout can leave a message.
 *
 * @since 0.1.0
 * @category combinators
 */
export const destroy: Effect.Effect<void, never, Session> = own.destroy

/**
 * Leaves the store as it is, whatever this request changes or renews. An explicit `commit` still lands.
 *
 * @since 0.1.0
 * @category combinators
 */
export const ignoreChanges: Effect.Effect<void, never, Session> = own.ignoreChanges

/**
 * Commits now, rather than when the response is known: for what must stand even if the response fails, and before a
 * stream that goes on writing. Keeps a new session even when it is empty. Fails with `HeadSent` when a new token would be
 * needed and can't be sent any more.
 *
 * @since 0.1.0
 * @category combinators
 */
export const commit: Effect.Effect<void, Store.StoreError | SessionGone | HeadSent, Session> = own.commit

/**
 * Ends the session after this long, counted from now, idle or not, in place of the policy's bounds; the cookie becomes
 * persistent with a matching Max-Age. It stays so through `renew`. At most 400 days.
 *
 * @since 0.1.0
 * @category combinators
 */
export const expireIn: (duration: Duration.DurationInput) => Effect.Effect<void, never, Session> = own.expireIn

/**
 * Acts on the final value: pending updates and `f` land together, on data that nobody else changes meanwhile, and the
 * answer is that of the run that landed. `f` is pure and may run more than once. What landed stands, also when the
 * response is an error.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { Session } from "effect-session"
 *
 * // of any number of parallel requests, one is told true
 * const redeem = Session.transaction((data) =>
 *   data["coupon"] === "unused" ? [true, { ...data, coupon: "used" }] : [false, data]
 * )
 * ```
 */
export const transaction: <B>(
  f: (data: Data) => readonly [B, Data]
) => Effect.Effect<B, Store.StoreError | SessionGone, Session> = own.transaction

/**
 * A session without HTTP, kept in memory, for handlers under test. The seed is data, or an Effect that uses the session;
 * a seeded session is one that exists, an unseeded one is new.
 *
 * @since 0.1.0
 * @category testing
 * @example
 * ```ts
 * import { Effect, Ref } from "effect"
 * import { Session } from "effect-session"
 *
 * const greeting = Effect.map(Effect.flatMap(Session.Session, Ref.get), (data) => `Hello ${data["user"]}`)
 *
 * const tested = Effect.provide(greeting, Session.layerTest({ user: "ann" }))
 * ```
 */
export const layerTest = <A = never, E = never, R = never>(
  seed?: Data | Effect.Effect<A, E, R>
): Layer.Layer<Session, E, Exclude<R, Session>> =>
  Layer.scoped(
    Session,
    Effect.gen(function*() {
      const environment: internal.Environment = {
        store: yield* Effect.orDie(MemoryStore.make()),
        policy: yield* SessionPolicy.SessionPolicy,
        generator: yield* SessionToken.Generator,
        transports: [],
        request: undefined,
        scope: undefined
      }
      const session = new internal.SessionRef(() => environment)
      if (seed !== undefined) {
        yield* Effect.isEffect(seed)
          ? Effect.provideService(seed, Session, session)
          : session.modify(() => [undefined, seed])
        yield* Effect.orDie(session.save)
        yield* session.forgetSeed
      }
      return session
    })
  )
