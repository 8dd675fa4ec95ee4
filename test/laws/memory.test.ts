import * as MemoryStore from "effect-session/MemoryStore"
import * as NullStore from "effect-session/NullStore"
import * as StoreLaws from "effect-session/StoreLaws"

StoreLaws.suite("MemoryStore", { layer: MemoryStore.layer(), clock: "test", thoroughness: 4 })

StoreLaws.suite("MemoryStore with a capacity", { layer: MemoryStore.layer({ capacity: 10_000 }), clock: "test" })

StoreLaws.suite("NullStore", { layer: NullStore.layer, clock: "test", waives: ["keeping"] })
