/**
 * The store of a SQL URL: its migrations, then `SqlStore`. It is a module of its own so that `@effect/sql` is loaded for
 * such a URL alone.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as SqlError from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Sessions from "../../Sessions.js"
import * as SqlStore from "../../SqlStore.js"
import * as Store from "../../Store.js"
import * as environment from "../environment.js"
import { failure } from "../sqlStore/statements.js"

/** The table, by the variables that `SqlStore.layerConfig` reads too. */
const placement: Effect.Effect<SqlStore.Placement, ConfigError.ConfigError> = Config.all({
  table: environment.optional("SESSION_TABLE", Config.string).config,
  schema: environment.optional("SESSION_SCHEMA", Config.string).config
})

const migrated = Layer.unwrapEffect(Effect.map(placement, ({ schema, table }) => {
  // two tables in one database need a record of migrations each
  const names = [schema, table].filter((name) => name !== undefined)
  return SqlStore.layerMigrations({
    table,
    schema,
    migrationsTable: names.length === 0 ? undefined : `${names.join("_")}_migrated`
  })
}))

type Failure = ConfigError.ConfigError | Store.StoreError

const failed = (error: unknown): Failure =>
  ConfigError.isConfigError(error) ? error : new Store.StoreError({
    reason: "Unavailable",
    method: "start",
    cause: error instanceof SqlError.SqlError ? failure(error, []) : error
  })

/** `thrown`: drivers throw where they can't read their URL or open their file. @internal */
export const store = (
  client: Layer.Layer<SqlClient.SqlClient, unknown>,
  thrown: (defect: unknown) => Failure
): Layer.Layer<Store.Store | Sessions.Sessions, Failure> =>
  SqlStore.layerConfig().pipe(
    Layer.provide(migrated),
    Layer.provide(client),
    Layer.mapError(failed),
    Layer.catchAllCause((cause) =>
      Cause.isDie(cause) ? Layer.fail(thrown(Cause.squash(cause))) : Layer.failCause(cause)
    )
  )
