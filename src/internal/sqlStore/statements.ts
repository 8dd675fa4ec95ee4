/**
 * What all SQL dialects need: names that are checked and quoted, failures that repeat nothing of what was bound, and
 * whether the caller is in a transaction of its own. Knows nothing of what a session is.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlError from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Checked } from "../options.js"
import { invalid } from "../options.js"

/**
 * The SQL of a database: `mysql` is MariaDB's too.
 *
 * @since 0.1.0
 * @category models
 */
export type Dialect = "pg" | "sqlite" | "mysql"

/** Quotes an identifier, whatever is in it. @internal */
export const quote = (dialect: Dialect, name: string): string => {
  const mark = dialect === "mysql" ? "`" : "\""
  return mark + name.replaceAll(mark, mark + mark) + mark
}

const utf8 = new TextEncoder()

/**
 * PostgreSQL cuts a name that is longer than 63 bytes without a word, so that two long ones can meet. A table's is held
 * shorter, because its index is named after it.
 */
const longestName = 63

/** @internal */
export const longestTable = longestName - "_deadline".length

/** Checks a name given as an option. @internal */
export const checkName = (
  path: ReadonlyArray<string>,
  name: string,
  longest: number = longestName
): Checked<string> => {
  if (typeof name !== "string" || name === "" || name.includes("\0")) {
    return invalid(path, "write a name of at least one character, without U+0000")
  }
  return utf8.encode(name).length > longest
    ? invalid(path, `write a name of at most ${longest} bytes`)
    : Either.right(name)
}

/**
 * Why the database refused. The driver's own error is not kept: some drivers attach the values that were bound, or name
 * them in the message, and a session's data belongs into no log.
 *
 * @internal
 */
export class SqlFailure extends Error {
  override readonly name = "SqlFailure"

  constructor(
    message: string,
    /** The database's or the driver's code, where it gave one. */
    readonly code: string | undefined,
    readonly kind: "Contended" | "Busy" | "Duplicate" | "Other"
  ) {
    super(message)
  }
}

const kinds: ReadonlyMap<string, SqlFailure["kind"]> = new Map([
  ["40001", "Contended"],
  ["40P01", "Contended"],
  ["ER_LOCK_DEADLOCK", "Contended"],
  ["ER_CHECKREAD", "Contended"],
  ["SQLITE_BUSY", "Busy"],
  ["SQLITE_LOCKED", "Busy"],
  ["23505", "Duplicate"],
  ["ER_DUP_ENTRY", "Duplicate"],
  ["SQLITE_CONSTRAINT_PRIMARYKEY", "Duplicate"]
])

interface DriverError {
  readonly code?: unknown
  readonly message?: unknown
  readonly errors?: unknown
}

/** Below this a bound value is no secret, and would be found in words that are none of its own. */
const shortestSecret = 4

const describe = (error: DriverError): string => {
  if (typeof error.message === "string" && error.message !== "") {
    return error.message
  }
  // a refused connection to a name with several addresses: an AggregateError, which has no message of its own
  const first: unknown = Array.isArray(error.errors) ? error.errors[0] : undefined
  return typeof first === "object" && first !== null ? describe(first) : "the database gave no reason"
}

/** The failure of a statement, without the values that were bound to it. @internal */
export const failure = (error: SqlError.SqlError, bound: ReadonlyArray<unknown>): SqlFailure => {
  const cause: DriverError = typeof error.cause === "object" && error.cause !== null ? error.cause : {}
  const code = typeof cause.code === "string" ? cause.code : undefined
  const values = bound
    .filter((value): value is string => typeof value === "string" && value.length >= shortestSecret)
    .sort((a, b) => b.length - a.length)
  const message = values.reduce((text, value) => text.replaceAll(value, "?"), describe(cause))
  return new SqlFailure(message, code, (code === undefined ? undefined : kinds.get(code)) ?? "Other")
}

/** Runs a statement for its rows. @internal */
export const rows = <A extends object>(
  statement: Statement.Statement<A>
): Effect.Effect<ReadonlyArray<A>, SqlFailure> =>
  Effect.mapError(statement.withoutTransform, (error) => failure(error, statement.compile(true)[1]))

/** Runs a statement for how many rows it met, on MySQL, whose UPDATE and DELETE return none. @internal */
export const affected = (statement: Statement.Statement<object>): Effect.Effect<number, SqlFailure> =>
  Effect.mapBoth(statement.raw, {
    onFailure: (error) => failure(error, statement.compile(true)[1]),
    onSuccess: (result) => {
      const count = (result as { readonly affectedRows?: unknown } | undefined)?.affectedRows
      return count === undefined ? 0 : Number(count)
    }
  })

/** The driver for libSQL marks its transactions with a tag of its own, which it does not export. */
const LibsqlTransaction = Context.GenericTag<object>("@effect/sql-libsql/LibsqlClient/LibsqlTransaction")

/**
 * The transaction that the calling fiber is in, as the object that `SqlClient.withTransaction` makes anew for each.
 *
 * @internal
 */
export const transactionKey: Effect.Effect<Option.Option<object>> = Effect.map(
  Effect.context<never>(),
  (context) =>
    Option.orElse(
      Context.getOption(context, SqlClient.TransactionConnection),
      (): Option.Option<object> => Context.getOption(context, LibsqlTransaction)
    )
)

const outside = Effect.map(transactionKey, Option.isNone)

const contended = 10
const busy = Schedule.intersect(Schedule.jittered(Schedule.exponential(5)), Schedule.recurs(9))

/**
 * Tries again what the database undid for another's sake: the victim of a deadlock at once, a locked SQLite file after a
 * short wait. Not within a transaction of the caller's, which is lost as a whole and is the caller's to run again.
 *
 * @internal
 */
export const persistently = <A>(effect: Effect.Effect<A, SqlFailure>): Effect.Effect<A, SqlFailure> =>
  effect.pipe(
    Effect.retry({ times: contended, while: (error) => error.kind === "Contended" ? outside : Effect.succeed(false) }),
    Effect.retry({ schedule: busy, while: (error) => error.kind === "Busy" ? outside : Effect.succeed(false) })
  )
