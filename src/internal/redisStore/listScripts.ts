/**
 * The scripts that keep the sessions of a subject listed. A list has two keys:
 *
 *     the index of a subject: a sorted set of `<shard><id>`, by the time until which each is listed
 *     the locator of an id:   <shard> <the time to live that it was given>
 *
 * The locator finds a session whose public id alone is known. How long ago the session was listed is what its locator has
 * lived of the time that it was given. So one clock alone measures it, the server's, and no process's can be wrong about
 * what another one listed. `PTTL` says it without the command `TIME`, which a user would have to be allowed.
 *
 * Each script is there for both keys together and for either alone, because in a cluster they lie in different slots. All
 * three take the same arguments. The module knows nothing of clients, nor of how keys are named.
 */
import type { SessionId } from "../../SessionToken.js"
import type { Key } from "../../StoreBackend.js"
import { done } from "./scripts.js"

/** A script in three forms. @internal */
export interface Sources {
  /** KEYS: the index, the locator. */
  readonly both: string
  /** KEYS: the index. */
  readonly index: string
  /** KEYS: the locator. */
  readonly locator: string
}

const sources = (index: (key: string) => string, locator: (key: string) => string, inPassing = ""): Sources => ({
  both: `${index("KEYS[1]")}${locator("KEYS[2]")}${inPassing}return '${done}'`,
  index: `${index("KEYS[1]")}return '${done}'`,
  locator: `${locator("KEYS[1]")}return '${done}'`
})

/**
 * ARGV: the member, until when it is listed, the shard, the time to live of both, the bound below which members are
 * dropped, and the longest time to live. Where both keys are given, other sessions may be taken off in passing: KEYS
 * goes on with the index and the locator of each, and ARGV with the locators' time to live and the member of each.
 *
 * A member's bound is never lowered: the write that it is listed for may be refused, and then another session of a
 * later bound is still there. The index lives as long as its last member. A full server refuses the first write of a
 * script, never a later one, so the writes that take memory come first.
 *
 * @internal
 */
export const add: Sources = sources(
  (key) => `
local listed = redis.call('ZSCORE', ${key}, ARGV[1])
if not listed or tonumber(listed) < tonumber(ARGV[2]) then redis.call('ZADD', ${key}, ARGV[2], ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', ${key}, '-inf', '(' .. ARGV[5])
local last = redis.call('ZREVRANGE', ${key}, 0, 0, 'WITHSCORES')
if last[2] then
  local timeToLive = tonumber(ARGV[4]) + tonumber(last[2]) - tonumber(ARGV[2])
  redis.call('PEXPIRE', ${key}, string.format('%.0f', math.min(timeToLive, tonumber(ARGV[6]))))
end
`,
  (key) => `
local timeToLive = string.format('%.0f', math.max(tonumber(ARGV[4]), redis.call('PTTL', ${key})))
redis.call('SET', ${key}, ARGV[3] .. ' ' .. timeToLive, 'PX', timeToLive)
`,
  `
for i = 3, #KEYS, 2 do
  redis.call('ZREM', KEYS[i], ARGV[(i + 13) / 2])
  redis.call('PEXPIRE', KEYS[i + 1], ARGV[7])
end
`
)

/**
 * ARGV: the member, the time to live of the locator. The locator stays as long as a tombstone does, because the
 * tombstone of a renewed session leads to its successor.
 *
 * @internal
 */
export const remove: Sources = sources(
  (key) => `redis.call('ZREM', ${key}, ARGV[1])\n`,
  (key) => `redis.call('PEXPIRE', ${key}, ARGV[2])\n`
)

/** The answer of `forget` for a session that was listed lately. */
const recent = "+"

const unlessRecent = (key: string) => `
local given = tonumber(string.match(redis.call('GET', ${key}) or '', ' (%d+)$'))
if given and given - redis.call('PTTL', ${key}) < tonumber(ARGV[2]) then return '${recent}' end
`

/**
 * ARGV: the member, within how many milliseconds of its listing a session may still be written. A session that was listed
 * lately, or again, stays listed. Where the two keys are asked apart, the index is asked after the locator has agreed.
 *
 * @internal
 */
export const forget: Sources = {
  both: `${unlessRecent("KEYS[2]")}redis.call('ZREM', KEYS[1], ARGV[1])\nreturn '${done}'`,
  index: `redis.call('ZREM', KEYS[1], ARGV[1])\nreturn '${done}'`,
  locator: `${unlessRecent("KEYS[1]")}return '${done}'`
}

/**
 * KEYS: the index. ARGV: the cursor, about how many members to answer. The answer is the next cursor and the members,
 * with spaces between them. A member that is there from the first page to the last is answered, perhaps more than once.
 * By rank, pages would move while members are taken off, and one could be missed.
 *
 * @internal
 */
export const page = `
local found = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local answer = { found[1] }
for i = 1, #found[2], 2 do answer[#answer + 1] = found[2][i] end
return table.concat(answer, ' ')`

/** @internal */
export const member = ({ id, shard }: Key): string => `${shard}${id}`

/** The inverse of `member`. @internal */
export const ofMember = (member: string): Key => ({ shard: member.slice(0, 4), id: member.slice(4) as SessionId })

/** The shard that a locator says. @internal */
export const shardOf = (locator: string): string => locator.slice(0, 4)
