/**
 * What a store keeps of a session, and the one place where it is encoded. Knows nothing of HTTP, of tokens, or of where
 * the text goes.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Json from "./internal/record/json.js"
import * as Record from "./internal/record/record.js"
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
  /** The idle deadline, which a touch moves forward (S17). */
  readonly deadline: number
  /** The absolute bound, which nothing but `Session.expireIn` moves (S18). */
  readonly expiresAt: number
  /** The idle timeout in force, in milliseconds. */
  readonly idle: number
  /** Set by `Session.expireIn`: the cookie outlives the browser's own session. */
  readonly persistent?: true
  /** Keys that a renewal drops: fields declared with `onRenew: "remove"` (S16). */
  readonly dropOnRenew?: ReadonlyArray<string>
  /** Whose session it is. */
  readonly subject?: string
  /** When the subject last proved who they are (S33). */
  readonly authenticatedAt?: number
  /** The public id, where it is not the token's hash: for stores whose token is the data. Never encoded. */
  readonly id?: SessionId
}

/**
 * The earlier of the two bounds, in milliseconds since the epoch (S19).
 *
 * @since 0.1.0
 * @category accessors
 */
export const endsAt = (record: SessionRecord): number => Math.min(record.deadline, record.expiresAt)

/**
 * Whether a record is over. At exactly its bound it is (S20).
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
 * What changes without a write of data, and what a backend compares: it travels beside the encoded body.
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
 * Reads a body back (S61). Anything at all may be given: what is not a body of a known version is `Undecodable`. A newer
 * version is told apart, so that a store leaves it in peace when an older release meets it.
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
    return Either.right(Record.make(decoded.value, Json.adoptObject(data), dropOnRenew, stamp))
  } catch {
    return Either.left(undecodable("Malformed"))
  }
}
