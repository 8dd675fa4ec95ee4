/**
 * The client that the store makes by itself from a URL, with the package `redis`. It connects in the background and
 * again and again, so a server that is down keeps nothing from starting or ending. The module knows nothing of
 * sessions.
 */
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { invalid } from "../options.js"
import type { NodeRedis } from "./clients.js"
import { closer } from "./closing.js"
import { printable } from "./commands.js"

const path = ["RedisStore", "url"]

// with `catch`, a bundler does not insist on a package that is not installed
const load = Effect.promise(() => import("redis").catch(() => undefined))

/** @internal */
export const connect = (
  url: Redacted.Redacted | string
): Effect.Effect<NodeRedis, ConfigError.ConfigError, Scope.Scope> =>
  Effect.gen(function*() {
    const redis = yield* load
    if (redis === undefined) {
      return yield* invalid(
        path,
        "install the package \"redis\" (npm install redis@6), which could not be loaded, or pass a client of \"ioredis\" "
          + "as `client`"
      )
    }
    const text = Redacted.isRedacted(url) ? Redacted.value(url) : url
    const { client, host } = yield* Effect.try({
      try: () => ({ host: new URL(text).host, client: redis.createClient({ url: text }) }),
      catch: () => undefined
    }).pipe(
      // without the cause, which holds the URL and so its password
      Effect.catchAll(() =>
        invalid(path, "write a URL such as \"redis://user:password@host:6379/0\", or \"rediss://\" for TLS")
      )
    )
    const runtime = yield* Effect.runtime()
    const log = (message: Effect.Effect<void>) => void Runtime.runFork(runtime)(message)

    /** What went wrong since the client was last connected: the same is not told for each new attempt. */
    const told = new Set<string>()
    let ended = false
    const close = closer(client)
    client.on("error", (error) => {
      const { message } = printable(error)
      if (!ended && !told.has(message)) {
        told.add(message)
        log(Effect.logWarning(`RedisStore: no connection to ${host}, calls wait for it: ${message}`))
      }
    })
    client.on("ready", () => {
      if (told.size > 0) {
        told.clear()
        log(Effect.logInfo(`RedisStore: connected to ${host}`))
      }
    })
    return yield* Effect.acquireRelease(
      Effect.sync(() => {
        // the listener is told of each failure
        void client.connect().catch(() => undefined)
        return client
      }),
      () =>
        Effect.sync(() => {
          ended = true
          close()
        })
    )
  })
