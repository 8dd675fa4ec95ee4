import { Persistence } from "@effect/experimental"
import { KeyValueStore } from "@effect/platform"
import { Context, Effect, Layer, Option } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as Store from "effect-session/Store"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import Keyv from "keyv"

const makeCache = (): CacheStore.Cache => {
  const map = new Map<string, string>()
  // each call gives way first, so that what is not queued runs into each other
  const call = <A>(f: () => A) => Effect.zipRight(Effect.yieldNow(), Effect.sync(f))
  return {
    get: (key) => call(() => Option.fromNullable(map.get(key))),
    set: (key, value) => call(() => map.set(key, value)),
    remove: (key) => call(() => map.delete(key))
  }
}

// within one process the queue keeps every law
StoreLawsSuite.suite("CacheStore over a cache", {
  layer: CacheStore.layer(Effect.sync(makeCache)),
  clock: "test"
})

StoreLawsSuite.suite("CacheStore over KeyValueStore", {
  layer: CacheStore.layerKeyValueStore().pipe(Layer.provide(KeyValueStore.layerMemory)),
  clock: "test"
})

StoreLawsSuite.suite("CacheStore over Persistence", {
  layer: CacheStore.layerPersistence({ persistence: Persistence.BackingPersistence }).pipe(
    Layer.provide(Persistence.layerMemory)
  ),
  clock: "live"
})

StoreLawsSuite.suite("CacheStore over Keyv", {
  layer: CacheStore.layerKeyv(Effect.sync(() => new Keyv())),
  clock: "live"
})

/** Two processes before one cache: every call goes to the other one than the call before. */
const twoProcesses = Layer.scoped(
  Store.Store,
  Effect.gen(function*() {
    const cache = makeCache()
    const one = Effect.map(Layer.build(CacheStore.layer(cache)), Context.get(Store.Store))
    const stores = [yield* one, yield* one]
    let turn = 0
    const next = (): Store.Store => stores[turn++ % 2] as Store.Store
    return Store.make({
      accepts: (token) => next().accepts(token),
      load: (...args) => next().load(...args),
      create: (...args) => next().create(...args),
      update: (...args) => next().update(...args),
      renew: (...args) => next().renew(...args),
      touch: (...args) => next().touch(...args),
      remove: (...args) => next().remove(...args)
    })
  })
)

StoreLawsSuite.suite("CacheStore of two processes", {
  layer: twoProcesses,
  clock: "test",

  waives: ["compareAndSet", "createIfAbsent"]
})
