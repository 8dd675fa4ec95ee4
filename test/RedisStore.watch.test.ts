/**
 * RedisStore tells of changes: who is told of what, by whom, and what a lost connection does to it.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Option, Queue, Scope, Stream, TestClock } from "effect"
import * as RedisStore from "effect-session/RedisStore"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import { Cluster, Redis } from "ioredis"
import { once } from "node:events"
import * as net from "node:net"
import { createClient, createClientPool, createCluster, createSentinel } from "redis"
import * as Listener from "../src/internal/redisStore/listener.js"
import * as Subscriber from "../src/internal/redisStore/subscriber.js"
import * as Fixture from "./fixtures/redis.js"
import { callNow, clocked, createSession, drawToken, hour, recordOf, withData } from "./support/records.js"

const prefix = "test:"

const isInstalled = await Fixture.isInstalled()

const pubSubs = Object.fromEntries(Fixture.clients.map(({ connect, name }) => [name, connect]))

const resp2 = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(() => createClient({ url, RESP: 2 }).on("error", () => {}).connect()),
    (client) => Effect.sync(() => client.destroy())
  )

/** A server that can say to whoever listens there that it moves to where it is, as one of Redis Enterprise does. */
const moving = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const listening = new Set<net.Socket>()
      const sockets = new Set<net.Socket>()
      const proxy = net.createServer((inward) => {
        const outward = net.connect(port, "127.0.0.1")
        for (const [from, to] of [[inward, outward], [outward, inward]] as const) {
          sockets.add(from)
          from.on("error", () => {}).on("close", () => to.destroy()).pipe(to)
        }
        inward.on("data", (chunk) => /subscribe/i.test(String(chunk)) && listening.add(inward))
      }).listen(0, "127.0.0.1")
      await once(proxy, "listening")
      const host = `127.0.0.1:${(proxy.address() as net.AddressInfo).port}`
      return {
        url: `redis://${host}`,
        move: () =>
          listening.forEach((socket) =>
            socket.write(`>4\r\n$6\r\nMOVING\r\n:1\r\n:1\r\n$${host.length}\r\n${host}\r\n`)
          ),
        close: () => {
          sockets.forEach((socket) => socket.destroy())
          proxy.close()
        }
      }
    }),
    ({ close }) => Effect.sync(close)
  )

const watching = (store: Store.Store): Store.Watching => {
  assert.isDefined(store.watching)
  return store.watching as Store.Watching
}

/** Watches a session: each change comes into the queue, the first when the subscription stands. */
const watch = (store: Store.Store, token: SessionToken.Token) =>
  Effect.gen(function*() {
    const told = yield* Queue.unbounded<void>()
    const fiber = yield* Effect.forkScoped(
      Stream.runForEach(watching(store).changes(token), () => Queue.offer(told, undefined))
    )
    return { told, fiber }
  })

/** The same, when it is subscribed. */
const watched = (store: Store.Store, token: SessionToken.Token) =>
  Effect.tap(watch(store, token), ({ told }) => Queue.take(told))

const channelOf = (token: SessionToken.Token) =>
  Effect.map(SessionToken.toId(token), (id) => `${prefix}{${SessionToken.shard(token)}}${id}`)

/** How many subscribe to each channel that there is. */
const subscribers = (admin: Redis) =>
  Effect.promise(async () => {
    const channels = await admin.pubsub("CHANNELS", `${prefix}*`) as Array<string>
    return channels.length === 0 ? [] : (await admin.pubsub("NUMSUB", ...channels) as Array<string | number>)
  })

/** How many connections listen. */
const listening = (admin: Redis) =>
  Effect.promise(async () => {
    const list = String(await admin.call("CLIENT", "LIST", "TYPE", "PUBSUB"))
    return list.split("\n").filter((line) => line !== "").length
  })

const until = <A>(effect: Effect.Effect<A>, holds: (value: A) => boolean) => Effect.repeat(effect, { until: holds })

const update = (store: Store.Store, token: SessionToken.Token, n: number) =>
  Effect.gen(function*() {
    const record = yield* recordOf(store, token)
    const answer = yield* clocked(store).update(token, record.revision, withData(record, { n }))
    assert.strictEqual(answer._tag, "Updated")
  })

/** What is logged meanwhile of changes, with its level. */
const recorded = () => {
  const lines: Array<string> = []
  const layer = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ logLevel, message }) => {
      const text = String(message)
      if (text.startsWith("RedisStore: changes")) {
        lines.push(`${logLevel.label} ${text}`)
      }
    })
  )
  return { layer, lines }
}

/**
 * What each way of telling has to keep, whoever wrote. In a cluster, where messages pass from node to node, one of before
 * the subscription may be heard after it.
 */
const tells = (
  open: Effect.Effect<Store.Store, unknown, Scope.Scope>,
  others: Effect.Effect<readonly [Store.Store, Sessions.Service], unknown, Scope.Scope>,
  inCluster: boolean
) =>
  Effect.gen(function*() {
    const store = yield* open
    const [other, sessions] = yield* others
    assert.isTrue(watching(store).complete)
    const token = yield* createSession(other, { n: 0 }, { subject: "ann" })
    const bystander = yield* createSession(other, { n: 0 })
    const first = yield* watched(store, token)
    const quiet = yield* watched(store, bystander)

    yield* update(other, token, 1)
    yield* Queue.take(first.told)

    const record = yield* recordOf(other, token)
    yield* clocked(other).touch(token, record.revision, record.deadline + hour)
    yield* clocked(other).update(token, record.revision + 1, record)
    const next = yield* drawToken(token)
    assert.strictEqual((yield* clocked(other).renew(token, record.revision, next, record))._tag, "Updated")
    yield* Queue.take(first.told)
    assert.deepStrictEqual(yield* watching(store).ending(token, yield* callNow), Option.some("renewed"))

    const successor = yield* watched(store, next)
    assert.isTrue(yield* sessions.revoke(yield* SessionToken.toId(token)))
    yield* Queue.take(successor.told)
    assert.deepStrictEqual(yield* watching(store).ending(next, yield* callNow), Option.some("revoked"))

    const destroyed = yield* createSession(other, { n: 0 })
    const last = yield* watched(store, destroyed)
    yield* clocked(other).remove(destroyed)
    yield* Queue.take(last.told)
    assert.deepStrictEqual(yield* watching(store).ending(destroyed, yield* callNow), Option.some("destroyed"))

    // messages of one connection come in order, so that what a touch or a refused write said would be there
    for (const { told } of inCluster ? [] : [first, quiet, successor, last]) {
      assert.strictEqual(yield* Queue.size(told), 0)
    }
  })

const services = (options: RedisStore.Options) =>
  Effect.map(
    Layer.build(RedisStore.layer(options)),
    (context) => [Context.get(context, Store.Store), Context.get(context, Sessions.Sessions)] as const
  )

const storeOf = (options: RedisStore.Options) => Effect.map(services(options), ([store]) => store)

describe.skipIf(!isInstalled)(isInstalled ? "RedisStore tells of changes" : "skipped: no redis-server here", () => {
  const scope = Effect.runSync(Scope.make())
  let server: Fixture.Server
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.extend(Fixture.server(), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const others = Effect.suspend(() => services({ url: server.url, prefix }))

  const ways: ReadonlyArray<{
    readonly name: string
    readonly options: (url: string) => Effect.Effect<RedisStore.Options, never, Scope.Scope>
  }> = [
    { name: "url", options: (url) => Effect.succeed({ url, prefix }) },
    ...Fixture.clients.map(({ connect, name }) => ({
      name,
      options: (url: string) => Effect.map(connect(url), (client): RedisStore.Options => ({ client, prefix }))
    })),
    {
      name: "a pool with a prefix of its own",
      options: (url) =>
        Effect.map(
          Effect.acquireRelease(
            Effect.promise(async () => {
              const client = createClientPool({ url, keyPrefix: Buffer.from(prefix) }).on("error", () => {})
              await client.connect()
              return client
            }),
            (client) => Effect.sync(() => client.destroy())
          ),
          (client): RedisStore.Options => ({ client, prefix: "" })
        )
    },
    {
      name: "redis with a prefix of its own",
      options: (url) =>
        Effect.map(
          Effect.acquireRelease(
            Effect.promise(() => createClient({ url, keyPrefix: prefix }).on("error", () => {}).connect()),
            (client) => Effect.sync(() => client.destroy())
          ),
          (client): RedisStore.Options => ({ client, prefix: "" })
        )
    },
    {
      name: "ioredis with a prefix of its own",
      options: (url) =>
        Effect.map(
          Effect.acquireRelease(
            Effect.sync(() => new Redis(url, { keyPrefix: prefix }).on("error", () => {})),
            (client) => Effect.sync(() => client.disconnect())
          ),
          (client): RedisStore.Options => ({ client, prefix: "" })
        )
    }
  ]

  for (const { name, options } of ways) {
    describe(name, () => {
      it.scopedLive("another client's update, renewal, removal and revocation are told, a touch and a refusal are not", () =>
        tells(Effect.flatMap(options(server.url), storeOf), others, false))

      it.scopedLive("a thousand watchers of a session are one subscription, and all watchers of a store one connection", () =>
        Effect.gen(function*() {
          const { admin } = server
          const store = yield* Effect.flatMap(options(server.url), storeOf)
          const [token, second] = [yield* createSession(store, { n: 0 }), yield* createSession(store, { n: 0 })]
          assert.strictEqual(yield* listening(admin), 0)
          yield* Effect.scoped(Effect.gen(function*() {
            const all = yield* Effect.forEach(Array.from({ length: 1000 }), () => watched(store, token))
            assert.deepStrictEqual(yield* subscribers(admin), [yield* channelOf(token), 1])
            yield* Effect.scoped(Effect.gen(function*() {
              yield* watched(store, second)
              assert.lengthOf(yield* subscribers(admin), 4)
              assert.strictEqual(yield* listening(admin), 1)
            }))
            yield* until(subscribers(admin), (found) => found.length === 2)
            yield* update(store, token, 1)
            yield* Effect.forEach(all, ({ told }) => Queue.take(told))
            yield* Effect.forEach(all.slice(1), ({ fiber }) => Fiber.interrupt(fiber))
            yield* update(store, token, 2)
            yield* Queue.take(all[0]!.told)
          }))
          yield* until(listening(admin), (connections) => connections === 0)
          // and it opens again
          yield* Effect.scoped(watched(store, token))
          yield* until(listening(admin), (connections) => connections === 0)
        }))

      it.scopedLive("after the server was away, each watched session is told once more, and changes are told again", () =>
        Effect.gen(function*() {
          const { layer, lines } = recorded()
          const own = yield* Fixture.server("--appendonly", "yes", "--appendfsync", "always")
          const store = yield* Effect.flatMap(options(own.url), storeOf).pipe(Effect.provide(layer))
          const tokens = [yield* createSession(store, { n: 0 }), yield* createSession(store, { n: 0 })]
          const watchers = yield* Effect.forEach(tokens, (token) => watched(store, token))
          yield* own.kill
          // while it is away, a watcher is told to ask
          yield* Effect.forEach(watchers, ({ told }) => Queue.take(told))
          yield* own.start
          yield* until(subscribers(own.admin), (found) => found.length === 4)
          yield* until(Effect.sync(() => lines.length), (count) => count === 2)
          assert.deepStrictEqual(lines, [
            "WARN RedisStore: changes of sessions are not heard, whoever watches one asks instead",
            "INFO RedisStore: changes of sessions are heard again"
          ])
          for (const [index, token] of tokens.entries()) {
            const { told } = watchers[index]!
            yield* Queue.take(told)
            yield* Queue.takeAll(told)
            yield* update(store, token, 1)
            yield* Queue.take(told)
          }
        }))

      it.scopedLive("a connection that is killed is opened again", () =>
        Effect.gen(function*() {
          const { admin } = server
          const store = yield* Effect.flatMap(options(server.url), storeOf)
          const token = yield* createSession(store, { n: 0 })
          const { told } = yield* watched(store, token)
          for (const n of [1, 2]) {
            yield* Effect.promise(() => admin.client("KILL", "TYPE", "pubsub"))
            // the loss, and the new subscription
            yield* Effect.zipRight(Queue.take(told), Queue.take(told))
            yield* update(store, token, n)
            yield* Queue.take(told)
          }
        }))

      it.scopedLive("a store ends with its watchers, whether the server is there or not", () =>
        Effect.gen(function*() {
          const own = yield* Fixture.server()
          const token = yield* drawToken()
          yield* Effect.scoped(Effect.gen(function*() {
            const store = yield* Effect.flatMap(options(own.url), storeOf)
            yield* watched(store, token)
          }))
          yield* until(listening(own.admin), (connections) => connections === 0)
          yield* Effect.scoped(Effect.gen(function*() {
            const store = yield* Effect.flatMap(options(own.url), storeOf)
            yield* own.kill
            yield* watched(store, token)
          }))
        }).pipe(Effect.provide(recorded().layer)))
    })
  }

  it.scopedLive("watchers that begin together share one connection, wherever their fibers yield", () =>
    Effect.gen(function*() {
      const opened: Array<number> = []
      const listener = yield* Listener.make(() =>
        Effect.sync(() => {
          opened.push(opened.length)
          return { subscribe: () => Effect.void, unsubscribe: () => Effect.void, lost: Effect.never }
        })
      )
      for (let operations = 30; operations < 200; operations++) {
        opened.length = 0
        yield* Effect.forEach(
          ["a", "b", "c"],
          (channel) => Stream.runDrain(Stream.take(listener.changes(channel), 1)),
          { concurrency: "unbounded" }
        ).pipe(Effect.withMaxOpsBeforeYield(operations))
        assert.deepStrictEqual(opened, [0], `yields after ${operations} operations`)
      }
    }))

  const silent: Subscriber.Subscriber = {
    subscribe: () => Effect.void,
    unsubscribe: () => Effect.void,
    lost: Effect.never
  }

  it.scoped("a connection that is open and says nothing any more is replaced", () =>
    Effect.gen(function*() {
      let opened = 0
      const listener = yield* Listener.make(() =>
        Effect.sync(() => opened++ === 0 ? { ...silent, unsubscribe: () => Effect.never } : silent)
      )
      const told = yield* Queue.unbounded<void>()
      yield* Effect.forkScoped(Stream.runForEach(listener.changes("a"), () => Queue.offer(told, undefined)))
      yield* Queue.take(told)
      yield* TestClock.adjust("16 seconds")
      // that it is lost, and that the subscription stands again
      assert.strictEqual(yield* Queue.size(told), 2)
      assert.strictEqual(opened, 2)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Queue.size(told), 2)
    }).pipe(Effect.provide(recorded().layer)))

  it.scoped("a server that cuts each connection that listens is asked for another ever more seldom", () =>
    Effect.gen(function*() {
      let opened = 0
      let lasting = Effect.sleep("1 millis")
      const listener = yield* Listener.make(() =>
        Effect.sync(() => {
          opened++
          return { ...silent, lost: Effect.zipRight(lasting, Effect.fail(new Error("cut"))) }
        })
      )
      yield* Effect.forkScoped(Stream.runDrain(listener.changes("a")))
      yield* TestClock.adjust("10 seconds")
      assert.isAtMost(opened, 10)
      // one that has stood for a while is replaced soon
      lasting = Effect.sleep("10 seconds")
      yield* TestClock.adjust("6 seconds")
      opened = 0
      yield* TestClock.adjust("101 seconds")
      assert.strictEqual(opened, 10)
    }).pipe(Effect.provide(recorded().layer)))

  for (const [name, connect] of Object.entries({ ...pubSubs, "redis by RESP2": resp2 })) {
    it.scopedLive(`${name}: a connection that listens answers that it does not listen to what it did not`, () =>
      Effect.gen(function*() {
        const open = Subscriber.fromClient(yield* connect(server.url)) as Subscriber.Open
        const heard = yield* Queue.unbounded<string>()
        const subscriber = yield* open((channel) => void heard.unsafeOffer(channel))
        yield* subscriber.unsubscribe([""])
        yield* subscriber.subscribe(["test:a"])
        yield* subscriber.unsubscribe([""])
        yield* Effect.promise(() => server.admin.publish("test:a", ""))
        assert.strictEqual(yield* Queue.take(heard), "test:a")
      }))
  }

  it.scopedLive("a server that is about to move is heard on, though the client could follow it by itself", () =>
    Effect.gen(function*() {
      const proxy = yield* moving(server.port)
      const store = yield* storeOf({ url: proxy.url, prefix })
      const token = yield* createSession(store, { n: 0 })
      const { told } = yield* watched(store, token)
      proxy.move()
      // answered after the client has heard of the move, and after it has moved, if it does
      yield* watched(store, yield* drawToken())
      yield* watched(store, yield* drawToken())
      yield* update(store, token, 1)
      yield* Queue.take(told)
    }))

  it.scopedLive("who watches when the store's layer is closed is told that no more will be told", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const store = yield* Scope.extend(storeOf({ url: server.url, prefix }), scope)
      const { fiber } = yield* watched(store, yield* drawToken())
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.void)
    }))

  it.scopedLive("a user who may not subscribe or publish reads and writes, and whoever watches asks instead", () =>
    Effect.gen(function*() {
      const { admin, url } = server
      const { layer, lines } = recorded()
      yield* Effect.promise(() =>
        admin.acl("SETUSER", "deaf", "on", ">secret", "resetchannels", `~${prefix}*`, "+@all", "-publish", "-subscribe")
      )
      const store = yield* storeOf({ url: url.replace("//", "//deaf:secret@"), prefix }).pipe(Effect.provide(layer))
      const token = yield* createSession(store, { n: 0 })
      const { told } = yield* watched(store, token)
      yield* Queue.take(told)
      yield* update(store, token, 1)
      assert.deepStrictEqual(lines, [
        "WARN RedisStore: changes of sessions are not heard, whoever watches one asks instead"
      ])
    }))

  it.effect("a client from which no connection can be had is asked instead", () =>
    Effect.scoped(Effect.gen(function*() {
      const client = createSentinel({ name: "main", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] })
      const store = yield* storeOf({ client, prefix })
      assert.isFalse(watching(store).complete)
      yield* watched(store, yield* drawToken())
    })))
})

describe.skipIf(!isInstalled)(isInstalled ? "RedisStore on a cluster" : "skipped: no redis-server here", () => {
  const scope = Effect.runSync(Scope.make())
  let cluster: Fixture.ClusterOf
  beforeAll(async () => {
    cluster = await Effect.runPromise(Scope.extend(Fixture.cluster(3), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const [index, name] of ["redis", "ioredis"].entries()) {
    const connect = Effect.suspend(() => cluster.clients[index]!.connect)

    it.scopedLive(`${name}: what a client of one node wrote is told by another, and a lost connection is replaced`, () =>
      Effect.gen(function*() {
        const open = Effect.flatMap(connect, (client) => services({ client, prefix }))
        for (let round = 0; round < 4; round++) {
          yield* tells(Effect.map(open, ([store]) => store), open, true)
        }
        const [store] = yield* open
        const token = yield* createSession(store, { n: 0 })
        const { told } = yield* watched(store, token)
        const kill = Effect.promise(() =>
          Promise.all(cluster.nodes.map(({ admin }) => admin.client("KILL", "TYPE", "pubsub")))
        )
        yield* kill
        yield* Effect.zipRight(Queue.take(told), Queue.take(told))
        yield* update(store, token, 1)
        yield* Queue.take(told)
      }).pipe(Effect.provide(recorded().layer)))
  }

  for (const name of ["redis", "ioredis"]) {
    it.scopedLive(`${name}: a prefix of the cluster client's own is that of what it is told, too`, () =>
      Effect.gen(function*() {
        const client = yield* Effect.acquireRelease(
          Effect.promise(async () => {
            const ports = cluster.nodes.map(({ port }) => port)
            if (name === "ioredis") {
              return new Cluster(ports.map((port) => ({ host: "127.0.0.1", port })), { keyPrefix: prefix })
            }
            const client = createCluster({
              rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })),
              keyPrefix: prefix
            })
            return client.on("error", () => {}).connect()
          }),
          (client) => Effect.sync(() => client instanceof Cluster ? client.disconnect() : client.destroy())
        )
        const store = yield* storeOf({ client, prefix: "" })
        const token = yield* createSession(store, { n: 0 })
        const { told } = yield* watched(store, token)
        yield* update(store, token, 1)
        yield* Queue.take(told)
      }).pipe(Effect.provide(recorded().layer)))
  }
})
