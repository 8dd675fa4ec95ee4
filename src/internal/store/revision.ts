/**
 * How a store raises the revision of a session that it writes. The module knows neither records nor backends.
 */
import { randomBytes } from "../crypto/hash.js"

/**
 * The revision of the write that follows `revision`: higher by 1 to 2^20, at random. A failover or a restored backup may
 * take back writes that somebody has already read. If the revision rose by 1, the next write would get the number of the
 * one that was lost, and a writer that read the lost one would overwrite it without a conflict. With random steps
 * the two coincide about once in a million. There is room for billions of writes; a session that comes to the end of the exact
 * integers starts over from 0.
 *
 * @internal
 */
export const raised = (revision: number): number => {
  const [high = 0, middle = 0, low = 0] = randomBytes(3)
  const step = 1 + ((high & 0xf) << 16 | middle << 8 | low)
  return step <= Number.MAX_SAFE_INTEGER - revision ? revision + step : step
}
