/**
 * The store's operations as statements of each SQL dialect. Each session is one row. A live session has a body. A
 * tombstone has none, and may name its `successor`. Either counts until its `deadline`. The module knows nothing of
 * tokens or HTTP.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SessionRecord from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import type * as Store from "../../Store.js"
import * as StoreBackend from "../../StoreBackend.js"
import * as crypto from "../crypto/hash.js"
import { grace } from "../store/sweeping.js"
import * as Sqlite from "./sqlite.js"
import * as Sql from "./statements.js"
import type { Telling } from "./telling.js"

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
  /** How whoever watches a session is told of its changes. */
  readonly telling: Telling
  readonly columns: ReadonlyArray<readonly [name: string, value: (record: SessionRecord.SessionRecord) => Primitive]>
}

interface Row {
  readonly body: string | null
  readonly successor: string | null
  readonly revision: unknown
  readonly touched_at: unknown
  readonly deadline: unknown
}

interface Listed extends Row {
  readonly id: SessionId
  readonly touched_at: string | number | bigint
}

/** How many sessions one statement lists. */
const pageSize = 500

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

/** Drivers return a BIGINT as a number, a bigint or a string. All of these values fit a number. */
const entryOf = (row: Row): StoreBackend.Entry =>
  row.body === null
    ? { _tag: "Tombstone", until: Number(row.deadline), ...successorOf(row) }
    : {
      _tag: "Entry",
      body: row.body,
      revision: Number(row.revision),
      touchedAt: Number(row.touched_at),
      deadline: Number(row.deadline)
    }

/** Times are kept in whole milliseconds. They are rounded down, so that nothing lives longer than it should. */
const whole = Math.floor

/** How long the mark of a transaction is kept to find out how it ended, in milliseconds. */
const markTimeToLive = 3_600_000

type Transaction = Store.Transaction<Sql.SqlFailure>

/** @internal */
export interface Backend extends StoreBackend.Backend {
  readonly transaction: Effect.Effect<Option.Option<Transaction>>
  readonly subjects: StoreBackend.Subjects
}

type Assignment = readonly [column: string, value: Statement.Fragment]

/** Makes the backend of a client, a table and the columns that the app adds. @internal */
export const make = ({ columns, dialect, sql, table: tableName, telling }: Setup): Backend => {
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

  /** Whether an UPDATE that nobody is told of matched a row. */
  const update = (assigned: Statement.Fragment, where: Statement.Fragment): Effect.Effect<boolean, Sql.SqlFailure> =>
    Effect.map(updated(assigned, where, hit), (row) => row !== undefined)

  /** Has whoever watches a session be told of a statement that changed it, and says whether it did. */
  const told = (
    id: string,
    now: number,
    statement: Effect.Effect<object | undefined, Sql.SqlFailure>
  ): Effect.Effect<boolean, Sql.SqlFailure> =>
    Effect.flatMap(
      statement,
      (row) => row === undefined ? Effect.succeed(false) : Effect.as(telling.changed(id, now, row), true)
    )

  /** Ends a session, if there is one. */
  const finish = (
    id: string,
    tombstone: StoreBackend.Tombstone,
    where: Statement.Fragment,
    now: number
  ): Effect.Effect<boolean, Sql.SqlFailure> => told(id, now, updated(ending(tombstone), where, telling.ended(id)))

  const select = (
    where: Statement.Fragment,
    lock: string
  ): Effect.Effect<Option.Option<StoreBackend.Entry>, Sql.SqlFailure> =>
    Effect.map(
      Sql.rows(
        sql<Row>`SELECT ${bodyColumn}, successor, revision, touched_at, deadline FROM ${table} WHERE ${where}${
          sql.literal(lock)
        }`
      ),
      (found) => Option.map(Option.fromNullable(found[0]), entryOf)
    )

  /**
   * The row because of which an UPDATE matched nothing. MySQL reads it with a lock, which the UPDATE has already: in a
   * transaction under REPEATABLE READ, a plain read would return what the transaction saw first.
   */
  const obstacle = (id: string): Effect.Effect<StoreBackend.Entry | undefined, Sql.SqlFailure> =>
    Effect.map(select(sql`id = ${id}`, dialect === "mysql" ? " FOR UPDATE" : ""), Option.getOrUndefined)

  /** The answer to a write that matched no row. */
  const whyNotReplaced = (id: string, now: number): Effect.Effect<StoreBackend.Replaced, Sql.SqlFailure> =>
    Effect.map(
      obstacle(id),
      (entry) => StoreBackend.isLive(entry, now) ? StoreBackend.changed(entry) : StoreBackend.absent
    )

  const insertion = (id: string, entry: StoreBackend.LiveEntry): Statement.Statement<object> =>
    sql`INSERT INTO ${table} (${names}) VALUES (${values(id, entry)})`

  const excluded = sql.literal(
    ["body", "revision", "touched_at", "deadline", "subject", ...columns.map(([name]) => Sql.quote(dialect, name))]
      .map((name) => `${name} = EXCLUDED.${name}`).join(", ")
  )

  /** Inserts a session. It may replace the row of an expired session or tombstone, but no other. */
  const insert = (id: string, entry: StoreBackend.LiveEntry, now: number): Effect.Effect<boolean, Sql.SqlFailure> =>
    dialect === "mysql"
      ? Effect.catchIf(
        Effect.as(Sql.affected(insertion(id, entry)), true),
        (error) => error.kind === "Duplicate",
        () => update(sql`${assignments(entry)}, successor = NULL`, sql`id = ${id} AND deadline <= ${whole(now)}`)
      )
      : Effect.map(
        Sql.rows(
          sql`INSERT INTO ${table} AS present (${names}) VALUES (${values(id, entry)})
            ON CONFLICT (id) DO UPDATE SET ${excluded}, successor = NULL
              WHERE present.deadline <= ${whole(now)} RETURNING 1 AS hit`
        ),
        (found) => found.length > 0
      )

  const extend = (
    id: string,
    revision: number,
    deadline: number,
    now: number
  ): Effect.Effect<boolean, Sql.SqlFailure> => {
    const assigned = sql`deadline = ${whole(deadline)}, touched_at = ${whole(now)}`
    const earlier = sql`${isLiveAt(id, revision, now)} AND deadline < ${whole(deadline)}`
    return Effect.flatMap(
      update(assigned, earlier),
      (hit) => hit ? Effect.succeed(true) : Effect.map(select(isLive(id, now), ""), Option.isSome)
    )
  }

  const remove = (
    id: string,
    tombstone: StoreBackend.Tombstone,
    now: number
  ): Effect.Effect<SessionId | undefined, Sql.SqlFailure> =>
    Effect.flatMap(
      finish(id, tombstone, sql`id = ${id} AND body IS NOT NULL`, now),
      (hit) =>
        hit ? Effect.succeed(undefined) : Effect.map(
          obstacle(id),
          (entry) => entry?._tag === "Tombstone" && now < entry.until ? entry.successor : undefined
        )
    )

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

  const list: StoreBackend.Subjects["list"] = (subject, now) =>
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

  /** A session that is not live is removed all the same, if it is there, so that no other clock revives it (D10). */
  const end = (
    id: SessionId,
    tombstone: StoreBackend.Tombstone,
    now: number
  ): Effect.Effect<StoreBackend.Ended, Sql.SqlFailure> =>
    Effect.flatMap(
      finish(id, tombstone, isLive(id, now), now),
      (hit): Effect.Effect<StoreBackend.Ended, Sql.SqlFailure> =>
        hit ? Effect.succeed({ _tag: "Ended" }) : Effect.map(
          remove(id, tombstone, now),
          (successor) => successor === undefined ? { _tag: "Absent" } : { _tag: "Renewed", successor }
        )
    )

  type Rename = StoreBackend.Backend["rename"]

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

  const rename = { pg: renamePg, sqlite: renameSqlite, mysql: renameMysql }[dialect]

  const swept = (limit: number, now: number): Effect.Effect<number, Sql.SqlFailure> => {
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

  /** The revisions of a mark's row: written in the transaction, or by the question how it ended. */
  const written = 1
  const probed = 0

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

  const withShortWait = Sqlite.withShortWait(sql)

  const persistently = <A>(effect: Effect.Effect<A, Sql.SqlFailure>): Effect.Effect<A, Sql.SqlFailure> =>
    Sql.persistently(withShortWait(effect, (error) => Sql.failure(error, [])))

  const mark: Transaction["mark"] = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    // no session's id has a colon
    const id = `mark:${Encoding.encodeBase64Url(crypto.randomBytes(24))}`
    return Effect.as(Sql.affected(sql`${markRow(id, written, now)}`), persistently(committed(id)))
  })

  return {
    transaction: Effect.map(Sql.transactionKey, Option.map((key) => ({ key, mark }))),
    get: (key) => persistently(select(sql`id = ${key.id}`, "")),
    insert: (key, entry, now) => persistently(insert(key.id, entry, now)),
    replace: (key, revision, entry, now) =>
      persistently(
        Effect.flatMap(
          told(
            key.id,
            now,
            Effect.flatMap(
              telling.written(key.id, now),
              (returning) => updated(assignments(entry), isLiveAt(key.id, revision, now), returning)
            )
          ),
          (hit) => hit ? Effect.succeed(StoreBackend.replaced) : whyNotReplaced(key.id, now)
        )
      ),
    rename: (key, revision, next, entry, tombstone, now) =>
      persistently(
        Effect.flatMap(
          told(key.id, now, rename(key, revision, next, entry, tombstone, now)),
          (hit) => hit ? Effect.succeed(StoreBackend.replaced) : whyNotReplaced(key.id, now)
        )
      ),
    extend: (key, revision, deadline, now) => persistently(extend(key.id, revision, deadline, now)),
    changes: telling.changes,
    subjects: { list, end: (id, tombstone, now) => persistently(end(id, tombstone, now)) },
    remove: (key, tombstone, now) => persistently(remove(key.id, tombstone, now)),
    sweep: (limit, now) => persistently(swept(limit, now))
  }
}
