/**
 * What a store keeps of a session, and the one place where it is made and encoded. Knows nothing of HTTP, of tokens, or
 * of where the text goes.
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
 * The record of one session. Times are milliseconds since the epoch, by the Clock of the process that wrote them.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionRecord {
  readonly data: Data
  /** Raised by every write of data, never by a touch. */
  readonly revision: number
  readonly createdAt: number
  /** When the session was last written or touched. */
  readonly touchedAt: number
  /** The idle deadline, which a touch moves forward. */
  readonly deadline: number
  /** The absolute bound, which only `Session.expireIn` moves. */
  readonly expiresAt: number
  /** The idle timeout in force, in milliseconds. */
  readonly idle: number
  /** Set by `Session.expireIn`: the cookie outlives the browser's own session. */
  readonly persistent?: true
  /** Keys that a renewal drops: fields declared with `onRenew: "remove"`. */
  readonly dropOnRenew?: ReadonlyArray<string>
  /** Whose session it is. */
  readonly subject?: string
  /** What its owner is shown of it, such as "Firefox on Linux". */
  readonly label?: string
  /** When the subject last proved who they are. */
  readonly authenticatedAt?: number
  /** The public id, where it is not the token's hash: for stores whose token is the data. Never encoded. */
  readonly id?: SessionId
}

/**
 * The earlier of the two bounds, in milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category accessors
 */
export const endsAt = (record: SessionRecord): number => Math.min(record.deadline, record.expiresAt)

/**
 * Whether a record has expired. At exactly its bound it has.
 *
 * @since 0.1.0
 * @category guards
 */
export const isExpired = (record: SessionRecord, now: number): boolean => now >= endsAt(record)

/**
 * The version of the envelope written here.
 *
 * @since 0.1.0
 * @category encoding
 */
export const version = 1

/**
 * The part of a record that a touch changes and that a backend compares. It travels beside the encoded body.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stamp {
  readonly revision: number
  readonly touchedAt: number
  /** The earlier of the two bounds. */
  readonly deadline: number
}

/**
 * What every write leaves as it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lasting extends Omit<SessionRecord, "data" | "dropOnRenew" | "id" | keyof Stamp> {}

/**
 * Makes a record of what lasts, the data, the keys that a renewal drops, and the stamp. It is not frozen yet, so that who
 * makes it can complete it.
 *
 * @since 0.1.0
 * @category constructors
 */
// Property by property: a rest or a spread takes longer than all else there is to decoding a record, and of a spread whose
// data is another V8 makes an object of three times the size.
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
  return record
}

/**
 * The record with changes, frozen throughout: the form in which a store may keep it and hand it out, since nobody can
 * change it any more. Throws where the data is not JSON.
 *
 * @since 0.1.0
 * @category combinators
 */
export const own = (
  record: SessionRecord,
  changes: Partial<Stamp & { readonly id: SessionId }> = {}
): SessionRecord => {
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
  return Object.freeze(owned)
}

/**
 * Why a body could not be decoded: `NewerVersion` was written by a later release and is left in peace, `Malformed` is
 * anything else.
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
  authenticatedAt: Schema.optionalWith(Schema.Finite, { exact: true })
})

const decodeBody = Schema.decodeUnknownOption(Body)

const undecodable = (reason: Undecodable["reason"]): Undecodable => ({ _tag: "Undecodable", reason })

/**
 * The body as JSON text, the stamp apart. The inverse of `decode`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encode = (record: SessionRecord): string =>
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
    authenticatedAt: record.authenticatedAt
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
 * Reads a body back. Anything at all may be given: what is not a body of a known version is `Undecodable`. A newer
 * version is told apart, so that an older release leaves it as it is.
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
