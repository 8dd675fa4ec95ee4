import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  PubSub,
  Redacted,
  Ref,
  Stream,
  TestClock
} from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as MemoryStore from "effect-session/MemoryStore"
import * as RedisStore from "effect-session/RedisStore"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as TieredStore from "effect-session/TieredStore"
import { Redis } from "ioredis"
import { EventEmitter } from "node:events"
import * as net from "node:net"
import { createClient } from "redis"
import {
  callAt,
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

/** What a test does around a call of the origin; `after` runs when the origin has answered. */
interface Control {
  before: (method: Store.Method) => Effect.Effect<void, Store.StoreError>
  after: (method: Store.Method) => Effect.Effect<void, Store.StoreError>
}

const makeOrigin = Effect.gen(function*() {
  const inner = clocked(yield* MemoryStore.make())
  const calls: Array<Store.Method> = []
  const control: Control = { before: () => Effect.void, after: () => Effect.void }
  const store = Store.around(inner, ({ method }, run) =>
    Effect.suspend(() => {
      calls.push(method)
      return control.before(method).pipe(
        Effect.zipRight(Effect.suspend(run)),
        Effect.tap(() => control.after(method))
      )
    }))
  return { calls, control, inner, store, layer: Layer.succeed(Store.Store, store) }
})

const build = <E>(layer: Layer.Layer<Store.Store, E>) =>
  Effect.map(Layer.build(layer), (context) => clocked(Context.get(context, Store.Store)))

/** Holds the first call of a method after the origin answered it, until told to go on. */
const hold = (control: Control, method: Store.Method, when: "after" | "before" = "after") =>
  Effect.gen(function*() {
    const reached = yield* Deferred.make<void>()
    const proceed = yield* Deferred.make<void>()
    let first = true
    control[when] = (called) => {
      if (called !== method || !first) {
        return Effect.void
      }
      first = false
      return Effect.zipRight(Deferred.succeed(reached, void 0), Deferred.await(proceed))
    }
    return { reached: Deferred.await(reached), proceed: Deferred.succeed(proceed, void 0) }
  })

const down = () => Effect.fail(new Store.StoreError({ reason: "Unavailable", method: "test" }))

describe("TieredStore", () => {
  it.scoped("S64: a session that was read or written here is answered without a call, until its time is over", () =>
    Effect.gen(function*() {
      const { calls, inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(store, { n: 0 })
      const record = yield* recordOf(store, token)
      yield* store.update(token, 0, withData(record, { n: 1 }))
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      assert.strictEqual((yield* recordOf(store, token)).revision, 1)
      assert.deepStrictEqual(calls, ["create", "update"])

      const other = yield* createSession(inner, { n: 5 })
      for (let n = 0; n < 3; n++) {
        assert.deepStrictEqual(yield* dataOf(store, other), { n: 5 })
      }
      assert.deepStrictEqual(calls, ["create", "update", "load"])
      yield* TestClock.adjust(4999)
      yield* store.load(other)
      assert.strictEqual(calls.length, 3)
      yield* TestClock.adjust(1)
      yield* store.load(other)
      assert.strictEqual(calls.length, 4)
    }))

  it.scoped("what is remembered equals what the origin keeps, after each kind of write", () =>
    Effect.gen(function*() {
      const { inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(store, { n: 0 })
      const same = (token: SessionToken.Token) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* store.load(token), yield* inner.load(token))
        })
      yield* same(token)
      const record = yield* recordOf(store, token)
      yield* TestClock.adjust(1000)
      yield* store.update(token, 0, { ...withData(record, { n: 1 }), touchedAt: record.touchedAt + 1000 })
      yield* same(token)
      yield* TestClock.adjust(1000)
      yield* store.touch(token, 1, record.deadline + 2000)
      yield* same(token)
      const next = yield* drawToken(token)
      yield* store.renew(token, 1, next, yield* recordOf(store, token))
      yield* same(next)
      yield* same(token)
      yield* store.remove(next)
      yield* same(next)
    }))

  it.scoped("S26: a slow read that began before a logout is not remembered", () =>
    Effect.gen(function*() {
      const { control, inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(inner, { user: "ann" })
      const held = yield* hold(control, "load")
      const slow = yield* Effect.fork(store.load(token))
      yield* held.reached
      yield* store.remove(token)
      yield* held.proceed
      yield* Fiber.join(slow)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  it.scoped("S26: a read that runs while the logout runs is not remembered past it", () =>
    Effect.gen(function*() {
      const { control, inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(inner, { user: "ann" })
      const held = yield* hold(control, "remove", "before")
      const logout = yield* Effect.fork(store.remove(token))
      yield* held.reached
      assert.deepStrictEqual(yield* dataOf(store, token), { user: "ann" })
      yield* held.proceed
      yield* Fiber.join(logout)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  it.scoped("S15: a slow read that began before a renewal does not bring the old token back", () =>
    Effect.gen(function*() {
      const { control, inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(inner, { user: "ann" })
      const record = yield* recordOf(inner, token)
      const next = yield* drawToken(token)
      const held = yield* hold(control, "load")
      const slow = yield* Effect.fork(store.load(token))
      yield* held.reached
      yield* store.renew(token, 0, next, record)
      yield* held.proceed
      yield* Fiber.join(slow)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
      assert.deepStrictEqual(yield* dataOf(store, next), { user: "ann" })
    }))

  for (const capacity of [1, 100]) {
    it.scoped(`S65: a newer revision wins over a slow read of an older one (capacity ${capacity})`, () =>
      Effect.gen(function*() {
        const { control, inner, layer } = yield* makeOrigin
        const store = yield* build(layer.pipe(TieredStore.layer({ capacity })))
        const token = yield* createSession(inner, { n: 0 })
        const record = yield* recordOf(inner, token)
        const held = yield* hold(control, "load")
        const slow = yield* Effect.fork(store.load(token))
        yield* held.reached
        yield* store.update(token, 0, withData(record, { n: 1 }))
        // with room for one, this displaces the newer revision before the slow read comes back
        yield* createSession(store, { other: true })
        yield* held.proceed
        yield* Fiber.join(slow)
        assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      }))
  }

  it.scoped("S65: of two updates whose answers come back in the wrong order, the newer is remembered", () =>
    Effect.gen(function*() {
      const { control, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(store, { n: 0 })
      const record = yield* recordOf(store, token)
      const held = yield* hold(control, "update")
      const first = yield* Effect.fork(store.update(token, 0, withData(record, { n: 1 })))
      yield* held.reached
      yield* store.update(token, 1, withData(record, { n: 2 }))
      yield* held.proceed
      yield* Fiber.join(first)
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
    }))

  it.scoped("D5: a memory that is warm over a restored store gets a Conflict, and sees its own writes from then on", () =>
    Effect.gen(function*() {
      const kept = new Map<string, string>()
      const there = yield* build(CacheStore.layer({
        get: (key) => Effect.sync(() => Option.fromNullable(kept.get(key))),
        set: (key, value) => Effect.sync(() => kept.set(key, value)),
        remove: (key) => Effect.sync(() => kept.delete(key))
      }))
      const store = yield* build(Layer.succeed(Store.Store, there).pipe(TieredStore.layer()))
      const token = yield* createSession(store, { n: 0 })
      const before = yield* recordOf(store, token)
      const backup = new Map(kept)
      // so many that what is written later has lower revisions than these
      let lost = before
      for (let n = 1; n <= 16; n++) {
        yield* store.update(token, lost.revision, withData(lost, { n }))
        lost = yield* recordOf(store, token)
      }
      backup.forEach((value, key) => kept.set(key, value))
      const revision = revisionOf(yield* there.update(token, before.revision, withData(before, { n: "there" })))

      assert.strictEqual((yield* recordOf(store, token)).revision, lost.revision)
      const answer = yield* store.update(token, lost.revision, withData(lost, { n: "here" }))
      assert.deepStrictEqual(answer, Store.conflict({ ...before, data: { n: "there" }, revision }))
      assert.deepStrictEqual(yield* dataOf(store, token), { n: "there" })
      const mine = yield* store.update(token, revision, withData(before, { n: "here" }))
      assert.deepStrictEqual(yield* dataOf(store, token), { n: "here" })
      assert.isBelow(revisionOf(mine, revision), lost.revision)
    }))

  it.scoped("an unknown token that was asked for slowly does not hide the session that was created meanwhile", () =>
    Effect.gen(function*() {
      const { control, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer({ capacity: 1 })))
      const token = yield* drawToken()
      const held = yield* hold(control, "load")
      const slow = yield* Effect.fork(store.load(token))
      yield* held.reached
      yield* store.create(token, yield* makeRecord({ n: 0 }))
      yield* createSession(store, { other: true })
      yield* held.proceed
      assert.strictEqual((yield* Fiber.join(slow))._tag, "None")
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 0 })
    }))

  it.scoped("C7: a removal under an old token forgets the sessions that this process made of it by renewals", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const first = yield* createSession(store, { user: "ann" })
      const [second, third] = [yield* drawToken(first), yield* drawToken(first)]
      yield* store.renew(first, 0, second, yield* recordOf(store, first))
      yield* store.renew(second, 1, third, yield* recordOf(store, second))
      assert.deepStrictEqual(yield* dataOf(store, third), { user: "ann" })
      yield* store.remove(first)
      assert.deepStrictEqual(
        yield* Effect.forEach([first, second, third], (token) => dataOf(store, token)),
        ["Superseded", "Superseded", "Superseded"]
      )
    }))

  it.scoped("D11: what is remembered does not last when the clock is set back", () =>
    Effect.gen(function*() {
      const { inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer({ timeToLive: "1 second" })))
      yield* TestClock.setTime(10 * hour)
      const token = yield* createSession(store, { n: 0 })
      yield* inner.remove(token)
      yield* TestClock.setTime(9 * hour)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  it.scoped("what is remembered is answered by an Exit", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeOrigin
      const store = Context.get(yield* Layer.build(layer.pipe(TieredStore.layer())), Store.Store)
      const token = yield* createSession(store, { n: 0 })
      assert.isTrue(Exit.isExit(store.load(token, callAt(0))))
    }))

  it.scoped("a conflict brings the fresh record into memory, and Gone takes the old one out", () =>
    Effect.gen(function*() {
      const { calls, inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(store, { n: 0 })
      const record = yield* recordOf(store, token)
      yield* inner.update(token, 0, withData(record, { n: 7 }))
      assert.strictEqual((yield* store.update(token, 0, withData(record, { n: 1 })))._tag, "Conflict")
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 7 })
      assert.notInclude(calls, "load")
      yield* inner.remove(token)
      assert.strictEqual((yield* store.update(token, 1, withData(record, { n: 1 })))._tag, "Gone")
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  it.scoped("S66 S67: after a write that failed or was interrupted nothing is remembered of its session", () =>
    Effect.gen(function*() {
      const { control, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* createSession(store, { n: 0 })
      const record = yield* recordOf(store, token)
      // it landed, and its answer was lost
      control.after = down
      yield* Effect.flip(store.update(token, 0, withData(record, { n: 1 })))
      control.after = () => Effect.void
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })

      const held = yield* hold(control, "remove")
      const logout = yield* Effect.fork(store.remove(token))
      yield* held.reached
      yield* Fiber.interrupt(logout)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))

  it.scoped("S20: a session that is over is not answered from memory, and one that was touched elsewhere lives on", () =>
    Effect.gen(function*() {
      const { inner, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer({ timeToLive: "10 hours" })))
      const ends = yield* createSession(store, { n: 0 })
      const lives = yield* createSession(store, { n: 1 })
      yield* inner.touch(lives, 0, (yield* recordOf(inner, lives)).deadline + hour)
      yield* TestClock.adjust(hour)
      assert.strictEqual(yield* dataOf(store, ends), "None")
      assert.deepStrictEqual(yield* dataOf(store, lives), { n: 1 })
      assert.deepStrictEqual(yield* store.create(ends, yield* makeRecord({ n: 2 })), Store.created(ends))
      assert.deepStrictEqual(yield* dataOf(store, ends), { n: 2 })
    }))

  it.scoped("S04: an unknown token is remembered for a bounded time, apart from the sessions", () =>
    Effect.gen(function*() {
      const { calls, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer({ capacity: 2, timeToLive: "1 second" })))
      const token = yield* createSession(store, { n: 0 })
      const unknown = yield* drawToken()
      yield* store.load(unknown)
      yield* store.load(unknown)
      assert.deepStrictEqual(calls, ["create", "load"])
      for (let n = 0; n < 50; n++) {
        yield* store.load(yield* drawToken())
      }
      calls.length = 0
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 0 })
      assert.deepStrictEqual(calls, [])
      yield* store.load(unknown)
      assert.deepStrictEqual(calls, ["load"])
      yield* TestClock.adjust(1000)
      yield* store.load(unknown)
      assert.deepStrictEqual(calls, ["load", "load"])
    }))

  it.scoped("the least recently used session is forgotten for a new one", () =>
    Effect.gen(function*() {
      const { calls, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer({ capacity: 2 })))
      const first = yield* createSession(store, { n: 1 })
      const second = yield* createSession(store, { n: 2 })
      yield* store.load(first)
      yield* createSession(store, { n: 3 })
      calls.length = 0
      yield* store.load(first)
      assert.deepStrictEqual(calls, [])
      yield* store.load(second)
      assert.deepStrictEqual(calls, ["load"])
    }))

  it.scoped("S58: what was remembered for one audience is not answered to another", () =>
    Effect.gen(function*() {
      const { calls, layer } = yield* makeOrigin
      const store = yield* build(layer.pipe(TieredStore.layer()))
      const token = yield* drawToken()
      yield* store.create(token, yield* makeRecord({ n: 1 }), { ...callAt(0), audience: "cookie:session" })
      yield* store.load(token, { ...callAt(0), audience: "cookie:session" })
      assert.deepStrictEqual(calls, ["create"])
      yield* store.load(token, { ...callAt(0), audience: "cookie:admin" })
      assert.deepStrictEqual(calls, ["create", "load"])
    }))

  it.scoped("S25: a logout on another instance is seen within the time to live, and never written over", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeOrigin
      const here = yield* build(layer.pipe(TieredStore.layer({ timeToLive: "2 seconds" })))
      const there = yield* build(layer.pipe(TieredStore.layer({ timeToLive: "2 seconds" })))
      const token = yield* createSession(here, { user: "ann" })
      const record = yield* recordOf(there, token)
      yield* here.remove(token)
      assert.deepStrictEqual(yield* dataOf(there, token), { user: "ann" })
      assert.deepStrictEqual(yield* there.update(token, 0, withData(record, { n: 1 })), Store.gone)
      const other = yield* createSession(here, { user: "bob" })
      yield* there.load(other)
      yield* here.remove(other)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* dataOf(there, other), "Superseded")
    }))

  it.scoped("with a channel, removals, renewals and updates elsewhere are seen at once, by public id", () =>
    Effect.gen(function*() {
      const { calls, layer } = yield* makeOrigin
      const bus = yield* PubSub.unbounded<string>({ replay: 0 })
      const said: Array<string> = []
      const heard = yield* Ref.make(0)
      const listening = yield* Deferred.make<void>()
      const listener = yield* build(layer.pipe(TieredStore.layer({
        channel: {
          publish: () => Effect.void,
          messages: Stream.unwrapScoped(
            Effect.tap(
              Effect.map(
                PubSub.subscribe(bus),
                (queue) =>
                  Stream.tap(Stream.fromQueue(queue, { maxChunkSize: 1 }), () => Ref.update(heard, (n) => n + 1))
              ),
              () => Deferred.succeed(listening, void 0)
            )
          )
        }
      })))
      const speaker = yield* build(layer.pipe(TieredStore.layer({
        channel: Effect.succeed({
          publish: (message) => {
            said.push(message)
            return PubSub.publish(bus, message)
          },
          messages: Stream.never
        })
      })))
      yield* Deferred.await(listening)
      const token = yield* createSession(speaker, { n: 0 })
      const record = yield* recordOf(listener, token)
      yield* speaker.update(token, 0, withData(record, { n: 1 }))
      yield* Effect.repeat(Effect.yieldNow(), { until: () => Effect.map(heard, (n) => n === 1) })
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* dataOf(listener, token), { n: 1 })
      yield* speaker.remove(token)
      yield* Effect.repeat(Effect.yieldNow(), { until: () => Effect.map(heard, (n) => n === 2) })
      yield* Effect.yieldNow()
      assert.strictEqual(yield* dataOf(listener, token), "Superseded")
      assert.deepStrictEqual(calls.filter((call) => call === "load").length, 3)
      const id = yield* SessionToken.toId(token)
      assert.isTrue(said.length === 2 && said.every((message) => message.endsWith(` ${id}`)))
      assert.notInclude(said.join(), Redacted.value(token))
    }))

  it.scoped("S66: a channel that fails drops what is remembered, is listened to again, and fails no request", () =>
    Effect.gen(function*() {
      const { calls, layer } = yield* makeOrigin
      const first = yield* Deferred.make<void>()
      const second = yield* Deferred.make<void>()
      const fail = yield* Deferred.make<string, string>()
      const runs = [first, second]
      const store = yield* build(layer.pipe(TieredStore.layer({
        timeToLive: hour,
        channel: {
          publish: () => Effect.fail("no connection"),
          messages: Stream.unwrap(Effect.suspend(() => {
            const run = runs.shift()
            return run === undefined
              ? Effect.succeed(Stream.never)
              : Effect.as(Deferred.succeed(run, void 0), Stream.fromEffect(Deferred.await(fail)))
          }))
        }
      })))
      const token = yield* createSession(store, { n: 0 })
      yield* store.update(token, 0, withData(yield* recordOf(store, token), { n: 1 }))
      yield* Deferred.await(first)
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      assert.notInclude(calls, "load")
      yield* Deferred.fail(fail, "connection reset")
      yield* TestClock.adjust("1 second")
      yield* Deferred.await(second)
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      assert.include(calls, "load")
    }))

  it.effect("a wrong option fails the layer and says what to write", () =>
    Effect.gen(function*() {
      for (
        const [options, words] of [
          [{ capacity: 0 }, "capacity"],
          [{ capacity: Number.NaN }, "capacity"],
          [{ timeToLive: 0 }, "timeToLive"],
          [{ timeToLive: Infinity }, "finite"]
        ] as const
      ) {
        const layer = MemoryStore.layer().pipe(TieredStore.layer(options))
        assert.include(String(yield* Effect.flip(Effect.scoped(Layer.build(layer)))), words)
      }
    }))

  it.scoped("other services of the layer pass through, and layerConfig reads its options from Config", () =>
    Effect.gen(function*() {
      class Extra extends Context.Tag("Extra")<Extra, string>() {}
      const both = Layer.merge(MemoryStore.layer(), Layer.succeed(Extra, "extra"))
      const context = yield* Layer.build(
        both.pipe(
          TieredStore.layerConfig({ capacity: Config.integer("CAPACITY") }),
          Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["CAPACITY", "10"]]))))
        )
      )
      assert.strictEqual(Context.get(context, Extra), "extra")
      const token = yield* createSession(Context.get(context, Store.Store), { n: 0 })
      assert.deepStrictEqual(yield* dataOf(Context.get(context, Store.Store), token), { n: 0 })
    }))
})

describe.skipIf(redisMissing)(redisTitle("TieredStore before Redis, joined by its pub/sub"), () => {
  const prefix = `effect-session-tiered-test-${process.pid}:`

  const ioredis = Effect.acquireRelease(
    Effect.sync(() => new Redis(redisUrl)),
    (redis) => Effect.promise(() => redis.quit())
  )

  const impatient = Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Redis(redisUrl, { lazyConnect: true, enableOfflineQueue: false })
      await client.connect()
      return client
    }),
    (redis) => Effect.promise(() => redis.quit())
  )

  const nodeRedis = Effect.acquireRelease(
    Effect.promise(async () => {
      const client = createClient({ url: redisUrl })
      await client.connect()
      return client
    }),
    (client) => Effect.sync(() => client.destroy())
  )

  const cases = [
    {
      name: "ioredis",
      make: Effect.map(ioredis, (client) => ({ store: RedisStore.layer({ client, prefix }), client }))
    },
    {
      name: "ioredis that queues nothing while it connects",
      make: Effect.map(impatient, (client) => ({ store: RedisStore.layer({ client, prefix }), client }))
    },
    {
      name: "redis",
      make: Effect.map(nodeRedis, (client) => ({ store: RedisStore.layer({ client, prefix }), client }))
    }
  ]

  for (const { make, name } of cases) {
    it.scopedLive(`S25: a logout on one instance is heard by the other (${name})`, () =>
      Effect.gen(function*() {
        const admin = yield* ioredis
        yield* Effect.addFinalizer(() =>
          Effect.promise(async () => {
            for await (const keys of admin.scanStream({ match: `${prefix}*` })) {
              await Promise.all((keys as Array<string>).map((key) => admin.del(key)))
            }
          })
        )
        const { client, store } = yield* make
        const channelName = `${prefix}${name}`
        const tiered = store.pipe(TieredStore.layer({
          timeToLive: "1 hour",
          channel: TieredStore.channelRedis(client, { name: channelName })
        }))
        const here = yield* build(tiered)
        const there = yield* build(Layer.fresh(tiered))
        const subscribed = Effect.promise(() => admin.pubsub("NUMSUB", channelName))
        yield* Effect.repeat(subscribed, { until: ([, count]) => count === 2 })

        const token = yield* createSession(here, { user: "ann" })
        assert.deepStrictEqual(yield* dataOf(there, token), { user: "ann" })
        yield* here.remove(token)
        assert.strictEqual(yield* dataOf(here, token), "Superseded")
        yield* Effect.repeat(Effect.delay(dataOf(there, token), 1), { until: (data) => data === "Superseded" })
      }))
  }
})

describe("a TieredStore's channel in Redis", () => {
  it.scopedLive("that is closed while it connects leaves no connection open", () =>
    Effect.gen(function*() {
      const closed = yield* Deferred.make<void>()
      const server = yield* Effect.acquireRelease(
        Effect.async<net.Server>((resume) => {
          const server = net.createServer((socket) => {
            socket.on("error", () => {})
            socket.on("close", () => Deferred.unsafeDone(closed, Exit.void))
            socket.resume()
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = server.address() as net.AddressInfo
      const channel = yield* TieredStore.channelRedis(createClient({ url: `redis://127.0.0.1:${port}` }))
      yield* Effect.scoped(
        Effect.zipRight(
          Effect.forkScoped(Stream.runDrain(channel.messages)),
          Effect.yieldNow()
        )
      )
      yield* Deferred.await(closed)
    }))

  it.scoped("of a client that says of its return no more than that it is ready is closed, too", () =>
    Effect.gen(function*() {
      const subscribed = yield* Deferred.make<void>()
      const own = Object.assign(new EventEmitter(), {
        isOpen: true,
        destroyed: 0,
        connect: async () => {},
        subscribe: async () => Deferred.unsafeDone(subscribed, Exit.void),
        destroy: () => void own.destroyed++
      })
      let overrides: object | undefined
      const client = {
        isOpen: true,
        publish: async () => {},
        duplicate: (given?: object) => {
          overrides = given
          return own
        }
      }
      const channel = yield* TieredStore.channelRedis(client)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Effect.forkScoped(Stream.runDrain(channel.messages))
        yield* Deferred.await(subscribed)
        for (const event of ["connect", "ready", "reconnecting", "ready"]) {
          own.emit(event)
        }
      }))
      assert.strictEqual(own.destroyed, 1)
      // it would follow a server that moves, without its subscriptions (see RedisStore.watch.test.ts)
      assert.deepStrictEqual(overrides, { maintNotifications: "disabled" })
    }))
})
