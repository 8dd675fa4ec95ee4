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
  private readonly watchers = new Map<Key, Set<Queue.Queue<void>>>()

  /** How many keys are watched. */
  get size(): number {
    return this.watchers.size
  }

  /** The keys that are watched. */
  get keys(): Iterable<Key> {
    return this.watchers.keys()
  }

  isWatched(key: Key): boolean {
    return this.watchers.has(key)
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

  /** Ends the streams of all who watch now. */
  get end(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach([...this.watchers.values()].flatMap((watchers) => [...watchers]), Queue.shutdown, {
        discard: true
      })
    )
  }

  /**
   * Emits at each `notify` of the key; to a slow reader once for all that it missed. `began` is called with the watcher's
   * own notification, which by default is its first one. `left` is called when nobody watches the key any more.
   */
  stream(
    key: Key,
    began: (notify: () => void) => void = (notify) => notify(),
    left: () => void = () => {}
  ): Stream.Stream<void> {
    return Stream.unwrapScoped(
      Effect.map(
        Effect.acquireRelease(
          Effect.tap(Queue.sliding<void>(1), (queue) =>
            Effect.sync(() => {
              this.add(key, queue)
              began(() => signal(queue))
            })),
          (queue) =>
            Effect.sync(() => {
              if (this.delete(key, queue)) {
                left()
              }
            })
        ),
        (queue) => Stream.fromQueue(queue)
      )
    )
  }

  private add(key: Key, queue: Queue.Queue<void>): void {
    const watchers = this.watchers.get(key)
    if (watchers === undefined) {
      this.watchers.set(key, new Set([queue]))
    } else {
      watchers.add(queue)
    }
  }

  /** Says whether that was the last one who watched the key. */
  private delete(key: Key, queue: Queue.Queue<void>): boolean {
    const watchers = this.watchers.get(key)
    return watchers?.delete(queue) === true && watchers.size === 0 && this.watchers.delete(key)
  }
}

const signal = (queue: Queue.Enqueue<void>): void => {
  queue.unsafeOffer(undefined)
}
