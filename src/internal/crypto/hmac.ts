/**
 * HMAC-SHA256 signatures on any runtime: Node's, which are synchronous, where the runtime has them, WebCrypto's otherwise.
 * Secrets come in unwrapped and are held in a closure.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import type { CryptoLike } from "./node.js"
import { node, web } from "./node.js"

/** From a text to its signature in base64 without padding, 43 characters. @internal */
export type Sign = (text: string) => Effect.Effect<string>

/** The characters of a signature. @internal */
export const length = 43

const form = /^[A-Za-z0-9+/]{43}$/

/** Signs by Node's module. @internal */
export const signNode = (crypto: CryptoLike) => (secret: string): Sign => (text) =>
  Effect.sync(() => crypto.createHmac("sha256", secret).update(text).digest("base64").slice(0, length))

/** Signs by WebCrypto; the key is imported once. @internal */
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

/** The runtime's best. @internal */
export const sign: (secret: string) => Sign = node === undefined ? signWeb : signNode(node.crypto)

/**
 * Whether two texts are the same, in a time that tells only the length of the expected one, which is no secret.
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
