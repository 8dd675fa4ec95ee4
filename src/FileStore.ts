/**
 * Keeps sessions in a folder, one file each: for services of one machine, in any number of processes, whose sessions
 * have to survive a restart. It works on the platform's `FileSystem`. The module knows nothing of HTTP.
 *
 * - **On Node, `node:fs` is called directly**, if it finds a file that the provided `FileSystem` wrote to be the same file
 *   with the same bytes. This is tried once, when the layer is built. If a `FileSystem` of your own has to see each call,
 *   let its `stat` give no `ino`.
 * - **Writes are atomic.** A new content is written to a temporary file and renamed into place, so that a reader sees
 *   the old content or the new.
 * - **Compare-and-set works across processes.** It is made of exclusive links, without a daemon or shared memory. A
 *   process may be killed at any point: what it acknowledged is kept, and its locks are taken over within 2 seconds.
 * - **A renewal is one step.** First the new session's file is written as pending, with the old id in it. It is not
 *   live yet. Then a tombstone that names it is renamed over the old file: at that moment the old token is superseded
 *   and the new one is live. At last the pending mark is removed. If the process is killed before that moment, the old
 *   session lives, and the sweep deletes the pending file. If it is killed after it, the new session lives, and the
 *   sweep removes the mark.
 * - **A damaged file counts as no session.** A file that is torn, empty, foreign, a folder, or unreadable for its
 *   permissions is renamed to `*.corrupt` and kept for a day. If it can't be renamed, or the disk fails, the store
 *   fails with a `StoreError`.
 * - **A folder that is missing is a failure**, not the end of its sessions: it may have been moved or unmounted, and a
 *   logout must not be answered that is not done. The next session that begins makes it again, with a warning, if the
 *   folder above it is there. On a mounted disk, let `directory` and the folder above it lie on that disk, as in
 *   `/mnt/disk/app/sessions`: a mount point is there, and empty, while its disk is not.
 * - **Expired files are deleted** one minute after their end or later. The sweep goes through the folder when the
 *   earliest file that it knows of is due, and at least once an hour. It takes less than 2 % of a core, and so it may
 *   take an hour or more to go through hundreds of thousands of live files.
 * - **Sessions of a subject are listed** in a folder in that folder, `subjects`, by empty files whose names are made of the
 *   subject's hash and the session's id. A session is listed before it is written, so that none is ever live and
 *   unlisted. What a killed process leaves on a list is not answered, and a sweep deletes it, ten minutes after it was
 *   listed or later. Where no session has a subject, nothing is made.
 * - **`Session.watch` is told at once** of what this process writes, and asks for what others do.
 * - **Other users can't read them.** The folder is made with mode 0700, the files with 0600. A file's name is the
 *   token's hash. A folder that exists already keeps its mode; if it is open to other users, a warning is logged when
 *   the layer is built. Whoever can write to it can log in as anybody, because a file there is a session.
 *
 * @since 0.1.0
 */
import type * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { randomBytes } from "./internal/crypto/hash.js"
import * as environment from "./internal/environment.js"
import * as backend from "./internal/fileStore/backend.js"
import * as Disk from "./internal/fileStore/disk.js"
import * as Format from "./internal/fileStore/format.js"
import * as Swap from "./internal/fileStore/swap.js"
import * as checks from "./internal/options.js"
import * as Sessions from "./Sessions.js"
import * as Store from "./Store.js"
import { fromBackend, sessions } from "./StoreBackend.js"

/**
 * What an acknowledged write survives. With `rename` it survives the death of the process. With `fsync` it also
 * survives a loss of power, at the cost of two waits for the disk.
 *
 * @since 0.1.0
 * @category models
 */
export type Durability = "rename" | "fsync"

/**
 * Options of `layer`. The folder is required.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The path of a folder for sessions alone. If it does not exist, it is made with mode 0700. All processes that share
   * it must run as the same user.
   */
  readonly directory: string
  /** What an acknowledged write survives. Default `rename`. */
  readonly durability?: Durability | undefined
}

type Backend = ReturnType<typeof backend.make>

const checkDirectory = (directory: string): checks.Checked<string> =>
  typeof directory !== "string" || directory.trim() === "" || directory.includes("\u0000")
    ? checks.invalid(
      ["FileStore", "directory"],
      "write the path of a folder for sessions alone, such as \"./sessions\""
    )
    : Either.right(directory)

/**
 * Tries what the store needs in the folder, once, so that a wrong folder fails the layer and not a request. The answer is
 * the fastest way to the same files.
 */
const probe = (
  fileSystem: FileSystem.FileSystem,
  path: (name: string) => string
): Effect.Effect<Disk.Disk, PlatformError.PlatformError> =>
  Effect.gen(function*() {
    const platform = Disk.ofPlatform(fileSystem)
    const nonce = Format.nonce(yield* Clock.currentTimeMillis, Encoding.encodeHex(randomBytes(6)), 0)
    const first = path(Format.temporary(probeId, nonce))
    const second = path(Format.temporary(probeId, `${nonce}-linked`))
    const content = new TextEncoder().encode(nonce)
    const remove = (file: string) => Effect.ignore(platform.remove(file))
    yield* Effect.tapError(platform.create(first, content, false), () => remove(first))
    return yield* Effect.ensuring(
      Effect.zipRight(platform.link(first, second), Disk.fastest(fileSystem, first, content)),
      Effect.zipRight(remove(first), remove(second))
    )
  })

const probeId = "-".repeat(43)

/**
 * Warns of a folder that other users can reach. The mode of an existing folder is not changed, because it may be shared
 * with a backup's user on purpose. Its files have mode 0600 in any case. Who can read the folder learns how many
 * sessions there are. Who can write to it can end them, and can put a file there that is a session of anybody.
 */
const warnOfOthers = (
  fileSystem: FileSystem.FileSystem,
  path: Path.Path,
  directory: string
): Effect.Effect<void, PlatformError.PlatformError> =>
  Effect.flatMap(fileSystem.stat(directory), ({ mode }) =>
    // Windows has no such modes, and reports an invented one.
    path.sep === "\\" || (mode & 0o077) === 0
      ? Effect.void
      : Effect.logWarning(
        `FileStore: Other users have access to the folder of sessions (mode 0${(mode & 0o777).toString(8)}). ` +
          `To deny it, run: chmod 700 ${directory}`
      ))

/** The folder as a backend: what both services are made of. */
const open = (
  options: Options
): Effect.Effect<Backend, ConfigError.ConfigError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.gen(function*() {
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const directory = path.resolve(yield* checkDirectory(options.directory))
    const durability = yield* checks.oneOf(
      ["FileStore", "durability"],
      options.durability ?? "rename",
      ["rename", "fsync"]
    )
    const disk = yield* fileSystem.makeDirectory(directory, { recursive: true, mode: 0o700 }).pipe(
      Effect.zipRight(probe(fileSystem, (name) => path.join(directory, name))),
      Effect.zipLeft(warnOfOthers(fileSystem, path, directory)),
      Effect.catchAll((error) =>
        checks.invalid(
          ["FileStore", "directory"],
          `write the path of a folder in which this process may create and link files. ${directory} can't be used: ` +
            (error.description ?? error.message)
        )
      )
    )
    const files = Swap.make({ disk, fileSystem, path, directory, sync: durability === "fsync" })
    yield* Effect.addFinalizer(() => files.tidy)
    return backend.make(files)
  })

const toStore = (kept: Backend) => fromBackend(kept, { name: "FileStore" })

/**
 * Makes a file store. Fails with a `ConfigError` if the folder can't be made or written, or if its file system has no
 * hard links. The sweep stops with the scope. To look sessions up by subject, use `layer`, which provides `Sessions` too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Store.Store, ConfigError.ConfigError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.flatMap(open(options), toStore)

/**
 * Keeps sessions in a folder, and provides `Sessions`. Fails with a `ConfigError` if the folder can't be used.
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
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError, FileSystem.FileSystem | Path.Path> =>
  Layer.scopedContext(
    Effect.flatMap(open(options), (kept) =>
      Effect.map(toStore(kept), (store) =>
        Context.make(Store.Store, store).pipe(
          Context.add(Sessions.Sessions, sessions(kept.subjects, "FileStore"))
        )))
  )

const variables: environment.Variables<Options> = {
  directory: environment.required("SESSION_DIRECTORY", Config.string),
  durability: environment.optional("SESSION_DURABILITY", Config.literal("rename", "fsync"))
}

/**
 * `layer` with options read from the environment: `SESSION_DIRECTORY`, which is required, and `SESSION_DURABILITY`. An
 * option that is given is read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Partial<Options>> = {}
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError, FileSystem.FileSystem | Path.Path> =>
  environment.layerConfig("FileStore", variables, options, layer)
