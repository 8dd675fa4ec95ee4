/**
 * Goes back and forth between the two apps with one cookie jar, as a browser would.
 */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { connect } from "node:net"
import { fileURLToPath } from "node:url"
import { createClient } from "redis"
import { freePort } from "../../test/support/freePort.js"

const redisUrl = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379"
const prefix = `effect-session-express-migration-${process.pid}:`

const answers = (url: string): Promise<boolean> => {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect(Number(port || 6379), hostname)
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })
}

const start = async (ports: { readonly effect: number; readonly express: number }): Promise<ChildProcess> => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url))
  const child = spawn(process.execPath, ["--import", "tsx", main], {
    env: {
      ...process.env,
      REDIS_URL: redisUrl,
      PREFIX: prefix,
      PORT: String(ports.effect),
      EXPRESS_PORT: String(ports.express)
    },
    stdio: ["ignore", "pipe", "inherit"]
  })
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (chunk) => String(chunk).includes("Listening") && resolve())
    child.once("exit", (code) => reject(new Error(`the example ended with ${code}`)))
  })
  return child
}

/** One browser: its cookies go to both apps. */
const browser = (urls: { readonly effect: string; readonly express: string }) => {
  let cookie = ""
  return {
    holds: () => cookie,
    ask: async (app: "effect" | "express", path: string, method = "GET"): Promise<string> => {
      const response = await fetch(urls[app] + path, { method, headers: cookie === "" ? {} : { cookie } })
      const text = await response.text()
      assert.equal(response.status, 200, text)
      for (const set of response.headers.getSetCookie()) {
        const [pair = ""] = set.split(";")
        cookie = pair.endsWith("=") ? "" : pair
      }
      return text.trim()
    }
  }
}

const run = async (): Promise<void> => {
  const ports = { effect: await freePort(), express: await freePort() }
  const apps = await start(ports)
  const redis = createClient({ url: redisUrl })
  await redis.connect()
  try {
    const urls = { effect: `http://127.0.0.1:${ports.effect}`, express: `http://127.0.0.1:${ports.express}` }
    for (const [here, there] of [["express", "effect"], ["effect", "express"]] as const) {
      for (const leave of [here, there]) {
        const { ask, holds } = browser(urls)
        assert.match(await ask(here, "/"), /who are you/)
        assert.match(await ask(there, "/"), /who are you/)
        assert.equal(holds(), "", "a visitor was given a cookie")

        await ask(here, "/login/ann", "POST")
        assert.match(await ask(there, "/"), /hello ann, visit 1$/)
        assert.match(await ask(here, "/"), /hello ann, visit 2$/)
        assert.match(await ask(there, "/"), /hello ann, visit 3$/)
        const loggedIn = holds()

        // a second login, on the other side, moves the session on; the first cookie is worth nothing any more
        await ask(there, "/login/bob", "POST")
        assert.match(await ask(here, "/"), /hello bob, visit 1$/)
        const old = await fetch(urls[here], { headers: { cookie: loggedIn } })
        assert.match(await old.text(), /who are you/)

        const last = holds()
        await ask(leave, "/logout", "POST")
        assert.equal(holds(), "", "the cookie survived the logout")
        for (const app of [here, there]) {
          const replayed = await fetch(urls[app], { headers: { cookie: last } })
          assert.match(await replayed.text(), /who are you/, `${app} took a cookie from before the logout`)
        }
        console.log(`logged in on ${here}, on again on ${there}, logged out on ${leave}: seen by both`)
      }
    }
  } finally {
    const ended = once(apps, "exit")
    apps.kill("SIGTERM")
    await ended
    for await (const keys of redis.scanIterator({ MATCH: `${prefix}*` })) {
      if (keys.length > 0) await redis.unlink(keys)
    }
    await redis.close()
  }
}

if (await answers(redisUrl)) {
  await run()
} else if (process.env["CI"] === "true") {
  throw new Error(`no Redis at ${redisUrl}`)
} else {
  console.log(`skipped: no Redis at ${redisUrl}`)
}
