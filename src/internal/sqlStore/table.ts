/**
 * The table of sessions: its name, its columns, and the statements that make it in each dialect. The module knows
 * nothing of what is written into it.
 */
import type { Dialect } from "./statements.js"
import { quote } from "./statements.js"

/** @internal */
export interface Place {
  readonly table: string
  readonly schema: string | undefined
}

/** The names of the store's own columns. @internal */
export const columns: ReadonlySet<string> = new Set(["id", "body", "successor", "revision", "touched_at", "deadline"])

/** The table's quoted name, with its schema if there is one. @internal */
export const qualified = (dialect: Dialect, { schema, table }: Place): string =>
  schema === undefined ? quote(dialect, table) : `${quote(dialect, schema)}.${quote(dialect, table)}`

/**
 * The statements that make the table and its index, in order. Each of them can be run again.
 *
 * @internal
 */
export const definition = (dialect: Dialect, at: Place): ReadonlyArray<string> => {
  const table = qualified(dialect, at)
  const index = quote(dialect, `${at.table}_deadline`)
  switch (dialect) {
    case "pg":
      return [
        `CREATE TABLE IF NOT EXISTS ${table} (
  id varchar(64) COLLATE "C" PRIMARY KEY,
  body json,
  successor varchar(64) COLLATE "C",
  revision bigint NOT NULL,
  touched_at bigint NOT NULL,
  deadline bigint NOT NULL
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
  deadline INTEGER NOT NULL
)`,
        `CREATE INDEX IF NOT EXISTS ${at.schema === undefined ? "" : `${quote(dialect, at.schema)}.`}${index} ON ${
          quote(dialect, at.table)
        } (deadline)`
      ]
    case "mysql":
      return [
        `CREATE TABLE IF NOT EXISTS ${table} (
  id varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  body longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  successor varchar(64) CHARACTER SET ascii COLLATE ascii_bin,
  revision bigint NOT NULL,
  touched_at bigint NOT NULL,
  deadline bigint NOT NULL,
  KEY ${index} (deadline)
) ENGINE=InnoDB`
      ]
  }
}
