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
 * - **Nobody else reads them.** The folder is made with mode 0700, the files with 0600, named by the token's hash. A
 *   folder that was there before keeps its mode; one open to other users is warned of when the layer is built.
 *
 * @since 0.1.0
 */
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Format from "./internal/fileStore/format.js"
import * as Swap from "./internal/fileStore/swap.js"
import * as Sweep from "./internal/fileStore/sweep.js"
import * as SessionRecord from "./SessionRecord.js"
import * as Store from "./Store.js"

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

const invalid = (option: keyof Options, problem: string): ConfigError.ConfigError =>
  ConfigError.InvalidData(["FileStore", option], problem)

const check = (options: Options): Effect.Effect<void, ConfigError.ConfigError> => {
  const { directory, durability } = options
  if (typeof directory !== "string" || directory.trim() === "" || directory.includes("\u0000")) {
    return Effect.fail(invalid("directory", "write the path of a folder for sessions alone, such as \"./sessions\""))
  }
  return durability === undefined || durability === "rename" || durability === "fsync"
    ? Effect.void
    : Effect.fail(invalid("durability", "write \"rename\" or \"fsync\", or leave it out"))
}

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
 * Operations on one id queue in this process, so that only other processes are ever met at a lock. Each is told whether
 * it waited. A caller that is interrupted is let go at once, and what it began is finished behind it.
 */
const makeQueues = () => {
  const queues = new Map<string, { readonly semaphore: Effect.Semaphore; users: number }>()
  return <A, E>(id: string, f: (waited: boolean) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.disconnect(Effect.suspend(() => {
      let queue = queues.get(id)
      if (queue === undefined) {
        queue = { semaphore: Effect.unsafeMakeSemaphore(1), users: 0 }
        queues.set(id, queue)
      }
      const mine = queue
      const waited = mine.users++ > 0
      return Effect.ensuring(
        mine.semaphore.withPermits(1)(Effect.uninterruptible(f(waited))),
        Effect.sync(() => {
          if (--mine.users === 0) {
            queues.delete(id)
          }
        })
      )
    }))
}

const makeSetAside = (files: Swap.Files) => (id: string): Effect.Effect<void, PlatformError.PlatformError> =>
  Effect.gen(function*() {
    const aside = Format.setAside(id, yield* files.nonce)
    yield* files.rename(id, aside)
    // What was moved may be a good file that another process put there meanwhile.
    if (isSound(yield* files.read(aside))) {
      yield* files.link(aside, id)
      yield* files.remove(aside)
    } else {
      yield* Effect.annotateLogs(
        Effect.logWarning("FileStore: a file could not be read as a session and is set aside"),
        "session.id",
        id
      )
    }
  }).pipe(Effect.catchIf(Swap.isNotFound, () => Effect.void))

const makeBackend = (
  files: Swap.Files,
  setAside: (id: string) => Effect.Effect<void, PlatformError.PlatformError>
): Store.Backend => {
  const queued = makeQueues()

  const sound = (id: string, found: Format.Found) =>
    found?._tag === "Corrupt" ? Effect.as(setAside(id), undefined) : Sweep.resolve(files, id, found)

  const read = (id: string) => Effect.flatMap(files.read(id), (found) => sound(id, found))

  const insert: Store.Backend["insert"] = ({ id }, entry, now) =>
    Effect.gen(function*() {
      const nonce = yield* files.nonce
      const temporary = Format.temporary(id, nonce)
      yield* files.write(temporary, Format.encodeLive(entry, nonce, 0))
      const linked = yield* Effect.onError(files.link(temporary, id), () => files.remove(temporary))
      if (linked) {
        yield* Effect.ensuring(files.settle, files.discard(temporary))
        return true
      }
      yield* files.remove(temporary)
      return yield* files.swap(id, undefined, (found) =>
        Effect.map(sound(id, found), (current): Swap.Decision<boolean> =>
          Store.isTaken(current, now) || isPending(found)
            ? Swap.answer(false)
            : {
              _tag: "Write",
              base: Format.baseOf(found),
              content: (nonce) =>
                Format.encodeLive(entry, nonce, 0),
              value: true
            }))
    })

  const replaceWith = (
    id: string,
    revision: number,
    now: number,
    waited: boolean,
    content: (nonce: string) => Uint8Array,
    prepare: Effect.Effect<void, PlatformError.PlatformError>
  ) => {
    const write = (base: string): Swap.Decision<Store.Replaced> => ({
      _tag: "Write",
      base,
      content,
      prepare,
      value: Store.replaced
    })
    // Mostly nobody wrote or touched meanwhile, and the guess saves a read; who had to wait knows that somebody did.
    return files.swap(
      id,
      waited ? undefined : write(Format.base(revision, 0)),
      (found) =>
        Effect.map(sound(id, found), (current) =>
          !Store.isLive(current, now)
            ? Swap.answer<Store.Replaced>(Store.absent)
            : current.revision !== revision
            ? Swap.answer(Store.changed(current))
            : write(Format.baseOf(found)))
    )
  }

  const rename = (
    key: Store.Key,
    revision: number,
    next: Store.Key,
    entry: Store.LiveEntry,
    tombstone: Store.Tombstone,
    now: number,
    waited: boolean
  ) =>
    Effect.gen(function*() {
      const nonce = yield* files.nonce
      const pending = Format.temporary(next.id, nonce)
      const final = Format.temporary(next.id, yield* files.nonce)
      const clear = Effect.zipRight(files.remove(pending), files.remove(final))
      yield* files.write(pending, Format.encodeLive(entry, nonce, 0, key.id))
      yield* Effect.onError(files.write(final, Format.encodeLive(entry, nonce, 0)), () => clear)
      let placed = false
      // Tried again where a first try was denied: after a long stop the sweep may have deleted what that one placed.
      const place = files.link(pending, next.id).pipe(
        Effect.flatMap((linked) => linked || placed ? Effect.sync(() => placed = true) : Effect.fail(repeated)),
        Effect.zipRight(files.settle)
      )
      // A failure after the commit takes nothing back: the old file names the new one by then.
      const isCommitted = Effect.map(
        files.read(key.id),
        (found) => found?._tag === "Tombstone" && found.next === next.id
      )
      const takeBack = Effect.ignore(Effect.unlessEffect(files.remove(next.id), isCommitted))
      const withdraw = Effect.suspend(() => Effect.zipRight(placed ? takeBack : Effect.void, clear))
      const result = yield* Effect.onError(
        replaceWith(
          key.id,
          revision,
          now,
          waited,
          (nonce) => Format.encodeTombstone(tombstone, nonce, next.id),
          place
        ),
        () => withdraw
      )
      if (result._tag !== "Replaced") {
        yield* withdraw
        return result
      }
      yield* Effect.ignoreLogged(Effect.zipRight(files.rename(final, next.id), files.settle))
      yield* clear
      return result
    })

  const extend: Store.Backend["extend"] = ({ id }, revision, deadline, now) =>
    files.swap(id, undefined, (found) =>
      Effect.map(sound(id, found), (current): Swap.Decision<boolean> => {
        if (!Store.isLive(current, now)) {
          return Swap.answer(false)
        }
        if (current.revision !== revision || deadline <= current.deadline) {
          return Swap.answer(true)
        }
        const { touches } = current
        const entry = { ...current, deadline, touchedAt: now }
        return {
          _tag: "Write",
          base: Format.baseOf(found),
          content: (nonce) => Format.encodeLive(entry, nonce, touches + 1),
          value: true
        }
      }))

  const remove: Store.Backend["remove"] = ({ id }, tombstone, now) =>
    files.swap(
      id,
      undefined,
      (found) =>
        Effect.map(sound(id, found), (current): Swap.Decision<void> =>
          Store.isLive(current, now)
            ? {
              _tag: "Write",
              base: Format.baseOf(found),
              content: (nonce) => Format.encodeTombstone(tombstone, nonce),
              value: undefined
            }
            : Swap.answer(undefined))
    )

  return {
    get: ({ id }) => Effect.map(read(id), Option.fromNullable),
    insert: (key, entry, now) => queued(key.id, () => insert(key, entry, now)),
    replace: ({ id }, revision, entry, now) =>
      queued(
        id,
        (waited) => replaceWith(id, revision, now, waited, (nonce) => Format.encodeLive(entry, nonce, 0), Effect.void)
      ),
    rename: (key, revision, next, entry, tombstone, now) =>
      queued(key.id, (waited) => rename(key, revision, next, entry, tombstone, now, waited)),
    extend: (key, revision, deadline, now) => queued(key.id, () => extend(key, revision, deadline, now)),
    remove: (key, tombstone, now) => queued(key.id, () => remove(key, tombstone, now)),
    setAside: ({ id }) => queued(id, () => setAside(id))
  }
}

/** A renewal to a token that is taken: no session may end for it (S05). */
const repeated = new PlatformError.SystemError({
  module: "FileSystem",
  method: "link",
  reason: "AlreadyExists",
  description: "the token to renew to is in use: the generator of tokens repeats itself"
})

const isSound = (found: Format.Found): boolean => {
  if (found?._tag !== "Entry") {
    return found?._tag === "Tombstone"
  }
  const decoded = SessionRecord.decode(found.body, found)
  return decoded._tag === "Right" || decoded.left.reason === "NewerVersion"
}

const isPending = (found: Format.Found): boolean => found?._tag === "Entry" && found.from !== undefined

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
    yield* check(options)
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const directory = path.resolve(options.directory)
    const files = Swap.make({ fileSystem, path, directory, sync: options.durability === "fsync" })
    yield* fileSystem.makeDirectory(directory, { recursive: true, mode: 0o700 }).pipe(
      Effect.zipRight(probe(files)),
      Effect.zipRight(warnOfOthers(fileSystem, path, directory)),
      Effect.mapError((error) =>
        invalid(
          "directory",
          `write the path of a folder in which this process may create and link files; ${directory} can't be used: ` +
            (error.description ?? error.message)
        )
      )
    )
    yield* Effect.addFinalizer(() => files.tidy)
    const setAside = makeSetAside(files)
    const store = yield* Store.fromBackend(makeBackend(files, setAside), { name: "FileStore" })
    yield* Store.sweeping("FileStore", Sweep.make(files, setAside))
    return store
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
