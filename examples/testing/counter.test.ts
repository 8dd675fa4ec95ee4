/**
 * The counter of `examples/counter`, tested: its handler without HTTP, the whole app without sockets, its layers swapped,
 * hours passed at once. Nothing in the app knows.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, TestClock } from "effect"
import { CookieState, HeaderState, HttpMiddleware, MemoryStore, NullStore, Session, SessionField } from "effect-session"
import * as testing from "effect-session/testing"
import { app } from "../counter/app.js"

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

describe("the handler alone", () => {
  it.effect("counts on from what the session holds", () =>
    Effect.gen(function*() {
      yield* app
      assert.strictEqual(yield* Visits, 8)
      assert.isFalse(yield* Session.isNew)
    }).pipe(Effect.provide(Session.layerTest({ visits: 7 }))))

  it.effect("is seeded by the app's own words", () =>
    Effect.gen(function*() {
      yield* app
      assert.strictEqual(yield* Visits, 4)
    }).pipe(Effect.provide(Session.layerTest(SessionField.set(Visits, 3)))))

  it.effect("begins at nothing", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* Session.isNew)
      yield* app
      assert.strictEqual(yield* Visits, 1)
    }).pipe(Effect.provide(Session.layerTest())))
})

/** One visit: the number in the greeting. */
const visit = (browser: testing.Client) =>
  Effect.map(
    Effect.flatMap(browser.get("/"), (answer) => answer.text),
    (text) => Number(/here (\d+) times? before/.exec(text)?.[1])
  )

describe("the whole app, its layers swapped", () => {
  const counter = HttpMiddleware.session(app)

  it.effect("two browsers count for themselves", () =>
    Effect.gen(function*() {
      const ann = yield* testing.client(counter)
      const ben = yield* ann.other()
      assert.strictEqual(yield* visit(ann), 0)
      assert.strictEqual(yield* visit(ann), 1)
      assert.strictEqual(yield* visit(ben), 0)
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), MemoryStore.layer()))))

  it.effect("an hour without a visit ends the session", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(counter)
      yield* visit(browser)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* visit(browser), 1)
      yield* TestClock.adjust("60 minutes")
      assert.strictEqual(yield* visit(browser), 0)
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), MemoryStore.layer()))))

  it.effect("the token in a header", () =>
    Effect.gen(function*() {
      const native = yield* testing.client(counter)
      const first = yield* native.get("/")
      const authorization = first.headers.get("authorization") ?? ""
      const second = yield* native.get("/", { headers: { authorization } })
      assert.include(yield* second.text, "here 1 time before")
    }).pipe(Effect.provide(Layer.merge(HeaderState.layer(), MemoryStore.layer()))))

  it.effect("no sessions at all", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(counter)
      assert.strictEqual(yield* visit(browser), 0)
      assert.strictEqual(yield* visit(browser), 0)
      assert.deepStrictEqual(yield* browser.cookies, [])
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), NullStore.layer))))

  it.effect("the store gone: an answer that says so, and the count kept", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const browser = yield* testing.client(counter)
      yield* visit(browser)
      yield* controls.fail("load")
      assert.strictEqual((yield* browser.get("/")).status, 503)
      assert.strictEqual(yield* visit(browser), 1)
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), testing.controlled(MemoryStore.layer())))))
})
