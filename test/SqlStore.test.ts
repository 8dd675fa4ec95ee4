import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { assert, describe, it, layer } from "@effect/vitest"
import type { Scope } from "effect"
import {
  Cause,
  Chunk,
  Config,
  ConfigError,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Inspectable,
  Layer,
  Logger,
  Option,
  Redacted,
  Ref,
  TestClock,
  TestContext
} from "effect"
import * as SessionRecord from "effect-session/SessionRecord"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as SqlStore from "effect-session/SqlStore"
import * as Store from "effect-session/Store"
import * as StoreBackend from "effect-session/StoreBackend"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import * as SqlBackend from "../src/internal/sqlStore/backend.js"
import * as Sql from "../src/internal/sqlStore/statements.js"
import { inProcess } from "../src/internal/sqlStore/telling.js"
import { grace } from "../src/internal/store/sweeping.js"
import * as Fixture from "./fixtures/sql.js"
import { clocked } from "./support/clocked.js"
import type { Clocked } from "./support/clocked.js"
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

class Here extends Context.Tag("test/SqlStore/Here")<Here, Fixture.Schema>() {}

/** A client of the schema, with a pool of its own. */
const connect = (client?: Fixture.Client) =>
  Effect.flatMap(Here, (here) => Effect.map(Layer.build(client ?? here.client), Context.get(SqlClient.SqlClient)))

const define = (sql: SqlClient.SqlClient, dialect: SqlStore.Dialect, options: SqlStore.Placement) =>
  Effect.forEach(
    SqlStore.ddl(dialect, options).split(";\n").filter((text) => text !== ""),
    (text) => sql.unsafe(text),
    { discard: true }
  )

const storeOn = (sql: SqlClient.SqlClient, options: SqlStore.Options) =>
  SqlStore.make(options).pipe(Effect.provideService(SqlClient.SqlClient, sql), Effect.map(clocked))

/** A store with a table and a client of its own. */
const open = (dialect: SqlStore.Dialect, options: SqlStore.Options) =>
  Effect.gen(function*() {
    const sql = yield* connect()
    yield* define(sql, dialect, options)
    const table = Sql.quote(dialect, options.table ?? "sessions")
    const plain = sql.withoutTransforms()
    const backend = SqlBackend.make({ sql: plain, dialect, table, columns: [], telling: yield* inProcess(plain) })
    return { sql, store: yield* storeOn(sql, options), backend, table: sql.literal(table) }
  })

const count = (sql: SqlClient.SqlClient, table: Statement.Fragment, where = sql`1 = 1`) =>
  Effect.map(
    sql<{ readonly n: unknown }>`SELECT count(*) AS n FROM ${table} WHERE ${where}`,
    (rows) => Number(rows[0]?.n)
  )

/** All that a person could come to read of an error. */
const printed = (error: unknown): string =>
  [
    String(error),
    inspect(error, { depth: null, showHidden: true, getters: true }),
    Inspectable.toStringUnknown(error),
    Cause.pretty(Cause.fail(error), { renderErrorCause: true }),
    JSON.stringify(error)
  ].join("\n")

const entry = (deadline: number): StoreBackend.LiveEntry => ({
  _tag: "Entry",
  revision: 0,
  touchedAt: 0,
  deadline,
  body: "{}"
})

const key = (id: string): StoreBackend.Key => ({ id: id as SessionToken.SessionId, shard: "0000" })

describe("SqlStore", () => {
  describe("options", () => {
    const client = Layer.succeed(
      SqlClient.SqlClient,
      new Proxy({} as SqlClient.SqlClient, {
        get: (_, name) =>
          name === "onDialectOrElse"
            ? (options: { readonly pg: () => unknown }) => options.pg()
            : name === "withoutTransforms"
            ? () => ({})
            : undefined
      })
    )

    const refusal = (options: SqlStore.Options) =>
      Effect.map(Effect.flip(Layer.build(SqlStore.layer(options))), (error) => {
        assert.isTrue(ConfigError.isConfigError(error))
        return String(error)
      }).pipe(Effect.scoped, Effect.provide(client))

    it.effect("P27: a dotted table is refused, with the schema option to write instead", () =>
      Effect.gen(function*() {
        const message = yield* refusal({ table: "otherdb.mysession" })
        assert.include(message, "SqlStore.table")
        assert.include(message, `{"schema":"otherdb","table":"mysession"}`)
      }))

    it.effect("a name that no database takes as it is is refused", () =>
      Effect.gen(function*() {
        assert.include(yield* refusal({ table: "" }), "at least one character")
        assert.include(yield* refusal({ schema: "" }), "SqlStore.schema")
        assert.include(yield* refusal({ table: "a\0b" }), "U+0000")
        assert.include(yield* refusal({ table: "t".repeat(55) }), "at most 54 bytes")
        assert.include(yield* refusal({ table: "é".repeat(28) }), "at most 54 bytes")
        assert.include(yield* refusal({ schema: "s".repeat(64) }), "at most 63 bytes")
        assert.include(yield* refusal({ columns: { ["c".repeat(64)]: () => 1 } }), "SqlStore.columns")
      }))

    it.effect("a column of the store's own can't be written from outside", () =>
      Effect.gen(function*() {
        for (const name of ["id", "body", "successor", "revision", "touched_at", "deadline", "DEADLINE"]) {
          assert.include(yield* refusal({ columns: { [name]: () => "x" } }), "the store has a column of this name")
        }
      }))

    it.effect("a sweep that does nothing is refused", () =>
      Effect.gen(function*() {
        for (const sweepBatch of [0, -1, 1.5, Number.NaN]) {
          assert.include(yield* refusal({ sweepBatch }), "write a whole number of rows")
        }
        assert.include(yield* refusal({ sweepInterval: 0 }), "write a finite duration above zero")
        assert.include(yield* refusal({ sweepInterval: "soon" as "1 minute" }), "write a finite duration above zero")
      }))

    it.scoped("another dialect is refused", () =>
      Effect.gen(function*() {
        const other = {
          onDialectOrElse: (options: { readonly orElse: () => unknown }) => options.orElse()
        } as SqlClient.SqlClient
        const error = yield* Effect.flip(storeOn(other, {}))
        assert.include(String(error), "PostgreSQL, SQLite, MySQL or MariaDB")
      }))

    it.effect("layerConfig takes its options from Config", () =>
      Effect.gen(function*() {
        const provider = ConfigProvider.fromMap(new Map([["TABLE", "a.b"]]))
        const error = yield* Layer.build(SqlStore.layerConfig({ table: Config.string("TABLE") })).pipe(
          Effect.scoped,
          Effect.provide(client),
          Effect.withConfigProvider(provider),
          Effect.flip
        )
        assert.include(String(error), `{"schema":"a","table":"b"}`)
      }))

    it.effect("migrations fail for a wrong name", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(SqlStore.migrations({ table: "a.b" }))
        assert.strictEqual(error._tag, "MigrationError")
        assert.include(error.message, `"schema":"a"`)
        assert.throws(() => SqlStore.ddl("pg", { table: "a.b" }))
      }))
  })

  it("the definition is printable, in each dialect", () => {
    assert.strictEqual(
      SqlStore.ddl("pg", { schema: "we\"b", table: "Order" }),
      `CREATE TABLE IF NOT EXISTS "we""b"."Order" (
  id varchar(64) COLLATE "C" PRIMARY KEY,
  body json,
  successor varchar(64) COLLATE "C",
  revision bigint NOT NULL,
  touched_at bigint NOT NULL,
  deadline bigint NOT NULL,
  subject varchar(43) COLLATE "C"
);
CREATE INDEX IF NOT EXISTS "Order_deadline" ON "we""b"."Order" (deadline);
CREATE INDEX IF NOT EXISTS "Order_subject" ON "we""b"."Order" (subject, touched_at, id) WHERE subject IS NOT NULL;
`
    )
    assert.strictEqual(
      SqlStore.ddl("sqlite", { schema: "aux" }),
      `CREATE TABLE IF NOT EXISTS "aux"."sessions" (
  id TEXT NOT NULL PRIMARY KEY,
  body TEXT,
  successor TEXT,
  revision INTEGER NOT NULL,
  touched_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  subject TEXT
);
CREATE INDEX IF NOT EXISTS "aux"."sessions_deadline" ON "sessions" (deadline);
CREATE INDEX IF NOT EXISTS "aux"."sessions_subject" ON "sessions" (subject, touched_at, id) WHERE subject IS NOT NULL;
`
    )
    assert.strictEqual(
      SqlStore.ddl("mysql", { table: "a`b" }),
      `CREATE TABLE IF NOT EXISTS \`a\`\`b\` (
  id varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  body longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  successor varchar(64) CHARACTER SET ascii COLLATE ascii_bin,
  revision bigint NOT NULL,
  touched_at bigint NOT NULL,
  deadline bigint NOT NULL,
  subject varchar(43) CHARACTER SET ascii COLLATE ascii_bin,
  KEY \`a\`\`b_deadline\` (deadline),
  KEY \`a\`\`b_subject\` (subject, touched_at, id)
) ENGINE=InnoDB;
`
    )
  })

  describe("what is tried again", () => {
    const failing = (times: number, code: string) =>
      Effect.gen(function*() {
        const calls = yield* Ref.make(0)
        const effect = Effect.flatMap(
          Ref.updateAndGet(calls, (n) => n + 1),
          (n) => n > times ? Effect.succeed(n) : Effect.fail(Sql.failure(new SqlError({ cause: { code } }), []))
        )
        return { calls, effect: Sql.persistently(effect) }
      })

    it.effect("the victim of a deadlock at once, and not for ever", () =>
      Effect.gen(function*() {
        for (const code of ["40001", "40P01", "ER_LOCK_DEADLOCK", "ER_CHECKREAD"]) {
          const once = yield* failing(1, code)
          assert.strictEqual(yield* once.effect, 2)
          const always = yield* failing(Infinity, code)
          assert.strictEqual((yield* Effect.flip(always.effect)).code, code)
          assert.strictEqual(yield* always.calls, 11)
        }
      }))

    it.effect("a locked file after a wait", () =>
      Effect.gen(function*() {
        const { calls, effect } = yield* failing(2, "SQLITE_BUSY")
        const fiber = yield* Effect.fork(effect)
        yield* Effect.yieldNow()
        assert.strictEqual(yield* calls, 1)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* fiber, 3)
      }))

    it.effect("nothing else", () =>
      Effect.gen(function*() {
        const { calls, effect } = yield* failing(1, "42P01")
        yield* Effect.flip(effect)
        assert.strictEqual(yield* calls, 1)
      }))

    it.effect("nothing in a transaction of the app's own, which is lost as a whole", () =>
      Effect.gen(function*() {
        for (const code of ["40001", "SQLITE_BUSY"]) {
          const { calls, effect } = yield* failing(1, code)
          const inside = Effect.provideService(
            effect,
            SqlClient.TransactionConnection,
            [undefined, 0] as unknown as Context.Tag.Service<typeof SqlClient.TransactionConnection>
          )
          assert.strictEqual((yield* Effect.flip(inside)).code, code)
          assert.strictEqual(yield* calls, 1)
        }
      }))
  })
})

for (const database of Fixture.databases) {
  const { dialect } = database

  describe.skipIf(database.missing !== undefined)(Fixture.title("SqlStore", database), () => {
    layer(Layer.scoped(Here, Effect.orDie(database.schema)), {
      timeout: 60_000,
      excludeTestServices: true
    })("with a schema of its own", (shared) => {
      /** Each test has a clock of its own, which begins at 0. */
      const it = {
        scoped: <E>(name: string, self: () => Effect.Effect<void, E, Here | Scope.Scope>) =>
          shared.scoped(name, () => Effect.provide(self(), TestContext.TestContext), 120_000)
      }

      it.scoped("the migration runs once, and does no harm when it is run again", () =>
        Effect.gen(function*() {
          const sql = yield* connect()
          const migrate = (options: SqlStore.MigrationOptions, table: string) =>
            Effect.provideService(
              Migrator.make({})({ loader: SqlStore.migrations(options), table }),
              SqlClient.SqlClient,
              sql
            )
          assert.deepStrictEqual(yield* migrate({}, "migrations_one"), [
            [1, "create_sessions"],
            [2, "sessions_by_subject"]
          ])
          const store = yield* storeOn(sql, {})
          const token = yield* createSession(store, { n: 1 })
          assert.deepStrictEqual(yield* migrate({}, "migrations_one"), [])
          assert.deepStrictEqual(yield* migrate({ firstId: 7 }, "migrations_two"), [
            [7, "create_sessions"],
            [8, "sessions_by_subject"]
          ])
          yield* Effect.scoped(
            Layer.build(SqlStore.layerMigrations()).pipe(Effect.provideService(SqlClient.SqlClient, sql))
          )
          assert.strictEqual(yield* count(sql, sql.literal("effect_session_migrations")), 2)
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
        }))

      it.scoped("the second migration alters the table of the first, whatever its name, and keeps its sessions", () =>
        Effect.gen(function*() {
          const sql = yield* connect()
          for (const [index, table] of ["before_subjects", "Before \"sub`jects\"", "bef'ore; --"].entries()) {
            const migrate = (loader: Migrator.Loader) =>
              Effect.provideService(
                Migrator.make({})({ loader, table: `migrations_${index}` }),
                SqlClient.SqlClient,
                sql
              )
            const loader = SqlStore.migrations({ table })
            yield* migrate(Effect.map(loader, (all) => all.slice(0, 1)))
            const quoted = sql.literal(Sql.quote(dialect, table))
            const token = yield* drawToken()
            const body = SessionRecord.encode(yield* makeRecord({ n: 1 }))
            const json = sql.literal(dialect === "pg" ? "::json" : "")
            yield* sql`INSERT INTO ${quoted} (id, body, revision, touched_at, deadline)
              VALUES (${yield* SessionToken.toId(token)}, ${body}${json}, 1, 0, ${hour})`
            assert.deepStrictEqual(yield* migrate(loader), [[2, "sessions_by_subject"]])
            const context = yield* Layer.build(SqlStore.layer({ table })).pipe(
              Effect.provideService(SqlClient.SqlClient, sql)
            )
            const store = Context.get(context, Store.Store)
            assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
            yield* createSession(store, {}, { subject: "ann" })
            assert.strictEqual(yield* Context.get(context, Sessions.Sessions).count("ann"), 1)
            // the column never shows whose the session is
            assert.strictEqual(yield* count(sql, quoted, sql`subject = 'ann'`), 0)
            const hash = createHash("sha256").update("ann").digest("base64url")
            assert.strictEqual(yield* count(sql, quoted, sql`subject = ${hash}`), 1)
            // a table that was made by the text has it already
            yield* define(sql, dialect, { table: `new ${table}` })
            yield* Effect.provideService(
              Migrator.make({})({
                loader: SqlStore.migrations({ table: `new ${table}` }),
                table: `new_migrations_${index}`
              }),
              SqlClient.SqlClient,
              sql
            )
          }
        }))

      it.scoped("P25: reserved words, capitals, spaces and quotes are names like others", () =>
        Effect.gen(function*() {
          for (const table of ["insert", "Sessions of \"us\"", "a`b", "sch'ema; --", "?"]) {
            const { sql, store, table: quoted } = yield* open(dialect, { table })
            const token = yield* createSession(store, { n: 0 })
            yield* increment(store, token)
            const next = yield* drawToken()
            const record = yield* recordOf(store, token)
            const revision = revisionOf(yield* store.renew(token, record.revision, next, record))
            yield* store.touch(next, revision, record.deadline + 1)
            yield* store.remove(next)
            assert.strictEqual(yield* count(sql, quoted), 2)
          }
        }))

      it.scoped("P25: columns of the app's own, whatever their names, follow the session's data", () =>
        Effect.gen(function*() {
          const sql = yield* connect()
          const table = { table: "columns" }
          yield* define(sql, dialect, table)
          for (const [name, type] of [["where", "varchar(40)"], ["set", "integer"], ["User \"Id\"", "varchar(40)"]]) {
            yield* sql.unsafe(`ALTER TABLE columns ADD COLUMN ${Sql.quote(dialect, String(name))} ${type}`)
          }
          const store = yield* storeOn(sql, {
            ...table,
            columns: {
              where: (record) => record.subject ?? null,
              set: (record) => Number(record.data["n"]),
              "User \"Id\"": () => "it's $1 ?"
            }
          })
          const columnsOf = (token: SessionToken.Token) =>
            Effect.gen(function*() {
              const id = yield* SessionToken.toId(token)
              const rows = yield* sql<Record<string, unknown>>`SELECT * FROM columns WHERE id = ${id}`
              return rows.map((row) => [row["where"], row["set"], row["User \"Id\""]])
            })
          const token = yield* createSession(store, { n: 1 }, { subject: "ann" })
          assert.deepStrictEqual(yield* columnsOf(token), [["ann", 1, "it's $1 ?"]])
          yield* increment(store, token)
          assert.deepStrictEqual(yield* columnsOf(token), [["ann", 2, "it's $1 ?"]])
          const record = yield* recordOf(store, token)
          const next = yield* drawToken()
          yield* store.renew(token, record.revision, next, { ...withData(record, { n: 3 }), subject: "bob" })
          assert.deepStrictEqual(yield* columnsOf(next), [["bob", 3, "it's $1 ?"]])
          assert.deepStrictEqual(yield* columnsOf(token), [[null, null, null]])
          yield* store.remove(next)
          assert.deepStrictEqual(yield* columnsOf(next), [[null, null, null]])
          // a dead row that a new session takes over gets the new session's
          yield* TestClock.adjust("2 minutes")
          const again = yield* makeRecord({ n: 9 })
          assert.strictEqual((yield* store.create(next, again))._tag, "Created")
          assert.deepStrictEqual(yield* columnsOf(next), [[null, 9, "it's $1 ?"]])
        }))

      it.scoped("P27: schema and table are two quoted names", () =>
        Effect.gen(function*() {
          const here = yield* Here
          const sql = yield* connect()
          const options = { schema: here.name, table: "qualified" }
          yield* define(sql, dialect, options)
          const store = yield* storeOn(sql, options)
          const token = yield* createSession(store, { n: 1 })
          const next = yield* drawToken()
          yield* store.renew(token, 0, next, yield* recordOf(store, token))
          const qualified = sql.literal(`${Sql.quote(dialect, here.name)}.${Sql.quote(dialect, "qualified")}`)
          assert.strictEqual(yield* count(sql, qualified), 2)
          const elsewhere = yield* storeOn(sql, { schema: "nowhere", table: "qualified" })
          assert.strictEqual((yield* Effect.flip(elsewhere.load(next))).reason, "Unavailable")
        }))

      it.scoped("S06 S07: the table holds the hash of a token, never the token", () =>
        Effect.gen(function*() {
          const { sql, store, table } = yield* open(dialect, { table: "hashed" })
          const token = yield* createSession(store, { n: 1 })
          const text = JSON.stringify(yield* sql`SELECT * FROM ${table}`)
          assert.include(text, yield* SessionToken.toId(token))
          assert.notInclude(text, Redacted.value(token))
        }))

      it.scoped("ids that differ in case alone are two", () =>
        Effect.gen(function*() {
          const { backend } = yield* open(dialect, { table: "capitals" })
          assert.isTrue(yield* backend.insert(key("abc"), entry(10), 0))
          assert.isTrue(yield* backend.insert(key("ABC"), entry(10), 0))
          assert.isFalse(yield* backend.insert(key("abc"), entry(10), 0))
        }))

      it.scoped("X18 S61: every JSON value comes back to the letter", () =>
        Effect.gen(function*() {
          const { sql, store, table } = yield* open(dialect, { table: "letters" })
          const known = [
            { nul: "\u0000", nested: { "\u0000": "\u0000\u0001\u001f\u007f" } },
            { lone: "\ud83c", other: "\udf6a", swapped: "\udf6a\ud83c", "\ud800": 1 },
            { cookie: "\u{1f36a}", "\u{1f36a}": "\u{10ffff}\ufeff\u2028" },
            { z: 1, a: 2, "10": 3, "9": 4 },
            {
              numbers: [
                1e21,
                1e308,
                5e-324,
                9007199254740993,
                1234567890123456800000,
                0.1,
                -1.5e-7,
                1.7976931348623157e308
              ]
            },
            { empty: "", array: [], object: {}, none: null, yes: true },
            { quotes: "'\"`\\$1 ? :name -- /* ; %s \\u0000" }
          ]
          const check = (data: { readonly [key: string]: unknown }) =>
            Effect.gen(function*() {
              const token = yield* createSession(store, { first: true })
              const record = withData(yield* recordOf(store, token), data)
              yield* store.update(token, 0, record)
              const id = yield* SessionToken.toId(token)
              const column = sql.literal(dialect === "pg" ? "body::text" : "body")
              const rows = yield* sql<
                { readonly body: string }
              >`SELECT ${column} AS body FROM ${table} WHERE id = ${id}`
              assert.strictEqual(rows[0]?.body, SessionRecord.encode(record))
              const found = yield* dataOf(store, token)
              assert.strictEqual(JSON.stringify(found), JSON.stringify(record.data))
              assert.deepStrictEqual(found, record.data)
            })
          yield* Effect.forEach(known, check)
          const object = FastCheck.dictionary(
            FastCheck.string({ unit: "binary", maxLength: 8 }).filter((name) => name !== "__proto__"),
            FastCheck.oneof(
              FastCheck.string({ unit: "binary" }),
              FastCheck.double({ noNaN: true, noDefaultInfinity: true })
            )
              .map((value) => Object.is(value, -0) ? 0 : value),
            { maxKeys: 5 }
          )
          yield* Effect.forEach(FastCheck.sample(object, { numRuns: 30, seed: 42 }), check)
        }))

      it.scoped("X19: a row that can't be decoded is no session, and no error", () =>
        Effect.gen(function*() {
          const { sql, store, table } = yield* open(dialect, { table: "foreign_rows" })
          for (const body of ["{}", "[1]", `{"v":1}`, `{"v":99,"data":{}}`, "null", `""`]) {
            const token = yield* createSession(store, { n: 1 })
            const id = yield* SessionToken.toId(token)
            const json = sql.literal(dialect === "pg" ? "::json" : "")
            yield* sql`UPDATE ${table} SET body = ${body}${json} WHERE id = ${id}`
            assert.strictEqual(yield* dataOf(store, token), "None")
            assert.strictEqual(yield* count(sql, table, sql`id = ${id}`), 1)
          }
        }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))

      it.scoped("X20 S05: a token that is taken is not given to a newcomer, live or superseded", () =>
        Effect.gen(function*() {
          const { store } = yield* open(dialect, { table: "taken" })
          const token = yield* createSession(store, { user: "ann" })
          const newcomer = yield* makeRecord({ user: "eve" })
          assert.deepStrictEqual(yield* store.create(token, newcomer), Store.exists)
          assert.deepStrictEqual(yield* dataOf(store, token), { user: "ann" })
          yield* store.remove(token)
          assert.deepStrictEqual(yield* store.create(token, newcomer), Store.exists)
          assert.strictEqual(yield* dataOf(store, token), "Superseded")
        }))

      it.scoped("S20: an expired session and an expired tombstone, not swept yet, hold no token", () =>
        Effect.gen(function*() {
          const { backend } = yield* open(dialect, { table: "expired" })
          assert.isTrue(yield* backend.insert(key("session"), entry(10), 0))
          assert.isFalse(yield* backend.insert(key("session"), entry(20), 9))
          assert.isTrue(yield* backend.insert(key("session"), entry(20), 10))
          assert.isTrue(yield* backend.insert(key("tombstone"), entry(10), 0))
          yield* backend.remove(key("tombstone"), { _tag: "Tombstone", until: 30 }, 5)
          assert.isFalse(yield* backend.insert(key("tombstone"), entry(40), 29))
          assert.isTrue(yield* backend.insert(key("tombstone"), entry(40), 30))
          assert.deepStrictEqual(yield* backend.get(key("tombstone"), 30), Option.some(entry(40)))
          // of many that find it expired at once, one takes it
          const answers = yield* Effect.forEach(
            Array.from({ length: 10 }),
            () => backend.insert(key("session"), entry(50), 20),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(answers.filter((taken) => taken).length, 1)
        }))

      it.scoped("S65: 100 increments in parallel, from two instances, end at 100", () =>
        Effect.gen(function*() {
          const { store } = yield* open(dialect, { table: "increments" })
          const other = dialect === "sqlite" ? store : yield* storeOn(yield* connect(), { table: "increments" })
          const token = yield* createSession(store, { n: 0 })
          yield* Effect.forEach(
            Array.from({ length: 100 }, (_, index) => index % 2 === 0 ? store : other),
            (store) => increment(store, token),
            // each round of conflicts lets one land: with all at once the test would be 5000 conflicts long
            { concurrency: 10 }
          )
          const record = yield* recordOf(store, token)
          assert.deepStrictEqual(record.data, { n: 100 })
          assert.isAtLeast(record.revision, 100)
        }))

      it.scoped("D5: after a restored backup, a writer that read a lost write gets a Conflict, also where another wrote since", () =>
        Effect.gen(function*() {
          const { sql, store, table } = yield* open(dialect, { table: "restored" })
          yield* writersOfALostRevision(store, () =>
            Effect.as(
              sql`CREATE TABLE backup AS SELECT * FROM ${table}`,
              Effect.zipRight(sql`DELETE FROM ${table}`, sql`INSERT INTO ${table} SELECT * FROM backup`)
            ))
        }))

      it.scoped("S05 S13: a renewal that can't be completed changes nothing", () =>
        Effect.gen(function*() {
          const { store } = yield* open(dialect, { table: "renewals" })
          const token = yield* createSession(store, { user: "ann" })
          const victim = yield* createSession(store, { user: "eve" })
          const record = yield* recordOf(store, token)
          const error = yield* Effect.flip(store.renew(token, 0, victim, record))
          assert.strictEqual(error.reason, "Unavailable")
          assert.notInclude(printed(error), yield* SessionToken.toId(victim))
          assert.deepStrictEqual(yield* recordOf(store, token), record)
          assert.deepStrictEqual(yield* dataOf(store, victim), { user: "eve" })
        }))

      it.scoped("C7: a logout with the old token ends the session that renewals made of it", () =>
        Effect.gen(function*() {
          const { sql, store, table } = yield* open(dialect, { table: "followed" })
          const first = yield* createSession(store, { n: 0 })
          const record = yield* recordOf(store, first)
          const second = yield* drawToken()
          const third = yield* drawToken()
          const renewed = revisionOf(yield* store.renew(first, 0, second, record))
          const again = revisionOf(yield* store.renew(second, renewed, third, record))
          assert.deepStrictEqual(yield* dataOf(store, third), { n: 0 })
          yield* store.remove(first)
          for (const token of [first, second, third]) {
            assert.strictEqual(yield* dataOf(store, token), "Superseded")
          }
          assert.deepStrictEqual(yield* store.update(third, again, record), Store.gone)
          // whoever takes over a tombstone's row is nobody's predecessor
          yield* TestClock.adjust("2 minutes")
          assert.strictEqual((yield* store.create(first, yield* makeRecord({ n: 1 })))._tag, "Created")
          const id = yield* SessionToken.toId(first)
          assert.strictEqual(yield* count(sql, table, sql`id = ${id} AND successor IS NULL`), 1)
        }))

      it.scoped("C7: a tombstone that no longer counts is followed nowhere", () =>
        Effect.gen(function*() {
          const { store } = yield* open(dialect, { table: "forgotten" })
          const token = yield* createSession(store, { n: 0 })
          const next = yield* drawToken()
          yield* store.renew(token, 0, next, yield* recordOf(store, token))
          yield* TestClock.adjust("60 seconds")
          yield* store.remove(token)
          assert.deepStrictEqual(yield* dataOf(store, next), { n: 0 })
        }))

      it.scoped("C7: a renewal that came after the transaction's first read is followed as well", () =>
        Effect.gen(function*() {
          if (dialect === "sqlite") {
            return // one writer at a time: nothing can come between
          }
          const { sql, store } = yield* open(dialect, { table: "late_renewals" })
          const token = yield* createSession(store, { n: 0 })
          const next = yield* drawToken()
          const other = yield* storeOn(yield* connect(), { table: "late_renewals" })
          const asked = yield* Deferred.make<void>()
          const renewal = yield* Effect.fork(
            Effect.zipRight(
              Deferred.await(asked),
              Effect.flatMap(recordOf(other, token), (record) => other.renew(token, 0, next, record))
            )
          )
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* recordOf(store, token)
            yield* Deferred.succeed(asked, undefined)
            yield* Fiber.join(renewal)
            yield* store.remove(token)
          }))
          assert.strictEqual(yield* dataOf(store, next), "Superseded")
        }))

      it.scoped("D10: a logout ends a session that has expired by its clock for a clock that is behind, too", () =>
        Effect.gen(function*() {
          const { store } = yield* open(dialect, { table: "clocks" })
          const token = yield* createSession(store, { n: 1 })
          const record = yield* recordOf(store, token)
          const behind = { now: record.deadline - 3000 }
          yield* store.remove(token, { now: record.deadline + 1 })
          assert.deepStrictEqual(yield* store.load(token, behind), Store.superseded)
          assert.deepStrictEqual(yield* store.touch(token, 0, record.deadline + hour, behind), Store.gone)
        }))

      it.scoped("an operation is one statement, and a conflict's record one more", () =>
        Effect.gen(function*() {
          const { store } = yield* open(dialect, { table: "statements" })
          const token = yield* createSession(store, { n: 0 })
          const other = yield* createSession(store, { n: 0 })
          const record = yield* makeRecord({ n: 1 })
          const next = yield* drawToken()
          const counting = <A, E>(effect: Effect.Effect<A, E>) =>
            Effect.gen(function*() {
              const statements = yield* Ref.make(0)
              yield* Statement.withTransformer(
                effect,
                (statement) => Effect.as(Ref.update(statements, (n) => n + 1), statement)
              )
              return yield* Ref.get(statements)
            })
          const first = {
            load: yield* counting(store.load(token)),
            create: yield* counting(Effect.flatMap(drawToken(), (fresh) => store.create(fresh, record))),
            update: yield* counting(store.update(token, 0, record)),
            conflict: yield* counting(store.update(token, 0, record))
          }
          const { revision } = yield* recordOf(store, token)
          assert.deepStrictEqual(
            {
              ...first,
              touch: yield* counting(store.touch(token, revision, 2 * hour)),
              idleTouch: yield* counting(store.touch(token, revision, 2 * hour)),
              renew: yield* counting(store.renew(token, revision, next, record)),
              remove: yield* counting(store.remove(other)),
              removeAgain: yield* counting(store.remove(other)),
              removeRenewed: yield* counting(store.remove(token))
            },
            {
              load: 1,
              create: 1,
              update: 1,
              conflict: 2,
              touch: 1,
              idleTouch: 2,
              renew: dialect === "mysql" ? 2 : 1,
              remove: 1,
              removeAgain: 2,
              removeRenewed: 3
            }
          )
        }))

      it.scoped("S68: two sweepers at once delete what is over, each row once, a batch at a time", () =>
        Effect.gen(function*() {
          const { backend, sql, table } = yield* open(dialect, { table: "swept" })
          const other = dialect === "sqlite" ? backend : SqlBackend.make({
            sql: yield* connect(),
            dialect,
            table: "swept",
            telling: yield* inProcess(sql),
            columns: []
          })
          yield* Effect.forEach(
            Array.from({ length: 330 }, (_, index) => index),
            (index) => backend.insert(key(`row-${index}`), entry(index < 300 ? index : 1000), -1),
            { concurrency: 10 }
          )
          const sweep = (backend: StoreBackend.Backend) =>
            Effect.gen(function*() {
              let total = 0
              while (true) {
                const deleted = yield* backend.sweep!(20, 300 + grace)
                assert.isAtMost(deleted, 20)
                total += deleted
                if ((yield* count(sql, table, sql`deadline <= 300`)) === 0) {
                  return total
                }
              }
            })
          const totals = yield* Effect.all([sweep(backend), sweep(other)], { concurrency: 2 })
          assert.strictEqual(totals[0] + totals[1], 300)
          assert.strictEqual(yield* count(sql, table), 30)
          // what ended less than a minute ago may be live by another process's clock
          assert.strictEqual(yield* backend.sweep!(20, 999 + grace), 0)
          assert.strictEqual(yield* backend.sweep!(20, 1000 + grace), 20)
        }))

      it.scoped("S68: a row that another sweeper holds is passed over, not waited for", () =>
        Effect.gen(function*() {
          if (dialect !== "pg") {
            return // a DELETE with a LIMIT waits its turn there
          }
          const { backend, sql, table } = yield* open(dialect, { table: "held" })
          yield* Effect.forEach(["a", "b", "c"], (id, index) => backend.insert(key(id), entry(index), -1))
          const other = yield* connect()
          const start = yield* Deferred.make<void>()
          const sweeper = yield* Effect.fork(Effect.zipRight(Deferred.await(start), backend.sweep!(10, 10 + grace)))
          yield* other.withTransaction(Effect.gen(function*() {
            yield* other`SELECT id FROM held WHERE id = 'a' FOR UPDATE`
            yield* Deferred.succeed(start, undefined)
            assert.strictEqual(yield* Fiber.join(sweeper), 2)
          }))
          assert.strictEqual(yield* count(sql, table), 1)
        }))

      it.scoped("S68: the layer sweeps at its interval", () =>
        Effect.gen(function*() {
          const { sql, table } = yield* open(dialect, { table: "daemon" })
          const store = yield* storeOn(sql, { table: "daemon", sweepInterval: "10 seconds", sweepBatch: 2 })
          yield* Effect.replicateEffect(createSession(store, {}, { deadline: 5000 }), 5)
          yield* createSession(store, {}, { deadline: hour })
          assert.strictEqual(yield* count(sql, table), 6)
          yield* TestClock.setTime(5000 + grace - 1)
          assert.strictEqual(yield* count(sql, table), 6)
          yield* Effect.repeat(Effect.zipRight(TestClock.adjust("10 seconds"), count(sql, table)), {
            until: (n) => n === 1
          })
        }))

      it.scoped("names in camel case on the app's side change nothing here", () =>
        Effect.gen(function*() {
          yield* open(dialect, { table: "snake_case" })
          const sql = yield* connect((yield* Here).other.camel)
          const store = yield* storeOn(sql, { table: "snake_case" })
          const token = yield* createSession(store, { n: 0 })
          const revision = revisionOf(yield* increment(store, token))
          const record = yield* recordOf(store, token)
          assert.deepStrictEqual([record.data, record.revision, record.deadline], [{ n: 1 }, revision, hour])
        }))

      it.scoped("a driver with other settings answers the same", () =>
        Effect.gen(function*() {
          const here = yield* Here
          for (const [name, client] of here.other.odd) {
            yield* open(dialect, { table: "odd" })
            const sql = yield* connect(client)
            const store = yield* storeOn(sql, { table: "odd" })
            const token = yield* createSession(store, { n: 0 })
            const revision = revisionOf(yield* increment(store, token))
            const record = yield* recordOf(store, token)
            assert.deepStrictEqual([record.revision, record.touchedAt, record.deadline], [revision, 0, hour], name)
            assert.strictEqual((yield* store.update(token, 0, record))._tag, "Conflict", name)
            for (const deadline of [hour + 1, hour + 1, hour]) {
              assert.strictEqual((yield* store.touch(token, revision, deadline))._tag, "Touched", name)
              assert.strictEqual((yield* recordOf(store, token)).deadline, hour + 1, name)
            }
            assert.strictEqual((yield* store.touch(token, 0, hour + 2))._tag, "Touched", name)
            const next = yield* drawToken()
            assert.strictEqual((yield* store.renew(token, revision, next, record))._tag, "Updated", name)
            assert.strictEqual((yield* store.renew(token, revision, yield* drawToken(), record))._tag, "Gone", name)
            assert.strictEqual((yield* store.touch(token, revision, hour + 2))._tag, "Gone", name)
            yield* sql`DELETE FROM odd`
          }
        }))

      describe("inside the app's own transaction", () => {
        const rolledBack = "rolled back"

        /** Runs in a fiber that is in no transaction, as another request would. */
        const elsewhere = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.gen(function*() {
            const asked = yield* Deferred.make<void>()
            const fiber = yield* Effect.fork(Effect.zipRight(Deferred.await(asked), effect))
            return Effect.zipRight(Deferred.succeed(asked, undefined), Fiber.join(fiber))
          })

        it.scoped("what is written lands with the app's rows", () =>
          Effect.gen(function*() {
            const { sql, store } = yield* open(dialect, { table: "landing" })
            yield* sql`CREATE TABLE orders (n integer)`
            const token = yield* createSession(store, { n: 0 })
            const other = yield* storeOn(yield* connect(), { table: "landing" })
            const outside = yield* elsewhere(dataOf(other, token))
            const created = yield* sql.withTransaction(Effect.gen(function*() {
              yield* sql`INSERT INTO orders (n) VALUES (1)`
              assert.strictEqual((yield* increment(store, token))._tag, "Updated")
              const created = yield* createSession(store, { in: true })
              assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
              assert.deepStrictEqual(yield* outside, { n: 0 })
              return created
            }))
            assert.deepStrictEqual(yield* dataOf(other, token), { n: 1 })
            assert.deepStrictEqual(yield* dataOf(other, created), { in: true })
            assert.strictEqual(yield* count(sql, sql.literal("orders")), 1)
            yield* sql`DROP TABLE orders`
          }))

        it.scoped("after a rollback nothing was written, by no operation", () =>
          Effect.gen(function*() {
            const { sql, store, table } = yield* open(dialect, { table: "rollbacks" })
            const tokens = yield* Effect.replicateEffect(createSession(store, { n: 0 }), 4)
            const before = yield* sql`SELECT * FROM ${table} ORDER BY id`
            const [changed, renewed, touched, removed] = tokens as [
              SessionToken.Token,
              SessionToken.Token,
              SessionToken.Token,
              SessionToken.Token
            ]
            const error = yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
              yield* increment(store, changed)
              const record = yield* recordOf(store, renewed)
              assert.strictEqual((yield* store.renew(renewed, 0, yield* drawToken(), record))._tag, "Updated")
              assert.strictEqual((yield* store.touch(touched, 0, 2 * hour))._tag, "Touched")
              yield* store.remove(removed)
              yield* createSession(store, { n: 0 })
              assert.strictEqual(yield* count(sql, table), 6)
              return yield* Effect.fail(rolledBack)
            })))
            assert.strictEqual(error, rolledBack)
            assert.deepStrictEqual(yield* sql`SELECT * FROM ${table} ORDER BY id`, before)
          }))

        it.scoped("a conflict is answered with the record that stood in the way, and ruins no transaction", () =>
          Effect.gen(function*() {
            const { sql, store, table } = yield* open(dialect, { table: "conflicts" })
            const token = yield* createSession(store, { n: 0 })
            const seen = yield* recordOf(store, token)
            yield* increment(store, token)
            const answers = yield* sql.withTransaction(Effect.gen(function*() {
              const conflict = yield* store.update(token, seen.revision, withData(seen, { n: 5 }))
              const renewal = yield* store.renew(token, seen.revision, yield* drawToken(), seen)
              const taken = yield* store.create(token, seen)
              const gone = yield* store.update(yield* drawToken(), 0, seen)
              yield* createSession(store, { after: true })
              return [conflict, renewal, taken, gone] as const
            }))
            const now = yield* recordOf(store, token)
            assert.deepStrictEqual(answers, [Store.conflict(now), Store.conflict(now), Store.exists, Store.gone])
            assert.strictEqual(yield* count(sql, table), 2)
          }))

        it.scoped("a conflict that came after the transaction's first read is seen as well", () =>
          Effect.gen(function*() {
            if (dialect === "sqlite") {
              return // one writer at a time: nothing can come between
            }
            const { sql, store } = yield* open(dialect, { table: "late_conflicts" })
            const token = yield* createSession(store, { n: 0 })
            const other = yield* storeOn(yield* connect(), { table: "late_conflicts" })
            const interfere = yield* elsewhere(increment(other, token))
            const answer = yield* sql.withTransaction(Effect.gen(function*() {
              const seen = yield* recordOf(store, token)
              yield* interfere
              return yield* store.update(token, seen.revision, withData(seen, { n: 5 }))
            }))
            assert.deepStrictEqual(answer, Store.conflict(yield* recordOf(store, token)))
            assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
          }))

        it.scoped("a transaction that the database gives up because of another one fails with Contention", () =>
          Effect.gen(function*() {
            if (dialect !== "pg") {
              return // only there a transaction can ask for it without a deadlock
            }
            const { sql, store } = yield* open(dialect, { table: "given_up" })
            const token = yield* createSession(store, { n: 0 })
            const other = yield* storeOn(yield* connect(), { table: "given_up" })
            const interfere = yield* elsewhere(increment(other, token))
            const error = yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
              yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
              const seen = yield* recordOf(store, token)
              yield* interfere
              return yield* store.update(token, seen.revision, withData(seen, { n: 5 }))
            })))
            assert.isTrue(Store.isStoreError(error) && error.reason === "Contention", String(error))
            assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
          }))

        const current = (backend: SqlBackend.Backend) => Effect.map(backend.transaction, Option.getOrThrow)

        it.scoped("a transaction is known by its key, and outside there is none", () =>
          Effect.gen(function*() {
            const { backend, sql } = yield* open(dialect, { table: "keys" })
            assert.isTrue(Option.isNone(yield* backend.transaction))
            const key = Effect.map(current(backend), (transaction) => transaction.key)
            const [first, same, nested, last] = yield* sql.withTransaction(
              Effect.all([key, Effect.flatten(Effect.fork(key)), sql.withTransaction(key), key])
            )
            assert.strictEqual(first, same)
            assert.notStrictEqual(first, nested)
            assert.strictEqual(first, last)
            assert.notStrictEqual(first, yield* sql.withTransaction(key))
            assert.isTrue(Option.isNone(yield* backend.transaction))
          }))

        it.scoped("a mark tells how it ended, however often it is asked", () =>
          Effect.gen(function*() {
            const { backend, sql } = yield* open(dialect, { table: "marks" })
            const mark = Effect.flatMap(current(backend), (transaction) => transaction.mark)
            const landed = yield* sql.withTransaction(mark)
            const slot = yield* Ref.make<Effect.Effect<boolean, unknown>>(Effect.die("not marked"))
            yield* Effect.exit(sql.withTransaction(Effect.zipRight(
              Effect.flatMap(mark, (asked) => Ref.set(slot, asked)),
              Effect.fail(rolledBack)
            )))
            const failed = yield* Ref.get(slot)
            const [outer, inner] = yield* sql.withTransaction(Effect.gen(function*() {
              const outer = yield* mark
              yield* Effect.exit(sql.withTransaction(Effect.zipRight(
                Effect.flatMap(mark, (asked) => Ref.set(slot, asked)),
                Effect.fail(rolledBack)
              )))
              assert.isTrue(yield* outer)
              return [outer, yield* Ref.get(slot)] as const
            }))
            for (const _ of [1, 2, 3]) {
              assert.isTrue(yield* landed)
              assert.isFalse(yield* failed)
              assert.isTrue(yield* outer)
              assert.isFalse(yield* inner)
            }
            // marks are no sessions, and are swept
            assert.strictEqual(yield* backend.sweep!(100, hour + grace - 1), 0)
            assert.strictEqual(yield* backend.sweep!(100, hour + grace), 4)
          }))

        it.scoped("who asks for a mark while the transaction is open waits for its end", () =>
          Effect.gen(function*() {
            if (dialect === "sqlite") {
              return // the driver's own queue makes it wait
            }
            const { backend, sql } = yield* open(dialect, { table: "open_marks" })
            const watcher = yield* connect()
            const waiting = dialect === "pg"
              ? watcher`SELECT 1 FROM pg_stat_activity
                  WHERE wait_event_type = 'Lock' AND query LIKE '%"open_marks"%' AND pid <> pg_backend_pid()`
              : watcher`SELECT 1 FROM information_schema.global_status
                  WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS' AND variable_value > 0`
            const start = yield* Deferred.make<Effect.Effect<boolean, unknown>>()
            const asker = yield* Effect.fork(Effect.flatten(Deferred.await(start)))
            const watch = yield* elsewhere(Effect.repeat(waiting, { until: (rows) => rows.length > 0 }))
            yield* sql.withTransaction(Effect.gen(function*() {
              const { mark } = yield* current(backend)
              yield* Deferred.succeed(start, yield* mark)
              yield* watch
            }))
            assert.isTrue(yield* Fiber.join(asker))
          }))
      })

      describe("when the database fails", () => {
        const secrets = (token: SessionToken.Token) =>
          Effect.map(SessionToken.toId(token), (id) => [Redacted.value(token), id, "very private", Fixture.password])

        const everyOperation = (store: Clocked, token: SessionToken.Token) =>
          Effect.gen(function*() {
            const record = yield* makeRecord({ secret: "very private" }, { subject: "very private" })
            return yield* Effect.forEach([
              store.load(token),
              store.create(token, record),
              store.update(token, 0, record),
              store.renew(token, 0, yield* drawToken(), record),
              store.touch(token, 0, hour * 2),
              store.remove(token)
            ], (operation) => Effect.flip(operation))
          })

        it.scoped("S07 S66: a table that is not there is a StoreError that names it, and nothing private", () =>
          Effect.gen(function*() {
            const store = yield* storeOn(yield* connect(), { table: "no_such_table" })
            const token = yield* drawToken()
            const errors = yield* everyOperation(store, token)
            assert.deepStrictEqual(errors.map((error) => [error.reason, error.method]), [
              ["Unavailable", "SqlStore.load"],
              ["Unavailable", "SqlStore.create"],
              ["Unavailable", "SqlStore.update"],
              ["Unavailable", "SqlStore.renew"],
              ["Unavailable", "SqlStore.touch"],
              ["Unavailable", "SqlStore.remove"]
            ])
            for (const error of errors) {
              assert.include(printed(error), "no_such_table")
              for (const secret of yield* secrets(token)) {
                assert.notInclude(printed(error), secret)
              }
            }
          }))

        it.scoped("S07: a value that the database refuses is not repeated in the error", () =>
          Effect.gen(function*() {
            if (dialect === "sqlite") {
              return // takes anything in any column
            }
            const sql = yield* connect()
            yield* define(sql, dialect, { table: "refusing" })
            yield* sql.unsafe("ALTER TABLE refusing ADD COLUMN owner integer")
            const store = yield* storeOn(sql, { table: "refusing", columns: { owner: () => "very private" } })
            const token = yield* drawToken()
            const record = yield* makeRecord({ secret: "very private" })
            const error = yield* Effect.flip(store.create(token, record))
            assert.include(printed(error), "integer")
            for (const secret of yield* secrets(token)) {
              assert.notInclude(printed(error), secret)
            }
          }))

        const server = Fixture.server(database)

        it.scoped("S66: a server that is gone is a StoreError without its address's secrets", () =>
          Effect.gen(function*() {
            if (server === undefined) {
              return // a file has no server
            }
            yield* open(dialect, { table: "gone_server" })
            const proxy = yield* Fixture.proxy(server, dialect === "pg" ? 5432 : 3306)
            const sql = yield* connect((yield* Here).other.through(proxy.port))
            const store = yield* storeOn(sql, { table: "gone_server" })
            const token = yield* createSession(store, { n: 1 })
            yield* proxy.cut
            for (const error of yield* everyOperation(store, token)) {
              assert.strictEqual(error.reason, "Unavailable")
              for (const secret of yield* secrets(token)) {
                assert.notInclude(printed(error), secret)
              }
            }
          }))

        it.scoped("D12: a connection that is lost at any step of a renewal is a StoreError, never a defect", () =>
          Effect.gen(function*() {
            if (server === undefined) {
              return // a file has no connections
            }
            yield* open(dialect, { table: "cut_renewal" })
            const proxy = yield* Fixture.proxy(server, dialect === "pg" ? 5432 : 3306)
            const sql = yield* connect((yield* Here).other.through(proxy.port))
            const store = yield* storeOn(sql, { table: "cut_renewal" })
            for (let answer = 1; answer <= 6; answer++) {
              const token = yield* Effect.eventually(createSession(store, { n: 1 }))
              const record = yield* recordOf(store, token)
              yield* proxy.dropAnswer(answer)
              const exit = yield* Effect.exit(store.renew(token, record.revision, yield* drawToken(token), record))
              const failure = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : undefined
              assert.isTrue(failure === undefined || failure._tag === "Some", `answer ${answer}: ${String(exit)}`)
              yield* proxy.dropAnswer(Number.POSITIVE_INFINITY)
            }
          }))

        it.scoped("a file that another process holds is waited for", () =>
          Effect.gen(function*() {
            if (dialect !== "sqlite") {
              return // a server keeps its writers in line by itself
            }
            const { backend } = yield* open(dialect, { table: "busy" })
            yield* backend.insert(key("a"), entry(hour), 0)
            const other = yield* connect()
            const tombstone: StoreBackend.Tombstone = { _tag: "Tombstone", until: hour }
            const start = yield* Deferred.make<void>()
            const writer = yield* Effect.fork(Effect.zipRight(
              Deferred.await(start),
              backend.rename(key("a"), 0, key("b"), { ...entry(hour), revision: 1 }, tombstone, 0)
            ))
            yield* other.withTransaction(Effect.gen(function*() {
              yield* other`DELETE FROM busy WHERE id = 'nobody'`
              yield* Deferred.succeed(start, undefined)
              yield* Effect.repeat(TestClock.sleeps(), { until: (sleeps) => Chunk.isNonEmpty(sleeps) })
              assert.isTrue(Option.isNone(yield* writer.poll))
            }))
            yield* TestClock.adjust("1 second")
            assert.deepStrictEqual(yield* Fiber.join(writer), StoreBackend.replaced)
          }))

        it.scoped("P26: connections that died are replaced by the client, and the store goes on", () =>
          Effect.gen(function*() {
            if (server === undefined) {
              return // a file has no connections
            }
            yield* open(dialect, { table: "new_connections" })
            const proxy = yield* Fixture.proxy(server, dialect === "pg" ? 5432 : 3306)
            const sql = yield* connect((yield* Here).other.through(proxy.port))
            const store = yield* storeOn(sql, { table: "new_connections" })
            const token = yield* createSession(store, { n: 1 })
            yield* proxy.drop
            assert.deepStrictEqual(yield* Effect.eventually(dataOf(store, token)), { n: 1 })
          }))
      })
    })
  })
}
