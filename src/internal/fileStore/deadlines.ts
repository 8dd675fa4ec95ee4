/**
 * The deadlines that the sweep remembers, so that it need not read a file again before its time. The module knows
 * nothing of files.
 */

/**
 * A map of limited size from ids to deadlines. It is made of one small map for each first character, because one of
 * 200,000 ids would hold the event loop for 30 ms whenever it grows.
 *
 * @internal
 */
export class Deadlines {
  private readonly shards = new Map<string, Map<string, number>>()
  private size = 0

  constructor(private readonly capacity: number) {}

  /** Remembers a deadline. An id that is new is not remembered if the map is full. */
  set(id: string, deadline: number): void {
    const first = id.charAt(0)
    let shard = this.shards.get(first)
    if (shard === undefined) {
      shard = new Map()
      this.shards.set(first, shard)
    }
    if (!shard.has(id)) {
      if (this.size >= this.capacity) {
        return
      }
      this.size += 1
    }
    shard.set(id, deadline)
  }

  /** Moves the deadline of an id to an earlier time, if the id is there. */
  advance(id: string, deadline: number): void {
    const shard = this.shards.get(id.charAt(0))
    const known = shard?.get(id)
    if (known !== undefined && deadline < known) {
      shard?.set(id, deadline)
    }
  }

  has(id: string): boolean {
    return this.shards.get(id.charAt(0))?.has(id) === true
  }

  /** The deadline of an id, which is forgotten with it. */
  take(id: string): number | undefined {
    const shard = this.shards.get(id.charAt(0))
    const deadline = shard?.get(id)
    if (deadline !== undefined) {
      shard?.delete(id)
      this.size -= 1
    }
    return deadline
  }
}
