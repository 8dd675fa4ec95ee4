/**
 * The table of sessions: its name, its columns, and the statements that make it in each dialect. The module knows
 * nothing of what is written into it.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlError from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { Dialect } from "./statements.js"
import { quote } from "./statements.js"

/** @internal */
export interface Place {
  readonly table: string
  readonly schema: string | undefined
}

/** The names of the store's own columns. @internal */
export const columns: ReadonlySet<string> = new Set([
  "id",
  "body",
  "successor",
  "revision",
  "touched_at",
  "deadline",
  "subject"
])

/** The table's quoted name, with its schema if there is one. @internal */
export const qualified = (dialect: Dialect, { schema, table }: Place): string =>
  schema === undefined ? quote(dialect, table) : `${quote(dialect, schema)}.${quote(dialect, table)}`

const subjectColumn = {
  pg: `subject varchar(43) COLLATE "C"`,
  sqlite: "subject TEXT",
  mysql: "subject varchar(43) CHARACTER SET ascii COLLATE ascii_bin"
}

/** In the order of a page of a subject's sessions. A session without a subject is not in it, where that can be said. */
const subjectKey = "(subject, touched_at, id)"

const partial = "WHERE subject IS NOT NULL"

/** In SQLite, an index's name has the schema, and the name of its table has none. */
const sqliteIndex = (at: Place, name: string): string =>
  `${at.schema === undefined ? "" : `${quote("sqlite", at.schema)}.`}${quote("sqlite", `${at.table}_${name}`)} ON ${
    quote("sqlite", at.table)
  }`

/**
 * The statements that make the table and its first index, in order: the first migration. Each of them can be run again.
 * With `subject`, the table has that column from the beginning.
 */
const creation = (dialect: Dialect, at: Place, subject: boolean): ReadonlyArray<string> => {
  const table = qualified(dialect, at)
  const index = quote(dialect, `${at.table}_deadline`)
  const column = subject ? `,\n  ${subjectColumn[dialect]}` : ""
  switch (dialect) {
    case "pg":
      return [
        `CREATE TABLE IF NOT EXISTS ${table} (
  id varchar(64) COLLATE "C" PRIMARY KEY,
  body json,
  successor varchar(64) COLLATE "C",
  revision bigint NOT NULL,
  touched_at bigint NOT NULL,
  deadline bigint NOT NULL${column}
)`,
        `CREATE INDEX IF NOT EXISTS ${index} ON ${table} (deadline)`
      ]
    case "sqlite":
      return [
        `CREATE TABLE IF NOT EXISTS ${table} (
  id TEXT NOT NULL PRIMARY KEY,
  body TEXT,
  successor TEXT,
  revision INTEGER NOT NULL,
  touched_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL${column}
)`,
        `CREATE INDEX IF NOT EXISTS ${sqliteIndex(at, "deadline")} (deadline)`
      ]
    case "mysql":
      return [
        `CREATE TABLE IF NOT EXISTS ${table} (
  id varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  body longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  successor varchar(64) CHARACTER SET ascii COLLATE ascii_bin,
  revision bigint NOT NULL,
  touched_at bigint NOT NULL,
  deadline bigint NOT NULL${column},
  KEY ${index} (deadline)${subject ? `,\n  KEY ${quote(dialect, `${at.table}_subject`)} ${subjectKey}` : ""}
) ENGINE=InnoDB`
      ]
  }
}

/** The index by subject as a statement of its own. MySQL's can't be run again, so the table is made or altered with it. */
const subjectIndex = (dialect: "pg" | "sqlite", at: Place): string =>
  dialect === "pg"
    ? `CREATE INDEX IF NOT EXISTS ${quote(dialect, `${at.table}_subject`)} ON ${
      qualified(dialect, at)
    } ${subjectKey} ${partial}`
    : `CREATE INDEX IF NOT EXISTS ${sqliteIndex(at, "subject")} ${subjectKey} ${partial}`

/**
 * The statements that make the table and its indexes, in order. Each of them can be run again.
 *
 * @internal
 */
export const definition = (dialect: Dialect, at: Place): ReadonlyArray<string> =>
  dialect === "mysql" ? creation(dialect, at, true) : [...creation(dialect, at, true), subjectIndex(dialect, at)]

/** The first migration: the table without the column `subject`. Each statement can be run again. @internal */
export const firstDefinition = (dialect: Dialect, at: Place): ReadonlyArray<string> => creation(dialect, at, false)

/**
 * The second migration: adds the column `subject` and its index to the table, unless it has them.
 *
 * @internal
 */
export const addSubject = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  at: Place
): Effect.Effect<void, SqlError.SqlError> => {
  const table = qualified(dialect, at)
  const without = (
    catalog: Effect.Effect<ReadonlyArray<object>, SqlError.SqlError>,
    add: Effect.Effect<unknown, SqlError.SqlError>
  ) => Effect.flatMap(catalog, ({ length }) => length === 0 ? add : Effect.void)
  switch (dialect) {
    case "pg":
      return Effect.zipRight(
        sql.unsafe(`ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${subjectColumn.pg}`),
        Effect.asVoid(sql.unsafe(subjectIndex(dialect, at)))
      )
    case "sqlite":
      return Effect.zipRight(
        without(
          sql`SELECT name FROM pragma_table_info(${at.table}, ${at.schema ?? "main"}) WHERE name = 'subject'`,
          sql.unsafe(`ALTER TABLE ${table} ADD COLUMN ${subjectColumn.sqlite}`)
        ),
        Effect.asVoid(sql.unsafe(subjectIndex(dialect, at)))
      )
    case "mysql":
      return Effect.asVoid(without(
        sql`SELECT column_name FROM information_schema.columns
          WHERE table_schema = COALESCE(${at.schema ?? null}, DATABASE()) AND table_name = ${at.table}
            AND column_name = 'subject'`,
        sql.unsafe(
          `ALTER TABLE ${table} ADD COLUMN ${subjectColumn.mysql}, ADD KEY ${
            quote(dialect, `${at.table}_subject`)
          } ${subjectKey}`
        )
      ))
  }
}
