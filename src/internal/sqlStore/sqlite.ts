/**
 * What two drivers of SQLite ask of their user. A client is known by the symbol that its driver puts on it, so that no
 * driver is imported. The module knows nothing of sessions.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type * as SqlError from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"

const sqliteNode = Symbol.for("@effect/sql-sqlite-node/SqliteClient")
const libsql = Symbol.for("@effect/sql-libsql/LibsqlClient")

/** How long the process may stand still for a locked file, in milliseconds. */
const standstill = 10

/** SQLite does this when it compiles the text, so a prepared statement that is run again would do nothing. */
const setWait = (connection: Connection, milliseconds: number): Effect.Effect<void, SqlError.SqlError> =>
  Effect.suspend(() => connection.executeUnprepared(`PRAGMA busy_timeout = ${milliseconds}`, [], undefined))

const currentWait = (connection: Connection): Effect.Effect<number, SqlError.SqlError> =>
  Effect.map(
    Effect.suspend(() => connection.executeUnprepared("PRAGMA busy_timeout", [], undefined)),
    (rows) => Number((rows[0] as { readonly timeout: unknown }).timeout)
  )

/**
 * Runs statements so that a locked file fails them after 10 ms, to be tried again. `@effect/sql-sqlite-node` waits for the
 * lock within the call, 5 seconds at most, and nothing else in the process runs meanwhile, not even the transaction of
 * another client that holds the lock. The app's own statements keep the wait that the connection has. So does the app's
 * own transaction, which can't be tried again from here.
 *
 * @internal
 */
export const withShortWait =
  (sql: SqlClient.SqlClient) =>
  <A, E>(effect: Effect.Effect<A, E>, onSqlError: (error: SqlError.SqlError) => E): Effect.Effect<A, E> =>
    sqliteNode in sql
      ? Effect.flatMap(
        Effect.serviceOption(SqlClient.TransactionConnection),
        (within) =>
          within._tag === "Some" ? effect : Effect.scoped(
            Effect.flatMap(Effect.mapError(sql.reserve, onSqlError), (connection) =>
              Effect.acquireUseRelease(
                Effect.mapError(
                  Effect.tap(currentWait(connection), () => setWait(connection, standstill)),
                  onSqlError
                ),
                () => Effect.provideService(effect, SqlClient.TransactionConnection, [connection, 0]),
                (before) =>
                  Effect.catchAllCause(
                    setWait(connection, before),
                    (cause) => Effect.logWarning("SqlStore: the wait for a locked file could not be put back", cause)
                  )
              ))
          )
      )
      : effect

interface LibsqlClient extends SqlClient.SqlClient {
  readonly config: {
    readonly url?: string | URL
    readonly syncUrl?: string | URL
    readonly liveClient?: { readonly protocol: string }
  }
}

const isLibsql = (sql: SqlClient.SqlClient): sql is LibsqlClient => libsql in sql

/**
 * Whether the client is libSQL's on a file of its own. After one "database is locked" its driver acknowledges writes that
 * are never committed, so no other process may use the file (D2). A remote database and a replica of one have a server.
 *
 * @internal
 */
export const isLibsqlFile = (sql: SqlClient.SqlClient): boolean => {
  if (!isLibsql(sql)) {
    return false
  }
  const { liveClient, syncUrl, url } = sql.config
  return liveClient === undefined
    ? /^file:(?!:memory:)/.test(String(url)) && syncUrl === undefined
    : liveClient.protocol === "file"
}
