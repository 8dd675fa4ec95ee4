/**
 * What the statements of all dialects share: names are checked and quoted, failures do not repeat bound values, and the
 * caller's transaction is found. The module knows nothing of what a session is.
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
 * The SQL dialect of a database. `mysql` is also the dialect of MariaDB.
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
 * The longest name, in bytes. PostgreSQL silently cuts a longer one, so that two long names can become the same. A
 * table's name must be shorter, because the index is named after the table.
 */
const longestName = 63

/** @internal */
export const longestTable = longestName - "_deadline".length

/** Checks a name that is given as an option. @internal */
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
 * Why the database rejected a statement. The driver's own error is not kept, because some drivers attach the bound
 * values or name them in the message, and a session's data must not get into a log.
 *
 * @internal
 */
export class SqlFailure extends Error {
  override readonly name = "SqlFailure"

  constructor(
    message: string,
    /** The code of the database or the driver, if there is one. */
    readonly code: string | undefined,
    readonly kind: "Contended" | "Busy" | "Duplicate" | "Other"
  ) {
    super(message)
  }

  /** Whether the database gave the statement up because of another one, and may carry it out if it is tried again. */
  get contended(): boolean {
    return this.kind === "Contended"
  }
}

const kinds: ReadonlyMap<string, SqlFailure["kind"]> = new Map([
  ["40001", "Contended"],
  ["40P01", "Contended"],
  ["ER_LOCK_DEADLOCK", "Contended"],
  ["ER_CHECKREAD", "Contended"],
  ["23505", "Duplicate"],
  ["ER_DUP_ENTRY", "Duplicate"],
  ["SQLITE_CONSTRAINT_PRIMARYKEY", "Duplicate"]
])

/** SQLite adds why it is busy: `SQLITE_BUSY_SNAPSHOT`, `SQLITE_BUSY_RECOVERY`. */
const kindOf = (code: string | undefined): SqlFailure["kind"] =>
  code === undefined ? "Other" : /^SQLITE_(BUSY|LOCKED)/.test(code) ? "Busy" : kinds.get(code) ?? "Other"

interface DriverError {
  readonly code?: unknown
  readonly message?: unknown
  readonly errors?: unknown
}

/**
 * The shortest bound value that is removed from messages. A shorter one is not secret, and is part of ordinary words.
 */
const shortestSecret = 4

const describe = (error: DriverError): string => {
  if (typeof error.message === "string" && error.message !== "") {
    return error.message
  }
  // If all addresses of a host refuse the connection, the error is an AggregateError without a message.
  const first: unknown = Array.isArray(error.errors) ? error.errors[0] : undefined
  return typeof first === "object" && first !== null ? describe(first) : "The database gave no reason."
}

/** The failure of a statement, without the values that were bound to it. @internal */
export const failure = (error: SqlError.SqlError, bound: ReadonlyArray<unknown>): SqlFailure => {
  const cause: DriverError = typeof error.cause === "object" && error.cause !== null ? error.cause : {}
  const code = typeof cause.code === "string" ? cause.code : undefined
  const values = bound
    .filter((value): value is string => typeof value === "string" && value.length >= shortestSecret)
    .sort((a, b) => b.length - a.length)
  const message = values.reduce((text, value) => text.replaceAll(value, "?"), describe(cause))
  return new SqlFailure(message, code, kindOf(code))
}

/** Runs a statement and gives its rows. @internal */
export const rows = <A extends object>(
  statement: Statement.Statement<A>
): Effect.Effect<ReadonlyArray<A>, SqlFailure> =>
  Effect.mapError(statement.withoutTransform, (error) => failure(error, statement.compile(true)[1]))

/** Runs a statement and gives the number of affected rows. MySQL's UPDATE and DELETE return no rows. @internal */
export const affected = (statement: Statement.Statement<object>): Effect.Effect<number, SqlFailure> =>
  Effect.mapBoth(statement.raw, {
    onFailure: (error) => failure(error, statement.compile(true)[1]),
    onSuccess: (result) => {
      const count = (result as { readonly affectedRows?: unknown } | undefined)?.affectedRows
      return count === undefined ? 0 : Number(count)
    }
  })

/** The tag by which the driver for libSQL marks its transactions. The driver does not export it. */
const LibsqlTransaction = Context.GenericTag<object>("@effect/sql-libsql/LibsqlClient/LibsqlTransaction")

/**
 * The transaction that the calling fiber is in, as the object that `SqlClient.withTransaction` makes for each one.
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

/** 5, 10, 20, 40 and 80 ms, then 100 ms each: about 4 seconds in all, less than the policy's store timeout. */
const busy = Schedule.intersect(
  Schedule.jittered(Schedule.union(Schedule.exponential(5), Schedule.spaced(100))),
  Schedule.recurs(44)
)

/**
 * Retries a statement that the database gave up because of another one: a deadlock's victim at once, a locked SQLite
 * file after a short wait. It does not retry inside a transaction of the caller, who has to run the whole transaction
 * again.
 *
 * @internal
 */
export const persistently = <A>(effect: Effect.Effect<A, SqlFailure>): Effect.Effect<A, SqlFailure> =>
  Effect.catchIf(effect, isPassing, (error) => insist(effect, error))

const isPassing = ({ kind }: SqlFailure): boolean => kind === "Contended" || kind === "Busy"

/** Goes on from a failed attempt. The schedules of a retry cost more steps than a statement, so most do without. */
const insist = <A>(effect: Effect.Effect<A, SqlFailure>, error: SqlFailure): Effect.Effect<A, SqlFailure> => {
  let attempt: Effect.Effect<A, SqlFailure> = Effect.fail(error)
  return Effect.suspend(() => {
    const current = attempt
    attempt = effect
    return current
  }).pipe(
    Effect.retry({ times: contended, while: (error) => error.kind === "Contended" ? outside : Effect.succeed(false) }),
    Effect.retry({ schedule: busy, while: (error) => error.kind === "Busy" ? outside : Effect.succeed(false) })
  )
}
