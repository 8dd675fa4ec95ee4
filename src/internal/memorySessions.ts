/**
 * The sessions of a store in memory: who lives, who is evicted, and the sweep. Knows nothing of tokens, revisions or
 * effects; the time comes in with each call.
 */
import * as Duration from "effect/Duration"
import * as SessionRecord from "../SessionRecord.js"
import type { SessionId } from "../SessionToken.js"
import { tombstoneTimeToLive } from "../Store.js"

/** How far apart deadlines may lie and still be swept together, in milliseconds. */
const bucketWidth = 60_000

/** How many ids lie in one array at most: one of a million stops everything when it grows, and once more when it is swept. */
const chunkSize = 4096

const bucketOf = (deadline: number): number => Math.floor(deadline / bucketWidth)

/**
 * Sessions by id, in order of use where a capacity asks for it, and their ids again by deadline. A deadline that moves
 * leaves its id where it is: the sweep finds it alive when that time comes and files it anew. So a sweep costs what is
 * due, however many sessions live, and a touch costs nothing here.
 *
 * @internal
 */
export class Sessions {
  private readonly records = new Map<SessionId, SessionRecord.SessionRecord>()
  private readonly tombstones = new Map<SessionId, number>()
  private readonly due = new Map<number, Array<Array<SessionId>>>()

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
    const bucket = bucketOf(SessionRecord.endsAt(record))
    const chunks = this.due.get(bucket)
    const chunk = chunks?.at(-1)
    if (chunks === undefined) {
      this.due.set(bucket, [[id]])
    } else if (chunk === undefined || chunk.length === chunkSize) {
      chunks.push([id])
    } else {
      chunk.push(id)
    }
    this.records.set(id, record)
    if (this.records.size > this.capacity) {
      for (const eldest of this.records.keys()) {
        this.records.delete(eldest)
        break
      }
    }
  }

  /** Puts a record in the place of one that lives. */
  replace(id: SessionId, record: SessionRecord.SessionRecord): void {
    this.records.set(id, record)
  }

  bury(id: SessionId, now: number): void {
    this.records.delete(id)
    this.tombstones.set(id, now + Duration.toMillis(tombstoneTimeToLive))
  }

  sweep(limit: number, now: number): number {
    let done = 0
    for (const [id, until] of this.tombstones) {
      if (now < until || done === limit) {
        break
      }
      this.tombstones.delete(id)
      done++
    }
    for (const [bucket, chunks] of this.due) {
      if ((bucket + 1) * bucketWidth > now) {
        continue
      }
      for (let ids = chunks.at(-1); ids !== undefined; ids = chunks.at(-1)) {
        while (done < limit && ids.length > 0) {
          this.settle(ids.pop() as SessionId, now)
          done++
        }
        if (ids.length > 0) {
          return done
        }
        chunks.pop()
      }
      this.due.delete(bucket)
    }
    return done
  }

  private settle(id: SessionId, now: number): void {
    const record = this.records.get(id)
    if (record === undefined) {
      return
    }
    if (SessionRecord.isExpired(record, now)) {
      this.records.delete(id)
    } else {
      this.insert(id, record)
    }
  }
}
