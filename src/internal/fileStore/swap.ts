/**
 * Replaces one file by compare-and-set. It works across processes, which may be killed at any point, and needs only a
 * file system's exclusive `link` and atomic `rename`. The module knows nothing of tokens or HTTP, and of sessions only
 * their files.
 *
 * How a content is replaced:
 *
 * 1. The new content is written whole to a temporary file, whose name is used only once.
 * 2. That file is linked under the lock's name, which fails if the name exists. The name has the id and the exact
 *    content to be replaced (`baseOf`), so a process that read an older content takes another lock.
 * 3. The session's file is read again, to check that it still has that content.
 * 4. The temporary file is renamed over the session's file. This is the commit. Where the sweep ends an id without a
 *    file, it is linked instead, which fails if there is one by now, because a new session is put there without a lock.
 * 5. The lock is deleted.
 *
 * A process that is killed before step 4 has changed nothing, and one that is killed after it has changed everything.
 * It leaves a lock, which the next process breaks by deleting the owner's temporary file. From then on, an owner that
 * was only asleep can't commit, because step 4 fails without its file. Deletion and rename of one name can't both
 * succeed, so there is never a moment at which two processes may commit. The lock itself stays while its base is
 * current. The right to commit passes to the process that exclusively creates the next name, which contains the dead
 * owner's. So two breakers never both win, and nobody deletes a lock that a third process has just made, because names
 * are not used again.
 */
import * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as crypto from "../crypto/hash.js"
import { afterExit, andThen, catchAll } from "../runtime/exit.js"
import type { Disk } from "./disk.js"
import * as Format from "./format.js"
import * as Listing from "./listing.js"

/** How long a lock must be seen unchanged until its owner counts as dead, in nanoseconds. */
const patience = 1_000_000_000n

const firstPause = 2
const longestPause = 50

interface Write<A> {
  readonly _tag: "Write"
  /** The content that is replaced, as `baseOf` identifies it. */
  readonly base: string
  readonly content: (nonce: string) => Uint8Array
  /** Runs under the lock, before the commit. If the commit fails, the caller has to undo it. */
  readonly prepare?: (() => Effect.Effect<void, PlatformError.PlatformError>) | undefined
  /** Whether the commit fails if there is a file by now, so that it replaces nothing that was put there without a lock. */
  readonly isExclusive?: boolean
  readonly value: A
}

/** @internal */
export type Decision<A> = { readonly _tag: "Answer"; readonly value: A } | Write<A>

type Decide<A> = (found: Format.Found) => Effect.Effect<Decision<A>, PlatformError.PlatformError>

/** @internal */
export const answer = <A>(value: A): Decision<A> => ({ _tag: "Answer", value })

/** Names are relative to the folder. @internal */
export interface Files {
  /** Whether its calls are promises that need no fiber. */
  readonly answersByPromise: boolean
  readonly nonce: (now: number) => string
  /** Reads the file of an id. Fails if the folder is missing, because then nobody knows what has ended. */
  readonly read: (id: string) => Effect.Effect<Format.Found, PlatformError.PlatformError>
  /** Writes a new file. Fails if the name exists. */
  readonly write: (name: string, content: Uint8Array) => Effect.Effect<void, PlatformError.PlatformError>
  /** Gives a file a second name. The answer is false if that name exists. */
  readonly link: (from: string, to: string) => Effect.Effect<boolean, PlatformError.PlatformError>
  readonly rename: (from: string, to: string) => Effect.Effect<void, PlatformError.PlatformError>
  /** Makes renames and links survive a loss of power, if the durability is `fsync`: those of a folder in the folder, too. */
  readonly syncFolder: (folder?: string) => Effect.Effect<void, PlatformError.PlatformError>
  readonly remove: (name: string) => Effect.Effect<void>
  /** Removes a file, or a folder with everything in it. */
  readonly removeTree: (name: string) => Effect.Effect<void>
  /** Every name in the folder. */
  readonly list: Effect.Effect<Array<string>, PlatformError.PlatformError>
  /** Every name in a folder in the folder. That one may be missing, but not the folder itself. */
  readonly listIn: (folder: string) => Effect.Effect<Array<string>, PlatformError.PlatformError>
  /** Makes an empty file. The answer is false if the name exists. Fails if its folder is missing. */
  readonly mark: (name: string) => Effect.Effect<boolean, PlatformError.PlatformError>
  /** Makes the folder itself, if it was deleted. */
  readonly makeAgain: Effect.Effect<void, PlatformError.PlatformError>
  /** Makes a folder in the folder, if it is not there. */
  readonly makeFolder: (name: string) => Effect.Effect<void, PlatformError.PlatformError>
  /** When a file was last written, in milliseconds since the epoch, if it is there and the platform can tell. */
  readonly modifiedAt: (name: string) => Effect.Effect<Option.Option<number>, PlatformError.PlatformError>
  /** Removes a name by one system call. The file stays under the name of the trash, which the next one overwrites. */
  readonly discard: (name: string) => Effect.Effect<void>
  /** Removes the file that was discarded last. */
  readonly tidy: Effect.Effect<void>
  /**
   * Replaces the file of an id as `decide` says of its content, again and again until a write succeeds. `first` is a
   * guess at the decision, which saves a read.
   */
  readonly swap: <A>(
    id: string,
    now: number,
    first: Decision<A> | undefined,
    decide: Decide<A>
  ) => Effect.Effect<A, PlatformError.PlatformError>
}

const hasReason = (reason: PlatformError.SystemErrorReason) => (error: PlatformError.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === reason

/** @internal */
export const isNotFound = hasReason("NotFound")

const isBadResource = hasReason("BadResource")
const isDenied = hasReason("PermissionDenied")
const alreadyExists = hasReason("AlreadyExists")

/** Undoes what was done before a step, if the step fails. @internal */
export const orUndo = <A, E>(step: Effect.Effect<A, E>, undo: () => Effect.Effect<void>): Effect.Effect<A, E> =>
  afterExit(step, (exit) => Exit.isSuccess(exit) ? exit : andThen(undo(), () => exit))

const nothing = new Uint8Array(0)

const ownerOf = (found: Format.Found): string => found === undefined || found._tag === "Corrupt" ? "x" : found.nonce

/** @internal */
export const make = (options: {
  readonly disk: Disk
  readonly fileSystem: FileSystem.FileSystem
  readonly path: Path.Path
  readonly directory: string
  readonly sync: boolean
}): Files => {
  const { directory, disk, fileSystem } = options
  const prefix = directory.endsWith(options.path.sep) ? directory : directory + options.path.sep
  const path = (name: string): string => prefix + name
  const process = Encoding.encodeHex(crypto.randomBytes(6))
  let count = 0
  const nonce = (now: number): string => Format.nonce(now, process, count++)
  const trashName = Format.trash(Format.nonce(0, process, 0))
  const trash = path(trashName)

  /**
   * What is not in the folder has ended, if the folder is there. While a disk is unmounted or the folder is moved, a logout
   * would be answered that is not done, and its session would live again with the folder.
   */
  const absent = <A>(answer: A): Effect.Effect<A, PlatformError.PlatformError> =>
    Effect.flatMap(fileSystem.exists(directory), (exists) => exists ? Exit.succeed(answer) : missing)

  const missing = Exit.fail(
    new PlatformError.SystemError({
      module: "FileSystem",
      method: "exists",
      reason: "NotFound",
      pathOrDescriptor: directory,
      description: "The folder of sessions is missing"
    })
  )

  const readName: Files["read"] = (name) =>
    catchAll(
      andThen(disk.read(path(name)), (bytes) => Exit.succeed<Format.Found>(Format.decode(bytes))),
      (error) =>
        isNotFound(error)
          ? absent(undefined)
          : isBadResource(error) || isDenied(error)
          ? Exit.succeed(Format.corrupt)
          : Exit.fail(error)
    )

  const create = (name: string, content: Uint8Array) => disk.create(path(name), content, options.sync)

  const remove = (name: string) => afterExit(disk.remove(path(name)), () => Exit.void)

  const removeTree: Files["removeTree"] = (name) =>
    Effect.ignore(fileSystem.remove(path(name), { force: true, recursive: true }))

  const listing = (folder: string): Files["list"] =>
    Effect.catchIf(Listing.list(fileSystem, folder), isNotFound, () => absent([]))

  /** The folders above it are not made again. They are gone together if a disk was unmounted, and nobody deleted anything. */
  const makeAgain = fileSystem.makeDirectory(directory, { mode: 0o700 }).pipe(
    Effect.zipRight(
      Effect.logWarning(
        "FileStore: The folder of sessions was deleted. It is made again, and all sessions have ended."
      )
    ),
    Effect.catchIf(alreadyExists, () => Effect.void)
  )

  const write: Files["write"] = (name, content) => orUndo(create(name, content), () => remove(name))

  const mark: Files["mark"] = (name) =>
    catchAll(
      andThen(create(name, nothing), () => Exit.succeed(true)),
      (error) => alreadyExists(error) ? Exit.succeed(false) : Exit.fail(error)
    )

  const makeFolder: Files["makeFolder"] = (name) =>
    Effect.catchIf(fileSystem.makeDirectory(path(name), { mode: 0o700 }), alreadyExists, () => Effect.void)

  const modifiedAt: Files["modifiedAt"] = (name) =>
    fileSystem.stat(path(name)).pipe(
      Effect.map(({ mtime }) => Option.map(mtime, (time) => time.getTime())),
      Effect.catchIf(isNotFound, () => Effect.succeedNone)
    )

  const link: Files["link"] = (from, to) =>
    catchAll(
      andThen(disk.link(path(from), path(to)), () => Exit.succeed(true)),
      (error) => alreadyExists(error) ? Exit.succeed(false) : Exit.fail(error)
    )

  const rename: Files["rename"] = (from, to) => disk.rename(path(from), path(to))

  const syncFolder: Files["syncFolder"] = options.sync
    ? (folder) => disk.syncFolder(folder === undefined ? directory : path(folder))
    : () => Exit.void

  const discard: Files["discard"] = (name) => afterExit(disk.rename(path(name), trash), () => Exit.void)

  /**
   * Links the temporary file under the lock's name. It waits for the lock's owner, or breaks the lock of a dead one.
   * Gives the names of all locks that it passed or took.
   */
  const acquire = (id: string, base: string, temporary: string) => {
    const name = Format.lock(id, base)
    return andThen(link(temporary, name), (linked) => linked ? Exit.succeed([name]) : contend(id, base, temporary))
  }

  const contend = (id: string, base: string, temporary: string) =>
    Effect.gen(function*() {
      const passed: Array<string> = []
      let name = Format.lock(id, base)
      let seen: { readonly owner: string; readonly since: bigint } | undefined
      let pause = firstPause
      while (!(yield* link(temporary, name))) {
        const found = yield* readName(name)
        if (found === undefined) {
          yield* Effect.interruptible(Effect.yieldNow())
          continue
        }
        const owner = ownerOf(found)
        // the monotonic clock, because the time of day may be set back
        const now = yield* Clock.currentTimeNanos
        if (seen?.owner !== owner) {
          seen = { owner, since: now }
        }
        const alive = yield* fileSystem.exists(path(Format.temporary(id, owner)))
        if (alive && now - seen.since < patience) {
          yield* Effect.interruptible(Effect.sleep(pause))
          pause = Math.min(pause * 2, longestPause)
          continue
        }
        if (alive) {
          yield* Effect.logWarning(
            "FileStore: A process was killed or stood still while it wrote a session. " +
              "Its lock is broken, and the next write goes on."
          )
          yield* fileSystem.remove(path(Format.temporary(id, owner)), { force: true })
        }
        passed.push(name)
        name = Format.lock(id, base, owner)
      }
      passed.push(name)
      return passed
    })

  /**
   * Tries to write once. Gives the answer if the write was committed. Otherwise, another process broke the lock or
   * changed the content, and this gives the next decision.
   */
  const tryWrite = <A>(
    id: string,
    now: number,
    decision: Write<A>,
    decide: Decide<A>
  ): Effect.Effect<Decision<A>, PlatformError.PlatformError> => {
    const mine = nonce(now)
    const temporary = Format.temporary(id, mine)
    const drop = () => remove(temporary)

    const underLocks = (locks: ReadonlyArray<string>, found: Format.Found, next: Decision<A>) => {
      if (next._tag === "Answer" || next.base !== decision.base) {
        // If the lock's base is current, another process may depend on the lock by now. The sweep deletes it later.
        const end = Format.baseOf(found) === decision.base ? drop() : andThen(drop(), () => discardAll(locks))
        return andThen(end, () => Exit.succeed(next))
      }
      return andThen(
        next.prepare?.() ?? Exit.void,
        () =>
          andThen(next.isExclusive === true ? commitNew(temporary, id) : commit(temporary, id), (committed) =>
            committed
              ? andThen(syncFolder(), () => andThen(discardAll(locks), () => Exit.succeed(answer(next.value))))
              : Exit.succeed<Decision<A>>(next))
      )
    }

    return andThen(write(temporary, decision.content(mine)), () =>
      orUndo(
        andThen(acquire(id, decision.base, temporary), (locks) =>
          andThen(readName(id), (found) => andThen(decide(found), (next) => underLocks(locks, found, next)))),
        drop
      ))
  }

  /** Renames the temporary file over the session's. The answer is false if another process deleted it. */
  const commit = (temporary: string, id: string) =>
    catchAll(
      andThen(rename(temporary, id), () => Exit.succeed(true)),
      (error) => isNotFound(error) ? Exit.succeed(false) : Exit.fail(error)
    )

  /**
   * Links the temporary file as the session's. The answer is false if that is there, or if the other was deleted. The name
   * is not discarded: the lock is the same file, and a rename over a name of the same file, as the trash would be, does
   * nothing.
   */
  const commitNew = (temporary: string, id: string) =>
    catchAll(
      andThen(link(temporary, id), (linked) => andThen(remove(temporary), () => Exit.succeed(linked))),
      (error) => isNotFound(error) ? Exit.succeed(false) : Exit.fail(error)
    )

  const discardAll = ([name, ...more]: ReadonlyArray<string>): Effect.Effect<void> =>
    name === undefined ? Exit.void : andThen(discard(name), () => discardAll(more))

  const swap = <A>(
    id: string,
    now: number,
    first: Decision<A> | undefined,
    decide: Decide<A>
  ): Effect.Effect<A, PlatformError.PlatformError> => {
    const goOn = (decision: Decision<A>): Effect.Effect<A, PlatformError.PlatformError> =>
      decision._tag === "Answer"
        ? Exit.succeed(decision.value)
        : andThen(tryWrite(id, now, decision, decide), goOn)
    return first === undefined ? andThen(andThen(readName(id), decide), goOn) : goOn(first)
  }

  return {
    answersByPromise: disk.answersByPromise,
    nonce,
    read: readName,
    write,
    makeAgain,
    link,
    rename,
    syncFolder,
    remove,
    removeTree,
    list: listing(directory),
    listIn: (folder) => listing(path(folder)),
    mark,
    makeFolder,
    modifiedAt,
    discard,
    tidy: Effect.suspend(() => remove(trashName)),
    swap
  }
}
