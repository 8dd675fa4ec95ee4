/**
 * Chooses the store by a URL, so that the same build keeps its sessions in memory on a developer's machine and in a
 * database in production. The module knows nothing of HTTP.
 *
 * | URL | store | what to install |
 * | --- | --- | --- |
 * | `redis://`, `rediss://` | `RedisStore` | `redis` |
 * | `postgres://`, `postgresql://` | `SqlStore`, with its migrations | `@effect/sql-pg@0.53`, `@effect/sql@0.52` |
 * | `mysql://`, `mariadb://` | `SqlStore`, with its migrations | `@effect/sql-mysql2@0.53`, `@effect/sql@0.52` |
 * | `sqlite:./sessions.db` | `SqlStore`, with its migrations | `@effect/sql-sqlite-node@0.53`, `@effect/sql@0.52` |
 * | `file:./sessions` or `file:///var/lib/sessions` | `FileStore` | `@effect/platform-node@0.108` |
 * | `memory:` | `MemoryStore` | – |
 *
 * A driver is loaded when its scheme is chosen, and never otherwise. All but the URL, such as the table's name, is read
 * from the variables of the chosen store.
 *
 * @since 0.1.0
 */
import * as Path from "@effect/platform/Path"
import type { SqlClient } from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as FileStore from "./FileStore.js"
import * as environment from "./internal/environment.js"
import type * as check from "./internal/options.js"
import * as MemoryStore from "./MemoryStore.js"
import * as RedisStore from "./RedisStore.js"
import type * as Sessions from "./Sessions.js"
import type * as Store from "./Store.js"

/**
 * Options of `layer`. The URL is required.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Which store, and where it is. It may hold a password, so it is never shown. */
  readonly url: Redacted.Redacted | string
}

type Chosen = Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError | Store.StoreError>

const wrong = (advice: string): ConfigError.ConfigError => ConfigError.InvalidData(["StoreConfig", "url"], advice)

const invalid = (advice: string): check.Checked<never> => Either.left(wrong(advice))

/** A module that may not be installed. With `catch`, a bundler does not insist on it. */
const load = <A>(
  module: () => Promise<A | undefined>,
  packages: string
): Effect.Effect<A, ConfigError.ConfigError> =>
  Effect.flatMap(Effect.promise(module), (loaded) =>
    loaded === undefined
      ? invalid(`install the driver of this URL, which could not be loaded: npm install ${packages}`)
      : Effect.succeed(loaded))

/** The latest releases of some of them are for another line of `effect`, so the command has to name the version. */
const sql = "@effect/sql@^0.52.0"
const sqlPg = `@effect/sql-pg@^0.53.0 ${sql}`
const sqlMysql = `@effect/sql-mysql2@^0.53.0 ${sql}`
const sqlSqlite = `@effect/sql-sqlite-node@^0.53.0 ${sql}`
const platformNode = "@effect/platform-node@^0.108.0"

const ofSql = <E>(
  client: Effect.Effect<Layer.Layer<SqlClient, E>, ConfigError.ConfigError>,
  packages: string,
  thrown: (defect: unknown) => string
): Effect.Effect<Chosen, ConfigError.ConfigError> =>
  Effect.zipWith(
    client,
    load(() => import("./internal/storeConfig/sql.js").catch(() => undefined), packages),
    (client, { store }) => store(client, (defect) => wrong(thrown(defect)))
  )

/** Without what the driver threw, which may hold the URL and so its password. */
const asIn = (example: string) => () => `write a URL such as ${JSON.stringify(example)}`

/** The text of a URL, in a form that no message shows. */
interface Url {
  readonly whole: Redacted.Redacted
  /** What follows the scheme and its colon. */
  readonly rest: string
}

/** A percent sign that escapes nothing, as one in a password that was not encoded, fails the drivers much later. */
const escaped = /^(?:[^%]|%[0-9a-f]{2})*$/i

const server = (example: string, { rest, whole }: Url): check.Checked<void> =>
  rest.startsWith("//") && escaped.test(rest) && URL.canParse(Redacted.value(whole))
    ? Either.void
    : invalid(asIn(example)())

const postgresExample = "postgres://user:password@host:5432/database"
const mysqlExample = "mysql://user:password@host:3306/database"

const redis = (url: Url): Effect.Effect<Chosen, ConfigError.ConfigError> =>
  Effect.succeed(RedisStore.layerConfig({ url: Config.succeed(url.whole) }))

const postgres = (url: Url): Effect.Effect<Chosen, ConfigError.ConfigError> =>
  Effect.zipRight(
    server(postgresExample, url),
    ofSql(
      Effect.map(
        load(() => import("@effect/sql-pg/PgClient").catch(() => undefined), sqlPg),
        (PgClient) => PgClient.layer({ url: url.whole })
      ),
      sqlPg,
      asIn(postgresExample)
    )
  )

const mysql = (url: Url): Effect.Effect<Chosen, ConfigError.ConfigError> =>
  Effect.zipRight(
    server(mysqlExample, url),
    ofSql(
      Effect.map(
        load(() => import("@effect/sql-mysql2/MysqlClient").catch(() => undefined), sqlMysql),
        // the driver knows the servers apart by itself
        (MysqlClient) => MysqlClient.layer({ url: Redacted.make(`mysql:${url.rest}`) })
      ),
      sqlMysql,
      asIn(mysqlExample)
    )
  )

const sqlite = ({ rest }: Url): Effect.Effect<Chosen, ConfigError.ConfigError> =>
  rest === "" || rest.startsWith("//")
    ? invalid("write the path of the database after the scheme, such as \"sqlite:./sessions.db\"")
    : ofSql(
      Effect.map(
        load(() => import("@effect/sql-sqlite-node/SqliteClient").catch(() => undefined), sqlSqlite),
        (SqliteClient) => SqliteClient.layer({ filename: rest })
      ),
      sqlSqlite,
      (defect) =>
        `write the path of a file that this process may create and open. ${rest} can't be used: ` +
        (defect instanceof Error ? defect.message : String(defect))
    )

const file = ({ rest, whole }: Url): Effect.Effect<Chosen, ConfigError.ConfigError> =>
  Effect.gen(function*() {
    const FileSystem = yield* load(
      () => import("@effect/platform-node/NodeFileSystem").catch(() => undefined),
      platformNode
    )
    const NodePath = yield* load(() => import("@effect/platform-node/NodePath").catch(() => undefined), platformNode)
    const directory = !rest.startsWith("//") ? rest : yield* Path.Path.pipe(
      Effect.flatMap((path) => path.fromFileUrl(new URL(Redacted.value(whole)))),
      Effect.provide(NodePath.layer),
      Effect.catchAllCause(() => invalid(fileAdvice))
    )
    return directory.trim() === "" ? yield* invalid(fileAdvice) : FileStore.layerConfig({
      directory: Config.succeed(directory)
    }).pipe(Layer.provide([FileSystem.layer, NodePath.layer]))
  })

const fileAdvice =
  "write the path of a folder for sessions alone, such as \"file:./sessions\" or \"file:///var/lib/sessions\""

const memory = ({ rest }: Url): Effect.Effect<Chosen, ConfigError.ConfigError> =>
  rest === "" ? Effect.succeed(MemoryStore.layerConfig()) : invalid("write \"memory:\" alone")

/** The schemes that work, and the store of each. */
const schemes: ReadonlyMap<string, (url: Url) => Effect.Effect<Chosen, ConfigError.ConfigError>> = new Map([
  ["redis", redis],
  ["rediss", redis],
  ["postgres", postgres],
  ["postgresql", postgres],
  ["mysql", mysql],
  ["mariadb", mysql],
  ["sqlite", sqlite],
  ["file", file],
  ["memory", memory]
])

const choose = ({ url }: Options): Effect.Effect<Chosen, ConfigError.ConfigError> => {
  const whole = Redacted.isRedacted(url) ? url : Redacted.make(url)
  const text = Redacted.value(whole)
  const colon = text.indexOf(":")
  const store = schemes.get(text.slice(0, Math.max(0, colon)).toLowerCase())
  return store === undefined
    ? invalid(`write a URL with one of the schemes ${Array.from(schemes.keys(), (scheme) => `${scheme}:`).join(", ")}`)
    : store({ whole, rest: text.slice(colon + 1) })
}

/** A store that refuses its address refuses the URL. */
const ofUrl = <E>(error: E): E | ConfigError.ConfigError =>
  ConfigError.isConfigError(error) && error._op === "InvalidData" &&
    (error.path.join(".") === "RedisStore.url" || error.path.join(".") === "FileStore.directory")
    ? wrong(error.message)
    : error

/**
 * The store that a URL names, and `Sessions` with it, which every store that can be named provides. Its other options are
 * read from the variables of that store's `layerConfig`. Fails with a `ConfigError` that says what to write if the URL is
 * wrong, and what to install if its driver is missing. A SQL database has to be there when the layer is built, because
 * the table is made then; if it is not, this fails with a `StoreError`. A Redis server may come later.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import * as StoreConfig from "effect-session/StoreConfig"
 *
 * const store = StoreConfig.layer({ url: "file:./sessions" })
 * ```
 */
export const layer = (
  options: Options
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError | Store.StoreError> =>
  Layer.mapError(Layer.unwrapEffect(choose(options)), ofUrl)

const variables: environment.Variables<Options> = {
  url: environment.required("SESSION_STORE_URL", environment.secret)
}

/**
 * `layer` with the URL read from the environment: `SESSION_STORE_URL`, which is required. A URL that is given is read from
 * its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import * as StoreConfig from "effect-session/StoreConfig"
 *
 * // SESSION_STORE_URL=redis://cache:6379
 * const store = StoreConfig.layerConfig()
 *
 * // sessions in the app's own database
 * const beside = StoreConfig.layerConfig({ url: Config.redacted("DATABASE_URL") })
 * ```
 */
export const layerConfig = (
  options: Config.Config.Wrap<Partial<Options>> = {}
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError | Store.StoreError> =>
  environment.layerConfig("StoreConfig", variables, options, layer)
