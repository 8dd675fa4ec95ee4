import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Statement from "@effect/sql/Statement"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger, LogLevel, Ref, Schema } from "effect"
import { CookieState, HttpMiddleware, Session, SessionField } from "effect-session"
import * as SqlStore from "effect-session/SqlStore"
import * as Fixture from "./fixtures/sql.js"

const Orders = SessionField.make("orders", Schema.NonNegativeInt, { default: () => 0 })

const Notice = SessionField.make("notice", Schema.String, { default: () => "" })

const order = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO orders (n) VALUES (1)`
  yield* SessionField.update(Orders, (n) => n + 1)
  yield* Session.commit
})

const soldOut = Effect.fail("sold out" as const)

/** Called by the handler of /raced between its read and its transaction. */
let between: () => Promise<void> = () => Promise.resolve()

/** An order whose session is about to be written when it is interrupted, and that could go on after the rollback. */
const interrupted = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const reached = yield* Deferred.make<void>()
  const rolledBack = yield* Deferred.make<void>()
  let wentOn = false
  const held = Statement.withTransformer(sql.withTransaction(order), (statement) => {
    const [text] = statement.compile(true)
    return /^\s*UPDATE .sessions/.test(text)
      ? Deferred.succeed(reached, undefined).pipe(
        Effect.zipRight(Deferred.await(rolledBack)),
        Effect.map(() => {
          wentOn = true
          return statement
        })
      )
      : Effect.succeed(statement)
  })
  // the fiber of a handler is not interruptible here
  const fiber = yield* Effect.fork(Effect.interruptible(held))
  yield* Deferred.await(reached)
  yield* Fiber.interrupt(fiber)
  yield* Deferred.succeed(rolledBack, undefined)
  // who went on has done so by the time that two rounds of the event loop and a statement are over
  yield* Effect.repeatN(Effect.promise(() => new Promise(setImmediate)), 1)
  yield* sql`SELECT count(*) FROM orders`
  return wentOn
})

const outcome = Effect.map(Session.outcome, ({ _tag }) => _tag)

const app = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const request = yield* HttpServerRequest.HttpServerRequest
  switch (request.url) {
    case "/order":
      yield* sql.withTransaction(order)
      break
    case "/order/twice":
      yield* sql.withTransaction(Effect.zipRight(order, order))
      break
    case "/sold-out":
      yield* Effect.flip(sql.withTransaction(Effect.zipRight(order, soldOut)))
      return HttpServerResponse.text(`${yield* outcome} ${yield* Orders}`)
    case "/sold-out/notice":
      yield* Effect.flip(sql.withTransaction(Effect.zipRight(order, soldOut)))
      yield* SessionField.set(Notice, "sold out")
      break
    case "/declined":
      yield* SessionField.set(Notice, "declined")
      yield* Effect.flip(sql.withTransaction(Effect.zipRight(order, soldOut)))
      break
    case "/inner-declined":
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* SessionField.set(Notice, "outer")
        yield* Effect.flip(sql.withTransaction(Effect.zipRight(order, soldOut)))
        yield* Session.commit
      }))
      break
    case "/renewed-declined":
      yield* Session.renew
      yield* Effect.flip(sql.withTransaction(Effect.zipRight(order, soldOut)))
      break
    case "/second-sold-out":
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* order
        yield* Effect.flip(sql.withTransaction(Effect.zipRight(order, soldOut)))
      }))
      break
    case "/login/sold-out":
      yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
        yield* Session.renew
        yield* order
        return yield* soldOut
      })))
      break
    case "/logout/sold-out":
      yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
        yield* Session.destroy
        yield* Session.commit
        return yield* soldOut
      })))
      break
    case "/logout/after-commit":
      yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
        yield* order
        yield* Session.destroy
        return yield* soldOut
      })))
      break
    case "/interrupted": {
      yield* Orders
      const wentOn = yield* interrupted
      yield* Session.ignoreChanges
      return HttpServerResponse.text(wentOn ? "it went on" : "it ended")
    }
    case "/raced": {
      yield* Orders
      yield* Effect.promise(() => between())
      const error = yield* Effect.flip(sql.withTransaction(order))
      return HttpServerResponse.text(error._tag === "StoreError" ? error.reason : error._tag)
    }
    case "/raced/again":
      yield* Orders
      yield* Effect.promise(() => between())
      yield* Effect.retry(sql.withTransaction(order), {
        times: 1,
        while: (error) => error._tag === "StoreError" && error.reason === "Contention"
      })
      break
    default:
  }
  return HttpServerResponse.text(`${yield* outcome} ${yield* Orders}${yield* Notice}`)
})

for (const database of [...Fixture.databases, Fixture.libsql]) {
  describe.skipIf(database.missing !== undefined)(
    Fixture.title("a commit inside sql.withTransaction", database),
    () => {
      const open = Effect.gen(function*() {
        const schema = yield* database.schema
        const services = Layer.provideMerge(
          Layer.mergeAll(
            CookieState.layer({ secure: false }),
            SqlStore.layer().pipe(Layer.provide(SqlStore.layerMigrations())),
            Logger.minimumLogLevel(LogLevel.None)
          ),
          schema.client
        )
        const { dispose, handler } = HttpApp.toWebHandlerLayer(HttpMiddleware.session(app), services)
        yield* Effect.addFinalizer(() => Effect.promise(dispose))
        const context = yield* Layer.build(schema.client)
        const query = <A>(f: (sql: SqlClient.SqlClient) => Effect.Effect<A, unknown>) =>
          Effect.provide(Effect.flatMap(SqlClient.SqlClient, f), context)
        yield* query((sql) => sql`CREATE TABLE orders (n integer)`)
        const count = (text: string) =>
          query((sql) =>
            Effect.map(
              sql.unsafe<{ readonly n: unknown }>(`SELECT count(*) AS n FROM ${text}`),
              (rows) => Number(rows[0]?.n)
            )
          )
        const jar = yield* Ref.make<string | undefined>(undefined)
        const get = (path: string) =>
          Effect.gen(function*() {
            const cookie = yield* Ref.get(jar)
            const response = yield* Effect.promise(() =>
              handler(new Request(`http://localhost${path}`, cookie === undefined ? {} : { headers: { cookie } }))
            )
            const set = response.headers.get("set-cookie")
            if (set !== null) {
              yield* Ref.set(jar, set.split(";")[0])
            }
            return { body: yield* Effect.promise(() => response.text()), set, status: response.status }
          })
        return {
          body: (path: string) => Effect.map(get(path), ({ body }) => body),
          get,
          jar,
          orders: count("orders"),
          live: count("sessions WHERE body IS NOT NULL")
        }
      })

      // a file of sql-libsql is for one process alone (D2)
      it.scopedLive.skipIf(database === Fixture.libsql)(
        "D8: instances that start together on an empty database all start",
        () =>
          Effect.gen(function*() {
            for (let round = 0; round < 10; round++) {
              yield* Effect.scoped(Effect.gen(function*() {
                const { client } = yield* database.schema
                const instance = Effect.scoped(
                  Layer.build(Layer.provide(SqlStore.layerMigrations(), Layer.fresh(client)))
                )
                yield* Effect.all(Array.from({ length: 6 }, () => instance), {
                  concurrency: "unbounded",
                  discard: true
                })
              }))
            }
          }),
        60_000
      )

      it.scopedLive("lands with the business rows", () =>
        Effect.gen(function*() {
          const { body, live, orders } = yield* open
          assert.strictEqual(yield* body("/order"), "Create 1")
          assert.strictEqual(yield* body("/order"), "Update 2")
          assert.strictEqual(yield* body("/order/twice"), "Update 4")
          assert.strictEqual(yield* body("/"), "Nothing 4")
          assert.strictEqual(yield* orders, 4)
          assert.strictEqual(yield* live, 1)
        }))

      it.scopedLive("a first visit that is rolled back leaves no row and sets no cookie", () =>
        Effect.gen(function*() {
          const { get, live, orders } = yield* open
          const answer = yield* get("/sold-out")
          assert.deepStrictEqual(answer, { body: "RolledBack 0", set: null, status: 200 })
          assert.strictEqual(yield* orders, 0)
          assert.strictEqual(yield* live, 0)
        }))

      it.scopedLive("S67: what is rolled back is not saved at the end of the request, what came after it is", () =>
        Effect.gen(function*() {
          const { body, orders } = yield* open
          yield* body("/order")
          assert.strictEqual(yield* body("/sold-out"), "RolledBack 1")
          assert.strictEqual(yield* body("/"), "Nothing 1")
          yield* body("/sold-out/notice")
          assert.strictEqual(yield* body("/"), "Nothing 1sold out")
          assert.strictEqual(yield* orders, 1)
        }))

      it.scopedLive("D3: an update made outside of a transaction survives its rollback, those made inside fall", () =>
        Effect.gen(function*() {
          const { body, orders } = yield* open
          yield* body("/order")
          yield* body("/declined")
          assert.strictEqual(yield* body("/"), "Nothing 1declined")
          assert.strictEqual(yield* orders, 1)
        }))

      it.scopedLive("D3: an update of an outer transaction survives the rollback of an inner one that saved it", () =>
        Effect.gen(function*() {
          const { body, orders } = yield* open
          yield* body("/order")
          yield* body("/inner-declined")
          assert.strictEqual(yield* body("/"), "Nothing 1outer")
          assert.strictEqual(yield* orders, 1)
        }))

      it.scopedLive("D3: a renewal asked for outside of a transaction survives its rollback", () =>
        Effect.gen(function*() {
          const { body, get, live } = yield* open
          yield* body("/order")
          assert.isNotNull((yield* get("/renewed-declined")).set)
          assert.strictEqual(yield* body("/"), "Nothing 1")
          assert.strictEqual(yield* live, 1)
        }))

      it.scopedLive("a savepoint that is rolled back takes its own commit alone", () =>
        Effect.gen(function*() {
          const { body, orders } = yield* open
          yield* body("/order")
          yield* body("/second-sold-out")
          assert.strictEqual(yield* body("/"), "Nothing 2")
          assert.strictEqual(yield* orders, 2)
        }))

      it.scopedLive("S11 S13: a login that is rolled back leaves the session as it was, under its old token", () =>
        Effect.gen(function*() {
          const { get, live } = yield* open
          yield* get("/order")
          assert.isNull((yield* get("/login/sold-out")).set)
          assert.strictEqual((yield* get("/")).body, "Nothing 1")
          assert.strictEqual(yield* live, 1)
        }))

      it.scopedLive("S25: a logout stands, whatever becomes of the transaction it was asked for in", () =>
        Effect.gen(function*() {
          const { get, live } = yield* open
          yield* get("/order")
          assert.include((yield* get("/logout/sold-out")).set, "Max-Age=0")
          assert.strictEqual(yield* live, 0)
        }))

      it.scopedLive("S25: a logout that came after the commit stands when the transaction is rolled back", () =>
        Effect.gen(function*() {
          const { body, get, live, orders } = yield* open
          yield* get("/order")
          assert.include((yield* get("/logout/after-commit")).set, "Max-Age=0")
          assert.strictEqual(yield* live, 0)
          assert.strictEqual(yield* orders, 1)
          assert.strictEqual(yield* body("/"), "Nothing 0")
        }))

      it.scopedLive("S67: a commit that is interrupted with its transaction never goes on after the rollback", () =>
        Effect.gen(function*() {
          const { body, orders } = yield* open
          yield* body("/order")
          assert.strictEqual(yield* body("/interrupted"), "it ended")
          assert.strictEqual(yield* body("/"), "Nothing 1")
          assert.strictEqual(yield* orders, 1)
        }))

      it.scopedLive("S65: a conflict is a typed error, and nothing of it is saved", () =>
        Effect.gen(function*() {
          const { body, orders } = yield* open
          yield* body("/order")
          between = async () => {
            await Effect.runPromise(body("/order"))
          }
          assert.strictEqual(yield* body("/raced"), "Contention")
          assert.strictEqual(yield* body("/"), "Nothing 2")
          assert.strictEqual(yield* orders, 2)
        }))

      it.scopedLive("S65: after a conflict the transaction can be run again", () =>
        Effect.gen(function*() {
          const { body, orders } = yield* open
          yield* body("/order")
          between = async () => {
            await Effect.runPromise(body("/order"))
          }
          yield* body("/raced/again")
          assert.strictEqual(yield* body("/"), "Nothing 3")
          assert.strictEqual(yield* orders, 3)
        }))
    }
  )
}
