import { KeyValueStore } from "@effect/platform"
import { Layer } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as MemoryStore from "effect-session/MemoryStore"
import * as StoreLaws from "effect-session/StoreLaws"
import * as TieredStore from "effect-session/TieredStore"

StoreLaws.suite("TieredStore before MemoryStore", {
  layer: MemoryStore.layer().pipe(TieredStore.layer()),
  clock: "test",
  thoroughness: 2
})

// a long memory: nothing but the events themselves may take anything out
StoreLaws.suite("TieredStore with a long memory", {
  layer: MemoryStore.layer().pipe(TieredStore.layer({ timeToLive: "30 days" })),
  clock: "test"
})

// room for one, so that nearly everything is displaced while calls are under way
StoreLaws.suite("TieredStore with room for one", {
  layer: MemoryStore.layer().pipe(TieredStore.layer({ capacity: 1, timeToLive: "30 days" })),
  clock: "test"
})

StoreLaws.suite("TieredStore before CacheStore", {
  layer: CacheStore.layerKeyValueStore().pipe(Layer.provide(KeyValueStore.layerMemory), TieredStore.layer()),
  clock: "test"
})
