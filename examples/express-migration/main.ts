/**
 * An Express app on http://localhost:3001 and the app that follows it on http://localhost:3000, with one Redis: log in on
 * either, be logged in on the other, log out on either. A browser sends the cookie to both, since ports don't part cookies;
 * in production a proxy sends each route to the app that has it.
 */
import { HttpServer } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { RedisStore } from "connect-redis"
import { Config, Effect, Layer } from "effect"
import { once } from "node:events"
import { createServer } from "node:http"
import { createClient } from "redis"
import { effectApp, sessions } from "./effect.js"
import { makeExpressApp } from "./express.js"
import type { Shared } from "./shared.js"

const port = (name: string, fallback: number) => Config.port(name).pipe(Config.withDefault(fallback))

const connect = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const client = createClient({ url }).on("error", console.error)
      // not waited for: the server may be down
      void client.connect()
      return client
    }),
    // not close(), which waits for a server that may be down
    (client) => Effect.sync(() => client.destroy())
  )

const shared = Effect.gen(function*() {
  const url = yield* Config.string("REDIS_URL").pipe(Config.withDefault("redis://127.0.0.1:6379"))
  const prefix = yield* Config.string("PREFIX").pipe(Config.withDefault("sess:"))
  const client = yield* connect(url)
  const made: Shared = {
    name: "connect.sid",
    secrets: ["the secret of this year", "the secret of last year"],
    // plain HTTP on this machine: behind TLS, write `secure: true`
    cookie: { path: "/", httpOnly: true, sameSite: "lax", secure: false },
    maxAge: 3_600_000,
    store: new RedisStore({ client, prefix })
  }
  return made
})

const listen = (shared: Shared, port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer(makeExpressApp(shared)).listen(port)
      await once(server, "listening")
      return server
    }),
    (server) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
  )

const program = Layer.unwrapScoped(Effect.gen(function*() {
  const both = yield* shared
  const expressPort = yield* port("EXPRESS_PORT", 3001)
  yield* listen(both, expressPort)
  yield* Effect.log(`Express on http://localhost:${expressPort}`)
  return HttpServer.serve(effectApp).pipe(
    HttpServer.withLogAddress,
    Layer.provide(NodeHttpServer.layer(createServer, { port: yield* port("PORT", 3000) })),
    // provided after the server, so built before it listens
    Layer.provide(sessions(both))
  )
}))

NodeRuntime.runMain(Layer.launch(program))
