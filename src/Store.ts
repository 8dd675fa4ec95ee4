/**
 * Where sessions live: the contract that the middleware relies on and that every store keeps. A new store is best written
 * as a `StoreBackend.Backend`, which deals in text and leaves hashing, encoding, errors and sweeping to the library.
 * Nothing here knows HTTP.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { declaredAs, logAndRespondWith, respondable } from "./internal/http/respondable.js"
import type { Ending } from "./SessionError.js"
import type * as SessionRecord from "./SessionRecord.js"
import type * as SessionToken from "./SessionToken.js"

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
 * What every operation is told of the request it is for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  /** The time by the caller's clock, in milliseconds since the epoch. It decides what has expired. */
  readonly now: number
  /**
   * Where the client carries the token: `cookie:<name>`, `header:<name>` or `param:<key>`. A store whose token is the data
   * binds the token to it; other stores ignore it.
   */
  readonly audience: string
  /** The bytes that a token may take there. */
  readonly limit: number
  /**
   * For `load`: the answer must be what is stored now, and not what was remembered before. `Session.watch` asks so. A store
   * that remembers nothing ignores it. Default false.
   */
  readonly fresh?: boolean | undefined
}

/**
 * The operations of a store by name.
 *
 * @since 0.1.0
 * @category models
 */
export type Method = "load" | "create" | "update" | "renew" | "touch" | "remove"

/**
 * One call of an operation with its arguments, as `around` hands it to the wrapper.
 *
 * @since 0.1.0
 * @category models
 */
export interface Operation {
  readonly method: Method
  readonly token: SessionToken.Token
  readonly call: Call
  /** For `update`, `renew` and `touch`: the revision that the caller read. */
  readonly revision?: number
  /** For `renew`: the token that takes the place of `token`. */
  readonly next?: SessionToken.Token
  /** For `create`, `update` and `renew`: what is written. */
  readonly record?: SessionRecord.SessionRecord
  /** For `touch`: the new deadline, in milliseconds since the epoch. */
  readonly deadline?: number
}

/**
 * The answer of `load`. `Superseded` is a token that was renewed or removed within the last minute; `None` is any other
 * that names no live session: unknown, expired, undecodable. A store that still has the record of an expired session may
 * give it, so that `SessionEvents.Expired` is told.
 *
 * @since 0.1.0
 * @category models
 */
export type Loaded =
  | { readonly _tag: "Live"; readonly record: SessionRecord.SessionRecord }
  | { readonly _tag: "Superseded" }
  | { readonly _tag: "None"; readonly expired?: SessionRecord.SessionRecord | undefined }

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
 * The contract between the middleware and a store. `StoreLaws` checks a store against it.
 *
 * No operation is an upsert. An expired record answers as absent, whether or not it has been swept. Every operation is
 * told the time; it never reads a clock of its own, so that the process that asks judges what has expired.
 *
 * A store that can answer at once does its work when the operation is called and answers with an `Exit` (such as
 * `Effect.succeed(answer)`); the middleware then goes on without a fiber or a timer. So call an operation anew for each
 * use, and do not keep its Effect.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store {
  readonly [TypeId]: TypeId

  /** Whether a token has the full form of this store's tokens. Pure: a malformed token never reaches the backend. */
  readonly accepts: (token: SessionToken.Token) => boolean

  /** Reads the live record under a token. */
  readonly load: (token: SessionToken.Token, call: Call) => Effect.Effect<Loaded, StoreError>

  /** Keeps a new record under a token. Never overwrites one. */
  readonly create: (
    token: SessionToken.Token,
    record: SessionRecord.SessionRecord,
    call: Call
  ) => Effect.Effect<Created, StoreError>

  /** Replaces the record if it still has this revision, and raises the revision, by 1 or more. */
  readonly update: (
    token: SessionToken.Token,
    revision: number,
    record: SessionRecord.SessionRecord,
    call: Call
  ) => Effect.Effect<Updated, StoreError>

  /**
   * Does what `update` does and moves the session to the token `next`, in one step: there are never two live tokens and
   * never none. The old token becomes a tombstone that names the new one. Fails if `next` is taken; no other session is
   * overwritten.
   */
  readonly renew: (
    token: SessionToken.Token,
    revision: number,
    next: SessionToken.Token,
    record: SessionRecord.SessionRecord,
    call: Call
  ) => Effect.Effect<Updated, StoreError>

  /**
   * Moves the idle deadline (milliseconds since the epoch) forward, never back, and changes nothing else. Does nothing if
   * the record has another revision.
   */
  readonly touch: (
    token: SessionToken.Token,
    revision: number,
    deadline: number,
    call: Call
  ) => Effect.Effect<Touched, StoreError>

  /**
   * Ends a session and leaves a tombstone, whether the record has expired or not. Where the session was renewed
   * meanwhile, follows the tombstone and ends its successor. Idempotent.
   */
  readonly remove: (token: SessionToken.Token, call: Call) => Effect.Effect<void, StoreError>

  /** The open transaction of the app's own that the caller is in, for a store whose writes become part of it. */
  readonly transaction?: Effect.Effect<Option.Option<Transaction<StoreError>>>

  /** What helps `Session.watch`. A store without it is asked again and again. */
  readonly watching?: Watching
}

/**
 * How a store tells of changes, so that a watcher need not ask again and again.
 *
 * @since 0.1.0
 * @category models
 */
export interface Watching {
  /**
   * Whether `changes` tells of every write, by whatever process. If it does not, a watcher also asks at an interval.
   */
  readonly complete: boolean
  /**
   * Emits once when the subscription stands, and then whenever the session under the token was written, renewed or
   * ended, or may have been: after a connection was lost, it emits once more. A touch is no such write. It may emit more
   * often, and does not end before the store's layer is closed.
   */
  readonly changes: (token: SessionToken.Token) => Stream.Stream<void, StoreError>
  /**
   * How the session under a token ended, if it is still known: asked once, after `load` has found it gone.
   */
  readonly ending: (
    token: SessionToken.Token,
    call: Call
  ) => Effect.Effect<Option.Option<Exclude<Ending, "expired">>, StoreError>
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

/** What the backend said is for this process alone: it is left out when an error is encoded. */
const Cause = Schema.optionalToOptional(Schema.Unknown, Schema.Unknown, {
  decode: Option.none,
  encode: Option.none
})

/**
 * Why a store could not do what it was asked:
 *
 * - `Unavailable`: the backend failed; `cause` has its words
 * - `Timeout`: it did not answer within the policy's store timeout
 * - `Contention`: others wrote first, on every attempt within that timeout, or in a transaction of the app's own (a
 *   conflict, a deadlock), which has to be run again
 * - `TooLarge`: the session does not fit what carries it
 * - `Misused`: the operation is not possible here; `description` says what to do instead
 *
 * Unhandled, it is answered with 503. It holds no token; `method` is the operation. An endpoint of an `HttpApi` can declare
 * it: the answer is a 503 with the error encoded, without its `cause`.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreError extends Schema.TaggedError<StoreError>("effect-session/StoreError")("StoreError", {
  reason: Schema.Literal("Unavailable", "Timeout", "Contention", "TooLarge", "Misused"),
  method: Schema.String,
  description: Schema.optional(Schema.String),
  cause: Cause
}, declaredAs(503)) {
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof logAndRespondWith> {
    return logAndRespondWith(this, 503)
  }

  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId

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

/**
 * `None`, with the record of the session that has expired. The record is not enumerable, so that the answer compares equal
 * to `none`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const expired = (record: SessionRecord.SessionRecord): Loaded =>
  Object.defineProperty({ _tag: "None" as const }, "expired", { value: record })

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
 * Makes a store of its operations. Most stores are better made by `StoreBackend.fromBackend`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (operations: Omit<Store, TypeId>): Store => ({ [TypeId]: TypeId, ...operations })

/**
 * A store whose every operation goes through `f`, which is given the operation and a function that runs it. `accepts` and
 * `transaction` stay as they are.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Store } from "effect-session"
 *
 * // logs how every operation ends
 * const logged = (store: Store.Store) =>
 *   Store.around(store, (operation, run) =>
 *     Effect.onExit(Effect.suspend(run), (exit) => Effect.logDebug(operation.method, exit._tag)))
 * ```
 */
export const around = (
  store: Store,
  f: <A>(operation: Operation, run: () => Effect.Effect<A, StoreError>) => Effect.Effect<A, StoreError>
): Store => ({
  ...store,
  load: (token, call) => f({ method: "load", token, call }, () => store.load(token, call)),
  create: (token, record, call) =>
    f({ method: "create", token, record, call }, () => store.create(token, record, call)),
  update: (token, revision, record, call) =>
    f({ method: "update", token, revision, record, call }, () => store.update(token, revision, record, call)),
  renew: (token, revision, next, record, call) =>
    f({ method: "renew", token, revision, next, record, call }, () => store.renew(token, revision, next, record, call)),
  touch: (token, revision, deadline, call) =>
    f({ method: "touch", token, revision, deadline, call }, () => store.touch(token, revision, deadline, call)),
  remove: (token, call) => f({ method: "remove", token, call }, () => store.remove(token, call))
})
