/**
 * Where sessions live. The `Store` service is the contract that the middleware relies on, and that every store keeps; a
 * new store is written as a `Backend` of plain text operations and made by `fromBackend`, which adds what all stores
 * share: hashing of tokens, the record's envelope, errors, spans, and the sweep. A store knows nothing of HTTP.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as platform from "./internal/http/fiber.js"
import * as metrics from "./internal/runtime/metrics.js"
import * as synchronous from "./internal/store/synchronous.js"
import * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("effect-session/Store")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * What the State asks of a token, handed on with every call: what it must be bound to (`audience`, the cookie's or
 * header's name) and what it may weigh (`limit`, in bytes). Stores that key by the token ignore it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Binding {
  readonly audience: string
  readonly limit: number
}

/**
 * The answer of `load`. `Superseded` is a token that was renewed or removed within the last minute; `None` is any other
 * that names no live session: unknown, expired, undecodable.
 *
 * @since 0.1.0
 * @category models
 */
export type Loaded =
  | { readonly _tag: "Live"; readonly record: SessionRecord.SessionRecord }
  | { readonly _tag: "Superseded" }
  | { readonly _tag: "None" }

/**
 * The answer of `create`: the token to send; `Exists` when the token is taken (the core draws another); `NotKept` by a
 * store that keeps nothing.
 *
 * @since 0.1.0
 * @category models
 */
export type Created =
  | { readonly _tag: "Created"; readonly token: SessionToken.Token }
  | { readonly _tag: "Exists" }
  | { readonly _tag: "NotKept" }

/**
 * The answer of `update` and `renew`: the token to send and the new revision; `Conflict` with the record that another
 * writer left, so that a retry costs one call; `Gone` when no live session is there.
 *
 * @since 0.1.0
 * @category models
 */
export type Updated =
  | { readonly _tag: "Updated"; readonly token: SessionToken.Token; readonly revision: number }
  | { readonly _tag: "Conflict"; readonly record: SessionRecord.SessionRecord }
  | { readonly _tag: "Gone" }

/**
 * The answer of `touch`. `Touched` with the token to send, also when another revision left nothing to do.
 *
 * @since 0.1.0
 * @category models
 */
export type Touched = { readonly _tag: "Touched"; readonly token: SessionToken.Token } | { readonly _tag: "Gone" }

/**
 * The contract. No operation is an upsert; an expired record that was not swept yet answers as absent to every one.
 * Each reads the Clock of its caller, so the reader judges what is expired. `StoreLaws` holds any store to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store {
  readonly [TypeId]: TypeId

  /** Whether a token has the full form of this store's tokens: pure, so that a malformed one costs no call (S03). */
  readonly accepts: (token: SessionToken.Token) => boolean

  /** The live record under a token. */
  readonly load: (token: SessionToken.Token, binding?: Binding) => Effect.Effect<Loaded, StoreError>

  /** Keeps a new record under a token; never overwrites one (S05). */
  readonly create: (
    token: SessionToken.Token,
    record: SessionRecord.SessionRecord,
    binding?: Binding
  ) => Effect.Effect<Created, StoreError>

  /** Replaces the record if its revision is still the one given, and raises the revision. */
  readonly update: (
    token: SessionToken.Token,
    revision: number,
    record: SessionRecord.SessionRecord,
    binding?: Binding
  ) => Effect.Effect<Updated, StoreError>

  /**
   * The same under the token `next`, in one step: never two live tokens, never none. The old one is a tombstone. A `next`
   * that is taken is a failure: no other session ends for it (S05).
   */
  readonly renew: (
    token: SessionToken.Token,
    revision: number,
    next: SessionToken.Token,
    record: SessionRecord.SessionRecord,
    binding?: Binding
  ) => Effect.Effect<Updated, StoreError>

  /**
   * Moves the idle deadline (milliseconds since the epoch) forward, never back, and nothing else (S21). At another
   * revision there is nothing to do.
   */
  readonly touch: (
    token: SessionToken.Token,
    revision: number,
    deadline: number,
    binding?: Binding
  ) => Effect.Effect<Touched, StoreError>

  /** Ends a session and leaves a tombstone. Idempotent. */
  readonly remove: (token: SessionToken.Token, binding?: Binding) => Effect.Effect<void, StoreError>

  /** The transaction of the app's own that the caller is in, for a store whose calls become part of one. */
  readonly transaction?: Effect.Effect<Option.Option<Transaction<StoreError>>>
}

/**
 * A transaction of the app's own, such as `sql.withTransaction`, that a store's calls are part of.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transaction<E> {
  /** The same object all through one transaction; a nested one, a savepoint, has another. */
  readonly key: object
  /** Leaves a mark in the transaction. The effect that it answers tells, at any later time, whether the mark landed. */
  readonly mark: Effect.Effect<Effect.Effect<boolean, E>, E>
}

/**
 * Why a store could not do what it was asked:
 *
 * - `Unavailable`: the backend failed; `cause` has its words
 * - `Timeout`: it did not answer within the policy's store timeout
 * - `Contention`: other writers won every attempt within that timeout
 * - `TooLarge`: the session does not fit what carries it
 * - `Misused`: the operation is not possible here; `description` says what to do instead
 *
 * Unhandled, it is answered with 503. It holds no token; `method` is the operation.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreError extends Schema.TaggedError<StoreError>("effect-session/StoreError")("StoreError", {
  reason: Schema.Literal("Unavailable", "Timeout", "Contention", "TooLarge", "Misused"),
  method: Schema.String,
  description: Schema.optional(Schema.String),
  cause: Schema.optional(Schema.Defect)
}) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId

  /** @since 0.1.0 */
  readonly [platform.respondable] = platform.respondWith(503)

  /** @since 0.1.0 */
  override get message(): string {
    return this.description === undefined
      ? `session store: ${this.method}: ${this.reason}`
      : `session store: ${this.method}: ${this.reason}: ${this.description}`
  }
}

/**
 * Whether a value is a `StoreError`.
 *
 * @since 0.1.0
 * @category guards
 */
export const isStoreError = (value: unknown): value is StoreError => value instanceof StoreError

/**
 * The store service.
 *
 * @since 0.1.0
 * @category tags
 */
export const Store: Context.Tag<Store, Store> = Context.GenericTag<Store>("effect-session/Store")

/**
 * How long a renewed or removed token is remembered as superseded.
 *
 * @since 0.1.0
 * @category constants
 */
export const tombstoneTimeToLive: Duration.Duration = Duration.seconds(60)

/** @since 0.1.0 @category constructors */
export const none: Loaded = { _tag: "None" }

/** @since 0.1.0 @category constructors */
export const superseded: Loaded = { _tag: "Superseded" }

/** @since 0.1.0 @category constructors */
export const live = (record: SessionRecord.SessionRecord): Loaded => ({ _tag: "Live", record })

/** @since 0.1.0 @category constructors */
export const created = (token: SessionToken.Token): Created => ({ _tag: "Created", token })

/** @since 0.1.0 @category constructors */
export const exists: Created = { _tag: "Exists" }

/** @since 0.1.0 @category constructors */
export const notKept: Created = { _tag: "NotKept" }

/** @since 0.1.0 @category constructors */
export const updated = (token: SessionToken.Token, revision: number): Updated => ({ _tag: "Updated", token, revision })

/** @since 0.1.0 @category constructors */
export const conflict = (record: SessionRecord.SessionRecord): Updated => ({ _tag: "Conflict", record })

/** @since 0.1.0 @category constructors */
export const gone: { readonly _tag: "Gone" } = { _tag: "Gone" }

/** @since 0.1.0 @category constructors */
export const touched = (token: SessionToken.Token): Touched => ({ _tag: "Touched", token })

/**
 * Makes a store of its operations, for one that is not a backend of text. Most want `fromBackend`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (operations: Omit<Store, TypeId>): Store => ({ [TypeId]: TypeId, ...operations })

/**
 * The operations of a store that answers at once, as in memory: those of `Store`, told the time in milliseconds since the
 * epoch. What can't be done is thrown, as a `StoreError`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Synchronous {
  readonly accepts: Store["accepts"]
  readonly load: (token: SessionToken.Token, now: number) => Loaded
  readonly create: (token: SessionToken.Token, record: SessionRecord.SessionRecord, now: number) => Created
  readonly update: (
    token: SessionToken.Token,
    revision: number,
    record: SessionRecord.SessionRecord,
    now: number
  ) => Updated
  readonly renew: (
    token: SessionToken.Token,
    revision: number,
    next: SessionToken.Token,
    record: SessionRecord.SessionRecord,
    now: number
  ) => Updated
  readonly touch: (token: SessionToken.Token, revision: number, deadline: number, now: number) => Touched
  readonly remove: (token: SessionToken.Token, now: number) => void
}

/**
 * Makes a store of operations that answer at once. The middleware calls those themselves, with no fiber and no timeout,
 * which spares most of what a store call costs.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSynchronous = (operations: Synchronous): Store => {
  const answer = <A>(method: string, f: (now: number) => A): Effect.Effect<A, StoreError> =>
    Effect.clockWith((clock) => {
      try {
        return Effect.succeed(f(clock.unsafeCurrentTimeMillis()))
      } catch (cause) {
        return Effect.fail(isStoreError(cause) ? cause : new StoreError({ reason: "Unavailable", method, cause }))
      }
    })
  return synchronous.register(
    make({
      accepts: operations.accepts,
      load: (token) => answer("load", (now) => operations.load(token, now)),
      create: (token, record) => answer("create", (now) => operations.create(token, record, now)),
      update: (token, revision, record) => answer("update", (now) => operations.update(token, revision, record, now)),
      renew: (token, revision, next, record) =>
        answer("renew", (now) => operations.renew(token, revision, next, record, now)),
      touch: (token, revision, deadline) => answer("touch", (now) => operations.touch(token, revision, deadline, now)),
      remove: (token) => answer("remove", (now) => operations.remove(token, now))
    }),
    operations
  )
}

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
}

/**
 * @since 0.1.0
 * @category backend
 */
export interface Tombstone {
  readonly _tag: "Tombstone"
  readonly until: number
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
 * `StoreError` of it.
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
  /** The same under another key, leaving the tombstone under the old one, in one step. Fails where `next` is taken. */
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
  /** Puts the tombstone in place of a live entry. Where none is, nothing needs to be left. */
  readonly remove: (key: Key, tombstone: Tombstone, now: number) => Effect.Effect<void, unknown>
  /** Puts what can't be decoded out of the way, for inspection. */
  readonly setAside?: (key: Key) => Effect.Effect<void, unknown>
  /** The transaction of the app's own that the caller is in, where the operations become part of one. */
  readonly transaction?: Effect.Effect<Option.Option<Transaction<unknown>>>
  /** Deletes at most `limit` entries that no longer count, and says how many it did. Absent where a server expires. */
  readonly sweep?: (limit: number, now: number) => Effect.Effect<number, unknown>
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
 * Makes a store of a backend. The sweep runs in the scope and stops with it; its errors are logged and counted, and do
 * not end it (S68).
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromBackend = (backend: Backend, options: BackendOptions): Effect.Effect<Store, never, Scope.Scope> => {
  const { name } = options
  const failing = (method: string) =>
    Effect.mapError((cause: unknown) => new StoreError({ reason: "Unavailable", method: `${name}.${method}`, cause }))

  const run = <A, R>(
    method: string,
    token: SessionToken.Token,
    f: (key: Key, now: number) => Effect.Effect<A, unknown, R>
  ): Effect.Effect<A, StoreError, R> =>
    SessionToken.toId(token).pipe(
      Effect.flatMap((id) => {
        const key = keyOf(id, token)
        return platform.storeCall(`${name}.${method}`, id, (now) => f(key, now))
      }),
      failing(method)
    )

  const read = (key: Key, entry: LiveEntry): Effect.Effect<Option.Option<SessionRecord.SessionRecord>> => {
    const decoded = SessionRecord.decode(entry.body, entry)
    if (decoded._tag === "Right") {
      return Effect.succeed(Option.some(decoded.right))
    }
    return undecodable(key, decoded.left.reason)
  }

  const undecodable = (
    key: Key,
    reason: SessionRecord.Undecodable["reason"]
  ): Effect.Effect<Option.Option<SessionRecord.SessionRecord>> =>
    metrics.rejected("undecodable").pipe(
      Effect.zipRight(Effect.logWarning(`${name}: a session can't be decoded (${reason})`)),
      Effect.annotateLogs("session.id", key.id),
      Effect.zipRight(
        reason === "Malformed" && backend.setAside !== undefined
          ? Effect.catchAllCause(
            backend.setAside(key),
            (cause) => Effect.logWarning(`${name}: set aside failed`, cause)
          )
          : Effect.void
      ),
      Effect.as(Option.none())
    )

  const entryOf = (record: SessionRecord.SessionRecord, revision: number): LiveEntry => ({
    _tag: "Entry",
    ...SessionRecord.stamp(record),
    revision,
    body: SessionRecord.encode(record)
  })

  const answer = (token: SessionToken.Token, key: Key, revision: number, result: Replaced): Effect.Effect<Updated> => {
    switch (result._tag) {
      case "Replaced":
        return Effect.succeed(updated(token, revision))
      case "Absent":
        return Effect.succeed(gone)
      case "Changed":
        return Effect.map(read(key, result.entry), Option.match({ onNone: () => gone, onSome: conflict }))
    }
  }

  const tombstone = (now: number): Tombstone => ({
    _tag: "Tombstone",
    until: now + Duration.toMillis(tombstoneTimeToLive)
  })

  const store = make({
    accepts: SessionToken.isDrawn,
    load: (token) =>
      run("load", token, (key, now) =>
        Effect.flatMap(backend.get(key, now), (found): Effect.Effect<Loaded> => {
          if (found._tag === "None" || !isTaken(found.value, now)) {
            return Effect.succeed(none)
          }
          if (found.value._tag === "Tombstone") {
            return Effect.succeed(superseded)
          }
          return Effect.map(
            read(key, found.value),
            Option.match({
              onNone: () => none,
              onSome: (record) => SessionRecord.isExpired(record, now) ? none : live(record)
            })
          )
        })),
    create: (token, record) =>
      run(
        "create",
        token,
        (key, now) =>
          Effect.map(
            backend.insert(key, entryOf(record, record.revision), now),
            (done) => done ? created(token) : exists
          )
      ),
    update: (token, revision, record) =>
      run("update", token, (key, now) =>
        Effect.flatMap(
          backend.replace(key, revision, entryOf(record, revision + 1), now),
          (result) => answer(token, key, revision + 1, result)
        )),
    renew: (token, revision, next, record) =>
      run("renew", token, (key, now) =>
        Effect.flatMap(SessionToken.toId(next), (id) =>
          Effect.flatMap(
            backend.rename(key, revision, keyOf(id, next), entryOf(record, revision + 1), tombstone(now), now),
            (result) => answer(next, key, revision + 1, result)
          ))),
    touch: (token, revision, deadline) =>
      run(
        "touch",
        token,
        (key, now) => Effect.map(backend.extend(key, revision, deadline, now), (there) => there ? touched(token) : gone)
      ),
    remove: (token) => run("remove", token, (key, now) => backend.remove(key, tombstone(now), now)),
    ...(backend.transaction === undefined ? undefined : {
      transaction: Effect.map(
        backend.transaction,
        Option.map(({ key, mark }) => ({
          key,
          mark: Effect.map(failing("transaction")(mark), failing("transaction"))
        }))
      )
    })
  })

  return backend.sweep === undefined ? Effect.succeed(store) : Effect.as(sweeping(name, backend.sweep, options), store)
}

const keyOf = (id: SessionToken.SessionId, token: SessionToken.Token): Key => ({
  id,
  get shard() {
    return SessionToken.shard(token)
  }
})

const runtime = globalThis as unknown as { readonly setImmediate?: (run: () => void) => unknown }

/**
 * Lets whatever waits in the event loop have its turn (S68). A yield to other fibers alone would hold it, and so would a
 * timer on Node, which runs those that fell due meanwhile before it looks for requests again.
 */
const turn: Effect.Effect<void> = Effect.async((resume) => {
  const run = () => resume(Effect.void)
  if (runtime.setImmediate === undefined) {
    setTimeout(run, 0)
  } else {
    runtime.setImmediate(run)
  }
})

/**
 * Runs a sweep in the scope: at each interval batch after batch, other work between them, until one comes back short.
 * A failed sweep is logged and counted and tried again at the next interval (S68).
 *
 * @since 0.1.0
 * @category constructors
 */
export const sweeping = (
  name: string,
  sweep: (limit: number, now: number) => Effect.Effect<number, unknown>,
  options?: Pick<BackendOptions, "sweepBatch" | "sweepInterval">
): Effect.Effect<void, never, Scope.Scope> => {
  const limit = options?.sweepBatch ?? 500
  const interval = options?.sweepInterval ?? Duration.minutes(1)
  const batches: Effect.Effect<void, unknown> = Effect.flatMap(
    Effect.flatMap(Clock.currentTimeMillis, (now) => sweep(limit, now)),
    (count) => count < limit ? Effect.void : Effect.zipRight(turn, batches)
  )
  return batches.pipe(
    Effect.catchAllCause((cause) =>
      Effect.zipRight(metrics.storeFailed(`${name}.sweep`), Effect.logWarning(`${name}: sweep failed`, cause))
    ),
    Effect.repeat(Schedule.spaced(interval)),
    Effect.delay(interval),
    Effect.interruptible,
    Effect.forkScoped,
    Effect.asVoid
  )
}
