import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { CookieState, HttpApiSession, MemoryStore, Session, SessionPolicy, SessionRouter } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const { answering, assertCookie, assertNoCookie, assertRemoval, increment, policy, services } = fixture

const routes = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/visit", answering(increment)),
  HttpLayerRouter.add("GET", "/untouched", fixture.done),
  HttpLayerRouter.add("GET", "/fails", answering(increment, 500)),
  HttpLayerRouter.add("GET", "/logout", answering(Session.destroy))
)

/** Touches the session of every request that the router gets. */
const counting = HttpLayerRouter.middleware((app) => Effect.zipRight(increment, app), { global: true })

class Api extends HttpApi.make("api").add(
  HttpApiGroup.make("group")
    .add(HttpApiEndpoint.get("visit", "/api/visit").addSuccess(Schema.Int))
    .middleware(HttpApiSession.HttpApiSession)
) {}

const api = HttpLayerRouter.addHttpApi(Api).pipe(
  Layer.provide(HttpApiBuilder.group(Api, "group", (handlers) => handlers.handle("visit", () => increment))),
  Layer.provide(HttpApiSession.layer),
  Layer.provide(NodeHttpServer.layerContext)
)

const some = Layer.provide(routes, SessionRouter.layer)
const all = Layer.merge(routes, api).pipe(Layer.provide(counting), Layer.provide(SessionRouter.layerGlobal))

const onSome = Effect.gen(function*() {
  const client = yield* testing.client(yield* HttpLayerRouter.toHttpEffect(some))
  return { client, controls: yield* testing.Controls }
})

const onAll = Effect.gen(function*() {
  const client = yield* testing.client(yield* HttpLayerRouter.toHttpEffect(all))
  return { client, controls: yield* testing.Controls }
})

describe("SessionRouter.layer", () => {
  it.scoped("gives the session to its routes, and commits before the response leaves", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* onSome
      assertNoCookie(yield* client.get("/untouched"))
      assertCookie(yield* client.get("/visit"))
      const answer = yield* client.get("/visit")
      assert.strictEqual(yield* answer.text, "2")
      assert.deepStrictEqual(yield* controls.methods, ["create", "load", "update"])
      assert.strictEqual((yield* client.get("/fails")).status, 500)
      assert.strictEqual(yield* (yield* client.get("/visit")).text, "3")
      assertRemoval(yield* client.get("/logout"))
    }).pipe(Effect.provide(services())))

  it.scoped("does not see what no route matches", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* onSome
      const answer = yield* client.get("/nowhere")
      assert.strictEqual(answer.status, 404)
      assertNoCookie(answer)
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(Effect.provide(services())))

  it.scoped("a store that fails is a 503", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* onSome
      yield* client.get("/visit")
      yield* controls.fail("load")
      const answer = yield* client.get("/visit")
      assert.strictEqual(answer.status, 503)
      assertNoCookie(answer)
    }).pipe(Effect.provide(services())))

  it.scoped("has the policy that is provided to it", () =>
    Effect.gen(function*() {
      const app = Layer.provide(some, policy(SessionPolicy.layer({ onStoreFailure: "anonymous" })))
      const client = yield* testing.client(yield* HttpLayerRouter.toHttpEffect(app))
      yield* client.get("/visit")
      yield* (yield* testing.Controls).fail("load")
      assert.strictEqual((yield* client.get("/visit")).status, 200)
    }).pipe(Effect.provide(services())))
})

describe("SessionRouter.layerGlobal", () => {
  it.scoped("sees a request that no route matches", () =>
    Effect.gen(function*() {
      const { client } = yield* onAll
      const answer = yield* client.get("/nowhere")
      assert.strictEqual(answer.status, 404)
      assertCookie(answer)
      assert.strictEqual(yield* (yield* client.get("/visit")).text, "3")
    }).pipe(Effect.provide(services())))

  it.scoped("shares one session with the endpoints of an HttpApi: one load and one commit", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* onAll
      assertCookie(yield* client.get("/untouched"))
      yield* controls.reset
      const answer = yield* client.get("/api/visit")
      assert.strictEqual(yield* answer.json, 3)
      assertNoCookie(answer)
      assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
    }).pipe(Effect.provide(services())))
})

describe("HttpLayerRouter.toWebHandler", () => {
  for (const [name, app] of [["routes", some], ["all", all]] as const) {
    it(`${name}: the second visit is counted`, async () => {
      const { dispose, handler } = HttpLayerRouter.toWebHandler(
        app.pipe(Layer.provide(Layer.orDie(Layer.merge(CookieState.layer(), MemoryStore.layer())))),
        { disableLogger: true }
      )
      const first = await handler(new Request("https://app.test/visit"))
      const [cookie = ""] = first.headers.getSetCookie()
      assert.match(cookie, /^__Host-session=/)
      const second = await handler(
        new Request("https://app.test/visit", { headers: { cookie: cookie.split(";")[0] ?? "" } })
      )
      assert.strictEqual(await second.text(), name === "all" ? "4" : "2")
      await dispose()
    })
  }
})
