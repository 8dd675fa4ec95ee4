import { HttpServer, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Schema } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, SessionField } from "effect-session"

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

const app = Effect.gen(function*() {
  const n = yield* SessionField.getAndUpdate(Visits, (n) => n + 1)
  return HttpServerResponse.text(`Hello, you've been here for ${n}th time!`)
})

export const HttpLive: Layer.Layer<never, unknown, HttpServer.HttpServer> = app.pipe(
  HttpServer.serve(HttpMiddleware.session),
  Layer.provide([CookieState.layer(), MemoryStore.layer()])
)
