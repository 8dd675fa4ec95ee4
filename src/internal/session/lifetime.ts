/**
 * Lifetimes as pure functions of the time, a record and the policy: when a session ends, and whether a read owes it a
 * touch. Nothing here reads a clock or a store.
 */
import * as Duration from "effect/Duration"
import type * as SessionPolicy from "../../SessionPolicy.js"
import * as SessionRecord from "../../SessionRecord.js"
import { longestLife } from "../options.js"
import type { Bounds } from "./draft.js"

/** @internal */
export type Age =
  | { readonly _tag: "Fresh" }
  | { readonly _tag: "Touch"; readonly deadline: number }
  | { readonly _tag: "Expired" }

const fresh: Age = { _tag: "Fresh" }
const expired: Age = { _tag: "Expired" }

/** Where a use at `now` would put the idle deadline: never back, never past the absolute bound. @internal */
export const nextDeadline = (now: number, record: SessionRecord.SessionRecord): number =>
  Math.max(SessionRecord.endsAt(record), Math.min(now + record.idle, record.expiresAt))

/**
 * By how much a deadline moves at least. A record may be of a policy with a shorter idle timeout, and is touched as often
 * for its own: with a longer interval than that timeout a session that is read all the time would end.
 *
 * @internal
 */
export const touchInterval = (record: SessionRecord.SessionRecord, policy: SessionPolicy.Policy): number =>
  policy.touchInterval * Math.min(1, record.idle / policy.idleTimeout)

/** @internal */
export const ageOf = (now: number, record: SessionRecord.SessionRecord, policy: SessionPolicy.Policy): Age => {
  if (SessionRecord.isExpired(record, now)) {
    return expired
  }
  const deadline = nextDeadline(now, record)
  return deadline - SessionRecord.endsAt(record) >= touchInterval(record, policy) ? { _tag: "Touch", deadline } : fresh
}

/**
 * The bounds of a session that ends after this long, idle or not; `undefined` if that is not above zero.
 *
 * @internal
 */
export const untilIdle = (now: number, duration: Duration.DurationInput): Bounds | undefined => {
  const idle = Math.min(Duration.toMillis(duration), longestLife)
  return idle > 0 ? { deadline: now + idle, expiresAt: now + idle, idle, persistent: true } : undefined
}

/** The policy's bounds, counted from now. @internal */
export const policyBounds = (now: number, { idleTimeout, lifetime }: SessionPolicy.Policy): Bounds => ({
  deadline: now + Math.min(idleTimeout, lifetime),
  expiresAt: now + lifetime,
  idle: idleTimeout,
  persistent: false
})
