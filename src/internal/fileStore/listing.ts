/**
 * The names in a folder. `FileSystem.readDirectory` gives all of them at once, which holds the event loop for as long as
 * that takes: 150 ms for 300,000 names. Node's `opendir` gives them in pieces. It is looked up rather than imported, so
 * that the file store works on a platform without it.
 */
import type * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { builtin } from "../runtime/builtin.js"
import { isSeenByNode } from "./disk.js"

/** How many names are read between two turns of the event loop. */
const piece = 500

interface NodeFiles {
  readonly opendir: (
    path: string,
    options: { readonly bufferSize: number }
  ) => Promise<AsyncIterable<{ readonly name: string }>>
}

const node = builtin<NodeFiles>("node:fs/promises")

const inPieces = (node: NodeFiles, directory: string): Effect.Effect<Array<string>, unknown> =>
  Effect.tryPromise(async (signal) => {
    const names: Array<string> = []
    for await (const { name } of await node.opendir(directory, { bufferSize: piece })) {
      if (signal.aborted) {
        break
      }
      names.push(name)
    }
    return names
  })

/**
 * Lists a folder, in pieces if the platform can. If that fails, the platform's own listing says how.
 *
 * @internal
 */
export const list = (
  fileSystem: FileSystem.FileSystem,
  directory: string
): Effect.Effect<Array<string>, PlatformError.PlatformError> => {
  const whole = fileSystem.readDirectory(directory)
  return node === undefined
    ? whole
    : isSeenByNode(fileSystem, directory).pipe(
      Effect.flatMap((isSeen) => isSeen ? inPieces(node, directory) : whole),
      Effect.catchAll(() => whole)
    )
}
