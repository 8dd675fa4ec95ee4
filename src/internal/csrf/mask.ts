/**
 * The secret of a session, and its masked forms. A mask is a one-time pad that stands in front of what it hides, so that
 * the same bytes never stand in two pages, where compression would betray them one by one (BREACH).
 */
import * as Encoding from "effect/Encoding"
import { randomBytes } from "../crypto/hash.js"
import { same } from "../crypto/hmac.js"

/** Bytes of a secret. A multiple of 3, so that each secret and each token has one spelling in base64url. */
const size = 24

/** The form of a secret. @internal */
export const secretForm = /^[A-Za-z0-9_-]{32}$/

const tokenForm = /^[A-Za-z0-9_-]{64}$/

/** Draws a secret. @internal */
export const draw = (): string => Encoding.encodeBase64Url(randomBytes(size))

const bytesOf = (text: string): Uint8Array => {
  const decoded = Encoding.decodeBase64Url(text)
  if (decoded._tag === "Left") {
    throw decoded.left
  }
  return decoded.right
}

/** Masks a secret anew. @internal */
export const mask = (secret: string): string => {
  const hidden = bytesOf(secret)
  const pad = randomBytes(size)
  const token = new Uint8Array(2 * size)
  token.set(pad)
  hidden.forEach((byte, index) => token[size + index] = byte ^ pad[index]!)
  return Encoding.encodeBase64Url(token)
}

/** Whether a text has the form of a token. @internal */
export const isToken = (text: string): boolean => tokenForm.test(text)

/** Whether a token is a masked form of the secret, in constant time. @internal */
export const isMaskOf = (token: string, secret: string): boolean => {
  const bytes = bytesOf(token)
  const hidden = bytes.slice(size).map((byte, index) => byte ^ bytes[index]!)
  return same(Encoding.encodeBase64Url(hidden), secret)
}
