/**
 * What is due when, and a wait until something is. Knows nothing of what it is that is due.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** How far apart deadlines may lie and still be due together, in milliseconds. */
export const bucketWidth = 60_000

/** How many ids lie in one array at most: one of a million stops everything when it grows, and once more when it is taken. */
export const chunkSize = 4096

const bucketOf = (deadline: number): number => Math.floor(deadline / bucketWidth)

const endOf = (bucket: number): number => (bucket + 1) * bucketWidth

/**
 * Ids by the minute of their deadline. An id is due when its minute has passed, so that what is not due costs nothing. An
 * id stays until it is taken, also where its deadline has moved meanwhile: who takes it looks, and adds it anew.
 *
 * @internal
 */
export class DeadlineIndex<Id> {
  private readonly buckets = new Map<number, Array<Array<Id>>>()
  private first = Number.POSITIVE_INFINITY
  size = 0

  /** When the earliest id is due; infinity where there is none. */
  get next(): number {
    return endOf(this.first)
  }

  /** Says whether `next` is earlier than before. */
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

  /** Takes at most so many ids, of those that are due at `now` or of any, and says how many. */
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

/** The longest that timers can wait, in milliseconds. */
const longestTimer = 2 ** 31 - 1

/**
 * A wait until something is due. Without anything filed it sets no timer at all.
 *
 * @internal
 */
export class Alarm {
  private wake: (() => void) | undefined = undefined

  constructor(
    /** When something is due next, in milliseconds since the epoch; infinity where nothing is. */
    private readonly next: () => number,
    /** How long a wait takes at least once something is filed, in milliseconds. */
    private readonly atLeast: number
  ) {}

  /** To be called when something is due earlier than all else that was filed. */
  ring(): void {
    const { wake } = this
    this.wake = undefined
    wake?.()
  }

  /** Waits until something is due. For one fiber at a time. */
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

  /** Waits for a ring; not where something earlier than `next` was filed before the wait began. */
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
