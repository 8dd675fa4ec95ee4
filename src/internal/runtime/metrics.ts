/**
 * What is counted. Only what is rare in a healthy service: a plain read or write costs no metric.
 */
import type * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

const counter = (name: string, description: string) =>
  Metric.counter(`effect_session_${name}`, { description, incremental: true })

const rejections = counter("rejected", "Tokens that named no session, by reason")
const failures = counter("store_failures", "Store calls that failed, by method")
const events = counter("events", "Sessions created, renewed and destroyed; conflicts replayed; updates lost")

const tagged = (metric: Metric.Metric.Counter<number>, key: string, value: string): Effect.Effect<void> =>
  Metric.increment(Metric.tagged(metric, key, value))

/** A token that named no session. @internal */
export const rejected = (reason: string): Effect.Effect<void> => tagged(rejections, "reason", reason)

/** A store call that failed. @internal */
export const storeFailed = (method: string): Effect.Effect<void> => tagged(failures, "method", method)

const event = (name: string): Effect.Effect<void> => Metric.increment(Metric.tagged(events, "event", name))

/** @internal */
export const created: Effect.Effect<void> = event("created")
/** @internal */
export const renewed: Effect.Effect<void> = event("renewed")
/** @internal */
export const destroyed: Effect.Effect<void> = event("destroyed")
/** Another request changed the session first, and the updates were replayed. @internal */
export const conflict: Effect.Effect<void> = event("conflict")
/** Changes were dropped because the session was over. @internal */
export const gone: Effect.Effect<void> = event("gone")
/** An update that nothing saved. @internal */
export const unsaved: Effect.Effect<void> = event("unsaved")
