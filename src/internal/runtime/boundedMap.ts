/**
 * A map of bounded size that gives up what was used least recently. It rests on the order that a `Map` keeps: what is used
 * is taken out and put in again, so that the first key is always the eldest.
 *
 * @internal
 */
export class BoundedMap<K, V> {
  private readonly entries = new Map<K, V>()
  private readonly bounded: boolean

  constructor(private readonly capacity: number) {
    this.bounded = capacity !== Number.POSITIVE_INFINITY
  }

  get size(): number {
    return this.entries.size
  }

  /** What is under a key. Not a use of it. */
  peek(key: K): V | undefined {
    return this.entries.get(key)
  }

  /** Counts a value that was found under a key as used just now. */
  used(key: K, value: V): void {
    if (this.bounded) {
      this.entries.delete(key)
      this.entries.set(key, value)
    }
  }

  /** Puts a value under a key as the one used last. */
  set(key: K, value: V): void {
    this.entries.delete(key)
    this.entries.set(key, value)
    if (this.entries.size > this.capacity) {
      for (const eldest of this.entries.keys()) {
        this.entries.delete(eldest)
        break
      }
    }
  }

  /** Puts a value in the place of the one that is under a key. Not a use of it. */
  replace(key: K, value: V): void {
    this.entries.set(key, value)
  }

  delete(key: K): boolean {
    return this.entries.delete(key)
  }

  clear(): void {
    this.entries.clear()
  }
}
