import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as RedisStore from "effect-session/RedisStore"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import * as Fixture from "./fixtures/redis.js"
import { clocked } from "./support/clocked.js"
import { createSession, dataOf, drawToken, increment, makeRecord, recordOf, revisionOf } from "./support/records.js"

const prefix = "test:"

const isInstalled = await Fixture.isInstalled()

const keyOf = (token: SessionToken.Token) =>
  Effect.map(SessionToken.toId(token), (id) => `${prefix}{${SessionToken.shard(token)}}${id}`)

describe.skipIf(!isInstalled)(isInstalled ? "RedisStore on a cluster" : "skipped: no redis-server here", () => {
  const scope = Effect.runSync(Scope.make())
  let cluster: Fixture.ClusterOf
  beforeAll(async () => {
    cluster = await Effect.runPromise(Scope.extend(Fixture.cluster(3), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const [index, name] of ["redis", "ioredis"].entries()) {
    describe(name, () => {
      const connect = Effect.suspend(() => cluster.clients[index]!.connect)

      const open = Effect.gen(function*() {
        yield* Effect.promise(() => Promise.all(cluster.nodes.map(({ admin }) => admin.flushall())))
        assert.strictEqual(cluster.clients[index]!.name, name)
        return clocked(yield* RedisStore.make({ client: yield* connect, prefix }))
      })

      /** What each node was sent, without what the clients ask of the cluster for themselves. */
      const sent = <A, E>(effect: Effect.Effect<A, E>) => {
        const [first, second, third] = cluster.nodes as [Fixture.Server, Fixture.Server, Fixture.Server]
        return Effect.map(
          Fixture.sent(first, Fixture.sent(second, Fixture.sent(third, effect))),
          ([[[, c], b], a]) =>
            [a, b, c].flat().map((command) => command[0]).filter((command) =>
              command === "GET" || command?.startsWith("EVAL")
            )
        )
      }

      it.scoped("sessions spread over all nodes, and no client is sent from one to another", () =>
        Effect.gen(function*() {
          const store = yield* open
          const tokens = yield* Effect.forEach(Array(60), (_, n) => createSession(store, { n }), { concurrency: 10 })
          const sizes = yield* Effect.promise(() => Promise.all(cluster.nodes.map(({ admin }) => admin.dbsize())))
          assert.strictEqual(sizes.reduce((a, b) => a + b), 60)
          assert.isTrue(sizes.every((size) => size > 0), sizes.join())
          const data = yield* Effect.forEach(tokens, (token) => dataOf(store, token), { concurrency: 10 })
          assert.deepStrictEqual(data, Array.from({ length: 60 }, (_, n) => ({ n })))
          yield* Effect.forEach(tokens, (token) => store.touch(token, 0, 0))
          assert.deepStrictEqual(
            yield* sent(Effect.forEach(tokens, (token) => store.touch(token, 0, 0))),
            Array(60).fill("EVALSHA")
          )
        }))

      it.scoped("S11 S13 X05: a renewal stays in its slot, wherever that is, and is one step there", () =>
        Effect.gen(function*() {
          const store = yield* open
          const { admin } = cluster.nodes[0]!
          const slots = new Set<number>()
          yield* Effect.forEach(Array(40), () =>
            Effect.gen(function*() {
              const token = yield* createSession(store, { n: 0 })
              const next = yield* drawToken(token)
              const record = yield* recordOf(store, token)
              const answer = yield* store.renew(token, 0, next, record)
              assert.deepStrictEqual(answer, Store.updated(next, revisionOf(answer)))
              assert.strictEqual(yield* dataOf(store, token), "Superseded")
              assert.deepStrictEqual(yield* dataOf(store, next), { n: 0 })
              const [from, to] = yield* Effect.forEach([token, next], (token) =>
                Effect.flatMap(keyOf(token), (key) => Effect.promise(() => admin.cluster("KEYSLOT", key))))
              assert.strictEqual(from, to)
              slots.add(from!)
            }), { concurrency: 8 })
          assert.isAbove(slots.size, 30)
        }))

      it.scoped("C7: a logout with the old token ends the renewed session, wherever its slot is", () =>
        Effect.gen(function*() {
          const store = yield* open
          yield* Effect.forEach(Array(20), () =>
            Effect.gen(function*() {
              const token = yield* createSession(store, { n: 0 })
              const next = yield* drawToken(token)
              yield* store.renew(token, 0, next, yield* recordOf(store, token))
              yield* store.remove(token)
              assert.strictEqual(yield* dataOf(store, next), "Superseded")
            }), { concurrency: 8 })
        }))

      it.scoped("S65: parallel increments are all kept, also when every node has lost its scripts", () =>
        Effect.gen(function*() {
          const store = yield* open
          const tokens = yield* Effect.forEach(Array(6), () => createSession(store, { n: 0 }))
          yield* Effect.promise(() => Promise.all(cluster.nodes.map(({ admin }) => admin.script("FLUSH"))))
          yield* Effect.forEach(
            tokens,
            (token) => Effect.forEach(Array(10), () => increment(store, token), { concurrency: "unbounded" }),
            { concurrency: "unbounded" }
          )
          for (const token of tokens) {
            assert.deepStrictEqual(yield* dataOf(store, token), { n: 10 })
          }
        }))

      it.scopedLive("a session is reached, written and renewed while its slot moves to another node, and after", () =>
        Effect.gen(function*() {
          const store = yield* open
          const token = yield* createSession(store, { n: 0 })
          const key = yield* keyOf(token)
          const { source, target } = yield* Effect.promise(async () => {
            const holders = await Promise.all(cluster.nodes.map(({ admin }) => admin.exists(key).catch(() => 0)))
            const at = holders.indexOf(1)
            return { source: cluster.nodes[at]!, target: cluster.nodes[(at + 1) % 3]! }
          })
          const { settle, slot } = yield* Effect.promise(async () => {
            const slot = await source.admin.cluster("KEYSLOT", key)
            const [from, to] = await Promise.all([source, target].map(({ admin }) => admin.cluster("MYID")))
            await target.admin.cluster("SETSLOT", slot, "IMPORTING", from!)
            await source.admin.cluster("SETSLOT", slot, "MIGRATING", to!)
            await target.admin.config("RESETSTAT")
            await source.admin.migrate("127.0.0.1", target.port, key, 0, 5000)
            const settle = async () => {
              await target.admin.cluster("SETSLOT", slot, "NODE", to!)
              await source.admin.cluster("SETSLOT", slot, "NODE", to!)
            }
            return { settle, slot }
          })
          assert.isNumber(slot)
          const revision = revisionOf(yield* increment(store, token))
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
          const next = yield* drawToken(token)
          const record = yield* makeRecord({ n: 5 })
          const [, asked] = yield* Fixture.sent(
            target,
            Effect.gen(function*() {
              const renewal = yield* Effect.fork(store.renew(token, revision, next, record))
              // the node that has one key of the two tells a client to try again
              yield* Effect.repeat(
                Effect.promise(() => target.admin.info("errorstats")),
                { until: (stats) => stats.includes("errorstat_TRYAGAIN") }
              )
              yield* Effect.promise(settle)
              const answer = yield* Fiber.join(renewal)
              assert.deepStrictEqual(answer, Store.updated(next, revisionOf(answer, revision)))
            })
          )
          assert.include(asked.map((command) => command[0]), "ASKING")
          assert.strictEqual(yield* dataOf(store, token), "Superseded")
          assert.deepStrictEqual(yield* dataOf(store, next), { n: 5 })
          assert.strictEqual((yield* increment(store, next))._tag, "Updated")
        }))

      StoreLawsSuite.suite("the laws", {
        layer: Layer.unwrapEffect(Effect.sync(() => RedisStore.layer({ client: connect, prefix: "laws:" }))),
        clock: "test",
        thoroughness: 0.1
      })
    })
  }
})
