import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option } from "effect"
import { MemoryStore, SessionToken, Store, TieredStore } from "effect-session"
import * as testing from "effect-session/testing"

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
      const store = yield* Store.Store
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
})
