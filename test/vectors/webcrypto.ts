/**
 * The format of sealed tokens once more, written from the docstring of `SealedStore` with WebCrypto alone: nothing of
 * `src` is used here.
 */
import { webcrypto } from "node:crypto"

export interface Content {
  readonly id: string
  readonly revision: number
  readonly issuedAt: number
  readonly deadline: number
  readonly latest: number
  readonly body: string
}

const text = (value: string) => new TextEncoder().encode(value)
const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url")
const bytesOf = (value: string) => new Uint8Array(Buffer.from(value, "base64url"))

const join = (...parts: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const hmac = async (master: Uint8Array, message: Uint8Array): Promise<Uint8Array<ArrayBuffer>> => {
  const key = await webcrypto.subtle.importKey("raw", join(master), { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
  return new Uint8Array(await webcrypto.subtle.sign("HMAC", key, join(message)))
}

const cipher = async (master: Uint8Array, header: Uint8Array, audience: string) => {
  const raw = await hmac(master, join(text("effect-session/sealed/1/key"), header.subarray(5)))
  const key = await webcrypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt", "encrypt"])
  const additionalData = join(header, text("effect-session/sealed"), new Uint8Array(1), text(audience))
  return { key, algorithm: { name: "AES-GCM", iv: new Uint8Array(12), additionalData, tagLength: 128 } }
}

export const seal = async (
  master: Uint8Array,
  audience: string,
  salt: Uint8Array,
  content: Content
): Promise<string> => {
  const id = (await hmac(master, text("effect-session/sealed/1/id"))).subarray(0, 4)
  const header = join(new Uint8Array([1]), id, salt)
  const numbers = new DataView(new ArrayBuffer(32))
  numbers.setFloat64(0, content.revision)
  numbers.setFloat64(8, content.issuedAt)
  numbers.setFloat64(16, content.deadline)
  numbers.setFloat64(24, content.latest)
  const plain = join(bytesOf(content.id), new Uint8Array(numbers.buffer), text(content.body))
  const { algorithm, key } = await cipher(master, header, audience)
  return base64url(join(header, new Uint8Array(await webcrypto.subtle.encrypt(algorithm, key, plain))))
}

export const open = async (master: Uint8Array, audience: string, token: string): Promise<Content> => {
  const bytes = bytesOf(token)
  const header = bytes.subarray(0, 29)
  const { algorithm, key } = await cipher(master, header, audience)
  const plain = new Uint8Array(await webcrypto.subtle.decrypt(algorithm, key, join(bytes.subarray(29))))
  const numbers = new DataView(plain.buffer, 32)
  return {
    id: base64url(plain.subarray(0, 32)),
    revision: numbers.getFloat64(0),
    issuedAt: numbers.getFloat64(8),
    deadline: numbers.getFloat64(16),
    latest: numbers.getFloat64(24),
    body: new TextDecoder().decode(plain.subarray(64))
  }
}
