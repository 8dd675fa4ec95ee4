/**
 * The text form of a session in Redis, and the scripts that compare and set it. The module knows nothing of clients,
 * nor of how keys are named.
 *
 * A session is a head of fixed width with the encoded body behind it; a tombstone is a head alone:
 *
 *     S <revision> <touchedAt> <deadline> <writer> <body>
 *     T <until>
 *     T <until> <successor>
 *
 * Numbers have 16 digits, the writer has 12 characters, and the successor's id has 43. Compared with a Redis hash, one
 * string takes 80 to 300 bytes less. A read is one GET of one reply, a script reads the head without moving the body,
 * and a touch overwrites two numbers in place. The writer identifies the call that wrote the session. A client may send
 * a call again after a cut connection, without knowing whether it was carried out. If the writer is its own, the script
 * answers that it was, and not that somebody else was faster.
 */
import * as Encoding from "effect/Encoding"
import type { SessionId } from "../../SessionToken.js"
import type { Entry, LiveEntry, Tombstone } from "../../StoreBackend.js"
import { randomBytes } from "../crypto/hash.js"

const width = 16
const bodyAt = 66

/** The length of a tombstone that names a successor. */
const tombstoneLength = 62

const live = /^S (\d{16}) (\d{16}) (\d{16}) [\w-]{12} /
const tombstone = /^T (\d{16})(?: ([\w-]{43}))?$/
const laterLayout = /^[A-Z]\d* /

/** A number in the width of the head, rounded down and limited to what a double holds exactly. @internal */
export const digits = (value: number): string =>
  String(Math.max(0, Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER))).padStart(width, "0")

/** The text of a session, with a new writer. @internal */
export const encode = (entry: LiveEntry): string => {
  const writer = Encoding.encodeBase64Url(randomBytes(9))
  return `S ${digits(entry.revision)} ${digits(entry.touchedAt)} ${digits(entry.deadline)} ${writer} ${entry.body}`
}

/** @internal */
export const encodeTombstone = ({ successor, until }: Tombstone): string =>
  successor === undefined ? `T ${digits(until)}` : `T ${digits(until)} ${successor}`

/** The entry of a text that can't be read. It never expires, so that nothing overwrites it. @internal */
export const unreadable: LiveEntry = {
  _tag: "Entry",
  revision: 0,
  touchedAt: 0,
  deadline: Number.POSITIVE_INFINITY,
  body: ""
}

/** The entry of a text of a later release. Its body is of a newer version, so that it is left as it is. */
const later: LiveEntry = { ...unreadable, body: JSON.stringify({ v: Number.MAX_SAFE_INTEGER }) }

/** @internal */
export const decode = (text: string): Entry => {
  const head = live.exec(text)
  if (head !== null) {
    return {
      _tag: "Entry",
      revision: Number(head[1]),
      touchedAt: Number(head[2]),
      deadline: Number(head[3]),
      body: text.slice(bodyAt)
    }
  }
  const ended = tombstone.exec(text)
  if (ended !== null) {
    return { _tag: "Tombstone", until: Number(ended[1]), successor: ended[2] as SessionId | undefined }
  }
  return !text.startsWith("S ") && laterLayout.test(text) ? later : unreadable
}

/** The write was carried out. This and the next two are the answers of the scripts that are not a session. @internal */
export const done = "="

/** There is no live session under the key. @internal */
export const absent = "-"

/** The key is in use. @internal */
export const taken = "!"

const prelude = `
local now = tonumber(ARGV[1])
local function head(key) return redis.call('GETRANGE', key, 0, ${bodyAt - 1}) end
local function revision(found) return string.sub(found, 3, 18) end
local function deadline(found) return tonumber(string.sub(found, 37, 52)) or 0 end
local function writer(found) return string.sub(found, 54, 65) end
local function session(found) return string.sub(found, 1, 2) == 'S ' end
local function live(found) return session(found) and now < deadline(found) end
local function ours(found, written) return session(found) and writer(found) == writer(written) end
local function tombstone(found) return string.sub(found, 1, 2) == 'T ' end
local function ends(found) return tonumber(string.sub(found, 3, 18)) or math.huge end
`

/** KEYS: the key. ARGV: now, the session, its time to live. @internal */
export const insert = `${prelude}
local found = head(KEYS[1])
if ours(found, ARGV[2]) then return '${done}' end
if found ~= '' then
  local expired = session(found) and not live(found) or tombstone(found) and ends(found) <= now
  if not expired then return '${taken}' end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return '${done}'`

/** KEYS: the key. ARGV: now, the revision to replace, the session, its time to live. @internal */
export const replace = `${prelude}
local found = head(KEYS[1])
if ours(found, ARGV[3]) then return '${done}' end
if not live(found) then return '${absent}' end
if revision(found) ~= ARGV[2] then return redis.call('GET', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return '${done}'`

/**
 * KEYS: the old key, the new one. ARGV: now, the revision to replace, the session, its time to live, the tombstone, its
 * time to live. Either both are written or none: a full server rejects the first write of a script, never a later one.
 * @internal
 */
export const rename = `${prelude}
local found = head(KEYS[1])
local next = head(KEYS[2])
if ours(next, ARGV[3]) then return '${done}' end
if not live(found) then return '${absent}' end
if revision(found) ~= ARGV[2] then return redis.call('GET', KEYS[1]) end
if next ~= '' then return '${taken}' end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[6])
return '${done}'`

/** KEYS: the key. ARGV: now, the revision to extend, touchedAt and deadline as in the head, time to live. @internal */
export const extend = `${prelude}
local found = head(KEYS[1])
if not live(found) then return '${absent}' end
if revision(found) == ARGV[2] and deadline(found) < tonumber(string.sub(ARGV[3], 18)) then
  redis.call('SETRANGE', KEYS[1], 19, ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return '${done}'`

/**
 * KEYS: the key. ARGV: now, the tombstone, its time to live. If there is a tombstone that still counts and names a
 * successor, the answer is the successor's id. A session is ended even if it has expired by this clock, because another
 * process's clock may be behind. A full server rejects even a small tombstone in place of a large session. A logout
 * frees memory and must not fail for lack of it, so the session is then deleted without a tombstone.
 * @internal
 */
export const remove = `${prelude}
local found = head(KEYS[1])
if session(found) then
  local kept = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  if kept.err then redis.call('DEL', KEYS[1]) end
elseif tombstone(found) and now < ends(found) and string.len(found) == ${tombstoneLength} then
  return string.sub(found, 20)
end
return '${done}'`

/** KEYS: the key, the key to move its content to. ARGV: the time to live there. @internal */
export const setAside = `
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return '${done}'`
