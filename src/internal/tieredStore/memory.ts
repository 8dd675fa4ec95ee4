/**
 * What a tiered store remembers: live records by id, and ids that name none, each for a bounded time and in bounded
 * number. What a slow call brings back counts only where nothing newer happened to its id meanwhile, which the ticket
 * knows that every call holds while it is under way.
 */
import type * as SessionRecord from "../../SessionRecord.js"
import type * as SessionToken from "../../SessionToken.js"
import type * as Store from "../../Store.js"
import { own } from "../record/record.js"

type Id = SessionToken.SessionId

/** Anything that can be remembered of an id, until a time, for those who come with the same audience. */
interface Slot {
  readonly loaded: Store.Loaded
  readonly audience: string | undefined
  readonly until: number
}

/** A call under way. @internal */
export interface Ticket {
  readonly id: Id
  readonly audience: string | undefined
  readonly startedAt: number
  /** Removed or invalidated since: what it brings back is not to be kept. */
  stale: boolean
  /** The newest revision known since it began: nothing older is to be kept. */
  floor: number
}

/** Handed out again and again, so nobody may change it. */
const live = (record: SessionRecord.SessionRecord): Store.Loaded => Object.freeze({ _tag: "Live", record })

const none: Store.Loaded = Object.freeze({ _tag: "None" })

/** The least recently used goes first, by the order that a Map keeps. */
class Bounded {
  readonly slots = new Map<Id, Slot>()

  constructor(readonly capacity: number) {}

  get(id: Id, now: number): Slot | undefined {
    const slot = this.slots.get(id)
    if (slot === undefined) {
      return undefined
    }
    this.slots.delete(id)
    if (now >= slot.until) {
      return undefined
    }
    this.slots.set(id, slot)
    return slot
  }

  set(id: Id, slot: Slot): void {
    this.slots.delete(id)
    this.slots.set(id, slot)
    if (this.slots.size > this.capacity) {
      for (const eldest of this.slots.keys()) {
        this.slots.delete(eldest)
        break
      }
    }
  }
}

/** @internal */
export class Memory {
  /** Apart, so that a burst of made-up tokens displaces no session. */
  private readonly live: Bounded
  private readonly absent: Bounded
  private readonly tickets = new Map<Id, Set<Ticket>>()

  constructor(
    capacity: number,
    private readonly liveFor: number,
    private readonly absentFor: number
  ) {
    this.live = new Bounded(capacity)
    this.absent = new Bounded(capacity)
  }

  get size(): number {
    return this.live.slots.size + this.absent.slots.size
  }

  begin(id: Id, audience: string | undefined, startedAt: number): Ticket {
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
  find(id: Id, audience: string | undefined, now: number): Store.Loaded | undefined {
    const slot = this.live.get(id, now) ?? this.absent.get(id, now)
    return slot?.audience === audience ? slot?.loaded : undefined
  }

  /** Keeps a record that was created just now, whatever was known of an earlier session under the same id. */
  keepNew(ticket: Ticket, record: SessionRecord.SessionRecord): void {
    this.live.slots.delete(ticket.id)
    this.keep(ticket, record)
  }

  /** Keeps a record that the origin answered with, unless something newer is known. */
  keep(ticket: Ticket, record: SessionRecord.SessionRecord): void {
    const { audience, id, startedAt } = ticket
    if (ticket.stale || record.revision < ticket.floor) {
      return
    }
    const there = this.live.slots.get(id)?.loaded
    let kept = record
    if (there?._tag === "Live" && there.record.revision >= record.revision) {
      if (there.record.revision > record.revision) {
        return
      }
      // the same data: the later of two deadlines, since a touch never moves one back
      kept = there.record.deadline > record.deadline ? there.record : record
    }
    this.absent.slots.delete(id)
    this.live.set(id, { loaded: live(kept), audience, until: startedAt + this.liveFor })
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
    if (ticket.stale || ticket.floor !== -1) {
      return
    }
    this.live.slots.delete(id)
    if (answer === "None") {
      this.absent.set(id, { loaded: none, audience, until: startedAt + this.absentFor })
    }
  }

  /** Moves a kept deadline forward, where the record is still of that revision. */
  extend(ticket: Ticket, revision: number, deadline: number): void {
    const slot = this.live.slots.get(ticket.id)
    if (!ticket.stale && slot?.loaded._tag === "Live" && slot.loaded.record.revision === revision) {
      const { record } = slot.loaded
      const extended = own(record, { deadline: Math.max(record.deadline, deadline), touchedAt: ticket.startedAt })
      this.live.slots.set(ticket.id, { ...slot, loaded: live(extended) })
    }
  }

  /** Forgets an id, and all that calls under way will bring back of it. */
  forget(id: Id): void {
    this.live.slots.delete(id)
    this.absent.slots.delete(id)
    for (const ticket of this.tickets.get(id) ?? []) {
      ticket.stale = true
    }
  }

  forgetAll(): void {
    this.live.slots.clear()
    this.absent.slots.clear()
    for (const tickets of this.tickets.values()) {
      for (const ticket of tickets) {
        ticket.stale = true
      }
    }
  }
}
