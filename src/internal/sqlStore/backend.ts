/**
 * The store's operations as statements that are the same in each SQL dialect, or nearly. Each session is one row. A live
 * session has a body. A tombstone has none, and may name its `successor`. Either counts until its `deadline`. The module
 * knows nothing of tokens or HTTP.
 */
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionId } from "../../SessionToken.js"
import * as StoreBackend from "../../StoreBackend.js"
import type { Transaction } from "./mark.js"
import { marking } from "./mark.js"
import * as Renewal from "./renewal.js"
import * as Row from "./row.js"
import { entryOf, whole } from "./row.js"
import * as Sqlite from "./sqlite.js"
import * as Sql from "./statements.js"
import { listing } from "./subjects.js"
import { sweeping } from "./sweep.js"
import type { Telling } from "./telling.js"

/** @internal */
export interface Setup extends Row.Setup {
  /** How whoever watches a session is told of its changes. */
  readonly telling: Telling
}

/** @internal */
export interface Backend extends StoreBackend.Backend {
  readonly transaction: Effect.Effect<Option.Option<Transaction>>
  readonly subjects: StoreBackend.Subjects
}

/** Makes the backend of a client, a table and the columns that the app adds. @internal */
export const make = (setup: Setup): Backend => {
  const { dialect, sql, telling } = setup
  const rows = Row.make(setup)
  const { assignments, bodyColumn, ending, excluded, hit, insertion, isLive, isLiveAt, names, table, updated, values } =
    rows

  const withShortWait = Sqlite.withShortWait(sql)

  const persistently = <A>(effect: Effect.Effect<A, Sql.SqlFailure>): Effect.Effect<A, Sql.SqlFailure> =>
    Sql.persistently(withShortWait(effect, (error) => Sql.failure(error, [])))

  /** Whether an UPDATE that nobody is told of matched a row. */
  const update = (assigned: Statement.Fragment, where: Statement.Fragment): Effect.Effect<boolean, Sql.SqlFailure> =>
    Effect.map(updated(assigned, where, hit), (row) => row !== undefined)

  /**
   * Runs a statement that may change a session, has whoever watches it be told, and says whether it did. They are told
   * outside of the short wait, which has the connection as a transaction has it.
   */
  const told = (
    id: string,
    now: number,
    statement: Effect.Effect<object | undefined, Sql.SqlFailure>
  ): Effect.Effect<boolean, Sql.SqlFailure> =>
    Effect.flatMap(
      persistently(statement),
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
        sql<Row.Row>`SELECT ${bodyColumn}, successor, revision, touched_at, deadline FROM ${table} WHERE ${where}${
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
    Effect.map(persistently(select(sql`id = ${id}`, dialect === "mysql" ? " FOR UPDATE" : "")), Option.getOrUndefined)

  /** The answer to a write that matched no row. */
  const whyNotReplaced = (id: string, now: number): Effect.Effect<StoreBackend.Replaced, Sql.SqlFailure> =>
    Effect.map(
      obstacle(id),
      (entry) => StoreBackend.isLive(entry, now) ? StoreBackend.changed(entry) : StoreBackend.absent
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

  const rename = Renewal.make(rows, telling)
  const swept = sweeping(rows)
  const mark = marking(rows, persistently)
  const list = listing(rows, persistently)

  return {
    transaction: Effect.map(Sql.transactionKey, Option.map((key) => ({ key, mark }))),
    get: (key) => persistently(select(sql`id = ${key.id}`, "")),
    insert: (key, entry, now) => persistently(insert(key.id, entry, now)),
    replace: (key, revision, entry, now) =>
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
      ),
    rename: (key, revision, next, entry, tombstone, now) =>
      Effect.flatMap(
        told(key.id, now, rename(key, revision, next, entry, tombstone, now)),
        (hit) => hit ? Effect.succeed(StoreBackend.replaced) : whyNotReplaced(key.id, now)
      ),
    extend: (key, revision, deadline, now) => persistently(extend(key.id, revision, deadline, now)),
    changes: telling.changes,
    subjects: { list, end },
    remove: (key, tombstone, now) => remove(key.id, tombstone, now),
    sweep: (limit, now) => persistently(swept(limit, now))
  }
}
