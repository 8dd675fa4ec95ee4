/**
 * The memory of a tiered store: live records by id, and ids without a session, each for a limited time and in limited
 * number. Every call holds a ticket while it is under way. The answer of a slow call is kept only if its ticket says
 * that nothing newer happened to its id meanwhile. The module knows nothing of the store behind.
 */
import * as SessionRecord from "../../SessionRecord.js"
import type * as SessionToken from "../../SessionToken.js"
import type * as Store from "../../Store.js"
import { BoundedMap } from "../runtime/boundedMap.js"

type Id = SessionToken.SessionId

/** What is remembered of an id since a time, for calls with the same audience. */
interface Slot {
  readonly loaded: Store.Loaded
  readonly audience: string
  readonly startedAt: number
}

/** A call under way. @internal */
export interface Ticket {
  readonly id: Id
  readonly audience: string
  readonly startedAt: number
  /** The revision that was remembered when the call began; -1 if there was none. */
  readonly known: number
  /** Whether the id was removed or forgotten since the call began, so that the answer must not be kept. */
  stale: boolean
  /** The newest revision that was seen since the call began. Nothing older may be kept. */
  floor: number
}

/** The answer is frozen, because it is handed out many times. */
const live = (record: SessionRecord.SessionRecord): Store.Loaded => Object.freeze({ _tag: "Live", record })

const none: Store.Loaded = Object.freeze({ _tag: "None" })

/**
 * How many successors and distrusted ids are remembered at least. They must not be evicted within the time to live,
 * however few sessions are remembered.
 */
const leastNotes = 10_000

/** @internal */
export class Memory {
  private readonly live: BoundedMap<Id, Slot>
  /** Ids without a session. They have a map of their own, so that a burst of invented tokens evicts no session. */
  private readonly absent: BoundedMap<Id, Slot>
  /** The new ids of sessions that this process renewed, by their old ids. */
  private readonly successors: BoundedMap<Id, Id>
  /** Ids of which nothing is kept for one time to live, with the time at which that began. */
  private readonly distrusted: BoundedMap<Id, number>
  private readonly tickets = new Map<Id, Set<Ticket>>()

  constructor(
    capacity: number,
    /** How long everything is remembered, in milliseconds. */
    private readonly timeToLive: number
  ) {
    this.live = new BoundedMap(capacity)
    this.absent = new BoundedMap(capacity)
    this.successors = new BoundedMap(Math.max(capacity, leastNotes))
    this.distrusted = new BoundedMap(Math.max(capacity, leastNotes))
  }

  begin(id: Id, audience: string, startedAt: number): Ticket {
    const slot = this.live.peek(id)
    const known = slot?.loaded._tag === "Live" ? slot.loaded.record.revision : -1
    const ticket: Ticket = { id, audience, startedAt, known, stale: false, floor: -1 }
    const tickets = this.tickets.get(id)
    if (tickets === undefined) {
      this.tickets.set(id, new Set([ticket]))
    } else {
      tickets.add(ticket)
    }
    return ticket
  }

  end(ticket: Ticket): void {
    const tickets = this.tickets.get(ticket.id)
    tickets?.delete(ticket)
    if (tickets?.size === 0) {
      this.tickets.delete(ticket.id)
    }
  }

  /** The answer that is remembered for an id and an audience. */
  find(id: Id, audience: string, now: number): Store.Loaded | undefined {
    const slot = this.fresh(this.live, id, now) ?? this.fresh(this.absent, id, now)
    return slot?.audience === audience ? slot.loaded : undefined
  }

  private fresh(slots: BoundedMap<Id, Slot>, id: Id, now: number): Slot | undefined {
    const slot = slots.peek(id)
    if (slot === undefined) {
      return undefined
    }
    if (!this.isWithin(slot.startedAt, now)) {
      slots.delete(id)
      return undefined
    }
    slots.used(id, slot)
    return slot
  }

  /** Checks both directions, so that nothing is remembered longer when the clock is set back. */
  private isWithin(startedAt: number, now: number): boolean {
    return Math.abs(now - startedAt) < this.timeToLive
  }

  private isDistrusted(id: Id, now: number): boolean {
    const since = this.distrusted.peek(id)
    if (since === undefined || this.isWithin(since, now)) {
      return since !== undefined
    }
    this.distrusted.delete(id)
    return false
  }

  /** Keeps the record of a new session, whatever is known of an earlier session under the same id. */
  keepNew(ticket: Ticket, record: SessionRecord.SessionRecord): void {
    this.live.delete(ticket.id)
    this.keep(ticket, record)
  }

  /**
   * Keeps a record of the store behind, unless something newer is known. If the record is older than what was already
   * remembered when the call began, then the store has lost that, by a failover or a restored backup (D5).
   */
  keep(ticket: Ticket, record: SessionRecord.SessionRecord): void {
    const { audience, id, startedAt } = ticket
    if (ticket.stale || record.revision < ticket.floor || this.isDistrusted(id, startedAt)) {
      return
    }
    const there = this.live.peek(id)?.loaded
    let kept = record
    if (there?._tag === "Live" && there.record.revision >= record.revision) {
      if (there.record.revision > Math.max(record.revision, ticket.known)) {
        return
      }
      // the data is the same, and a touch never moves a deadline back, so the later deadline is right
      if (there.record.revision === record.revision && there.record.deadline > record.deadline) {
        kept = there.record
      }
    }
    this.absent.delete(id)
    this.live.set(id, { loaded: live(kept), audience, startedAt })
    for (const other of this.tickets.get(id) ?? []) {
      other.floor = Math.max(other.floor, record.revision)
    }
  }

  /**
   * Remembers that an id has no session, unless one was kept since the call began. A superseded id is only forgotten,
   * because the store behind alone knows when its tombstone ends.
   */
  keepAbsent(ticket: Ticket, answer: "None" | "Superseded"): void {
    const { audience, id, startedAt } = ticket
    if (ticket.stale || ticket.floor !== -1 || this.isDistrusted(id, startedAt)) {
      return
    }
    this.live.delete(id)
    if (answer === "None") {
      this.absent.set(id, { loaded: none, audience, startedAt })
    }
  }

  /** Moves the deadline of a kept record forward, if it still has that revision. */
  extend(ticket: Ticket, revision: number, deadline: number): void {
    const slot = this.live.peek(ticket.id)
    if (!ticket.stale && slot?.loaded._tag === "Live" && slot.loaded.record.revision === revision) {
      const { record } = slot.loaded
      const extended = SessionRecord.own(record, {
        deadline: Math.max(record.deadline, deadline),
        touchedAt: ticket.startedAt
      })
      this.live.replace(ticket.id, { ...slot, loaded: live(extended) })
    }
  }

  /** Remembers the new id of a renewed session, so that a removal under the old id forgets it too. */
  renewed(id: Id, successor: Id): void {
    this.successors.set(id, successor)
  }

  /** The id and the ids of its session after later renewals. */
  withSuccessors(id: Id): ReadonlyArray<Id> {
    const found = new Set<Id>()
    for (let next: Id | undefined = id; next !== undefined && !found.has(next); next = this.successors.peek(next)) {
      found.add(next)
    }
    return [...found]
  }

  /** Forgets an id, and the answers of calls under way for it. */
  forget(id: Id): void {
    this.live.delete(id)
    this.absent.delete(id)
    for (const ticket of this.tickets.get(id) ?? []) {
      ticket.stale = true
    }
  }

  /** Forgets an id and keeps nothing of it for one time to live, because its session may change unseen meanwhile. */
  distrust(id: Id, now: number): void {
    this.forget(id)
    this.distrusted.set(id, now)
  }

  forgetAll(): void {
    this.live.clear()
    this.absent.clear()
    for (const tickets of this.tickets.values()) {
      for (const ticket of tickets) {
        ticket.stale = true
      }
    }
  }
}
