import { KeyValueStore } from "@effect/platform"
import { Layer } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as MemoryStore from "effect-session/MemoryStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import * as TieredStore from "effect-session/TieredStore"

StoreLawsSuite.suite("TieredStore before MemoryStore", {
  layer: MemoryStore.layer().pipe(TieredStore.layer()),
  clock: "test",
  thoroughness: 2
})

// a long memory: nothing but the events themselves may take anything out
StoreLawsSuite.suite("TieredStore with a long memory", {
  layer: MemoryStore.layer().pipe(TieredStore.layer({ timeToLive: "30 days" })),
  clock: "test"
})

// room for one, so that nearly everything is displaced while calls are under way
StoreLawsSuite.suite("TieredStore with room for one", {
  layer: MemoryStore.layer().pipe(TieredStore.layer({ capacity: 1, timeToLive: "30 days" })),
  clock: "test"
})

StoreLawsSuite.suite("TieredStore before CacheStore", {
  layer: CacheStore.layerKeyValueStore().pipe(Layer.provide(KeyValueStore.layerMemory), TieredStore.layer()),
  clock: "test"
})
