import { LibsqlClient } from "@effect/sql-libsql"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted } from "effect"
import * as SqlStore from "effect-session/SqlStore"
import * as Store from "effect-session/Store"
import * as Fixture from "./fixtures/sql.js"
import { clocked, createSession, drawToken, recordOf } from "./support/records.js"

describe("SqlStore on libSQL", () => {
  /** What is logged when the store's layer is built. */
  const logged = (client: Fixture.Client) =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
      yield* Layer.build(SqlStore.layer().pipe(Layer.provide(client))).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      return lines
    })

  /** The driver's own client, as an app may have made it. */
  const liveClient = (url: string) =>
    Effect.map(Layer.build(LibsqlClient.layer({ url })), (context) => {
      const { sdk } = Context.get(context, LibsqlClient.LibsqlClient) as unknown as {
        readonly sdk: LibsqlClient.LibsqlClientConfig.Live["liveClient"]
      }
      return LibsqlClient.layer({ liveClient: sdk })
    })

  it.scoped("D2: a file is warned of when the layer is built", () =>
    Effect.gen(function*() {
      const file = yield* Fixture.sqliteFile
      for (
        const client of [
          LibsqlClient.layer({ url: `file:${file}` }),
          LibsqlClient.layer({ url: new URL(`file:${file}`), transformResultNames: (name) => name }),
          yield* liveClient(`file:${file}`)
        ]
      ) {
        const lines = yield* logged(client)
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0] ?? "", /^WARN SqlStore: .*for one process alone.*sql-sqlite-node/)
      }
    }))

  it.scoped("D2: a remote database, memory and other drivers are not warned of", () =>
    Effect.gen(function*() {
      const clients = [
        LibsqlClient.layer({ url: "http://127.0.0.1:9", authToken: Redacted.make("secret") }),
        LibsqlClient.layer({ url: ":memory:" }),
        yield* liveClient("http://127.0.0.1:9"),
        ...(Fixture.sqlite.missing === undefined ? [Fixture.sqlite.client] : [])
      ]
      for (const client of clients) {
        assert.deepStrictEqual(yield* logged(client), [])
      }
    }))

  it.scoped("large numbers as bigint or text, and names in camel case, change nothing", () =>
    Effect.gen(function*() {
      const { other } = yield* Fixture.libsql.schema
      for (const [name, client] of [...other.odd, ["camel case", other.camel] as const]) {
        const services = Layer.provideMerge(SqlStore.layer().pipe(Layer.provide(SqlStore.layerMigrations())), client)
        const context = yield* Layer.build(services)
        const store = clocked(Context.get(context, Store.Store))
        const sql = Context.get(context, SqlClient.SqlClient)
        const token = yield* createSession(store, { n: 0 })
        const record = yield* recordOf(store, token)
        const next = yield* drawToken(token)
        assert.strictEqual((yield* store.renew(token, record.revision, next, record))._tag, "Updated", name)
        const renewed = yield* recordOf(store, next)
        assert.deepStrictEqual([renewed.data, renewed.deadline], [{ n: 0 }, record.deadline], name)
        assert.strictEqual((yield* store.update(next, renewed.revision + 1, record))._tag, "Conflict", name)
        yield* store.remove(token)
        assert.deepStrictEqual(yield* store.load(next), Store.superseded, name)
        yield* sql`DELETE FROM sessions`
      }
    }))
})
