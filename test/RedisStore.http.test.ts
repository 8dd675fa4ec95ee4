import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Layer, Logger, LogLevel, Ref, Schema, Scope } from "effect"
import { CookieState, HttpMiddleware, Session, SessionField, SessionPolicy } from "effect-session"
import * as RedisStore from "effect-session/RedisStore"
import * as Fixture from "./fixtures/redis.js"

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

const text = (value: unknown) => HttpServerResponse.text(String(value))

/** Called by the handler of /slow between its read and its write. */
let between: () => Promise<void> = () => Promise.resolve()

const app = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  switch (request.url) {
    case "/read":
      return text(yield* Visits)
    case "/write":
      return text(yield* SessionField.updateAndGet(Visits, (n) => n + 1))
    case "/slow":
      yield* Visits
      yield* Effect.promise(() => between())
      return text(yield* SessionField.updateAndGet(Visits, (n) => n + 1))
    case "/login":
      yield* Session.renew
      return text(yield* SessionField.updateAndGet(Visits, (n) => n + 1))
    case "/logout":
      yield* Session.destroy
      return text("bye")
    default:
      return text("untouched")
  }
})

const minute = 60_000

/** A clock whose hand the test moves, and whose sleep is the real one. */
const handClock = () => {
  let now = 1_000_000_000_000
  const unsafeCurrentTimeMillis = () => now
  return {
    advance: (millis: number) => {
      now += millis
    },
    layer: Layer.setClock(
      Object.assign(Object.create(Clock.make()) as Clock.Clock, {
        unsafeCurrentTimeMillis,
        currentTimeMillis: Effect.sync(unsafeCurrentTimeMillis)
      })
    )
  }
}

const isInstalled = await Fixture.isInstalled()

describe.skipIf(!isInstalled)(isInstalled ? "RedisStore under HTTP" : "skipped: no redis-server here", () => {
  for (const { connect, name } of Fixture.clients) {
    describe(name, () => {
      const scope = Effect.runSync(Scope.make())
      let server: Fixture.Server
      beforeAll(async () => {
        server = await Effect.runPromise(Scope.extend(Fixture.server(), scope))
      })
      afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

      const open = Effect.gen(function*() {
        const clock = handClock()
        const { dispose, handler } = HttpApp.toWebHandlerLayer(
          HttpMiddleware.session(app),
          Layer.mergeAll(
            CookieState.layer({ secure: false }),
            RedisStore.layer({ client: connect(server.url), prefix: "test:" }),
            SessionPolicy.layer({ idleTimeout: "1 hour", touchInterval: "6 minutes", storeTimeout: "100 millis" }),
            clock.layer,
            Logger.minimumLogLevel(LogLevel.None)
          )
        )
        yield* Effect.addFinalizer(() => Effect.promise(dispose))
        const jar = yield* Ref.make<string | undefined>(undefined)
        const get = (path: string, cookie?: string) =>
          Effect.gen(function*() {
            const sends = cookie ?? (yield* Ref.get(jar))
            const response = yield* Effect.promise(() =>
              handler(new Request(`http://localhost${path}`, sends === undefined ? {} : { headers: { cookie: sends } }))
            )
            const set = response.headers.get("set-cookie")
            if (set !== null && cookie === undefined) {
              yield* Ref.set(jar, set.split(";")[0])
            }
            return { body: yield* Effect.promise(() => response.text()), set, status: response.status }
          })
        // every script is known to the server from here on
        for (const path of ["/write", "/write", "/login", "/logout"]) {
          yield* get(path)
        }
        yield* Ref.set(jar, undefined)
        yield* get("/write")
        clock.advance(6 * minute)
        yield* get("/read")
        const commands = (path: string, cookie?: string) =>
          Effect.map(
            Fixture.sent(server, get(path, cookie)),
            ([response, commands]) => [response.body, commands.map((command) => command[0])] as const
          )
        return { clock, commands, get, jar }
      })

      it.scopedLive("S53 S64: read 1 command, write 2, untouched 0", () =>
        Effect.gen(function*() {
          const { commands } = yield* open
          assert.deepStrictEqual(yield* commands("/untouched"), ["untouched", []])
          assert.deepStrictEqual(yield* commands("/read"), ["1", ["GET"]])
          assert.deepStrictEqual(yield* commands("/write"), ["2", ["GET", "EVALSHA"]])
          assert.deepStrictEqual(yield* commands("/login"), ["3", ["GET", "EVALSHA"]])
          assert.deepStrictEqual(yield* commands("/read"), ["3", ["GET"]])
        }))

      it.scopedLive("S03 S35: anonymous 0, malformed 0, unknown 1, and none of them leaves a key", () =>
        Effect.gen(function*() {
          const { commands, jar } = yield* open
          const keys = yield* Effect.promise(() => server.admin.dbsize())
          yield* Ref.set(jar, undefined)
          assert.deepStrictEqual(yield* commands("/read"), ["0", []])
          for (
            const wrong of ["", "x", `${"A".repeat(43)}%0A`, "../../etc/passwd", "B".repeat(43), "A".repeat(10_000)]
          ) {
            assert.deepStrictEqual(yield* commands("/read", `session=${wrong}`), ["0", []])
          }
          assert.deepStrictEqual(yield* commands("/read", `session=${"A".repeat(43)}`), ["0", ["GET"]])
          assert.strictEqual(yield* Effect.promise(() => server.admin.dbsize()), keys)
          assert.deepStrictEqual(yield* commands("/write"), ["1", ["EVALSHA"]])
        }))

      it.scopedLive("S21: a read touches past the interval alone", () =>
        Effect.gen(function*() {
          const { clock, commands } = yield* open
          clock.advance(6 * minute - 1)
          assert.deepStrictEqual(yield* commands("/read"), ["1", ["GET"]])
          clock.advance(1)
          assert.deepStrictEqual(yield* commands("/read"), ["1", ["GET", "EVALSHA"]])
          assert.deepStrictEqual(yield* commands("/read"), ["1", ["GET"]])
          clock.advance(60 * minute)
          assert.deepStrictEqual(yield* commands("/read"), ["0", ["GET"]])
        }))

      it.scopedLive("S65: a write that lost a race costs one command more, and both count", () =>
        Effect.gen(function*() {
          const { commands, get } = yield* open
          between = async () => {
            await Effect.runPromise(get("/write"))
          }
          const [body, sent] = yield* commands("/slow")
          assert.deepStrictEqual(sent, ["GET", "GET", "EVALSHA", "EVALSHA", "EVALSHA"])
          assert.strictEqual(body, "2")
          assert.deepStrictEqual(yield* commands("/read"), ["3", ["GET"]])
        }))

      it.scopedLive("S66: a server that hangs is given up on after the policy's timeout, and answered with 503", () =>
        Effect.gen(function*() {
          const { get } = yield* open
          server.signal("SIGSTOP")
          const answer = yield* get("/read").pipe(Effect.ensuring(Effect.sync(() => server.signal("SIGCONT"))))
          assert.strictEqual(answer.status, 503)
          assert.isNull(answer.set)
          assert.strictEqual((yield* get("/read")).body, "1")
        }))
    })
  }
})
