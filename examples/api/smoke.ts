/**
 * The generated client drives the shop: a visitor fills a basket, logs in, keeps it, and logs out.
 */
import { Cookies, FetchHttpClient, HttpApiClient, HttpClient } from "@effect/platform"
import { Effect, Ref } from "effect"
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { freePort } from "../../test/support/freePort.js"
import { Api, Unauthorized, User } from "./api.js"

const port = await freePort()
const metricsPort = await freePort()
const baseUrl = `http://127.0.0.1:${port}`

const child = spawn(process.execPath, ["--import", "tsx", fileURLToPath(new URL("./main.ts", import.meta.url))], {
  env: { ...process.env, PORT: String(port), METRICS_PORT: String(metricsPort) },
  stdio: ["ignore", "pipe", "inherit"]
})

let printed = ""
const listening = new Promise<void>((resolve, reject) => {
  child.stdout.on("data", (chunk) => {
    printed += String(chunk)
    if (printed.includes("Listening")) resolve()
  })
  child.once("exit", (code) => reject(new Error(`the example ended with ${code}`)))
})

const shopping = Effect.gen(function*() {
  const jar = yield* Ref.make(Cookies.empty)
  const { account, basket } = yield* HttpApiClient.make(Api, {
    baseUrl,
    transformClient: HttpClient.withCookiesRef(jar)
  })
  const token = Effect.map(jar, Cookies.getValue("session"))

  assert.deepEqual(yield* Effect.flip(account.me()), new Unauthorized())
  assert.deepEqual(yield* basket.add({ payload: { item: "tea" } }), ["tea"])
  const visitor = yield* token

  const wrong = { name: "ada", password: "guess" }
  assert.deepEqual(yield* Effect.flip(account.login({ payload: wrong })), new Unauthorized())
  const ada = new User({ name: "ada" })
  assert.deepEqual(yield* account.login({ payload: { name: "ada", password: "analytical engine" } }), ada)
  assert.notDeepEqual(yield* token, visitor)
  assert.deepEqual(yield* account.me(), ada)
  assert.deepEqual(yield* basket.add({ payload: { item: "milk" } }), ["tea", "milk"])

  yield* account.logout()
  assert.deepEqual(yield* Effect.flip(account.me()), new Unauthorized())
  assert.deepEqual(yield* basket.read(), [])
}).pipe(Effect.provide(FetchHttpClient.layer))

try {
  await listening
  await Effect.runPromise(shopping)
  const document = await (await fetch(`${baseUrl}/openapi.json`)).json() as {
    readonly components: { readonly securitySchemes: unknown }
  }
  assert.deepEqual(document.components.securitySchemes, {
    session: { type: "apiKey", in: "cookie", name: "session" }
  })
  assert.match(await (await fetch(`${baseUrl}/docs`)).text(), /swagger/i)
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
  assert.match(metrics, /effect_session_events\S*\{.*event="renewed"/)
  assert.match(printed, /session\.load/)
} finally {
  if (child.exitCode === null) {
    const ended = once(child, "exit")
    child.kill("SIGKILL")
    await ended
  }
}
