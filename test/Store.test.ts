import { KeyValueStore } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as MemoryStore from "effect-session/MemoryStore"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import { callAt } from "./support/records.js"

describe("Store.around", () => {
  it.scoped("hands every operation with its arguments to the wrapper, and runs it when told to", () =>
    Effect.gen(function*() {
      const operations: Array<Store.Operation> = []
      const inner = yield* MemoryStore.make()
      const store = Store.around(inner, (operation, run) =>
        Effect.suspend(() => {
          operations.push(operation)
          return run()
        }))
      const call = callAt(0)
      const [token, next] = [SessionToken.fromString("A".repeat(43)), SessionToken.fromString("B".repeat(42) + "A")]
      const record = testing.record()
      const creating = store.create(token, record, call)
      assert.deepStrictEqual(yield* inner.load(token, call), Store.none, "nothing is done before it is run")
      assert.deepStrictEqual(yield* creating, Store.created(token))
      yield* store.load(token, call)
      yield* store.touch(token, 1, 5_000_000, call)
      yield* store.update(token, 1, record, call)
      yield* store.renew(token, 2, next, record, call)
      yield* store.remove(next, call)
      assert.deepStrictEqual(operations, [
        { method: "create", token, record, call },
        { method: "load", token, call },
        { method: "touch", token, revision: 1, deadline: 5_000_000, call },
        { method: "update", token, revision: 1, record, call },
        { method: "renew", token, revision: 2, next, record, call },
        { method: "remove", token: next, call }
      ])
      assert.deepStrictEqual(yield* inner.load(next, call), Store.superseded)
    }))

  it.effect("keeps what is answered, failures included, and leaves accepts and transaction as they are", () =>
    Effect.gen(function*() {
      const token = SessionToken.fromString("A".repeat(43))
      const record = testing.record()
      const transaction = Effect.succeedNone
      const failure = new Store.StoreError({ reason: "Unavailable", method: "remove" })
      const answers = {
        load: Store.live(record),
        create: Store.exists,
        update: Store.conflict(record),
        renew: Store.updated(token, 7),
        touch: Store.touched(token)
      }
      const inner = Store.make({
        accepts: () => false,
        load: () => Effect.succeed(answers.load),
        create: () => Effect.succeed(answers.create),
        update: () => Effect.succeed(answers.update),
        renew: () => Effect.succeed(answers.renew),
        touch: () => Effect.succeed(answers.touch),
        remove: () => Effect.fail(failure),
        transaction
      })
      const store = Store.around(inner, (_, run) => run())
      const call = callAt(0)
      assert.strictEqual(yield* store.load(token, call), answers.load)
      assert.strictEqual(yield* store.create(token, record, call), answers.create)
      assert.strictEqual(yield* store.update(token, 1, record, call), answers.update)
      assert.strictEqual(yield* store.renew(token, 1, token, record, call), answers.renew)
      assert.strictEqual(yield* store.touch(token, 1, 1, call), answers.touch)
      assert.strictEqual(String(yield* Effect.flip(store.remove(token, call))), String(failure))
      assert.isTrue(Exit.isExit(store.load(token, call)), "an answer at once stays one")
      assert.strictEqual(store.accepts, inner.accepts)
      assert.strictEqual(store.transaction, transaction)
      const other = Store.around(
        inner,
        (operation) => Effect.fail(new Store.StoreError({ reason: "Timeout", method: operation.method }))
      )
      assert.strictEqual((yield* Effect.flip(other.load(token, call))).reason, "Timeout")
    }))
})

describe("StoreBackend", () => {
  it.effect("reads no clock: the call's time decides what has expired", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const token = SessionToken.fromString("A".repeat(43))
      yield* store.create(token, testing.record({ deadline: 1000 }), callAt(0))
      assert.strictEqual((yield* store.load(token, callAt(1000)))._tag, "None")
      assert.strictEqual((yield* store.load(token, callAt(999)))._tag, "Live")
    }).pipe(Effect.provide(CacheStore.layerKeyValueStore().pipe(Layer.provide(KeyValueStore.layerMemory)))))
})
