/**
 * What a client holds and what a log may hold. A `Token` is the secret that names a session; a `SessionId` is the
 * one-way hash of it, which stores key by and which is safe to print. This module knows nothing of HTTP, of what a
 * session contains, or of where it is kept.
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
 * The secret a client carries: 256 random bits in base64url, 43 characters (S01), for every store that keys by a token.
 * A store whose token is the data (sealed sessions) has longer ones. Prints as `<redacted>`.
 *
 * @since 0.1.0
 * @category models
 */
export type Token = Redacted.Redacted<string>

/**
 * The public id of a session: the SHA-256 of its token in base64url, 43 characters. Safe to log; nothing a client sends
 * can be made of it (S06, S07).
 *
 * @since 0.1.0
 * @category models
 */
export type SessionId = string & Brand.Brand<"effect-session/SessionId">

/**
 * Where tokens get their randomness: a function from a number of bytes to that many bytes. The default is the runtime's
 * CSPRNG. Replace it in tests alone, to own luck.
 *
 * @since 0.1.0
 * @category references
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SessionToken } from "effect-session"
 *
 * // every token is the same one: what a store does with a repeated token can be seen
 * const unlucky = Effect.provideService(SessionToken.Generator, (size) => new Uint8Array(size))
 * ```
 */
export class Generator extends Context.Reference<Generator>()("effect-session/SessionToken/Generator", {
  defaultValue: (): (size: number) => Uint8Array => crypto.randomBytes
}) {}

const tokenBytes = 32
const tokenForm = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** How many bytes at a token's start a renewed token shares with the one it follows. */
const kinBytes = 2

/**
 * Wraps a string as a token, without a look at its form.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromString = (text: string): Token => Redacted.make(text)

/**
 * Draws a token. With `kin`, the token it is to follow, the first two bytes are kept: a clustered store derives the slot
 * from them, so that old and new share one, and 240 bits are fresh.
 *
 * @since 0.1.0
 * @category constructors
 */
export const draw = (generator: (size: number) => Uint8Array, kin?: Token): Token => {
  if (kin === undefined || !isDrawn(kin)) {
    return Redacted.make(Encoding.encodeBase64Url(generator(tokenBytes)))
  }
  const bytes = new Uint8Array(tokenBytes)
  bytes.set(decode(Redacted.value(kin)).subarray(0, kinBytes))
  bytes.set(generator(tokenBytes - kinBytes), kinBytes)
  return Redacted.make(Encoding.encodeBase64Url(bytes))
}

const decode = (text: string): Uint8Array => {
  const bytes = Encoding.decodeBase64Url(text)
  return bytes._tag === "Right" ? bytes.right : new Uint8Array(tokenBytes)
}

/**
 * Whether a token has the full form of those drawn here: 43 characters of base64url, canonical in the last, nothing
 * before or after (S03). A pure check that a store can make before it asks its backend.
 *
 * @since 0.1.0
 * @category guards
 */
export const isDrawn = (token: Token): boolean => tokenForm.test(Redacted.value(token))

/**
 * The first two bytes of a drawn token in hex, the part that `draw` keeps for a renewed one.
 *
 * @since 0.1.0
 * @category accessors
 */
export const shard = (token: Token): string => {
  const bytes = decode(Redacted.value(token))
  return Encoding.encodeHex(bytes.subarray(0, kinBytes))
}

/** The id beside the secret that it was hashed of. A property, since a WeakMap entry a request weighs on the collector. */
const idOf: unique symbol = Symbol.for("effect-session/SessionToken/id")

type Identified = Token & { [idOf]?: SessionId }

/**
 * The public id of a token, hashed once for each token object.
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
 * The public id of a token at once: `undefined` where the runtime has no synchronous hash and the id was not yet asked
 * for by `toId`.
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
