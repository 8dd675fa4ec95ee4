/**
 * How each dialect renews a session: the old row becomes a tombstone, and the new one is inserted, both or neither. The
 * module knows nothing of the other operations.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type * as StoreBackend from "../../StoreBackend.js"
import type { Rows } from "./row.js"
import { whole } from "./row.js"
import * as Sql from "./statements.js"
import type { Telling } from "./telling.js"

type Rename = StoreBackend.Backend["rename"]

/** What the statement returns for the session that it ended, if it was live. @internal */
export const make = (
  { columns, dialect, ending, hit, insertion, isLiveAt, names, sql, table, updated, values }: Rows,
  telling: Telling
): (...args: Parameters<Rename>) => Effect.Effect<object | undefined, Sql.SqlFailure> => {
  /** Renews by a single statement, which is atomic and takes one round trip. */
  const renamePg = (...[key, revision, next, entry, tombstone, now]: Parameters<Rename>) =>
    Effect.map(
      Sql.rows(
        sql`WITH ended AS (
            UPDATE ${table} SET ${ending(tombstone)} WHERE ${isLiveAt(key.id, revision, now)} RETURNING 1 AS hit
          )
          INSERT INTO ${table} (${names}) SELECT ${values(next.id, entry)} FROM ended
            RETURNING ${telling.ended(key.id)}`
      ),
      (found) => found[0]
    )

  /**
   * Renews by a single statement too. If the session is live, two rows are inserted. The first one conflicts with the
   * session's own row and turns it into a tombstone. If the second one conflicted with a row, its id would become NULL,
   * and the whole statement would fail.
   */
  const renameSqlite = (...[key, revision, next, entry, tombstone, now]: Parameters<Rename>) => {
    const ended = sql.csv([
      sql`${key.id}`,
      sql`NULL`,
      sql`0`,
      sql`0`,
      sql`${whole(tombstone.until)}`,
      sql`NULL`,
      ...columns.map(() => sql`NULL`)
    ])
    return Effect.map(
      Sql.rows(
        sql`INSERT INTO ${table} (${names})
          SELECT * FROM (VALUES (${ended}), (${values(next.id, entry)}))
            WHERE EXISTS (SELECT 1 FROM ${table} WHERE ${isLiveAt(key.id, revision, now)})
          ON CONFLICT (id) DO UPDATE SET id = CASE WHEN EXCLUDED.id = ${key.id} THEN EXCLUDED.id END, ${
          ending(tombstone)
        }
          RETURNING ${hit}`
      ),
      (found) => found[0]
    )
  }

  const renameMysql = (...[key, revision, next, entry, tombstone, now]: Parameters<Rename>) =>
    sql.withTransaction(
      Effect.tap(
        updated(ending(tombstone), isLiveAt(key.id, revision, now), hit),
        (row) => row === undefined ? Effect.void : Sql.affected(insertion(next.id, entry))
      )
    ).pipe(
      // `withTransaction` dies where its COMMIT or ROLLBACK fails, as it does when the connection is lost (D12).
      Effect.catchAllDefect((defect) =>
        Effect.fail(defect instanceof SqlError ? defect : new SqlError({ cause: defect }))
      ),
      Effect.mapError((error) => error instanceof Sql.SqlFailure ? error : Sql.failure(error, []))
    )

  return { pg: renamePg, sqlite: renameSqlite, mysql: renameMysql }[dialect]
}
