/**
 * The metrics of this library. They count only what is rare in a healthy service, so that a plain read or write updates
 * no metric. The module knows nothing of where the events come from.
 */
import type * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Metric from "effect/Metric"
import type { Running } from "./caller.js"

const counter = (name: string, description: string) =>
  Metric.counter(`effect_session_${name}`, { description, incremental: true })

const rejections = counter("rejected", "Tokens of requests that were not accepted, by reason")
const failures = counter("store_failures", "Store calls that failed, by method")
const events = counter("events", "Sessions created, renewed and destroyed; conflicts retried; updates not saved")

type Counter = Metric.Metric.Counter<number>

/** Counts with the labels that the app gave the fiber, without a step of the runtime. */
const count = (fiber: Running, metric: Counter): void =>
  metric.unsafeUpdate(1, fiber.getFiberRef(FiberRef.currentMetricLabels))

const counting = (metric: Counter): Effect.Effect<void> => Metric.increment(metric)

/** Counts a token that was not accepted. @internal */
export const rejected = (reason: string): Effect.Effect<void> => counting(Metric.tagged(rejections, "reason", reason))

/** Counts a store call that failed. @internal */
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
/** Another request saved the session first, and the updates ran again on its data. @internal */
export const conflict = event("conflict")
/** Changes that were dropped, because the session had ended. @internal */
export const gone = event("gone")
/** An update or a removal that was never saved. @internal */
export const unsaved = event("unsaved")
