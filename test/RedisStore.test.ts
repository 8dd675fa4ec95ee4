import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import {
  Cause,
  ConfigError,
  Context,
  Effect,
  Either,
  Exit,
  Fiber,
  Inspectable,
  Layer,
  Queue,
  Redacted,
  Ref,
  Runtime,
  Schedule,
  Scope,
  Stream,
  TestClock
} from "effect"
import * as RedisStore from "effect-session/RedisStore"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import { Cluster, Redis } from "ioredis"
import { inspect } from "node:util"
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from "redis"
import { vi } from "vitest"
import * as Fixture from "./fixtures/redis.js"
import { clocked } from "./support/clocked.js"
import {
  createSession,
  dataOf,
  drawToken,
  hour,
  increment,
  makeRecord,
  recordOf,
  revisionOf,
  withData
} from "./support/records.js"
import { writersOfALostRevision } from "./support/restored.js"

const prefix = "test:"

/** The key a session has, worked out apart from the store: SHA-256 of the token, tagged by its first two bytes. */
const keyOf = (token: SessionToken.Token) =>
  Effect.map(
    SessionToken.toId(token),
    (id) => `${prefix}{${Buffer.from(Redacted.value(token), "base64url").subarray(0, 2).toString("hex")}}${id}`
  )

/** All that a server holds: names and contents of its keys. */
const dump = (admin: Redis) =>
  Effect.promise(async () => {
    const lines: Array<string> = []
    for await (const keys of admin.scanStream()) {
      for (const key of keys as Array<string>) {
        lines.push(`${key} = ${await admin.get(key)}`)
      }
    }
    return lines.sort()
  })

const storeOf = (options: RedisStore.Options) => Effect.map(RedisStore.make(options), clocked)

const failure = <E, R>(effect: Effect.Effect<unknown, E, R>) => Effect.flip(effect)

const isInstalled = await Fixture.isInstalled()

describe.skipIf(!isInstalled)(isInstalled ? "RedisStore" : "skipped: no redis-server here", () => {
  describe("options", () => {
    const configError = (options: RedisStore.Options) =>
      Effect.map(failure(Effect.scoped(RedisStore.make(options))), (error) => {
        assert.isTrue(ConfigError.isConfigError(error))
        return String(error)
      })

    it.effect("a prefix with braces is refused: it would move the hash tag", () =>
      Effect.gen(function*() {
        const client = new Redis({ lazyConnect: true })
        for (const wrong of ["{app}:", "a{", "}"]) {
          assert.include(yield* configError({ client, prefix: wrong }), "without braces")
        }
      }))

    it.effect("what is no client is refused with what to pass", () =>
      Effect.gen(function*() {
        for (const wrong of [undefined, null, "redis://127.0.0.1", {}, { get: () => {} }, { get() {}, eval() {} }]) {
          assert.include(yield* configError({ client: wrong as unknown as Redis }), "await createClient")
        }
      }))

    it.scoped("the layer fails with what the Effect of a client fails with, and releases what it acquired", () =>
      Effect.gen(function*() {
        const failed = yield* Effect.exit(Layer.build(RedisStore.layer({ client: Effect.fail("no address") })))
        assert.deepStrictEqual(failed, Exit.fail("no address"))

        const released = yield* Ref.make(false)
        const client = Effect.acquireRelease(
          Effect.succeed(new Redis({ lazyConnect: true })),
          () => Ref.set(released, true)
        )
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(RedisStore.layer({ client }))
          assert.isFalse(yield* Ref.get(released))
        }))
        assert.isTrue(yield* Ref.get(released))
      }))

    it("accepts the type of every client of both packages, and asks for nothing but what an Effect of one needs", () => {
      const typed = () =>
        [
          RedisStore.layer({ client: createClient() }),
          RedisStore.layer({ client: createClient({ RESP: 3 }) }),
          RedisStore.layer({ client: createClientPool() }),
          RedisStore.layer({ client: createCluster({ rootNodes: [] }) }),
          RedisStore.layer({ client: createSentinel({ name: "main", sentinelRootNodes: [] }) }),
          RedisStore.layer({ client: new Redis() }),
          RedisStore.layer({ client: new Cluster([]) }),
          RedisStore.layer({ client: Fixture.nodeRedis("") }),
          RedisStore.layer({ client: Fixture.ioredis(""), prefix: undefined })
        ] satisfies Array<Layer.Layer<Store.Store, ConfigError.ConfigError>>
      assert.isFunction(typed)
    })
  })

  for (const { connect, name } of Fixture.clients) {
    describe(name, () => {
      const scope = Effect.runSync(Scope.make())
      let server: Fixture.Server
      beforeAll(async () => {
        server = await Effect.runPromise(Scope.extend(Fixture.server("--repl-diskless-sync-delay", "0"), scope))
      })
      afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

      const open = Effect.gen(function*() {
        yield* Effect.promise(() => server.admin.flushall())
        const client = yield* connect(server.url)
        const store = yield* storeOf({ client, prefix })
        return { admin: server.admin, store }
      })

      it.scoped("S06 S07 CVE-2019-16782: keys are hashes under the token's first two bytes, and no token is in the server", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const token = yield* createSession(store, { n: 1 })
          assert.deepStrictEqual(
            (yield* dump(admin)).map((line) => line.split(" ")[0]),
            [yield* keyOf(token)]
          )
          const next = yield* drawToken(token)
          const record = yield* recordOf(store, token)
          assert.strictEqual((yield* store.renew(token, record.revision, next, record))._tag, "Updated")
          const lines = yield* dump(admin)
          assert.sameMembers(lines.map((line) => line.split(" ")[0]), [yield* keyOf(token), yield* keyOf(next)])
          for (const secret of [token, next]) {
            assert.notInclude(lines.join("\n"), Redacted.value(secret))
          }
        }))

      it.scoped("one command an operation, conflicts included, and none looks at other keys", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { n: 0 })
          const other = yield* createSession(store, { n: 0 })
          const record = yield* recordOf(store, token)
          const warm = yield* drawToken(other)
          const raised = revisionOf(yield* store.update(other, 0, record))
          yield* store.touch(other, raised, record.deadline + 1)
          yield* store.renew(other, raised, warm, record)
          yield* store.remove(warm)

          const commands = <A, E>(effect: Effect.Effect<A, E>) =>
            Effect.map(
              Fixture.sent(server, effect),
              ([answer, commands]) => [answer, commands.map((command) => command[0])] as const
            )
          const fresh = yield* drawToken()
          const next = yield* drawToken(token)
          assert.deepStrictEqual((yield* commands(store.load(token)))[1], ["GET"])
          assert.deepStrictEqual((yield* commands(store.load(yield* drawToken())))[1], ["GET"])
          assert.deepStrictEqual((yield* commands(store.create(fresh, record)))[1], ["EVALSHA"])
          assert.deepStrictEqual(yield* commands(store.create(fresh, record)), [Store.exists, ["EVALSHA"]])
          const [updated, once] = yield* commands(store.update(token, 0, record))
          assert.deepStrictEqual(once, ["EVALSHA"])
          const revision = revisionOf(updated)
          const [conflict, trips] = yield* commands(store.update(token, 0, record))
          assert.deepStrictEqual([conflict, trips], [Store.conflict({ ...record, revision }), ["EVALSHA"]])
          assert.deepStrictEqual((yield* commands(store.renew(token, 0, next, record)))[0], conflict)
          assert.deepStrictEqual((yield* commands(store.touch(token, revision, record.deadline + 5)))[1], ["EVALSHA"])
          assert.deepStrictEqual((yield* commands(store.renew(token, revision, next, record)))[1], ["EVALSHA"])
          assert.deepStrictEqual((yield* commands(store.remove(next)))[1], ["EVALSHA"])
        }))

      it.scoped("the server forgets a session, and a tombstone, 60 s or more after it is over", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          yield* TestClock.setTime(1_000_000_000_000)
          const within = (token: SessionToken.Token, expected: number) =>
            Effect.gen(function*() {
              const left = yield* Effect.flatMap(keyOf(token), (key) => Effect.promise(() => admin.pttl(key)))
              assert.isAtMost(left, expected)
              assert.isAbove(left, expected - 30_000)
            })
          const token = yield* createSession(store, {}, { deadline: 1_000_000_000_000 + hour })
          yield* within(token, hour + 60_000)
          const record = yield* recordOf(store, token)
          const updated = yield* store.update(token, 0, { ...record, deadline: record.deadline + hour })
          yield* within(token, 2 * hour + 60_000)
          yield* store.touch(token, revisionOf(updated), record.deadline + 2 * hour)
          yield* within(token, 3 * hour + 60_000)
          const next = yield* drawToken(token)
          yield* store.renew(token, revisionOf(updated), next, record)
          yield* within(next, hour + 60_000)
          yield* within(token, 120_000)
          yield* store.remove(next)
          yield* within(next, 120_000)

          const over = yield* createSession(store, {}, { deadline: 5 })
          yield* within(over, 60_000)
          const endless = yield* createSession(store, {}, { deadline: Number.MAX_SAFE_INTEGER, expiresAt: 1e300 })
          yield* within(endless, 3_155_760_000_000)
        }))

      it.scoped("S20 CVE-2024-35220: the reader's Clock judges, at exactly the deadline it is over for every operation", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const token = yield* createSession(store, { n: 1 })
          const record = yield* recordOf(store, token)
          yield* TestClock.adjust(hour - 1)
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
          yield* TestClock.adjust(1)
          const before = yield* dump(admin)
          assert.strictEqual(before.length, 1)
          assert.strictEqual(yield* dataOf(store, token), "None")
          assert.deepStrictEqual(yield* store.update(token, 0, record), Store.gone)
          assert.deepStrictEqual(yield* store.renew(token, 0, yield* drawToken(token), record), Store.gone)
          assert.deepStrictEqual(yield* store.touch(token, 0, record.deadline + hour), Store.gone)
          assert.deepStrictEqual(yield* dump(admin), before)
          assert.strictEqual((yield* store.create(token, yield* makeRecord({ n: 2 })))._tag, "Created")
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
        }))

      it.scoped("S05: a token in use is not taken, neither from a session nor from a tombstone, nor by a renewal", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { of: "thief" })
          const victim = yield* drawToken(token)
          yield* store.create(victim, yield* makeRecord({ of: "victim" }))
          assert.deepStrictEqual(yield* store.create(victim, yield* makeRecord({ of: "thief" })), Store.exists)
          const record = yield* recordOf(store, token)
          for (const next of [victim, token]) {
            const error = yield* failure(store.renew(token, 0, next, record))
            assert.include(String(error.cause), "in use")
          }
          assert.deepStrictEqual(yield* dataOf(store, victim), { of: "victim" })
          assert.deepStrictEqual(yield* dataOf(store, token), { of: "thief" })
          yield* store.remove(victim)
          assert.deepStrictEqual(yield* store.create(victim, record), Store.exists)
          assert.strictEqual(yield* dataOf(store, victim), "Superseded")
          yield* TestClock.adjust(60_000)
          assert.strictEqual(yield* dataOf(store, victim), "None")
          assert.strictEqual((yield* store.create(victim, record))._tag, "Created")
        }))

      it.scoped("CVE-2013-10075 S21: nothing but create makes a key", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const token = yield* drawToken()
          const record = yield* makeRecord({ n: 1 })
          assert.deepStrictEqual(yield* store.update(token, 0, record), Store.gone)
          assert.deepStrictEqual(yield* store.renew(token, 0, yield* drawToken(token), record), Store.gone)
          assert.deepStrictEqual(yield* store.touch(token, 0, record.deadline), Store.gone)
          yield* store.remove(token)
          assert.deepStrictEqual(yield* dump(admin), [])
        }))

      it.scoped("S21: touch moves the deadline forward, at its revision alone, never back, and leaves the data", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const token = yield* createSession(store, { text: "ä\u0000\n€😀" })
          const record = yield* recordOf(store, token)
          yield* TestClock.adjust(1000)
          yield* store.touch(token, 0, record.deadline + 1000)
          const touched = { ...record, deadline: record.deadline + 1000, touchedAt: 1000 }
          assert.deepStrictEqual(yield* recordOf(store, token), touched)
          const kept = yield* dump(admin)
          yield* TestClock.adjust(1000)
          assert.deepStrictEqual(yield* store.touch(token, 0, record.deadline), Store.touched(token))
          assert.deepStrictEqual(yield* store.touch(token, 7, record.deadline + hour), Store.touched(token))
          assert.deepStrictEqual(yield* dump(admin), kept)
        }))

      it.scoped("S15 S26 X05 CVE-2025-46336: what is in flight brings back neither a removed nor a renewed session", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const removed = yield* createSession(store, { n: 1 })
          const before = yield* recordOf(store, removed)
          yield* store.remove(removed)
          assert.deepStrictEqual(yield* store.update(removed, 0, before), Store.gone)
          assert.deepStrictEqual(yield* store.touch(removed, 0, before.deadline + 1), Store.gone)
          assert.deepStrictEqual(yield* store.renew(removed, 0, yield* drawToken(removed), before), Store.gone)
          assert.strictEqual(yield* dataOf(store, removed), "Superseded")

          const old = yield* createSession(store, { n: 2 })
          const next = yield* drawToken(old)
          const record = yield* recordOf(store, old)
          const [first, second] = yield* Effect.all([
            store.renew(old, 0, next, record),
            store.renew(old, 0, yield* drawToken(old), record)
          ], { concurrency: 2 })
          assert.sameMembers([first._tag, second._tag], ["Updated", "Gone"])
          assert.deepStrictEqual(yield* store.update(old, 0, record), Store.gone)
        }))

      it.scoped("C7: a logout with the old token ends the session that renewals made of it", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const first = yield* createSession(store, { n: 0 })
          const record = yield* recordOf(store, first)
          const second = yield* drawToken(first)
          const third = yield* drawToken(second)
          const renewed = revisionOf(yield* store.renew(first, 0, second, record))
          const again = revisionOf(yield* store.renew(second, renewed, third, record))
          assert.deepStrictEqual(yield* dataOf(store, third), { n: 0 })
          const [, commands] = yield* Fixture.sent(server, store.remove(first))
          assert.strictEqual(commands.filter((command) => command[0] === "EVALSHA").length, 3)
          for (const token of [first, second, third]) {
            assert.strictEqual(yield* dataOf(store, token), "Superseded")
          }
          assert.deepStrictEqual(yield* store.update(third, again, record), Store.gone)
        }))

      it.scoped("C7: a tombstone that no longer counts, or names nobody, is followed nowhere", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const token = yield* createSession(store, { n: 0 })
          const next = yield* drawToken(token)
          yield* store.renew(token, 0, next, yield* recordOf(store, token))
          yield* TestClock.adjust(60_000)
          yield* store.remove(token)
          assert.deepStrictEqual(yield* dataOf(store, next), { n: 0 })

          const plain = yield* drawToken()
          const key = yield* keyOf(plain)
          yield* Effect.promise(() => admin.set(key, `T ${"9".repeat(16)}`))
          assert.strictEqual(yield* dataOf(store, plain), "Superseded")
          yield* store.remove(plain)
          assert.strictEqual(yield* Effect.promise(() => admin.get(key)), `T ${"9".repeat(16)}`)
        }))

      it.scoped("C7: a renewal that a logout could not follow is refused", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { n: 0 })
          const stranger = SessionToken.draw((size) => new Uint8Array(size).fill(7))
          const error = yield* failure(store.renew(token, 0, stranger, yield* recordOf(store, token)))
          assert.include(String(error.cause), "is in another shard than the old one")
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 0 })
        }))

      it.scoped("D10: a logout ends a session that has expired by its clock for a clock that is behind, too", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { n: 1 })
          const record = yield* recordOf(store, token)
          const behind = { now: record.deadline - 3000 }
          yield* store.remove(token, { now: record.deadline + 1 })
          assert.deepStrictEqual(yield* store.load(token, behind), Store.superseded)
          assert.deepStrictEqual(yield* store.touch(token, 0, record.deadline + hour, behind), Store.gone)
        }))

      it.scoped(
        "S65: 100 parallel increments end at 100, and a removal among them is the last word",
        () =>
          Effect.gen(function*() {
            const { store } = yield* open
            const token = yield* createSession(store, { n: 0 })
            yield* Effect.forEach(Array(100), () => increment(store, token), { concurrency: "unbounded" })
            assert.deepStrictEqual(yield* dataOf(store, token), { n: 100 })
            const record = yield* recordOf(store, token)
            assert.isAtLeast(record.revision, 100)

            yield* Effect.all([
              store.remove(token),
              ...Array.from({ length: 20 }, (_, n) => store.update(token, record.revision, withData(record, { n }))),
              store.touch(token, record.revision, record.deadline + 1)
            ], { concurrency: "unbounded" })
            assert.strictEqual(yield* dataOf(store, token), "Superseded")
          }),
        120_000
      )

      it.scoped("after SCRIPT FLUSH each script is sent whole once, and nothing is noticed", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const token = yield* createSession(store, { n: 0 })
          yield* increment(store, token)
          yield* Effect.promise(() => admin.script("FLUSH"))
          const [, first] = yield* Fixture.sent(server, increment(store, token))
          assert.deepStrictEqual(first.map((command) => command[0]), ["GET", "EVALSHA", "EVAL"])
          const [, second] = yield* Fixture.sent(server, increment(store, token))
          assert.deepStrictEqual(second.map((command) => command[0]), ["GET", "EVALSHA"])
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 3 })
        }))

      it.scoped("S61: what is not ours is a fresh session, and is set aside for a week", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const torn = yield* drawToken()
          const body = yield* drawToken()
          const list = yield* drawToken()
          const [tornKey, bodyKey, listKey] = yield* Effect.all([keyOf(torn), keyOf(body), keyOf(list)])
          yield* Effect.promise(async () => {
            await admin.set(tornKey, "S 00000000000")
            await admin.set(bodyKey, `S ${"0".repeat(16)} ${"0".repeat(16)} ${"9".repeat(16)} abcdefghijkl {"v":1,"da`)
            await admin.rpush(listKey, "a")
          })
          for (const [token, key] of [[torn, tornKey], [body, bodyKey], [list, listKey]] as const) {
            assert.strictEqual(yield* dataOf(store, token), "None")
            assert.strictEqual(yield* Effect.promise(() => admin.exists(key)), 0)
            const left = yield* Effect.promise(() => admin.pttl(`${key}:undecodable`))
            assert.isAbove(left, 6 * 24 * hour)
          }
        }))

      it.scoped("what a later release wrote, be it body or layout, is not served, and no operation touches it", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const body = yield* drawToken()
          const layout = yield* drawToken()
          const [bodyKey, layoutKey] = yield* Effect.all([keyOf(body), keyOf(layout)])
          yield* Effect.promise(async () => {
            await admin.set(bodyKey, `S ${"0".repeat(16)} ${"0".repeat(16)} ${"9".repeat(16)} abcdefghijkl {"v":2}`)
            await admin.set(layoutKey, "S2 who knows")
          })
          const before = yield* dump(admin)
          const record = yield* makeRecord({})
          for (const token of [body, layout]) {
            assert.strictEqual(yield* dataOf(store, token), "None")
            assert.deepStrictEqual(yield* store.create(token, record), Store.exists)
          }
          assert.deepStrictEqual(yield* store.update(layout, 0, record), Store.gone)
          assert.deepStrictEqual(yield* store.touch(layout, 0, record.deadline), Store.gone)
          yield* store.remove(layout)
          assert.deepStrictEqual(yield* dump(admin), before)
        }))

      it.scoped("S66: a replica reads, and refuses every write with a typed error", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { n: 1 })
          const record = yield* recordOf(store, token)
          const replica = yield* Fixture.server("--replicaof", `127.0.0.1 ${server.port}`)
          const reader = yield* storeOf({ client: yield* connect(replica.url), prefix })
          yield* Effect.promise(() => replica.admin.info("replication")).pipe(
            Effect.repeat({ until: (info) => info.includes("master_link_status:up") })
          )
          yield* Effect.promise(() => server.admin.wait(1, 0))
          assert.deepStrictEqual(yield* dataOf(reader, token), { n: 1 })
          for (
            const write of [
              reader.create(yield* drawToken(), record),
              reader.update(token, 0, record),
              reader.renew(token, 0, yield* drawToken(token), record),
              reader.touch(token, 0, record.deadline + 1),
              reader.remove(token)
            ]
          ) {
            const error = yield* failure(write)
            assert.instanceOf(error, Store.StoreError)
            assert.strictEqual(error.reason, "Unavailable")
            assert.include(String(error.cause), "READONLY")
          }
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
        }))

      it.scoped("S66: a full server refuses writes whole, and still lets a session end", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const token = yield* createSession(store, { n: 1 })
          const record = yield* recordOf(store, token)
          const before = yield* dump(admin)
          yield* Effect.promise(() => admin.config("SET", "maxmemory", "1"))
          yield* Effect.addFinalizer(() => Effect.promise(() => admin.config("SET", "maxmemory", "0")))
          const next = yield* drawToken(token)
          for (
            const write of [
              store.create(yield* drawToken(), record),
              store.update(token, 0, record),
              store.renew(token, 0, next, record),
              store.touch(token, 0, record.deadline + 1)
            ]
          ) {
            const error = yield* failure(write)
            assert.strictEqual(error.reason, "Unavailable")
            assert.include(String(error.cause), "OOM")
            assert.deepStrictEqual(yield* dump(admin), before)
          }
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
          yield* store.remove(token)
          assert.strictEqual(yield* dataOf(store, token), "None")
          assert.deepStrictEqual(yield* store.update(token, 0, record), Store.gone)
        }))

      it.scoped("a session outlives the server's kill -9, and the client finds back by itself", () =>
        Effect.gen(function*() {
          const durable = yield* Fixture.server("--appendonly", "yes", "--appendfsync", "always")
          const store = yield* storeOf({ client: yield* connect(durable.url), prefix })
          const token = yield* createSession(store, { n: 1 })
          yield* durable.kill
          const meanwhile = yield* Effect.fork(Effect.exit(store.load(token)))
          yield* durable.start
          yield* Fiber.join(meanwhile)
          assert.deepStrictEqual((yield* Effect.retry(recordOf(store, token), Schedule.forever)).data, { n: 1 })
          assert.strictEqual((yield* increment(store, token))._tag, "Updated")
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
        }))

      it.scoped("S07: errors hold no token and no data of a session", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { card: "4111-1111" })
          const record = yield* recordOf(store, token)
          yield* Effect.promise(() => server.admin.config("SET", "maxmemory", "1"))
          yield* Effect.addFinalizer(() => Effect.promise(() => server.admin.config("SET", "maxmemory", "0")))
          const error = yield* failure(store.update(token, 0, record))
          const printed = [
            String(error),
            JSON.stringify(error),
            Inspectable.toStringUnknown(error),
            Cause.pretty(Cause.fail(error), { renderErrorCause: true }),
            inspect(error, { depth: 20, showHidden: true })
          ].join("\n")
          assert.include(printed, "OOM")
          assert.notInclude(printed, Redacted.value(token))
          assert.notInclude(printed, "4111")
        }))

      it.scopedLive("S66 S67: a server that hangs can be given up on at once, and is used again when it wakes", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { n: 1 })
          server.signal("SIGSTOP")
          for (const call of [store.load(token), store.remove(token).pipe(Effect.zipRight(store.load(token)))]) {
            const timed = yield* Effect.either(Effect.timeout(Effect.interruptible(call), 20))
            assert.isTrue(Either.isLeft(timed))
          }
          server.signal("SIGCONT")
          assert.strictEqual(yield* dataOf(store, token), "Superseded")
        }))

      it.scoped("a call whose answer was lost is carried out once, however the client goes on", () =>
        Effect.gen(function*() {
          const { admin, store: direct } = yield* open
          const proxy = yield* Fixture.proxy(server.port)
          const store = yield* storeOf({ client: yield* connect(proxy.url), prefix })
          // A read first, so that what is cut is not an answer to the client that is still connecting.
          const cut = <A>(effect: Effect.Effect<A, Store.StoreError>) =>
            Effect.either(store.load(yet)).pipe(
              Effect.zipRight(Effect.sync(proxy.cutNextReply)),
              Effect.zipRight(Effect.either(effect))
            )
          const yet = yield* drawToken()
          const warm = yield* createSession(direct, { n: 0 })
          const raised = revisionOf(yield* increment(direct, warm))
          yield* direct.touch(warm, raised, 0)
          const renewed = yield* drawToken(warm)
          yield* direct.renew(warm, raised, renewed, yield* makeRecord({}))
          yield* direct.remove(renewed)
          yield* Effect.promise(() => admin.flushall())

          const token = yield* drawToken()
          const next = yield* drawToken(token)
          const record = yield* makeRecord({ n: 0 })
          const answers: Array<Either.Either<unknown, Store.StoreError>> = [
            yield* cut(store.create(token, record)),
            yield* cut(store.update(token, 0, withData(record, { n: 1 })))
          ]
          const { revision } = yield* recordOf(direct, token)
          answers.push(
            yield* cut(store.touch(token, revision, record.deadline + 1)),
            yield* cut(store.renew(token, revision, next, withData(record, { n: 2 })))
          )
          const after = yield* recordOf(direct, next)
          assert.deepStrictEqual(after.data, { n: 2 })
          assert.isTrue(record.revision < revision && revision < after.revision)
          if (name === "ioredis") {
            assert.deepStrictEqual(answers, [
              Either.right(Store.created(token)),
              Either.right(Store.updated(token, revision)),
              Either.right(Store.touched(token)),
              Either.right(Store.updated(next, after.revision))
            ])
          } else {
            assert.deepStrictEqual(
              answers.map((answer) => Either.isLeft(answer) && answer.left.reason),
              Array(4).fill("Unavailable")
            )
          }
          assert.strictEqual(yield* dataOf(store, token), "Superseded")
          yield* cut(store.remove(next))
          assert.strictEqual(yield* dataOf(store, next), "Superseded")
          assert.strictEqual((yield* dump(admin)).length, 2)
        }))

      it.scoped("D4: a command that is sent again counts once, also after four other writers, and no longer", () =>
        Effect.gen(function*() {
          const { store: others } = yield* open
          const client = yield* connect(server.url)
          const runtime = yield* Effect.runtime()
          /** Sends the next script again when `between` has run, as after a cut connection, and gives that answer. */
          let between: Effect.Effect<unknown, Store.StoreError> = Effect.void
          const again = async <A>(send: () => Promise<A>): Promise<A> => {
            const first = await send()
            const run = between
            between = Effect.void
            await Runtime.runPromise(runtime)(run)
            return run === Effect.void ? first : send()
          }
          const resending = new Proxy(client, {
            get: (client, name, self) => {
              const value: unknown = Reflect.get(client, name, client)
              return typeof value !== "function"
                ? value
                : name === "withAbortSignal" || name === "withCommandOptions"
                ? () => self as unknown
                : name === "eval" || name === "evalSha" || name === "evalsha"
                ? (...args: Array<unknown>) => again(() => Reflect.apply(value, client, args) as Promise<unknown>)
                : value.bind(client) as unknown
            }
          })
          const store = yield* storeOf({ client: resending, prefix })
          const resent = <A>(
            call: Effect.Effect<A, Store.StoreError>,
            meanwhile: Effect.Effect<unknown, Store.StoreError>
          ) => Effect.zipRight(Effect.sync(() => between = meanwhile), call)
          const writers = (token: SessionToken.Token, count: number) =>
            Effect.repeatN(Effect.suspend(() => increment(others, token)), count - 1)

          for (const count of [1, 3, 4]) {
            const token = yield* drawToken()
            const created = yield* resent(store.create(token, yield* makeRecord({ n: 0 })), writers(token, count))
            assert.deepStrictEqual(created, Store.created(token))

            let record = yield* recordOf(others, token)
            const raised = withData(record, { n: Number(record.data["n"]) + 1 })
            const updated = yield* resent(store.update(token, record.revision, raised), writers(token, count))
            assert.strictEqual(updated._tag, "Updated")

            record = yield* recordOf(others, token)
            const extended = record.deadline + hour
            const touched = yield* resent(store.touch(token, record.revision, extended), writers(token, count))
            assert.deepStrictEqual(touched, Store.touched(token))

            record = yield* recordOf(others, token)
            const next = yield* drawToken(token)
            const renewed = yield* resent(store.renew(token, record.revision, next, record), writers(next, count))
            assert.strictEqual(renewed._tag, "Updated")
            assert.deepStrictEqual(yield* dataOf(store, next), { n: 4 * count + 1 })

            yield* resent(store.remove(next), others.remove(next))
            assert.strictEqual(yield* dataOf(store, next), "Superseded")
          }

          const renewing = (token: SessionToken.Token, next: SessionToken.Token) =>
            Effect.flatMap(recordOf(others, token), (record) => others.renew(token, record.revision, next, record))
          const old = yield* createSession(others, { n: 0 })
          const [second, third] = [yield* drawToken(old), yield* drawToken(old)]
          const before = yield* recordOf(others, old)
          const then = yield* resent(
            store.update(old, before.revision, withData(before, { n: 1 })),
            Effect.zipRight(writers(old, 3), renewing(old, second))
          )
          assert.strictEqual(then._tag, "Updated", "another renewed the session meanwhile")
          assert.deepStrictEqual(yield* dataOf(store, second), { n: 4 })
          const current = yield* recordOf(others, second)
          const renewed = yield* resent(
            store.renew(second, current.revision, third, current),
            Effect.suspend(() => Effect.flatMap(drawToken(third), (fourth) => renewing(third, fourth)))
          )
          assert.strictEqual(renewed._tag, "Updated", "another renewed the renewed session meanwhile")
          yield* resent(store.remove(old), Effect.void)
          assert.strictEqual(yield* dataOf(store, third), "Superseded")

          const token = yield* createSession(others, { n: 0 })
          const record = yield* recordOf(others, token)
          const late = yield* resent(
            store.update(token, record.revision, withData(record, { n: 1 })),
            writers(token, 5)
          )
          assert.strictEqual(late._tag, "Conflict")
        }))

      it.scoped("D4: what an older release wrote is read, and its next write remembers writers", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          const sample = yield* createSession(store, { n: 0 })
          const body = (yield* dump(admin))[0]!.replace(/^[^{]*[^ ]* = [^{]*/, "")
          yield* Effect.promise(() => admin.flushall())
          assert.match(body, /^\{"v":1,/)
          const token = yield* drawToken(sample)
          const key = yield* keyOf(token)
          const zeros = "0".repeat(16)
          const old = `S ${zeros} ${zeros} ${"9".repeat(16)} abcdefghijkl ${body}`
          yield* Effect.promise(() => admin.set(key, old))
          const record = yield* recordOf(store, token)
          assert.deepStrictEqual([record.data, record.revision, record.touchedAt], [{ n: 0 }, 0, 0])

          assert.deepStrictEqual(yield* store.create(token, record), Store.exists)
          assert.deepStrictEqual(yield* store.update(token, 5, record), Store.conflict(record))
          yield* store.touch(token, 0, record.deadline + 1)
          assert.strictEqual(yield* Effect.promise(() => admin.get(key)), old)
          assert.strictEqual((yield* increment(store, token))._tag, "Updated")
          assert.match(
            (yield* Effect.promise(() => admin.get(key)))!,
            /^W \d{16} \d{16} \d{16} [\w-]{12}abcdefghijkl\.{36} \{"v":1,/
          )
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })

          yield* Effect.promise(() => admin.set(key, old))
          const next = yield* drawToken(token)
          assert.strictEqual((yield* store.renew(token, 0, next, record))._tag, "Updated")
          assert.deepStrictEqual(yield* dataOf(store, next), { n: 0 })

          yield* Effect.promise(() => admin.set(key, old))
          yield* store.remove(token)
          assert.strictEqual(yield* dataOf(store, token), "Superseded")
        }))

      it.scoped("a user who may do no more than is documented can do all, and touches no key outside the prefix", () =>
        Effect.gen(function*() {
          const { admin } = yield* open
          const permitted = [
            ..."eval evalsha get set getrange setrange pexpire pttl del exists rename".split(" "),
            ..."zadd zscore zrem zremrangebyscore zrevrange zscan publish subscribe unsubscribe".split(" ")
          ]
          const handshake = "client info".split(" ")
          yield* Effect.promise(() =>
            admin.acl(
              "SETUSER",
              "app",
              "on",
              ">secret",
              "resetchannels",
              `~${prefix}*`,
              `&${prefix}*`,
              ...[...permitted, ...handshake].map((c) => `+${c}`)
            )
          )
          yield* Effect.promise(() => admin.script("FLUSH"))
          const client = yield* connect(server.url.replace("//", "//app:secret@"))
          const services = yield* Layer.build(RedisStore.layer({ client, prefix }))
          const store = clocked(Context.get(services, Store.Store))
          const sessions = Context.get(services, Sessions.Sessions)
          const token = yield* createSession(store, { n: 0 }, { subject: "ann" })
          const next = yield* drawToken(token)
          const told = yield* Queue.unbounded<void>()
          yield* Effect.forkScoped(
            Stream.runForEach(store.watching!.changes(token), () => Queue.offer(told, undefined))
          )
          yield* Queue.take(told)
          yield* increment(store, token)
          yield* Queue.take(told)
          const record = yield* recordOf(store, token)
          yield* store.touch(token, record.revision, record.deadline + 1)
          yield* store.renew(token, record.revision, next, record)
          yield* Queue.take(told)
          yield* store.remove(next)
          assert.strictEqual(yield* dataOf(store, next), "Superseded")
          yield* createSession(store, { n: 0 }, { subject: "ann" })
          assert.strictEqual(yield* sessions.count("ann"), 1)
          assert.strictEqual(yield* sessions.revokeAll("ann"), 1)
          assert.strictEqual(yield* Queue.size(told), 0)
          const refusals = yield* Effect.promise(() => admin.acl("LOG"))
          assert.deepStrictEqual(refusals, [])
          const torn = yield* drawToken()
          const key = yield* keyOf(torn)
          yield* Effect.promise(() => admin.rpush(key, "a"))
          assert.strictEqual(yield* dataOf(store, torn), "None")
          assert.strictEqual(yield* Effect.promise(() => admin.exists(key)), 0)

          const elsewhere = yield* storeOf({ client, prefix: "other:" })
          const error = yield* failure(createSession(elsewhere, {}))
          assert.include(String(error.cause), "NOPERM")
        }))

      it.scoped("another's write is a conflict, also when it says the same", () =>
        Effect.gen(function*() {
          const { store } = yield* open
          const token = yield* createSession(store, { n: 0 })
          const record = withData(yield* recordOf(store, token), { n: 1 })
          const revision = revisionOf(yield* store.update(token, 0, record))
          assert.deepStrictEqual(yield* store.update(token, 0, record), Store.conflict({ ...record, revision }))
        }))

      it.scoped("D5: after a restored backup, a writer that read a lost write gets a Conflict, also where another wrote since", () =>
        Effect.gen(function*() {
          const { admin, store } = yield* open
          yield* writersOfALostRevision(store, (token) =>
            Effect.gen(function*() {
              const key = yield* keyOf(token)
              const dump = yield* Effect.promise(() => admin.dumpBuffer(key))
              return Effect.promise(() => admin.restore(key, 0, dump!, "REPLACE"))
            }))
        }))
    })
  }

  it.scoped("redis: a write given up on while the server was away is not sent when it is back", () =>
    Effect.gen(function*() {
      const server = yield* Fixture.server()
      const proxy = yield* Fixture.proxy(server.port)
      const client = yield* Fixture.nodeRedis(proxy.url)
      const calls = vi.spyOn(client, "withAbortSignal").mock.calls
      const store = yield* storeOf({ client, prefix })
      yield* createSession(store, { n: 0 })
      assert.strictEqual(calls.length, 0)
      const away = new Promise<void>((resolve) => client.once("reconnecting", resolve))
      proxy.down()
      yield* Effect.promise(() => away)
      const queue = (n: number) =>
        Effect.tap(
          Effect.fork(createSession(store, { n })),
          () => Effect.repeat(Effect.yieldNow(), { until: () => calls.length === n })
        )
      yield* Fiber.interrupt(yield* queue(1))
      const kept = yield* queue(2)
      proxy.up()
      const token = yield* Fiber.join(kept)
      assert.strictEqual((yield* dump(server.admin)).length, 2)
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
    }))

  it.scoped("redis: a write that waits for the server has the time that the store gives it, not the client's", () =>
    Effect.gen(function*() {
      const server = yield* Fixture.server()
      const proxy = yield* Fixture.proxy(server.port)
      const client = yield* Fixture.nodeRedis(proxy.url)
      const hasty = client.withCommandOptions({ timeout: 1 })
      const calls = vi.spyOn(hasty, "withAbortSignal").mock.calls
      const store = yield* storeOf({ client: hasty, prefix })
      const away = new Promise<void>((resolve) => client.once("reconnecting", resolve))
      proxy.down()
      yield* Effect.promise(() => away)
      const waiting = yield* Effect.fork(createSession(store, { n: 1 }))
      yield* Effect.repeat(Effect.yieldNow(), { until: () => calls.length === 1 })
      proxy.up()
      // the client waits for 10 ms at least before it connects again
      assert.deepStrictEqual(yield* dataOf(store, yield* Fiber.join(waiting)), { n: 1 })
    }))

  it.scoped("redis: pools, RESP 3 and replies as bytes do the same", () =>
    Effect.gen(function*() {
      const server = yield* Fixture.server()
      const { url } = server
      const pool = createClientPool({ url }).on("error", () => {})
      const resp3 = createClient({ url, RESP: 3 }).on("error", () => {})
      yield* Effect.acquireRelease(
        Effect.promise(() => Promise.all([pool.connect(), resp3.connect()])),
        () => Effect.sync(() => [pool.destroy(), resp3.destroy()])
      )
      const bytes = (yield* Fixture.nodeRedis(url)).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
      const clients: ReadonlyArray<RedisStore.Client> = [pool, resp3, bytes]
      for (const client of clients) {
        const store = yield* storeOf({ client, prefix })
        const token = yield* createSession(store, { text: "€", n: 0 })
        yield* Effect.forEach(Array(10), () => increment(store, token), { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* dataOf(store, token), { n: 10 })
        const record = yield* recordOf(store, token)
        assert.deepStrictEqual(yield* store.update(token, 3, record), Store.conflict(record))
        yield* store.remove(token)
        assert.strictEqual(yield* dataOf(store, token), "Superseded")
      }
    }))
})
