/**
 * An index of ids by their deadline, and an alarm that waits until something is due. The module knows nothing of what
 * is due.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** The span of deadlines that are due together, in milliseconds. @internal */
export const bucketWidth = 60_000

/** The most ids in one array: an array of a million ids would block the event loop whenever it grows. @internal */
export const chunkSize = 4096

const bucketOf = (deadline: number): number => Math.floor(deadline / bucketWidth)

const endOf = (bucket: number): number => (bucket + 1) * bucketWidth

/**
 * Ids by the minute of their deadline. An id is due when its minute has passed, so that ids that are not due cost
 * nothing. An id stays until it is taken, even if its deadline has moved meanwhile: the caller checks the deadline and
 * adds the id again.
 *
 * @internal
 */
export class DeadlineIndex<Id> {
  private readonly buckets = new Map<number, Array<Array<Id>>>()
  private first = Number.POSITIVE_INFINITY
  size = 0

  /** When the earliest id is due, in milliseconds since the epoch; infinity if there is none. */
  get next(): number {
    return endOf(this.first)
  }

  /** Adds an id, and says whether `next` became earlier. */
  add(id: Id, deadline: number): boolean {
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
    if (bucket < this.first) {
      this.first = bucket
      return true
    }
    return false
  }

  /**
   * Takes at most `limit` of the ids that are due at `now`, and says how many it took. With infinity, all ids are due.
   */
  take(limit: number, now: number, each: (id: Id) => void): number {
    if (this.next > now) {
      return 0
    }
    let taken = 0
    for (const [bucket, chunks] of this.buckets) {
      if (endOf(bucket) > now) {
        continue
      }
      for (let ids = chunks.at(-1); ids !== undefined; ids = chunks.at(-1)) {
        while (taken < limit && ids.length > 0) {
          this.size -= 1
          taken += 1
          each(ids.pop() as Id)
        }
        if (ids.length > 0) {
          return taken
        }
        chunks.pop()
      }
      this.buckets.delete(bucket)
    }
    this.first = Number.POSITIVE_INFINITY
    for (const bucket of this.buckets.keys()) {
      this.first = Math.min(this.first, bucket)
    }
    return taken
  }
}

/** The longest wait of a timer, in milliseconds. */
const longestTimer = 2 ** 31 - 1

/**
 * A wait until something is due. It sets no timer while nothing has a deadline.
 *
 * @internal
 */
export class Alarm {
  private wake: (() => void) | undefined = undefined

  constructor(
    /** When something is due next, in milliseconds since the epoch; infinity if nothing has a deadline. */
    private readonly next: () => number,
    /** The shortest wait after something got a deadline, in milliseconds. */
    private readonly atLeast: number
  ) {}

  /** Call this when `next` became earlier. */
  ring(): void {
    const { wake } = this
    this.wake = undefined
    wake?.()
  }

  /** Waits until something is due. Only one fiber may wait at a time. */
  readonly untilDue: Effect.Effect<void> = Effect.suspend(() => this.waitFrom(undefined))

  private waitFrom(floor: number | undefined): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const next = this.next()
      if (next === Number.POSITIVE_INFINITY) {
        return Effect.zipRight(this.rungBefore(next), this.waitFrom(floor))
      }
      const from = floor ?? now + this.atLeast
      const left = Math.max(next, from) - now
      return left <= 0
        ? Effect.void
        : Effect.zipRight(
          Effect.timeoutOption(this.rungBefore(next), Math.min(left, longestTimer)),
          this.waitFrom(from)
        )
    })
  }

  /** Waits for a ring. It returns at once if something earlier than `next` was added before the wait began. */
  private rungBefore(next: number): Effect.Effect<void> {
    return Effect.async((resume) => {
      if (this.next() < next) {
        return resume(Effect.void)
      }
      this.wake = () => resume(Effect.void)
      return Effect.sync(() => {
        this.wake = undefined
      })
    })
  }
}
