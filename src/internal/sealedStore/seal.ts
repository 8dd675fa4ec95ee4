/**
 * The bytes of a sealed token: how its key is derived, what is encrypted and what is authenticated. The docs of
 * `SealedStore` specify the format. The module knows nothing of sessions: it seals a stamp of fixed size and a text.
 */
import { randomBytes } from "../crypto/hash.js"
import type { Bytes, Node } from "../crypto/node.js"
import type { MasterKey } from "./masterKeys.js"

/** The content of a token. Times are in milliseconds since the epoch. @internal */
export interface Content {
  /** The session's public id, 43 characters of base64url. */
  readonly id: string
  readonly revision: number
  /** When the token was made: when the session was last written or touched. */
  readonly issuedAt: number
  /** When the token expires: the earlier of the idle deadline and the absolute bound. */
  readonly deadline: number
  /** The latest absolute bound of any token of this session, after which no token of it can be live. */
  readonly latest: number
  readonly body: string
}

/** Why a token was not opened. The metric of rejections uses these words. @internal */
export type Rejection = "malformed" | "unknown key" | "tampered"

/** @internal */
export interface Opened {
  readonly content: Content
  /** Whether the token was sealed by the first key, which also seals new tokens. */
  readonly current: boolean
}

/** @internal */
export interface Sealer {
  /** The bytes of a token, or `undefined` if its form is wrong. */
  readonly parse: (token: string) => Bytes | undefined
  /** The length of the token for a body. */
  readonly lengthOf: (body: string) => number
  readonly seal: (audience: string, content: Content, salt?: Uint8Array) => string
  readonly open: (audience: string, token: Bytes) => Opened | Rejection
}

const formatVersion = 1
const keyIdBytes = 4
const saltBytes = 24
const headerBytes = 1 + keyIdBytes + saltBytes
const idBytes = 32
const stampBytes = idBytes + 4 * 8
const tagBytes = 16
const overhead = headerBytes + stampBytes + tagBytes

const purpose = "effect-session/sealed"
const keyLabel = "effect-session/sealed/1/key"
const idLabel = "effect-session/sealed/1/id"

/**
 * The longest token that is opened or made: the longest request head that Node's servers accept by default.
 *
 * @internal
 */
export const maximumLength = 16_384

const textLength = (bytes: number): number => Math.ceil(bytes * 4 / 3)

const minimumLength = textLength(overhead)

interface Key {
  readonly bytes: MasterKey
  readonly id: Bytes
}

const sameBytes = (a: Uint8Array, at: number, b: Uint8Array): boolean => {
  for (let index = 0; index < b.length; index++) {
    if (a[at + index] !== b[index]) {
      return false
    }
  }
  return true
}

/** @internal */
export const make = (
  { Buffer, crypto }: Node,
  masterKeys: readonly [MasterKey, ...Array<MasterKey>]
): Sealer => {
  const hmac = (key: MasterKey, data: Uint8Array): Bytes => crypto.createHmac("sha256", key).update(data).digest()

  const keyOf = (bytes: MasterKey): Key => ({
    bytes,
    id: hmac(bytes, Buffer.from(idLabel, "utf8")).subarray(0, keyIdBytes)
  })
  const sealing = keyOf(masterKeys[0])
  const keys = masterKeys.map(keyOf)

  // every token has a key of its own, so that the nonce may be the same
  const nonce = Buffer.alloc(12)

  const derivation = Buffer.alloc(keyLabel.length + saltBytes)
  derivation.write(keyLabel, 0, "utf8")
  const derive = (key: Key, token: Bytes): Bytes => {
    token.copy(derivation, keyLabel.length, headerBytes - saltBytes, headerBytes)
    return hmac(key.bytes, derivation)
  }

  let lastAudience: string | undefined
  let associated = Buffer.alloc(0)
  const associate = (audience: string, token: Bytes): Bytes => {
    if (audience !== lastAudience) {
      const suffix = Buffer.from(`${purpose}\0${audience}`, "utf8")
      associated = Buffer.alloc(headerBytes + suffix.length)
      associated.set(suffix, headerBytes)
      lastAudience = audience
    }
    token.copy(associated, 0, 0, headerBytes)
    return associated
  }

  const parse = (token: string): Bytes | undefined => {
    if (token.length < minimumLength || token.length > maximumLength) {
      return undefined
    }
    const bytes = Buffer.from(token, "base64url")
    // Node's decoder accepts any text, so the bytes are encoded again to check that the token is canonical
    return bytes[0] === formatVersion && bytes.length >= overhead && bytes.toString("base64url") === token
      ? bytes
      : undefined
  }

  const write = (content: Content): Bytes => {
    const plain = Buffer.allocUnsafe(stampBytes + Buffer.byteLength(content.body, "utf8"))
    plain.set(Buffer.from(content.id, "base64url"))
    const view = new DataView(plain.buffer, plain.byteOffset + idBytes)
    view.setFloat64(0, content.revision)
    view.setFloat64(8, content.issuedAt)
    view.setFloat64(16, content.deadline)
    view.setFloat64(24, content.latest)
    plain.write(content.body, stampBytes, "utf8")
    return plain
  }

  const read = (plain: Bytes): Content => {
    const view = new DataView(plain.buffer, plain.byteOffset + idBytes)
    return {
      id: plain.toString("base64url", 0, idBytes),
      revision: view.getFloat64(0),
      issuedAt: view.getFloat64(8),
      deadline: view.getFloat64(16),
      latest: view.getFloat64(24),
      body: plain.toString("utf8", stampBytes)
    }
  }

  const seal = (audience: string, content: Content, salt: Uint8Array = randomBytes(saltBytes)): string => {
    const plain = write(content)
    const token = Buffer.allocUnsafe(headerBytes + plain.length + tagBytes)
    token[0] = formatVersion
    token.set(sealing.id, 1)
    token.set(salt, headerBytes - saltBytes)
    const cipher = crypto.createCipheriv("aes-256-gcm", derive(sealing, token), nonce)
    cipher.setAAD(associate(audience, token))
    token.set(cipher.update(plain), headerBytes)
    cipher.final()
    token.set(cipher.getAuthTag(), headerBytes + plain.length)
    return token.toString("base64url")
  }

  const decrypt = (key: Key, audience: string, token: Bytes): Bytes | undefined => {
    const end = token.length - tagBytes
    const decipher = crypto.createDecipheriv("aes-256-gcm", derive(key, token), nonce, { authTagLength: tagBytes })
    decipher.setAAD(associate(audience, token))
    decipher.setAuthTag(token.subarray(end))
    const plain = decipher.update(token.subarray(headerBytes, end))
    try {
      decipher.final()
      return plain
    } catch {
      return undefined
    }
  }

  const open = (audience: string, token: Bytes): Opened | Rejection => {
    let rejection: Rejection = "unknown key"
    for (const key of keys) {
      if (!sameBytes(token, 1, key.id)) {
        continue
      }
      const plain = decrypt(key, audience, token)
      if (plain !== undefined) {
        return { content: read(plain), current: key === keys[0] }
      }
      rejection = "tampered"
    }
    return rejection
  }

  return { parse, lengthOf: (body) => textLength(overhead + Buffer.byteLength(body, "utf8")), seal, open }
}
