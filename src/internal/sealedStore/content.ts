/**
 * The content of a sealed token: a session as bytes, and the session of such bytes. The docs of `SealedStore` specify
 * the format. The module knows nothing of how the bytes are encrypted.
 */
import * as Schema from "effect/Schema"
import * as SessionRecord from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import type { Bytes, Node } from "../crypto/node.js"
import * as Json from "../record/json.js"
import type { Version } from "./seal.js"

/** What a token says. Times are in milliseconds since the epoch. @internal */
export interface Content {
  readonly id: SessionId
  /** When the token expires: the earlier of the idle deadline and the absolute bound. */
  readonly deadline: number
  /** The latest absolute bound of any token of this session, after which no token of it can be live. */
  readonly latest: number
  /** The session, frozen; undefined if it can't be decoded. It is not looked at before this is called. */
  readonly record: () => SessionRecord.SessionRecord | undefined
}

const idBytes = 32

/** What the byte after the id says. A token with another bit set was made by a later release. */
const Flag = {
  persistent: 1,
  /** The idle timeout is written, because the deadline is not that long after the last write or touch. */
  idle: 2,
  /** The latest bound is written, because it is not the token's own. */
  latest: 4,
  /** Rare fields are written. */
  rare: 8,
  /** The numbers are written whole, because one of them is not an integer of the usual size and order. */
  whole: 16
} as const

const knownFlags = 31

/** The numbers of a session, in the order in which they are written whole. */
interface Numbers {
  readonly createdAt: number
  readonly touchedAt: number
  readonly deadline: number
  readonly expiresAt: number
  readonly revision: number
  readonly idle: number
  readonly latest: number
}

/** What comes before the texts: the seven numbers take at most 8 bytes each, and the length of a text less than that. */
const mostHeadBytes = idBytes + 1 + 8 * 8

/** The fields that few sessions have. */
const Rare = Schema.Struct({
  dropOnRenew: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
  subject: Schema.optionalWith(Schema.String, { exact: true }),
  label: Schema.optionalWith(Schema.String, { exact: true }),
  authenticatedAt: Schema.optionalWith(Schema.Finite, { exact: true })
})

const decodeRare = Schema.decodeUnknownSync(Schema.parseJson(Rare))

const hasRare = (record: SessionRecord.SessionRecord): boolean =>
  record.dropOnRenew !== undefined || record.subject !== undefined || record.label !== undefined
  || record.authenticatedAt !== undefined

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

/** Whether the numbers are integers, of which the later times are not before those that they are written after. */
const isUsual = (numbers: Numbers): boolean =>
  isCount(numbers.createdAt) && isCount(numbers.touchedAt - numbers.createdAt)
  && isCount(numbers.deadline - numbers.touchedAt) && isCount(numbers.expiresAt - numbers.createdAt)
  && isCount(numbers.latest - numbers.expiresAt) && isCount(numbers.idle) && isCount(numbers.revision)
  && Number.isSafeInteger(numbers.latest) && Number.isSafeInteger(numbers.deadline)

/** Writes an integer in groups of 7 bits, the lowest first. Each byte but the last has its highest bit set. */
const writeCount = (bytes: Uint8Array, at: number, value: number): number => {
  let rest = value
  let end = at
  while (rest > 127) {
    bytes[end++] = rest % 128 | 128
    rest = Math.floor(rest / 128)
  }
  bytes[end] = rest
  return end + 1
}

const usualFlags = ({ deadline, expiresAt, idle, latest, touchedAt }: Numbers): number =>
  (idle === deadline - touchedAt ? 0 : Flag.idle) | (latest === expiresAt ? 0 : Flag.latest)

const writeUsual = (bytes: Bytes, start: number, numbers: Numbers, flags: number): number => {
  let at = writeCount(bytes, start, numbers.createdAt)
  at = writeCount(bytes, at, numbers.touchedAt - numbers.createdAt)
  at = writeCount(bytes, at, numbers.deadline - numbers.touchedAt)
  at = writeCount(bytes, at, numbers.expiresAt - numbers.createdAt)
  at = writeCount(bytes, at, numbers.revision)
  if ((flags & Flag.idle) !== 0) {
    at = writeCount(bytes, at, numbers.idle)
  }
  return (flags & Flag.latest) === 0 ? at : writeCount(bytes, at, numbers.latest - numbers.expiresAt)
}

const writeWhole = (bytes: Bytes, start: number, numbers: Numbers): number => {
  let at = bytes.writeDoubleBE(numbers.createdAt, start)
  at = bytes.writeDoubleBE(numbers.touchedAt, at)
  at = bytes.writeDoubleBE(numbers.deadline, at)
  at = bytes.writeDoubleBE(numbers.expiresAt, at)
  at = bytes.writeDoubleBE(numbers.revision, at)
  at = bytes.writeDoubleBE(numbers.idle, at)
  return bytes.writeDoubleBE(numbers.latest, at)
}

/** Reads bytes from the front. Past the end it reads `NaN`. */
class Reader {
  constructor(readonly bytes: Bytes, public at: number) {}
  count(): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.bytes[this.at++] ?? Number.NaN
      value += byte % 128 * scale
      if (!(byte > 127)) {
        return value
      }
      scale *= 128
    }
  }
  double(): number {
    this.at += 8
    return this.at <= this.bytes.length ? this.bytes.readDoubleBE(this.at - 8) : Number.NaN
  }
}

const readWhole = (reader: Reader): Numbers => ({
  createdAt: reader.double(),
  touchedAt: reader.double(),
  deadline: reader.double(),
  expiresAt: reader.double(),
  revision: reader.double(),
  idle: reader.double(),
  latest: reader.double()
})

const readUsual = (reader: Reader, flags: number): Numbers => {
  const createdAt = reader.count()
  const touchedAt = createdAt + reader.count()
  const deadline = touchedAt + reader.count()
  const expiresAt = createdAt + reader.count()
  const revision = reader.count()
  const idle = (flags & Flag.idle) === 0 ? deadline - touchedAt : reader.count()
  const latest = (flags & Flag.latest) === 0 ? expiresAt : expiresAt + reader.count()
  return { createdAt, touchedAt, deadline, expiresAt, revision, idle, latest }
}

const decode = (id: SessionId, flags: number, numbers: Numbers, reader: Reader): SessionRecord.SessionRecord => {
  const { createdAt, deadline, expiresAt, idle, revision, touchedAt } = numbers
  const rareEnd = (flags & Flag.rare) === 0 ? 0 : reader.count() + reader.at
  const rare = rareEnd === 0 ? undefined : decodeRare(reader.bytes.toString("utf8", reader.at, rareEnd))
  const data = Json.adoptObject(JSON.parse(reader.bytes.toString("utf8", rareEnd === 0 ? reader.at : rareEnd)))
  const record = SessionRecord.make(
    { ...rare, createdAt, expiresAt, idle },
    data,
    rare?.dropOnRenew === undefined ? undefined : Object.freeze(rare.dropOnRenew),
    { revision, touchedAt, deadline }
  )
  if ((flags & Flag.persistent) !== 0) {
    record.persistent = true
  }
  record.id = id
  return Object.freeze(record)
}

const readLatest = (bytes: Bytes): Content => {
  const id = bytes.toString("base64url", 0, idBytes) as SessionId
  const flags = bytes[idBytes] ?? Number.NaN
  const reader = new Reader(bytes, idBytes + 1)
  const numbers = (flags & Flag.whole) === 0 ? readUsual(reader, flags) : readWhole(reader)
  return {
    id,
    deadline: numbers.deadline,
    latest: numbers.latest,
    record: () => {
      if (
        flags > knownFlags || !Number.isFinite(numbers.createdAt) || !Number.isFinite(numbers.expiresAt)
        || !Number.isFinite(numbers.idle)
      ) {
        return undefined
      }
      try {
        return decode(id, flags, numbers, reader)
      } catch {
        return undefined
      }
    }
  }
}

/** Reads version 1, which new tokens no longer have. */
const readFirst = (bytes: Bytes): Content => {
  const id = bytes.toString("base64url", 0, idBytes) as SessionId
  const deadline = bytes.readDoubleBE(48)
  return {
    id,
    deadline,
    latest: bytes.readDoubleBE(56),
    record: () => {
      const stamp = { revision: bytes.readDoubleBE(32), touchedAt: bytes.readDoubleBE(40), deadline }
      const decoded = SessionRecord.decode(bytes.toString("utf8", 64), stamp)
      return decoded._tag === "Left" ? undefined : SessionRecord.own(decoded.right, { id })
    }
  }
}

/**
 * How many bytes a touch may add to a content: the two times that it moves, and the idle timeout, may take 6 bytes each.
 *
 * @internal
 */
export const touchRoom = 16

/** Reads the content of a token of this version. @internal */
export const read = (version: Version, bytes: Bytes): Content => version === 1 ? readFirst(bytes) : readLatest(bytes)

/** Writes the content of a token. The inverse of `read` of the latest version. @internal */
export const write = (
  { Buffer }: Node,
  id: SessionId,
  record: SessionRecord.SessionRecord,
  latest: number
): Bytes => {
  const { createdAt, expiresAt, idle } = record
  const { deadline, revision, touchedAt } = SessionRecord.stamp(record)
  const numbers: Numbers = { createdAt, touchedAt, deadline, expiresAt, revision, idle, latest }
  const rare = hasRare(record)
    ? JSON.stringify({
      dropOnRenew: record.dropOnRenew,
      subject: record.subject,
      label: record.label,
      authenticatedAt: record.authenticatedAt
    })
    : undefined
  const data = JSON.stringify(record.data)
  const rareBytes = rare === undefined ? 0 : Buffer.byteLength(rare, "utf8")
  const bytes = Buffer.allocUnsafe(mostHeadBytes + rareBytes + Buffer.byteLength(data, "utf8"))
  bytes.write(id, 0, "base64url")
  const usual = isUsual(numbers)
  const flags = (usual ? usualFlags(numbers) : Flag.whole)
    | (record.persistent === true ? Flag.persistent : 0)
    | (rare === undefined ? 0 : Flag.rare)
  bytes[idBytes] = flags
  let at = usual ? writeUsual(bytes, idBytes + 1, numbers, flags) : writeWhole(bytes, idBytes + 1, numbers)
  if (rare !== undefined) {
    at = writeCount(bytes, at, rareBytes)
    at += bytes.write(rare, at, "utf8")
  }
  at += bytes.write(data, at, "utf8")
  return bytes.subarray(0, at)
}
