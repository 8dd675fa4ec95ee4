/**
 * The counter with no state on the server: the session is in the cookie, sealed. Any number of these processes count
 * together, as long as they share the key:
 *
 *   export SESSION_KEYS=$(openssl rand -base64 32)
 *   PORT=3000 npx tsx examples/sealed/main.ts &
 *   PORT=3001 npx tsx examples/sealed/main.ts &
 */
import { HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schema } from "effect"
import { CookieState, HttpMiddleware, SessionField } from "effect-session"
import * as SealedStore from "effect-session/SealedStore"
import { createServer } from "node:http"

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

const app = Effect.gen(function*() {
  const n = yield* SessionField.getAndUpdate(Visits, (n) => n + 1)
  return HttpServerResponse.text(
    `Hello from process ${process.pid}, you've been here ${n} ${n === 1 ? "time" : "times"} before!\n`
  )
})

const server = Layer.unwrapEffect(Effect.map(
  Config.port("PORT").pipe(Config.withDefault(3000)),
  (port) => NodeHttpServer.layer(createServer, { host: "127.0.0.1", port })
))

app.pipe(
  HttpServer.serve(HttpMiddleware.session),
  HttpServer.withLogAddress,
  Layer.provide(server),
  // provided after the server, so built before it listens
  Layer.provide([
    // plain HTTP on this machine: behind TLS, leave `secure` as it is
    CookieState.layer({ secure: false }),
    // the newest key first: it seals, and all of them open
    SealedStore.layerConfig({ keys: Config.array(Config.redacted(), "SESSION_KEYS") })
  ]),
  Layer.launch,
  NodeRuntime.runMain
)
