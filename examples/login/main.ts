/**
 * The shop on http://localhost:3000, or on PORT and HOST. Sessions and accounts are in the folder .login.
 * SESSION_STORE_URL keeps the sessions elsewhere, such as redis://127.0.0.1:6379, and USERS is the path of the accounts'
 * file.
 */
import { RateLimiter } from "@effect/experimental"
import { HttpMiddleware as Http, HttpServer } from "@effect/platform"
import { NodeContext, NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, flow, Layer, Redacted } from "effect"
import { CookieState, HttpMiddleware } from "effect-session"
import * as StoreConfig from "effect-session/StoreConfig"
import { createServer } from "node:http"
import { app } from "./app.js"
import * as audit from "./audit.js"
import * as live from "./routes/live.js"
import * as Users from "./users.js"

const server = NodeHttpServer.layerConfig(
  createServer,
  Config.all({
    port: Config.port("PORT").pipe(Config.withDefault(3000)),
    host: Config.string("HOST").pipe(Config.withDefault("127.0.0.1"))
  })
)

const store = StoreConfig.layerConfig({
  url: Config.redacted("SESSION_STORE_URL").pipe(Config.withDefault(Redacted.make("file:.login/sessions")))
})

app.pipe(
  // the logger around all, so that what no handler catches is in the log
  HttpServer.serve(flow(HttpMiddleware.session, Http.logger)),
  Layer.provide([live.layer, audit.layer]),
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
