import * as MemoryStore from "effect-session/MemoryStore"
import * as NullStore from "effect-session/NullStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"

StoreLawsSuite.suite("MemoryStore", { layer: MemoryStore.layer(), clock: "test", sessions: true, thoroughness: 4 })

StoreLawsSuite.suite("MemoryStore with a capacity", {
  layer: MemoryStore.layer({ capacity: 10_000 }),
  clock: "test",
  sessions: true
})

StoreLawsSuite.suite("NullStore", { layer: NullStore.layer, clock: "test", waives: ["keeping"] })
