/**
 * Counts up with a cookie, across a restart of the example.
 */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { freePort } from "../../test/support/freePort.js"

const start = async (port: number, directory: string): Promise<ChildProcess> => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url))
  const child = spawn(process.execPath, ["--import", "tsx", main], {
    env: { ...process.env, PORT: String(port), SESSIONS: directory },
    stdio: ["ignore", "pipe", "inherit"]
  })
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (chunk) => String(chunk).includes("Listening") && resolve())
    child.once("exit", (code) => reject(new Error(`the example ended with ${code}`)))
  })
  return child
}

const stop = async (child: ChildProcess): Promise<void> => {
  const ended = once(child, "exit")
  child.kill("SIGKILL")
  await ended
}

const port = await freePort()
const directory = await mkdtemp(join(tmpdir(), "effect-session-counter-"))
let cookie = ""

const visit = async (): Promise<string> => {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { cookie } })
  assert.equal(response.status, 200)
  cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie
  return response.text()
}

let server = await start(port, directory)
try {
  assert.match(await visit(), /here 0 times before/)
  assert.match(await visit(), /here 1 time before/)
  await stop(server)
  server = await start(port, directory)
  assert.match(await visit(), /here 2 times before/)
} finally {
  await stop(server)
  await rm(directory, { recursive: true })
}
