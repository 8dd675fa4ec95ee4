/**
 * The bytes of a sealed token: how its key is derived, what is encrypted and what is authenticated. The docs of
 * `SealedStore` specify the format. The module knows nothing of sessions, nor of what the bytes that it seals mean.
 */
import { randomBytes } from "../crypto/hash.js"
import type { Bytes, Node } from "../crypto/node.js"
import type { MasterKey } from "./masterKeys.js"
import * as xaes from "./xaes.js"

/** Why a token was not opened. The metric of rejections uses these words. @internal */
export type Rejection = "malformed" | "unknown key" | "tampered"

/** @internal */
export interface Opened {
  /** The version of the format, which says how the content is written. */
  readonly version: Version
  readonly content: Bytes
  /** Whether the token is as a new one would be: of the version that `seal` makes, and sealed by the first key. */
  readonly current: boolean
}

/** @internal */
export interface Sealer {
  /** The bytes of a token, or `undefined` if its form is wrong. */
  readonly parse: (token: string) => Bytes | undefined
  /** The length of the token for a content of that many bytes. */
  readonly lengthOf: (contentBytes: number) => number
  readonly seal: (audience: string, content: Bytes, salt?: Uint8Array) => string
  readonly open: (audience: string, token: Bytes) => Opened | Rejection
}

/** A version of the format. New tokens are of version 2. @internal */
export type Version = 1 | 2

const keyIdBytes = 4
const tagBytes = 16

const purpose = "effect-session/sealed"
const idLabel = "effect-session/sealed/1/id"
const firstKeyLabel = "effect-session/sealed/1/key"
const latestKeyLabel = "effect-session/sealed/2/key"

/**
 * The longest token that is opened or made: the longest request head that Node's servers accept by default.
 *
 * @internal
 */
export const maximumLength = 16_384

const textLength = (bytes: number): number => Math.ceil(bytes * 4 / 3)

const saltAt = 1 + keyIdBytes

interface Key {
  readonly bytes: MasterKey
  readonly id: Bytes
  readonly derive: ReturnType<typeof xaes.make>
}

/** One version of the format. */
interface Format {
  readonly version: Version
  readonly saltBytes: number
  /** The version, the key id and the salt, which are not encrypted. */
  readonly headerBytes: number
  /** The fewest bytes that a token has. */
  readonly leastBytes: number
  readonly derive: (key: Key, token: Bytes) => Bytes
  readonly nonce: (token: Bytes) => Bytes
  readonly associate: (audience: string, token: Bytes) => Bytes
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
    id: hmac(bytes, Buffer.from(idLabel, "utf8")).subarray(0, keyIdBytes),
    derive: xaes.make({ Buffer, crypto }, hmac(bytes, Buffer.from(latestKeyLabel, "utf8")))
  })
  const sealing = keyOf(masterKeys[0])
  const keys = masterKeys.map(keyOf)

  /** The associated data: the header, the purpose and the audience, in a buffer that is used again. */
  const associating = (headerBytes: number): Format["associate"] => {
    let lastAudience: string | undefined
    let associated = Buffer.alloc(0)
    return (audience, token) => {
      if (audience !== lastAudience) {
        const suffix = Buffer.from(`${purpose}\0${audience}`, "utf8")
        associated = Buffer.alloc(headerBytes + suffix.length)
        associated.set(suffix, headerBytes)
        lastAudience = audience
      }
      token.copy(associated, 0, 0, headerBytes)
      return associated
    }
  }

  const format = (
    version: Version,
    saltBytes: number,
    leastContent: number,
    keying: Pick<Format, "derive" | "nonce">
  ): Format => {
    const headerBytes = saltAt + saltBytes
    const leastBytes = headerBytes + leastContent + tagBytes
    return { version, saltBytes, headerBytes, leastBytes, associate: associating(headerBytes), ...keying }
  }

  const zeroNonce = Buffer.alloc(12)
  const first = format(1, 24, 64, {
    derive: (key, token) =>
      crypto.createHmac("sha256", key.bytes).update(firstKeyLabel).update(token.subarray(saltAt, saltAt + 24)).digest(),
    nonce: () => zeroNonce
  })

  const nonce = Buffer.alloc(12)
  const latest = format(2, 16, 40, {
    derive: (key, token) => key.derive(token, saltAt),
    nonce: (token) => {
      token.copy(nonce, 0, saltAt + xaes.derivingBytes, saltAt + 16)
      return nonce
    }
  })

  const formatOf = (version: number | undefined): Format | undefined =>
    version === latest.version ? latest : version === first.version ? first : undefined

  const parse = (token: string): Bytes | undefined => {
    if (token.length > maximumLength) {
      return undefined
    }
    const bytes = Buffer.from(token, "base64url")
    const format = formatOf(bytes[0])
    // Node's decoder accepts any text, so the bytes are encoded again to check that the token is canonical
    return format !== undefined && bytes.length >= format.leastBytes && bytes.toString("base64url") === token
      ? bytes
      : undefined
  }

  const seal = (audience: string, content: Bytes, salt: Uint8Array = randomBytes(latest.saltBytes)): string => {
    const { headerBytes } = latest
    const token = Buffer.allocUnsafe(headerBytes + content.length + tagBytes)
    token[0] = latest.version
    token.set(sealing.id, 1)
    token.set(salt, saltAt)
    const cipher = crypto.createCipheriv("aes-256-gcm", latest.derive(sealing, token), latest.nonce(token))
    cipher.setAAD(latest.associate(audience, token))
    token.set(cipher.update(content), headerBytes)
    cipher.final()
    token.set(cipher.getAuthTag(), headerBytes + content.length)
    return token.toString("base64url")
  }

  const decrypt = (key: Key, format: Format, audience: string, token: Bytes): Bytes | undefined => {
    const end = token.length - tagBytes
    const decipher = crypto.createDecipheriv("aes-256-gcm", format.derive(key, token), format.nonce(token), {
      authTagLength: tagBytes
    })
    decipher.setAAD(format.associate(audience, token))
    decipher.setAuthTag(token.subarray(end))
    const content = decipher.update(token.subarray(format.headerBytes, end))
    try {
      decipher.final()
      return content
    } catch {
      return undefined
    }
  }

  const open = (audience: string, token: Bytes): Opened | Rejection => {
    const format = formatOf(token[0])
    if (format === undefined) {
      return "malformed"
    }
    let rejection: Rejection = "unknown key"
    for (const key of keys) {
      if (!sameBytes(token, 1, key.id)) {
        continue
      }
      const content = decrypt(key, format, audience, token)
      if (content !== undefined) {
        return { version: format.version, content, current: format === latest && key === keys[0] }
      }
      rejection = "tampered"
    }
    return rejection
  }

  return {
    parse,
    lengthOf: (contentBytes) => textLength(latest.headerBytes + contentBytes + tagBytes),
    seal,
    open
  }
}
