/**
 * Keeps sessions in a table of PostgreSQL, SQLite, MySQL or MariaDB, through the `SqlClient` that the app has already.
 * A migration makes the table. Writes are conditional on the revision that was read, so that no writer undoes another.
 * The module knows nothing of HTTP, and nothing of the database's driver except its dialect.
 *
 * **Costs.** Load, create, update, renew, touch and remove are one statement each, and so one round trip. On MySQL and
 * MariaDB a renewal is a transaction of two statements. A conflict takes one statement more, and so do a touch that has
 * nothing to move and a removal that finds no session. Removing the old token of a renewed session takes two statements
 * to find its successor and one to end it. `Sessions.list` is one SELECT for each 500 sessions, and `Sessions.revoke` is
 * one UPDATE.
 *
 * **Watching.** On PostgreSQL by `@effect/sql-pg`, whoever watches a session is told of its changes by LISTEN and
 * NOTIFY. All watchers of a store share one connection beside the pool, and one statement every 5 seconds proves that
 * it still hears; while nobody watches there is neither. If that statement fails, is not answered within 5 seconds, or is
 * not heard, watchers are told to ask, and again after each further attempt, so that they fail if the database can't be
 * asked. A renewal and an end are always told at once. A write of data
 * sends its notice only while somebody watches, because PostgreSQL commits notices one after another, and other
 * instances may learn up to 5 seconds late that somebody has begun to. In a transaction of the app's own it always
 * does. The row `watched` of the table says that somebody watches. Other databases and clients tell of this process's
 * writes alone, so a watcher asks for the others'. They do not say when a transaction of the app's own was committed, so
 * whoever watches one of its sessions is told of the write again and again, for 10 seconds.
 *
 * **SQLite.** Several processes share a file through `@effect/sql-sqlite-node`. With `@effect/sql-libsql` a `file:` URL is
 * for one process alone: after one "database is locked" its driver acknowledges writes that are never committed. A warning
 * is logged when the store is built on one. `@effect/sql-sqlite-node` lets the process stand still while a file is locked,
 * for 5 seconds by default. The store waits 10 ms at a time instead, for about 4 seconds, outside of the app's transactions.
 *
 * **Inside the app's own `sql.withTransaction`** every operation runs on that transaction's connection, and is
 * committed or rolled back with the app's rows. There, `Session.commit` tries once: a conflict fails with a
 * `StoreError` of reason `Contention`, so that the app can run its transaction again. So does a deadlock or a failure to
 * serialize, with which the database gives up the whole transaction. The session also finds out
 * whether the transaction was rolled back, which takes one more statement for each commit and one afterwards.
 * `@effect/sql` shows an open transaction to every client. If an app has a second `SqlClient` for another database, it
 * must not use the session inside that client's transactions.
 *
 * @since 0.1.0
 */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import * as SqlError from "@effect/sql/SqlError"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as environment from "./internal/environment.js"
import type { Checked } from "./internal/options.js"
import * as options from "./internal/options.js"
import * as backend from "./internal/sqlStore/backend.js"
import * as Postgres from "./internal/sqlStore/postgres.js"
import type { Primitive } from "./internal/sqlStore/row.js"
import * as Sqlite from "./internal/sqlStore/sqlite.js"
import type { Dialect } from "./internal/sqlStore/statements.js"
import * as Sql from "./internal/sqlStore/statements.js"
import * as Table from "./internal/sqlStore/table.js"
import * as Telling from "./internal/sqlStore/telling.js"
import type * as SessionRecord from "./SessionRecord.js"
import * as Sessions from "./Sessions.js"
import * as Store from "./Store.js"
import * as StoreBackend from "./StoreBackend.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Dialect,
  /**
   * @since 0.1.0
   * @category models
   */
  Primitive
}

/**
 * Where the table is. Names are quoted, so reserved words and capitals are allowed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Placement {
  /**
   * The table's name, at most 54 bytes. Default `sessions`. It must not contain a dot: write the part before the dot as
   * `schema`.
   */
  readonly table?: string | undefined
  /**
   * The schema that the table is in: a schema of PostgreSQL, a database of MySQL, or the name of an attached SQLite
   * database. It has to exist. Default: the connection's own.
   */
  readonly schema?: string | undefined
}

/**
 * Columns of the app's own, by name. The function computes the column's value from the session's record, whenever the
 * session's data is written.
 *
 * @since 0.1.0
 * @category models
 */
export interface Columns {
  readonly [name: string]: (record: SessionRecord.SessionRecord) => Primitive
}

/**
 * The options of `layer` that are data. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface DataOptions extends Placement {
  /** How long the sweep of expired sessions waits between two runs. Default 1 minute. */
  readonly sweepInterval?: Duration.DurationInput | undefined
  /** How many rows one DELETE of the sweep deletes at most. Default 500. */
  readonly sweepBatch?: number | undefined
}

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends DataOptions {
  /**
   * Columns of the app's own, to query sessions by: `{ user_id: (record) => record.subject ?? null }`. A migration of
   * the app has to add them to the table, and they have to allow NULL, because a session that was renewed or removed
   * leaves a row without data for a minute. To count sessions, count the rows whose `body` is not null. Default: none.
   */
  readonly columns?: Columns | undefined
}

/**
 * Options of `migrations` and `layerMigrations`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface MigrationOptions extends Placement {
  /**
   * The number of the first migration, to join them with the app's own migrations. There are two, so the next number is
   * taken as well. Default 1.
   */
  readonly firstId?: number | undefined
}

const invalid = (option: string, advice: string): Checked<never> => options.invalid(["SqlStore", option], advice)

const place = ({ schema, table = "sessions" }: Placement): Checked<Table.Place> => {
  const dot = typeof table === "string" ? table.indexOf(".") : -1
  if (dot !== -1) {
    const parts = JSON.stringify({ schema: table.slice(0, dot), table: table.slice(dot + 1) })
    return invalid("table", `write the part before the dot as the option schema: ${parts}`)
  }
  return Either.all({
    table: Sql.checkName(["SqlStore", "table"], table, Sql.longestTable),
    schema: schema === undefined ? Either.right(undefined) : Sql.checkName(["SqlStore", "schema"], schema)
  })
}

const checkColumns = (columns: Columns = {}): Checked<backend.Setup["columns"]> =>
  Either.all(
    Object.entries(columns).map(([name, value]) =>
      Table.columns.has(name.toLowerCase())
        ? invalid("columns", `write another name than ${JSON.stringify(name)}: the store has a column of this name`)
        : Either.map(Sql.checkName(["SqlStore", "columns", name], name), () => [name, value] as const)
    )
  )

const checkSweep = (
  { sweepBatch, sweepInterval }: DataOptions
): Checked<Omit<StoreBackend.BackendOptions, "name">> => {
  if (sweepBatch !== undefined && !(Number.isInteger(sweepBatch) && sweepBatch > 0)) {
    return invalid("sweepBatch", "write a whole number of rows above zero, such as 500")
  }
  return sweepInterval === undefined
    ? Either.right({ sweepBatch })
    : Either.map(
      options.milliseconds(["SqlStore", "sweepInterval"], sweepInterval, { example: "1 minute" }),
      (sweepInterval) => ({ sweepBatch, sweepInterval })
    )
}

const known = (dialect: Dialect): Checked<Dialect> => Either.right(dialect)

const dialectOf = (sql: SqlClient.SqlClient): Checked<Dialect> =>
  sql.onDialectOrElse({
    pg: () => known("pg"),
    sqlite: () => known("sqlite"),
    mysql: () => known("mysql"),
    orElse: () => invalid("SqlClient", "provide a client for PostgreSQL, SQLite, MySQL or MariaDB")
  })

/**
 * The table's definition as SQL text, for another migration tool or for whoever is allowed to create tables. The text
 * can be run again. Throws a `ConfigError` if a name is not valid.
 *
 * A live session has a `body`: JSON text, as `SessionRecord.encode` writes it. A session that was renewed or removed
 * leaves a row without a body for a minute. After a renewal, `successor` is the `id` of the session's new row. After a
 * revocation, it is `revoked`.
 * `deadline` is the time until which a row counts, in milliseconds since the epoch. `subject` is the SHA-256, in base64url,
 * of whose session it is. A table that was made without this column gets it by `migrations`. The body's column keeps the text as
 * it was written. It is `json` on PostgreSQL, because `jsonb` does not accept U+0000, reorders keys and rewrites
 * numbers. It is `longtext` on MySQL, whose `json` does the same. The database's JSON functions work on either.
 *
 * @since 0.1.0
 * @category migrations
 * @example
 * ```ts
 * import * as SqlStore from "effect-session/SqlStore"
 *
 * const text = SqlStore.ddl("pg", { schema: "web" })
 * ```
 */
export const ddl = (dialect: Dialect, options: Placement = {}): string =>
  Table.definition(dialect, Either.getOrThrowWith(place(options), (error) => error)).map((text) => `${text};\n`).join(
    ""
  )

/**
 * The migrations as a loader for the `Migrator` of any SQL client. Run them with a migrations table of their own, or
 * join them with the app's migrations. Fails with a `MigrationError` if a name is not valid.
 *
 * @since 0.1.0
 * @category migrations
 * @example
 * ```ts
 * import * as Migrator from "@effect/sql/Migrator"
 * import * as SqlStore from "effect-session/SqlStore"
 *
 * const migrate = Migrator.make({})({ loader: SqlStore.migrations(), table: "effect_session_migrations" })
 * ```
 */
export const migrations = ({ firstId = 1, ...options }: MigrationOptions = {}): Migrator.Loader =>
  Either.match(place(options), {
    onLeft: (error) =>
      Effect.fail(
        new Migrator.MigrationError({ reason: "bad-state", message: `SqlStore: ${String(error)}`, cause: error })
      ),
    onRight: (at) =>
      Effect.succeed([
        [
          firstId,
          "create_sessions",
          migration((sql, dialect) =>
            Effect.forEach(Table.firstDefinition(dialect, at), (text) => sql.unsafe(text), { discard: true })
          )
        ],
        [
          firstId + 1,
          "sessions_by_subject",
          migration((sql, dialect) => Table.addSubject(sql.withoutTransforms(), dialect, at))
        ]
      ])
  })

const migration = (
  run: (sql: SqlClient.SqlClient, dialect: Dialect) => Effect.Effect<void, SqlError.SqlError>
): Effect.Effect<Effect.Effect<void, ConfigError.ConfigError | SqlError.SqlError, SqlClient.SqlClient>> =>
  Effect.succeed(
    Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.flatMap(dialectOf(sql), (dialect) => run(sql, dialect)))
  )

/**
 * Runs the migrations when it is built, and fails if the table is not there afterwards. `migrationsTable` is the table in which they are recorded, by default
 * `effect_session_migrations`. A second store in the same database needs another one.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import * as SqlStore from "effect-session/SqlStore"
 *
 * const store = SqlStore.layer().pipe(Layer.provide(SqlStore.layerMigrations()))
 * ```
 */
export const layerMigrations = (
  options: MigrationOptions & { readonly migrationsTable?: string | undefined } = {}
): Layer.Layer<never, Migrator.MigrationError | SqlError.SqlError, SqlClient.SqlClient> =>
  Layer.effectDiscard(
    Effect.retry(
      Migrator.make({})({
        loader: migrations(options),
        table: options.migrationsTable ?? "effect_session_migrations"
      }).pipe(Effect.catchAllDefect(typed), Effect.zipRight(tableIsThere(options))),
      startTogether
    )
  )

/** The migrator dies where a migration fails, or the COMMIT after it. */
const typed = (defect: unknown): Effect.Effect<never, Migrator.MigrationError | SqlError.SqlError> =>
  defect instanceof Migrator.MigrationError || defect instanceof SqlError.SqlError
    ? Effect.fail(defect)
    : Effect.die(defect)

/**
 * The migrator succeeds where it finds another instance at work, which may not have made the table yet, and where the
 * migration is recorded but the table is gone. The statement is not prepared, because `@effect/sql-sqlite-node` keeps a
 * failed preparation for ten minutes, and throws where it does not.
 */
const tableIsThere = (options: Placement): Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.all([dialectOf(sql), place(options)]).pipe(
      // a wrong option has failed the migrations already
      Effect.orDie,
      Effect.flatMap(([dialect, at]) => {
        const table = Table.qualified(dialect, at)
        const absent = (cause: unknown) =>
          Effect.fail(
            new SqlError.SqlError({ cause, message: `SqlStore: the table ${table} is not there after its migration.` })
          )
        return sql.unsafe(`SELECT subject FROM ${table} WHERE 1 = 0`).unprepared.pipe(
          Effect.catchAll(absent),
          Effect.catchAllDefect(absent)
        )
      })
    ))

/**
 * Instances that start together on an empty database get in each other's way: the migrator makes its own table with a plain
 * `CREATE TABLE`, and SQLite takes one writer at a time (D8). Every step can be run again, so that the losers try once more.
 */
const startTogether = {
  times: 8,
  schedule: Schedule.jittered(Schedule.exponential("50 millis", 1.5)),
  while: (error: Migrator.MigrationError | SqlError.SqlError) =>
    error._tag === "SqlError" || error.reason === "locked" || error.reason === "failed"
}

/** The store, and the sessions by subject on the same table. */
const open = (
  options: Options = {}
): Effect.Effect<
  readonly [Store.Store, Sessions.Service],
  ConfigError.ConfigError,
  Scope.Scope | SqlClient.SqlClient
> =>
  Effect.gen(function*() {
    const client = yield* SqlClient.SqlClient
    const dialect = yield* dialectOf(client)
    const at = yield* place(options)
    const columns = yield* checkColumns(options.columns)
    const sweep = yield* checkSweep(options)
    if (Sqlite.isLibsqlFile(client)) {
      yield* Effect.logWarning(
        "SqlStore: @effect/sql-libsql on a file is for one process alone. If another process writes to the file, " +
          "acknowledged writes can be lost. Use @effect/sql-sqlite-node where processes share a file."
      )
    }
    const sql = client.withoutTransforms()
    const table = Table.qualified(dialect, at)
    const telling = Postgres.isPgClient(sql)
      ? yield* Postgres.inDatabase(sql, at, table)
      : yield* Telling.inProcess(sql)
    const kept = backend.make({ sql, dialect, table, columns, telling })
    const store = yield* StoreBackend.fromBackend(kept, { name: "SqlStore", ...sweep })
    return [store, StoreBackend.sessions(kept.subjects, "SqlStore")]
  })

/**
 * Makes a store over the `SqlClient`. The sweep stops with the scope. Fails with a `ConfigError` that says what to
 * write instead. To look sessions up by subject, use `layer`, which provides `Sessions` too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options?: Options
): Effect.Effect<Store.Store, ConfigError.ConfigError, Scope.Scope | SqlClient.SqlClient> =>
  Effect.map(open(options), ([store]) => store)

/**
 * Keeps sessions in a table of the app's database, through the app's own `SqlClient`. The table has to exist: see
 * `layerMigrations`, `migrations` and `ddl`. Fails with a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import * as SqlStore from "effect-session/SqlStore"
 * import { Config, Layer } from "effect"
 *
 * const store = SqlStore.layer({ columns: { user_id: (record) => record.subject ?? null } }).pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 */
export const layer = (
  options?: Options
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError, SqlClient.SqlClient> =>
  Layer.scopedContext(
    Effect.map(open(options), ([store, sessions]) =>
      Context.make(Store.Store, store).pipe(Context.add(Sessions.Sessions, sessions)))
  )

const variables: environment.Variables<DataOptions> = {
  table: environment.optional("SESSION_TABLE", Config.string),
  schema: environment.optional("SESSION_SCHEMA", Config.string),
  sweepInterval: environment.optional("SESSION_SWEEP_INTERVAL", Config.duration),
  sweepBatch: environment.optional("SESSION_SWEEP_BATCH", Config.integer)
}

/**
 * `layer` with options read from the environment: `SESSION_TABLE`, `SESSION_SCHEMA`, `SESSION_SWEEP_INTERVAL` and
 * `SESSION_SWEEP_BATCH`. All may be absent. An option that is given is read from its own `Config` instead. The app's own
 * columns are functions, so they are given beside them.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<DataOptions> = {},
  columns?: Columns
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError, SqlClient.SqlClient> =>
  environment.layerConfig("SqlStore", variables, options, (data) => layer({ ...data, columns }))
