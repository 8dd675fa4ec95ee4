/**
 * RedisStore fails loudly and cleanly: a server that is not there, goes and comes, a client that is not connected, and
 * the client that the store makes by itself.
 */
import { HttpApp, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigError, ConfigProvider, Effect, Fiber, Layer, Logger, Option, Redacted, Schema } from "effect"
import { CookieState, HttpMiddleware, SessionField, SessionPolicy } from "effect-session"
import * as RedisStore from "effect-session/RedisStore"
import * as Store from "effect-session/Store"
import { Redis } from "ioredis"
import * as diagnostics from "node:diagnostics_channel"
import * as fs from "node:fs"
import type * as net from "node:net"
import { createClient } from "redis"
import { vi } from "vitest"
import { printable } from "../src/internal/redisStore/commands.js"
import * as Fixture from "./fixtures/redis.js"
import { clocked } from "./support/clocked.js"
import { createSession, dataOf } from "./support/records.js"

const prefix = "test:"

/** Each way to reach a server that may be down. */
const ways: ReadonlyArray<{
  readonly name: string
  readonly options: (url: string) => RedisStore.Options
}> = [
  { name: "url", options: (url) => ({ url, prefix }) },
  {
    name: "redis",
    options: (url) => ({
      prefix,
      client: Effect.acquireRelease(
        Effect.sync(() => {
          const client = createClient({ url }).on("error", () => {})
          void client.connect()
          return client
        }),
        (client) => Effect.sync(() => client.destroy())
      )
    } as RedisStore.Options)
  },
  {
    name: "ioredis",
    options: (url) => ({
      prefix,
      client: Effect.acquireRelease(
        Effect.sync(() => new Redis(url).on("error", () => {})),
        (client) => Effect.sync(() => client.disconnect())
      )
    } as RedisStore.Options)
  }
]

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

const app = Effect.map(SessionField.updateAndGet(Visits, (n) => n + 1), (n) => HttpServerResponse.text(String(n)))

/** What is logged meanwhile, with its level. */
const recorded = () => {
  const lines: Array<string> = []
  const layer = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
  )
  return { layer, lines }
}

const own = (lines: ReadonlyArray<string>) => lines.filter((line) => line.includes("RedisStore: "))

/** Waits for what a client or a server will do. */
const until = (holds: () => boolean) =>
  Effect.repeat(Effect.promise(() => new Promise((resolve) => setImmediate(resolve))), { until: holds })

/** Collects the connections that are opened meanwhile. */
const sockets = Effect.acquireRelease(
  Effect.sync(() => {
    const opened: Array<net.Socket> = []
    const listener = (message: unknown) => void opened.push((message as { readonly socket: net.Socket }).socket)
    diagnostics.subscribe("net.client.socket", listener)
    return { opened, listener }
  }),
  ({ listener }) => Effect.sync(() => diagnostics.unsubscribe("net.client.socket", listener))
)

/** Does something where the event loop polls, as whoever takes a request does: what it puts off comes right after. */
const whilePolling = (f: () => void) =>
  Effect.promise(() => new Promise<void>((resolve) => fs.stat("/", () => resolve(f()))))

const refused = (options: RedisStore.Options) =>
  Effect.map(Effect.flip(Effect.scoped(RedisStore.make(options))), (error) => {
    assert.isTrue(ConfigError.isConfigError(error))
    return String(error)
  })

const isInstalled = await Fixture.isInstalled()

describe.skipIf(!isInstalled)(
  isInstalled ? "RedisStore fails loudly and cleanly" : "skipped: no redis-server here",
  () => {
    for (const { name, options } of ways) {
      it.scopedLive(`S66 ${name}: down at start 503, then served; dies in use 503, comes back with its state`, () =>
        Effect.gen(function*() {
          const server = yield* Fixture.server("--appendonly", "yes", "--appendfsync", "always")
          yield* server.kill
          const { layer, lines } = recorded()
          const { dispose, handler } = HttpApp.toWebHandlerLayer(
            HttpMiddleware.session(app),
            Layer.mergeAll(
              CookieState.layer({ secure: false }),
              RedisStore.layer(options(server.url)),
              SessionPolicy.layer({ storeTimeout: "500 millis" })
            ).pipe(Layer.provideMerge(layer))
          )
          yield* Effect.addFinalizer(() => Effect.promise(dispose))
          let cookie = ""
          const visit = Effect.promise(async () => {
            const response = await handler(new Request("http://localhost/", { headers: { cookie } }))
            const set = response.headers.get("set-cookie")
            cookie = set?.split(";")[0] ?? cookie
            return { status: response.status, body: await response.text(), set }
          })
          const served = Effect.repeat(visit, { until: ({ status }) => status === 200 })
          const down = Effect.map(visit, ({ set, status }) => assert.deepStrictEqual([status, set], [503, null]))

          yield* down
          yield* server.start
          const first = Number((yield* served).body)
          yield* server.kill
          yield* down
          yield* server.start
          assert.isAtLeast(Number((yield* served).body), first + 1)
          yield* server.kill
          yield* down

          if (name === "url") {
            const told = own(lines)
            assert.match(told[0]!, /^WARN RedisStore: no connection to 127\.0\.0\.1:\d+, .*ECONNREFUSED/)
            const back = told.indexOf(`INFO RedisStore: connected to 127.0.0.1:${server.port}`)
            const before = told.slice(0, back)
            assert.isAbove(back, 0)
            assert.strictEqual(
              new Set(before).size,
              before.length,
              "the same is told once until the connection is back"
            )
          }
        }))
    }

    it.scopedLive("N2 url: a layer ends while the server is down, and leaves no connection, however far it got", () =>
      Effect.gen(function*() {
        const server = yield* Fixture.server()
        const build = Layer.build(RedisStore.layer({ url: server.url }))
        for (const turns of [0, 1, 5, 50]) {
          yield* Effect.scoped(Effect.zipRight(build, Effect.repeatN(Effect.promise(() => Promise.resolve()), turns)))
        }
        yield* Effect.scoped(Effect.gen(function*() {
          const store = clocked(yield* RedisStore.make({ url: server.url }))
          yield* createSession(store, { n: 0 })
        }))
        yield* Effect.repeat(
          Effect.promise(() => server.admin.client("LIST") as Promise<string>),
          { until: (list) => list.trim().split("\n").length === 1 }
        )
        yield* server.kill
        yield* Effect.scoped(build)
      }))

    it.scopedLive("S07 url: a wrong password is told with its reason, and neither the URL nor its password is shown", () =>
      Effect.gen(function*() {
        const server = yield* Fixture.server()
        yield* Effect.promise(() => server.admin.config("SET", "requirepass", "right"))
        const { layer, lines } = recorded()
        const url = Redacted.make(server.url.replace("//", "//:hunter2@"))
        yield* Effect.gen(function*() {
          yield* RedisStore.make({ url })
          yield* until(() => own(lines).length > 0)
        }).pipe(Effect.scoped, Effect.provide(layer))
        assert.include(own(lines)[0], "WRONGPASS")
        assert.notInclude(lines.join("\n"), "hunter2")
      }))

    it.effect("S07 url: a wrong one is refused with what to write, and is not shown", () =>
      Effect.gen(function*() {
        for (
          const wrong of [
            "127.0.0.1:6379",
            "http://:hunter2@host",
            "redis://:hunter2@host/x",
            "redis://:hunter2%@h",
            ""
          ]
        ) {
          const error = yield* refused({ url: wrong })
          assert.include(error, "redis://user:password@host:6379/0")
          assert.notInclude(error, "hunter2")
        }
      }))

    it.effect("url: without the package redis it is said what to install", () =>
      Effect.gen(function*() {
        vi.doMock("redis", () => {
          throw new Error("Cannot find package 'redis'")
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.doUnmock("redis")))
        assert.include(yield* refused({ url: "redis://127.0.0.1:6379" }), "npm install redis")
      }).pipe(Effect.scoped))

    it.scopedLive("layerConfig reads the url, and says which variable is missing", () =>
      Effect.gen(function*() {
        const server = yield* Fixture.server()
        const layer = RedisStore.layerConfig({ url: Config.redacted("REDIS_URL"), prefix: Config.succeed(prefix) })
        const given = (entries: Iterable<readonly [string, string]>) =>
          Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries)))
        const missing = yield* Effect.flip(Layer.build(Layer.provide(layer, given([]))))
        assert.include(String(missing), "REDIS_URL")
        const context = yield* Layer.build(Layer.provide(layer, given([["REDIS_URL", server.url]])))
        const store = yield* Effect.map(Effect.provide(Store.Store, context), clocked)
        assert.deepStrictEqual(yield* dataOf(store, yield* createSession(store, { n: 1 })), { n: 1 })
        assert.match((yield* Effect.promise(() => server.admin.keys("*")))[0]!, /^test:/)
      }))

    it("exactly one of url and client compiles", () => {
      const typed = () => {
        RedisStore.layer({ url: "redis://h" }) satisfies Layer.Layer<Store.Store, ConfigError.ConfigError>
        RedisStore.layer({ url: Redacted.make("redis://h") })
        // @ts-expect-error neither
        RedisStore.layer({ prefix })
        // @ts-expect-error both
        RedisStore.layer({ url: "redis://h", client: new Redis() })
      }
      assert.isFunction(typed)
    })

    for (const { connect, name } of Fixture.clients) {
      it.scopedLive(`${name}: a connection is lost in the turn of a request, and no session gets another's answer`, () =>
        Effect.gen(function*() {
          const server = yield* Fixture.server()
          const { opened } = yield* sockets
          const client = yield* connect(server.url)
          const [socket] = opened.splice(0)
          const store = clocked(yield* RedisStore.make({ client, prefix }))
          const tokens = yield* Effect.forEach([0, 1, 2, 3], (n) => createSession(store, { n }))
          /** Asks for all sessions, from here on and not only from the next turn. */
          const ask = () => tokens.map((token) => Effect.runFork(dataOf(store, token)))
          const answers = (asked: ReturnType<typeof ask>) =>
            Effect.forEach(asked, (fiber) => Effect.option(Effect.timeout(Fiber.join(fiber), "3 seconds")), {
              concurrency: "unbounded"
            })

          const asked = [] as Array<ReturnType<typeof ask>>
          yield* whilePolling(() => {
            asked.push(ask())
            process.nextTick(() => socket!.destroy(new Error("ECONNRESET")))
          })
          asked.push(...tokens.map(ask))
          yield* until(() => opened.length > 0)
          asked.push(ask())
          for (const answered of yield* Effect.forEach(asked, answers, { concurrency: "unbounded" })) {
            answered.forEach((data, n) => assert.deepStrictEqual(Option.getOrElse(data, () => ({ n })), { n }))
          }
          const after = yield* answers(ask())
          assert.deepStrictEqual(after, tokens.map((_, n) => Option.some({ n })), "the client is of use again")
        }))
    }

    it("an error without a message is told by its code, or by its name", () => {
      class TimeoutError extends Error {}
      assert.deepStrictEqual(
        [new TimeoutError(), Object.assign(new AggregateError([]), { code: "ECONNREFUSED" })].map((error) =>
          printable(error).message
        ),
        ["TimeoutError", "ECONNREFUSED"]
      )
    })

    it.scopedLive("redis: a client that was never connected, or is closed, fails every call at once with what to do", () =>
      Effect.gen(function*() {
        const server = yield* Fixture.server()
        const client = createClient({ url: server.url }).on("error", () => {})
        const store = clocked(yield* RedisStore.make({ client, prefix }))
        const failing = Effect.map(Effect.flip(createSession(store, {})), (error) => {
          assert.instanceOf(error, Store.StoreError)
          assert.strictEqual(error.reason, "Unavailable")
          assert.include(String(error.cause), "Call its connect() first")
        })
        yield* failing
        yield* Effect.promise(() => client.connect())
        yield* createSession(store, {})
        client.destroy()
        yield* failing
      }))

    it.scopedLive("ioredis: a lazy client connects at its first call, and a closed one fails every call at once", () =>
      Effect.gen(function*() {
        const server = yield* Fixture.server()
        const client = new Redis(server.url, { lazyConnect: true }).on("error", () => {})
        const store = clocked(yield* RedisStore.make({ client, prefix }))
        yield* createSession(store, {})
        client.disconnect()
        const error = yield* Effect.flip(createSession(store, {}))
        assert.strictEqual(error.reason, "Unavailable")
        assert.include(String(error.cause), "Connection is closed")
      }))
  }
)
