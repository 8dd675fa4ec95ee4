/**
 * What `runtimes.mjs` runs on workerd: visitors are counted on the store that the path names.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer, Logger, LogLevel, Redacted, Schema } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as CookieState from "effect-session/CookieState"
import * as HttpMiddleware from "effect-session/HttpMiddleware"
import * as MemoryStore from "effect-session/MemoryStore"
import * as SealedStore from "effect-session/SealedStore"
import * as SessionField from "effect-session/SessionField"

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

const app = Effect.map(SessionField.updateAndGet(Visits, (n) => n + 1), (n) => HttpServerResponse.text(String(n)))

const stores = {
  memory: () => MemoryStore.layer(),
  sealed: () => SealedStore.layer({ keys: [Redacted.make("A".repeat(43))] }),
  cache: (namespace) =>
    CacheStore.layer(CacheStore.fromPromises({
      get: (key) => namespace.get(key),
      // KV takes whole seconds, a minute at least
      set: (key, value, millis) => namespace.put(key, value, { expirationTtl: Math.max(60, Math.ceil(millis / 1000)) }),
      remove: (key) => namespace.delete(key)
    }))
}

const handlers = new Map()

export default {
  fetch: (request, { SESSIONS }) => {
    const name = new URL(request.url).pathname.slice(1)
    if (!handlers.has(name)) {
      const layers = Layer.mergeAll(
        CookieState.layer(),
        stores[name](SESSIONS),
        Logger.minimumLogLevel(LogLevel.Warning)
      )
      handlers.set(name, HttpApp.toWebHandlerLayer(HttpMiddleware.session(app), layers).handler)
    }
    return handlers.get(name)(request)
  }
}
