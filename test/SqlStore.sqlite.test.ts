import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Redacted } from "effect"
import * as SessionToken from "effect-session/SessionToken"
import * as SqlStore from "effect-session/SqlStore"
import * as Store from "effect-session/Store"
import * as esbuild from "esbuild"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as Sqlite from "../src/internal/sqlStore/sqlite.js"
import * as Fixture from "./fixtures/sql.js"
import { clocked, createSession, dataOf } from "./support/records.js"
import type { Ended } from "./support/worker.js"
import { listen } from "./support/worker.js"

const { sqlite } = Fixture

const bundles = fs.mkdtempSync(path.join(tmpdir(), "sqlstore-worker-"))
const worker = path.join(bundles, "worker.mjs")

// Once, into one file: what starts six at a time must start fast.
beforeAll(async () => {
  fs.symlinkSync(fileURLToPath(new URL("../node_modules", import.meta.url)), path.join(bundles, "node_modules"))
  await esbuild.build({
    entryPoints: [fileURLToPath(new URL("./fixtures/sql.worker.ts", import.meta.url))],
    outfile: worker,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["better-sqlite3"]
  })
})

afterAll(() => fs.rmSync(bundles, { recursive: true, force: true }))

/** Runs so many workers at once to their end. Whenever all of them have said "ready", they are told the next line. */
const together = (workers: number, args: ReadonlyArray<string>, orders: ReadonlyArray<string>) =>
  Effect.suspend(() => {
    const children: Array<ChildProcess> = []
    const left = [...orders]
    let ready = 0
    const heard = () => {
      if (++ready === workers) {
        ready = 0
        const order = left.shift() ?? "end"
        children.forEach((child) => child.stdin?.write(`${order}\n`))
      }
    }
    const run = Effect.async<Ended>((resume) => {
      const child = spawn(process.execPath, [worker, ...args], { stdio: ["pipe", "pipe", "pipe"] })
      children.push(child)
      child.stdin.on("error", () => {})
      listen(child, (line) => line === "ready" && heard(), (ended) => {
        // who fails holds up nobody
        children.forEach((other) => ended.code !== 0 && other.kill("SIGKILL"))
        resume(Effect.succeed(ended))
      })
      return Effect.sync(() => child.kill("SIGKILL"))
    })
    return Effect.replicateEffect(run, workers, { concurrency: "unbounded" })
  })

const fine = (ended: ReadonlyArray<Ended>) =>
  assert.deepStrictEqual(
    ended.map(({ code, problem }) => ({ code, problem })),
    ended.map(() => ({ code: 0, problem: "" }))
  )

const clientOf = (client: Fixture.Client) => Effect.map(Layer.build(client), Context.get(SqlClient.SqlClient))

describe.skipIf(sqlite.missing !== undefined)(Fixture.title("SqlStore: several real processes", sqlite), () => {
  const open = Effect.gen(function*() {
    const file = yield* Fixture.sqliteFile
    const context = yield* Layer.build(
      Layer.provideMerge(
        SqlStore.layer().pipe(Layer.provide(SqlStore.layerMigrations())),
        Fixture.sqliteAt(file)
      )
    )
    return { file, sql: Context.get(context, SqlClient.SqlClient), store: clocked(Context.get(context, Store.Store)) }
  })

  it.scopedLive(
    "D2 S13 S26 S65: 4 processes on one file lose no update, no renewal and no removal",
    () =>
      Effect.gen(function*() {
        const { file, sql, store } = yield* open
        const token = yield* createSession(store, { n: 0 })
        const ended = yield* together(4, ["write", file, Redacted.value(token), "60"], ["go"])
        fine(ended)
        assert.deepStrictEqual(yield* sql`PRAGMA journal_mode`, [{ journal_mode: "wal" }])
        assert.deepStrictEqual(yield* dataOf(store, token), { n: 240 })
        // seen by another process than those that wrote, after they are gone
        const said = ended.flatMap(({ lines }) => lines.filter((line) => line !== "ready"))
        assert.strictEqual(said.length, 480)
        for (const line of said) {
          const [word, text = ""] = line.split(" ")
          const found = yield* dataOf(store, SessionToken.fromString(text))
          assert.deepStrictEqual(found, word === "lives" ? { n: 3 } : "Superseded")
        }
        const rows = yield* sql<{ readonly n: number }>`SELECT count(*) AS n FROM sessions WHERE body IS NOT NULL`
        assert.strictEqual(rows[0]?.n, 1 + 120)
      }),
    180_000
  )

  it.scopedLive(
    "D8: 6 processes that start together on an empty database all start, 10 times",
    () =>
      Effect.gen(function*() {
        const files = yield* Effect.replicateEffect(Fixture.sqliteFile, 10)
        // The driver turns WAL on when it opens a file, without waiting for others who do so at the same moment.
        yield* Effect.forEach(files, (file) => clientOf(Fixture.sqliteAt(file)))
        fine(yield* together(6, ["start"], files))
        for (const file of files) {
          const sql = yield* clientOf(Fixture.sqliteAt(file))
          const rows = yield* sql<{ readonly n: number }>`SELECT count(*) AS n FROM sessions`
          assert.strictEqual(rows[0]?.n, 6)
        }
      }),
    180_000
  )
})

describe.skipIf(sqlite.missing !== undefined)(Fixture.title("SqlStore: a locked file", sqlite), () => {
  const open = Effect.gen(function*() {
    const { client } = yield* sqlite.schema
    const sql = yield* clientOf(client)
    let asked = 0
    // SQLite answers when it compiles the text: each question has to be a text of its own
    const wait = Effect.suspend(() => Effect.map(sql.unsafe(`PRAGMA busy_timeout -- ${asked++}`), (rows) => rows[0]))
    return { client, sql, wait, within: Sqlite.withShortWait(sql) }
  })

  const unexpected = (error: unknown): never => {
    throw error
  }

  it.scoped("S66: stops the process for 10 ms at most, and the app's own statements wait as before", () =>
    Effect.gen(function*() {
      const { sql, wait, within } = yield* open
      assert.deepStrictEqual(yield* wait, { timeout: 5000 })
      yield* sql`PRAGMA busy_timeout = 700`
      for (const _ of [1, 2, 3]) {
        assert.deepStrictEqual(yield* within(Effect.orDie(wait), unexpected), { timeout: 10 })
        assert.deepStrictEqual(yield* wait, { timeout: 700 })
      }
      yield* Effect.exit(within(Effect.zipRight(Effect.yieldNow(), Effect.interrupt), unexpected))
      assert.deepStrictEqual(yield* wait, { timeout: 700 })
      yield* Effect.exit(within(Effect.fail("it fails"), unexpected))
      assert.deepStrictEqual(yield* wait, { timeout: 700 })
    }))

  it.scoped("an app's own transaction waits as it would without sessions", () =>
    Effect.gen(function*() {
      const { sql, wait, within } = yield* open
      const inside = yield* sql.withTransaction(within(Effect.orDie(wait), unexpected))
      assert.deepStrictEqual(inside, { timeout: 5000 })
    }))

  it.scopedLive("S66: a file that stays locked is a StoreError that says so", () =>
    Effect.gen(function*() {
      const { client, sql } = yield* open
      const services = Layer.provideMerge(
        SqlStore.layer().pipe(Layer.provide(SqlStore.layerMigrations())),
        client
      )
      const context = yield* Layer.build(services)
      const store = clocked(Context.get(context, Store.Store))
      const token = yield* createSession(store, { n: 1 })
      const locked = yield* Deferred.make<void>()
      // forked here: a fiber of the transaction would write on its connection
      const other = yield* Effect.fork(Effect.zipRight(
        Deferred.await(locked),
        // a reader waits for no writer
        Effect.all([dataOf(store, token), Effect.flip(store.remove(token))])
      ))
      const [read, error] = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`DELETE FROM sessions WHERE id = 'nobody'`
        yield* Deferred.succeed(locked, undefined)
        return yield* Fiber.join(other)
      }))
      assert.deepStrictEqual(read, { n: 1 })
      assert.strictEqual(error.reason, "Unavailable")
      assert.include(String(error.cause), "database is locked")
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      yield* store.remove(token)
      assert.strictEqual(yield* dataOf(store, token), "Superseded")
    }))
})
