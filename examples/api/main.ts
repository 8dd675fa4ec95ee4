/**
 * A shop's API on http://localhost:3000 (or PORT): a login, a guard, a basket. Its pages are /docs and /openapi.json, its
 * metrics are on http://localhost:9464/metrics (or METRICS_PORT), and in development its spans are printed.
 */
import { HttpApiBuilder, HttpApiSwagger, HttpServer } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { CookieState, MemoryStore } from "effect-session"
import { createServer } from "node:http"
import { app } from "./app.js"
import { telemetry } from "./telemetry.js"

const server = Layer.unwrapEffect(Effect.map(
  Config.port("PORT").pipe(Config.withDefault(3000)),
  (port) => NodeHttpServer.layer(createServer, { port })
))

HttpApiBuilder.serve().pipe(
  Layer.provide(HttpApiSwagger.layer({ path: "/docs" })),
  Layer.provide(HttpApiBuilder.middlewareOpenApi()),
  Layer.provide(app),
  HttpServer.withLogAddress,
  Layer.provide(server),
  // Provided after the server, so built before it listens: a request that came earlier would wait for ever.
  // Plain HTTP on this machine: behind TLS, leave `secure` as it is.
  Layer.provide([CookieState.layer({ secure: false }), MemoryStore.layer()]),
  Layer.provide(telemetry),
  Layer.launch,
  NodeRuntime.runMain
)
