import { KeyValueStore } from "@effect/platform"
import type { Context } from "effect"
import { Effect, Layer } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as MemoryStore from "effect-session/MemoryStore"
import type { Sessions } from "effect-session/Sessions"
import type * as Store from "effect-session/Store"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import * as TieredStore from "effect-session/TieredStore"

StoreLawsSuite.suite("TieredStore before MemoryStore", {
  layer: MemoryStore.layer().pipe(TieredStore.layer()),
  clock: "test",
  sessions: true,
  thoroughness: 2
})

// a long memory: nothing but the events themselves may take anything out
StoreLawsSuite.suite("TieredStore with a long memory", {
  layer: MemoryStore.layer().pipe(TieredStore.layer({ timeToLive: "30 days" })),
  clock: "test",
  sessions: true
})

// room for one, so that nearly everything is displaced while calls are under way
StoreLawsSuite.suite("TieredStore with room for one", {
  layer: MemoryStore.layer().pipe(TieredStore.layer({ capacity: 1, timeToLive: "30 days" })),
  clock: "test",
  sessions: true
})

// what another instance wrote is read from the store behind as soon as the memory is a millisecond old
let behind: Context.Context<Sessions | Store.Store> | undefined
const tiered = TieredStore.layer({ timeToLive: "1 milli" })
StoreLawsSuite.suite("TieredStore of two instances", {
  layer: Layer.tap(MemoryStore.layer(), (context) => Effect.sync(() => behind = context)).pipe(tiered),
  second: Layer.suspend(() => Layer.succeedContext(behind as Context.Context<Sessions | Store.Store>)).pipe(tiered),
  clock: "test",
  sessions: true
})

StoreLawsSuite.suite("TieredStore before CacheStore", {
  layer: CacheStore.layerKeyValueStore().pipe(Layer.provide(KeyValueStore.layerMemory), TieredStore.layer()),
  clock: "test"
})
