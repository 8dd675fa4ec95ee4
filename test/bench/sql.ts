/**
 * What sessions in a database cost: on PostgreSQL the statements that a request sends, and the requests a second that are
 * left, over each framework's own bare rate; on SQLite and MariaDB the store alone, over the bare driver. All of it in
 * schemas, databases and files of its own, which are dropped after.
 */
import type { SqlClient } from "@effect/sql"
import { MysqlClient } from "@effect/sql-mysql2"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as SessionToken from "effect-session/SessionToken"
import * as SqlStore from "effect-session/SqlStore"
import type * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import mysql from "mysql2"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import pg from "pg"
import { type Candidate, interleave, scaled, table, times } from "./harness.js"
import type { Peer } from "./processes.js"
import { ask, paths, rateHead, rateRow, rates, type Running, type Subject, withServers } from "./rates.js"
import { standalone } from "./standalone.js"

const postgresUrl = process.env["DATABASE_URL"] ?? "postgres://root@127.0.0.1:5432/test"
const mysqlUrl = process.env["MYSQL_URL"] ?? "mysql://root@127.0.0.1:3306/test"

const require = createRequire(import.meta.url)

const subjects: ReadonlyArray<Subject> = [
  { name: "effect-session, SqlStore", framework: "effect", sessions: "postgres" },
  { name: "express-session, connect-pg-simple", framework: "express", sessions: "postgres" }
]

/** Each request is another visitor's, as in production. */
const crowd = { connections: 64, visitors: scaled(2000, 64) }

const requests = 20

const statements = async (client: Peer, servers: ReadonlyMap<string, Running>): Promise<string> => {
  const rows: Array<Array<string>> = []
  for (const { name } of subjects) {
    const { peer, port } = servers.get(name)!
    const row = [name]
    for (const [path, anonymous] of [...paths.map((path) => [path, false] as const), ["read", true] as const]) {
      await peer.ask("statements")
      await ask(client, { port, path: `/${path}`, connections: 1, requests, anonymous })
      const sent = await peer.ask("statements") as ReadonlyArray<readonly [string, number]>
      row.push(sent.length === 0 ? "none" : sent.map(([word, count]) => `${word} ${count / requests}`).join(", "))
    }
    rows.push(row)
  }
  return table(["statements a request", ...paths, "read, no cookie"], rows)
}

/** Skips where there is no server, but not where there has to be one. */
const missing = (name: string, error: unknown): string => {
  if (process.env["CI"] === "true") throw error
  return `skipped: no ${name} at hand`
}

const postgres = async (): Promise<string> => {
  const client = new pg.Client({ connectionString: postgresUrl })
  try {
    await client.connect()
  } catch (error) {
    return missing("PostgreSQL", error)
  }
  const prefix = `effect-session-bench-${process.pid}:`
  const [ours, theirs] = [`${prefix}effect:`, `${prefix}express:`]
  try {
    await client.query(`CREATE SCHEMA "${ours}"; CREATE SCHEMA "${theirs}"; SET search_path TO "${theirs}"`)
    await client.query(SqlStore.ddl("pg", { schema: ours }))
    await client.query(readFileSync(require.resolve("connect-pg-simple/table.sql"), "utf8"))
    return await withServers(subjects, prefix, crowd, async (peer, servers) => {
      const sent = await statements(peer, servers)
      const measured = await rates(subjects, peer, servers, crowd, { rounds: 9, calls: 1500, warmup: 2 })
      return `${sent}\n\n${table(rateHead, measured.map(rateRow))}`
    })
  } finally {
    await client.query(`DROP SCHEMA IF EXISTS "${ours}" CASCADE; DROP SCHEMA IF EXISTS "${theirs}" CASCADE`)
    await client.end()
  }
}

const data = { user: "ann@example.org", cart: ["tea", "mug"], theme: "dark", visits: 3 }

/** How many calls are under way at once. */
const lanes = 8

interface Calls {
  readonly read: (lane: number) => Promise<unknown>
  readonly add: (lane: number) => Promise<unknown>
}

const draw = (): string => randomBytes(32).toString("base64url")

const next = (before: typeof data): typeof data => ({ ...before, visits: before.visits + 1 })

const ofStore = async (client: Layer.Layer<SqlClient.SqlClient, unknown>, scope: Scope.Scope): Promise<Calls> => {
  const context = await Effect.runPromise(Layer.buildWithScope(client, scope))
  const store = await Effect.runPromise(Scope.extend(Effect.provide(SqlStore.make(), context), scope))
  const visitors = Array.from({ length: lanes }, draw)
  const call = () => ({ now: Date.now(), audience: "cookie:session", limit: 4096 })
  const record = testing.record({ data, createdAt: Date.now() })
  for (const visitor of visitors) {
    await Effect.runPromise(store.create(SessionToken.fromString(visitor), record, call()))
  }
  // A token object of its own each time, as every request has: its hash is part of the cost.
  const tokenOf = (lane: number) => SessionToken.fromString(visitors[lane] ?? "")
  const found = (loaded: Store.Loaded) => {
    if (loaded._tag !== "Live") throw new Error(`the load came out as ${loaded._tag}`)
    return loaded.record
  }
  return {
    read: (lane) => Effect.runPromise(Effect.map(store.load(tokenOf(lane), call()), found)),
    add: async (lane) => {
      const token = tokenOf(lane)
      const result = await Effect.runPromise(
        Effect.flatMap(store.load(token, call()), (loaded) => {
          const record = found(loaded)
          return store.update(
            token,
            record.revision,
            { ...record, data: next(record.data as unknown as typeof data) },
            call()
          )
        })
      )
      if (result._tag !== "Updated") throw new Error(`the update came out as ${result._tag}`)
    }
  }
}

/** Runs one statement of the bare driver: the rows of a SELECT. */
type Query = (text: string, ...values: ReadonlyArray<string | number>) => Promise<ReadonlyArray<unknown>>

interface Row {
  readonly body: string
  readonly revision: number
}

const byHand = async (query: Query): Promise<Calls> => {
  const visitors = Array.from({ length: lanes }, draw)
  const idOf = (lane: number) => visitors[lane] ?? ""
  for (const visitor of visitors) {
    await query(
      "INSERT INTO sessions (id, body, revision, touched_at, deadline) VALUES (?, ?, 0, 0, ?)",
      visitor,
      JSON.stringify(data),
      Date.now() + 3_600_000
    )
  }
  const load = async (lane: number) => {
    const [row] = await query("SELECT body, revision, touched_at, deadline FROM sessions WHERE id = ?", idOf(lane))
    const { body, revision } = row as Row
    return { revision, data: JSON.parse(body) as typeof data }
  }
  return {
    read: load,
    add: async (lane) => {
      const { data, revision } = await load(lane)
      await query(
        "UPDATE sessions SET body = ?, revision = ?, touched_at = ?, deadline = ? WHERE id = ? AND revision = ?",
        JSON.stringify(next(data)),
        revision + 1,
        Date.now(),
        Date.now() + 3_600_000,
        idOf(lane),
        revision
      )
    }
  }
}

/** All lanes busy, each with one call after the other. */
const inLanes = (calls: number, f: (lane: number) => Promise<unknown>) => async (): Promise<void> => {
  await Promise.all(Array.from({ length: lanes }, async (_, lane) => {
    for (let n = 0; n < calls; n += lanes) await f(lane)
  }))
}

const beside = async (database: string, raw: Calls, ours: Calls): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const rows: Array<ReadonlyArray<string>> = []
  for (const [what, calls] of [["read", 1600], ["add", 800]] as const) {
    const size = scaled(calls / lanes) * lanes
    const candidates = ([["bare driver", raw], ["SqlStore", ours]] as const).map(([name, calls]): Candidate => ({
      name: `${database}, ${name}`,
      run: inLanes(size, calls[what])
    }))
    for (const { compared, micros, name } of await interleave(candidates, { rounds: 11, calls: 1 })) {
      rows.push([
        what === "add" ? "add 1" : what,
        name,
        (1e6 * size / compared.wall.median).toFixed(0),
        (micros / size).toFixed(0),
        times(compared.cpuRatio)
      ])
    }
  }
  return rows
}

const besideHead: ReadonlyArray<string> = [`${lanes} lanes`, "store", "calls/s", "CPU us", "CPU over bare"]

interface Sqlite {
  readonly prepare: (text: string) => {
    readonly reader: boolean
    readonly all: (...values: ReadonlyArray<unknown>) => ReadonlyArray<unknown>
    readonly run: (...values: ReadonlyArray<unknown>) => unknown
  }
  readonly pragma: (text: string) => unknown
  readonly exec: (text: string) => unknown
  readonly close: () => void
}

const sqlite = async (scope: Scope.Scope): Promise<string> => {
  const directory = mkdtempSync(join(tmpdir(), "effect-session-bench-"))
  const filename = join(directory, "sessions.db")
  const database = new (require("better-sqlite3") as new(filename: string) => Sqlite)(filename)
  try {
    database.pragma("journal_mode = WAL")
    database.exec(SqlStore.ddl("sqlite"))
    const prepared = new Map<string, ReturnType<Sqlite["prepare"]>>()
    const query: Query = async (text, ...values) => {
      const statement = prepared.get(text) ?? database.prepare(text)
      prepared.set(text, statement)
      return statement.reader ? statement.all(...values) : [statement.run(...values)]
    }
    const raw = await byHand(query)
    return table(
      besideHead,
      await beside("SQLite", raw, await ofStore(SqliteClient.layer({ filename }), scope))
    )
  } finally {
    database.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

const mariadb = async (scope: Scope.Scope): Promise<string> => {
  const name = `effect-session-bench-${process.pid}`
  const url = new URL(mysqlUrl)
  url.pathname = `/${name}`
  const admin = mysql.createConnection({ uri: mysqlUrl, multipleStatements: true })
  admin.on("error", () => {})
  const order = (text: string): Promise<void> =>
    new Promise((resolve, reject) => admin.query(text, (error) => error === null ? resolve() : reject(error)))
  try {
    await order(`CREATE DATABASE \`${name}\``)
  } catch (error) {
    admin.destroy()
    return missing("MariaDB", error)
  }
  const pool = mysql.createPool({ uri: url.toString(), connectionLimit: 10 })
  try {
    await order(SqlStore.ddl("mysql", { schema: name }))
    const query: Query = (text, ...values) =>
      new Promise((resolve, reject) =>
        pool.execute(
          text,
          [...values],
          (error, found) => error === null ? resolve(Array.isArray(found) ? found : [found]) : reject(error)
        )
      )
    const ours = await ofStore(MysqlClient.layer({ url: Redacted.make(url.toString()) }), scope)
    return table(besideHead, await beside("MariaDB", await byHand(query), ours))
  } finally {
    await new Promise<void>((resolve) => pool.end(() => resolve()))
    await order(`DROP DATABASE \`${name}\``)
    admin.destroy()
  }
}

export const run = async (): Promise<string> => {
  const scope = Effect.runSync(Scope.make())
  try {
    return [await postgres(), await sqlite(scope), await mariadb(scope)].join("\n\n")
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

await standalone(import.meta.url, run)
