/**
 * One of the cluster's processes: a counter for whoever is logged in, its sessions in the Redis they all share.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schema } from "effect"
import { CookieState, HttpMiddleware, Session, SessionField, SessionPolicy } from "effect-session"
import * as RedisStore from "effect-session/RedisStore"
import { createServer } from "node:http"

const User = SessionField.make("user", Schema.NonEmptyString)
const Counter = SessionField.make("counter", Schema.Struct({ count: Schema.Int, last: Schema.Int }), {
  default: () => ({ count: 0, last: 0 })
})

const login = Effect.gen(function*() {
  const { user } = yield* HttpServerRequest.schemaSearchParams(Schema.Struct({ user: Schema.NonEmptyString }))
  yield* Session.renew
  yield* SessionField.set(User, user)
  return HttpServerResponse.text(user)
})

/** Numbered, so that a client that got no answer can send it again, and it counts once. */
const add = Effect.gen(function*() {
  const { number } = yield* HttpServerRequest.schemaSearchParams(Schema.Struct({ number: Schema.NumberFromString }))
  yield* User
  yield* SessionField.update(
    Counter,
    ({ count, last }) => number > last ? { count: count + 1, last: number } : { count, last }
  )
  return HttpServerResponse.empty()
})

const show = Effect.gen(function*() {
  return HttpServerResponse.unsafeJson({ user: yield* User, count: (yield* Counter).count })
})

const store = RedisStore.layerConfig({ url: Config.redacted("REDIS_URL") })

const server = Layer.unwrapEffect(Effect.map(
  Config.port("PORT"),
  (port) => NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })
))

HttpRouter.empty.pipe(
  HttpRouter.post("/login", login),
  HttpRouter.post("/add", add),
  HttpRouter.get("/", show),
  HttpServer.serve(HttpMiddleware.session),
  HttpServer.withLogAddress,
  Layer.provide(server),
  // provided after the server, so built before it listens
  Layer.provide([CookieState.layer({ secure: false }), store, SessionPolicy.layer({ storeTimeout: "2 seconds" })]),
  Layer.launch,
  NodeRuntime.runMain
)
