import { Persistence } from "@effect/experimental"
import * as PersistenceLmdb from "@effect/experimental/Persistence/Lmdb"
import * as PersistenceRedis from "@effect/experimental/Persistence/Redis"
import { KeyValueStore } from "@effect/platform"
import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  type ConfigError,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  Option,
  Redacted,
  Scope,
  TestClock
} from "effect"
import * as CacheStore from "effect-session/CacheStore"
import type { SessionRecord } from "effect-session/SessionRecord"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import type * as StoreBackend from "effect-session/StoreBackend"
import { Redis } from "ioredis"
import Keyv from "keyv"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Entry from "../src/internal/cacheStore/entryText.js"
import {
  callAt,
  type Clocked,
  clocked,
  createSession,
  dataOf,
  drawToken,
  hour,
  makeRecord,
  recordOf,
  revisionOf,
  withData
} from "./support/records.js"
import { redisMissing, redisTitle, redisUrl } from "./support/redis.js"
import { backupOf, writersOfALostRevision } from "./support/restored.js"

interface Kept {
  readonly value: string
  readonly timeToLive: number
}

/** A cache in a Map that writes down what it was asked, and can be made to wait or fail. */
const makeCache = (map = new Map<string, Kept>()) => {
  const calls: Array<string> = []
  const control: {
    before: (call: string, key: string) => Effect.Effect<void, unknown>
  } = { before: () => Effect.void }
  const step = (call: string, key: string) =>
    Effect.suspend(() => {
      calls.push(call)
      return control.before(call, key)
    })
  const cache: CacheStore.Cache = {
    get: (key) => Effect.zipRight(step("get", key), Effect.sync(() => Option.fromNullable(map.get(key)?.value))),
    set: (key, value, timeToLive) =>
      Effect.zipRight(
        step("set", key),
        Effect.sync(() => map.set(key, { value, timeToLive: Duration.toMillis(timeToLive) }))
      ),
    remove: (key) => Effect.zipRight(step("remove", key), Effect.sync(() => map.delete(key)))
  }
  return { cache, calls, control, map }
}

const build = <E>(layer: Layer.Layer<Store.Store, E>) =>
  Effect.map(Layer.build(layer), (context) => clocked(Context.get(context, Store.Store)))

const storeOver = (cache: CacheStore.Cache, options?: CacheStore.Options) => build(CacheStore.layer(cache, options))

const problem = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.map(Effect.scoped(Effect.flip(Layer.build(layer))), (error) => String(error))

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "effect-session-cache-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

describe("CacheStore over a cache", () => {
  it.scoped("P01 P03 P05: what was created is loaded, and what was updated replaces it", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, { foo: "foo", bar: "bar" })
      const record = yield* recordOf(store, token)
      assert.deepStrictEqual(record.data, { foo: "foo", bar: "bar" })

      const updated = yield* store.update(token, record.revision, withData(record, { bar: "bar", baz: 1 }))
      assert.deepStrictEqual(updated, Store.updated(token, revisionOf(updated, record.revision)))
      assert.strictEqual((yield* recordOf(store, token)).revision, revisionOf(updated))
      assert.deepStrictEqual(yield* dataOf(store, token), { bar: "bar", baz: 1 })
    }))

  it.scoped("P02 P04 P08: sessions do not see each other", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const first = yield* createSession(store, { foo: "foo" })
      const second = yield* createSession(store, { foo: "baz" })
      yield* store.remove(first)
      assert.deepStrictEqual(yield* dataOf(store, second), { foo: "baz" })
    }))

  it.scoped("P06 P07 S25: a removed session is superseded, and after the tombstone's time nothing", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, { foo: "foo" })
      yield* store.remove(token)
      yield* store.remove(token)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
      yield* TestClock.adjust(Store.tombstoneTimeToLive)
      assert.strictEqual(yield* dataOf(store, token), "None")
    }))

  it.scoped("P09 X02 X03 S03: a malformed token is refused without a call", () =>
    Effect.gen(function*() {
      const { cache, calls } = makeCache()
      const store = yield* storeOver(cache)
      const good = Redacted.value(yield* drawToken())
      for (const bad of ["../wrong", "", good + "\n", good.slice(1), good + "A", good.toUpperCase() + "!", "\0"]) {
        assert.isFalse(store.accepts(SessionToken.fromString(bad)), JSON.stringify(bad))
      }
      assert.isTrue(store.accepts(SessionToken.fromString(good)))
      assert.deepStrictEqual(calls, [])
    }))

  it.scoped("X01 S04: an unknown token loads as nothing, and no operation makes a session of it", () =>
    Effect.gen(function*() {
      const { cache, map } = makeCache()
      const store = yield* storeOver(cache)
      const token = yield* drawToken()
      const record = yield* makeRecord({ foo: 1 })
      assert.strictEqual(yield* dataOf(store, token), "None")
      assert.deepStrictEqual(yield* store.update(token, 0, record), Store.gone)
      assert.deepStrictEqual(yield* store.touch(token, 0, record.deadline + 1), Store.gone)
      assert.deepStrictEqual(yield* store.renew(token, 0, yield* drawToken(token), record), Store.gone)
      yield* store.remove(token)
      assert.strictEqual(map.size, 0)
    }))

  it.scoped("X05 X06 S13: renew keeps the data under the new token and leaves the old one superseded", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, { user: "ann" })
      const next = yield* drawToken(token)
      const record = yield* recordOf(store, token)
      const answer = yield* store.renew(token, 0, next, record)
      assert.deepStrictEqual(answer, Store.updated(next, revisionOf(answer)))
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
      const renewed = yield* recordOf(store, next)
      assert.deepStrictEqual(renewed.data, { user: "ann" })
      assert.strictEqual(renewed.expiresAt, record.expiresAt)
    }))

  it.scoped("D5: after a restored backup, a writer that read a lost write gets a Conflict, also where another wrote since", () =>
    Effect.gen(function*() {
      const { cache, map } = makeCache()
      yield* writersOfALostRevision(yield* storeOver(cache), () => backupOf(map))
    }))

  it.scoped("C7: remove of a token that was renewed meanwhile ends the session that it became", () =>
    Effect.gen(function*() {
      const { cache } = makeCache()
      const store = yield* storeOver(cache)
      const there = yield* storeOver(cache)
      const first = yield* createSession(store, { user: "ann" })
      const second = yield* drawToken(first)
      const third = yield* drawToken(second)
      const renewed = yield* store.renew(first, 0, second, yield* recordOf(store, first))
      yield* store.renew(second, revisionOf(renewed), third, yield* recordOf(store, second))
      yield* there.remove(first)
      assert.deepStrictEqual(
        yield* Effect.forEach([first, second, third], (token) => dataOf(store, token)),
        ["Superseded", "Superseded", "Superseded"]
      )
    }))

  it.scoped("D10: remove of a session that has expired leaves nothing that a clock a few seconds behind revives", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, {})
      const { deadline } = yield* recordOf(store, token)
      yield* store.remove(token, callAt(deadline + 1))
      assert.strictEqual((yield* store.load(token, callAt(deadline - 3000)))._tag, "Superseded")
      assert.strictEqual((yield* store.touch(token, 0, deadline + 1000, callAt(deadline - 3000)))._tag, "Gone")
    }))

  it.scoped("X20 S05: a renewal to a token in use fails and overwrites nobody", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const victim = yield* createSession(store, { user: "victim" })
      const token = yield* createSession(store, { user: "ann" })
      const error = yield* Effect.flip(store.renew(token, 0, victim, yield* recordOf(store, token)))
      assert.strictEqual(error.reason, "Unavailable")
      assert.deepStrictEqual(yield* dataOf(store, victim), { user: "victim" })
      assert.deepStrictEqual(yield* dataOf(store, token), { user: "ann" })
    }))

  it.scoped("X06 S13: a renewal that fails between its two writes leaves the old session and no other", () =>
    Effect.gen(function*() {
      const { cache, control, map } = makeCache()
      const store = yield* storeOver(cache)
      const token = yield* createSession(store, { user: "ann" })
      const removed = yield* Deferred.make<void>()
      let sets = 0
      control.before = (call) => {
        if (call === "set" && ++sets === 2) {
          return Effect.fail("cache is down")
        }
        return call === "remove" ? Effect.asVoid(Deferred.succeed(removed, void 0)) : Effect.void
      }
      const error = yield* Effect.flip(
        store.renew(token, 0, yield* drawToken(token), yield* recordOf(store, token))
      )
      assert.strictEqual(error.reason, "Unavailable")
      yield* Deferred.await(removed)
      yield* Effect.yieldNow()
      assert.strictEqual(map.size, 1)
      assert.deepStrictEqual(yield* dataOf(store, token), { user: "ann" })
    }))

  it.scoped("X09 X10: what was read can be changed by nobody, and the cache keeps the old value until a write", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, { list: [1] })
      const record = yield* recordOf(store, token)
      assert.isTrue(Object.isFrozen(record.data) && Object.isFrozen(record.data["list"]))
      assert.throws(() => (record.data["list"] as Array<number>).push(2))
      assert.deepStrictEqual(yield* dataOf(store, token), { list: [1] })
    }))

  it.scoped("X19 S61: what can't be read is no session and is put aside; a newer release's is left in peace", () =>
    Effect.gen(function*() {
      const { cache, map } = makeCache()
      const store = yield* storeOver(cache)
      for (const text of ["", "garbage", "s1 0 0 9999999999999\n{\"v\":1,\"da", "s1 0 0", "{\"cookie\":{}}", "\0"]) {
        const token = yield* drawToken()
        const key = `session:${yield* SessionToken.toId(token)}`
        map.set(key, { value: text, timeToLive: 0 })
        assert.strictEqual(yield* dataOf(store, token), "None", JSON.stringify(text))
        assert.isFalse(map.has(key))
        assert.strictEqual(map.get(key.replace("session:", "session:aside:"))?.value, text)
      }
      for (const text of ["s2 what ever\n", "s2 0 0 1 1 1\n{}", "s1 0 0 9999999999999\n{\"v\":2}"]) {
        const token = yield* drawToken()
        const key = `session:${yield* SessionToken.toId(token)}`
        map.set(key, { value: text, timeToLive: 0 })
        assert.strictEqual(yield* dataOf(store, token), "None")
        assert.deepStrictEqual(yield* store.create(token, yield* makeRecord({})), Store.exists)
        assert.deepStrictEqual(yield* store.update(token, 7, yield* makeRecord({})), Store.gone)
        assert.strictEqual(map.get(key)?.value, text)
      }
    }))

  it.scoped("X20 S05: create never overwrites a session or its tombstone", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, { user: "victim" })
      assert.deepStrictEqual(yield* store.create(token, yield* makeRecord({ user: "new" })), Store.exists)
      assert.deepStrictEqual(yield* dataOf(store, token), { user: "victim" })
      yield* store.remove(token)
      assert.deepStrictEqual(yield* store.create(token, yield* makeRecord({ user: "new" })), Store.exists)
      yield* TestClock.adjust(Store.tombstoneTimeToLive)
      assert.deepStrictEqual(yield* store.create(token, yield* makeRecord({ user: "new" })), Store.created(token))
    }))

  it.scoped("X22 S17 S20: an expired session is gone for every operation at exactly its deadline, cache or no cache", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, { foo: 1 })
      const record = yield* recordOf(store, token)
      yield* TestClock.adjust(hour - 1)
      assert.deepStrictEqual(yield* dataOf(store, token), { foo: 1 })
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* dataOf(store, token), "None")
      assert.deepStrictEqual(yield* store.update(token, 0, record), Store.gone)
      assert.deepStrictEqual(yield* store.renew(token, 0, yield* drawToken(), record), Store.gone)
      assert.deepStrictEqual(yield* store.touch(token, 0, record.deadline + hour), Store.gone)
    }))

  it.scoped("S21: touch moves the deadline forward, never back, and leaves the revision", () =>
    Effect.gen(function*() {
      const store = yield* storeOver(makeCache().cache)
      const token = yield* createSession(store, { foo: 1 })
      const before = yield* recordOf(store, token)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* store.touch(token, 0, before.deadline + 600_000), Store.touched(token))
      yield* store.touch(token, 0, before.deadline)
      yield* store.touch(token, 7, before.deadline + hour)
      const after = yield* recordOf(store, token)
      assert.strictEqual(after.deadline, before.deadline + 600_000)
      assert.strictEqual(after.touchedAt, before.touchedAt + 600_000)
      assert.strictEqual(after.revision, 0)
      assert.deepStrictEqual(after.data, { foo: 1 })
    }))

  it.scoped("wishes 12 to 14: every entry has a time to live of a minute past its end, and the prefix that was asked for", () =>
    Effect.gen(function*() {
      const { cache, map } = makeCache()
      const store = yield* storeOver(cache, { prefix: "shop:" })
      const token = yield* createSession(store, { foo: 1 })
      const key = `shop:${yield* SessionToken.toId(token)}`
      assert.deepStrictEqual([...map.keys()], [key])
      assert.strictEqual(map.get(key)?.timeToLive, hour + 60_000)
      yield* TestClock.adjust("30 minutes")
      yield* store.touch(token, 0, (yield* recordOf(store, token)).deadline + 1000)
      assert.strictEqual(map.get(key)?.timeToLive, hour / 2 + 1000 + 60_000)
      yield* store.remove(token)
      assert.strictEqual(map.get(key)?.timeToLive, 120_000)
    }))

  it.scoped("wish 11: the cache may be an Effect, acquired with the layer and released with it", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const acquired = Effect.acquireRelease(
        Effect.sync(() => {
          events.push("open")
          return makeCache().cache
        }),
        () => Effect.sync(() => events.push("close"))
      )
      const scope = yield* Scope.make()
      const store = yield* Scope.extend(build(CacheStore.layer(acquired)), scope)
      const token = yield* createSession(store, { foo: 1 })
      assert.deepStrictEqual(yield* dataOf(store, token), { foo: 1 })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(events, ["open", "close"])
    }))

  it.scoped("S06 S07: no token and no part of one is in the cache", () =>
    Effect.gen(function*() {
      const { cache, map } = makeCache()
      const store = yield* storeOver(cache)
      const token = yield* createSession(store, { foo: 1 })
      const dump = JSON.stringify([...map])
      assert.notInclude(dump, Redacted.value(token))
      assert.include(dump, yield* SessionToken.toId(token))
    }))

  it.scoped("S26: a write that had begun when the logout came does not undo it", () =>
    Effect.gen(function*() {
      const { cache, control } = makeCache()
      const store = yield* storeOver(cache)
      const token = yield* createSession(store, { user: "ann" })
      const record = yield* recordOf(store, token)
      const reached = yield* Deferred.make<void>()
      const proceed = yield* Deferred.make<void>()
      control.before = (call) =>
        call === "set" ? Effect.zipRight(Deferred.succeed(reached, void 0), Deferred.await(proceed)) : Effect.void
      const write = yield* Effect.fork(store.update(token, 0, withData(record, { user: "ann", n: 1 })))
      yield* Deferred.await(reached)
      const logout = yield* Effect.fork(store.remove(token))
      const late = yield* Effect.fork(store.update(token, 1, withData(record, { user: "ann", n: 2 })))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(proceed, void 0)
      assert.strictEqual((yield* Fiber.join(write))._tag, "Updated")
      yield* Fiber.join(logout)
      assert.deepStrictEqual(yield* Fiber.join(late), Store.gone)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  it.scoped("S26: the same from another process, when its write comes after the logout", () =>
    Effect.gen(function*() {
      const { cache } = makeCache()
      const here = yield* storeOver(cache)
      const there = yield* storeOver(cache)
      const token = yield* createSession(here, { user: "ann" })
      const record = yield* recordOf(there, token)
      yield* here.remove(token)
      assert.deepStrictEqual(yield* there.update(token, 0, withData(record, { n: 1 })), Store.gone)
      assert.deepStrictEqual(yield* there.touch(token, 0, record.deadline + 1), Store.gone)
      assert.strictEqual(yield* dataOf(there, token), "Superseded")
    }))

  it.scoped("S65: 100 writers of one revision: one lands, the others get the record that it left", () =>
    Effect.gen(function*() {
      const { cache, control } = makeCache()
      // every call gives way, so that writers that were not queued would all read before the first writes
      control.before = () => Effect.yieldNow()
      const store = yield* storeOver(cache)
      const token = yield* createSession(store, { n: 0 })
      const record = yield* recordOf(store, token)
      const answers = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, n) => n),
        (n) => store.update(token, 0, withData(record, { n })),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(answers.filter((answer) => answer._tag === "Updated").length, 1)
      const kept = yield* recordOf(store, token)
      for (const answer of answers) {
        if (answer._tag === "Conflict") {
          assert.deepStrictEqual(answer.record, kept)
        }
      }
    }))

  it.scoped("S66 S67: a failing cache is a StoreError; a waiter that is interrupted holds up nobody", () =>
    Effect.gen(function*() {
      const { cache, control } = makeCache()
      const store = yield* storeOver(cache)
      const token = yield* createSession(store, { n: 0 })
      control.before = () => Effect.fail(new Error("connection refused"))
      const error = yield* Effect.flip(store.load(token))
      assert.strictEqual(error.reason, "Unavailable")
      assert.strictEqual(error.method, "CacheStore.load")
      assert.notInclude(JSON.stringify(error) + String(error), Redacted.value(token))

      const reached = yield* Deferred.make<void>()
      control.before = (call) =>
        call === "get" ? Effect.zipRight(Deferred.succeed(reached, void 0), Effect.never) : Effect.void
      const holder = yield* Effect.fork(store.remove(token))
      yield* Deferred.await(reached)
      const waiter = yield* Effect.fork(store.remove(token))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiter)
      yield* Fiber.interrupt(holder)
      control.before = () => Effect.void
      yield* store.remove(token)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  for (
    const [what, write] of [
      [
        "an update",
        (store: Clocked, record: SessionRecord, token: SessionToken.Token) =>
          Effect.asVoid(store.update(token, 0, withData(record, { n: 1 })))
      ],
      [
        "a touch",
        (store: Clocked, record: SessionRecord, token: SessionToken.Token) =>
          Effect.asVoid(store.touch(token, 0, record.deadline + 1))
      ]
    ] as const
  ) {
    it.scoped(`S26 S65: ${what} that nobody waits for any more does not land on what follows it`, () =>
      Effect.gen(function*() {
        const map = new Map<string, string>()
        const reached = yield* Deferred.make<void>()
        let slow: Promise<void> | undefined
        let land = () => {}
        const store = yield* storeOver(CacheStore.fromPromises({
          get: (key) => Promise.resolve(map.get(key)),
          set: async (key, value) => {
            const wait = slow
            slow = undefined
            if (wait !== undefined) {
              Effect.runSync(Deferred.succeed(reached, undefined))
              await wait
            }
            map.set(key, value)
          },
          remove: (key) => Promise.resolve(map.delete(key))
        }))
        const token = yield* createSession(store, { n: 0 })
        const record = yield* recordOf(store, token)
        slow = new Promise((resolve) => land = resolve)
        const writing = yield* Effect.fork(write(store, record, token))
        yield* Deferred.await(reached)
        yield* Fiber.interruptFork(writing)
        const removing = yield* Effect.fork(store.remove(token))
        const turns = Effect.repeatN(Effect.promise(() => new Promise((resolve) => setImmediate(resolve))), 5)
        yield* turns
        land()
        yield* turns
        yield* Fiber.join(removing)
        yield* Fiber.await(writing)
        assert.strictEqual(yield* dataOf(store, token), "Superseded")
      }))
  }

  it.scoped("S66: a write whose client never answers holds its session for a minute", () =>
    Effect.gen(function*() {
      const map = new Map<string, string>()
      const reached = yield* Deferred.make<void>()
      let dead = false
      const store = yield* storeOver(CacheStore.fromPromises({
        get: (key) => Promise.resolve(map.get(key)),
        set: (key, value) => {
          if (dead) {
            dead = false
            Effect.runSync(Deferred.succeed(reached, undefined))
            return new Promise(() => {})
          }
          map.set(key, value)
          return Promise.resolve()
        },
        remove: (key) => Promise.resolve(map.delete(key))
      }))
      const token = yield* createSession(store, { n: 0 })
      dead = true
      const writing = yield* Effect.fork(store.remove(token))
      yield* Deferred.await(reached)
      yield* Fiber.interruptFork(writing)
      const removing = yield* Effect.fork(store.remove(token))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(removing)
      assert.strictEqual(yield* dataOf(store, token), "None")
    }))

  it.effect("a wrong option or object fails the layer and says what to write", () =>
    Effect.gen(function*() {
      assert.include(yield* problem(CacheStore.layer(makeCache().cache, { prefix: "a b" })), "printable ASCII")
      assert.include(yield* problem(CacheStore.layer({} as CacheStore.Cache)), "get, set and remove")
      assert.include(yield* problem(CacheStore.layerKeyv({ get: 1 } as unknown as CacheStore.Keyv)), "new Keyv(")
      assert.include(yield* problem(CacheStore.layerPersistence()), "Persistence.layerMemory")
      assert.include(yield* problem(CacheStore.layerPersistence({ storeId: "" })), "storeId")
    }))

  it.scoped("fromPromises: values, the absent in both spellings, milliseconds, and rejections", () =>
    Effect.gen(function*() {
      const map = new Map<string, string>()
      const times: Array<number> = []
      let down = false
      const store = yield* storeOver(CacheStore.fromPromises({
        get: (key) => down ? Promise.reject(new Error("down")) : Promise.resolve(map.get(key) ?? null),
        set: (key, value, millis) => {
          times.push(millis)
          map.set(key, value)
          return Promise.resolve()
        },
        remove: (key) => Promise.resolve(map.delete(key))
      }))
      const token = yield* createSession(store, { foo: 1 })
      assert.deepStrictEqual(yield* dataOf(store, token), { foo: 1 })
      assert.strictEqual(yield* dataOf(store, yield* drawToken()), "None")
      assert.deepStrictEqual(times, [hour + 60_000])
      down = true
      assert.strictEqual((yield* Effect.flip(store.load(token))).reason, "Unavailable")
    }))
})

describe("the text of an entry", () => {
  it.prop(
    "S61: any text reads as an entry, and none but our own as a session",
    { text: FastCheck.fullUnicodeString() },
    ({ text }) => {
      const entry = Entry.fromText(text)
      assert.isTrue(entry._tag === "Entry" && entry.revision === -1)
    }
  )

  it.prop("what was written reads back", {
    body: FastCheck.fullUnicodeString(),
    revision: FastCheck.nat(),
    touchedAt: FastCheck.maxSafeNat(),
    deadline: FastCheck.double({ noNaN: true, noDefaultInfinity: true, min: 0 })
  }, (stamp) => {
    const entry: StoreBackend.Entry = { _tag: "Entry", ...stamp }
    assert.deepStrictEqual(Entry.fromText(Entry.toText(entry)), entry)
    const tombstone: StoreBackend.Entry = { _tag: "Tombstone", until: stamp.touchedAt }
    assert.deepStrictEqual(Entry.fromText(Entry.toText(tombstone)), tombstone)
    const renewed = { ...tombstone, successor: "A".repeat(43) as SessionToken.SessionId }
    assert.deepStrictEqual(Entry.fromText(Entry.toText(renewed)), renewed)
  })

  it("C7: a tombstone of before successors were kept reads as before, and one with a strange line too", () => {
    for (const text of ["t1 5\n", "t1 5\nwhatever", `t1 5\n${"A".repeat(44)}`]) {
      assert.deepStrictEqual(Entry.fromText(text), { _tag: "Tombstone", until: 5 })
    }
  })
})

describe("CacheStore over KeyValueStore", () => {
  const memory = Layer.memoize(KeyValueStore.layerMemory)

  it.scoped("P01 P06 wish 13: create, load, remove, under the prefix", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(
        CacheStore.layerKeyValueStore({ prefix: "shop:" }).pipe(Layer.provideMerge(yield* memory))
      )
      const store = clocked(Context.get(context, Store.Store))
      const values = Context.get(context, KeyValueStore.KeyValueStore)
      const token = yield* createSession(store, { foo: 1 })
      assert.isTrue(yield* values.has(`shop:${yield* SessionToken.toId(token)}`))
      assert.deepStrictEqual(yield* dataOf(store, token), { foo: 1 })
      yield* store.remove(token)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  it.scoped("S20 S68: what ended a minute ago is deleted when it is met, and by the sweep within two minutes", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(CacheStore.layerKeyValueStore().pipe(Layer.provideMerge(yield* memory)))
      const store = clocked(Context.get(context, Store.Store))
      const values = Context.get(context, KeyValueStore.KeyValueStore)
      const met = yield* createSession(store, { foo: 1 })
      yield* Effect.forEach(Array.from({ length: 20 }), () => createSession(store, { foo: 1 }))
      const touched = yield* createSession(store, { foo: 1 })
      const removed = yield* createSession(store, { foo: 1 })
      yield* store.remove(removed)
      yield* store.touch(touched, 0, (yield* recordOf(store, touched)).deadline + hour / 2)
      assert.strictEqual(yield* values.size, 23)
      yield* TestClock.adjust(hour)
      assert.strictEqual(yield* dataOf(store, met), "None")
      assert.isTrue(yield* values.has(`session:${yield* SessionToken.toId(met)}`), "a clock a minute behind has it yet")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* dataOf(store, met), "None")
      assert.isFalse(yield* values.has(`session:${yield* SessionToken.toId(met)}`))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* values.size, 1)
      assert.deepStrictEqual(yield* dataOf(store, touched), { foo: 1 })
      yield* TestClock.adjust(hour)
      assert.strictEqual(yield* values.size, 0)
    }))

  it.scopedLive("X19: in a folder: a session outlives the process, and a torn file is a fresh session", () =>
    Effect.gen(function*() {
      const directory = yield* folder
      const layer = CacheStore.layerKeyValueStore().pipe(
        Layer.provide(KeyValueStore.layerFileSystem(directory)),
        Layer.provide([NodeFileSystem.layer, NodePath.layer])
      )
      const token = yield* Effect.scoped(Effect.flatMap(build(layer), (store) => createSession(store, { foo: 1 })))
      const store = yield* build(layer)
      assert.deepStrictEqual(yield* dataOf(store, token), { foo: 1 })
      const [name = ""] = yield* Effect.promise(() => readdir(directory))
      const text = yield* Effect.promise(() => readFile(join(directory, name), "utf8"))
      yield* Effect.promise(() => writeFile(join(directory, name), text.slice(0, -9)))
      assert.strictEqual(yield* dataOf(store, token), "None")
      assert.deepStrictEqual((yield* Effect.promise(() => readdir(directory))).map((name) => name.includes("aside")), [
        true
      ])
      yield* store.remove(token)
    }))
})

describe("CacheStore over Persistence", () => {
  const memory = CacheStore.layerPersistence({
    storeId: "shop",
    persistence: Persistence.BackingPersistence
  })

  // the requirement is Persistence's own type: without the provide, this does not compile
  const typed: Layer.Layer<Store.Store, ConfigError.ConfigError> = memory.pipe(Layer.provide(Persistence.layerMemory))

  const lmdb = Layer.unwrapScoped(
    Effect.map(
      folder,
      (path) => CacheStore.layerPersistence({ storeId: "shop" }).pipe(Layer.provide(PersistenceLmdb.layer({ path })))
    )
  )

  const kept = (store: Clocked) =>
    Effect.gen(function*() {
      const token = yield* createSession(store, { foo: "foo" })
      const record = yield* recordOf(store, token)
      assert.deepStrictEqual(record.data, { foo: "foo" })
      const revision = revisionOf(yield* store.update(token, 0, withData(record, { foo: 2 })))
      const conflict = yield* store.update(token, 0, withData(record, { foo: 3 }))
      assert.deepStrictEqual(conflict._tag === "Conflict" && conflict.record.data, { foo: 2 })
      const next = yield* drawToken(token)
      const renewed = yield* store.renew(token, revision, next, record)
      assert.deepStrictEqual(renewed, Store.updated(next, revisionOf(renewed, revision)))
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
      yield* store.remove(next)
      assert.strictEqual(yield* dataOf(store, next), "Superseded")
      assert.strictEqual(yield* dataOf(store, yield* drawToken()), "None")
    })

  it.scoped("P01 P03 P06 X05: in memory, named by its service", () => Effect.flatMap(build(typed), kept))

  it.scopedLive("P01 P03 P06 X05: in LMDB, found by its key, and a session outlives the process", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(build(lmdb), kept)
      const path = yield* folder
      const layer = CacheStore.layerPersistence().pipe(Layer.provide(PersistenceLmdb.layer({ path })))
      const token = yield* Effect.scoped(Effect.flatMap(build(layer), (store) => createSession(store, { foo: 1 })))
      assert.deepStrictEqual(yield* dataOf(yield* build(layer), token), { foo: 1 })
    }))

  it.scopedLive.skipIf(redisMissing)(
    redisTitle("P01 P03 P06 X05: in Redis, with the server's time to live"),
    () =>
      Effect.gen(function*() {
        const storeId = `effect-session-cache-test-${process.pid}`
        const redis = yield* Effect.acquireRelease(
          Effect.sync(() => new Redis(redisUrl)),
          (redis) =>
            Effect.promise(async () => {
              const keys = await redis.keys(`${storeId}:*`)
              await Promise.all(keys.map((key) => redis.del(key)))
              await redis.quit()
            })
        )
        const store = yield* build(
          CacheStore.layerPersistence({ storeId }).pipe(
            Layer.provide(
              PersistenceRedis.layer({ host: new URL(redisUrl).hostname, port: Number(new URL(redisUrl).port || 6379) })
            )
          )
        )
        yield* kept(store)
        const token = yield* createSession(store, { foo: 1 })
        const key = `${storeId}:${yield* SessionToken.toId(token)}`
        const left = yield* Effect.promise(() => redis.pttl(key))
        assert.isTrue(left > hour && left <= hour + 60_000, String(left))
      })
  )
})

describe("CacheStore over Keyv", () => {
  it.scopedLive("P01 P03 P06 X05 wish 12: keeps sessions with a time to live, under Keyv's namespace", () =>
    Effect.gen(function*() {
      const map = new Map<string, string>()
      const store = yield* build(CacheStore.layerKeyv(new Keyv({ store: map, namespace: "shop" })))
      const token = yield* createSession(store, { foo: 1 })
      const id = yield* SessionToken.toId(token)
      const text = map.get(`shop:session:${id}`)
      assert.isDefined(text)
      const { expires } = JSON.parse(text ?? "{}") as { expires: number }
      assert.isTrue(expires > Date.now() + hour && expires <= Date.now() + hour + 60_000)
      const next = yield* drawToken(token)
      assert.strictEqual((yield* store.renew(token, 0, next, yield* recordOf(store, token)))._tag, "Updated")
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
      assert.deepStrictEqual(yield* dataOf(store, next), { foo: 1 })
      yield* store.remove(next)
      assert.strictEqual(yield* dataOf(store, next), "Superseded")
    }))

  it.scopedLive("S66: a Keyv that swallows errors is told not to, and a write that it did not keep is an error", () =>
    Effect.gen(function*() {
      let down = false
      const adapter = Object.assign(new Map<string, string>(), { opts: {} })
      const get = adapter.get.bind(adapter)
      adapter.get = (key) => {
        if (down) {
          throw new Error("connection refused")
        }
        return get(key)
      }
      const keyv = new Keyv({ store: adapter })
      assert.isFalse(keyv.throwOnErrors)
      const store = yield* build(CacheStore.layerKeyv(Effect.succeed(keyv)))
      const token = yield* createSession(store, { foo: 1 })
      down = true
      assert.strictEqual((yield* Effect.flip(store.load(token))).reason, "Unavailable")
      down = false
      keyv.set = () => Promise.resolve(false)
      assert.strictEqual((yield* Effect.flip(createSession(store, { foo: 1 }))).reason, "Unavailable")
    }))
})
