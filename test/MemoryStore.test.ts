/**
 * What the laws leave open of a store in memory: its capacity, its sweep, and what it shares with who gave it.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConfigError, Effect, Exit, TestClock } from "effect"
import { MemoryStore, SessionToken, Store } from "effect-session"
import * as testing from "effect-session/testing"
import { Sessions } from "../src/internal/memoryStore/sessions.js"
import * as Json from "../src/internal/record/json.js"

const token = (n: number): SessionToken.Token => SessionToken.fromString(String(n).padStart(42, "x") + "A")

const put = (n: number) =>
  Effect.flatMap(Store.Store, (store) => store.create(token(n), testing.record({ data: { n } })))

const tagOf = (n: number) =>
  Effect.flatMap(Store.Store, (store) => Effect.map(store.load(token(n)), ({ _tag }) => _tag))

describe("capacity", () => {
  it.effect("as many are kept, and one more ends the least recently used", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      for (const n of [1, 2, 3, 4]) {
        yield* put(n)
      }
      // used: read, written, touched
      yield* store.load(token(1))
      yield* store.update(token(2), 1, testing.record())
      yield* store.touch(token(3), 1, 1)
      yield* put(5)
      assert.deepStrictEqual(yield* Effect.forEach([1, 2, 3, 4, 5], tagOf), ["Live", "Live", "Live", "None", "Live"])
    }).pipe(Effect.provide(MemoryStore.layer({ capacity: 4 }))))

  it.effect("a session under the token of one that expired is the most recently used", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      yield* store.create(token(1), testing.record({ deadline: 10 }))
      yield* put(2)
      yield* TestClock.adjust(20)
      yield* put(1)
      yield* put(3)
      assert.deepStrictEqual(yield* Effect.forEach([1, 2, 3], tagOf), ["Live", "None", "Live"])
    }).pipe(Effect.provide(MemoryStore.layer({ capacity: 2 }))))

  it.effect("without one, all are kept", () =>
    Effect.gen(function*() {
      const all = Array.from({ length: 1000 }, (_, n) => n)
      yield* Effect.forEach(all, put)
      assert.isTrue((yield* Effect.forEach(all, tagOf)).every((tag) => tag === "Live"))
    }).pipe(Effect.provide(MemoryStore.layer())))

  for (const capacity of [0, 0.5, -1, Number.NaN]) {
    it.effect(`${capacity}: refused, with what to write instead`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.scoped(MemoryStore.make({ capacity })))
        assert.isTrue(Exit.isFailure(exit))
        const error = yield* Effect.flip(Effect.scoped(MemoryStore.make({ capacity })))
        assert.isTrue(ConfigError.isConfigError(error))
        assert.include(String(error), "MemoryStore.capacity")
        assert.include(String(error), "such as 100000")
      }))
  }

  it.effect("1 is one", () =>
    Effect.gen(function*() {
      yield* put(1)
      yield* put(2)
      assert.deepStrictEqual(yield* Effect.forEach([1, 2], tagOf), ["None", "Live"])
    }).pipe(Effect.provide(MemoryStore.layer({ capacity: 1 }))))
})

describe("S68: the sweep", () => {
  const minute = 60_000
  const id = (n: number) => String(n) as SessionToken.SessionId
  const ending = (deadline: number) => testing.record({ deadline, expiresAt: 1000 * minute })
  /** What is held, expired or not: asked for at a time before all. */
  const held = (sessions: Sessions, ...numbers: ReadonlyArray<number>) =>
    numbers.filter((n) => sessions.live(id(n), 0) !== undefined)

  it("drops what is over, and nothing else", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    sessions.insert(id(1), ending(minute / 2))
    sessions.insert(id(2), ending(minute / 2))
    sessions.insert(id(3), ending(5 * minute))
    assert.strictEqual(sessions.sweep(500, minute - 1), 0, "within the minute that it ends in, it may wait")
    assert.deepStrictEqual(held(sessions, 1, 2, 3), [1, 2, 3])
    assert.strictEqual(sessions.sweep(500, minute), 2)
    assert.deepStrictEqual(held(sessions, 1, 2, 3), [3])
    assert.strictEqual(sessions.sweep(500, minute), 0)
    assert.strictEqual(sessions.sweep(500, 6 * minute), 1)
    assert.deepStrictEqual(held(sessions, 1, 2, 3), [])
  })

  it("stops at its limit, and goes on from there", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    for (const n of [1, 2, 3, 4, 5]) {
      sessions.insert(id(n), ending(n < 4 ? 1 : minute + 1))
    }
    assert.strictEqual(sessions.sweep(2, 3 * minute), 2)
    assert.lengthOf(held(sessions, 1, 2, 3, 4, 5), 3)
    assert.strictEqual(sessions.sweep(2, 3 * minute), 2)
    assert.lengthOf(held(sessions, 1, 2, 3, 4, 5), 1)
    assert.strictEqual(sessions.sweep(2, 3 * minute), 1)
    assert.deepStrictEqual(held(sessions, 1, 2, 3, 4, 5), [])
  })

  it("of ten thousand that end together none is left, batch by batch", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    const all = Array.from({ length: 10_000 }, (_, n) => n)
    for (const n of all) {
      sessions.insert(id(n), ending(1))
    }
    for (let batch = 1; batch <= 20; batch++) {
      assert.strictEqual(sessions.sweep(500, minute), 500)
      assert.lengthOf(held(sessions, ...all), 10_000 - 500 * batch)
    }
    assert.strictEqual(sessions.sweep(500, minute), 0)
  })

  it("one that was used since is met again at its new end; one that went is passed over", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    sessions.insert(id(1), ending(1))
    sessions.insert(id(2), ending(1))
    sessions.replace(id(1), ending(3 * minute + 1))
    sessions.bury(id(2), 1)
    assert.strictEqual(sessions.sweep(500, minute), 2)
    assert.deepStrictEqual(held(sessions, 1, 2), [1])
    sessions.sweep(500, 4 * minute)
    assert.deepStrictEqual(held(sessions, 1), [])
  })

  it("S26: a tombstone goes after its minute, not before", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    for (const n of [1, 2, 3]) {
      sessions.bury(id(n), n === 3 ? 1 : 0)
    }
    assert.strictEqual(sessions.sweep(500, minute - 1), 0)
    assert.isTrue(sessions.isSuperseded(id(1), minute - 1))
    assert.isFalse(sessions.isSuperseded(id(1), minute))
    assert.strictEqual(sessions.sweep(1, minute), 1)
    assert.isFalse(sessions.isSuperseded(id(1), 0), "forgotten, not only over")
    assert.isTrue(sessions.isSuperseded(id(2), 0))
    assert.strictEqual(sessions.sweep(500, minute), 1)
    assert.isTrue(sessions.isSuperseded(id(3), 0))
  })

  it("of a clock that was ahead a tombstone does not keep those behind it", () => {
    const sessions = new Sessions(Infinity)
    sessions.bury(id(0), 3_600_000)
    sessions.bury(id(1), 0)
    assert.strictEqual(sessions.sweep(10, 60_000), 1)
    assert.isTrue(sessions.isSuperseded(id(0), 3_600_000))
  })

  for (
    const [what, sessions, end] of [
      ["evicted", new Sessions(10), () => {}],
      ["removed", new Sessions(Infinity), (sessions: Sessions, n: number) => sessions.bury(id(n), 0)]
    ] as const
  ) {
    it(`the ids of sessions that were ${what} are not kept until their deadline`, () => {
      const year = 365 * 86_400_000
      const record = testing.record({ idle: year, deadline: year, expiresAt: year })
      for (let n = 0; n < 100_000; n++) {
        sessions.insert(id(n), record)
        end(sessions, n)
      }
      sessions.sweep(Infinity, 60_000)
      assert.isBelow(sessions.sweep(Infinity, 2 * year), 25_000)
    })
  }

  it("ids that are filed anew are met at their deadlines", () => {
    const sessions = new Sessions(1000)
    for (let n = 0; n < 50_000; n++) {
      sessions.insert(id(n), testing.record({ deadline: 60_000 * (1 + n % 2) }))
    }
    sessions.sweep(Infinity, 120_000)
    assert.isUndefined(sessions.live(id(49_998), 0))
    assert.isDefined(sessions.live(id(49_999), 0))
    sessions.sweep(Infinity, 180_000)
    assert.isUndefined(sessions.live(id(49_999), 0))
  })

  it.effect("runs by itself, every minute", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(Store.Store, (store) => store.create(token(1), ending(minute / 2)))
      yield* TestClock.adjust("59 seconds")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* tagOf(1), "Live")
      yield* TestClock.adjust("2 minutes")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* tagOf(1), "None")
    }).pipe(Effect.provide(MemoryStore.layer())))
})

describe("what is put in can't be changed from outside,", () => {
  const changed = (make: (list: Array<string>, data: { n: number }) => ReturnType<typeof testing.record>) =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const list = ["a"]
      const data = { n: 1 }
      yield* store.create(token(1), make(list, data))
      list.push("b")
      data.n = 2
      const found = yield* store.load(token(1))
      assert.strictEqual(found._tag, "Live")
      if (found._tag === "Live") {
        assert.deepStrictEqual(found.record.data, { n: 1 })
        assert.deepStrictEqual(found.record.dropOnRenew, ["a"])
        assert.isTrue(Object.isFrozen(found.record) && Object.isFrozen(found.record.dropOnRenew))
      }
    }).pipe(Effect.provide(MemoryStore.layer()))

  it.effect("a plain record", () => changed((dropOnRenew, data) => testing.record({ data, dropOnRenew })))
  it.effect("a frozen record of what is not", () =>
    changed((dropOnRenew, data) => Object.freeze(testing.record({ data, dropOnRenew }))))
  it.effect("a frozen record whose list alone is not", () =>
    changed((dropOnRenew) => Object.freeze(testing.record({ data: Json.adoptObject({ n: 1 }), dropOnRenew }))))
})
