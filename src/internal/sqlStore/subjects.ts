/**
 * A subject's live sessions, page by page in the order of the index. The module knows nothing of how one is ended.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { SessionId } from "../../SessionToken.js"
import type * as StoreBackend from "../../StoreBackend.js"
import type { Row, Rows } from "./row.js"
import { entryOf, whole } from "./row.js"
import * as Sql from "./statements.js"

interface Listed extends Row {
  readonly id: SessionId
  readonly touched_at: string | number | bigint
}

/** How many sessions one statement lists. */
const pageSize = 500

/** @internal */
export const listing = (
  { bodyColumn, sql, table }: Rows,
  persistently: typeof Sql.persistently
): StoreBackend.Subjects["list"] => {
  /** A page of a subject's sessions: those after the last one of the page before. */
  const page = (
    subject: string,
    after: Listed | undefined,
    now: number
  ): Effect.Effect<ReadonlyArray<Listed>, Sql.SqlFailure> => {
    // the first comparison says the same as the second, in a form for which every database uses the index
    const rest = after === undefined
      ? sql``
      : sql`AND touched_at <= ${after.touched_at} AND (touched_at < ${after.touched_at} OR id < ${after.id})`
    return Sql.rows(
      sql<Listed>`SELECT id, ${bodyColumn}, successor, revision, touched_at, deadline FROM ${table}
        WHERE subject = ${subject} AND body IS NOT NULL AND deadline > ${whole(now)} ${rest}
        ORDER BY touched_at DESC, id DESC LIMIT ${sql.literal(String(pageSize))}`
    )
  }

  return (subject, now) =>
    Stream.paginateChunkEffect(
      undefined as Listed | undefined,
      (after) =>
        Effect.map(persistently(page(subject, after, now)), (found) => [
          Chunk.filterMap(Chunk.unsafeFromArray(found), (row) => {
            const entry = entryOf(row)
            return entry._tag === "Entry" ? Option.some([row.id, entry] as const) : Option.none()
          }),
          found.length < pageSize ? Option.none() : Option.some(found.at(-1))
        ])
    )
}
