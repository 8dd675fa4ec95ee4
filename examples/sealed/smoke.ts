/**
 * Counts up with one cookie at two processes in turn, which share nothing but a key.
 */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { freePort } from "../../test/support/freePort.js"

const main = fileURLToPath(new URL("./main.ts", import.meta.url))

const spawnExample = (port: number, keys: string): ChildProcess =>
  spawn(process.execPath, ["--import", "tsx", main], {
    env: { ...process.env, PORT: String(port), SESSION_KEYS: keys },
    stdio: ["ignore", "pipe", "pipe"]
  })

const listening = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    child.stderr?.pipe(process.stderr)
    child.stdout?.on("data", (chunk) => String(chunk).includes("Listening") && resolve())
    child.once("exit", (code) => reject(new Error(`the example ended with ${code}`)))
  })

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, "exit")
  child.kill("SIGKILL")
  await ended
}

const key = randomBytes(32).toString("base64")
const ports = [await freePort(), await freePort()] as const
const children = ports.map((port) => spawnExample(port, key))

// A key that is not 32 bytes is refused at the start, with the command that makes one.
const careless = spawnExample(await freePort(), "a short key")
const refused = once(careless, "close")
let said = ""
careless.stdout?.on("data", (chunk) => said += String(chunk))
careless.stderr?.on("data", (chunk) => said += String(chunk))

let cookie = ""

const visit = async (port: number): Promise<string> => {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { cookie } })
  assert.equal(response.status, 200)
  cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie
  return response.text()
}

try {
  await Promise.all(children.map(listening))
  for (let n = 0; n < 6; n++) {
    const index = n % 2 === 0 ? 0 : 1
    const text = await visit(ports[index])
    assert.match(text, new RegExp(`here ${n} times? before`))
    assert.match(text, new RegExp(`process ${children[index]?.pid},`))
  }
  // what somebody made up is a first visit
  cookie = `${cookie.slice(0, -3)}AAA`
  assert.match(await visit(ports[0]), /here 0 times before/)
} finally {
  await Promise.all(children.map(stop))
}

const [code] = await refused
assert.notEqual(code, 0)
assert.match(said, /openssl rand -base64 32/)
