/**
 * The stores, each from a plain value that can be handed to another process. A driver is loaded only where it is used,
 * because each worker that is killed has to start again.
 */
import type { SqlClient } from "@effect/sql"
import { Effect, Layer, Option, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import type * as Store from "../../src/Store.js"

export type StoreConfig =
  | { readonly _tag: "Memory" }
  | { readonly _tag: "Cache"; readonly directory: string }
  | { readonly _tag: "File"; readonly directory: string }
  | { readonly _tag: "Redis"; readonly client: "redis" | "ioredis"; readonly port: number }
  | { readonly _tag: "Cluster"; readonly client: "redis" | "ioredis"; readonly ports: ReadonlyArray<number> }
  | { readonly _tag: "Tiered"; readonly port: number; readonly timeToLive: number }
  | { readonly _tag: "Postgres"; readonly url: string; readonly schema: string }
  | { readonly _tag: "MariaDb"; readonly url: string }
  | { readonly _tag: "Sqlite"; readonly filename: string }

type StoreLayer = Layer.Layer<Store.Store, unknown>

const ioredis = async (port: number) => {
  const { Redis } = await import("ioredis")
  return Effect.acquireRelease(
    Effect.sync(() => {
      const client = new Redis(port, "127.0.0.1", { retryStrategy: () => 20, maxRetriesPerRequest: null })
      client.on("error", () => {})
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )
}

/** For the messages between tiers. */
const nodeRedis = async (port: number) => {
  const { createClient } = await import("redis")
  const url = `redis://127.0.0.1:${port}`
  return Effect.acquireRelease(
    Effect.promise(() => createClient({ url, socket: { reconnectStrategy: 20 } }).on("error", () => {}).connect()),
    (client) => Effect.sync(() => client.destroy())
  )
}

const ioredisCluster = async (ports: ReadonlyArray<number>) => {
  const { Cluster } = await import("ioredis")
  return Effect.acquireRelease(
    Effect.sync(() => {
      const client = new Cluster(ports.map((port) => ({ host: "127.0.0.1", port })))
      client.on("error", () => {})
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )
}

const nodeRedisCluster = async (ports: ReadonlyArray<number>) => {
  const { createCluster } = await import("redis")
  const rootNodes = ports.map((port) => ({ url: `redis://127.0.0.1:${port}` }))
  return Effect.acquireRelease(
    Effect.promise(() => createCluster({ rootNodes }).on("error", () => {}).connect()),
    (client) => Effect.sync(() => client.destroy())
  )
}

/** A cache of files without compare-and-set, slow enough that what one process read another replaces meanwhile. */
const cacheLayer = async (directory: string): Promise<StoreLayer> => {
  const CacheStore = await import("../../src/CacheStore.js")
  const fileOf = (key: string) => path.join(directory, encodeURIComponent(key))
  return CacheStore.layer({
    get: (key) =>
      Effect.tryPromise(() => fs.readFile(fileOf(key), "utf8")).pipe(
        Effect.asSome,
        Effect.catchAll(() => Effect.succeed(Option.none<string>()))
      ),
    set: (key, value) =>
      Effect.promise(async () => {
        const temporary = path.join(directory, randomBytes(8).toString("hex"))
        await fs.writeFile(temporary, value)
        await fs.rename(temporary, fileOf(key))
      }).pipe(Effect.delay(20)),
    remove: (key) => Effect.promise(() => fs.rm(fileOf(key), { force: true }))
  })
}

const sqlLayer = async (client: Layer.Layer<SqlClient.SqlClient, unknown>) => {
  const SqlStore = await import("../../src/SqlStore.js")
  return SqlStore.layer({ sweepInterval: "1 second" }).pipe(Layer.provide(client))
}

/** The layer of a store, as an app would make it. */
export const layerOf = async (config: StoreConfig): Promise<StoreLayer> => {
  switch (config._tag) {
    case "Memory":
      return (await import("../../src/MemoryStore.js")).layer()
    case "Cache":
      return cacheLayer(config.directory)
    case "File": {
      const [FileStore, { NodeContext }] = await Promise.all([
        import("../../src/FileStore.js"),
        import("@effect/platform-node")
      ])
      return FileStore.layer({ directory: config.directory }).pipe(Layer.provide(NodeContext.layer))
    }
    case "Redis": {
      const RedisStore = await import("../../src/RedisStore.js")
      const prefix = "chaos:"
      return config.client === "redis"
        ? RedisStore.layer({ url: `redis://127.0.0.1:${config.port}`, prefix })
        : RedisStore.layer({ client: await ioredis(config.port), prefix })
    }
    case "Cluster": {
      const RedisStore = await import("../../src/RedisStore.js")
      const prefix = "chaos:"
      return config.client === "redis"
        ? RedisStore.layer({ client: await nodeRedisCluster(config.ports), prefix })
        : RedisStore.layer({ client: await ioredisCluster(config.ports), prefix })
    }
    case "Tiered": {
      const TieredStore = await import("../../src/TieredStore.js")
      const client = await nodeRedis(config.port)
      const behind = await layerOf({ _tag: "Redis", client: "redis", port: config.port })
      return behind.pipe(
        TieredStore.layer({ timeToLive: config.timeToLive, channel: TieredStore.channelRedis(client) })
      )
    }
    case "Postgres": {
      const { PgClient } = await import("@effect/sql-pg")
      const url = new URL(config.url)
      url.searchParams.set("options", `-c search_path=${config.schema}`)
      return sqlLayer(
        PgClient.layer({ url: Redacted.make(url.toString()), maxConnections: 4, applicationName: config.schema })
      )
    }
    case "MariaDb": {
      const { MysqlClient } = await import("@effect/sql-mysql2")
      return sqlLayer(MysqlClient.layer({ url: Redacted.make(config.url), maxConnections: 4 }))
    }
    case "Sqlite": {
      const { SqliteClient } = await import("@effect/sql-sqlite-node")
      return sqlLayer(SqliteClient.layer({ filename: config.filename }))
    }
  }
}
