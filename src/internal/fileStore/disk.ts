/**
 * The calls of the file system that the store makes in every operation: by the platform's `FileSystem`, or by `node:fs`
 * itself. The latter needs no fiber, reads a file by three system calls instead of four, and doesn't wait for the last
 * of them. `node:fs` is looked up rather than imported, so that the file store works on a platform without it. The module
 * knows nothing of sessions.
 */
import * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { builtin } from "../runtime/builtin.js"
import { Pending } from "../runtime/pending.js"

/** @internal */
export interface Disk {
  /** Whether its calls are promises that need no fiber. */
  readonly answersByPromise: boolean
  readonly read: (path: string) => Effect.Effect<Uint8Array, PlatformError.PlatformError>
  /** Writes a new file of mode 0600, and waits until it is on the disk if `sync` says so. Fails if the path exists. */
  readonly create: (
    path: string,
    content: Uint8Array,
    sync: boolean
  ) => Effect.Effect<void, PlatformError.PlatformError>
  readonly link: (from: string, to: string) => Effect.Effect<void, PlatformError.PlatformError>
  readonly rename: (from: string, to: string) => Effect.Effect<void, PlatformError.PlatformError>
  readonly remove: (path: string) => Effect.Effect<void, PlatformError.PlatformError>
  /** Waits until the names in a folder are on the disk. */
  readonly syncFolder: (path: string) => Effect.Effect<void, PlatformError.PlatformError>
}

const mode = 0o600

/** @internal */
export const ofPlatform = (fileSystem: FileSystem.FileSystem): Disk => ({
  answersByPromise: false,
  read: fileSystem.readFile,
  create: (path, content, sync) =>
    sync
      ? Effect.scoped(
        Effect.flatMap(fileSystem.open(path, { flag: "wx", mode }), (file) =>
          // `writeAll` of no bytes fails
          content.length === 0 ? file.sync : Effect.zipRight(file.writeAll(content), file.sync))
      )
      : fileSystem.writeFile(path, content, { flag: "wx", mode }),
  link: fileSystem.link,
  rename: fileSystem.rename,
  remove: (path) => fileSystem.remove(path, { force: true }),
  syncFolder: (path) => Effect.scoped(Effect.flatMap(fileSystem.open(path, { flag: "r" }), (folder) => folder.sync))
})

interface Failure extends Error {
  readonly code?: string
  readonly syscall?: string
}

type Done<A = void> = (error: Failure | null, value: A) => void

interface Identity {
  readonly dev: number
  readonly ino: number
}

/** What is used of `node:fs`, whose callbacks cost less than its promises. */
interface NodeFiles {
  readonly open: (path: string, flags: string, mode: number, done: Done<number>) => void
  readonly read: (
    file: number,
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: null,
    done: Done<number>
  ) => void
  readonly write: (file: number, bytes: Uint8Array, offset: number, done: Done<number>) => void
  readonly fsync: (file: number, done: Done) => void
  readonly close: (file: number, done: Done) => void
  readonly closeSync: (file: number) => void
  readonly link: (from: string, to: string, done: Done) => void
  readonly rename: (from: string, to: string, done: Done) => void
  readonly unlink: (path: string, done: Done) => void
  readonly stat: (path: string, done: Done<Identity>) => void
}

const node = builtin<NodeFiles>("node:fs")

const reasons: { readonly [code: string]: PlatformError.SystemErrorReason } = {
  ENOENT: "NotFound",
  EACCES: "PermissionDenied",
  EEXIST: "AlreadyExists",
  EISDIR: "BadResource",
  ENOTDIR: "BadResource",
  ELOOP: "BadResource",
  EBUSY: "Busy"
}

/** The error that the platform's file system makes of one of Node's. */
const failed = (method: string, path: string, error: Failure): PlatformError.PlatformError =>
  new PlatformError.SystemError({
    module: "FileSystem",
    method,
    reason: reasons[error.code ?? ""] ?? "Unknown",
    pathOrDescriptor: path,
    syscall: error.syscall,
    description: error.message,
    cause: error
  })

const asked = <A>(
  method: string,
  path: string,
  ask: (done: Done<A>) => void
): Effect.Effect<A, PlatformError.PlatformError> =>
  new Pending<A, PlatformError.PlatformError>(
    () =>
      new Promise((resolve) => {
        ask((error, value) => resolve(error ? Exit.fail(failed(method, path, error)) : Exit.succeed(value)))
      }),
    (exit) => exit as Exit.Exit<A, PlatformError.PlatformError>
  )

/** How many bytes are read at once. Most sessions are shorter. */
const piece = 4000

const ignore = (): void => {}

const ofNode = (node: NodeFiles): Disk => {
  /** A regular file that gives less than it was asked for has ended. */
  const readOn = (file: number, buffer: Uint8Array, length: number, done: Done<Uint8Array>): void =>
    node.read(file, buffer, length, buffer.length - length, null, (error, count) => {
      const end = length + count
      if (!error && end === buffer.length) {
        const larger = new Uint8Array(buffer.length * 4)
        larger.set(buffer)
        return readOn(file, larger, end, done)
      }
      closeRead(file)
      done(error, buffer.subarray(0, end))
    })

  /**
   * Nothing was written, so this only frees the descriptor, and cannot lose anything by failing. Another turn of the thread
   * pool costs a quarter of a read (processor time: 66 and 49 us).
   */
  const closeRead = (file: number): void => {
    try {
      node.closeSync(file)
    } catch {
      // the read has its answer
    }
  }

  const writeOn = (file: number, bytes: Uint8Array, offset: number, done: Done): void =>
    node.write(
      file,
      bytes,
      offset,
      (error, count) =>
        error || offset + count >= bytes.length ? done(error) : writeOn(file, bytes, offset + count, done)
    )

  return {
    answersByPromise: true,
    read: (path) =>
      asked<Uint8Array>(
        "readFile",
        path,
        (done) =>
          node.open(path, "r", mode, (error, file) =>
            error ? done(error, none) : readOn(file, new Uint8Array(piece), 0, done))
      ),
    create: (path, content, sync) =>
      asked("writeFile", path, (done) =>
        node.open(path, "wx", mode, (error, file) => {
          if (error) {
            return done(error)
          }
          const close = (error: Failure | null): void => node.close(file, (another) => done(error ?? another))
          writeOn(file, content, 0, (error) => error || !sync ? close(error) : node.fsync(file, close))
        })),
    link: (from, to) => asked("link", from, (done) => node.link(from, to, done)),
    rename: (from, to) => asked("rename", from, (done) => node.rename(from, to, done)),
    remove: (path) => asked("remove", path, (done) => node.unlink(path, done)),
    syncFolder: (path) =>
      asked(
        "sync",
        path,
        (done) =>
          node.open(path, "r", mode, (error, folder) =>
            error ? done(error) : node.fsync(folder, (error) => {
              node.close(folder, ignore)
              done(error)
            }))
      )
  }
}

const none = new Uint8Array(0)

/** Whether a path stands for the same file or folder to Node as to the platform's file system. */
const isSame = (
  node: NodeFiles,
  fileSystem: FileSystem.FileSystem,
  path: string
): Effect.Effect<boolean, PlatformError.PlatformError> =>
  Effect.zipWith(
    fileSystem.stat(path),
    asked<Identity>("stat", path, (done) => node.stat(path, done)),
    (platform, own) => platform.dev === own.dev && Option.contains(platform.ino, own.ino)
  )

/**
 * Whether Node itself sees the file or folder that the platform's file system does. The app may have provided a file
 * system of its own, in which the path stands for something else.
 *
 * @internal
 */
export const isSeenByNode = (fileSystem: FileSystem.FileSystem, path: string): Effect.Effect<boolean> =>
  node === undefined ? Effect.succeed(false) : Effect.orElseSucceed(isSame(node, fileSystem, path), () => false)

/**
 * `node:fs`, if it finds a file that the platform's file system has written to be the same and to hold the same bytes;
 * otherwise the platform's. A file system of the app's own that encrypts what it writes, for one, is never passed over.
 *
 * @internal
 */
export const fastest = (
  fileSystem: FileSystem.FileSystem,
  path: string,
  content: Uint8Array
): Effect.Effect<Disk> => {
  const platform = ofPlatform(fileSystem)
  if (node === undefined) {
    return Effect.succeed(platform)
  }
  const own = ofNode(node)
  return isSame(node, fileSystem, path).pipe(
    Effect.zipWith(own.read(path), (isSame, found) => isSame && String(found) === String(content) ? own : platform),
    Effect.orElseSucceed(() => platform)
  )
}
