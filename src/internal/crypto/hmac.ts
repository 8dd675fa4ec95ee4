/**
 * HMAC-SHA256 signatures on any runtime: by Node's crypto, which is synchronous, or else by WebCrypto. Secrets come in
 * unwrapped and stay in a closure. The module knows nothing of tokens or cookies.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import type { CryptoLike } from "./node.js"
import { node, web } from "./node.js"

/** Makes the signature of a text: base64 without padding, 43 characters. @internal */
export type Sign = (text: string) => Effect.Effect<string>

/** The length of a signature in characters. @internal */
export const length = 43

const form = /^[A-Za-z0-9+/]{43}$/

const signNode = (crypto: CryptoLike) => (secret: string): Sign => (text) =>
  Effect.sync(() => crypto.createHmac("sha256", secret).update(text).digest("base64").slice(0, length))

/** Signs by WebCrypto, which imports the key once. @internal */
export const signWeb = (secret: string): Sign => {
  const encoder = new TextEncoder()
  let imported: Promise<CryptoKey> | undefined
  return (text) =>
    Effect.map(
      Effect.promise(async () => {
        imported ??= web.subtle.importKey(
          "raw",
          encoder.encode(secret),
          { name: "HMAC", hash: "SHA-256" },
          false,
          ["sign"]
        )
        return web.subtle.sign("HMAC", await imported, encoder.encode(text))
      }),
      (signature) => Encoding.encodeBase64(new Uint8Array(signature)).slice(0, length)
    )
}

/** Signs by the fastest crypto that the runtime has. @internal */
export const sign: (secret: string) => Sign = node === undefined ? signWeb : signNode(node.crypto)

/**
 * Whether two texts are the same, in a time that depends only on the length of the expected one, which is not secret.
 *
 * @internal
 */
export const same = (given: string, expected: string): boolean => {
  let difference = given.length ^ expected.length
  for (let index = 0; index < expected.length; index++) {
    difference |= given.charCodeAt(index) ^ expected.charCodeAt(index)
  }
  return difference === 0
}

/** Whether any of the signers made this signature of a text. @internal */
export const verify = (signers: ReadonlyArray<Sign>, text: string, signature: string): Effect.Effect<boolean> =>
  form.test(signature)
    ? Effect.exists(signers, (sign) => Effect.map(sign(text), (expected) => same(signature, expected)))
    : Effect.succeed(false)
