import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import * as SessionToken from "effect-session/SessionToken"
import type * as Store from "effect-session/Store"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import * as filestore from "./fixtures/filestore.js"
import { createSession, dataOf, recordOf, withData } from "./support/records.js"

const worker = fileURLToPath(new URL("./fixtures/filestore.worker.ts", import.meta.url))

interface Ended {
  readonly code: number | null
  readonly lines: ReadonlyArray<string>
  readonly problem: string
}

/** Runs a worker to its end, or kills it once `isEnough` says so of a line. */
const run = (
  args: ReadonlyArray<string>,
  isEnough: (line: string) => boolean = () => false
): Effect.Effect<Ended> =>
  Effect.async<Ended>((resume) => {
    const child = spawn(process.execPath, ["--import", "tsx", worker, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    let read = 0
    let problem = ""
    child.stderr.on("data", (bytes: Buffer) => {
      problem += bytes.toString()
    })
    child.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString()
      for (let end = output.indexOf("\n", read); end >= 0; end = output.indexOf("\n", read)) {
        if (isEnough(output.slice(read, end))) {
          child.kill("SIGKILL")
        }
        read = end + 1
      }
    })
    child.on("close", (code) => {
      const lines = output.slice(0, output.lastIndexOf("\n") + 1).split("\n").slice(0, -1)
      resume(Effect.succeed({ code, lines, problem }))
    })
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
        const ended = yield* Effect.replicateEffect(
          run(["increment", directory, Redacted.value(token), "50"]),
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
        yield* Effect.forEach(
          Array.from({ length: 30 }, (_, index) => index),
          (index) =>
            Effect.gen(function*() {
              const token = yield* createSession(store, { n: 0 })
              // Every third is killed as it begins a renewal; the rest wherever the signal meets them.
              const last = 37 + Math.floor(Math.random() * 60)
              const victim = yield* run(
                ["write", directory, Redacted.value(token)],
                (line) => line.startsWith(index % 3 === 0 ? `begin ${last - last % 10} ` : `begin ${last} `)
              )
              assert.deepStrictEqual({ code: victim.code, problem: victim.problem }, { code: null, problem: "" })
              const { acknowledged, begun, current } = readOf(victim.lines, token)
              writes += acknowledged
              yield* verify(store, acknowledged, begun, current)
            }),
          { concurrency: 3, discard: true }
        )
        assert.isAtLeast(writes, 1000)
        assert.isEmpty(fs.readdirSync(directory).filter((name) => name.endsWith(".corrupt")))
      }),
    180_000
  )
})

const verify = (
  store: Store.Store,
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
    assert.strictEqual(found.revision, n)
    const [took, answer] = yield* Effect.timed(store.update(live, found.revision, withData(found, { n: "after" })))
    assert.strictEqual(answer._tag, "Updated")
    assert.isBelow(Duration.toMillis(took), 2000)
    assert.deepStrictEqual(yield* dataOf(store, live), { n: "after" })
  })
