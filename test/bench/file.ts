/**
 * What it costs to keep sessions in files, at the store, 16 lanes at once: over what the file system itself takes to write
 * a file whole (write aside, rename) and to read one, beside session-file-store. All in one folder, removed after.
 */
import { NodeContext } from "@effect/platform-node"
import { Effect, Exit, Scope } from "effect"
import * as FileStore from "effect-session/FileStore"
import * as SessionToken from "effect-session/SessionToken"
import * as testing from "effect-session/testing"
import session from "express-session"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import sessionFileStore from "session-file-store"
import { type Candidate, interleave, scaled, type Spread, table, times } from "./harness.js"
import { standalone } from "./standalone.js"

const lanes = 16

// Faster than node:fs/promises.
const readFile = promisify(fs.readFile)
const writeFile = promisify(fs.writeFile)
const rename = promisify(fs.rename)

const draw = (): string => randomBytes(32).toString("base64url")

/** What a small application keeps of a visitor. */
const data = { user: "ann@example.org", visits: 3, theme: "dark", csrf: randomBytes(24).toString("base64url") }

interface Contender {
  readonly name: string
  readonly write: (lane: number) => Promise<unknown>
  readonly read: (lane: number) => Promise<unknown>
}

const raw = async (directory: string): Promise<Contender> => {
  const text = JSON.stringify({ v: 1, data, createdAt: Date.now(), deadline: Date.now() + 3_600_000 })
  const files = Array.from({ length: lanes }, () => join(directory, randomBytes(32).toString("base64url")))
  const fileOf = (lane: number): string => files[lane] ?? ""
  let writes = 0
  const write = async (lane: number): Promise<void> => {
    const aside = `${fileOf(lane)}.${writes++}`
    await writeFile(aside, text)
    await rename(aside, fileOf(lane))
  }
  await Promise.all(files.map((_, lane) => write(lane)))
  return { name: "node:fs", write, read: async (lane) => JSON.parse(await readFile(fileOf(lane), "utf8")) }
}

const ours = async (
  directory: string,
  durability: FileStore.Durability,
  scope: Scope.Scope
): Promise<Contender> => {
  const store = await Effect.runPromise(
    FileStore.make({ directory: join(directory, durability), durability }).pipe(
      Effect.provide(NodeContext.layer),
      Scope.extend(scope)
    )
  )
  const record = testing.record({ data, createdAt: Date.now() })
  const visitors = Array.from({ length: lanes }, () => ({
    token: draw(),
    revision: record.revision
  }))
  const visitorOf = (lane: number) => visitors[lane] ?? { token: draw(), revision: 0 }
  const call = () => ({ now: Date.now(), audience: "cookie:session", limit: 4096 })
  for (const { token } of visitors) {
    await Effect.runPromise(store.create(SessionToken.fromString(token), record, call()))
  }
  return {
    name: durability === "rename" ? "FileStore" : "FileStore, durability \"fsync\"",
    write: async (lane) => {
      const visitor = visitorOf(lane)
      // A token object of its own each time, as every request has: its hash is part of the cost.
      const result = await Effect.runPromise(
        store.update(SessionToken.fromString(visitor.token), visitor.revision, record, call())
      )
      if (result._tag !== "Updated") throw new Error(`the update came out as ${result._tag}`)
      visitor.revision = result.revision
    },
    read: async (lane) => {
      const result = await Effect.runPromise(store.load(SessionToken.fromString(visitorOf(lane).token), call()))
      if (result._tag !== "Live") throw new Error(`the load came out as ${result._tag}`)
    }
  }
}

const peer = async (directory: string): Promise<Contender> => {
  const Store = sessionFileStore(session)
  const store = new Store({ path: join(directory, "peer"), reapInterval: -1, retries: 0, logFn: () => {} })
  const cookie = { originalMaxAge: null, httpOnly: true, path: "/" }
  const visitors = Array.from({ length: lanes }, draw)
  const idOf = (lane: number): string => visitors[lane] ?? ""
  const call = (f: (done: (error?: unknown, value?: unknown) => void) => void): Promise<unknown> =>
    new Promise((resolve, reject) => f((error, value) => error ? reject(error) : resolve(value)))
  const write = (lane: number) =>
    call((done) => store.set(idOf(lane), { cookie, ...data } as unknown as session.SessionData, done))
  await Promise.all(visitors.map((_, lane) => write(lane)))
  return { name: "session-file-store", write, read: (lane) => call((done) => store.get(idOf(lane), done)) }
}

/** All lanes busy, each with one call after the other. */
const inLanes = (calls: number, f: (lane: number) => Promise<unknown>) => async (): Promise<void> => {
  const each = Math.ceil(calls / lanes)
  await Promise.all(Array.from({ length: lanes }, async (_, lane) => {
    for (let n = 0; n < each; n++) await f(lane)
  }))
}

const perSecond = (wall: Spread, calls: number): string =>
  (1e6 * Math.ceil(calls / lanes) * lanes / wall.median)
    .toFixed(0)

export const run = async (): Promise<string> => {
  const directory = await mkdtemp(join(tmpdir(), "effect-session-bench-"))
  const scope = Effect.runSync(Scope.make())
  try {
    const contenders = [
      await raw(directory),
      await ours(directory, "rename", scope),
      await ours(directory, "fsync", scope),
      await peer(directory)
    ]
    const rows: Array<Array<string>> = []
    for (const [what, calls, goal] of [["write", 800, "x1.50"], ["read", 2400, "x1.50"]] as const) {
      const size = scaled(calls, lanes)
      const candidates = contenders.map((contender): Candidate => ({
        name: contender.name,
        run: inLanes(size, contender[what])
      }))
      for (const { compared, micros, name } of await interleave(candidates, { rounds: 11, calls: 1 })) {
        rows.push([
          what,
          name,
          perSecond(compared.wall, size),
          times(compared.wallRatio),
          (micros / size).toFixed(0),
          times(compared.cpuRatio),
          name === "FileStore" ? goal : ""
        ])
      }
    }
    return table(["16 lanes", "store", "calls/s", "time over raw", "CPU us", "CPU over raw", "goal (time)"], rows)
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await rm(directory, { recursive: true, force: true })
  }
}

await standalone(import.meta.url, run)
