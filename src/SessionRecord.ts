/**
 * The record that a store keeps of a session. This is the one place where records are made, encoded and decoded. The
 * module knows nothing of HTTP, of tokens, or of where the text is stored.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { Mutable } from "effect/Types"
import * as Json from "./internal/record/json.js"
import type { SessionId } from "./SessionToken.js"

/**
 * A session's data: JSON by key, frozen.
 *
 * @since 0.1.0
 * @category models
 */
export type Data = Json.JsonObject

/**
 * The record of one session. Times are in milliseconds since the epoch, by the Clock of the process that wrote them.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionRecord {
  readonly data: Data
  /**
   * Raised by every write of data, never by a touch. Most stores raise it by a random step, so that no number is used
   * again after a failover or a restored backup took back a write.
   */
  readonly revision: number
  readonly createdAt: number
  /** When the session was last written or touched. */
  readonly touchedAt: number
  /** The idle deadline, which a touch moves forward. */
  readonly deadline: number
  /** The absolute bound. A touch never moves it; `Session.expireIn` does. */
  readonly expiresAt: number
  /** The session's idle timeout, in milliseconds. */
  readonly idle: number
  /** Whether the cookie outlives the browser's own session. Set by `Session.expireIn`. */
  readonly persistent?: true
  /** The keys of fields with `onRenew: "remove"`, which a renewal drops. */
  readonly dropOnRenew?: ReadonlyArray<string>
  /** Whose session it is. */
  readonly subject?: string
  /** The name under which its owner sees the session in a list, such as "Firefox on Linux". */
  readonly label?: string
  /** When the subject last proved who they are. */
  readonly authenticatedAt?: number
  /**
   * A note of a store that lists its sessions apart: until when the session is listed under its subject. A later absolute
   * bound has to be listed first. It is not enumerable, so that records compare by what they hold.
   */
  readonly listedUntil?: number
  /** The subject under which it is listed until then. It is not enumerable, and never encoded. */
  readonly listedFor?: string | undefined
  /** The public id, for stores whose token is the data, so that it is not the token's hash. It is never encoded. */
  readonly id?: SessionId
}

/**
 * When the session ends: the earlier of the idle deadline and the absolute bound, in milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category accessors
 */
export const endsAt = (record: SessionRecord): number => Math.min(record.deadline, record.expiresAt)

/**
 * Whether a record has expired at the time `now`, in milliseconds since the epoch. At exactly its end it has.
 *
 * @since 0.1.0
 * @category guards
 */
export const isExpired = (record: SessionRecord, now: number): boolean => now >= endsAt(record)

/**
 * The version of the format that `encode` writes.
 *
 * @since 0.1.0
 * @category encoding
 */
export const version = 1

/**
 * The part of a record that a touch changes and that a backend compares. It is kept beside the encoded body. Times are
 * in milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stamp {
  readonly revision: number
  readonly touchedAt: number
  /** The earlier of the idle deadline and the absolute bound. */
  readonly deadline: number
}

/**
 * The part of a record that a write of data leaves as it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lasting extends Omit<SessionRecord, "data" | "dropOnRenew" | "id" | keyof Stamp> {}

/**
 * Makes a record of its parts. The record is not frozen, so that the caller can complete it.
 *
 * @since 0.1.0
 * @category constructors
 */
// The properties are copied one by one, because a rest or a spread takes longer than all the rest of decoding a record.
// A spread whose data is replaced also makes V8 build an object of three times the size.
export const make = (
  from: Lasting,
  data: Data,
  dropOnRenew: SessionRecord["dropOnRenew"],
  stamp: Stamp
): Mutable<SessionRecord> => {
  const record: Mutable<SessionRecord> = {
    data,
    revision: stamp.revision,
    createdAt: from.createdAt,
    touchedAt: stamp.touchedAt,
    deadline: stamp.deadline,
    expiresAt: from.expiresAt,
    idle: from.idle
  }
  if (from.persistent !== undefined) {
    record.persistent = from.persistent
  }
  if (dropOnRenew !== undefined) {
    record.dropOnRenew = dropOnRenew
  }
  if (from.subject !== undefined) {
    record.subject = from.subject
  }
  if (from.label !== undefined) {
    record.label = from.label
  }
  if (from.authenticatedAt !== undefined) {
    record.authenticatedAt = from.authenticatedAt
  }
  if (from.listedUntil !== undefined) {
    noteListed(record, from.listedUntil, from.listedFor ?? from.subject)
  }
  return record
}

const noteListed = (record: SessionRecord, until: number, subject: string | undefined): void => {
  Object.defineProperties(record, {
    listedUntil: { value: until, configurable: true },
    listedFor: { value: subject, configurable: true }
  })
}

/**
 * A frozen copy of the record with these changes. A store can keep it and hand it out, because nobody can change it any
 * more. Throws if the data is not JSON.
 *
 * @since 0.1.0
 * @category combinators
 */
export const own = (
  record: SessionRecord,
  changes: Partial<Stamp & { readonly id: SessionId }> = {}
): SessionRecord => Object.freeze(copy(record, changes))

/**
 * The same of a record that a store has written, with the revision that the store gave it. A store that lists its
 * sessions apart has listed one of a subject until its absolute bound by then, and the copy says so. Others ignore that.
 *
 * @since 0.1.0
 * @category combinators
 */
export const written = (record: SessionRecord, revision: number = record.revision): SessionRecord => {
  const owned = copy(record, { revision })
  if (owned.subject !== undefined) {
    noteListed(owned, owned.expiresAt, owned.subject)
  }
  return Object.freeze(owned)
}

const copy = (
  record: SessionRecord,
  changes: Partial<Stamp & { readonly id: SessionId }>
): Mutable<SessionRecord> => {
  const { dropOnRenew } = record
  const frozen = dropOnRenew === undefined || Object.isFrozen(dropOnRenew)
    ? dropOnRenew
    : Object.freeze([...dropOnRenew])
  const owned = make(record, Json.adoptObject(record.data), frozen, {
    revision: changes.revision ?? record.revision,
    touchedAt: changes.touchedAt ?? record.touchedAt,
    deadline: changes.deadline ?? record.deadline
  })
  const id = changes.id ?? record.id
  if (id !== undefined) {
    owned.id = id
  }
  return owned
}

/**
 * Why a body could not be decoded. A `NewerVersion` was written by a later release and must be left as it is. Anything
 * else is `Malformed`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Undecodable {
  readonly _tag: "Undecodable"
  readonly reason: "Malformed" | "NewerVersion"
}

const Body = Schema.Struct({
  v: Schema.Literal(version),
  data: Schema.Unknown,
  createdAt: Schema.Finite,
  expiresAt: Schema.Finite,
  idle: Schema.Finite,
  persistent: Schema.optionalWith(Schema.Literal(true), { exact: true }),
  dropOnRenew: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
  subject: Schema.optionalWith(Schema.String, { exact: true }),
  label: Schema.optionalWith(Schema.String, { exact: true }),
  authenticatedAt: Schema.optionalWith(Schema.Finite, { exact: true }),
  listedUntil: Schema.optionalWith(Schema.Finite, { exact: true })
})

const decodeBody = Schema.decodeUnknownOption(Body)

const undecodable = (reason: Undecodable["reason"]): Undecodable => ({ _tag: "Undecodable", reason })

/**
 * Encodes a record as JSON text, without its stamp. The inverse of `decode`. A store that lists its sessions apart says
 * until when this one is listed, for `listedUntil`; the note of the record is not written, because it may be another
 * store's.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encode = (record: SessionRecord, listedUntil?: number): string =>
  JSON.stringify({
    v: version,
    data: record.data,
    createdAt: record.createdAt,
    expiresAt: record.expiresAt,
    idle: record.idle,
    persistent: record.persistent,
    dropOnRenew: record.dropOnRenew,
    subject: record.subject,
    label: record.label,
    authenticatedAt: record.authenticatedAt,
    listedUntil
  })

/**
 * The stamp of a record.
 *
 * @since 0.1.0
 * @category encoding
 */
export const stamp = (record: SessionRecord): Stamp => ({
  revision: record.revision,
  touchedAt: record.touchedAt,
  deadline: endsAt(record)
})

/**
 * Decodes a body, which may be JSON text or a value parsed from it. Any value may be given: what is not a body of a
 * known version gives `Undecodable`. A newer version has a reason of its own, so that an older release leaves it as it
 * is.
 *
 * @since 0.1.0
 * @category encoding
 */
export const decode = (body: unknown, stamp: Stamp): Either.Either<SessionRecord, Undecodable> => {
  let value = body
  if (typeof body === "string") {
    try {
      value = JSON.parse(body)
    } catch {
      return Either.left(undecodable("Malformed"))
    }
  }
  const found = typeof value === "object" && value !== null ? (value as { readonly v?: unknown }).v : undefined
  if (typeof found === "number" && found > version) {
    return Either.left(undecodable("NewerVersion"))
  }
  const decoded = decodeBody(value)
  if (decoded._tag === "None") {
    return Either.left(undecodable("Malformed"))
  }
  const { data, dropOnRenew } = decoded.value
  try {
    return Either.right(make(decoded.value, Json.adoptObject(data), dropOnRenew, stamp))
  } catch {
    return Either.left(undecodable("Malformed"))
  }
}
