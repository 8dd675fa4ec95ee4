/**
 * What the author of a store reads. A `Backend` keeps text under keys; `fromBackend` makes a store of it and adds what all
 * stores share: hashing of tokens, encoding of records, errors, spans, and the sweep. A backend knows neither tokens nor
 * HTTP.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { andThen, mapError } from "./internal/runtime/exit.js"
import { emitting } from "./internal/sessionEvents/emit.js"
import { raised } from "./internal/store/revision.js"
import { subjectHash } from "./internal/store/subject.js"
import { sweeping } from "./internal/store/sweeping.js"
import * as SessionRecord from "./SessionRecord.js"
import * as Sessions from "./Sessions.js"
import * as SessionToken from "./SessionToken.js"
import * as Store from "./Store.js"

/**
 * How a backend names a session: the public id, which is the key, and the two bytes (hex) that a renewed session keeps,
 * for backends that place keys by them. Neither gives away the token.
 *
 * @since 0.1.0
 * @category backend
 */
export interface Key {
  readonly id: SessionToken.SessionId
  readonly shard: string
}

/**
 * What a backend keeps under a key: a session's encoded body with its stamp, or the tombstone of one, with the time in
 * milliseconds until which it counts.
 *
 * @since 0.1.0
 * @category backend
 */
export type Entry = LiveEntry | Tombstone

/**
 * @since 0.1.0
 * @category backend
 */
export interface LiveEntry extends SessionRecord.Stamp {
  readonly _tag: "Entry"
  readonly body: string
  /**
   * For `insert`, `replace` and `rename`: whose session it is, as the SHA-256 of the subject in base64url, or nobody's. A
   * backend that gives `Subjects` keeps it beside the entry. What a backend reads need not have it.
   */
  readonly subject?: string | undefined
  /**
   * For a backend that `listsApart`: until when (milliseconds) the session has to be listed under its subject before it
   * is written. Absent if it is listed for long enough.
   */
  readonly listUntil?: number | undefined
}

/**
 * @since 0.1.0
 * @category backend
 */
export interface Tombstone {
  readonly _tag: "Tombstone"
  readonly until: number
  /** The id of the session that a renewal put in its place. */
  readonly successor?: SessionToken.SessionId | undefined
  /** Whether the session was ended beside its requests, by `Sessions.revoke` and its like. */
  readonly revoked?: true | undefined
}

/**
 * The answer of a backend's `replace` and `rename`.
 *
 * @since 0.1.0
 * @category backend
 */
export type Replaced =
  | { readonly _tag: "Replaced" }
  | { readonly _tag: "Changed"; readonly entry: LiveEntry }
  | { readonly _tag: "Absent" }

/** @since 0.1.0 @category backend */
export const replaced: Replaced = { _tag: "Replaced" }

/** @since 0.1.0 @category backend */
export const changed = (entry: LiveEntry): Replaced => ({ _tag: "Changed", entry })

/** @since 0.1.0 @category backend */
export const absent: Replaced = { _tag: "Absent" }

/**
 * Whether what a backend found under a key is a live session at `now`.
 *
 * @since 0.1.0
 * @category backend
 */
export const isLive = (entry: Entry | undefined, now: number): entry is LiveEntry =>
  entry !== undefined && entry._tag === "Entry" && now < entry.deadline

/**
 * Whether what a backend found under a key still counts at `now`, session or tombstone: a new session can't take the key.
 *
 * @since 0.1.0
 * @category backend
 */
export const isTaken = (entry: Entry | undefined, now: number): boolean =>
  entry !== undefined && now < (entry._tag === "Entry" ? entry.deadline : entry.until)

/**
 * The backend's part of a store. Each operation is atomic for its keys; an entry whose deadline is not after `now`
 * (milliseconds) counts as absent, a tombstone never as a session. It may fail with anything: `fromBackend` makes a
 * `StoreError` of it, of reason `Contention` if it has the property `contended: true` (others wrote first, and the same
 * call may succeed if it is made again), and else `Unavailable`.
 *
 * @since 0.1.0
 * @category backend
 */
export interface Backend {
  /** What is under a key, expired or not. */
  readonly get: (key: Key, now: number) => Effect.Effect<Option.Option<Entry>, unknown>
  /** Keeps an entry where nothing counts, and says whether it did. */
  readonly insert: (key: Key, entry: LiveEntry, now: number) => Effect.Effect<boolean, unknown>
  /** Replaces a live entry of that revision. */
  readonly replace: (key: Key, revision: number, entry: LiveEntry, now: number) => Effect.Effect<Replaced, unknown>
  /**
   * The same under another key, leaving the tombstone (which names that key's id) under the old one, in one step. Fails
   * where `next` is taken.
   */
  readonly rename: (
    key: Key,
    revision: number,
    next: Key,
    entry: LiveEntry,
    tombstone: Tombstone,
    now: number
  ) => Effect.Effect<Replaced, unknown>
  /**
   * Moves the deadline of a live entry of that revision forward, never back, and stamps it touched at `now`. Says
   * whether a live entry is there, of whatever revision.
   */
  readonly extend: (key: Key, revision: number, deadline: number, now: number) => Effect.Effect<boolean, unknown>
  /**
   * Puts the tombstone in place of any session entry that is there, expired or not. A tombstone that is there and counts
   * stays as it is, and the answer is its successor, if it has one. Where nothing is, nothing needs to be left.
   */
  readonly remove: (
    key: Key,
    tombstone: Tombstone,
    now: number
  ) => Effect.Effect<SessionToken.SessionId | undefined, unknown>
  /** Puts what can't be decoded out of the way, for inspection. */
  readonly setAside?: (key: Key) => Effect.Effect<void, unknown>
  /** The transaction of the app's own that the caller is in, where the operations become part of one. */
  readonly transaction?: Effect.Effect<Option.Option<Store.Transaction<unknown>>>
  /**
   * Deletes at most `limit` entries that ended a minute ago or earlier, and says how many it did. Absent where a server
   * expires.
   */
  readonly sweep?: (limit: number, now: number) => Effect.Effect<number, unknown>
  /** Waits until the next sweep is worth its while. Default: the sweep interval. */
  readonly untilDue?: Effect.Effect<void>
  /** Whether it keeps the list of a subject's sessions apart from the sessions, so that `listUntil` is told. */
  readonly listsApart?: true
  /** How it tells of writes, as in `Store.Watching`. Absent where a watcher has to ask. */
  readonly changes?: Changes
}

/**
 * How a backend tells of writes. See `Store.Watching`, which says the same of a store.
 *
 * @since 0.1.0
 * @category backend
 */
export interface Changes {
  readonly complete: boolean
  readonly of: (key: Key) => Stream.Stream<void, unknown>
}

/**
 * The answer of `end`: whether a live session ended, or the id that a renewal put in its place.
 *
 * @since 0.1.0
 * @category backend
 */
export type Ended =
  | { readonly _tag: "Ended" }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Renewed"; readonly successor: SessionToken.SessionId }

/**
 * What a backend does besides, if it can look sessions up by subject. It may fail with anything.
 *
 * @since 0.1.0
 * @category backend
 */
export interface Subjects {
  /** The entries of a subject (its hash, as in `LiveEntry`) that are live at `now`, the latest `touchedAt` first. */
  readonly list: (
    subject: string,
    now: number
  ) => Stream.Stream<readonly [id: SessionToken.SessionId, entry: LiveEntry], unknown>
  /**
   * Puts the tombstone in place of a session, as `remove` does. An expired one gets it too, and is answered as `Absent`.
   */
  readonly end: (id: SessionToken.SessionId, tombstone: Tombstone, now: number) => Effect.Effect<Ended, unknown>
}

/**
 * How `fromBackend` runs a backend.
 *
 * @since 0.1.0
 * @category backend
 */
export interface BackendOptions {
  /** Names the store in spans, logs and errors: `RedisStore`. Spans are made for a tracer of the app's own alone. */
  readonly name: string
  /** How often expired entries are swept. Default: every minute. */
  readonly sweepInterval?: Duration.DurationInput | undefined
  /** How many are deleted at most before other work gets its turn. Default: 500. */
  readonly sweepBatch?: number | undefined
}

/**
 * Makes a store of a backend. The sweep runs in the scope and stops with it; its errors are logged and counted and do not
 * end it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromBackend = (
  backend: Backend,
  options: BackendOptions
): Effect.Effect<Store.Store, never, Scope.Scope> => {
  const { name } = options
  const failing = <A>(method: string, effect: Effect.Effect<A, unknown>): Effect.Effect<A, Store.StoreError> =>
    mapError(effect, failure(name, method))

  const run = <A>(
    method: Store.Method | "watch",
    token: SessionToken.Token,
    f: (key: Key) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, Store.StoreError> =>
    failing(method, andThen(SessionToken.toId(token), (id) => f(keyOf(id, token))))

  const undecodable = (key: Key, reason: SessionRecord.Undecodable["reason"]): Effect.Effect<undefined> =>
    emitting(
      { _tag: "Rejected", reason: "undecodable", id: key.id },
      Effect.logWarning(`${name}: a session can't be decoded (${reason})`)
    ).pipe(
      Effect.annotateLogs("session.id", key.id),
      Effect.zipRight(
        reason === "Malformed" && backend.setAside !== undefined
          ? Effect.catchAllCause(
            backend.setAside(key),
            (cause) => Effect.logWarning(`${name}: an undecodable session could not be set aside`, cause)
          )
          : Effect.void
      ),
      Effect.as(undefined)
    )

  /** The record of an entry; `undefined` for one that can't be decoded. */
  const read = (key: Key, entry: LiveEntry): Effect.Effect<SessionRecord.SessionRecord | undefined> => {
    const decoded = SessionRecord.decode(entry.body, entry)
    return decoded._tag === "Right" ? Effect.succeed(decoded.right) : undecodable(key, decoded.left.reason)
  }

  const entryOf = (record: SessionRecord.SessionRecord, revision: number, listedUntil?: number): LiveEntry => ({
    _tag: "Entry",
    ...SessionRecord.stamp(record),
    revision,
    body: SessionRecord.encode(record, listedUntil)
  })

  const entryOfSubject = (
    record: SessionRecord.SessionRecord,
    revision: number,
    subject: string,
    isNew: boolean
  ): LiveEntry => {
    if (backend.listsApart !== true) {
      return { ...entryOf(record, revision), subject }
    }
    const { expiresAt, listedFor, listedUntil } = record
    return isNew || listedUntil === undefined || listedUntil < expiresAt || listedFor !== record.subject
      ? { ...entryOf(record, revision, expiresAt), subject, listUntil: expiresAt }
      : { ...entryOf(record, revision, listedUntil), subject }
  }

  /** Runs a write with the entry of a record, which `isNew` under its key or replaces another. */
  const writing = <A>(
    record: SessionRecord.SessionRecord,
    revision: number,
    isNew: boolean,
    write: (entry: LiveEntry) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, unknown> =>
    record.subject === undefined
      ? write(entryOf(record, revision))
      : andThen(subjectHash(record.subject), (subject) => write(entryOfSubject(record, revision, subject, isNew)))

  const answer = (
    token: SessionToken.Token,
    key: Key,
    revision: number,
    result: Replaced
  ): Effect.Effect<Store.Updated> => {
    switch (result._tag) {
      case "Replaced":
        return Effect.succeed(Store.updated(token, revision))
      case "Absent":
        return Effect.succeed(Store.gone)
      case "Changed":
        return andThen(
          read(key, result.entry),
          (record) => Effect.succeed(record === undefined ? Store.gone : Store.conflict(record))
        )
    }
  }

  /** Ends a session, and the one that a renewal put in its place, as long as there is one. */
  const end = (key: Key, now: number): Effect.Effect<void, unknown> =>
    andThen(
      backend.remove(key, tombstone(now), now),
      (successor) => successor === undefined ? Exit.void : end({ id: successor, shard: key.shard }, now)
    )

  const store = Store.make({
    accepts: SessionToken.isDrawn,
    load: (token, { now }) =>
      run("load", token, (key) =>
        andThen(backend.get(key, now), (found): Effect.Effect<Store.Loaded> => {
          if (found._tag === "None") {
            return Effect.succeed(Store.none)
          }
          if (!isTaken(found.value, now)) {
            return Effect.succeed(ended(found.value))
          }
          return found.value._tag === "Tombstone"
            ? Effect.succeed(Store.superseded)
            : andThen(
              read(key, found.value),
              (record) =>
                Effect.succeed(
                  record === undefined
                    ? Store.none
                    : SessionRecord.isExpired(record, now)
                    ? Store.expired(record)
                    : Store.live(record)
                )
            )
        })),
    create: (token, record, { now }) =>
      run("create", token, (key) =>
        andThen(
          writing(record, record.revision, true, (entry) => backend.insert(key, entry, now)),
          (done) => Exit.succeed(done ? Store.created(token) : Store.exists)
        )),
    update: (token, revision, record, { now }) =>
      run("update", token, (key) => {
        const next = raised(revision)
        return andThen(
          writing(record, next, false, (entry) => backend.replace(key, revision, entry, now)),
          (result) => answer(token, key, next, result)
        )
      }),
    renew: (token, revision, next, record, { now }) =>
      run("renew", token, (key) =>
        andThen(SessionToken.toId(next), (id) => {
          const renewed = raised(revision)
          return andThen(
            writing(
              record,
              renewed,
              true,
              (entry) => backend.rename(key, revision, keyOf(id, next), entry, tombstone(now, id), now)
            ),
            (result) => answer(next, key, renewed, result)
          )
        })),
    touch: (token, revision, deadline, { now }) =>
      run("touch", token, (key) =>
        andThen(
          backend.extend(key, revision, deadline, now),
          (there) => Exit.succeed(there ? Store.touched(token) : Store.gone)
        )),
    remove: (token, { now }) => run("remove", token, (key) => end(key, now)),
    watching: {
      complete: backend.changes?.complete ?? false,
      changes: (token) =>
        Stream.unwrap(
          Effect.map(SessionToken.toId(token), (id) => backend.changes?.of(keyOf(id, token)) ?? untold)
        ).pipe(Stream.mapError(failure(name, "watch"))),
      ending: (token, { now }) =>
        run(
          "watch",
          token,
          (key) => andThen(backend.get(key, now), (found) => Exit.succeed(Option.flatMap(found, endingOf)))
        )
    },
    ...(backend.transaction === undefined ? undefined : {
      transaction: Effect.map(
        backend.transaction,
        Option.map(({ key, mark }) => ({
          key,
          mark: Effect.map(failing("transaction", mark), (committed) => failing("transaction", committed))
        }))
      )
    })
  })

  return backend.sweep === undefined
    ? Effect.succeed(store)
    : Effect.as(sweeping(name, backend.sweep, { ...options, untilDue: backend.untilDue }), store)
}

/**
 * Makes `Sessions` of what a backend can do by subject. `name` names the store in errors. An entry that can't be decoded is
 * left out.
 *
 * @since 0.1.0
 * @category constructors
 */
export const sessions = (subjects: Subjects, name: string): Sessions.Service => {
  const end = (
    id: SessionToken.SessionId,
    now: number
  ): Effect.Effect<Option.Option<SessionToken.SessionId>, unknown> =>
    andThen(
      subjects.end(id, revocation(now), now),
      (ended) =>
        ended._tag === "Renewed"
          ? end(ended.successor, now)
          : Exit.succeed(ended._tag === "Ended" ? Option.some(id) : Option.none())
    )

  return Sessions.make({
    list: (subject, now) =>
      Stream.unwrap(Effect.map(subjectHash(subject), (hash) => subjects.list(hash, now))).pipe(
        Stream.filterMap(([id, entry]) =>
          Option.map(Either.getRight(SessionRecord.decode(entry.body, entry)), (record) => [id, record] as const)
        ),
        // where a list is kept apart, a session may be listed for a write that was refused, or changed since
        Stream.filter(([_, record]) => record.subject === subject && !SessionRecord.isExpired(record, now)),
        Stream.mapError(failure(name, "sessions"))
      ),
    end: (id, now) => mapError(end(id, now), failure(name, "revoke"))
  })
}

const failure = (name: string, method: string) => (cause: unknown): Store.StoreError =>
  new Store.StoreError({
    reason: isContended(cause) ? "Contention" : "Unavailable",
    method: `${name}.${method}`,
    cause
  })

const isContended = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && (cause as { readonly contended?: unknown }).contended === true

const tombstone = (now: number, successor?: SessionToken.SessionId): Tombstone => ({
  _tag: "Tombstone",
  until: now + Duration.toMillis(Store.tombstoneTimeToLive),
  successor
})

const revocation = (now: number): Tombstone => ({ ...tombstone(now), revoked: true })

/** The answer for an entry that no longer counts. One that can't be decoded is nobody's concern by then. */
const ended = (entry: Entry): Store.Loaded => {
  const decoded = entry._tag === "Entry" ? SessionRecord.decode(entry.body, entry) : undefined
  return decoded?._tag === "Right" ? Store.expired(decoded.right) : Store.none
}

const endingOf = (entry: Entry): Option.Option<"destroyed" | "renewed" | "revoked"> =>
  entry._tag === "Entry"
    ? Option.none()
    : Option.some(entry.revoked === true ? "revoked" : entry.successor === undefined ? "destroyed" : "renewed")

/** The changes of a backend that tells of none: the subscription stands at once. */
const untold: Stream.Stream<void> = Stream.concat(Stream.make<[void]>(undefined), Stream.never)

const keyOf = (id: SessionToken.SessionId, token: SessionToken.Token): Key => ({
  id,
  get shard() {
    return SessionToken.shard(token)
  }
})
