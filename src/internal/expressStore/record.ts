/**
 * Turns Express's form of a session, `{ cookie, ...data }`, into a record and back. What Express has no place for is in one
 * key of ours, which Express keeps as it keeps any other. Nothing here calls a store.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SessionRecord from "../../SessionRecord.js"
import * as Json from "../record/json.js"

/** The key under which Express keeps what is ours. @internal */
export const metaKey = "effect-session"

const version = 1

/** Keys of a session's data that Express would take for something else; they travel in ours. */
const reserved: ReadonlyArray<string> = ["cookie", metaKey]

const Meta = Schema.Struct({
  v: Schema.Literal(version),
  revision: Schema.NonNegativeInt,
  digest: Schema.Finite,
  createdAt: Schema.Finite,
  touchedAt: Schema.Finite,
  deadline: Schema.Finite,
  expiresAt: Schema.Finite,
  idle: Schema.Finite,
  persistent: Schema.optionalWith(Schema.Literal(true), { exact: true }),
  dropOnRenew: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
  subject: Schema.optionalWith(Schema.String, { exact: true }),
  authenticatedAt: Schema.optionalWith(Schema.Finite, { exact: true }),
  data: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.Unknown }), { exact: true })
})

type Meta = typeof Meta.Type

const decodeMeta = Schema.decodeUnknownOption(Meta)

/** What an Express session begins with in a record that it has never been in. @internal */
export interface Adoption {
  readonly idle: number
  readonly lifetime: number
  /** Whether the backend's word that a session is there counts for more than the deadline in it. */
  readonly trusting: boolean
}

/** A session as it was found. @internal */
export interface Found {
  readonly record: SessionRecord.SessionRecord
  readonly cookie: Cookie
}

/** What Express keeps of its cookie. @internal */
export interface Cookie {
  readonly originalMaxAge?: number | null
  readonly expires?: string | Date | null
  readonly [attribute: string]: unknown
}

/** JSON with its keys in order, since some backends keep none (`jsonb`). */
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

/** Tells two data apart: 32 bits (FNV-1a), for finding out that Express wrote, not for security. */
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
 * The revision of data that Express wrote over ours: between our last one and the next, and another for other data, since
 * Express raises none.
 */
const between = (revision: number, digest: number): number => revision + (digest + 1) / 2 ** 33

/**
 * When a session that was found at `now` goes idle, by what is known of it. Express extends sessions in many a backend
 * without a word in the record: where nothing is known, halfway is late enough to live and early enough to be touched.
 */
const deadlineOf = (recorded: number | undefined, now: number, idle: number, trusting: boolean): number =>
  recorded === undefined || (trusting && recorded <= now) ? now + idle / 2 : recorded

/**
 * Reads what a store answered: the session, `undefined` for what is none, or why it can't be read.
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
    // through text: some stores hand out what they keep, and some keep more than JSON
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
 * How long past its end a session stays in a store that has no say in when that is, so that its clock can differ from
 * ours. Where Express reads the cookie's expiry, it gets the true one.
 */
const marginOf = (trusting: boolean): number => trusting ? 0 : 60_000

/**
 * The session that Express is to find. Its cookie's attributes stay as they were; its expiry follows the record, but for
 * one that Express let last as long as the browser.
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
 * A cookie that expires at a time, with the `maxAge` that Express's own cookies have and some stores ask for: it is
 * counted when it is read, and not part of the JSON.
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
