/**
 * The stores that can be hammered: how each is set up, with servers, schemas and folders of its own, and which faults it
 * meets.
 */
import { SqlClient } from "@effect/sql"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import { SqliteClient } from "@effect/sql-sqlite-node"
import type { Scope } from "effect"
import { Effect, Layer, Redacted } from "effect"
import { spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import * as SqlStore from "../../src/SqlStore.js"
import * as Servers from "../fixtures/redis.js"
import type { Waivers } from "./checker.js"
import * as Faults from "./faults.js"
import type { Loss } from "./history.js"
import * as Proxy from "./proxy.js"
import type { StoreConfig } from "./stores.js"

/** A store that is set up, until its scope closes. */
export interface Opened {
  readonly store: StoreConfig
  /** The same without a proxy and without memory in front, for the look at what is there in the end. */
  readonly direct: () => StoreConfig
  readonly waivers?: Waivers
  readonly faults: ReadonlyArray<Faults.Fault>
}

export interface Target {
  readonly name: string
  /** `keeps`: a violation is a defect. `loses`: its documentation says that it loses, which proves the checker. */
  readonly promise: "keeps" | "loses"
  /** Why it can't run here. */
  readonly missing: Effect.Effect<string | undefined>
  /** Is told what may be lost, and what could not be done. */
  readonly open: (
    told: { readonly lose: (loss: Loss) => void; readonly note: (text: string) => void }
  ) => Effect.Effect<Opened, unknown, Scope.Scope>
}

const nothingMissing = Effect.succeed(undefined)

const directory = (name: string) =>
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), `effect-session-chaos-${name}-`))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  )

/** A folder on a file system of its own, small enough to be filled; `undefined` where that is not permitted. */
const smallDisk = Effect.gen(function*() {
  const at = yield* directory("disk")
  return yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawnSync("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", at], { stdio: "ignore" }).status === 0
        ? at
        : undefined
    ),
    (mounted) => Effect.sync(() => mounted === undefined || spawnSync("umount", ["-l", mounted], { stdio: "ignore" }))
  )
})

const redisInstalled = Effect.map(
  Effect.promise(() => Servers.isInstalled()),
  (installed) => installed ? undefined : "no redis-server here"
)

const durable = [
  "--appendonly",
  "yes",
  "--appendfsync",
  "always",
  "--repl-diskless-sync-delay",
  "0"
]

/** `ioredis` sends a command again after a cut connection. It counts once if up to four others wrote in between (D4). */
const resending = (client: "redis" | "ioredis"): Waivers => client === "ioredis" ? { others: 4 } : {}

const redis = (client: "redis" | "ioredis"): Target => ({
  name: client,
  promise: "keeps",
  missing: redisInstalled,
  open: ({ lose }) =>
    Effect.gen(function*() {
      const pair = yield* Effect.flatten(
        Effect.zipWith(Servers.server(...durable), Servers.server(...durable), Faults.paired)
      )
      const proxy = yield* Proxy.make(pair.primary.port)
      return {
        store: { _tag: "Redis", client, port: proxy.port },
        direct: () => ({ _tag: "Redis", client, port: pair.primary.port }),
        waivers: resending(client),
        faults: [
          ...Faults.ofRedis(() => [pair.primary.admin]),
          ...Faults.ofProxy(proxy),
          Faults.restart(pair),
          Faults.failover(pair, proxy, lose)
        ]
      }
    })
})

const cluster = (client: "redis" | "ioredis"): Target => ({
  name: `cluster-${client}`,
  promise: "keeps",
  missing: redisInstalled,
  open: () =>
    Effect.gen(function*() {
      const { nodes } = yield* Servers.cluster(3)
      const store: StoreConfig = { _tag: "Cluster", client, ports: nodes.map(({ port }) => port) }
      const move = Faults.slotMove(nodes)
      return {
        store,
        direct: () => store,
        waivers: resending(client),
        faults: [move, ...Faults.ofRedis(() => nodes.map(({ admin }) => admin)), move]
      }
    })
})

const tiered: Target = {
  name: "tiered",
  promise: "keeps",
  missing: redisInstalled,
  open: () =>
    Effect.gen(function*() {
      const server = yield* Servers.server(...durable)
      const timeToLive = 500
      return {
        store: { _tag: "Tiered", port: server.port, timeToLive },
        direct: () => ({ _tag: "Redis", client: "redis", port: server.port }),
        // its documentation: another instance's writes are seen after one timeToLive at the latest
        waivers: { staleness: timeToLive + 20 },
        faults: [
          ...Faults.ofRedis(() => [server.admin]),
          {
            name: "channel cut",
            inject: Effect.asVoid(Effect.tryPromise(() => server.admin.client("KILL", "TYPE", "pubsub")))
          },
          Faults.restart({ primary: server, replica: server })
        ]
      }
    })
}

const answers = (text: string, fallback: number): Effect.Effect<string | undefined> =>
  Effect.async((resume) => {
    const url = new URL(text)
    const socket = net.connect(Number(url.port || fallback), url.hostname)
    const end = (missing: string | undefined) => {
      socket.destroy()
      resume(Effect.succeed(missing))
    }
    socket.once("connect", () => end(undefined))
    socket.once("error", () => end(`nothing answers at ${url.host}`))
  })

const freshSchema = () => `effect_session_chaos_${randomBytes(6).toString("hex")}`

const clientOf = <E>(layer: Layer.Layer<SqlClient.SqlClient, E>) =>
  Effect.flatMap(Layer.build(layer), (context) => Effect.provide(SqlClient.SqlClient, context))

/** A schema that is gone with the scope, with the store's table in it. */
const schemaOf = <E>(
  admin: SqlClient.SqlClient,
  create: string,
  drop: string,
  inside: Layer.Layer<SqlClient.SqlClient, E>
) =>
  Effect.zipRight(
    Effect.acquireRelease(admin.unsafe(create), () => Effect.orDie(admin.unsafe(drop))),
    Effect.scoped(Layer.build(Layer.provide(SqlStore.layerMigrations(), inside)))
  )

const withPort = (text: string, port: number): string => {
  const url = new URL(text)
  url.hostname = "127.0.0.1"
  url.port = String(port)
  return url.toString()
}

const postgresUrl = process.env["DATABASE_URL"] ?? "postgres://root@127.0.0.1:5432/test"

const postgres: Target = {
  name: "postgres",
  promise: "keeps",
  missing: answers(postgresUrl, 5432),
  open: () =>
    Effect.gen(function*() {
      const schema = freshSchema()
      const admin = yield* clientOf(PgClient.layer({ url: Redacted.make(postgresUrl), maxConnections: 2 }))
      const inside = new URL(postgresUrl)
      inside.searchParams.set("options", `-c search_path=${schema}`)
      yield* schemaOf(
        admin,
        `CREATE SCHEMA ${schema}`,
        `DROP SCHEMA ${schema} CASCADE`,
        PgClient.layer({ url: Redacted.make(inside.toString()), maxConnections: 1 })
      )
      const proxy = yield* Proxy.make(Number(new URL(postgresUrl).port || 5432))
      return {
        store: { _tag: "Postgres", url: withPort(postgresUrl, proxy.port), schema },
        direct: () => ({ _tag: "Postgres", url: postgresUrl, schema }),
        faults: [...Faults.ofPostgres(admin, schema), ...Faults.ofProxy(proxy)]
      }
    })
}

const mysqlUrl = process.env["MYSQL_URL"] ?? "mysql://root@127.0.0.1:3306/test"

const mariaDb: Target = {
  name: "mariadb",
  promise: "keeps",
  missing: answers(mysqlUrl, 3306),
  open: () =>
    Effect.gen(function*() {
      const schema = freshSchema()
      // one connection, which LOCK TABLES belongs to
      const admin = yield* clientOf(MysqlClient.layer({ url: Redacted.make(mysqlUrl), maxConnections: 1 }))
      const inside = new URL(mysqlUrl)
      inside.pathname = `/${schema}`
      yield* schemaOf(
        admin,
        `CREATE DATABASE ${schema}`,
        `DROP DATABASE ${schema}`,
        MysqlClient.layer({ url: Redacted.make(inside.toString()), maxConnections: 1 })
      )
      const proxy = yield* Proxy.make(Number(inside.port || 3306))
      return {
        store: { _tag: "MariaDb", url: withPort(inside.toString(), proxy.port) },
        direct: () => ({ _tag: "MariaDb", url: inside.toString() }),
        faults: [...Faults.ofMariaDb(admin, schema), ...Faults.ofProxy(proxy)]
      }
    })
}

const sqlite: Target = {
  name: "sqlite",
  promise: "keeps",
  missing: nothingMissing,
  open: () =>
    Effect.gen(function*() {
      const filename = path.join(yield* directory("sqlite"), "sessions.db")
      const client = SqliteClient.layer({ filename })
      yield* Effect.scoped(Layer.build(Layer.provide(SqlStore.layerMigrations(), client)))
      const store: StoreConfig = { _tag: "Sqlite", filename }
      return { store, direct: () => store, faults: Faults.ofSqlite(yield* clientOf(client)) }
    })
}

const file: Target = {
  name: "file",
  promise: "keeps",
  missing: nothingMissing,
  open: ({ note }) =>
    Effect.gen(function*() {
      const disk = yield* smallDisk
      if (disk === undefined) {
        note("no full disk: this process may not mount a file system")
      }
      const store: StoreConfig = { _tag: "File", directory: path.join(disk ?? (yield* directory("file")), "sessions") }
      return { store, direct: () => store, faults: disk === undefined ? [] : [Faults.diskFull(disk)] }
    })
}

const cache: Target = {
  name: "cache",
  promise: "loses",
  missing: nothingMissing,
  open: () =>
    Effect.map(directory("cache"), (directory) => {
      const store: StoreConfig = { _tag: "Cache", directory }
      return { store, direct: () => store, faults: [] }
    })
}

const memory: Target = {
  name: "memory",
  promise: "keeps",
  missing: nothingMissing,
  open: () => Effect.succeed({ store: { _tag: "Memory" }, direct: () => ({ _tag: "Memory" }), faults: [] })
}

export const targets: ReadonlyArray<Target> = [
  memory,
  cache,
  file,
  redis("redis"),
  redis("ioredis"),
  cluster("redis"),
  cluster("ioredis"),
  postgres,
  mariaDb,
  sqlite,
  tiered
]
