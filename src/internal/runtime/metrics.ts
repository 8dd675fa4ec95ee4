/**
 * What is counted. Only what is rare in a healthy service: a plain read or write costs no metric.
 */
import type * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Metric from "effect/Metric"
import type { Running } from "./caller.js"

const counter = (name: string, description: string) =>
  Metric.counter(`effect_session_${name}`, { description, incremental: true })

const rejections = counter("rejected", "Tokens that named no session, by reason")
const failures = counter("store_failures", "Store calls that failed, by method")
const events = counter("events", "Sessions created, renewed and destroyed; conflicts replayed; updates lost")

type Counter = Metric.Metric.Counter<number>

/** Counts at once, with the labels that the app gave the fiber: no step of the runtime is spent on it. */
const count = (fiber: Running, metric: Counter): void =>
  metric.unsafeUpdate(1, fiber.getFiberRef(FiberRef.currentMetricLabels))

const counting = (metric: Counter): Effect.Effect<void> => Metric.increment(metric)

/** A token that named no session. @internal */
export const rejected = (reason: string): Effect.Effect<void> => counting(Metric.tagged(rejections, "reason", reason))

/** A store call that failed. @internal */
export const storeFailed = (method: string): Effect.Effect<void> => counting(Metric.tagged(failures, "method", method))

const event = (name: string) => {
  const metric = Metric.tagged(events, "event", name)
  return (fiber: Running): void => count(fiber, metric)
}

/** @internal */
export const created = event("created")
/** @internal */
export const renewed = event("renewed")
/** @internal */
export const destroyed = event("destroyed")
/** Another request changed the session first, and the updates were replayed. @internal */
export const conflict = event("conflict")
/** Changes were dropped because the session had ended. @internal */
export const gone = event("gone")
/** An update or a removal that nothing saved. @internal */
export const unsaved = event("unsaved")
