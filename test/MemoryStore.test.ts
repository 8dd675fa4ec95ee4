/**
 * What the laws leave open of a store in memory: its capacity, its sweep, and what it shares with who gave it.
 */
import { assert, describe, it } from "@effect/vitest"
import { type Clock, ConfigError, type Duration, Effect, Exit, TestClock } from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import { Sessions } from "../src/internal/memoryStore/sessions.js"
import * as Json from "../src/internal/record/json.js"
import { callAt, clockedStore, createSession, dataOf, drawToken, makeRecord, recordOf } from "./support/records.js"

const token = (n: number): SessionToken.Token => SessionToken.fromString(String(n).padStart(42, "x") + "A")

const put = (n: number) =>
  Effect.flatMap(clockedStore, (store) => store.create(token(n), testing.record({ data: { n } })))

const tagOf = (n: number) =>
  Effect.flatMap(clockedStore, (store) => Effect.map(store.load(token(n)), ({ _tag }) => _tag))

describe("capacity", () => {
  it.effect("as many are kept, and one more ends the least recently used", () =>
    Effect.gen(function*() {
      const store = yield* clockedStore
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
      const store = yield* clockedStore
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
    assert.strictEqual(sessions.next, 2 * minute)
    assert.strictEqual(sessions.sweep(500, 2 * minute - 1), 0, "until a minute after the minute that it ends in")
    assert.deepStrictEqual(held(sessions, 1, 2, 3), [1, 2, 3])
    assert.strictEqual(sessions.sweep(500, 2 * minute), 2)
    assert.deepStrictEqual(held(sessions, 1, 2, 3), [3])
    assert.strictEqual(sessions.next, 7 * minute)
    assert.strictEqual(sessions.sweep(500, 2 * minute), 0)
    assert.strictEqual(sessions.sweep(500, 7 * minute), 1)
    assert.strictEqual(sessions.next, Infinity)
    assert.deepStrictEqual(held(sessions, 1, 2, 3), [])
  })

  it("stops at its limit, and goes on from there", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    for (const n of [1, 2, 3, 4, 5]) {
      sessions.insert(id(n), ending(n < 4 ? 1 : minute + 1))
    }
    assert.strictEqual(sessions.sweep(2, 4 * minute), 2)
    assert.lengthOf(held(sessions, 1, 2, 3, 4, 5), 3)
    assert.strictEqual(sessions.sweep(2, 4 * minute), 2)
    assert.lengthOf(held(sessions, 1, 2, 3, 4, 5), 1)
    assert.strictEqual(sessions.sweep(2, 4 * minute), 1)
    assert.deepStrictEqual(held(sessions, 1, 2, 3, 4, 5), [])
  })

  it("of ten thousand that end together none is left, batch by batch", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    const all = Array.from({ length: 10_000 }, (_, n) => n)
    for (const n of all) {
      sessions.insert(id(n), ending(1))
    }
    for (let batch = 1; batch <= 20; batch++) {
      assert.strictEqual(sessions.sweep(500, 2 * minute), 500)
      assert.lengthOf(held(sessions, ...all), 10_000 - 500 * batch)
    }
    assert.strictEqual(sessions.sweep(500, 2 * minute), 0)
  })

  it("one that was used since is met again at its new end; one that went is passed over", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    sessions.insert(id(1), ending(1))
    sessions.insert(id(2), ending(1))
    sessions.replace(id(1), ending(1), ending(3 * minute + 1))
    sessions.leaveTombstone(id(2), 1)
    assert.strictEqual(sessions.sweep(500, 2 * minute), 2)
    assert.deepStrictEqual(held(sessions, 1, 2), [1])
    sessions.sweep(500, 5 * minute)
    assert.deepStrictEqual(held(sessions, 1), [])
  })

  it("S26: a tombstone counts for its minute, and is forgotten a minute later, not before", () => {
    const sessions = new Sessions(Number.POSITIVE_INFINITY)
    for (const n of [1, 2, 3]) {
      sessions.leaveTombstone(id(n), n === 3 ? minute : 0)
    }
    assert.isTrue(sessions.isSuperseded(id(1), minute - 1))
    assert.isFalse(sessions.isSuperseded(id(1), minute))
    assert.strictEqual(sessions.next, 3 * minute)
    assert.strictEqual(sessions.sweep(500, 3 * minute - 1), 0)
    assert.strictEqual(sessions.sweep(1, 3 * minute), 1)
    assert.lengthOf([1, 2].filter((n) => sessions.isSuperseded(id(n), 0)), 1, "forgotten, not only over")
    assert.strictEqual(sessions.sweep(500, 3 * minute), 1)
    assert.isFalse(sessions.isSuperseded(id(1), 0) || sessions.isSuperseded(id(2), 0))
    assert.isTrue(sessions.isSuperseded(id(3), 0))
  })

  it("of a clock that was ahead a tombstone does not keep those behind it", () => {
    const sessions = new Sessions(Infinity)
    sessions.leaveTombstone(id(0), 3_600_000)
    sessions.leaveTombstone(id(1), 0)
    assert.strictEqual(sessions.sweep(10, 180_000), 1)
    assert.isTrue(sessions.isSuperseded(id(0), 3_600_000))
  })

  it("a tombstone that was left again under the same id counts for its own minute", () => {
    const sessions = new Sessions(Infinity)
    sessions.leaveTombstone(id(0), 0)
    sessions.leaveTombstone(id(0), 2 * minute)
    assert.strictEqual(sessions.sweep(10, 3 * minute), 1)
    assert.isTrue(sessions.isSuperseded(id(0), 3 * minute - 1))
  })

  for (
    const [what, sessions, end] of [
      ["evicted", new Sessions(10), () => {}],
      ["removed", new Sessions(Infinity), (sessions: Sessions, n: number) => sessions.leaveTombstone(id(n), 0)]
    ] as const
  ) {
    it(`the ids of sessions that were ${what} are not kept until their deadline`, () => {
      const year = 365 * 86_400_000
      const record = testing.record({ idle: year, deadline: year, expiresAt: year })
      for (let n = 0; n < 100_000; n++) {
        sessions.insert(id(n), record)
        end(sessions, n)
      }
      sessions.sweep(Infinity, 180_000)
      assert.isBelow(sessions.sweep(Infinity, 2 * year), 25_000)
    })
  }

  it("ids that are filed anew are met at their deadlines", () => {
    const sessions = new Sessions(1000)
    for (let n = 0; n < 50_000; n++) {
      sessions.insert(id(n), testing.record({ deadline: 60_000 * (1 + n % 2) }))
    }
    sessions.sweep(Infinity, 180_000)
    assert.isUndefined(sessions.live(id(49_998), 0))
    assert.isDefined(sessions.live(id(49_999), 0))
    sessions.sweep(Infinity, 240_000)
    assert.isUndefined(sessions.live(id(49_999), 0))
  })

  it.effect("runs by itself, a minute after the minute in which a session ends", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(clockedStore, (store) => store.create(token(1), ending(minute / 2)))
      yield* TestClock.adjust("119 seconds")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* tagOf(1), "Live")
      yield* TestClock.adjust("2 minutes")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* tagOf(1), "None")
    }).pipe(Effect.provide(MemoryStore.layer())))

  it.effect("a session that ends before all others wakes it for itself", () =>
    Effect.gen(function*() {
      const store = yield* clockedStore
      yield* store.create(token(1), ending(500 * minute))
      yield* TestClock.adjust("1 minute")
      yield* store.create(token(2), ending(3 * minute))
      yield* TestClock.adjust("5 minutes")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* tagOf(1), "Live")
      assert.strictEqual(yield* tagOf(2), "None")
    }).pipe(Effect.provide(MemoryStore.layer())))

  /** How often the sweep woke while the clock moved. */
  const wakesOf = (seed: Effect.Effect<unknown, Store.StoreError, Store.Store>, duration: Duration.DurationInput) =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      let wakes = 0
      const counted: Clock.Clock = {
        ...clock,
        unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis(),
        unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
        sleep: (duration) => Effect.tap(clock.sleep(duration), () => Effect.sync(() => void wakes++))
      }
      const store = yield* Effect.withClock(MemoryStore.make(), counted)
      yield* Effect.provideService(seed, Store.Store, store)
      yield* TestClock.adjust(duration)
      return wakes
    }).pipe(Effect.scoped)

  for (const duration of ["14 days", "29 days"] as const) {
    it.effect(`N3: an empty store is not woken in ${duration}`, () =>
      Effect.map(wakesOf(Effect.void, duration), (wakes) => assert.strictEqual(wakes, 0)))

    it.effect(`N3: a few sessions wake the sweep a few times in ${duration}`, () =>
      Effect.gen(function*() {
        const day = 86_400_000
        const seed = Effect.flatMap(clockedStore, (store) =>
          Effect.forEach([1, 2, 3, 4, 5], (n) =>
            Effect.zipRight(
              store.create(token(n), testing.record({ deadline: n * day, expiresAt: 100 * day })),
              n === 5 ? store.remove(token(n)) : Effect.void
            )))
        const wakes = yield* wakesOf(seed, duration)
        assert.isAtLeast(wakes, 4)
        assert.isAtMost(wakes, 10)
      }))
  }

  it.effect("N3: a session of more than 25 days, which no timer can wait for, is swept in the end", () =>
    Effect.gen(function*() {
      const store = yield* clockedStore
      const end = 60 * 86_400_000
      yield* store.create(token(1), testing.record({ deadline: end, expiresAt: end }))
      yield* TestClock.adjust("61 days")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* tagOf(1), "None")
    }).pipe(Effect.provide(MemoryStore.layer())))
})

describe("remove", () => {
  it.effect("C7: of a token that was renewed meanwhile ends the session that it became, over several renewals", () =>
    Effect.gen(function*() {
      const store = yield* clockedStore
      const first = yield* createSession(store, { user: "ann" })
      const second = yield* drawToken(first)
      const third = yield* drawToken(second)
      yield* store.renew(first, 0, second, yield* recordOf(store, first))
      yield* store.renew(second, 1, third, yield* recordOf(store, second))
      yield* store.remove(first)
      assert.deepStrictEqual(
        yield* Effect.forEach([first, second, third], (token) => dataOf(store, token)),
        ["Superseded", "Superseded", "Superseded"]
      )
    }).pipe(Effect.provide(MemoryStore.layer())))

  it.effect("C7: follows no tombstone whose minute is over", () =>
    Effect.gen(function*() {
      const store = yield* clockedStore
      const first = yield* createSession(store, { user: "ann" })
      const second = yield* drawToken(first)
      yield* store.renew(first, 0, second, yield* recordOf(store, first))
      yield* TestClock.adjust("1 minute")
      yield* store.remove(first)
      assert.deepStrictEqual(yield* dataOf(store, second), { user: "ann" })
    }).pipe(Effect.provide(MemoryStore.layer())))

  it.effect("D10: of a session that has expired leaves nothing that a clock a few seconds behind revives", () =>
    Effect.gen(function*() {
      const store = yield* clockedStore
      const token = yield* createSession(store, {})
      const { deadline } = yield* recordOf(store, token)
      yield* store.remove(token, callAt(deadline + 1))
      assert.strictEqual((yield* store.load(token, callAt(deadline - 3000)))._tag, "Superseded")
      assert.strictEqual((yield* store.touch(token, 0, deadline + 1000, callAt(deadline - 3000)))._tag, "Gone")
    }).pipe(Effect.provide(MemoryStore.layer())))
})

describe("a call", () => {
  it.effect("is answered by an Exit, and done when it is made", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const [token, next, other] = [yield* drawToken(), yield* drawToken(), yield* drawToken()]
      const record = yield* makeRecord({})
      const call = callAt(0)
      const answers = [
        store.create(token, record, call),
        store.create(token, record, call),
        store.load(token, call),
        store.touch(token, 0, record.deadline + 1, call),
        store.update(token, 0, record, call),
        store.update(token, 0, record, call),
        store.renew(token, 1, next, record, call),
        store.create(other, record, call),
        store.renew(next, 2, other, record, call),
        store.load(token, call),
        store.remove(token, call),
        store.load(next, call)
      ].map((answer) => {
        assert.isTrue(Exit.isExit(answer))
        const exit = answer as Exit.Exit<{ readonly _tag: string } | void, Store.StoreError>
        return Exit.isSuccess(exit) ? exit.value?._tag : "failed"
      })
      assert.deepStrictEqual(answers, [
        "Created",
        "Exists",
        "Live",
        "Touched",
        "Updated",
        "Conflict",
        "Updated",
        "Created",
        "failed",
        "Superseded",
        undefined,
        "Superseded"
      ])
    }).pipe(Effect.provide(MemoryStore.layer())))
})

describe("what is put in can't be changed from outside,", () => {
  const changed = (make: (list: Array<string>, data: { n: number }) => ReturnType<typeof testing.record>) =>
    Effect.gen(function*() {
      const store = yield* clockedStore
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
