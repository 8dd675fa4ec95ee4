/**
 * The marks by which one asks later whether a transaction of the app's own was committed. The module knows nothing of
 * sessions.
 */
import type * as Statement from "@effect/sql/Statement"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import type * as Store from "../../Store.js"
import * as crypto from "../crypto/hash.js"
import type { Rows } from "./row.js"
import { whole } from "./row.js"
import * as Sql from "./statements.js"

/** How long the mark of a transaction is kept to find out how it ended, in milliseconds. */
const markTimeToLive = 3_600_000

/** The revisions of a mark's row: written in the transaction, or by the question how it ended. */
const written = 1
const probed = 0

/** @internal */
export type Transaction = Store.Transaction<Sql.SqlFailure>

/** Writes a mark in the transaction that the fiber is in. @internal */
export const marking = (
  { dialect, sql, table }: Rows,
  persistently: typeof Sql.persistently
): Transaction["mark"] => {
  const markRow = (id: string, revision: number, now: number): Statement.Fragment =>
    sql`INSERT INTO ${table} (id, revision, touched_at, deadline)
      VALUES (${id}, ${revision}, ${whole(now)}, ${whole(now + markTimeToLive)})`

  /**
   * Whether the transaction of a mark was committed. The client does not say how a transaction ended, and the session's
   * own row does not show it, because others write there too. So the transaction writes a row under a random id, the
   * mark. This tries to insert the same row: the database waits while the transaction is open, and then either finds
   * the mark or keeps the new row. From then on, the answer stays the same.
   */
  const committed = (id: string): Effect.Effect<boolean, Sql.SqlFailure> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const probe = sql<{ readonly revision: unknown }>`${markRow(id, probed, now)}`
      const revision = sql<{ readonly revision: unknown }>`SELECT revision FROM ${table} WHERE id = ${id}`
      const found = dialect === "mysql"
        ? Effect.catchIf(
          Effect.as(Sql.affected(probe), [{ revision: probed }]),
          (error) => error.kind === "Duplicate",
          () => Sql.rows(revision)
        )
        : Sql.rows(
          sql<
            { readonly revision: unknown }
          >`${probe} ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id RETURNING revision`
        )
      return Effect.map(found, (rows) => Number(rows[0]?.revision) === written)
    })

  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    // no session's id has a colon
    const id = `mark:${Encoding.encodeBase64Url(crypto.randomBytes(24))}`
    return Effect.as(Sql.affected(sql`${markRow(id, written, now)}`), persistently(committed(id)))
  })
}
