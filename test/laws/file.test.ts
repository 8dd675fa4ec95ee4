import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as FileStore from "effect-session/FileStore"
import * as StoreLaws from "effect-session/StoreLaws"

const inTemporaryFolder = (durability: FileStore.Durability) =>
  FileSystem.FileSystem.pipe(
    Effect.flatMap((fileSystem) => fileSystem.makeTempDirectoryScoped({ prefix: "filestore-laws-" })),
    Effect.map((directory) => FileStore.layer({ directory, durability })),
    Layer.unwrapScoped,
    Layer.provide(NodeContext.layer)
  )

StoreLaws.suite("FileStore", { layer: inTemporaryFolder("rename"), clock: "test" })

StoreLaws.suite("FileStore, synced to disk", {
  layer: inTemporaryFolder("fsync"),
  clock: "test",
  thoroughness: 0.05
})
