/**
 * Opens an account, stays signed in across a restart, is told when the session ends elsewhere, and stops at once although a
 * page listens. What is wrong with its own files is in its log. What it looks like in a browser is tested in test/examples.
 */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { freePort } from "../../test/support/freePort.js"

const port = await freePort()
const base = `http://127.0.0.1:${port}`
const directory = await mkdtemp(join(tmpdir(), "effect-session-login-"))

/** All that the servers have said. */
let log = ""

const start = async (): Promise<ChildProcess> => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url))
  const child = spawn(process.execPath, ["--import", "tsx", main], {
    env: {
      ...process.env,
      PORT: String(port),
      SESSION_STORE_URL: `file:${join(directory, "sessions")}`,
      USERS: join(directory, "users.json")
    },
    stdio: ["ignore", "pipe", "inherit"]
  })
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      log += String(chunk)
      if (String(chunk).includes("Listening")) resolve()
    })
    child.once("exit", (code) => reject(new Error(`the example ended with ${code}`)))
  })
  return child
}

const stop = async (child: ChildProcess): Promise<void> => {
  const ended = once(child, "exit")
  child.kill("SIGTERM")
  await ended
}

/** A browser without pictures. */
class Browser {
  cookie = ""

  async send(path: string, form?: Record<string, string>): Promise<Response> {
    const response = await fetch(base + path, {
      headers: { cookie: this.cookie },
      redirect: "manual",
      ...(form === undefined ? {} : { method: "POST", body: new URLSearchParams(form) })
    })
    this.cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? this.cookie
    return response
  }
}

const ada = { email: "ada@example.com", password: "three cups a day" }
const laptop = new Browser()
const phone = new Browser()

let server = await start()
try {
  assert.equal((await laptop.send("/account")).headers.get("location"), "/sign-in?to=%2Faccount")
  assert.equal((await laptop.send("/cart/add", { tea: "assam" })).status, 303)
  assert.equal((await laptop.send("/sign-up", { ...ada, to: "/cart" })).headers.get("location"), "/cart")
  assert.match(await (await laptop.send("/cart")).text(), /Assam/)

  await stop(server)
  server = await start()
  assert.match(await (await laptop.send("/account")).text(), /ada@example\.com/)

  assert.equal((await phone.send("/sign-in", ada)).headers.get("location"), "/")
  const [, user = ""] = /data-user="([^"]+)"/.exec(await (await phone.send("/")).text()) ?? []
  const live = await phone.send(`/live?user=${user}`)
  assert.equal((await laptop.send("/devices/end-others", { user })).status, 303)
  assert.match(await live.text(), /event: ended\ndata: revoked/)
  assert.equal((await phone.send("/account")).status, 303)

  const open = await laptop.send(`/live?user=${user}`)
  await stop(server)
  assert.equal(await open.text(), "retry: 2000\n\n")
  assert.match(log, /session LoggedIn/)
  assert.match(log, /session Revoked/)

  server = await start()
  await writeFile(join(directory, "users.json"), "damaged")
  assert.equal((await laptop.send("/account")).status, 500)
  await stop(server)
  assert.match(log, /ParseError/)
} finally {
  server.kill("SIGKILL")
  await rm(directory, { recursive: true })
}
