/**
 * Tools for tests of sessions: records made by hand, a store whose calls a test holds, fails and records, and a browser
 * in miniature over an app without sockets. Needs no test runner; every wait is on an event or on the `Clock`, so that a
 * race is stepped through and comes out the same each time.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as SessionRecord from "./SessionRecord.js"

/**
 * A valid record, for tests that speak to a store directly. What is not given: no data, revision 1, created and touched
 * at 0, an idle timeout of 1 hour, a lifetime of 24 hours, both counted from `createdAt`. Throws a `TypeError` when the
 * data is not JSON.
 *
 * @since 0.1.0
 * @category records
 * @example
 * ```ts
 * import { SessionToken, Store } from "effect-session"
 * import * as testing from "effect-session/testing"
 * import { Clock, Effect } from "effect"
 *
 * const seeded = Effect.gen(function*() {
 *   const store = yield* Store.Store
 *   const token = SessionToken.draw(yield* SessionToken.Generator)
 *   const createdAt = yield* Clock.currentTimeMillis
 *   yield* store.create(token, testing.record({ createdAt, data: { visits: 3 } }))
 *   return token
 * })
 * ```
 */
export const record = (fields: Partial<SessionRecord.SessionRecord> = {}): SessionRecord.SessionRecord => {
  const { createdAt = 0, data = {}, idle = 3_600_000, revision = 1, touchedAt = createdAt, ...rest } = fields
  const { deadline = touchedAt + idle, expiresAt = createdAt + 86_400_000, ...optional } = rest
  const decoded = SessionRecord.decode({ v: SessionRecord.version, data, createdAt, expiresAt, idle }, {
    revision,
    touchedAt,
    deadline
  })
  if (Either.isLeft(decoded)) {
    throw new TypeError("testing.record: the data is not JSON, or a time is not a finite number")
  }
  return { ...decoded.right, ...optional }
}
