/**
 * The metrics of this library. The counters count only what is rare in a healthy service, and the histogram only calls
 * that did not answer at once, so that a plain read or write in memory updates no metric. The module knows nothing of
 * where the events come from.
 */
import * as FiberRef from "effect/FiberRef"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"
import type { Running } from "./caller.js"

const counter = (name: string, description: string) =>
  Metric.counter(`effect_session_${name}`, { description, incremental: true })

const rejections = counter("rejected", "Tokens and requests that were not accepted, by reason")
const failures = counter("store_failures", "Store calls that failed, by method")
const events = counter("events", "What became of sessions, of their changes and of logins, by event")

/** In seconds. The unit is in the name too, so that exporters that add it to names and those that do not agree. */
const storeCalls = MetricKey.histogram(
  "effect_session_store_call_seconds",
  MetricBoundaries.fromIterable([
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10
  ]),
  "Store calls that did not answer at once, in seconds, by method and outcome"
)

/** Updates with the labels that the app gave the fiber, without a step of the runtime. */
const update = <Type>(fiber: Running, metric: Metric.Metric<Type, number, unknown>, value: number): void =>
  metric.unsafeUpdate(value, fiber.getFiberRef(FiberRef.currentMetricLabels))

/** Counts by the values of a label. `Metric.tagged` would look the metric up anew each time. */
const countingBy = (metric: Metric.Metric.Counter<number>, label: string) => {
  const known = new Map<string, Metric.Metric.Counter<number>>()
  return (fiber: Running, value: string): void => {
    const tagged = known.get(value) ?? Metric.tagged(metric, label, value)
    known.set(value, tagged)
    update(fiber, tagged, 1)
  }
}

/** Counts a token or a request that was not accepted, by the reason. @internal */
export const rejected = countingBy(rejections, "reason")

/** Counts a store call that failed, by its method. @internal */
export const storeFailed = countingBy(failures, "method")

/** Counts what became of a session. @internal */
export const event = countingBy(events, "event")

const storeCallsOf = new Map<string, Metric.Metric.Histogram<number>>()

/** `Metric.tagged` would look the metric up anew for each call. There are some twenty pairs of method and outcome. */
const storeCallOf = (method: string, outcome: string): Metric.Metric.Histogram<number> => {
  const name = `${method} ${outcome}`
  const known = storeCallsOf.get(name)
  if (known !== undefined) {
    return known
  }
  const labels = [
    MetricLabel.make("method", method),
    MetricLabel.make("outcome", outcome),
    MetricLabel.make("unit", "s")
  ]
  const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(storeCalls, labels))
  storeCallsOf.set(name, metric)
  return metric
}

/** Records how long a store call took, and what came of it. @internal */
export const storeCalled = (fiber: Running, method: string, outcome: string, seconds: number): void =>
  update(fiber, storeCallOf(method, outcome), seconds)
