/**
 * The spans and metrics as OpenTelemetry gets them, by `@effect/opentelemetry` and exporters that keep them in memory.
 */
import * as Metrics from "@effect/opentelemetry/Metrics"
import * as Resource from "@effect/opentelemetry/Resource"
import * as Tracer from "@effect/opentelemetry/Tracer"
import { assert, describe, it } from "@effect/vitest"
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader
} from "@opentelemetry/sdk-metrics"
import type { MetricData } from "@opentelemetry/sdk-metrics"
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer } from "effect"
import { HttpMiddleware, Session } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const app = HttpMiddleware.session(fixture.routes({
  "/add": fixture.answering(fixture.increment),
  "/id": fixture.answering(Session.id),
  "/none": fixture.answering(Effect.void)
}))

const resource = Resource.layer({ serviceName: "test" })

/** OpenTelemetry's status codes of a span. */
const ok = 1
const error = 2

describe("by OpenTelemetry", () => {
  it.scoped("S07: a request's spans hang together, and carry the public id and no token", () =>
    Effect.gen(function*() {
      const exporter = new InMemorySpanExporter()
      const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
      const tracer = Tracer.layer.pipe(
        Layer.provide(Layer.succeed(Tracer.OtelTracerProvider, provider)),
        Layer.provide(resource)
      )
      const client = yield* Effect.provide(testing.client(app), tracer)
      yield* client.get("/add")
      const id = yield* Effect.flatMap(client.get("/id"), ({ text }) => text)
      exporter.reset()
      yield* client.get("/none")
      assert.deepStrictEqual(
        exporter.getFinishedSpans().map(({ name }) => name).filter((name) => /^session/.test(name)),
        []
      )
      exporter.reset()

      yield* client.get("/add")
      const spans = exporter.getFinishedSpans()
      const own = spans.filter(({ name }) => name.startsWith("session."))
      assert.deepStrictEqual(own.map(({ attributes, name, status }) => [name, attributes["session.id"], status.code]), [
        ["session.load", id, ok],
        ["session.commit", id, ok]
      ])
      const request = spans.find(({ name }) => name.startsWith("http.server"))
      for (const span of own) {
        assert.strictEqual(span.parentSpanContext?.spanId, request?.spanContext().spanId)
        assert.strictEqual(span.spanContext().traceId, request?.spanContext().traceId)
      }
      const token = yield* fixture.tokenOf(client)
      for (const { attributes, events, name } of own) {
        assert.notInclude(JSON.stringify([name, attributes, events]), token)
      }

      exporter.reset()
      yield* Effect.flatMap(testing.Controls, ({ fail }) => fail("load"))
      yield* client.get("/add")
      const failed = exporter.getFinishedSpans().find(({ name }) => name === "session.load")
      assert.strictEqual(failed?.status.code, error)
    }).pipe(fixture.quietly, Effect.provide(fixture.services())))

  it.scoped("the metrics have the kinds, units and labels that docs/operations.md says", () =>
    Effect.gen(function*() {
      const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
      // it is asked by hand: the period is never over
      const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 31 - 1 })
      yield* Layer.build(Layer.provide(Metrics.layer(() => reader), resource))
      const client = yield* testing.client(app)
      yield* client.get("/add")
      yield* client.get("/add", { cookies: `${fixture.cookieName}=${"A".repeat(43)}` })
      yield* Effect.flatMap(testing.Controls, ({ fail }) => fail("load"))
      yield* client.get("/add")
      yield* Effect.promise(() => reader.forceFlush())

      const metrics = exporter.getMetrics().flatMap(({ scopeMetrics }) =>
        scopeMetrics.flatMap(({ metrics }) => metrics)
      )
      const metric = (name: string): MetricData | undefined =>
        metrics.find(({ descriptor }) => descriptor.name === `effect_session_${name}`)
      const labels = (name: string) =>
        new Set(metric(name)?.dataPoints.flatMap(({ attributes }) => Object.keys(attributes)))
      for (
        const [name, label] of [["rejected", "reason"], ["store_failures", "method"], ["events", "event"]] as const
      ) {
        assert.isTrue((metric(name) as { readonly isMonotonic?: boolean } | undefined)?.isMonotonic, name)
        assert.deepStrictEqual(labels(name), new Set([label]))
      }
      assert.strictEqual(metric("store_call_seconds")?.descriptor.unit, "s")
      assert.deepStrictEqual(labels("store_call_seconds"), new Set(["method", "outcome", "unit"]))
    }).pipe(fixture.quietly, Effect.provide(fixture.services())))
})
