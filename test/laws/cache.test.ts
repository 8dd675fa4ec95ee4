import { Persistence } from "@effect/experimental"
import { KeyValueStore } from "@effect/platform"
import { Effect, Layer, Option } from "effect"
import * as CacheStore from "effect-session/CacheStore"
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

// two processes before one cache
const shared = makeCache()
StoreLawsSuite.suite("CacheStore of two processes", {
  layer: CacheStore.layer(shared),
  second: CacheStore.layer(shared),
  clock: "test",

  waives: ["compareAndSet", "createIfAbsent"]
})
