/**
 * The two names of a session. A `Token` is the secret that the client holds; a `SessionId` is its one-way hash, which
 * stores use as the key and which is safe to print. This module knows nothing of HTTP, of what a session contains, or
 * of where it is kept.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Redacted from "effect/Redacted"
import * as crypto from "./internal/crypto/hash.js"

/**
 * The secret that a client holds. In stores that keep sessions under a key, it is 256 random bits in base64url, 43
 * characters. In a store whose token is the data (sealed sessions), it is longer. It prints as `<redacted>`.
 *
 * @since 0.1.0
 * @category models
 */
export type Token = Redacted.Redacted<string>

/**
 * The public id of a session: the SHA-256 of its token in base64url, 43 characters. It is safe to log, because the
 * token can't be computed from it.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionId = string & Brand.Brand<"effect-session/SessionId">

/**
 * The source of the tokens' randomness: a function from a number of bytes to that many random bytes. The default is the
 * runtime's cryptographic random generator. Override it only in tests, to make tokens deterministic.
 *
 * @since 0.1.0
 * @category references
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SessionToken } from "effect-session"
 *
 * // every token is the same, to test what a store does with a repeated token
 * const unlucky = Effect.provideService(SessionToken.Generator, (size) => new Uint8Array(size))
 * ```
 */
export class Generator extends Context.Reference<Generator>()("effect-session/SessionToken/Generator", {
  defaultValue: (): (size: number) => Uint8Array => crypto.randomBytes
}) {}

const tokenBytes = 32
const tokenForm = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** How many bytes at the start of a token are kept by a renewal. */
const shardBytes = 2

/**
 * Wraps a string as a token. It does not check the string's form; `isDrawn` and a store's `accepts` do.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromString = (text: string): Token => Redacted.make(text)

/**
 * Draws a random token. For a renewal, give the session's old token as `predecessor`: the new token then keeps its
 * first two bytes. A clustered store derives a session's place from them, so that the old and the new session are in
 * one place. The other 240 bits are fresh. A predecessor that `draw` did not make is ignored.
 *
 * @since 0.1.0
 * @category constructors
 */
export const draw = (generator: (size: number) => Uint8Array, predecessor?: Token): Token => {
  if (predecessor === undefined || !isDrawn(predecessor)) {
    return Redacted.make(Encoding.encodeBase64Url(generator(tokenBytes)))
  }
  const bytes = new Uint8Array(tokenBytes)
  bytes.set(decode(Redacted.value(predecessor)).subarray(0, shardBytes))
  bytes.set(generator(tokenBytes - shardBytes), shardBytes)
  return Redacted.make(Encoding.encodeBase64Url(bytes))
}

const decode = (text: string): Uint8Array => {
  const bytes = Encoding.decodeBase64Url(text)
  return bytes._tag === "Right" ? bytes.right : new Uint8Array(tokenBytes)
}

/**
 * Whether a token has the exact form of those that `draw` makes: 43 characters of canonical base64url, with nothing
 * before or after. Stores make this check before they ask their backend.
 *
 * @since 0.1.0
 * @category guards
 */
export const isDrawn = (token: Token): boolean => tokenForm.test(Redacted.value(token))

/**
 * The first two bytes of a drawn token in hex: the part that `draw` keeps from a predecessor.
 *
 * @since 0.1.0
 * @category accessors
 */
export const shard = (token: Token): string =>
  // Two bytes are in the first three characters; a fourth makes them a whole group.
  Encoding.encodeHex(decode(`${Redacted.value(token).slice(0, 3)}A`).subarray(0, shardBytes))

/**
 * The property in which a token object keeps its id. A WeakMap entry for each request would burden the garbage
 * collector.
 */
const idOf: unique symbol = Symbol.for("effect-session/SessionToken/id")

type Identified = Token & { [idOf]?: SessionId }

/**
 * The public id of a token. Each token object is hashed once.
 *
 * @since 0.1.0
 * @category accessors
 */
export const toId = (token: Token): Effect.Effect<SessionId> => {
  const known = unsafeToId(token)
  return known !== undefined ? Effect.succeed(known) : Effect.map(crypto.sha256Web(Redacted.value(token)), (text) => {
    const id = text as SessionId
    remember(token, id)
    return id
  })
}

/**
 * The public id of a token, without an Effect. It is `undefined` if the runtime has no synchronous hash and `toId` has
 * not run on this token object yet.
 *
 * @since 0.1.0
 * @category accessors
 */
export const unsafeToId = (token: Token): SessionId | undefined => {
  const known = (token as Identified)[idOf]
  if (known !== undefined || crypto.sha256Sync === undefined) {
    return known
  }
  const id = crypto.sha256Sync(Redacted.value(token)) as SessionId
  remember(token, id)
  return id
}

const remember = (token: Identified, id: SessionId): void => {
  if (Object.isExtensible(token)) {
    token[idOf] = id
  }
}
