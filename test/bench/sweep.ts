/**
 * What a large folder of live sessions costs a process that only sweeps it: the processor time of the whole process, which
 * does nothing else, and for how long the event loop is held. All in one folder, removed after.
 */
import { NodeContext } from "@effect/platform-node"
import { Effect, Exit, Scope } from "effect"
import * as FileStore from "effect-session/FileStore"
import * as SessionToken from "effect-session/SessionToken"
import * as testing from "effect-session/testing"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { setTimeout } from "node:timers/promises"
import { scaled, table } from "./harness.js"
import { standalone } from "./standalone.js"

const draw = (): string => randomBytes(32).toString("base64url")

/** How long each measurement takes, in milliseconds. */
const length = 60_000

/** The first sweep begins after the first minute, with a list of the folder and no session known yet. */
const minutes = scaled(4, 2)

const open = (directory: string, scope: Scope.Scope) =>
  Effect.runPromise(FileStore.make({ directory }).pipe(Effect.provide(NodeContext.layer), Scope.extend(scope)))

/** Writes one session by the store, and copies its file under names of the same form. */
const fill = async (directory: string, count: number): Promise<void> => {
  const scope = Effect.runSync(Scope.make())
  const store = await open(directory, scope)
  const record = testing.record({ data: { user: "ann@example.org", visits: 3 }, createdAt: Date.now() })
  const call = { now: Date.now(), audience: "cookie:session", limit: 4096 }
  await Effect.runPromise(store.create(SessionToken.fromString(draw()), record, call))
  await Effect.runPromise(Scope.close(scope, Exit.void))
  const [name = ""] = fs.readdirSync(directory)
  const content = fs.readFileSync(join(directory, name))
  for (let index = 1; index < count; index++) {
    fs.writeFileSync(join(directory, draw()), content, { mode: 0o600 })
  }
}

export const run = async (): Promise<string> => {
  const directory = fs.mkdtempSync(join(tmpdir(), "effect-session-bench-"))
  const scope = Effect.runSync(Scope.make())
  try {
    const count = scaled(300_000, 1000)
    await fill(directory, count)
    await open(directory, scope)
    const rows: Array<Array<string>> = []
    for (let minute = 0; minute < minutes; minute++) {
      // A finer resolution would cost more than the sweep.
      const delay = monitorEventLoopDelay({ resolution: 10 })
      delay.enable()
      const before = process.cpuUsage()
      const began = performance.now()
      await setTimeout(length)
      const { system, user } = process.cpuUsage(before)
      const elapsed = performance.now() - began
      delay.disable()
      rows.push([
        String(minute + 1),
        ((user + system) / elapsed / 10).toFixed(2),
        (delay.max / 1e6).toFixed(1),
        (process.memoryUsage().heapUsed / 2 ** 20).toFixed(0)
      ])
    }
    return table(
      [
        `minute, ${count.toLocaleString("en-US")} live files`,
        "CPU, % of a core",
        "longest event-loop delay, ms",
        "heap, MB"
      ],
      rows
    )
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

await standalone(import.meta.url, run)
