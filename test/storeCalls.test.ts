import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Metric, TestClock } from "effect"
import type { MetricState } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionToken, Store } from "effect-session"
import * as testing from "effect-session/testing"
import { Pending } from "../src/internal/runtime/pending.js"
import { timed } from "../src/internal/session/storeCalls.js"
import * as fixture from "./fixtures/http.js"

const app = HttpMiddleware.session(fixture.routes({
  "/add": fixture.answering(fixture.increment),
  "/read": fixture.answering(Session.get),
  "/renew": fixture.answering(Session.renew),
  "/destroy": fixture.answering(Session.destroy),
  "/none": fixture.answering(Effect.void),
  "/reload": fixture.answering(Effect.zipRight(Session.load, Effect.ignore(Session.reload)))
}))

/** The calls recorded under a label, as "method outcome", each with how often and how many seconds in all. */
const recorded = (label: string) =>
  Effect.map(Metric.snapshot, (pairs) =>
    Object.fromEntries(pairs.flatMap(({ metricKey, metricState }) => {
      const tags = Object.fromEntries(metricKey.tags.map(({ key, value }) => [key, value]))
      if (metricKey.name !== "effect_session_store_call_seconds" || tags["test"] !== label) {
        return []
      }
      assert.strictEqual(tags["unit"], "s")
      const { count, sum } = metricState as MetricState.MetricState.Histogram
      return [[`${tags["method"]} ${tags["outcome"]}`, [count, sum]]]
    })))

/** A client whose requests run under a label of their own, by which the app tells its metrics apart. */
const labelled = (label: string) => Effect.tagMetrics(testing.client(app), "test", label)

describe("the histogram of store calls", () => {
  it.scoped("has each call by method and outcome, with the app's own labels", () =>
    Effect.gen(function*() {
      const client = yield* labelled("outcomes")
      yield* client.get("/add")
      yield* client.get("/add")
      yield* TestClock.adjust("30 minutes")
      yield* client.get("/read")
      const before = yield* client.other({ jar: "copy" })
      yield* client.get("/renew")
      yield* before.get("/read")
      yield* client.get("/destroy")
      yield* client.get("/none")
      const other = yield* client.other()
      yield* other.get("/read", { cookies: `${fixture.cookieName}=${"A".repeat(43)}` })
      assert.deepStrictEqual(yield* recorded("outcomes"), {
        "create created": [1, 0],
        "load live": [4, 0],
        "load none": [1, 0],
        "load superseded": [1, 0],
        "remove removed": [1, 0],
        "renew updated": [1, 0],
        "touch touched": [1, 0],
        "update updated": [1, 0]
      })
    }).pipe(fixture.quietly, Effect.provide(fixture.services())))

  it.scoped("has the time by the app's clock", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* labelled("times")
      yield* client.get("/add")
      yield* controls.latency("load", "3 millis")
      yield* controls.latency("update", "40 millis")
      const adding = yield* client.fork("GET", "/add")
      yield* controls.arrived("load")
      yield* TestClock.adjust("3 millis")
      yield* controls.arrived("update")
      yield* TestClock.adjust("40 millis")
      assert.strictEqual((yield* Fiber.join(adding)).status, 200)
      const { "load live": loads, "update updated": updates } = yield* recorded("times")
      assert.deepStrictEqual([loads, updates], [[1, 0.003], [1, 0.04]])
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("a failure, a defect, and a conflict that is solved", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* labelled("failures")
      yield* client.get("/add")
      yield* controls.fail("load")
      yield* client.get("/read")
      yield* controls.die("load")
      yield* client.get("/read")
      yield* controls.fail("update")
      yield* client.get("/add")
      const held = yield* controls.hold("update")
      const adding = yield* client.fork("GET", "/add")
      yield* held.arrived
      yield* (yield* fixture.elsewhere(app)).get("/add", {
        cookies: `${fixture.cookieName}=${yield* fixture.tokenOf(client)}`
      })
      yield* held.release
      assert.strictEqual((yield* Fiber.join(adding)).status, 200)
      assert.deepStrictEqual(yield* recorded("failures"), {
        "create created": [1, 0],
        "load failed": [2, 0],
        "load live": [2, 0],
        "update conflict": [1, 0],
        "update failed": [1, 0],
        "update updated": [1, 0]
      })
    }).pipe(fixture.quietly, Effect.provide(fixture.services())))

  for (
    const [method, path] of [["load", "/read"], ["update", "/add"], ["renew", "/renew"], [
      "remove",
      "/destroy"
    ]] as const
  ) {
    it.scoped(`a ${method} that hangs is late, once, after the policy's time`, () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const client = yield* labelled(`late ${method}`)
        yield* client.get("/add")
        const held = yield* controls.hold(method)
        const asking = yield* client.fork("GET", path)
        yield* held.arrived
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* Fiber.join(asking)).status, 503)
        yield* held.interrupted
        const calls = yield* recorded(`late ${method}`)
        assert.deepStrictEqual(calls[`${method} late`], [1, 5])
        assert.lengthOf(Object.keys(calls).filter((name) => name.startsWith(method)), 1)
      }).pipe(fixture.quietly, Effect.provide(fixture.services())))
  }

  it.scoped("a reload is a load", () =>
    Effect.gen(function*() {
      const client = yield* labelled("reload")
      yield* client.get("/add")
      yield* client.get("/reload")
      assert.deepStrictEqual((yield* recorded("reload"))["load live"], [2, 0])
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("has no call that was answered at once", () =>
    Effect.gen(function*() {
      const client = yield* labelled("at once")
      yield* client.get("/add")
      yield* client.get("/add")
      yield* client.get("/destroy")
      assert.deepStrictEqual(yield* recorded("at once"), {})
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), MemoryStore.layer()))))

  it.effect("an answer that is there at once stays an Exit, and a driver's promise needs no fiber", () =>
    Effect.withFiberRuntime<void>((fiber) => {
      const done: Exit.Exit<Store.Touched> = Exit.succeed(Store.touched(SessionToken.fromString("t")))
      assert.strictEqual(timed(fiber, "touch", done), done)
      const failed: Exit.Exit<Store.Touched, string> = Exit.fail("no")
      assert.strictEqual(timed(fiber, "touch", failed), failed)
      const answer = timed(fiber, "touch", new Pending<Store.Touched, never>(() => Promise.resolve(), () => done))
      assert.isTrue(answer instanceof Pending)
      return Effect.map(answer, ({ _tag }) => assert.strictEqual(_tag, "Touched"))
    }))
})
