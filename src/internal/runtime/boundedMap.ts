/**
 * A map of limited size that drops the least recently used entry. It relies on the order of a `Map`: an entry that is
 * used is deleted and set again, so that the first key is always the least recently used one. It knows nothing of
 * sessions.
 *
 * @internal
 */
export class BoundedMap<K, V> {
  private readonly entries = new Map<K, V>()
  private readonly isLimited: boolean

  constructor(
    private readonly capacity: number,
    /** Called with each entry that is dropped to make room. */
    private readonly onDropped: (key: K, value: V) => void = () => {}
  ) {
    this.isLimited = capacity !== Number.POSITIVE_INFINITY
  }

  get size(): number {
    return this.entries.size
  }

  /** The value under a key. This does not count as a use. */
  peek(key: K): V | undefined {
    return this.entries.get(key)
  }

  /** Counts the value under a key, which the caller has just found there, as used now. */
  used(key: K, value: V): void {
    if (this.isLimited) {
      this.entries.delete(key)
      this.entries.set(key, value)
    }
  }

  /** Sets the value under a key, as the most recently used one. */
  set(key: K, value: V): void {
    this.entries.delete(key)
    this.entries.set(key, value)
    if (this.entries.size > this.capacity) {
      for (const [eldest, dropped] of this.entries) {
        this.entries.delete(eldest)
        this.onDropped(eldest, dropped)
        break
      }
    }
  }

  /** Replaces the value under a key. This does not count as a use. */
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
