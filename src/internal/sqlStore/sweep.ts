/**
 * How each dialect deletes the rows that ended long enough ago. The module knows nothing of when that is done.
 */
import * as Effect from "effect/Effect"
import { grace } from "../store/sweeping.js"
import type { Rows } from "./row.js"
import { whole } from "./row.js"
import * as Sql from "./statements.js"

/** Deletes up to `limit` rows, and says how many. @internal */
export const sweeping =
  ({ dialect, sql, table }: Rows) => (limit: number, now: number): Effect.Effect<number, Sql.SqlFailure> => {
    const due = sql`deadline <= ${whole(now - grace)} ORDER BY deadline LIMIT ${sql.literal(String(limit))}`
    switch (dialect) {
      case "mysql":
        return Sql.affected(sql`DELETE FROM ${table} WHERE ${due}`)
      case "pg":
        return Effect.map(
          Sql.rows(
            sql`DELETE FROM ${table}
              WHERE id = ANY(ARRAY(SELECT id FROM ${table} WHERE ${due} FOR UPDATE SKIP LOCKED)) RETURNING 1 AS hit`
          ),
          (found) => found.length
        )
      case "sqlite":
        return Effect.map(
          Sql.rows(sql`DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} WHERE ${due}) RETURNING 1 AS hit`),
          (found) => found.length
        )
    }
  }
