/**
 * The text form of a session in Redis, and the scripts that compare and set it. Each that writes a session, but a
 * touch, publishes an empty message on the channel of the key's name. A user who may not publish is not hindered by it.
 * The module knows nothing of clients, nor of how keys are named.
 *
 * A session is a head of fixed width with the encoded body behind it; a tombstone is a head alone:
 *
 *     W <revision> <touchedAt> <deadline> <writers> <body>
 *     T <until>
 *     T <until> <successor> <writers>
 *
 * Numbers have 16 digits and the successor's id has 43 characters. The tombstone of a revoked session names a successor
 * that no session can have, 43 hyphens. A release that does not know that form finds nothing under it, and so reads the
 * tombstone as that of a session that has ended. Compared with a Redis hash, one string takes 80 to
 * 300 bytes less. A read is one GET of one reply, a script reads the head without moving the body, and a touch
 * overwrites two numbers in place.
 *
 * A writer identifies the call that wrote the session, by 12 characters. The head has room for the last five, the
 * newest first; what is not taken yet is dots. A client may send a call again after a cut connection, without knowing
 * whether it was carried out. If its writer is among the five, the script answers that it was, and not that somebody
 * else was faster. The tombstone of a renewed or revoked session keeps the last four, for a write that was carried out
 * before: a login that was sent again after its revocation would else be told that there is no session, and begin again.
 *
 * An earlier layout begins with `S` and has one writer. It is read as well, and the next write of the session is in the
 * layout above.
 */
import * as Encoding from "effect/Encoding"
import type { SessionId } from "../../SessionToken.js"
import type { Entry, LiveEntry, Tombstone } from "../../StoreBackend.js"
import { randomBytes } from "../crypto/hash.js"
import type { Removed } from "../store/listed.js"

const width = 16

/** How long a writer is, and how many the head keeps. */
const writerLength = 12
const writersKept = 5

/** How long the head is, up to the body. */
const headLength = 54 + writerLength * writersKept

/** The same of the earlier layout, which is shorter. */
const headOfEarlierLayout = 54 + writerLength

/** The length of a tombstone up to its successor, and how many writers stand behind it. */
const tombstoneLength = 62
const writersBuried = 4

const live = /^[SW] (\d{16}) (\d{16}) (\d{16}) (?:[\w-]{12}|[\w.-]{60}) /
const tombstone = /^T (\d{16})(?: ([\w-]{43})(?: [\w.-]{48})?)?$/
const laterLayout = /^[A-Z]\d* /

/** A number in the width of the head, rounded down and limited to what a double holds exactly. @internal */
export const digits = (value: number): string =>
  String(Math.max(0, Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER))).padStart(width, "0")

/**
 * A session as the scripts take it: the head up to a new writer, and the body. The script puts those who wrote before
 * between them.
 * @internal
 */
export const encode = (entry: LiveEntry): readonly [head: string, body: string] => {
  const writer = Encoding.encodeBase64Url(randomBytes(9))
  return [`W ${digits(entry.revision)} ${digits(entry.touchedAt)} ${digits(entry.deadline)} ${writer}`, entry.body]
}

/** What the tombstone of a revoked session has in place of a successor. */
const revocation = "-".repeat(43)

/** @internal */
export const encodeTombstone = ({ revoked, successor, until }: Tombstone): string => {
  const then = successor ?? (revoked === true ? revocation : undefined)
  return then === undefined ? `T ${digits(until)}` : `T ${digits(until)} ${then}`
}

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
      body: text.slice(head[0].length)
    }
  }
  const ended = tombstone.exec(text)
  if (ended !== null) {
    const [, until, successor] = ended
    return successor === revocation
      ? { _tag: "Tombstone", until: Number(until), revoked: true }
      : { _tag: "Tombstone", until: Number(until), successor: successor as SessionId | undefined }
  }
  return !/^[SW] /.test(text) && laterLayout.test(text) ? later : unreadable
}

/** The write was carried out. This and the next two are the answers of the scripts that are not a session. @internal */
export const done = "="

/** There is no live session under the key. @internal */
export const absent = "-"

/** The key is in use. @internal */
export const taken = "!"

/**
 * What an answer of `remove` says was there. It is what was removed, the id in a tombstone, or `absent`.
 * @internal
 */
export const removed = (reply: string | undefined): Removed => {
  if (reply === undefined || reply === absent || reply === revocation) {
    return { _tag: "Absent" }
  }
  if (reply.length === revocation.length) {
    return { _tag: "Renewed", successor: reply as SessionId }
  }
  const entry = decode(reply)
  return entry._tag === "Entry" ? { _tag: "Removed", entry } : { _tag: "Absent" }
}

const prelude = `
local now = tonumber(ARGV[1])
local nobody = '${".".repeat(writerLength * writersKept)}'
local function head(key) return redis.call('GETRANGE', key, 0, ${headLength - 1}) end
local function revision(found) return string.sub(found, 3, 18) end
local function deadline(found) return tonumber(string.sub(found, 37, 52)) or 0 end
local function layout(found) return string.sub(found, 1, 2) end
local function session(found) return layout(found) == 'W ' or layout(found) == 'S ' end
local function live(found) return session(found) and now < deadline(found) end
local function writers(found)
  return layout(found) == 'W ' and string.sub(found, 54, ${headLength - 1}) or string.sub(found, 54, 65) .. nobody
end
local function tombstone(found) return layout(found) == 'T ' end
local function burying(tombstone, found)
  if string.len(tombstone) < ${tombstoneLength} then return tombstone end
  return tombstone .. ' ' .. string.sub(writers(found), 1, ${writerLength * writersBuried})
end
local function ours(found, written)
  local known = session(found) and writers(found) or tombstone(found) and string.sub(found, ${
  tombstoneLength + 2
}) or ''
  return string.find(known, string.sub(written, 54), 1, true)
end
local function write(key, written, before, body, timeToLive)
  local kept = string.sub(before, 1, ${writerLength * (writersKept - 1)})
  redis.call('SET', key, written .. kept .. ' ' .. body, 'PX', timeToLive)
end
local function ends(found) return tonumber(string.sub(found, 3, 18)) or math.huge end
local function tell(key) redis.pcall('PUBLISH', key, '') end
`

/** KEYS: the key. ARGV: now, head and body of the session, its time to live. @internal */
export const insert = `${prelude}
local found = head(KEYS[1])
if ours(found, ARGV[2]) then return '${done}' end
if found ~= '' then
  local expired = session(found) and not live(found) or tombstone(found) and ends(found) <= now
  if not expired then return '${taken}' end
end
write(KEYS[1], ARGV[2], nobody, ARGV[3], ARGV[4])
tell(KEYS[1])
return '${done}'`

/** KEYS: the key. ARGV: now, the revision to replace, head and body of the session, its time to live. @internal */
export const replace = `${prelude}
local found = head(KEYS[1])
if ours(found, ARGV[3]) then return '${done}' end
if not live(found) then return '${absent}' end
if revision(found) ~= ARGV[2] then return redis.call('GET', KEYS[1]) end
write(KEYS[1], ARGV[3], writers(found), ARGV[4], ARGV[5])
tell(KEYS[1])
return '${done}'`

/**
 * KEYS: the old key, the new one. ARGV: now, the revision to replace, head and body of the session, its time to live,
 * the tombstone, its time to live. Either both are written or none: a full server rejects the first write of a script,
 * never a later one.
 * @internal
 */
export const rename = `${prelude}
local found = head(KEYS[1])
local next = head(KEYS[2])
if ours(next, ARGV[3]) then return '${done}' end
if not live(found) then return '${absent}' end
if revision(found) ~= ARGV[2] then return redis.call('GET', KEYS[1]) end
if next ~= '' then return '${taken}' end
write(KEYS[2], ARGV[3], nobody, ARGV[4], ARGV[5])
redis.call('SET', KEYS[1], burying(ARGV[6], found), 'PX', ARGV[7])
tell(KEYS[1])
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
 * KEYS: the key. ARGV: now, the tombstone, its time to live. A session is ended even if it has expired by this clock,
 * because another process's clock may be behind. The answer is the session, without its body if that has no subject, so
 * that the logout of an anonymous session moves no data. If there is a tombstone that still counts and names a
 * successor, the answer is the successor's id. A full server rejects even a small tombstone in place of a large
 * session. A logout frees memory and must not fail for lack of it, so the session is then deleted without a tombstone.
 * @internal
 */
export const remove = `${prelude}
local found = head(KEYS[1])
if session(found) then
  local whole = redis.call('GET', KEYS[1])
  local kept = redis.pcall('SET', KEYS[1], burying(ARGV[2], found), 'PX', ARGV[3])
  if kept.err then redis.call('DEL', KEYS[1]) end
  tell(KEYS[1])
  return string.find(whole, '"subject":', ${headOfEarlierLayout}, true) and whole or found
elseif tombstone(found) and now < ends(found) and string.len(found) >= ${tombstoneLength} then
  return string.sub(found, 20, ${tombstoneLength})
end
return '${absent}'`

/** KEYS: the key, the key to move its content to. ARGV: the time to live there. @internal */
export const setAside = `
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return '${done}'`
