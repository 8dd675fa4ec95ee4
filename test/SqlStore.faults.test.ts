import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Schema } from "effect"
import { CookieState, HttpMiddleware, SessionField } from "effect-session"
import * as SqlStore from "effect-session/SqlStore"
import * as Fixture from "./fixtures/sql.js"

const Count = SessionField.make("n", Schema.Int, { default: () => 0 })

const app = Effect.gen(function*() {
  const { url } = yield* HttpServerRequest.HttpServerRequest
  const n = yield* url === "/read" ? Count : SessionField.updateAndGet(Count, (n) => n + 1)
  return HttpServerResponse.text(String(n))
})

/** An app on a store, a client of it that keeps its cookie, and what was logged. */
const serve = (
  store: Layer.Layer<SqlClient.SqlClient, unknown>,
  migrations: Layer.Layer<never, unknown, SqlClient.SqlClient>
) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.map(Logger.stringLogger, (line) => void lines.push(line))
    const services = Layer.mergeAll(
      CookieState.layer({ secure: false }),
      SqlStore.layer().pipe(Layer.provide(migrations), Layer.provide(store)),
      Logger.replace(Logger.defaultLogger, logger)
    )
    const { dispose, handler } = HttpApp.toWebHandlerLayer(HttpMiddleware.session(app), Layer.orDie(services))
    yield* Effect.addFinalizer(() => Effect.promise(dispose))
    let cookie: string | undefined
    const get = (path: string) =>
      Effect.promise(async () => {
        const response = await handler(
          new Request(`http://localhost${path}`, cookie === undefined ? {} : { headers: { cookie } })
        )
        const set = response.headers.get("set-cookie")
        cookie = set?.split(";")[0] ?? cookie
        return {
          status: response.status,
          body: response.status === 200 ? await response.text() : "",
          set: set !== null
        }
      })
    return { get, lines }
  })

const failed = { status: 503, body: "", set: false }

for (const database of Fixture.databases) {
  const server = Fixture.server(database)
  const port = database.dialect === "pg" ? 5432 : 3306

  describe.skipIf(database.missing !== undefined)(Fixture.title("SqlStore: faults", database), () => {
    it.scopedLive("S66: a table that is missing is 503, and the log names it", () =>
      Effect.gen(function*() {
        const { client } = yield* database.schema
        const { get, lines } = yield* serve(client, Layer.empty)
        assert.deepStrictEqual(yield* get("/add"), failed)
        assert.match(lines.join("\n"), /sessions.* does(n't| not) exist|no such table: sessions/)
      }))

    it.scopedLive("S66: a table that is gone after its migration fails the start, with its name", () =>
      Effect.gen(function*() {
        const { client } = yield* database.schema
        const sql = Context.get(yield* Layer.build(client), SqlClient.SqlClient)
        const migrate = Layer.build(SqlStore.layerMigrations()).pipe(Effect.provideService(SqlClient.SqlClient, sql))
        yield* migrate
        yield* sql`DROP TABLE sessions`
        const error = yield* Effect.flip(migrate)
        assert.include(error.message, "sessions")
        assert.include(error.message, "is not there after its migration")
      }))

    it.scopedLive.skipIf(server === undefined)(
      "S66: a server that is down at the start fails it with a typed error",
      () =>
        Effect.gen(function*() {
          const { other } = yield* database.schema
          const proxy = yield* Fixture.proxy(server as URL, port)
          yield* proxy.refuse(true)
          const services = SqlStore.layer().pipe(
            Layer.provide(SqlStore.layerMigrations()),
            Layer.provide(other.through(proxy.port))
          )
          const exit = yield* Effect.exit(Layer.build(services))
          assert.isTrue(Exit.isFailure(exit) && Cause.failureOption(exit.cause)._tag === "Some", String(exit))
        })
    )

    it.scopedLive.skipIf(server === undefined)(
      "S66 P26: a server that goes down is 503, and when it is back the session is there",
      () =>
        Effect.gen(function*() {
          const { other } = yield* database.schema
          const proxy = yield* Fixture.proxy(server as URL, port)
          const { get } = yield* serve(other.through(proxy.port), SqlStore.layerMigrations())
          assert.deepStrictEqual(yield* get("/add"), { status: 200, body: "1", set: true })
          yield* proxy.refuse(true)
          assert.deepStrictEqual(yield* get("/read"), failed)
          assert.deepStrictEqual(yield* get("/add"), failed)
          yield* proxy.refuse(false)
          const answer = yield* Effect.repeat(get("/read"), { until: ({ status }) => status === 200, times: 50 })
          assert.deepStrictEqual(answer, { status: 200, body: "1", set: false })
        })
    )

    it.scopedLive.skipIf(server === undefined)(
      "S66 P26: a connection that the server ends in mid statement is 503, and nothing is written",
      () =>
        Effect.gen(function*() {
          const { client } = yield* database.schema
          const { get } = yield* serve(client, SqlStore.layerMigrations())
          yield* get("/add")
          const sql = Context.get(yield* Layer.build(client), SqlClient.SqlClient)
          const locked = yield* Deferred.make<void>()
          const writer = yield* Effect.fork(Effect.zipRight(Deferred.await(locked), get("/add")))
          const waiting = database.dialect === "pg"
            ? sql<{ readonly id: number }>`SELECT pid AS id FROM pg_stat_activity
              WHERE wait_event_type = 'Lock' AND pg_backend_pid() = ANY(pg_blocking_pids(pid))`
            : sql<{ readonly id: number }>`SELECT id FROM information_schema.processlist
              WHERE db = database() AND info LIKE 'UPDATE%sessions%' AND id <> connection_id()`
          const answer = yield* sql.withTransaction(Effect.gen(function*() {
            yield* sql`SELECT id FROM sessions FOR UPDATE`
            yield* Deferred.succeed(locked, undefined)
            const found = yield* Effect.repeat(waiting, { until: (rows) => rows.length > 0 })
            const id = Number(found[0]?.id)
            yield* database.dialect === "pg" ? sql`SELECT pg_terminate_backend(${id})` : sql.unsafe(`KILL ${id}`)
            return yield* Fiber.join(writer)
          }))
          assert.deepStrictEqual(answer, failed)
          // the driver's pool may hand out the dead connection once more before it learns of it
          const next = yield* Effect.repeat(get("/read"), { until: ({ status }) => status === 200, times: 50 })
          assert.deepStrictEqual(next, { status: 200, body: "1", set: false })
          assert.strictEqual((yield* get("/add")).body, "2")
        })
    )
  })
}
