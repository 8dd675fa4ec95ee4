/**
 * What a tiered store remembers: live records by id, and ids that name none, each for a bounded time and in bounded
 * number. What a slow call brings back counts only where nothing newer happened to its id meanwhile, which the ticket
 * knows that every call holds while it is under way.
 */
import * as SessionRecord from "../../SessionRecord.js"
import type * as SessionToken from "../../SessionToken.js"
import type * as Store from "../../Store.js"
import { BoundedMap } from "../runtime/boundedMap.js"

type Id = SessionToken.SessionId

/** Anything that can be remembered of an id, from a time on, for those who come with the same audience. */
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
  /** Removed or invalidated since: what it brings back is not to be kept. */
  stale: boolean
  /** The newest revision known since it began: nothing older is to be kept. */
  floor: number
}

/** Handed out again and again, so nobody may change it. */
const live = (record: SessionRecord.SessionRecord): Store.Loaded => Object.freeze({ _tag: "Live", record })

const none: Store.Loaded = Object.freeze({ _tag: "None" })

/**
 * How many renewals, and ids of which nothing is kept, are noted at least: they must not be displaced within the time to
 * live, however few sessions are remembered.
 */
const leastNotes = 10_000

/** @internal */
export class Memory {
  private readonly live: BoundedMap<Id, Slot>
  /** Apart, so that a burst of made-up tokens displaces no session. */
  private readonly absent: BoundedMap<Id, Slot>
  /** What this process renewed, by the id before. */
  private readonly successors: BoundedMap<Id, Id>
  /** Ids of which nothing is kept for a while, with the time at which that began. */
  private readonly unsure: BoundedMap<Id, number>
  private readonly tickets = new Map<Id, Set<Ticket>>()

  constructor(
    capacity: number,
    /** How long anything is remembered, in milliseconds. */
    private readonly timeToLive: number
  ) {
    this.live = new BoundedMap(capacity)
    this.absent = new BoundedMap(capacity)
    this.successors = new BoundedMap(Math.max(capacity, leastNotes))
    this.unsure = new BoundedMap(Math.max(capacity, leastNotes))
  }

  begin(id: Id, audience: string, startedAt: number): Ticket {
    const ticket: Ticket = { id, audience, startedAt, stale: false, floor: -1 }
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

  /** What is known of an id at this time, for this audience. */
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

  /** To both sides: a clock that was set back must not make what is remembered last. */
  private isWithin(startedAt: number, now: number): boolean {
    return Math.abs(now - startedAt) < this.timeToLive
  }

  private isUnsure(id: Id, now: number): boolean {
    const since = this.unsure.peek(id)
    if (since === undefined || this.isWithin(since, now)) {
      return since !== undefined
    }
    this.unsure.delete(id)
    return false
  }

  /** Keeps a record that was created just now, whatever was known of an earlier session under the same id. */
  keepNew(ticket: Ticket, record: SessionRecord.SessionRecord): void {
    this.live.delete(ticket.id)
    this.keep(ticket, record)
  }

  /** Keeps a record that the origin answered with, unless something newer is known. */
  keep(ticket: Ticket, record: SessionRecord.SessionRecord): void {
    const { audience, id, startedAt } = ticket
    if (ticket.stale || record.revision < ticket.floor || this.isUnsure(id, startedAt)) {
      return
    }
    const there = this.live.peek(id)?.loaded
    let kept = record
    if (there?._tag === "Live" && there.record.revision >= record.revision) {
      if (there.record.revision > record.revision) {
        return
      }
      // the same data: the later of two deadlines, since a touch never moves one back
      kept = there.record.deadline > record.deadline ? there.record : record
    }
    this.absent.delete(id)
    this.live.set(id, { loaded: live(kept), audience, startedAt })
    for (const other of this.tickets.get(id) ?? []) {
      other.floor = Math.max(other.floor, record.revision)
    }
  }

  /**
   * Remembers that an id names no session, unless one was kept since the question. A superseded one is forgotten instead:
   * when it turns into one that was never there, the origin alone knows.
   */
  keepAbsent(ticket: Ticket, answer: "None" | "Superseded"): void {
    const { audience, id, startedAt } = ticket
    if (ticket.stale || ticket.floor !== -1 || this.isUnsure(id, startedAt)) {
      return
    }
    this.live.delete(id)
    if (answer === "None") {
      this.absent.set(id, { loaded: none, audience, startedAt })
    }
  }

  /** Moves a kept deadline forward, where the record is still of that revision. */
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

  /** Remembers under which id a renewed session goes on, so that a removal under the old one forgets it too. */
  renewed(id: Id, successor: Id): void {
    this.successors.set(id, successor)
  }

  /** The id, and those under which the session went on that it named. */
  withSuccessors(id: Id): ReadonlyArray<Id> {
    const found = new Set<Id>()
    for (let next: Id | undefined = id; next !== undefined && !found.has(next); next = this.successors.peek(next)) {
      found.add(next)
    }
    return [...found]
  }

  /** Forgets an id, and all that calls under way will bring back of it. */
  forget(id: Id): void {
    this.live.delete(id)
    this.absent.delete(id)
    for (const ticket of this.tickets.get(id) ?? []) {
      ticket.stale = true
    }
  }

  /** Forgets an id and keeps nothing of it for a while: what it names may change without being told of here. */
  distrust(id: Id, now: number): void {
    this.forget(id)
    this.unsure.set(id, now)
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
