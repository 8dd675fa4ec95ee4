/**
 * What is done to the servers and to the disk while they are in use. A fault leaves everything as it was, so that any
 * number can follow one another.
 */
import type { SqlClient, SqlError } from "@effect/sql"
import { Effect } from "effect"
import type { Redis } from "ioredis"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Server } from "../fixtures/redis.js"
import { type Loss, monotonic } from "./history.js"
import type { Proxy } from "./proxy.js"

export interface Fault {
  readonly name: string
  readonly inject: Effect.Effect<void, unknown>
}

const fault = (name: string, inject: Effect.Effect<unknown, unknown>): Fault => ({
  name,
  inject: Effect.asVoid(inject)
})

const asked = (f: () => Promise<unknown>) => Effect.tryPromise(f)

const between = (from: number, to: number) => Effect.suspend(() => Effect.sleep(from + Math.random() * (to - from)))

/** Connections that end after the server has acted, all that end, and answers that come late. */
export const ofProxy = (proxy: Proxy): ReadonlyArray<Fault> => [
  fault("answer cut", Effect.sync(() => proxy.cutAnswers(1))),
  fault("connections cut", Effect.sync(() => proxy.cut())),
  fault(
    "delay",
    Effect.acquireUseRelease(
      Effect.sync(() => proxy.delay(100)),
      () => between(200, 600),
      () => Effect.sync(() => proxy.delay(0))
    )
  )
]

/** What any Redis may meet, done to all nodes. */
export const ofRedis = (nodes: () => ReadonlyArray<Redis>): ReadonlyArray<Fault> => [
  fault("script flush", asked(() => Promise.all(nodes().map((node) => node.script("FLUSH"))))),
  fault(
    "client kill",
    asked(() => Promise.all(nodes().map((node) => node.client("KILL", "TYPE", "normal", "SKIPME", "yes"))))
  ),
  fault(
    "memory full",
    Effect.acquireUseRelease(
      asked(() => Promise.all(nodes().map((node) => node.config("SET", "maxmemory", "1")))),
      () => between(150, 400),
      () => Effect.orDie(asked(() => Promise.all(nodes().map((node) => node.config("SET", "maxmemory", "0")))))
    )
  )
]

/** Two servers that replicate, and which of them is the primary. */
export interface Pair {
  primary: Server
  replica: Server
}

const follow = (replica: Server, primary: Server) =>
  asked(() => replica.admin.call("REPLICAOF", "127.0.0.1", String(primary.port)))

/** Restarts of a primary that syncs before it answers: nothing that was acknowledged may be lost. */
export const restart = (pair: Pair): Fault =>
  fault("restart", Effect.suspend(() => Effect.zipRight(pair.primary.kill, pair.primary.start)))

/**
 * The replica, which is a little behind, takes the place of a primary that dies. What was not replicated is lost. That
 * can only be what was acknowledged after the replica had confirmed a marker.
 */
export const failover = (pair: Pair, proxy: Proxy, lose: (loss: Loss) => void): Fault =>
  fault(
    "failover",
    Effect.gen(function*() {
      const { primary, replica } = pair
      const from = monotonic()
      const confirmed = yield* asked(async () => {
        await primary.admin.set("chaos-marker", from)
        return primary.admin.wait(1, 5000)
      })
      if (confirmed === 0) {
        return yield* Effect.fail("the replica is not in sync")
      }
      replica.signal("SIGSTOP")
      yield* Effect.sleep(150)
      yield* primary.kill
      replica.signal("SIGCONT")
      yield* asked(() => replica.admin.call("REPLICAOF", "NO", "ONE"))
      proxy.lead(replica.port)
      proxy.cut()
      lose({ from, to: monotonic() })
      Object.assign(pair, { primary: replica, replica: primary })
      yield* primary.start
      yield* follow(primary, replica)
    })
  )

/** Makes the pair of two servers. */
export const paired = (primary: Server, replica: Server): Effect.Effect<Pair, unknown> =>
  Effect.as(follow(replica, primary), { primary, replica })

/** A slot with sessions moves from one node of a cluster to another, key by key. */
export const slotMove = (nodes: ReadonlyArray<Server>): Fault =>
  fault(
    "slot moved",
    asked(async () => {
      const at = Math.floor(Math.random() * nodes.length)
      const source = nodes[at]!
      const target = nodes[(at + 1) % nodes.length]!
      const key = await source.admin.randomkey()
      if (key === null) {
        return
      }
      const slot = await source.admin.cluster("KEYSLOT", key)
      const [from, to] = await Promise.all([source, target].map(({ admin }) => admin.cluster("MYID")))
      await target.admin.cluster("SETSLOT", slot, "IMPORTING", from!)
      await source.admin.cluster("SETSLOT", slot, "MIGRATING", to!)
      const keys = () => source.admin.cluster("GETKEYSINSLOT", slot, 100)
      for (let left = await keys(); left.length > 0; left = await keys()) {
        for (const key of left) {
          await source.admin.call("MIGRATE", "127.0.0.1", String(target.port), key, "0", "5000")
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      }
      for (const node of [target, source, ...nodes]) {
        await node.admin.cluster("SETSLOT", slot, "NODE", to!)
      }
    })
  )

const locked = (during: Effect.Effect<unknown, SqlError.SqlError>) => fault("table locked", during)

/** Backends that are terminated, and a table that is locked for a second or two. `client` has one connection. */
export const ofPostgres = (sql: SqlClient.SqlClient, schema: string): ReadonlyArray<Fault> => [
  fault(
    "backends ended",
    sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ${schema} AND random() < 0.5`
  ),
  locked(
    sql.withTransaction(
      Effect.zipRight(
        sql.unsafe(`LOCK TABLE ${schema}.sessions IN ACCESS EXCLUSIVE MODE`),
        between(1000, 2000)
      )
    )
  )
]

export const ofMariaDb = (sql: SqlClient.SqlClient, schema: string): ReadonlyArray<Fault> => [
  fault(
    "backends ended",
    Effect.flatMap(
      sql<{ readonly id: number }>`SELECT id FROM information_schema.processlist
        WHERE db = ${schema} AND id <> CONNECTION_ID() AND RAND() < 0.5`,
      Effect.forEach(({ id }) => Effect.ignore(sql.unsafe(`KILL ${id}`)), { discard: true })
    )
  ),
  locked(
    Effect.acquireUseRelease(
      sql.unsafe(`LOCK TABLES ${schema}.sessions WRITE`),
      () => between(1000, 2000),
      () => Effect.orDie(sql.unsafe("UNLOCK TABLES"))
    )
  )
]

export const ofSqlite = (sql: SqlClient.SqlClient): ReadonlyArray<Fault> => [
  locked(
    Effect.acquireUseRelease(
      sql.unsafe("BEGIN EXCLUSIVE"),
      () => between(1000, 2000),
      () => Effect.orDie(sql.unsafe("COMMIT"))
    )
  )
]

/** A disk that is full for a moment. */
export const diskFull = (directory: string): Fault => {
  const filler = path.join(directory, "filler")
  return fault(
    "disk full",
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const descriptor = fs.openSync(filler, "w")
        try {
          for (let size = 65_536; size > 0; size = size === 65_536 ? 4096 : 0) {
            fill(descriptor, Buffer.alloc(size))
          }
        } finally {
          fs.closeSync(descriptor)
        }
      }),
      () => between(150, 400),
      () => Effect.sync(() => fs.rmSync(filler, { force: true }))
    )
  )
}

const fill = (descriptor: number, block: Buffer): void => {
  try {
    while (fs.writeSync(descriptor, block) === block.length) {
      // until there is no room for a block
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") {
      throw error
    }
  }
}
