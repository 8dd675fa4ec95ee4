/**
 * The scripts that keep the sessions of a subject listed. A list has two keys:
 *
 *     the index of a subject: a sorted set of `<shard><id>`, by the time until which each is listed
 *     the locator of an id:   <shard> <when it was listed: 16 digits>
 *
 * The locator finds a session whose public id alone is known. Each script is there for both keys together and for
 * either alone, because in a cluster they lie in different slots. All three take the same arguments. The module knows
 * nothing of clients, nor of how keys are named.
 */
import type { SessionId } from "../../SessionToken.js"
import type { Key } from "../../StoreBackend.js"
import { digits, done } from "./scripts.js"

/** A script in three forms. @internal */
export interface Sources {
  /** KEYS: the index, the locator. */
  readonly both: string
  /** KEYS: the index. */
  readonly index: string
  /** KEYS: the locator. */
  readonly locator: string
}

const sources = (index: (key: string) => string, locator: (key: string) => string): Sources => ({
  both: `${index("KEYS[1]")}${locator("KEYS[2]")}return '${done}'`,
  index: `${index("KEYS[1]")}return '${done}'`,
  locator: `${locator("KEYS[1]")}return '${done}'`
})

/**
 * ARGV: the member, until when it is listed, the locator, the time to live of both, the bound below which members are
 * dropped, and the longest time to live.
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
local timeToLive = math.max(tonumber(ARGV[4]), redis.call('PTTL', ${key}))
redis.call('SET', ${key}, ARGV[3], 'PX', string.format('%.0f', timeToLive))
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

/** @internal */
export const locator = ({ shard }: Key, now: number): string => `${shard} ${digits(now)}`

/** What a locator says: the shard, and when the session was listed, in milliseconds. @internal */
export const ofLocator = (text: string): { readonly shard: string; readonly listedAt: number } => {
  const [shard = "", listedAt] = text.split(" ")
  return { shard, listedAt: Number(listedAt) }
}
