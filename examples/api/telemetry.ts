/**
 * What the shop tells of itself: the metrics on a page for Prometheus, and in development the spans on the console.
 */
import { NodeSdk } from "@effect/opentelemetry"
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus"
import { ConsoleSpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Config, Effect, Layer } from "effect"

const settings = Config.all({
  port: Config.port("METRICS_PORT").pipe(Config.withDefault(9464)),
  environment: Config.string("NODE_ENV").pipe(Config.withDefault("development"))
})

/** The page is http://localhost:9464/metrics (or METRICS_PORT). */
export const telemetry = Layer.unwrapEffect(Effect.map(settings, ({ environment, port }) =>
  NodeSdk.layer(() => ({
    resource: { serviceName: "shop" },
    metricReader: new PrometheusExporter({ port, host: "127.0.0.1" }),
    ...(environment === "development" ? { spanProcessor: new SimpleSpanProcessor(new ConsoleSpanExporter()) } : {})
  }))))
