/**
 * The lists of sessions by subject: an empty file for each session, whose name is made of the subject's hash and the
 * session's id. So a session is listed by one call, and taken off by another. The module knows nothing of what is in a
 * session's file.
 */
import type * as PlatformError from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { SessionId } from "../../SessionToken.js"
import type { Key } from "../../StoreBackend.js"
import { andThen, catchAll } from "../runtime/exit.js"
import type { SubjectList } from "../store/listed.js"
import * as Format from "./format.js"
import * as Swap from "./swap.js"

/** How old what a process has made must be to count as abandoned, if nothing came of it, in milliseconds. @internal */
export const stale = 600_000

/** Whether the file of a list is that old. One whose age can't be told is not. @internal */
export const isStale = (
  files: Swap.Files,
  name: string,
  now: number
): Effect.Effect<boolean, PlatformError.PlatformError> =>
  Effect.map(files.modifiedAt(name), Option.exists((time) => now - time >= stale))

/** The key of an id. Files are not placed by shards. @internal */
export const keyOf = (id: string): Key => ({ id: id as SessionId, shard: "" })

/** @internal */
export const make = (files: Swap.Files): SubjectList => {
  /** The folders that this process has made or found. They are at most 4096. */
  const known = new Set<string>()

  /** A folder that another process made may not be on the disk yet, so it is synced as well. */
  const makeFolder = (folder: string): Effect.Effect<void, PlatformError.PlatformError> =>
    Effect.gen(function*() {
      yield* files.makeFolder(Format.lists)
      yield* files.makeFolder(folder)
      yield* files.syncFolder()
      yield* files.syncFolder(Format.lists)
      known.add(folder)
    })

  /**
   * Puts a new file in the place of one that an earlier try may have left, so that the sweep doesn't take the session
   * that is about to be written for one that nobody writes any more. The age of a new file is by the disk's clock.
   */
  const renew = (name: string, id: string, now: number) => {
    const temporary = Format.temporary(id, files.nonce(now))
    return andThen(
      files.write(temporary, new Uint8Array(0)),
      () => Swap.orUndo(files.rename(temporary, name), () => files.remove(temporary))
    )
  }

  const add: SubjectList["add"] = (subject, { id }, _until, now) => {
    const folder = Format.listFolder(subject)
    const name = Format.listed(subject, id)
    const mark = () =>
      andThen(
        andThen(files.mark(name), (made) => made ? Exit.void : renew(name, id, now)),
        () => files.syncFolder(folder)
      )
    const inNewFolder = () => andThen(makeFolder(folder), mark)
    return known.has(folder)
      ? catchAll(mark(), (error) => Swap.isNotFound(error) ? inNewFolder() : Exit.fail(error))
      : inNewFolder()
  }

  const remove = (subject: string, { id }: Key) => files.remove(Format.listed(subject, id))

  return {
    add,
    remove,
    // If the old name went now, a reader of the folder could see neither: the new one came after its look, and the old
    // one went before. The next reader of the list, or the sweep, finds the tombstone.
    renewed: () => Exit.void,
    keys: (subject) => {
      const folder = Format.listFolder(subject)
      return Stream.unwrap(
        Effect.map(files.listIn(folder), (names) =>
          Stream.fromIterable(names.flatMap((name) => {
            const named = name.startsWith(`${subject}.`) ? Format.parseName(`${folder}/${name}`) : undefined
            return named?._tag === "Listed" ? [keyOf(named.id)] : []
          })))
      )
    },
    // the sweep takes it off, because the age of a file by one look at one clock says too little
    missing: () => Exit.void,
    // a session has no other key than its id
    locate: (id) => Exit.succeed(Option.some(keyOf(id)))
  }
}
