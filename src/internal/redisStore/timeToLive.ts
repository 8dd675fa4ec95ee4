/**
 * How long the server keeps a key. The time is by the clock of the caller. The module knows nothing of what is kept.
 */

/** How long after its end a key is deleted, in milliseconds, for readers whose clock is behind. @internal */
export const grace = 60_000

/**
 * The longest time to live that is sent, in milliseconds: a hundred years. Much longer ones overflow in Redis.
 * @internal
 */
export const longest = 3_155_760_000_000

/** The time to live of what ends at `bound`, as an argument of a command. @internal */
export const timeToLive = (bound: number, now: number): string =>
  String(Math.min(Math.max(Math.ceil(bound - now), 0) + grace, longest))
