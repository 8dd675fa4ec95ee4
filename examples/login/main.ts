/**
 * The shop on http://localhost:3000 (or PORT). Sessions and accounts are in the folder .login. SESSION_STORE_URL keeps the
 * sessions elsewhere, such as redis://127.0.0.1:6379, and USERS is the path of the accounts' file.
 */
import { RateLimiter } from "@effect/experimental"
import { HttpServer } from "@effect/platform"
import { NodeContext, NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Redacted } from "effect"
import { CookieState, HttpMiddleware } from "effect-session"
import * as StoreConfig from "effect-session/StoreConfig"
import { createServer } from "node:http"
import { app } from "./app.js"
import * as live from "./routes/live.js"
import * as Users from "./users.js"

const server = Layer.unwrapEffect(Effect.map(
  Config.port("PORT").pipe(Config.withDefault(3000)),
  (port) => NodeHttpServer.layer(createServer, { port })
))

const store = StoreConfig.layerConfig({
  url: Config.redacted("SESSION_STORE_URL").pipe(Config.withDefault(Redacted.make("file:.login/sessions")))
})

app.pipe(
  HttpServer.serve(HttpMiddleware.session),
  Layer.provide(live.layer),
  HttpServer.withLogAddress,
  Layer.provide(server),
  // Provided after the server, so built before it listens: a request that came earlier would wait for ever.
  // The cookie is Secure, as in production. Chromium and Firefox take it from http://localhost too; for Safari set
  // SESSION_SECURE=false.
  Layer.provide([CookieState.layerConfig(), store]),
  Layer.provide([Users.layer, RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))]),
  Layer.provide(NodeContext.layer),
  Layer.launch,
  NodeRuntime.runMain
)
