/**
 * What a session and a tombstone are as a row: the columns, what is written into them, and which rows count as live,
 * and how one is inserted and changed. The module knows nothing of the operations.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as SessionRecord from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import type * as StoreBackend from "../../StoreBackend.js"
import * as Sql from "./statements.js"

/**
 * A value of a column of the app's own. The driver must accept it for the column's type.
 *
 * @since 0.1.0
 * @category models
 */
export type Primitive = string | number | bigint | boolean | Date | null

/** @internal */
export interface Setup {
  readonly sql: SqlClient.SqlClient
  readonly dialect: Sql.Dialect
  /** The table's name, qualified and quoted. */
  readonly table: string
  /** The columns that the app adds. */
  readonly columns: ReadonlyArray<readonly [name: string, value: (record: SessionRecord.SessionRecord) => Primitive]>
}

/** @internal */
export interface Row {
  readonly body: string | null
  readonly successor: string | null
  readonly revision: unknown
  readonly touched_at: unknown
  readonly deadline: unknown
}

/**
 * What a revoked session has in place of a successor. No id has this length, so that an earlier release, which takes it
 * for one, finds nothing there.
 */
const revocation = "revoked"

const successorOf = ({ successor }: Row): Pick<StoreBackend.Tombstone, "revoked" | "successor"> => {
  if (successor === revocation) {
    return { revoked: true }
  }
  return successor === null ? {} : { successor: successor as SessionId }
}

/** Drivers return a BIGINT as a number, a bigint or a string. All of these values fit a number. @internal */
export const entryOf = (row: Row): StoreBackend.Entry =>
  row.body === null
    ? { _tag: "Tombstone", until: Number(row.deadline), ...successorOf(row) }
    : {
      _tag: "Entry",
      body: row.body,
      revision: Number(row.revision),
      touchedAt: Number(row.touched_at),
      deadline: Number(row.deadline)
    }

/** Times are kept in whole milliseconds. They are rounded down, so that nothing lives longer than it should. @internal */
export const whole = Math.floor

type Assignment = readonly [column: string, value: Statement.Fragment]

/** @internal */
export type Rows = ReturnType<typeof make>

/** Makes the rows of a client, a table and the columns that the app adds. @internal */
export const make = ({ columns, dialect, sql, table: tableName }: Setup) => {
  const table = sql.literal(tableName)
  const names = sql.literal(
    [
      "id",
      "body",
      "revision",
      "touched_at",
      "deadline",
      "subject",
      ...columns.map(([name]) => Sql.quote(dialect, name))
    ].join(
      ", "
    )
  )
  const bodyColumn = sql.literal(dialect === "pg" ? "body::text AS body" : "body")
  const json = sql.literal(dialect === "pg" ? "::json" : "")
  const bigint = sql.literal(dialect === "pg" ? "::bigint" : "")

  const extras = (entry: StoreBackend.LiveEntry): ReadonlyArray<Assignment> => {
    if (columns.length === 0) {
      return []
    }
    const record = SessionRecord.decode(entry.body, entry)
    return columns.map(([name, value]) => [
      Sql.quote(dialect, name),
      sql`${record._tag === "Right" ? value(record.right) as string | null : null}`
    ])
  }

  const values = (id: string, entry: StoreBackend.LiveEntry): Statement.Fragment =>
    sql.csv([
      sql`${id}`,
      sql`${entry.body}${json}`,
      sql`${entry.revision}${bigint}`,
      sql`${whole(entry.touchedAt)}${bigint}`,
      sql`${whole(entry.deadline)}${bigint}`,
      sql`${entry.subject ?? null}`,
      ...extras(entry).map(([_, value]) => value)
    ])

  const assignments = (entry: StoreBackend.LiveEntry): Statement.Fragment =>
    sql.csv([
      sql`body = ${entry.body}${json}`,
      sql`revision = ${entry.revision}`,
      sql`touched_at = ${whole(entry.touchedAt)}`,
      sql`deadline = ${whole(entry.deadline)}`,
      sql`subject = ${entry.subject ?? null}`,
      ...extras(entry).map(([name, value]) => sql`${sql.literal(name)} = ${value}`)
    ])

  /** The assignments of a tombstone. It holds nothing of the session, not even in the app's columns. */
  const ending = (tombstone: StoreBackend.Tombstone): Statement.Fragment =>
    sql.csv([
      sql`body = NULL`,
      sql`successor = ${tombstone.revoked === true ? revocation : tombstone.successor ?? null}`,
      sql`deadline = ${whole(tombstone.until)}`,
      sql`subject = NULL`,
      ...columns.map(([name]) => sql`${sql.literal(Sql.quote(dialect, name))} = NULL`)
    ])

  const isLive = (id: string, now: number): Statement.Fragment =>
    sql`id = ${id} AND body IS NOT NULL AND deadline > ${whole(now)}`

  const isLiveAt = (id: string, revision: number, now: number): Statement.Fragment =>
    sql`id = ${id} AND revision = ${revision} AND body IS NOT NULL AND deadline > ${whole(now)}`

  const insertion = (id: string, entry: StoreBackend.LiveEntry): Statement.Statement<object> =>
    sql`INSERT INTO ${table} (${names}) VALUES (${values(id, entry)})`

  const excluded = sql.literal(
    ["body", "revision", "touched_at", "deadline", "subject", ...columns.map(([name]) => Sql.quote(dialect, name))]
      .map((name) => `${name} = EXCLUDED.${name}`).join(", ")
  )

  const hit = sql`1 AS hit`

  /** What an UPDATE returns for the row that it matched, if any. Every matched row is changed, so that MySQL's two ways of counting agree. */
  const updated = (
    assigned: Statement.Fragment,
    where: Statement.Fragment,
    returning: Statement.Fragment
  ): Effect.Effect<object | undefined, Sql.SqlFailure> =>
    dialect === "mysql"
      ? Effect.map(
        Sql.affected(sql`UPDATE ${table} SET ${assigned} WHERE ${where}`),
        (count) => count > 0 ? {} : undefined
      )
      : Effect.map(
        Sql.rows(sql`UPDATE ${table} SET ${assigned} WHERE ${where} RETURNING ${returning}`),
        (found) => found[0]
      )

  return {
    sql,
    dialect,
    table,
    columns,
    /** The columns of a row, in the order of `values`. */
    names,
    /** The body as text. */
    bodyColumn,
    values,
    assignments,
    ending,
    /** The assignments of an INSERT that meets a row. */
    excluded,
    isLive,
    isLiveAt,
    insertion,
    updated,
    /** What a statement returns that says no more than that it met a row. */
    hit
  }
}
