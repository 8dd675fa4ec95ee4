/**
 * The sessions of a store in memory: which are live, which are evicted, and the sweep. The module knows nothing of
 * tokens, revisions or effects. Each call says what time it is.
 */
import * as Duration from "effect/Duration"
import * as SessionRecord from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import { tombstoneTimeToLive } from "../../Store.js"
import { BoundedMap } from "../runtime/boundedMap.js"
import { chunkSize, DeadlineIndex } from "../runtime/deadlineIndex.js"
import { Signals } from "../runtime/signals.js"
import { grace } from "../store/sweeping.js"
import { SubjectIndex } from "./subjectIndex.js"

const timeToLive = Duration.toMillis(tombstoneTimeToLive)

/** How many ids of sessions that no longer exist may be in the index before it is rebuilt. */
const slack = 4 * chunkSize

interface Tombstone {
  readonly until: number
  readonly successor: SessionId | undefined
  /** Whether somebody ended the session beside its requests. */
  readonly revoked: boolean
}

/**
 * Sessions by id, in order of use if there is a capacity, and an index of their ids by deadline. When a deadline moves,
 * the id stays where it is in the index: when the old deadline comes, the sweep finds the session live and adds its id
 * again. So a sweep visits only ids that are due, and a touch does not change the index. Ids of sessions that were
 * removed or evicted stay in the index too. When most of the ids are such, the index is rebuilt, a few ids with each
 * new session.
 *
 * @internal
 */
export class Sessions {
  private readonly records: BoundedMap<SessionId, SessionRecord.SessionRecord>
  /** The ids of all records that have a subject. Whatever adds, replaces or deletes a record changes it in the same step. */
  readonly subjects = new SubjectIndex()
  /** Tells of every session that is written, ends or is evicted. A touch and the sweep of what has expired tell nothing. */
  readonly changes = new Signals<SessionId>()
  private readonly tombstones = new Map<SessionId, Tombstone>()
  private readonly dueTombstones = new DeadlineIndex<SessionId>()
  private due = new DeadlineIndex<SessionId>()
  /** The old index while it is being rebuilt. */
  private before: DeadlineIndex<SessionId> | undefined = undefined

  constructor(
    capacity: number,
    /** Called when `next` becomes earlier. */
    private readonly onEarlier: () => void = () => {}
  ) {
    this.records = new BoundedMap(capacity, (id, record) => {
      this.subjects.delete(record.subject, id)
      this.changes.notify(id)
    })
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

  /** The record of a session, expired or not. Not counted as a use. */
  peek(id: SessionId): SessionRecord.SessionRecord | undefined {
    return this.records.peek(id)
  }

  isSuperseded(id: SessionId, now: number): boolean {
    const tombstone = this.tombstones.get(id)
    return tombstone !== undefined && now < tombstone.until
  }

  isTaken(id: SessionId, now: number): boolean {
    return this.live(id, now) !== undefined || this.isSuperseded(id, now)
  }

  /** How a session ended, if a tombstone still says so. */
  endingOf(id: SessionId): "destroyed" | "renewed" | "revoked" | undefined {
    const tombstone = this.tombstones.get(id)
    return tombstone === undefined
      ? undefined
      : tombstone.revoked
      ? "revoked"
      : tombstone.successor === undefined
      ? "destroyed"
      : "renewed"
  }

  /** The live sessions of a subject, the latest touched first, and of those the latest inserted. Not counted as a use. */
  ofSubject(subject: string, now: number): ReadonlyArray<readonly [SessionId, SessionRecord.SessionRecord]> {
    const found: Array<readonly [SessionId, SessionRecord.SessionRecord]> = []
    for (const id of this.subjects.idsOf(subject)) {
      const record = this.records.peek(id)
      if (record !== undefined && !SessionRecord.isExpired(record, now)) {
        found.push([id, record])
      }
    }
    return found.reverse().sort(([, a], [, b]) => b.touchedAt - a.touchedAt)
  }

  insert(id: SessionId, record: SessionRecord.SessionRecord): void {
    // an expired session that no sweep has met yet may be there
    this.subjects.delete(this.records.peek(id)?.subject, id)
    this.records.set(id, record)
    this.subjects.add(record.subject, id)
    this.index(id, record)
    this.rebuildIndex()
  }

  /** Writes a live session, which the caller has just found. */
  update(id: SessionId, current: SessionRecord.SessionRecord, record: SessionRecord.SessionRecord): void {
    this.replace(id, current, record)
    this.changes.notify(id)
  }

  /** Replaces the record of a live session, which the caller has just found, and tells nobody. */
  replace(id: SessionId, current: SessionRecord.SessionRecord, record: SessionRecord.SessionRecord): void {
    this.records.replace(id, record)
    if (current.subject !== record.subject) {
      this.subjects.delete(current.subject, id)
      this.subjects.add(record.subject, id)
    }
  }

  /** Ends a session and leaves a tombstone, with the successor's id if the session is renewed. */
  leaveTombstone(id: SessionId, now: number, successor?: SessionId, revoked = false): void {
    const until = now + timeToLive
    this.delete(id, this.records.peek(id))
    this.tombstones.set(id, { until, successor, revoked })
    if (this.dueTombstones.add(id, until)) {
      this.onEarlier()
    }
    this.changes.notify(id)
  }

  /**
   * Ends a session, even an expired one, which a clock a few seconds behind would revive. If the session was renewed,
   * this returns the successor's id.
   */
  remove(id: SessionId, now: number, revoked = false): SessionId | undefined {
    if (this.records.peek(id) !== undefined) {
      this.leaveTombstone(id, now, undefined, revoked)
      return undefined
    }
    const tombstone = this.tombstones.get(id)
    return tombstone !== undefined && now < tombstone.until ? tombstone.successor : undefined
  }

  /** Ends a session, and the one that a renewal put in its place, as long as there is one. Gives the id of the live one that ended. */
  end(id: SessionId, now: number, revoked = false): SessionId | undefined {
    let ended: SessionId | undefined
    for (let next: SessionId | undefined = id; next !== undefined;) {
      ended = this.live(next, now) === undefined ? undefined : next
      next = this.remove(next, now, revoked)
    }
    return ended
  }

  sweep(limit: number, now: number): number {
    const endedBy = now - grace
    let done = this.dueTombstones.take(limit, endedBy, (id) => {
      const tombstone = this.tombstones.get(id)
      // a later tombstone under the same id is in the index at its own time
      if (tombstone !== undefined && endedBy >= tombstone.until) {
        this.tombstones.delete(id)
      }
    })
    const visit = (id: SessionId): void => this.visit(id, endedBy)
    done += this.due.take(limit - done, endedBy, visit)
    return this.before === undefined ? done : done + this.before.take(limit - done, endedBy, visit)
  }

  private delete(id: SessionId, record: SessionRecord.SessionRecord | undefined): void {
    this.records.delete(id)
    this.subjects.delete(record?.subject, id)
  }

  private index(id: SessionId, record: SessionRecord.SessionRecord): void {
    if (this.due.add(id, SessionRecord.endsAt(record))) {
      this.onEarlier()
    }
  }

  private rebuildIndex(): void {
    if (this.before === undefined && this.due.size > 2 * this.records.size + slack) {
      this.before = this.due
      this.due = new DeadlineIndex()
    }
    if (this.before !== undefined) {
      this.before.take(4, Number.POSITIVE_INFINITY, (id) => {
        const record = this.records.peek(id)
        if (record !== undefined) {
          this.index(id, record)
        }
      })
      if (this.before.size === 0) {
        this.before = undefined
      }
    }
  }

  private visit(id: SessionId, endedBy: number): void {
    const record = this.records.peek(id)
    if (record === undefined) {
      return
    }
    if (SessionRecord.isExpired(record, endedBy)) {
      this.delete(id, record)
    } else {
      this.index(id, record)
    }
  }
}
