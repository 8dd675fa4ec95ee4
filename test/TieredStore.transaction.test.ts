import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, LogLevel, Option, Stream, TestClock } from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import * as SessionEvents from "effect-session/SessionEvents"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { clockedStore } from "./support/records.js"

/** Whether the caller is in a transaction of the app's own, as a SQL client would know it. */
class Open extends Context.Tag("test/Open")<Open, object>() {}

const origin = Layer.map(MemoryStore.layer(), (context) =>
  Context.add(
    context,
    Store.Store,
    Store.make({
      ...Context.get(context, Store.Store),
      transaction: Effect.map(
        Effect.serviceOption(Open),
        Option.map((key) => ({ key, mark: Effect.succeed(Effect.succeed(true)) }))
      )
    })
  ))

describe("TieredStore inside a transaction of the app's own", () => {
  it.effect("asks the origin alone there, and drops what it had", () =>
    Effect.gen(function*() {
      const store = yield* clockedStore
      const controls = yield* testing.Controls
      const token = SessionToken.draw(yield* SessionToken.Generator)
      yield* store.create(token, testing.record({ data: { n: 1 } }))
      yield* store.load(token)
      assert.deepStrictEqual(yield* controls.methods, ["create"])

      yield* Effect.provideService(store.load(token), Open, {})
      assert.deepStrictEqual(yield* controls.methods, ["create", "load"])
      yield* Effect.provideService(store.update(token, 1, testing.record({ data: { n: 2 } })), Open, {})

      const seen = yield* store.load(token)
      assert.deepStrictEqual(seen._tag === "Live" && seen.record.data, { n: 2 })
      assert.deepStrictEqual(yield* controls.methods, ["create", "load", "update", "load"])
      assert.isTrue(store.transaction !== undefined && Option.isNone(yield* store.transaction))
    }).pipe(Effect.provide(TieredStore.layer()(testing.controlled(origin)))))

  for (const what of ["remove", "update"] as const) {
    it.effect(`D6: what another request read before the ${what} committed is not remembered, and others are told`, () =>
      Effect.gen(function*() {
        const told: Array<string> = []
        const channel = { publish: (message: string) => Effect.sync(() => told.push(message)), messages: Stream.never }
        yield* Effect.gen(function*() {
          const store = yield* clockedStore
          const controls = yield* testing.Controls
          const token = SessionToken.draw(yield* SessionToken.Generator)
          yield* store.create(token, testing.record({ data: { n: 1 } }))
          const write = what === "remove"
            ? store.remove(token)
            : store.update(token, 1, testing.record({ data: { n: 2 } }))
          yield* Effect.provideService(write, Open, {})
          yield* store.load(token)
          yield* controls.reset
          yield* store.load(token)
          assert.deepStrictEqual(yield* controls.methods, ["load"])
          yield* TestClock.adjust("5 seconds")
          yield* store.load(token)
          yield* store.load(token)
          const methods = what === "remove" ? ["load", "load", "load"] : ["load", "load"]
          assert.deepStrictEqual<unknown>(yield* controls.methods, methods, "and remembered again after its time")
        }).pipe(Effect.provide(TieredStore.layer({ channel })(testing.controlled(origin))))
        assert.lengthOf(told, 1)
      }))
  }

  it.effect("S66: what is announced is sent outside of it, because the sending may outlive it", () =>
    Effect.gen(function*() {
      const sent: Array<boolean> = []
      const failures: Array<string> = []
      const channel = {
        publish: () =>
          Effect.flatMap(Effect.serviceOption(Open), (open) => {
            sent.push(Option.isSome(open))
            return Effect.fail("no channel")
          }),
        messages: Stream.never
      }
      yield* Effect.gen(function*() {
        const store = yield* clockedStore
        const token = SessionToken.draw(yield* SessionToken.Generator)
        yield* store.create(token, testing.record())
        yield* store.remove(token).pipe(
          Effect.provideService(Open, {}),
          Effect.provide(SessionEvents.layer((event) => Effect.sync(() => failures.push(event._tag))))
        )
        yield* Effect.repeatN(Effect.yieldNow(), 20)
      }).pipe(
        Effect.provide(TieredStore.layer({ channel })(testing.controlled(origin))),
        Logger.withMinimumLogLevel(LogLevel.None)
      )
      assert.deepStrictEqual(sent, [false])
      assert.deepStrictEqual(failures, ["StoreFailed"])
    }))
})
