/**
 * Tells whoever watches a key, within the process. The module knows nothing of what the keys stand for.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/**
 * Watchers by key, which is compared as a `Map` does. A key that nobody watches takes no memory, and to notify it costs
 * one look-up.
 *
 * @internal
 */
export class Signals<Key> {
  private readonly watchers = new Map<Key, Set<Queue.Enqueue<void>>>()

  /** How many keys are watched. */
  get size(): number {
    return this.watchers.size
  }

  /** Says whether anybody watches the key. */
  notify(key: Key): boolean {
    const watchers = this.watchers.get(key)
    watchers?.forEach(signal)
    return watchers !== undefined
  }

  /** Notifies every key that is watched. */
  notifyAll(): void {
    for (const watchers of this.watchers.values()) {
      watchers.forEach(signal)
    }
  }

  /** Emits once when it is watched, then at each `notify` of the key; to a slow reader once for all that it missed. */
  stream(key: Key): Stream.Stream<void> {
    return Stream.unwrapScoped(
      Effect.map(
        Effect.acquireRelease(
          Effect.tap(Queue.sliding<void>(1), (queue) => Effect.sync(() => this.add(key, queue))),
          (queue) => Effect.sync(() => this.delete(key, queue))
        ),
        (queue) => Stream.fromQueue(queue)
      )
    )
  }

  private add(key: Key, queue: Queue.Enqueue<void>): void {
    const watchers = this.watchers.get(key)
    if (watchers === undefined) {
      this.watchers.set(key, new Set([queue]))
    } else {
      watchers.add(queue)
    }
    signal(queue)
  }

  private delete(key: Key, queue: Queue.Enqueue<void>): void {
    const watchers = this.watchers.get(key)
    if (watchers?.delete(queue) === true && watchers.size === 0) {
      this.watchers.delete(key)
    }
  }
}

const signal = (queue: Queue.Enqueue<void>): void => {
  queue.unsafeOffer(undefined)
}
