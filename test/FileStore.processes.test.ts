import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as SessionToken from "effect-session/SessionToken"
import * as esbuild from "esbuild"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as filestore from "./fixtures/filestore.js"
import { type Clocked, createSession, dataOf, recordOf, withData } from "./support/records.js"
import type { Ended } from "./support/worker.js"
import { listen } from "./support/worker.js"

const bundles = fs.mkdtempSync(path.join(tmpdir(), "filestore-worker-"))
const worker = path.join(bundles, "worker.mjs")

// Once, into one file: what starts 34 times must start fast.
beforeAll(() =>
  esbuild.build({
    entryPoints: [fileURLToPath(new URL("./fixtures/filestore.worker.ts", import.meta.url))],
    outfile: worker,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20"
  })
)

afterAll(() => fs.rmSync(bundles, { recursive: true, force: true }))

/** Runs a worker to its end, and gives each line that it says to `heard` at once. */
const run = (args: ReadonlyArray<string>, heard: (line: string, child: ChildProcess) => void): Effect.Effect<Ended> =>
  Effect.async<Ended>((resume) => {
    const child = spawn(process.execPath, [worker, ...args], { stdio: ["pipe", "pipe", "pipe"] })
    listen(child, (line) => heard(line, child), (ended) => resume(Effect.succeed(ended)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** What a killed worker began last, and what was acknowledged last, with the tokens it had by then. */
const readOf = (lines: ReadonlyArray<string>, first: SessionToken.Token) => {
  let current = first
  let acknowledged = 0
  let begun: { readonly n: number; readonly token: SessionToken.Token } | undefined
  for (const line of lines) {
    const [word, number = "", text = ""] = line.split(" ")
    if (word === "begin") {
      begun = { n: Number(number), token: text === Redacted.value(current) ? current : SessionToken.fromString(text) }
    } else if (word === "acknowledged") {
      acknowledged = Number(number)
      current = begun?.token ?? current
      begun = undefined
    }
  }
  return { acknowledged, begun, current }
}

describe("FileStore: several real processes", () => {
  it.scopedLive(
    "S65: 4 processes add 1 to one session 50 times each, all at once, and it ends at exactly 200",
    () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        const store = yield* filestore.open(directory)
        const token = yield* createSession(store, { n: 0 })
        const ready: Array<ChildProcess> = []
        const ended = yield* Effect.replicateEffect(
          run(["increment", directory, Redacted.value(token), "50"], (line, child) => {
            if (line === "ready" && ready.push(child) === 4) {
              ready.forEach((one) => one.stdin?.end("go"))
            }
          }),
          4,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          ended.map(({ code, problem }) => ({ code, problem })),
          Array(4).fill({ code: 0, problem: "" })
        )
        assert.strictEqual((yield* recordOf(store, token)).data["n"], 200)
        assert.deepStrictEqual(fs.readdirSync(directory).filter((name) => /\.(lock|tmp|corrupt)$/.test(name)), [])
      }),
    120_000
  )

  it.scopedLive(
    "X18 S13: of processes killed amid 2,000 writes, 30 times, no session is torn, no acknowledged write is lost",
    () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        const store = yield* filestore.open(directory)
        let writes = 0
        let cut = 0
        yield* Effect.forEach(
          Array.from({ length: 30 }, (_, index) => index),
          (index) =>
            Effect.gen(function*() {
              const token = yield* createSession(store, { n: 0 })
              // Every third is killed as it begins a renewal; the rest wherever the signal meets them.
              const last = index % 3 === 0 ? 70 : 70 + index % 10
              const victim = yield* run(
                ["write", directory, Redacted.value(token)],
                (line, child) => {
                  if (line.startsWith(`begin ${last} `)) {
                    child.kill("SIGKILL")
                  }
                }
              )
              assert.deepStrictEqual({ code: victim.code, problem: victim.problem }, { code: null, problem: "" })
              const { acknowledged, begun, current } = readOf(victim.lines, token)
              assert.isAtLeast(acknowledged, last - 1)
              writes += acknowledged
              cut += begun === undefined ? 0 : 1
              yield* verify(store, acknowledged, begun, current)
            }),
          { concurrency: 2, discard: true }
        )
        assert.isAtLeast(writes, 2000)
        assert.isAbove(cut, 0)
        assert.isEmpty(fs.readdirSync(directory).filter((name) => name.endsWith(".corrupt")))
      }),
    120_000
  )
})

const verify = (
  store: Clocked,
  acknowledged: number,
  begun: { readonly n: number; readonly token: SessionToken.Token } | undefined,
  current: SessionToken.Token
) =>
  Effect.gen(function*() {
    let live = current
    if (begun !== undefined && begun.token !== current) {
      const outcome = `${(yield* store.load(current))._tag} ${(yield* store.load(begun.token))._tag}`
      assert.include(["Live None", "Superseded Live"], outcome)
      live = outcome === "Live None" ? current : begun.token
    }
    const found = yield* recordOf(store, live)
    const n = Number(found.data["n"])
    assert.include(begun === undefined ? [acknowledged] : [acknowledged, begun.n], n)
    assert.isAtLeast(found.revision, n)
    // How long a lock that was left is respected is counted, not waited for.
    const clock = filestore.hastyClock(Date.now())
    const answer = yield* Effect.withClock(store.update(live, found.revision, withData(found, { n: "after" })), clock)
    assert.strictEqual(answer._tag, "Updated")
    assert.isAtMost(clock.slept, 2000)
    assert.deepStrictEqual(yield* dataOf(store, live), { n: "after" })
  })
