import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as FileStore from "effect-session/FileStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"

/** Two instances on one temporary folder, which is gone with the first of them. */
const inTemporaryFolder = (durability: FileStore.Durability) => {
  let directory = ""
  const instance = Layer.suspend(() => FileStore.layer({ directory, durability }))
  const folder = Effect.flatMap(
    FileSystem.FileSystem,
    (fileSystem) => fileSystem.makeTempDirectoryScoped({ prefix: "filestore-laws-" })
  )
  return {
    layer: Layer.unwrapScoped(Effect.map(folder, (made) => {
      directory = made
      return instance
    })).pipe(Layer.provide(NodeContext.layer)),
    second: instance.pipe(Layer.provide(NodeContext.layer))
  }
}

StoreLawsSuite.suite("FileStore", { ...inTemporaryFolder("rename"), clock: "test", sessions: true })

StoreLawsSuite.suite("FileStore, synced to disk", {
  ...inTemporaryFolder("fsync"),
  clock: "test",
  sessions: true,
  thoroughness: 0.05
})
