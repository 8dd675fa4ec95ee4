/**
 * The session of the current request. The functions here read and change it; the middleware that provides it loads it at
 * the first touch and saves it when the response is known. `Session.Session` is also a `Ref` over the data, for code that
 * wants one. Typed keys are in `SessionField`. Nothing here knows how the token travels or where the session lives.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import type * as Record from "./internal/record/json.js"
import * as internal from "./internal/session/handle.js"
import type * as Model from "./internal/session/model.js"
import { partsOf } from "./internal/session/parts.js"
import { runWithToken } from "./internal/session/withToken.js"
import * as MemoryStore from "./MemoryStore.js"
import type { HeadSent, ReauthenticationRequired, SessionGone } from "./SessionError.js"
import * as SessionEvents from "./SessionEvents.js"
import * as SessionPolicy from "./SessionPolicy.js"
import type * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"
import * as State from "./State.js"
import * as Store from "./Store.js"

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
  ReauthenticationRequired,
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
export type Json = Record.Json

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
 * - `Nothing`, `Touch`, `Create`, `Update`, `Renew`, `Remove`: the store operation that is planned, or was carried out
 * - `Gone`: changes were dropped, because the session had ended by then
 * - `RolledBack`: what an explicit commit wrote was rolled back with the app's own transaction that it was part of
 * - `Failed`: the store failed, and the answer is an error
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = Model.Outcome

/**
 * A session's tag as `Tag` makes it.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionTag<Self> = Context.Tag<Self, Ref.Ref<Data>>

/**
 * What is known of a session, in one value. Times are milliseconds since the epoch; a session that is not kept yet has
 * none.
 *
 * @since 0.1.0
 * @category models
 */
export interface Info extends Model.Info {}

/**
 * Makes the tag of a second, named session in one app: one with its own State, Store and middleware
 * (`HttpMiddleware.layerSession`, `HttpMiddleware.sessionOf`), its own verbs (`verbs`) and fields (`SessionField.make` with
 * `session`).
 *
 * Its store needs a place of its own, such as another prefix, table or folder. A store finds a session by its token alone:
 * of two sessions in one place, each accepts the other's tokens, and whoever is logged in to one is logged in to both.
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
 * The session of the current request, a `Ref` over its data. Its operations never fail. They die with a `StoreError`,
 * answered with 503, if the session cannot be loaded, and with a `SessionDataError` if they are given what is not JSON.
 *
 * @since 0.1.0
 * @category tags
 */
export class Session extends Context.Tag("effect-session/Session")<Session, Ref.Ref<Data>>() {}

/**
 * What `login` is told besides the subject.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoginOptions {
  /** How the user will know the session in a list of their devices, such as "Firefox on Linux". Default: none. */
  readonly label?: string | undefined
  /** Keeps the session this long, as `expireIn` does, at most 400 days. Default: the policy's bounds. */
  readonly remember?: Duration.DurationInput | undefined
}

/**
 * What can be done with the session of the tag `S`. Each member does what the function of its name in this module does for
 * the default session.
 *
 * @since 0.1.0
 * @category models
 */
export interface Verbs<S> {
  readonly get: Effect.Effect<Data, never, S>
  readonly set: (data: Data) => Effect.Effect<void, never, S>
  readonly update: (f: (data: Data) => Data) => Effect.Effect<void, never, S>
  readonly updateAndGet: (f: (data: Data) => Data) => Effect.Effect<Data, never, S>
  readonly getAndUpdate: (f: (data: Data) => Data) => Effect.Effect<Data, never, S>
  readonly modify: <B>(f: (data: Data) => readonly [B, Data]) => Effect.Effect<B, never, S>
  readonly id: Effect.Effect<SessionToken.SessionId, never, S>
  readonly isNew: Effect.Effect<boolean, never, S>
  readonly info: Effect.Effect<Info, never, S>
  readonly renew: Effect.Effect<void, never, S>
  readonly login: (subject: string, options?: LoginOptions) => Effect.Effect<void, never, S>
  readonly subject: Effect.Effect<Option.Option<string>, never, S>
  readonly subjectOrFail: <E>(orFail: () => E) => Effect.Effect<string, E, S>
  readonly requireRecentLogin: (
    within: Duration.DurationInput
  ) => Effect.Effect<void, ReauthenticationRequired, S>
  readonly destroy: Effect.Effect<void, never, S>
  readonly ignoreChanges: Effect.Effect<void, never, S>
  readonly commit: Effect.Effect<void, Store.StoreError | SessionGone | HeadSent, S>
  readonly load: Effect.Effect<Data, Store.StoreError, S>
  readonly reload: Effect.Effect<Data, Store.StoreError | SessionGone, S>
  readonly watch: Stream.Stream<Data, Store.StoreError | SessionGone, S>
  readonly token: Effect.Effect<SessionToken.Token, Store.StoreError | SessionGone | HeadSent, S>
  readonly outcome: Effect.Effect<Outcome, never, S>
  readonly expireIn: (duration: Duration.DurationInput) => Effect.Effect<void, never, S>
  readonly expireByPolicy: Effect.Effect<void, never, S>
  readonly transaction: <B>(
    f: (data: Data) => readonly [B, Data]
  ) => Effect.Effect<B, Store.StoreError | SessionGone, S>
  readonly withToken: (
    token: SessionToken.Token
  ) => <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<
    A,
    E | Store.StoreError | SessionGone | HeadSent,
    Exclude<R, S> | State.State | Store.Store
  >
}

/**
 * The verbs for a tag made by `Tag`. Those of this module are `verbs(Session)`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const verbs = <S>(tag: SessionTag<S>): Verbs<S> => {
  const use = <A, E>(f: (session: internal.SessionHandle) => Effect.Effect<A, E>): Effect.Effect<A, E, S> =>
    Effect.flatMap(Effect.flatMap(tag, internal.fromRef), f)
  const modify = <B>(f: (data: Data) => readonly [B, Data]): Effect.Effect<B, never, S> =>
    use((session) => session.modify(f))
  const subject = use((session) => session.subject)
  return {
    get: use((session) => session.get),
    set: (data) => modify(() => [undefined, data]),
    update: (f) => modify((data) => [undefined, f(data)]),
    updateAndGet: (f) => use((session) => session.updateAndGet(f)),
    getAndUpdate: (f) => modify((data) => [data, f(data)]),
    modify,
    id: use((session) => session.id),
    isNew: use((session) => session.isNew),
    info: use((session) => session.info),
    renew: use((session) => session.renew),
    login: (subject, options = {}) => use((session) => session.login(subject, options)),
    subject,
    subjectOrFail: <E>(orFail: () => E) =>
      Effect.flatMap(
        subject,
        (found): Effect.Effect<string, E> =>
          Option.isSome(found) ? Effect.succeed(found.value) : Effect.failSync(orFail)
      ),
    requireRecentLogin: (within) => use((session) => session.requireRecentLogin(within)),
    destroy: use((session) => session.destroy),
    ignoreChanges: use((session) => session.ignoreChanges),
    commit: use((session) => session.save),
    load: use((session) => session.load),
    reload: use((session) => session.reload),
    watch: Stream.unwrap(Effect.map(Effect.flatMap(tag, internal.fromRef), (session) => session.watch)),
    token: use((session) => session.token),
    outcome: use((session) => session.outcome),
    expireIn: (duration) => use((session) => session.expireIn(duration)),
    expireByPolicy: use((session) => session.expireByPolicy),
    transaction: (f) => use((session) => session.transaction(session.overData(f))),
    withToken: (token) => (effect) => withTokenOf(tag, token, effect)
  }
}

const withTokenOf = <S, A, E, R>(
  tag: SessionTag<S>,
  token: SessionToken.Token,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Store.StoreError | SessionGone | HeadSent, Exclude<R, S> | State.State | Store.Store> =>
  Effect.gen(function*() {
    const store = yield* Store.Store
    const state = yield* State.State
    const own = Option.getOrElse(yield* Effect.serviceOption(partsOf(tag)), () => ({ state, store }))
    const environment: internal.Environment = {
      store: own.store,
      policy: yield* SessionPolicy.SessionPolicy,
      generator: yield* SessionToken.Generator,
      events: yield* SessionEvents.SessionEvents,
      transports: own.state.transports,
      source: token,
      host: undefined
    }
    const session = new internal.SessionHandle(() => environment)
    return yield* runWithToken(session, Effect.provideService(effect, tag, session))
  })

const own = verbs(Session)

/**
 * The session's data.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-session"
 *
 * const greeting = Effect.map(Session.get, (data) => `Hello ${data["user"]}`)
 * ```
 */
export const get: Effect.Effect<Data, never, Session> = own.get

/**
 * Replaces the session's data as a whole. If another request saves first, this request's data still replaces all of it;
 * use `update` to keep what others changed.
 *
 * @since 0.1.0
 * @category combinators
 */
export const set: (data: Data) => Effect.Effect<void, never, Session> = own.set

/**
 * Updates the session's data by a pure function, which runs again on the latest data if another request saves first.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { Session } from "effect-session"
 *
 * const remember = Session.update((data) => ({ ...data, theme: "dark" }))
 * ```
 */
export const update: (f: (data: Data) => Data) => Effect.Effect<void, never, Session> = own.update

/**
 * Updates the data and gives the new value, as it is in this request.
 *
 * @since 0.1.0
 * @category combinators
 */
export const updateAndGet: (f: (data: Data) => Data) => Effect.Effect<Data, never, Session> = own.updateAndGet

/**
 * Updates the data and gives the value before, as it was in this request.
 *
 * @since 0.1.0
 * @category combinators
 */
export const getAndUpdate: (f: (data: Data) => Data) => Effect.Effect<Data, never, Session> = own.getAndUpdate

/**
 * Updates the data and answers by one pure function. The answer is of the data that this request read; if it must be of
 * the data that is saved, use `transaction`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const modify: <B>(f: (data: Data) => readonly [B, Data]) => Effect.Effect<B, never, Session> = own.modify

/**
 * The public id: safe to log, never the token. After `renew` it is the new one's.
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
 * What is known of the session, as it was last read or saved, in one value.
 *
 * @since 0.1.0
 * @category accessors
 */
export const info: Effect.Effect<Info, never, Session> = own.info

/**
 * What the commit will do, or did, as a value: for logs and tests. Does not load the session.
 *
 * @since 0.1.0
 * @category accessors
 */
export const outcome: Effect.Effect<Outcome, never, Session> = own.outcome

/**
 * Loads the session if nothing did, and gives its data. The other functions die if the session cannot be loaded; `load`
 * fails with the same `StoreError`, typed.
 *
 * @since 0.1.0
 * @category accessors
 */
export const load: Effect.Effect<Data, Store.StoreError, Session> = own.load

/**
 * Reads the session from the store again and makes this request's unsaved updates on top of it: for sockets and long
 * streams. Fails with `SessionGone` once the session was destroyed or renewed, or has expired.
 *
 * @since 0.1.0
 * @category accessors
 */
export const reload: Effect.Effect<Data, Store.StoreError | SessionGone, Session> = own.reload

/**
 * The session's data as the store has it, now and whenever the session is saved, by whatever request: for server-sent
 * events, sockets and everything else that stays open. A reader that is slow gets the newest alone. Of a session that the
 * store does not have, it is this request's data, and then nothing until the session is saved.
 *
 * Fails with `SessionGone` as soon as the session has ended, so that nothing goes on under a session that was logged out:
 * its `reason` is `destroyed`, `revoked` (`Sessions.revoke` and its like), `expired`, or `renewed`, by a login in another
 * request of the same client, who has a new token by then. What this request itself renews is watched on. Fails with
 * `StoreError` if the store can't be asked or its connection is lost; run it again with `Stream.retry`.
 *
 * `MemoryStore`, `RedisStore` and `SqlStore` on PostgreSQL are heard at once, and so is what this process wrote itself
 * through `FileStore` or `SqlStore`, if in a transaction a moment after its commit. For all else the store is asked at
 * the policy's `watchInterval`, 5 seconds by default. All watchers of a session in one process, under one policy, share one subscription,
 * and one read a change or interval. Watching is no use of the session: it ends when it would have ended without. On
 * Cloudflare Workers, all watchers in an isolate depend on the request of the first one, which the runtime may end.
 *
 * Use it in a response's stream, which may go on after the response head has left, or in `withToken`.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Effect, Stream } from "effect"
 * import { Session } from "effect-session"
 *
 * // server-sent events: the theme, and a last event when the session has ended
 * const events = Effect.map(Effect.context<Session.Session>(), (context) =>
 *   HttpServerResponse.stream(
 *     Session.watch.pipe(
 *       Stream.map(({ theme }) => `data: ${JSON.stringify(theme ?? null)}

`),
 *       Stream.catchTag("SessionGone", ({ reason }) => Stream.make(`event: gone
data: ${reason}

`)),
 *       Stream.encodeText,
 *       Stream.provideContext(context)
 *     ),
 *     { contentType: "text/event-stream" }
 *   ))
 * ```
 */
export const watch: Stream.Stream<Data, Store.StoreError | SessionGone, Session> = own.watch

/**
 * The token, for links and forms under `ParamState`. Commits first, so that the token is good; the response is marked
 * `Cache-Control: no-store`. A page that shows it should send `Referrer-Policy: same-origin`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const token: Effect.Effect<SessionToken.Token, Store.StoreError | SessionGone | HeadSent, Session> = own.token

/**
 * Gives the session a new token at the commit and ends the old one; data, subject and absolute bound are kept. Call it at
 * a change of privilege that is no login: a token that somebody saw before is worth nothing after. At a login call `login`,
 * which renews as well. On a session that has ended it begins a new one, from this request's own updates. Fields declared
 * with `onRenew: "remove"` are dropped.
 *
 * @since 0.1.0
 * @category combinators
 */
export const renew: Effect.Effect<void, never, Session> = own.renew

/**
 * Says who the session belongs to from now on, after they have proved it: the subject is a user's id in your app. The
 * session gets a new token at the commit, as by `renew`, and its lifetime begins anew; `remember` keeps it longer. Fields
 * declared with `onRenew: "remove"` are dropped. Dies with a `StoreError`, answered with 503, if the session could not be
 * loaded, and if the subject is empty.
 *
 * @since 0.1.0
 * @category login
 * @example
 * ```ts
 * import { Session } from "effect-session"
 *
 * const signedIn = (user: { readonly id: string }) =>
 *   Session.login(user.id, { label: "Firefox on Linux", remember: "30 days" })
 * ```
 */
export const login: (subject: string, options?: LoginOptions) => Effect.Effect<void, never, Session> = own.login

/**
 * Who logged in to the session, if anybody did.
 *
 * @since 0.1.0
 * @category login
 */
export const subject: Effect.Effect<Option.Option<string>, never, Session> = own.subject

/**
 * Who logged in to the session. Fails with the error that you give if nobody did: a guard in one line. A response that
 * nobody catches is the answer; an error of your own is answered with 500 unless you catch it.
 *
 * @since 0.1.0
 * @category login
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Session } from "effect-session"
 *
 * const userId = Session.subjectOrFail(() => HttpServerResponse.empty({ status: 401 }))
 * ```
 */
export const subjectOrFail: <E>(orFail: () => E) => Effect.Effect<string, E, Session> = own.subjectOrFail

/**
 * Passes if the user logged in within this time, and fails with `ReauthenticationRequired` (401) if they did longer ago,
 * or never: for what a stolen session must not be able to do, such as deleting the account.
 *
 * @since 0.1.0
 * @category login
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-session"
 *
 * declare const deleteAccount: Effect.Effect<void>
 *
 * const guarded = Effect.zipRight(Session.requireRecentLogin("10 minutes"), deleteAccount)
 * ```
 */
export const requireRecentLogin: (
  within: Duration.DurationInput
) => Effect.Effect<void, ReauthenticationRequired, Session> = own.requireRecentLogin

/**
 * Ends the session. Its data is gone at once; the store's record and the client's cookie go at the commit, whatever the
 * response's status. Updates made after it begin a new session, so a logout can leave a message.
 *
 * @since 0.1.0
 * @category combinators
 */
export const destroy: Effect.Effect<void, never, Session> = own.destroy

/**
 * Leaves the store as it is, whatever this request changes or renews. An explicit `commit` still saves.
 *
 * @since 0.1.0
 * @category combinators
 */
export const ignoreChanges: Effect.Effect<void, never, Session> = own.ignoreChanges

/**
 * Saves now rather than when the response is known: for what must be saved even if the response fails, and before a stream
 * that goes on writing. Keeps a new session even if it is empty. Fails with `HeadSent` if a new token would be needed and
 * can't be sent any more.
 *
 * A `StoreError` can mean that the store saved and its answer was lost. If you handle it and answer below 500, the end of
 * the request saves once more, so an update may count twice. Answer with a 5xx, or run `ignoreChanges`, where that matters.
 *
 * @since 0.1.0
 * @category combinators
 */
export const commit: Effect.Effect<void, Store.StoreError | SessionGone | HeadSent, Session> = own.commit

/**
 * Ends the session after this long, counted from now, idle or not, in place of the policy's bounds, and makes the cookie
 * last until then ("remember me"). Stays so through `renew`. At most 400 days.
 *
 * @since 0.1.0
 * @category combinators
 */
export const expireIn: (duration: Duration.DurationInput) => Effect.Effect<void, never, Session> = own.expireIn

/**
 * Takes `expireIn` back: the policy's bounds hold again, counted from now, and the cookie ends with the browser's session
 * unless `CookieState` has a `maxAge`. Does nothing to a session that `expireIn` never bound.
 *
 * @since 0.1.0
 * @category combinators
 */
export const expireByPolicy: Effect.Effect<void, never, Session> = own.expireByPolicy

/**
 * Runs `f` on the latest stored data and saves the result atomically, with this request's pending updates. If another
 * request saves first, `f` runs again; you get the result of the run that was saved. `f` is pure. What was saved stays
 * saved, even if the response is an error.
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
 * Runs an effect on the session of a token, outside of any HTTP request: for a socket, a job, or RPC. Loads the session,
 * provides it, and commits when the effect succeeds; if the effect fails, only a `destroy` is carried out. Never begins a
 * session: a token without a live one fails with `SessionGone`. No new token can reach the client from here, so `renew`
 * fails the commit with `HeadSent`, and so does a change on a store whose token is the data (`SealedStore`). Requires
 * `State`, because some stores bind a token to the place that carries it. A named session whose own State and Store are
 * there (`HttpMiddleware.layerSession`) uses those.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { Session, SessionToken } from "effect-session"
 *
 * // a job that was queued with the token of the request that asked for it
 * const markDone = (token: SessionToken.Token) =>
 *   Session.update((data) => ({ ...data, exported: true })).pipe(Session.withToken(token))
 * ```
 */
export const withToken: (
  token: SessionToken.Token
) => <A, E, R>(
  effect: Effect.Effect<A, E, R>
) => Effect.Effect<
  A,
  E | Store.StoreError | SessionGone | HeadSent,
  Exclude<R, Session> | State.State | Store.Store
> = own.withToken

/**
 * A session without HTTP, kept in memory, for handlers under test. The seed is data, or an Effect that uses the session;
 * a seeded session is one that exists, an unseeded one is new.
 *
 * @since 0.1.0
 * @category testing
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-session"
 *
 * const greeting = Effect.map(Session.get, (data) => `Hello ${data["user"]}`)
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
        events: yield* SessionEvents.SessionEvents,
        transports: [],
        source: undefined,
        host: undefined
      }
      const session = new internal.SessionHandle(() => environment)
      if (seed !== undefined) {
        yield* Effect.isEffect(seed)
          ? Effect.provideService(seed, Session, session)
          : session.modify(() => [undefined, seed])
        yield* Effect.orDie(session.save)
        yield* session.arrive
      }
      return session
    })
  )
