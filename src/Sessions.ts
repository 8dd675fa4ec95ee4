/**
 * The sessions of a person, beside any request: to show them to their owner, to end one or all of them, and to limit how
 * many there are. A session belongs to the subject that `Session.login` was given.
 *
 * The service comes from the layer of a store that can look sessions up by subject: `MemoryStore`, `FileStore`,
 * `RedisStore`, `SqlStore`, `StoreConfig`, and `TieredStore` in front of one of them. Another store does not provide it, so
 * needing it there does not compile. The time is that of the caller's `Clock`: a session that has expired is not answered.
 * The module knows nothing of HTTP.
 *
 * A subject may have any number of sessions, so the policy's `storeTimeout` does not limit these calls: they take as long
 * as the store does. Where somebody waits for the answer, limit it by `Effect.timeoutFail`. What was ended by then stays
 * ended.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { yieldToEventLoop } from "./internal/runtime/eventLoop.js"
import { emitting } from "./internal/sessionEvents/emit.js"
import * as SessionRecord from "./SessionRecord.js"
import type { SessionId } from "./SessionToken.js"
import type { StoreError } from "./Store.js"

/**
 * What is safe to show of a session. Times are in milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Summary {
  /** The public id, never the token. It is what `revoke` takes. After a renewal, the session has another one. */
  readonly id: SessionId
  /** The name that the login gave the session, such as "Firefox on Linux". */
  readonly label: Option.Option<string>
  readonly createdAt: number
  /** When the subject last proved who they are. */
  readonly authenticatedAt: number
  /**
   * When the session was last written or touched. A read moves it only where it moves the end of the session, and then
   * after the policy's touch interval, by default a tenth of the idle timeout. The end of a session that was logged in with
   * `remember`, or kept by `Session.expireIn`, never moves by reads: its `touchedAt` is its login or its last change.
   */
  readonly touchedAt: number
  /** When the session ends if it is not used: the earlier of the idle deadline and the absolute bound. */
  readonly endsAt: number
}

/**
 * Options of `revokeAll`.
 *
 * @since 0.1.0
 * @category models
 */
export interface RevokeAllOptions {
  /**
   * The id of a session that stays, such as the current one's: `Session.id`. Default: none. An id from before a renewal
   * keeps nothing.
   */
  readonly except?: string | undefined
}

/**
 * The service. Its functions are accessors of this module too.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** See `list`. */
  readonly list: (subject: string) => Stream.Stream<Summary, StoreError>
  /** See `revoke`. */
  readonly revoke: (id: string) => Effect.Effect<boolean, StoreError>
  /** See `revokeAll`. */
  readonly revokeAll: (subject: string, options?: RevokeAllOptions) => Effect.Effect<number, StoreError>
  /** See `keepNewest`. */
  readonly keepNewest: (subject: string, n: number) => Effect.Effect<number, StoreError>
  /** See `count`. */
  readonly count: (subject: string) => Effect.Effect<number, StoreError>
  /** What the service was made of, for a store that is put in front of another. */
  readonly lookup: Lookup
}

/**
 * The sessions of a store, by subject.
 *
 * @since 0.1.0
 * @category tags
 */
export class Sessions extends Context.Tag("effect-session/Sessions")<Sessions, Service>() {}

/**
 * What a store does so that `make` can do the rest.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lookup {
  /**
   * The sessions of a subject that are live at `now` (milliseconds since the epoch), the one with the latest `touchedAt`
   * first. A session that is renewed meanwhile is there, under its old id or its new one; `end` ends it under either. Where
   * a list is read in pages, one that is used meanwhile may be missing: whoever must not miss one lists again, as long as
   * there is something to end.
   */
  readonly list: (
    subject: string,
    now: number
  ) => Stream.Stream<readonly [id: SessionId, record: SessionRecord.SessionRecord], StoreError>
  /**
   * Does what the store's `remove` does, by the id: leaves a tombstone, and follows that of a renewal. Gives the id of the
   * live session that ended, if one did.
   */
  readonly end: (id: SessionId, now: number) => Effect.Effect<Option.Option<SessionId>, StoreError>
}

/** How many sessions are ended at a time, so that many of them do not wait for one trip to the store after the other. */
const endTogether = 8

/** How many sessions are ended before other work gets its turn. A store in memory would hold the event loop. */
const endBatch = 500

/** The form of the ids of stores that keep sessions under a token's hash. */
const idForm = /^[A-Za-z0-9_-]{43}$/

const isId = (text: string): text is SessionId => idForm.test(text)

const summary = (id: SessionId, record: SessionRecord.SessionRecord): Summary => ({
  id,
  label: Option.fromNullable(record.label),
  createdAt: record.createdAt,
  // a login always notes the time; a record that was made by hand may lack it
  authenticatedAt: record.authenticatedAt ?? record.createdAt,
  touchedAt: record.touchedAt,
  endsAt: SessionRecord.endsAt(record)
})

/**
 * Makes the service of what a store can do.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (lookup: Lookup): Service => {
  const { end, list } = lookup
  const all = (subject: string): Stream.Stream<Summary, StoreError> =>
    Stream.unwrap(
      Effect.map(
        Clock.currentTimeMillis,
        (now) => Stream.map(list(subject, now), ([id, record]) => summary(id, record))
      )
    )

  /** `subject` is whose session it is, if that is known. */
  const revoke = (id: string, subject?: string): Effect.Effect<boolean, StoreError> =>
    isId(id)
      ? Effect.flatMap(Clock.currentTimeMillis, (now) => end(id, now)).pipe(
        Effect.tap(Option.match({
          onNone: () => Effect.void,
          onSome: (id) => emitting({ _tag: "Revoked", id, ...(subject === undefined ? {} : { subject }) })
        })),
        Effect.map(Option.isSome)
      )
      : Effect.succeed(false)

  /** Ends sessions of a subject, and says how many ended. */
  const endEach = (subject: string, ids: Chunk.Chunk<SessionId>): Effect.Effect<number, StoreError> =>
    Effect.reduce(
      Chunk.chunksOf(ids, endBatch),
      0,
      (total, batch) =>
        Effect.forEach(batch, (id) => revoke(id, subject), { concurrency: endTogether }).pipe(
          Effect.map((ends) => total + ends.filter((ended) => ended).length),
          Effect.zipLeft(batch.length < endBatch ? Effect.void : yieldToEventLoop)
        )
    )

  /**
   * Ends the listed sessions that `among` leaves, and lists again until none is left to end: a session that was used
   * while a list of many pages was read may have been missing there.
   */
  const endAll = (
    subject: string,
    among: (sessions: Stream.Stream<Summary, StoreError>) => Stream.Stream<Summary, StoreError>
  ): Effect.Effect<number, StoreError> =>
    Effect.iterate({ total: 0, last: -1 }, {
      while: ({ last }) => last !== 0,
      body: ({ total }) =>
        // the ids are read before the first session ends, because pages must not move under the reader
        Stream.runCollect(Stream.map(among(all(subject)), ({ id }) => id)).pipe(
          Effect.flatMap((ids) => endEach(subject, ids)),
          Effect.map((last) => ({ total: total + last, last }))
        )
    }).pipe(Effect.map(({ total }) => total))

  return {
    lookup,
    list: all,
    revoke: (id) => revoke(id),
    revokeAll: (subject, { except } = {}) => endAll(subject, Stream.filter(({ id }) => id !== except)),
    keepNewest: (subject, n) =>
      Number.isSafeInteger(n) && n >= 0
        ? endAll(subject, Stream.drop(n))
        : Effect.die(new RangeError("Sessions.keepNewest: write a whole number of sessions, 0 or more, such as 5")),
    count: (subject) => Stream.runCount(all(subject))
  }
}

/**
 * The live sessions of a subject, newest use first. Someone who may see them is the subject: the subject of the session
 * that asks, or of the user whom an administrator looks after. If a session is written while the list is read, it may
 * be missing.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Data, Effect, Option, Stream } from "effect"
 * import { Session, Sessions } from "effect-session"
 *
 * class Unauthorized extends Data.TaggedError("Unauthorized") {}
 *
 * const devices = Effect.gen(function*() {
 *   const subject = yield* Session.subjectOrFail(() => new Unauthorized())
 *   const current = yield* Session.id
 *   const sessions = yield* Stream.runCollect(Sessions.list(subject))
 *   return yield* HttpServerResponse.json(Array.from(sessions, ({ id, label, touchedAt }) => ({
 *     id,
 *     label: Option.getOrElse(label, () => "Unknown device"),
 *     lastUsed: new Date(touchedAt),
 *     current: id === current
 *   })))
 * })
 * ```
 */
export const list = (subject: string): Stream.Stream<Summary, StoreError, Sessions> =>
  Stream.unwrap(Effect.map(Sessions, (sessions) => sessions.list(subject)))

/**
 * Ends the session of an id, whoever's it is, and says whether a live one ended. It is as final as a logout: a request
 * under way saves nothing and sets no cookie. If the session was renewed within the last minute, its successor ends. A
 * text that is no id ends nothing. If a user chooses the id, look it up in `list` of their subject first.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Sessions } from "effect-session"
 *
 * // ends a session only if it is the subject's
 * const end = (subject: string, id: string) =>
 *   Sessions.list(subject).pipe(
 *     Stream.filter((session) => session.id === id),
 *     Stream.runForEach((session) => Sessions.revoke(session.id))
 *   )
 * ```
 */
export const revoke = (id: string): Effect.Effect<boolean, StoreError, Sessions> =>
  Effect.flatMap(Sessions, (sessions) => sessions.revoke(id))

/**
 * Ends all sessions of a subject, but the one with the id `except` if it is given, and says how many ended. Each ends as
 * `revoke` ends it. If it fails, some may have ended; call it again. In a request that renews its session or logs in, call
 * `Session.commit` first: until then, `Session.id` is that of a session that is not kept yet, and the current one would
 * end.
 *
 * A session that another request renews meanwhile has another id than `except`, and ends. In a request that renews its
 * session and commits first, as below, this can't happen: the browser does not have the new token yet.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session, Sessions } from "effect-session"
 *
 * // after a change of the password
 * const logOutEverywhereElse = (subject: string) =>
 *   Session.renew.pipe(
 *     Effect.zipRight(Session.commit),
 *     Effect.zipRight(Session.id),
 *     Effect.flatMap((except) => Sessions.revokeAll(subject, { except }))
 *   )
 * ```
 */
export const revokeAll = (
  subject: string,
  options?: RevokeAllOptions
): Effect.Effect<number, StoreError, Sessions> =>
  Effect.flatMap(Sessions, (sessions) => sessions.revokeAll(subject, options))

/**
 * Ends all sessions of a subject but the `n` with the newest `touchedAt`, and says how many ended. It limits parallel
 * sessions if it is called at login, after `Session.commit`, so that the new session counts. Reads do not move the
 * `touchedAt` of a session with `remember`, so such a one may end although it is read every day: see `Summary`. Dies with
 * a `RangeError` if `n` is not a whole number of 0 or more.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session, Sessions } from "effect-session"
 *
 * const login = (subject: string) =>
 *   Session.login(subject).pipe(
 *     Effect.zipRight(Session.commit),
 *     Effect.zipRight(Sessions.keepNewest(subject, 5))
 *   )
 * ```
 */
export const keepNewest = (subject: string, n: number): Effect.Effect<number, StoreError, Sessions> =>
  Effect.flatMap(Sessions, (sessions) => sessions.keepNewest(subject, n))

/**
 * How many live sessions a subject has. It reads them all, as `list` does.
 *
 * @since 0.1.0
 * @category accessors
 */
export const count = (subject: string): Effect.Effect<number, StoreError, Sessions> =>
  Effect.flatMap(Sessions, (sessions) => sessions.count(subject))
