/**
 * The sessions of a store in memory: who lives, who is evicted, and the sweep. Knows nothing of tokens, revisions or
 * effects; the time comes in with each call.
 */
import * as Duration from "effect/Duration"
import * as SessionRecord from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import { tombstoneTimeToLive } from "../../Store.js"

/** How far apart deadlines may lie and still be swept together, in milliseconds. */
const bucketWidth = 60_000

/** How many ids lie in one array at most: one of a million stops everything when it grows, and once more when it is swept. */
const chunkSize = 4096

const bucketOf = (deadline: number): number => Math.floor(deadline / bucketWidth)

const timeToLive = Duration.toMillis(tombstoneTimeToLive)

/** Ids by the minute that they are due in. */
class Due {
  private readonly buckets = new Map<number, Array<Array<SessionId>>>()
  size = 0

  add(id: SessionId, deadline: number): void {
    const bucket = bucketOf(deadline)
    const chunks = this.buckets.get(bucket)
    const chunk = chunks?.at(-1)
    if (chunks === undefined) {
      this.buckets.set(bucket, [[id]])
    } else if (chunk === undefined || chunk.length === chunkSize) {
      chunks.push([id])
    } else {
      chunk.push(id)
    }
    this.size += 1
  }

  /** Takes at most so many ids, of those that are due at `now` or of any, and says how many. */
  take(limit: number, now: number, each: (id: SessionId) => void): number {
    let taken = 0
    for (const [bucket, chunks] of this.buckets) {
      if ((bucket + 1) * bucketWidth > now) {
        continue
      }
      for (let ids = chunks.at(-1); ids !== undefined; ids = chunks.at(-1)) {
        while (taken < limit && ids.length > 0) {
          this.size -= 1
          taken += 1
          each(ids.pop() as SessionId)
        }
        if (ids.length > 0) {
          return taken
        }
        chunks.pop()
      }
      this.buckets.delete(bucket)
    }
    return taken
  }
}

/** Up to how many ids may be filed beside those of sessions that are there. */
const slack = 4 * chunkSize

/**
 * Sessions by id, in order of use where a capacity asks for it, and their ids again by deadline. A deadline that moves
 * leaves its id where it is: the sweep finds it alive when that time comes and files it anew. So a sweep costs what is
 * due, however many sessions live, and a touch costs nothing here. Ids of sessions that were removed or evicted stay too;
 * when they are the most of what is filed, all is filed anew, a few ids with each new session.
 *
 * @internal
 */
export class Sessions {
  private readonly records = new Map<SessionId, SessionRecord.SessionRecord>()
  private readonly tombstones = new Map<SessionId, number>()
  private due = new Due()
  /** What is being filed anew. */
  private before: Due | undefined = undefined

  constructor(private readonly capacity: number) {}

  live(id: SessionId, now: number): SessionRecord.SessionRecord | undefined {
    const record = this.records.get(id)
    if (record === undefined || SessionRecord.isExpired(record, now)) {
      return undefined
    }
    if (this.capacity !== Number.POSITIVE_INFINITY) {
      this.records.delete(id)
      this.records.set(id, record)
    }
    return record
  }

  isSuperseded(id: SessionId, now: number): boolean {
    const until = this.tombstones.get(id)
    return until !== undefined && now < until
  }

  isTaken(id: SessionId, now: number): boolean {
    return this.live(id, now) !== undefined || this.isSuperseded(id, now)
  }

  insert(id: SessionId, record: SessionRecord.SessionRecord): void {
    // one that was there has expired, and its place in the order of use with it
    this.records.delete(id)
    this.records.set(id, record)
    this.file(id, record)
    if (this.records.size > this.capacity) {
      for (const eldest of this.records.keys()) {
        this.records.delete(eldest)
        break
      }
    }
    this.refile()
  }

  /** Puts a record in the place of one that lives. */
  replace(id: SessionId, record: SessionRecord.SessionRecord): void {
    this.records.set(id, record)
  }

  bury(id: SessionId, now: number): void {
    this.records.delete(id)
    this.tombstones.set(id, now + timeToLive)
  }

  sweep(limit: number, now: number): number {
    let done = 0
    for (const [id, until] of this.tombstones) {
      // left by a clock that was ahead, one says nothing of those behind it
      if (until - now > timeToLive) {
        continue
      }
      if (now < until || done === limit) {
        break
      }
      this.tombstones.delete(id)
      done++
    }
    const settle = (id: SessionId): void => this.settle(id, now)
    done += this.due.take(limit - done, now, settle)
    return this.before === undefined ? done : done + this.before.take(limit - done, now, settle)
  }

  private file(id: SessionId, record: SessionRecord.SessionRecord): void {
    this.due.add(id, SessionRecord.endsAt(record))
  }

  private refile(): void {
    if (this.before === undefined && this.due.size > 2 * this.records.size + slack) {
      this.before = this.due
      this.due = new Due()
    }
    if (this.before !== undefined) {
      this.before.take(4, Number.POSITIVE_INFINITY, (id) => {
        const record = this.records.get(id)
        if (record !== undefined) {
          this.file(id, record)
        }
      })
      if (this.before.size === 0) {
        this.before = undefined
      }
    }
  }

  private settle(id: SessionId, now: number): void {
    const record = this.records.get(id)
    if (record === undefined) {
      return
    }
    if (SessionRecord.isExpired(record, now)) {
      this.records.delete(id)
    } else {
      this.file(id, record)
    }
  }
}
