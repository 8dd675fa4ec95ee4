/**
 * What `runtimes.mjs` runs on Node, Bun and Deno, as a user of the installed package: a server of the runtime's own,
 * whose visitors are counted on each store. Prints the stores that counted.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime, Redacted, Schema } from "effect"
import { CacheStore, CookieState, HttpMiddleware, MemoryStore, SealedStore, SessionField } from "effect-session"
import * as StoreConfig from "effect-session/StoreConfig"
import assert from "node:assert/strict"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import process from "node:process"

const [directory] = process.argv.slice(2)

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

const app = Effect.map(SessionField.updateAndGet(Visits, (n) => n + 1), (n) => HttpServerResponse.text(String(n)))

const entries = new Map()

const stores = {
  memory: MemoryStore.layer(),
  file: StoreConfig.layer({ url: `file:${directory}` }),
  sealed: SealedStore.layer({ keys: [Redacted.make("A".repeat(43))] }),
  cache: CacheStore.layer(CacheStore.fromPromises({
    get: async (key) => entries.get(key),
    set: async (key, value) => void entries.set(key, value),
    remove: async (key) => void entries.delete(key)
  }))
}

/** Serves the app by the runtime's own server; gives its port and what ends it. */
const serve = async (layers) => {
  if (globalThis.Bun !== undefined || globalThis.Deno !== undefined) {
    const { dispose, handler } = HttpApp.toWebHandlerLayer(HttpMiddleware.session(app), layers)
    if (globalThis.Bun !== undefined) {
      const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (request) => handler(request) })
      return { port: server.port, close: () => Promise.all([server.stop(true), dispose()]) }
    }
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => handler(request))
    return { port: server.addr.port, close: () => Promise.all([server.shutdown(), dispose()]) }
  }
  const runtime = ManagedRuntime.make(app.pipe(
    HttpServer.serve(HttpMiddleware.session),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.provide(layers)
  ))
  const { address } = await runtime.runPromise(HttpServer.HttpServer)
  return { port: address.port, close: () => runtime.dispose() }
}

const visit = async (port, cookie) => {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { cookie } })
  const text = await response.text()
  return { text, cookie: response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie }
}

const counts = async (name, store) => {
  const { close, port } = await serve(
    Layer.mergeAll(CookieState.layer(), store, Logger.minimumLogLevel(LogLevel.Warning))
  )
  const first = await visit(port, "")
  assert.equal(first.text, "1")
  const second = await visit(port, first.cookie)
  assert.equal(second.text, "2")
  if (name !== "sealed") {
    await Promise.all(Array.from({ length: 10 }, () => visit(port, second.cookie)))
    assert.equal((await visit(port, second.cookie)).text, "13")
  }
  await close()
}

for (const [name, store] of Object.entries(stores)) await counts(name, store)

const isNode = globalThis.Bun === undefined && globalThis.Deno === undefined
if (isNode) assert.equal(typeof createRequire(import.meta.url)("effect-session").CookieState.layer, "function")

process.stdout.write(`${Object.keys(stores).join(", ")}${isNode ? ", by require() too" : ""}\n`)
