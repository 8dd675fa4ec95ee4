/**
 * The counter example as `npm start` runs it, asked from the first moment on: a request is refused until the server
 * listens and answered from then on; none is taken and left without an answer.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs/promises"
import * as http from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { freePort } from "./support/freePort.js"

const main = fileURLToPath(new URL("../examples/counter/main.ts", import.meta.url))

const directory = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(path.join(os.tmpdir(), "effect-session-boot-"))),
  (directory) => Effect.promise(() => fs.rm(directory, { recursive: true, force: true }))
)

const started = (port: number, sessions: string): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--import", "tsx", main], {
        env: { ...process.env, PORT: String(port), SESSIONS: path.join(sessions, "sessions") },
        stdio: ["ignore", "ignore", "inherit"]
      })
    ),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const ended = once(child, "exit")
        child.kill("SIGKILL")
        await ended
      })
  )

type Fate = "answered" | "hung" | "refused"

/** One request on a connection of its own; one that has no answer after ten seconds will never have one. */
const request = (port: number): Promise<Fate> =>
  new Promise((resolve, reject) => {
    const asked = http.get({ host: "127.0.0.1", port, agent: false }, (response) => {
      response.resume()
      response.once("end", () =>
        response.statusCode === 200 ? resolve("answered") : reject(new Error(`status ${response.statusCode}`)))
    })
    asked.setTimeout(10_000, () => {
      resolve("hung")
      asked.destroy()
    })
    asked.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNREFUSED" ? resolve("refused") : reject(error))
  })

/** Asks one time after the other, while the server starts and for a few answers more. */
const visitor = async (port: number, child: ChildProcess): Promise<ReadonlyArray<Fate>> => {
  const fates: Array<Fate> = []
  while (fates.filter((fate) => fate === "answered").length < 5 && !fates.includes("hung")) {
    if (child.exitCode !== null) throw new Error(`the example ended with ${child.exitCode}`)
    fates.push(await request(port))
    // leaves the processor to the process that starts
    await setTimeout(1)
  }
  return fates
}

describe("examples/counter", () => {
  it.scopedLive.each(Array.from({ length: 10 }, (_, boot) => boot + 1))(
    "N4: start %i: no request hangs",
    () =>
      Effect.gen(function*() {
        const port = yield* Effect.promise(freePort)
        const child = yield* started(port, yield* directory)
        const fates = yield* Effect.promise(() => Promise.all(Array.from({ length: 2 }, () => visitor(port, child))))
        assert.notInclude(fates.flat(), "hung")
        assert.include(fates.flat(), "refused", "no request came before the server")
      })
  )
})
