/**
 * What happens to a session when its response leaves without it, and what of it stands in the log.
 */
import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, TestClock } from "effect"
import { HttpMiddleware, Session, SessionField } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const { answering, assertCookie, increment, services } = fixture

const app = HttpMiddleware.session(fixture.routes({
  "/add": answering(increment),
  "/read": answering(SessionField.get(fixture.Count)),
  "/none": Effect.succeed(fixture.done),
  "/logout": answering(Session.destroy),
  "/slow-logout": answering(Effect.zipRight(Session.destroy, Effect.never))
}))

const header = HttpApp.withPreResponseHandler((_, response) =>
  Effect.succeed(HttpServerResponse.setHeader(response, "x-header", "1"))
)

type App = typeof app

const timeout = (app: App): App =>
  Effect.timeoutTo(Effect.interruptible(app), {
    duration: "1 second",
    onSuccess: (response: HttpServerResponse.HttpServerResponse) => response,
    onTimeout: () => HttpServerResponse.empty({ status: 504 })
  })

/** What runs the app in a fiber whose refs nobody joins, or puts the handlers before the response back. */
const around: { readonly [name: string]: (app: App) => App } = {
  "C3: HttpApp.withPreResponseHandler": header,
  "C14: a fork that is awaited": (app) =>
    Effect.flatMap(Effect.fork(app), (fiber) => Effect.flatten(Fiber.await(fiber)))
}

/** What an app may well stand in. */
const harmless: { readonly [name: string]: (app: App) => App } = {
  "Effect.scoped": Effect.scoped,
  "Effect.timeout": (app) => Effect.orDie(Effect.timeout(app, "1 second")),
  "a fork that is joined": (app) => Effect.flatMap(Effect.fork(app), Fiber.join)
}

const lost = (lines: ReadonlyArray<fixture.Line>) =>
  lines.filter(({ level, message }) => level === "ERROR" && message.includes("the response left without its session"))

describe("a response that leaves without its session", () => {
  for (const [name, wrap] of Object.entries(around)) {
    it.effect(`${name}: an update is lost, and that is logged as an error and counted`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const client = yield* testing.client(wrap(app))
          const [answer, unsaved] = yield* fixture.rising("events", "unsaved", client.get("/add"))
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(unsaved, 1)
          assert.lengthOf(lost(lines), 1)
        }).pipe(Effect.provide(services()))
      ))

    it.effect(`${name}: a logout is carried out all the same`, () =>
      fixture.quietly(
        Effect.gen(function*() {
          const controls = yield* testing.Controls
          const client = yield* testing.client(app)
          const token = assertCookie(yield* client.get("/add"))
          const cookies = `${fixture.cookieName}=${token}`
          yield* (yield* testing.client(wrap(app))).get("/logout", { cookies })
          assert.include(yield* controls.methods, "remove")
          assert.strictEqual(yield* (yield* client.get("/read", { cookies })).text, "0")
        }).pipe(Effect.provide(services()))
      ))

    it.effect(`${name}: a request that never touches its session is left in peace`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          yield* (yield* testing.client(wrap(app))).get("/none")
          assert.lengthOf(lost(lines), 0)
        }).pipe(Effect.provide(services()))
      ))
  }

  it.effect("C14: a handler that loses a timeout around the middleware: its logout is carried out", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const client = yield* testing.client(app)
        const cookies = `${fixture.cookieName}=${assertCookie(yield* client.get("/add"))}`
        const slow = yield* (yield* testing.client(timeout(app))).fork("GET", "/slow-logout", { cookies })
        yield* controls.arrived("load")
        yield* Effect.repeatN(Effect.yieldNow(), 20)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* slow).status, 504)
        assert.strictEqual(yield* (yield* client.get("/read", { cookies })).text, "0")
        assert.lengthOf(lost(lines), 1)
      }).pipe(Effect.provide(services()))
    ))

  it.effect("C15: an inner app with a request of its own: logged and counted", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const inner = Effect.provideService(
          app,
          HttpServerRequest.HttpServerRequest,
          HttpServerRequest.fromWeb(new Request("https://app.test/add"))
        )
        const [answer, unsaved] = yield* fixture.rising(
          "events",
          "unsaved",
          Effect.flatMap(testing.client(inner), (client) => client.get("/outer"))
        )
        assert.strictEqual(yield* answer.text, "1")
        assert.strictEqual(unsaved, 1)
        assert.lengthOf(lost(lines), 1)
      }).pipe(Effect.provide(services()))
    ))

  for (const [name, wrap] of Object.entries(harmless)) {
    it.effect(`${name} around the middleware: nothing is lost, and nothing is logged`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const client = yield* testing.client(wrap(app))
          yield* client.get("/add")
          assert.strictEqual(yield* (yield* client.get("/add")).text, "2")
          assert.deepStrictEqual(lines.filter(({ level }) => level === "ERROR"), [])
        }).pipe(Effect.provide(services()))
      ))
  }
})

describe("N8: what is answered with a 5xx is in the log", () => {
  class NotJson {
    readonly value = 1
  }

  const failing = HttpMiddleware.session(fixture.routes({
    "/instance": answering(Session.update((data) => ({ ...data, cart: { item: new NotJson() } }) as never)),
    "/schema": answering(SessionField.set(fixture.Count, 1.5)),
    "/large": answering(Session.set({ text: "x".repeat(300_000) })),
    "/commit": answering(Effect.zipRight(increment, Session.commit)),
    "/read": answering(Session.get)
  }))

  const errors = (lines: ReadonlyArray<fixture.Line>) => lines.filter(({ level }) => level === "ERROR")

  for (
    const [path, status, says] of [
      ["/instance", 500, "cart.item"],
      ["/schema", 500, "can't hold the data at n"],
      ["/large", 413, "maxSize"]
    ] as const
  ) {
    it.effect(`${path}: a SessionDataError: at error level, once, with its path`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const answer = yield* (yield* testing.client(failing)).get(path)
          assert.strictEqual(answer.status, status)
          assert.strictEqual(yield* answer.text, "")
          assert.lengthOf(errors(lines), 1)
          assert.include(errors(lines)[0]?.message, says)
        }).pipe(Effect.provide(services()))
      ))
  }

  it.effect("a store that fails in a load, or in an explicit commit that nobody handles: once", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const client = yield* testing.client(failing)
        yield* controls.fail("create")
        assert.strictEqual((yield* client.get("/commit")).status, 503)
        assert.lengthOf(errors(lines), 1)
        yield* client.get("/commit")
        yield* controls.fail("load")
        assert.strictEqual((yield* client.get("/read")).status, 503)
        assert.lengthOf(errors(lines), 2)
      }).pipe(Effect.provide(services()))
    ))

  it.effect("HeadSent that nobody handles: once", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const client = yield* testing.client(HttpMiddleware.session(
          Effect.as(Effect.fail(new Session.HeadSent()), fixture.done)
        ))
        assert.strictEqual((yield* client.get("/")).status, 500)
        assert.lengthOf(errors(lines), 1)
      }).pipe(Effect.provide(services()))
    ))

  it.effect("what a handler makes of it stays its own: a SessionGone answered by 401 is no error", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const gone = yield* Deferred.make<void>()
        const client = yield* testing.client(HttpMiddleware.session(
          Effect.as(Effect.zipRight(Deferred.succeed(gone, undefined), new Session.SessionGone()), fixture.done)
        ))
        assert.strictEqual((yield* client.get("/")).status, 401)
        assert.deepStrictEqual(errors(lines), [])
      }).pipe(Effect.provide(services()))
    ))
})
