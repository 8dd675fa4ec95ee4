import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as FileStore from "effect-session/FileStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"

const inTemporaryFolder = (durability: FileStore.Durability) =>
  FileSystem.FileSystem.pipe(
    Effect.flatMap((fileSystem) => fileSystem.makeTempDirectoryScoped({ prefix: "filestore-laws-" })),
    Effect.map((directory) => FileStore.layer({ directory, durability })),
    Layer.unwrapScoped,
    Layer.provide(NodeContext.layer)
  )

StoreLawsSuite.suite("FileStore", { layer: inTemporaryFolder("rename"), clock: "test" })

StoreLawsSuite.suite("FileStore, synced to disk", {
  layer: inTemporaryFolder("fsync"),
  clock: "test",
  thoroughness: 0.05
})
