/**
 * The sessions of a store in memory: who lives, who is evicted, and the sweep. Knows nothing of tokens, revisions or
 * effects; the time comes in with each call.
 */
import * as Duration from "effect/Duration"
import * as SessionRecord from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import { tombstoneTimeToLive } from "../../Store.js"
import { BoundedMap } from "../runtime/boundedMap.js"
import { chunkSize, DeadlineIndex } from "../runtime/deadlineIndex.js"
import { grace } from "../store/sweeping.js"

const timeToLive = Duration.toMillis(tombstoneTimeToLive)

/** Up to how many ids may be filed beside those of sessions that are there. */
const slack = 4 * chunkSize

interface Tombstone {
  readonly until: number
  readonly successor: SessionId | undefined
}

/**
 * Sessions by id, in order of use where a capacity asks for it, and their ids again by deadline. A deadline that moves
 * leaves its id where it is: the sweep finds it alive when that time comes and files it anew. So a sweep costs what is
 * due, however many sessions live, and a touch costs nothing here. Ids of sessions that were removed or evicted stay too;
 * when they are the most of what is filed, all is filed anew, a few ids with each new session.
 *
 * @internal
 */
export class Sessions {
  private readonly records: BoundedMap<SessionId, SessionRecord.SessionRecord>
  private readonly tombstones = new Map<SessionId, Tombstone>()
  private readonly dueTombstones = new DeadlineIndex<SessionId>()
  private due = new DeadlineIndex<SessionId>()
  /** What is being filed anew. */
  private before: DeadlineIndex<SessionId> | undefined = undefined

  constructor(
    capacity: number,
    /** Told when `next` becomes earlier. */
    private readonly onEarlier: () => void = () => {}
  ) {
    this.records = new BoundedMap(capacity)
  }

  /** When a sweep has something to do next, in milliseconds since the epoch. */
  get next(): number {
    return grace + Math.min(this.due.next, this.dueTombstones.next, this.before?.next ?? Number.POSITIVE_INFINITY)
  }

  live(id: SessionId, now: number): SessionRecord.SessionRecord | undefined {
    const record = this.records.peek(id)
    if (record === undefined || SessionRecord.isExpired(record, now)) {
      return undefined
    }
    this.records.used(id, record)
    return record
  }

  isSuperseded(id: SessionId, now: number): boolean {
    const tombstone = this.tombstones.get(id)
    return tombstone !== undefined && now < tombstone.until
  }

  isTaken(id: SessionId, now: number): boolean {
    return this.live(id, now) !== undefined || this.isSuperseded(id, now)
  }

  insert(id: SessionId, record: SessionRecord.SessionRecord): void {
    this.records.set(id, record)
    this.file(id, record)
    this.refile()
  }

  /** Puts a record in the place of one that lives. */
  replace(id: SessionId, record: SessionRecord.SessionRecord): void {
    this.records.replace(id, record)
  }

  /** Leaves a tombstone in the place of a session, with the id of the one that a renewal makes of it. */
  bury(id: SessionId, now: number, successor?: SessionId): void {
    const until = now + timeToLive
    this.records.delete(id)
    this.tombstones.set(id, { until, successor })
    if (this.dueTombstones.add(id, until)) {
      this.onEarlier()
    }
  }

  /**
   * Ends a session, expired or not: a clock a few seconds behind would revive it. Answers with the session that a
   * renewal made of it, where that is what is remembered.
   */
  remove(id: SessionId, now: number): SessionId | undefined {
    if (this.records.peek(id) !== undefined) {
      this.bury(id, now)
      return undefined
    }
    const tombstone = this.tombstones.get(id)
    return tombstone !== undefined && now < tombstone.until ? tombstone.successor : undefined
  }

  sweep(limit: number, now: number): number {
    const over = now - grace
    let done = this.dueTombstones.take(limit, over, (id) => {
      const tombstone = this.tombstones.get(id)
      // one left anew under the same id is filed at its own time
      if (tombstone !== undefined && over >= tombstone.until) {
        this.tombstones.delete(id)
      }
    })
    const settle = (id: SessionId): void => this.settle(id, over)
    done += this.due.take(limit - done, over, settle)
    return this.before === undefined ? done : done + this.before.take(limit - done, over, settle)
  }

  private file(id: SessionId, record: SessionRecord.SessionRecord): void {
    if (this.due.add(id, SessionRecord.endsAt(record))) {
      this.onEarlier()
    }
  }

  private refile(): void {
    if (this.before === undefined && this.due.size > 2 * this.records.size + slack) {
      this.before = this.due
      this.due = new DeadlineIndex()
    }
    if (this.before !== undefined) {
      this.before.take(4, Number.POSITIVE_INFINITY, (id) => {
        const record = this.records.peek(id)
        if (record !== undefined) {
          this.file(id, record)
        }
      })
      if (this.before.size === 0) {
        this.before = undefined
      }
    }
  }

  private settle(id: SessionId, over: number): void {
    const record = this.records.peek(id)
    if (record === undefined) {
      return
    }
    if (SessionRecord.isExpired(record, over)) {
      this.records.delete(id)
    } else {
      this.file(id, record)
    }
  }
}
