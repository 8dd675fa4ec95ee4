/**
 * The format of sealed tokens once more, written from the docstring of `SealedStore` with WebCrypto alone: nothing of
 * `src` is used here.
 */
import { webcrypto } from "node:crypto"

/** What a token of version 1 says. */
export interface First {
  readonly id: string
  readonly revision: number
  readonly issuedAt: number
  readonly deadline: number
  readonly latest: number
  readonly body: string
}

/** What a token of version 2 says. `rare` and `data` are JSON. */
export interface Content {
  readonly id: string
  readonly persistent: boolean
  readonly createdAt: number
  readonly touchedAt: number
  readonly deadline: number
  readonly expiresAt: number
  readonly revision: number
  readonly idle: number
  readonly latest: number
  readonly rare?: string
  readonly data: string
}

const itsPurpose = "effect-session/sealed"

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

const keyId = async (master: Uint8Array) => (await hmac(master, text("effect-session/sealed/1/id"))).subarray(0, 4)

const gcm = async (raw: Uint8Array, iv: Uint8Array, header: Uint8Array, audience: string, purpose: string) => ({
  key: await webcrypto.subtle.importKey("raw", join(raw), "AES-GCM", false, ["decrypt", "encrypt"]),
  algorithm: {
    name: "AES-GCM",
    iv: join(iv),
    additionalData: join(header, text(purpose), new Uint8Array(1), text(audience)),
    tagLength: 128
  }
})

/** One block of AES-256: the first block of CBC with a zero vector. */
const aes = async (raw: Uint8Array, block: Uint8Array): Promise<Uint8Array> => {
  const key = await webcrypto.subtle.importKey("raw", join(raw), "AES-CBC", false, ["encrypt"])
  const out = await webcrypto.subtle.encrypt({ name: "AES-CBC", iv: new Uint8Array(16) }, key, join(block))
  return new Uint8Array(out).subarray(0, 16)
}

/** The key of XAES-256-GCM for the first 12 bytes of a nonce. */
export const xaesKey = async (raw: Uint8Array, nonce: Uint8Array): Promise<Uint8Array> => {
  const zero = BigInt(`0x${Buffer.from(await aes(raw, new Uint8Array(16))).toString("hex")}`)
  const double = (zero << 1n) & ((1n << 128n) - 1n)
  const subkey = zero >> 127n === 1n ? double ^ 0x87n : double
  const block = async (counter: number) => {
    const message = join(new Uint8Array([0, counter, 0x58, 0]), nonce.subarray(0, 12))
    const masked = BigInt(`0x${Buffer.from(message).toString("hex")}`) ^ subkey
    return aes(raw, Buffer.from(masked.toString(16).padStart(32, "0"), "hex"))
  }
  return join(await block(1), await block(2))
}

const firstCipher = async (master: Uint8Array, header: Uint8Array, audience: string, purpose: string) =>
  gcm(
    await hmac(master, join(text("effect-session/sealed/1/key"), header.subarray(5))),
    new Uint8Array(12),
    header,
    audience,
    purpose
  )

const latestCipher = async (master: Uint8Array, header: Uint8Array, audience: string, purpose: string) => {
  const nonce = join(header.subarray(5), new Uint8Array(8))
  const key = await xaesKey(await hmac(master, text("effect-session/sealed/2/key")), nonce)
  return gcm(key, nonce.subarray(12), header, audience, purpose)
}

export const sealFirst = async (
  master: Uint8Array,
  audience: string,
  salt: Uint8Array,
  content: First,
  purpose = itsPurpose
): Promise<string> => {
  const header = join(new Uint8Array([1]), await keyId(master), salt)
  const numbers = new DataView(new ArrayBuffer(32))
  numbers.setFloat64(0, content.revision)
  numbers.setFloat64(8, content.issuedAt)
  numbers.setFloat64(16, content.deadline)
  numbers.setFloat64(24, content.latest)
  const plain = join(bytesOf(content.id), new Uint8Array(numbers.buffer), text(content.body))
  const { algorithm, key } = await firstCipher(master, header, audience, purpose)
  return base64url(join(header, new Uint8Array(await webcrypto.subtle.encrypt(algorithm, key, plain))))
}

export const sealBytes = async (
  master: Uint8Array,
  audience: string,
  salt: Uint8Array,
  plain: Uint8Array,
  purpose = itsPurpose
): Promise<string> => {
  const header = join(new Uint8Array([2]), await keyId(master), salt)
  const { algorithm, key } = await latestCipher(master, header, audience, purpose)
  return base64url(join(header, new Uint8Array(await webcrypto.subtle.encrypt(algorithm, key, join(plain)))))
}

export const openBytes = async (master: Uint8Array, audience: string, token: string): Promise<Uint8Array> => {
  const bytes = bytesOf(token)
  const header = bytes.subarray(0, 21)
  const { algorithm, key } = await latestCipher(master, header, audience, itsPurpose)
  return new Uint8Array(await webcrypto.subtle.decrypt(algorithm, key, join(bytes.subarray(21))))
}

const varint = (value: number): Uint8Array => {
  const bytes: Array<number> = []
  let rest = BigInt(value)
  for (; rest > 127n; rest >>= 7n) {
    bytes.push(Number(rest & 127n) | 128)
  }
  return new Uint8Array([...bytes, Number(rest)])
}

export const write = (content: Content): Uint8Array => {
  const { createdAt, deadline, expiresAt, idle, latest, revision, touchedAt } = content
  const counts = [createdAt, touchedAt - createdAt, deadline - touchedAt, expiresAt - createdAt, revision]
  const usual = [...counts, idle, latest - expiresAt, deadline, latest].every((value) =>
    Number.isSafeInteger(value) && value >= 0
  )
  const withIdle = usual && idle !== deadline - touchedAt
  const withLatest = usual && latest !== expiresAt
  const flags = (content.persistent ? 1 : 0) + (withIdle ? 2 : 0) + (withLatest ? 4 : 0)
    + (content.rare === undefined ? 0 : 8) + (usual ? 0 : 16)
  const doubles = new DataView(new ArrayBuffer(56))
  ;[createdAt, touchedAt, deadline, expiresAt, revision, idle, latest].forEach((value, index) =>
    doubles.setFloat64(index * 8, value)
  )
  const numbers = usual
    ? [...counts, ...(withIdle ? [idle] : []), ...(withLatest ? [latest - expiresAt] : [])].map(varint)
    : [new Uint8Array(doubles.buffer)]
  const rare = content.rare === undefined ? [] : [varint(text(content.rare).length), text(content.rare)]
  return join(bytesOf(content.id), new Uint8Array([flags]), ...numbers, ...rare, text(content.data))
}

export const read = (plain: Uint8Array): Content => {
  let at = 33
  const flags = plain[32]!
  const has = (flag: number) => (flags & flag) !== 0
  const count = () => {
    let value = 0n
    for (let shift = 0n;; shift += 7n) {
      const byte = plain[at++]!
      value |= BigInt(byte & 127) << shift
      if (byte < 128) {
        return Number(value)
      }
    }
  }
  const double = () => new DataView(plain.buffer, plain.byteOffset).getFloat64((at += 8) - 8)
  const next = has(16) ? double : count
  const createdAt = next()
  const touchedAt = has(16) ? next() : createdAt + next()
  const deadline = has(16) ? next() : touchedAt + next()
  const expiresAt = has(16) ? next() : createdAt + next()
  const revision = next()
  const idle = has(16) || has(2) ? next() : deadline - touchedAt
  const latest = has(16) ? next() : has(4) ? expiresAt + next() : expiresAt
  const rareEnd = has(8) ? count() + at : at
  const decode = (from: number, to?: number) => new TextDecoder().decode(plain.subarray(from, to))
  return {
    id: base64url(plain.subarray(0, 32)),
    persistent: has(1),
    createdAt,
    touchedAt,
    deadline,
    expiresAt,
    revision,
    idle,
    latest,
    ...(has(8) ? { rare: decode(at, rareEnd) } : {}),
    data: decode(rareEnd)
  }
}
