import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  OpenApi
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { CookieState, Csrf, HttpApiSession, MemoryStore, SessionField } from "effect-session"
import * as testing from "effect-session/testing"

const Paid = SessionField.make("paid", Schema.Number, { default: () => 0 })

/** A guard of the app's own that wants a token. */
class WithToken extends HttpApiMiddleware.Tag<WithToken>()("Csrf/WithToken", { failure: Csrf.CsrfError }) {}

const Amount = Schema.Struct({ amount: Schema.NumberFromString })

class Api extends HttpApi.make("api")
  .add(
    HttpApiGroup.make("money")
      .add(HttpApiEndpoint.get("token", "/token").addSuccess(Schema.String))
      .add(
        HttpApiEndpoint.post("pay", "/pay").setPayload(Schema.Struct({ amount: Schema.Number })).addSuccess(
          Schema.Number
        )
      )
      .add(
        HttpApiEndpoint.post("form", "/form")
          .setPayload(Amount.pipe(HttpApiSchema.withEncoding({ kind: "UrlParams" })))
          .addSuccess(Schema.Number)
          .middleware(WithToken)
      )
      .add(
        HttpApiEndpoint.post("guarded", "/guarded")
          .setPayload(Schema.Struct({ amount: Schema.Number }))
          .addSuccess(Schema.Number)
          .middleware(WithToken)
      )
  )
  .middleware(HttpApiSession.HttpApiSession)
{}

const pay = (amount: number) => SessionField.updateAndGet(Paid, (paid) => paid + amount)

const MoneyLive = HttpApiBuilder.group(Api, "money", (handlers) =>
  handlers
    .handle("token", () => Csrf.token)
    .handle("pay", ({ payload }) => pay(payload.amount))
    .handle("form", ({ payload }) => pay(payload.amount))
    .handle("guarded", ({ payload }) => pay(payload.amount)))

const layers = Layer.mergeAll(
  HttpApiBuilder.api(Api).pipe(
    Layer.provide(MoneyLive),
    Layer.provide(HttpApiSession.guard(WithToken, Csrf.verify)),
    Layer.provide(HttpApiSession.layer)
  ),
  HttpApiBuilder.Router.Live,
  HttpApiBuilder.Middleware.layer,
  NodeHttpServer.layerContext
).pipe(Layer.provideMerge(Layer.orDie(Layer.merge(CookieState.layer(), MemoryStore.layer()))))

const start = Effect.flatMap(HttpApiBuilder.httpApp, (app) => testing.client(Csrf.protect()(app)))

describe("Csrf with HttpApi", () => {
  it.scoped("protect stands before all endpoints, and refuses what another site sent", () =>
    Effect.gen(function*() {
      const browser = yield* start
      const sent = (fetchSite: string) =>
        browser.post("/pay", { json: { amount: 1 }, headers: { "sec-fetch-site": fetchSite } })
      assert.strictEqual((yield* sent("cross-site")).status, 403)
      assert.deepStrictEqual(yield* browser.session, {})
      assert.strictEqual((yield* sent("same-origin")).status, 200)
      assert.strictEqual((yield* browser.post("/pay", { json: { amount: 1 } })).status, 200)
      assert.deepStrictEqual(yield* browser.session, { paid: 2 })
    }).pipe(Effect.provide(layers)))

  it.scoped("verify is a guard: the token is good by header and by form, and no request without it passes", () =>
    Effect.gen(function*() {
      const browser = yield* start
      const token = (yield* (yield* browser.get("/token")).json) as string
      const json = (headers: Readonly<Record<string, string>>) =>
        browser.post("/guarded", { json: { amount: 1 }, headers })
      const form = (csrf: string) => browser.post("/form", { body: new URLSearchParams({ amount: "2", csrf }) })
      assert.strictEqual((yield* json({})).status, 403)
      assert.strictEqual((yield* json({ "x-csrf-token": `${token}x` })).status, 403)
      assert.strictEqual((yield* form("")).status, 403)
      assert.notProperty(yield* browser.session, "paid")
      const byHeader = yield* json({ "x-csrf-token": token })
      assert.deepStrictEqual([byHeader.status, yield* byHeader.json], [200, 1])
      const byForm = yield* form(token)
      assert.deepStrictEqual([byForm.status, yield* byForm.json], [200, 3])
    }).pipe(Effect.provide(layers)))

  it("the OpenAPI document names the 403", () => {
    const { paths } = OpenApi.fromApi(Api)
    assert.property(paths["/guarded"]?.post?.responses, "403")
    assert.notProperty(paths["/pay"]?.post?.responses, "403")
  })
})
