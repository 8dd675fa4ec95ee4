/**
 * Hashing and randomness on any runtime. Node's hash is preferred, because it is synchronous; WebCrypto's hash, the
 * fallback, takes several times as long. The module knows nothing of tokens or sessions.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import type { CryptoLike } from "./node.js"
import { node, web } from "./node.js"

const sha256Node = (crypto: CryptoLike): (text: string) => string => {
  const oneShot = crypto.hash
  return oneShot === undefined
    ? (text) => crypto.createHash("sha256").update(text).digest("base64url")
    : (text) => oneShot("sha256", text, "base64url")
}

/**
 * The SHA-256 of a text in base64url, without an Effect; undefined if the runtime has no synchronous hash.
 *
 * @internal
 */
export const sha256Sync: ((text: string) => string) | undefined = node === undefined
  ? undefined
  : sha256Node(node.crypto)

const utf8 = new TextEncoder()

/** The hash of a text by WebCrypto. @internal */
export const digestWeb = (algorithm: "SHA-1" | "SHA-256", text: string): Effect.Effect<Uint8Array> =>
  Effect.map(Effect.promise(() => web.subtle.digest(algorithm, utf8.encode(text))), (bytes) => new Uint8Array(bytes))

/** The SHA-256 of a text in base64url, by WebCrypto. @internal */
export const sha256Web = (text: string): Effect.Effect<string> =>
  Effect.map(digestWeb("SHA-256", text), Encoding.encodeBase64Url)

const poolSize = 4096
const pool = new Uint8Array(poolSize)
let used = poolSize

/** Random bytes of the runtime's CSPRNG. They are drawn in bulk, and wiped from the pool when handed out. @internal */
export const randomBytes = (size: number): Uint8Array => {
  if (size > poolSize) {
    return web.getRandomValues(new Uint8Array(size))
  }
  if (used + size > poolSize) {
    web.getRandomValues(pool)
    used = 0
  }
  const bytes = pool.slice(used, used + size)
  pool.fill(0, used, used + size)
  used += size
  return bytes
}
