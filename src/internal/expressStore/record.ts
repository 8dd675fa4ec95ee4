/**
 * Turns Express's form of a session, `{ cookie, ...data }`, into a record and back. What Express has no place for is in
 * one key of ours, which Express keeps like any other key. The module knows nothing of stores.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SessionRecord from "../../SessionRecord.js"
import { randomBytes } from "../crypto/hash.js"
import * as Json from "../record/json.js"

/** The key in Express's session that holds what Express has no place for. */
const metaKey = "effect-session"

const version = 1

/** Keys of a session's data that have another meaning in Express's form. They are kept under our key. */
const reserved: ReadonlyArray<string> = ["cookie", metaKey]

const Meta = Schema.Struct({
  v: Schema.Literal(version),
  revision: Schema.NonNegative,
  digest: Schema.Finite,
  createdAt: Schema.Finite,
  touchedAt: Schema.Finite,
  deadline: Schema.Finite,
  expiresAt: Schema.Finite,
  idle: Schema.Finite,
  persistent: Schema.optionalWith(Schema.Literal(true), { exact: true }),
  dropOnRenew: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
  subject: Schema.optionalWith(Schema.String, { exact: true }),
  label: Schema.optionalWith(Schema.String, { exact: true }),
  authenticatedAt: Schema.optionalWith(Schema.Finite, { exact: true }),
  data: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.Unknown }), { exact: true })
})

type Meta = typeof Meta.Type

const decodeMeta = Schema.decodeUnknownOption(Meta)

/** How a session of Express becomes a record. @internal */
export interface Adoption {
  /** The idle timeout of a session that Express began without a `maxAge`, in milliseconds. */
  readonly idle: number
  /** The lifetime of a session that Express began, in milliseconds. */
  readonly lifetime: number
  /** Whether a session that the backend still has is live, even if its deadline has passed. */
  readonly trusting: boolean
}

/** A session that was found in the store. @internal */
export interface Found {
  readonly record: SessionRecord.SessionRecord
  readonly cookie: Cookie
}

/** The part of the cookie that Express keeps in a session. @internal */
export interface Cookie {
  readonly originalMaxAge?: number | null
  readonly expires?: string | Date | null
  readonly [attribute: string]: unknown
}

/** JSON text with sorted keys, because some backends do not keep the order of keys (`jsonb`). */
const canonical = (value: unknown): string => {
  if (Array.isArray(value)) {
    return `[${value.map(canonical).join()}]`
  }
  if (typeof value === "object" && value !== null) {
    const object = value as Record<string, unknown>
    return `{${Object.keys(object).sort().map((key) => `${JSON.stringify(key)}:${canonical(object[key])}`).join()}}`
  }
  return JSON.stringify(value)
}

/** A hash of the data by which we notice that Express wrote it: 32 bits of FNV-1a, not for security. */
const digestOf = (data: SessionRecord.Data): number => {
  const text = canonical(data)
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash >>> 0
}

/** What session-file-store writes into each session at each write: nothing of the app's. */
const fileStoreKey = "__lastAccess"

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const timeOf = (value: unknown): number | undefined => {
  const time = typeof value === "string" || value instanceof Date ? new Date(value).getTime() : Number.NaN
  return Number.isFinite(time) ? time : undefined
}

const maxAgeOf = (cookie: Cookie): number | undefined =>
  typeof cookie.originalMaxAge === "number" && cookie.originalMaxAge > 0 ? cookie.originalMaxAge : undefined

/**
 * The revision of our next write: the next integer and a random fraction below a half, so that no revision is used twice
 * when a restored backup has taken back a write (D5). It is exact for a million writes of one session.
 *
 * @internal
 */
export const raised = (revision: number): number => {
  const random = new DataView(randomBytes(4).buffer).getUint32(0)
  return Math.floor(revision) + 1 + random / 2 ** 33
}

/**
 * The revision of data that Express wrote over ours, because Express does not raise revisions. It lies between our last
 * revision and the next one: its fraction is a half or more, and depends on the data.
 */
const between = (revision: number, digest: number): number => Math.floor(revision) + 0.5 + digest / 2 ** 33

/**
 * When a session that was found at `now` expires for being idle. In many backends, Express extends a session without a
 * trace in the session itself. Then the deadline is half of the idle timeout from now: late enough for the session to
 * be live, and early enough for the next read to touch it.
 */
const deadlineOf = (recorded: number | undefined, now: number, idle: number, trusting: boolean): number =>
  recorded === undefined || (trusting && recorded <= now) ? now + idle / 2 : recorded

/**
 * Decodes a value of the store: the session, `undefined` if there is none, or why it can't be read.
 *
 * @internal
 */
export const decode = (
  value: unknown,
  now: number,
  adoption: Adoption
): Found | SessionRecord.Undecodable | undefined => {
  if (value === undefined || value === null) {
    return undefined
  }
  const undecodable = (reason: SessionRecord.Undecodable["reason"]): SessionRecord.Undecodable => ({
    _tag: "Undecodable",
    reason
  })
  try {
    // the copy goes through text, because some stores hand out what they keep, and some keep more than JSON
    const session: unknown = JSON.parse(JSON.stringify(value))
    if (!isObject(session) || !isObject(session["cookie"])) {
      return undecodable("Malformed")
    }
    const { cookie, [fileStoreKey]: _, [metaKey]: written, ...visible } = session
    if (isObject(written) && typeof written["v"] === "number" && written["v"] > version) {
      return undecodable("NewerVersion")
    }
    const meta = Option.getOrUndefined(decodeMeta(written))
    const data = Json.adoptObject({ ...visible, ...meta?.data })
    // Express leaves the key out where the app set its maxAge to undefined; that says the same as null (D13).
    const whole: Cookie = { originalMaxAge: null, ...cookie }
    return { cookie: whole, record: recordOf(data, whole, meta, now, adoption) }
  } catch {
    return undecodable("Malformed")
  }
}

const recordOf = (
  data: SessionRecord.Data,
  cookie: Cookie,
  meta: Meta | undefined,
  now: number,
  { idle: defaultIdle, lifetime, trusting }: Adoption
): SessionRecord.SessionRecord => {
  const digest = digestOf(data)
  const ends = timeOf(cookie.expires)
  if (meta === undefined) {
    const idle = maxAgeOf(cookie) ?? defaultIdle
    return {
      data,
      revision: between(0, digest),
      createdAt: now,
      touchedAt: now,
      deadline: deadlineOf(ends, now, idle, trusting),
      expiresAt: now + Math.max(lifetime, idle),
      idle
    }
  }
  const { data: _data, digest: known, revision, v: _v, ...rest } = meta
  const recorded = Math.max(meta.deadline, (ends ?? 0) - marginOf(trusting))
  return {
    ...rest,
    data,
    revision: known === digest ? revision : between(revision, digest),
    deadline: deadlineOf(recorded, now, meta.idle, trusting)
  }
}

/**
 * How long after its end the store keeps a session, in milliseconds. If the record decides when a session ends, the
 * store's clock may differ from ours. If Express reads the cookie's expiry, it has to be exact.
 */
const marginOf = (trusting: boolean): number => trusting ? 0 : 60_000

/**
 * The session in the form that Express reads. The cookie's attributes stay as they were. Its expiry follows the record,
 * unless Express made a cookie that ends with the browser's session.
 *
 * @internal
 */
export const encode = (
  record: SessionRecord.SessionRecord,
  cookie: Cookie,
  { trusting }: Pick<Adoption, "trusting">
): object => {
  const { data, id: _, revision, ...rest } = record
  const kept = reserved.filter((key) => Object.hasOwn(data, key))
  const meta = {
    v: version,
    revision,
    digest: digestOf(data),
    ...rest,
    ...(kept.length === 0 ? {} : { data: Object.fromEntries(kept.map((key) => [key, data[key]])) })
  }
  const visible = Object.fromEntries(Object.entries(data).filter(([key]) => !kept.includes(key)))
  return { ...visible, [metaKey]: meta, cookie: cookieOf(record, cookie, trusting) }
}

const cookieOf = (record: SessionRecord.SessionRecord, cookie: Cookie, trusting: boolean): Cookie => {
  if (cookie.originalMaxAge === null && timeOf(cookie.expires) === undefined && record.persistent !== true) {
    return cookie
  }
  return withExpiry({ ...cookie, originalMaxAge: record.idle }, SessionRecord.endsAt(record) + marginOf(trusting))
}

/**
 * The cookie with an expiry, and with the `maxAge` that Express's own cookies have and some stores read: it is computed
 * when it is read, and is not part of the JSON.
 *
 * @internal
 */
export const withExpiry = (cookie: Cookie, time: number): Cookie => {
  const expires = new Date(Math.min(time, 8.64e15))
  return Object.defineProperty({ ...cookie, expires }, "maxAge", {
    get: () => expires.getTime() - Date.now(),
    enumerable: false
  })
}
