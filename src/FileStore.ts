/**
 * Sessions in a folder, one file each: for services of one machine (any number of processes) whose sessions outlive a
 * restart. Works on the platform's `FileSystem`. Knows nothing of HTTP.
 *
 * - **Whole or not at all.** A file is written aside and renamed into place; a reader sees the old content or the new.
 * - **Compare-and-set across processes.** See `internal/fileStore/swap`: exclusive links, no daemon, no shared memory. A
 *   process may be killed at any point: what it acknowledged stands, and what it held is taken over within 2 seconds.
 * - **A renewal is one step.** The new session's file is first written as pending, with the old id in it; it is not live
 *   yet. Then the tombstone that names it is renamed over the old file: at that moment the old token is superseded and
 *   the new one is live. Then the mark is dropped. Killed before that moment, the old session lives and the pending file
 *   is rubbish for the sweep; killed after it, the new session lives, and the sweep drops the mark later.
 * - **Damaged files are fresh sessions.** What is torn, empty, foreign, a folder, or unreadable for its permissions is
 *   renamed to `*.corrupt`, kept for a day, and answers as absent. Only if it can't be moved either (the folder itself
 *   denies it), or the disk fails, the store fails with `StoreError`.
 * - **Expired files are deleted** a minute after their end or later, by a sweep that goes through the folder when the
 *   earliest file that it knows of is due, and at least once an hour.
 * - **Nobody else reads them.** The folder is made with mode 0700, the files with 0600, named by the token's hash. A
 *   folder that was there before keeps its mode; one open to other users is warned of when the layer is built.
 *
 * @since 0.1.0
 */
import type * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as backend from "./internal/fileStore/backend.js"
import * as Format from "./internal/fileStore/format.js"
import * as Swap from "./internal/fileStore/swap.js"
import * as checks from "./internal/options.js"
import * as Store from "./Store.js"
import { fromBackend } from "./StoreBackend.js"

/**
 * What an acknowledged write survives: `"rename"` the death of the process, `"fsync"` the loss of power too, at the cost
 * of two waits for the disk.
 *
 * @since 0.1.0
 * @category models
 */
export type Durability = "rename" | "fsync"

/**
 * Options of `layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The folder, for sessions alone. It is made, with mode 0700, if it isn't there. All processes that share it run as
   * the same user.
   */
  readonly directory: string
  /** Default `"rename"`. */
  readonly durability?: Durability | undefined
}

const checkDirectory = (directory: string): checks.Checked<string> =>
  typeof directory !== "string" || directory.trim() === "" || directory.includes("\u0000")
    ? checks.invalid(
      ["FileStore", "directory"],
      "write the path of a folder for sessions alone, such as \"./sessions\""
    )
    : Either.right(directory)

/** Whether what the store needs can be done in the folder: asked once, when the layer is built. */
const probe = (files: Swap.Files): Effect.Effect<void, PlatformError.PlatformError> =>
  Effect.gen(function*() {
    const nonce = yield* files.nonce
    const first = Format.temporary(probeId, nonce)
    const second = Format.temporary(probeId, `${nonce}-linked`)
    yield* files.write(first, Uint8Array.of(10))
    yield* Effect.ensuring(files.link(first, second), Effect.zipRight(files.remove(first), files.remove(second)))
  })

const probeId = "-".repeat(43)

/**
 * A folder that was there before keeps its mode: it may be shared with a backup's user on purpose. Its files are 0600 in
 * any case; who reads the folder learns how many sessions there are, who writes to it can end them.
 */
const warnOfOthers = (
  fileSystem: FileSystem.FileSystem,
  path: Path.Path,
  directory: string
): Effect.Effect<void, PlatformError.PlatformError> =>
  Effect.flatMap(fileSystem.stat(directory), ({ mode }) =>
    // Windows keeps no such modes, and makes one up.
    path.sep === "\\" || (mode & 0o077) === 0
      ? Effect.void
      : Effect.logWarning(
        `FileStore: other users have access to the folder of sessions (mode 0${(mode & 0o777).toString(8)}): ` +
          `chmod 700 ${directory}`
      ))

/**
 * Makes the store. Fails with a `ConfigError` where the folder can't be made or written, or its file system has no hard
 * links. The sweep stops with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Store.Store, ConfigError.ConfigError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.gen(function*() {
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const directory = path.resolve(yield* checkDirectory(options.directory))
    const durability = yield* checks.oneOf(
      ["FileStore", "durability"],
      options.durability ?? "rename",
      ["rename", "fsync"]
    )
    const files = Swap.make({ fileSystem, path, directory, sync: durability === "fsync" })
    yield* fileSystem.makeDirectory(directory, { recursive: true, mode: 0o700 }).pipe(
      Effect.zipRight(probe(files)),
      Effect.zipRight(warnOfOthers(fileSystem, path, directory)),
      Effect.catchAll((error) =>
        checks.invalid(
          ["FileStore", "directory"],
          `write the path of a folder in which this process may create and link files; ${directory} can't be used: ` +
            (error.description ?? error.message)
        )
      )
    )
    yield* Effect.addFinalizer(() => files.tidy)
    return yield* fromBackend(backend.make(files), { name: "FileStore" })
  })

/**
 * Keeps sessions in a folder.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { NodeContext } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { FileStore } from "effect-session"
 *
 * const sessions = FileStore.layer({ directory: "./sessions" }).pipe(Layer.provide(NodeContext.layer))
 * ```
 */
export const layer = (
  options: Options
): Layer.Layer<Store.Store, ConfigError.ConfigError, FileSystem.FileSystem | Path.Path> =>
  Layer.scoped(Store.Store, make(options))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Store.Store, ConfigError.ConfigError, FileSystem.FileSystem | Path.Path> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))
