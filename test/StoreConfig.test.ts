import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Layer, Redacted } from "effect"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as StoreConfig from "effect-session/StoreConfig"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { inspect } from "node:util"
import { vi } from "vitest"
import { ioredis } from "./fixtures/redis.js"
import * as sql from "./fixtures/sql.js"
import { clocked, createSession, dataOf } from "./support/records.js"
import { redisMissing, redisTitle, redisUrl } from "./support/redis.js"

const withVariables = (variables: { readonly [name: string]: string }) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

const refused = (url: string) =>
  Effect.map(
    Effect.flip(Effect.scoped(Layer.build(StoreConfig.layerConfig())).pipe(withVariables({ SESSION_STORE_URL: url }))),
    String
  )

/** Keeps a session by one store of the URL and finds it by a second one, as after a restart. */
const survives = (url: string, variables: { readonly [name: string]: string } = {}) => {
  const opened = Effect.map(
    Layer.build(StoreConfig.layerConfig()),
    (context) => clocked(Context.get(context, Store.Store))
  )
  return Effect.gen(function*() {
    const token = yield* Effect.scoped(Effect.flatMap(opened, (store) => createSession(store, { n: 1 })))
    return yield* Effect.scoped(Effect.flatMap(opened, (store) => dataOf(store, token)))
  }).pipe(withVariables({ SESSION_STORE_URL: url, ...variables }))
}

const directory = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-url-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

const pkg: { readonly peerDependencies: { readonly [name: string]: string } } = JSON.parse(
  fs.readFileSync(new URL("../package.json", import.meta.url), "utf8")
)

describe("StoreConfig", () => {
  it.scopedLive("memory: is MemoryStore, with its variables", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* survives("memory:"), "None")
      const message = yield* Effect.flip(Layer.build(StoreConfig.layerConfig())).pipe(
        withVariables({ SESSION_STORE_URL: "memory:", SESSION_CAPACITY: "0" })
      )
      assert.include(String(message), "SESSION_CAPACITY")
    }))

  it.scopedLive("S31: whatever the URL names lists and ends the sessions of a subject", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const servers = redisMissing ? [] : [redisUrl]
      for (const url of ["memory:", `file:${path.join(folder, "sessions")}`, ...servers]) {
        const context = yield* Layer.build(StoreConfig.layerConfig()).pipe(withVariables({ SESSION_STORE_URL: url }))
        const [store, sessions] = [Context.get(context, Store.Store), Context.get(context, Sessions.Sessions)]
        const subject = `ann ${randomBytes(6).toString("hex")}`
        const id = yield* SessionToken.toId(yield* createSession(store, { n: 1 }, { subject }))
        assert.strictEqual(yield* sessions.count(subject), 1)
        assert.isTrue(yield* sessions.revoke(id))
        assert.strictEqual(yield* sessions.count(subject), 0)
      }
    }))

  it.scopedLive("file: is FileStore, by a path or by a file URL", () =>
    Effect.gen(function*() {
      const folder = path.join(yield* directory, "with space")
      assert.deepStrictEqual(yield* survives(`file:${folder}`), { n: 1 })
      assert.deepStrictEqual(yield* survives(pathToFileURL(folder).href, { SESSION_DURABILITY: "fsync" }), { n: 1 })
      assert.lengthOf(fs.readdirSync(folder).filter((name) => !name.startsWith(".")), 2)
      const relative = path.relative(process.cwd(), `${folder}-relative`)
      assert.deepStrictEqual(yield* survives(`FILE:${relative}`), { n: 1 })
    }))

  it.scopedLive.skipIf(redisMissing)(
    redisTitle("redis:// is RedisStore, with its variables"),
    () =>
      Effect.gen(function*() {
        const prefix = `test:url:${randomBytes(6).toString("hex")}:`
        assert.deepStrictEqual(yield* survives(redisUrl, { SESSION_PREFIX: prefix }), { n: 1 })
        const client = yield* ioredis(redisUrl)
        const keys = yield* Effect.promise(() => client.keys(`${prefix}*`))
        assert.lengthOf(keys, 1)
        yield* Effect.promise(() => client.del(keys))
      })
  )

  for (
    const [database, urlOf] of [
      [sql.postgres, (name: string) => {
        const url = sql.server(sql.postgres)
        url?.searchParams.set("options", `-c search_path=${name}`)
        return url?.href
      }],
      [sql.mysql, (name: string) => {
        const url = sql.server(sql.mysql)
        if (url !== undefined) {
          url.pathname = `/${name}`
        }
        return url?.href
      }]
    ] as const
  ) {
    it.scopedLive.skipIf(database.missing !== undefined)(
      `a URL of ${database.name} is SqlStore, with its migrations${
        database.missing === undefined ? "" : `: skipped: ${database.missing}`
      }`,
      () =>
        Effect.gen(function*() {
          const schema = yield* database.schema
          const url = urlOf(schema.name) ?? ""
          const other = url.replace(/^postgres:/, "postgresql:").replace(/^mysql:/, "mariadb:")
          assert.notStrictEqual(other, url)
          assert.deepStrictEqual(yield* survives(url), { n: 1 })
          assert.deepStrictEqual(yield* survives(other), { n: 1 })
          // a second table in the same database
          assert.deepStrictEqual(yield* survives(other, { SESSION_TABLE: "visitors" }), { n: 1 })
          const rows = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT id FROM visitors`)
          assert.lengthOf(yield* Effect.provide(rows, schema.client), 1)
        })
    )
  }

  it.scopedLive.skipIf(sql.sqlite.missing !== undefined)(
    "sqlite: is SqlStore on a file, with its migrations",
    () =>
      Effect.gen(function*() {
        const folder = yield* directory
        assert.deepStrictEqual(yield* survives(`sqlite:${path.join(folder, "sessions.db")}`), { n: 1 })
        const message = yield* refused(`sqlite:${path.join(folder, "missing", "sessions.db")}`)
        assert.include(message, "SESSION_STORE_URL")
        assert.include(message, "directory does not exist")
      })
  )

  for (
    const [url, wanted] of [
      ["", "redis:, rediss:, postgres:, postgresql:, mysql:, mariadb:, sqlite:, file:, memory:"],
      ["hunter2", "redis:, rediss:"],
      [":hunter2", "redis:, rediss:"],
      ["mongodb://user:hunter2@host", "redis:, rediss:, postgres:"],
      ["redis://user:hunter2@host:port", "redis://user:password@host:6379/0"],
      ["postgres://user:hunter2@host:port/db", "postgres://user:password@host:5432/database"],
      ["postgres:hunter2", "postgres://user:password@host:5432/database"],
      ["postgres://user:hunter2%@host/db", "postgres://user:password@host:5432/database"],
      ["mysql://user:hunter2@host:port/db", "mysql://user:password@host:3306/database"],
      ["sqlite:", "sqlite:./sessions.db"],
      ["sqlite://hunter2", "sqlite:./sessions.db"],
      ["file:", "file:./sessions"],
      ["file://hunter2/sessions", "file:///var/lib/sessions"],
      ["memory:hunter2", "memory:"]
    ] as const
  ) {
    it.effect(`S07: refuses ${JSON.stringify(url)}, names the variable and what works, and shows no password`, () =>
      Effect.gen(function*() {
        const message = yield* refused(url)
        assert.include(message, "Invalid data at SESSION_STORE_URL")
        assert.include(message, wanted)
        assert.notInclude(message, "hunter2")
      }))
  }

  it.effect("a URL that is missing names its variable, and a URL that is given the option", () =>
    Effect.gen(function*() {
      const missing = yield* Effect.flip(Layer.build(StoreConfig.layerConfig())).pipe(withVariables({}))
      assert.include(String(missing), "SESSION_STORE_URL")
      const layer = StoreConfig.layerConfig({ url: Config.redacted("DATABASE_URL") })
      const given = yield* Effect.flip(Layer.build(layer)).pipe(withVariables({ DATABASE_URL: "mongodb://host" }))
      assert.include(String(given), "StoreConfig.url")
      const typed = yield* Effect.flip(Layer.build(StoreConfig.layer({ url: "mongodb://host" })))
      assert.include(String(typed), "StoreConfig.url")
    }).pipe(Effect.scoped))

  it.scopedLive("S07: a database that is not there fails the layer with a StoreError, without its password", () =>
    Effect.gen(function*() {
      for (const url of ["postgres://user:hunter2@127.0.0.1:1/db", "mysql://user:hunter2@127.0.0.1:1/db"]) {
        const error = yield* Effect.flip(Layer.build(StoreConfig.layer({ url: Redacted.make(url) })))
        assert.isTrue(Store.isStoreError(error), String(error))
        const text = `${String(error)} ${inspect(error, { depth: 10 })}`
        assert.include(text, "ECONNREFUSED")
        assert.notInclude(text, "hunter2")
      }
    }))

  for (
    const [url, module, packages] of [
      ["redis://host", "redis", ["redis"]],
      ["postgres://host/db", "@effect/sql-pg/PgClient", ["@effect/sql-pg", "@effect/sql"]],
      ["mysql://host/db", "@effect/sql-mysql2/MysqlClient", ["@effect/sql-mysql2", "@effect/sql"]],
      ["sqlite:sessions.db", "@effect/sql-sqlite-node/SqliteClient", ["@effect/sql-sqlite-node", "@effect/sql"]],
      ["file:sessions", "@effect/platform-node/NodeFileSystem", ["@effect/platform-node"]]
    ] as const
  ) {
    it.scoped(`without the driver of ${url}, it is said what to install`, () =>
      Effect.gen(function*() {
        vi.doMock(module, () => {
          throw new Error("Cannot find package")
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.doUnmock(module)))
        const message = yield* refused(url)
        assert.include(message, "Invalid data at SESSION_STORE_URL")
        const [, command = ""] = /npm install ([^")]*)/.exec(message) ?? []
        const versions = packages.map((name) => name === "redis" ? "redis@6" : `${name}@${pkg.peerDependencies[name]}`)
        assert.deepStrictEqual(command.trim().split(" "), versions)
      }))
  }
})
