import { HttpApp, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import type { Layer } from "effect"
import { Deferred, Effect, Exit, Fiber, Redacted, Ref, TestClock } from "effect"
import * as CookieState from "effect-session/CookieState"
import * as HeaderState from "effect-session/HeaderState"
import * as HttpMiddleware from "effect-session/HttpMiddleware"
import * as MemoryStore from "effect-session/MemoryStore"
import * as ParamState from "effect-session/ParamState"
import * as Session from "effect-session/Session"
import * as State from "effect-session/State"
import type * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

type Sent = Record<string, string>

const both = State.orElse(CookieState.layer({ secure: false }), HeaderState.layer())

/** Runs a conversation with one app: counts its requests in the session. */
const talking = <A, E>(
  layer: Layer.Layer<State.State, unknown>,
  f: (send: (headers?: Sent, url?: string) => Effect.Effect<Response>) => Effect.Effect<A, E>
) =>
  Effect.gen(function*() {
    const runtime = yield* Effect.runtime<State.State | Store.Store>()
    const app = Effect.gen(function*() {
      const session = yield* Session.Session
      const request = yield* HttpServerRequest.HttpServerRequest
      const n = request.url.includes("read")
        ? (yield* Ref.get(session))["n"]
        : yield* Ref.modify(session, (data) => {
          const n = Number(data["n"] ?? 0) + 1
          return [n, { ...data, n }]
        })
      if (request.url.includes("logout")) {
        yield* Session.destroy
      }
      return HttpServerResponse.text(String(n))
    })
    const handler = HttpApp.toWebHandlerRuntime(runtime)(HttpMiddleware.session(app))
    return yield* f((headers = {}, url = "/") =>
      Effect.promise(() => handler(new Request(`http://localhost${url}`, { headers })))
    )
  }).pipe(Effect.provide([layer, MemoryStore.layer()]))

const body = (response: Response) => Effect.promise(() => response.text())
const cookieOf = (response: Response) => response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
const tokenOf = (response: Response) => cookieOf(response).slice("session=".length)

describe("State.orElse", () => {
  it.effect("C17: has the transports of both, in order, nests, and no two kinds share an audience", () =>
    Effect.gen(function*() {
      const state = yield* Effect.provide(
        State.State,
        State.orElse(both, State.orElse(ParamState.layer(), HeaderState.layer({ header: "X-S" })))
      )
      assert.deepStrictEqual(state.transports.map((transport) => transport.audience), [
        "cookie:session",
        "header:authorization",
        "param:session",
        "header:x-s"
      ])
    }))

  it.effect("fails where one of both does", () =>
    Effect.gen(function*() {
      for (
        const layer of [
          State.orElse(CookieState.layer({ name: "" }), HeaderState.layer()),
          State.orElse(CookieState.layer(), HeaderState.layer({ header: "" }))
        ]
      ) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.provide(State.State, layer))))
      }
    }))

  it.effect("S10: a new session answers through the first alone", () =>
    talking(both, (send) =>
      Effect.gen(function*() {
        const response = yield* send()
        assert.lengthOf(tokenOf(response), 43)
        assert.isFalse(response.headers.has("authorization"))
      })))

  it.effect("S10: the one that carries a well-formed token is used, the first before the second", () =>
    talking(both, (send) =>
      Effect.gen(function*() {
        const one = yield* send()
        const two = yield* send()
        yield* send({ cookie: cookieOf(two) })
        const bearer = { authorization: `Bearer ${tokenOf(two)}` }
        assert.strictEqual(yield* body(yield* send({ ...bearer }, "/read")), "2")
        assert.strictEqual(yield* body(yield* send({ ...bearer, cookie: cookieOf(one) }, "/read")), "1")
        assert.strictEqual(yield* body(yield* send({ ...bearer, cookie: "session=malformed" }, "/read")), "2")
      })))

  it.effect("S10 S51: a well-formed but unknown token of the first is not passed over", () =>
    talking(both, (send) =>
      Effect.gen(function*() {
        const one = yield* send()
        const unknown = `session=${"A".repeat(43)}`
        const response = yield* send({ cookie: unknown, authorization: `Bearer ${tokenOf(one)}` }, "/read")
        assert.strictEqual(yield* body(response), "undefined")
      })))

  it.effect("the one that carried the token answers: no cookie for a native client", () =>
    talking(both, (send) =>
      Effect.gen(function*() {
        const one = yield* send()
        const response = yield* send({ authorization: `Bearer ${tokenOf(one)}` }, "/logout")
        assert.deepStrictEqual(response.headers.getSetCookie(), [])
        assert.strictEqual(response.headers.get("authorization"), "")
      })))

  it.effect("S56: Vary names what was read: both, unless the first had the token", () =>
    talking(both, (send) =>
      Effect.gen(function*() {
        const one = yield* send()
        assert.strictEqual(one.headers.get("vary"), "Cookie, Authorization")
        assert.strictEqual((yield* send({}, "/read")).headers.get("vary"), "Cookie, Authorization")
        assert.strictEqual(
          (yield* send({ cookie: "session=malformed" }, "/read")).headers.get("vary"),
          "Cookie, Authorization"
        )
        const bearer = yield* send({ authorization: `Bearer ${tokenOf(one)}` }, "/read")
        assert.strictEqual(bearer.headers.get("vary"), "Cookie, Authorization")
        assert.include((yield* send({ cookie: cookieOf(one) }, "/read")).headers.get("vary") ?? "", "Cookie")
      })))

  it.effect("S51 X04: of ten cookies of the name the first that names a session is it", () =>
    talking(both, (send) =>
      Effect.gen(function*() {
        const one = yield* send()
        const bad = Array.from({ length: 9 }, (_, index) => `session=bad${index}`)
        const response = yield* send({ cookie: [...bad, `session="${tokenOf(one)}"`].join("; ") }, "/read")
        assert.strictEqual(yield* body(response), "1")
      })))

  it.effect("X30: a parameter is read behind a cookie, and says nothing", () =>
    talking(
      State.orElse(ParamState.layer({ key: "sid" }), CookieState.layer({ secure: false })),
      (send) =>
        Effect.gen(function*() {
          const started = yield* send()
          assert.deepStrictEqual(started.headers.getSetCookie(), [])
          const state = yield* Effect.provide(State.State, both)
          const found = yield* state.transports[0].extract(
            HttpServerRequest.fromWeb(new Request("http://localhost/?session=1", { headers: { cookie: "session=2" } }))
          )
          assert.deepStrictEqual(found.map(Redacted.value), ["2"])
        })
    ))
})

describe("over a socket of Node", () => {
  const joined = State.orElse(CookieState.layer({ secure: false }), HeaderState.layer({ header: "X-Session" }))

  it.scopedLive("S51 S54: other Set-Cookie headers stay, ours is read among others of its name, an empty header ends it", () =>
    Effect.gen(function*() {
      const app = Effect.gen(function*() {
        const session = yield* Session.Session
        const request = yield* HttpServerRequest.HttpServerRequest
        const n = yield* Ref.modify(
          session,
          (data) => [Number(data["n"] ?? 0), { ...data, n: Number(data["n"] ?? 0) + 1 }]
        )
        if (request.url === "/logout") {
          yield* Session.destroy
        }
        return HttpServerResponse.text(String(n), { headers: { "set-cookie": "raw=1" } }).pipe(
          HttpServerResponse.unsafeSetCookie("other", "1")
        )
      })
      yield* HttpServer.serveEffect(app, HttpMiddleware.session)
      const address = yield* HttpServer.addressWith((address) =>
        Effect.succeed(address._tag === "TcpAddress" ? `http://127.0.0.1:${address.port}` : "")
      )
      const send = (headers: Sent, path = "/") => Effect.promise(() => fetch(`${address}${path}`, { headers }))
      const first = yield* send({})
      assert.sameMembers(first.headers.getSetCookie().map((header) => header.split("=")[0]), [
        "raw",
        "other",
        "session"
      ])
      const ours = first.headers.getSetCookie().find((header) => header.startsWith("session="))?.split(";")[0] ?? ""
      assert.strictEqual(yield* body(first), "0")
      const second = yield* send({ cookie: `session=bad; session=%; ${ours}; __proto__=1` })
      assert.strictEqual(yield* body(second), "1")
      const token = ours.slice("session=".length)
      const over = yield* send({ "x-session": token }, "/logout")
      assert.strictEqual(yield* body(over), "2")
      assert.strictEqual(over.headers.get("x-session"), "")
      assert.sameMembers(over.headers.getSetCookie(), ["raw=1", "other=1"])
    }).pipe(Effect.provide([joined, MemoryStore.layer(), NodeHttpServer.layerTest])))
})

describe("a token that takes its time to arrive, as in a form that its client sends slowly", () => {
  const slowly = (app: HttpApp.Default<never, Session.Session> = fixture.answering(fixture.increment)) =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const arrived = yield* Deferred.make<void>()
      const [transport] = (yield* CookieState.make()).transports
      const state = State.make({
        ...transport,
        extract: (request) =>
          request.url.includes("slow")
            ? Deferred.succeed(asked, undefined).pipe(
              Effect.zipRight(Deferred.await(arrived)),
              Effect.zipRight(transport.extract(request))
            )
            : transport.extract(request)
      })
      const client = yield* Effect.provideService(testing.client(HttpMiddleware.session(app)), State.State, state)
      yield* client.get("/")
      const request = yield* client.fork("GET", "/slow")
      yield* Deferred.await(asked)
      yield* TestClock.adjust("1 minute")
      return { request, arrive: Deferred.succeed(arrived, undefined) }
    })
  const store = testing.controlled(MemoryStore.layer())

  it.effect("is no failure of the store", () =>
    Effect.gen(function*() {
      const failures = yield* fixture.counted("store_failures")
      const { arrive, request } = yield* slowly()
      yield* arrive
      const answer = yield* Fiber.join(request)
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(yield* answer.text, "2")
      assert.strictEqual(yield* fixture.counted("store_failures"), failures)
    }).pipe(Effect.provide(store)))

  it.effect("has the store's whole time then", () =>
    fixture.logged(() =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const { arrive, request } = yield* slowly()
        const held = yield* controls.hold("load")
        yield* arrive
        yield* held.arrived
        yield* TestClock.adjust("4 seconds")
        assert.isTrue((yield* Fiber.poll(request))._tag === "None")
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual((yield* Fiber.join(request)).status, 503)
      }).pipe(Effect.provide(store))
    ))

  it.effect("does not hold a response whose handler no longer waits for it longer than a store would", () =>
    Effect.gen(function*() {
      const failures = yield* fixture.counted("store_failures")
      const { arrive, request } = yield* slowly(
        fixture.increment.pipe(
          Effect.interruptible,
          Effect.timeoutTo({
            duration: "10 seconds",
            onSuccess: (count) => HttpServerResponse.text(String(count)),
            onTimeout: () => HttpServerResponse.empty({ status: 408 })
          })
        )
      )
      yield* TestClock.adjust("5 seconds")
      const answer = yield* Fiber.join(request)
      assert.strictEqual(answer.status, 408)
      yield* arrive
      assert.strictEqual(yield* fixture.counted("store_failures"), failures)
    }).pipe(Effect.provide(store)))
})
