/**
 * The counter on http://localhost:3000 (or PORT), its sessions in files, so that it goes on counting after a restart.
 */
import { HttpServer } from "@effect/platform"
import { NodeContext, NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { CookieState, FileStore, HttpMiddleware } from "effect-session"
import { createServer } from "node:http"
import { app } from "./app.js"

const server = Layer.unwrapEffect(Effect.map(
  Config.port("PORT").pipe(Config.withDefault(3000)),
  (port) => NodeHttpServer.layer(createServer, { port })
))

const directory = Config.string("SESSIONS").pipe(Config.withDefault(".sessions"))

app.pipe(
  HttpServer.serve(HttpMiddleware.session),
  HttpServer.withLogAddress,
  Layer.provide(server),
  // Provided after the server, so built before it listens: a request that came earlier would wait for ever.
  // Plain HTTP on this machine: behind TLS, leave `secure` as it is.
  Layer.provide([CookieState.layer({ secure: false }), FileStore.layerConfig({ directory })]),
  Layer.provide(NodeContext.layer),
  Layer.launch,
  NodeRuntime.runMain
)
