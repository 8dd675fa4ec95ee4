/**
 * A backend that can look sessions up by subject, made of one that can't and of a list that is kept apart from the
 * sessions, in other files or other keys. The two can't be written in one step. So a session is listed before it is
 * written, and taken off the list after it has ended: after a crash at any point it may be listed and dead, but never
 * alive and unlisted. A reader of the list asks for each session, leaves out the dead ones, and follows those that were
 * renewed since it read the list. The module knows nothing of where either is kept.
 */
import * as Arr from "effect/Array"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SessionRecord from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import type { Backend, Ended, Entry, Key, LiveEntry, Subjects, Tombstone } from "../../StoreBackend.js"
import { isLive } from "../../StoreBackend.js"
import { afterExit, andThen } from "../runtime/exit.js"
import { subjectHash } from "./subject.js"

/** The ids of the sessions of each subject, whose hash is given. @internal */
export interface SubjectList {
  /** Lists a session, if it is not listed until then already. The list may forget it after `until` (milliseconds). */
  readonly add: (subject: string, key: Key, until: number, now: number) => Effect.Effect<void, unknown>
  /** Takes a session off the list that has ended for good. */
  readonly remove: (subject: string, key: Key) => Effect.Effect<void, unknown>
  /**
   * Is told of the old key of a session that was renewed, after the new one was listed. It may leave the old one listed
   * until a reader of the list finds its tombstone.
   */
  readonly renewed: (subject: string, key: Key) => Effect.Effect<void, unknown>
  /** The keys of all sessions that are listed, dead ones too. */
  readonly keys: (subject: string) => Stream.Stream<Key, unknown>
  /**
   * Is told of a listed session that is not there. It has ended, or it is about to be written. So it is taken off the list
   * only if it was listed so long ago that nobody writes it any more.
   */
  readonly missing: (subject: string, key: Key, now: number) => Effect.Effect<void, unknown>
  /** The key of a session by its public id alone; nothing if no session of that id is listed. */
  readonly locate: (id: SessionId) => Effect.Effect<Option.Option<Key>, unknown>
}

/** What a removal found under the key. @internal */
export type Removed =
  /** A session, which may have expired. Now there is the tombstone. */
  | { readonly _tag: "Removed"; readonly entry: LiveEntry }
  /** The tombstone of a renewal, which names the session that it put in its place. */
  | { readonly _tag: "Renewed"; readonly successor: SessionId }
  | { readonly _tag: "Absent" }

/** @internal */
export interface Unlisted extends Omit<Backend, "listsApart" | "remove"> {
  /** The backend's `remove`, which also gives what it removed. An entry without a subject may come without its body. */
  readonly end: (key: Key, tombstone: Tombstone, now: number) => Effect.Effect<Removed, unknown>
}

/** @internal */
export interface Listed extends Backend {
  readonly subjects: Subjects
}

/**
 * Takes a session that has ended off the list. Where the list can't be written now, a reader of it finds the tombstone
 * later. Most bodies tell without being decoded that they have no subject.
 *
 * @internal
 */
export const unlisting = (list: SubjectList) => (key: Key, { body }: LiveEntry): Effect.Effect<void> => {
  if (!body.includes("\"subject\":")) {
    return Exit.void
  }
  const record = SessionRecord.decode(body, { revision: 0, touchedAt: 0, deadline: 0 })
  return record._tag === "Left" || record.right.subject === undefined
    ? Exit.void
    : afterExit(
      andThen(subjectHash(record.right.subject), (subject) => list.remove(subject, key)),
      () => Exit.void
    )
}

/** How many listed sessions are read at a time. */
const readTogether = 64

/** How many listed sessions are held in memory at a time, with what is in them. */
const heldTogether = 1000

/**
 * The order of a list. Of sessions that were used at the same time all readers see the same one first, so that two that
 * each keep the newest never end both.
 */
const newestFirst = (a: Key, aTouchedAt: number, b: Key, bTouchedAt: number): number =>
  bTouchedAt - aTouchedAt || (a.id < b.id ? 1 : -1)

/** @internal */
export const make = (backend: Unlisted, list: SubjectList): Listed => {
  const listing = <A>(key: Key, entry: LiveEntry, now: number, write: () => Effect.Effect<A, unknown>) =>
    entry.subject === undefined || entry.listUntil === undefined
      ? write()
      : andThen(list.add(entry.subject, key, entry.listUntil, now), write)

  const unlist = unlisting(list)

  const end = (key: Key, tombstone: Tombstone, now: number): Effect.Effect<Removed, unknown> =>
    andThen(
      backend.end(key, tombstone, now),
      (removed) =>
        andThen(
          removed._tag === "Removed" ? unlist(key, removed.entry) : Exit.void,
          () => Exit.succeed(removed)
        )
    )

  const ended = (removed: Removed, now: number): Ended =>
    removed._tag === "Renewed"
      ? removed
      : { _tag: removed._tag === "Removed" && isLive(removed.entry, now) ? "Ended" : "Absent" }

  /** What is under a listed key. What has ended, or is missing, is said to the list. */
  const entryOf = (subject: string, key: Key, now: number): Effect.Effect<Entry | undefined, unknown> =>
    andThen(backend.get(key, now), (found) => {
      const entry = Option.getOrUndefined(found)
      // a session that has expired is there still for other clocks
      const said = entry === undefined
        ? list.missing(subject, key, now)
        : entry._tag === "Tombstone"
        ? list.remove(subject, key)
        : Exit.void
      return andThen(said, () => Exit.succeed(entry))
    })

  /**
   * The live entries of listed keys, the latest touched first. A session that was renewed after the list was read is not
   * on it under its new id, so the tombstones of renewals are followed.
   */
  const liveOf = (
    subject: string,
    keys: Iterable<Key>,
    now: number,
    found: Map<SessionId, readonly [Key, Entry]> = new Map()
  ): Effect.Effect<ReadonlyArray<readonly [Key, LiveEntry]>, unknown> => {
    const successors: Array<Key> = []
    const read = (key: Key) =>
      andThen(entryOf(subject, key, now), (entry) => {
        if (entry !== undefined) {
          found.set(key.id, [key, entry])
          if (entry._tag === "Tombstone" && entry.successor !== undefined) {
            successors.push({ id: entry.successor, shard: key.shard })
          }
        }
        return Exit.void
      })
    return Effect.flatMap(Effect.forEach(keys, read, { concurrency: readTogether, discard: true }), () => {
      const unread = successors.filter(({ id }) => !found.has(id))
      return unread.length > 0
        ? liveOf(subject, unread, now, found)
        : Effect.succeed(
          [...found.values()]
            .flatMap(([key, entry]) => isLive(entry, now) ? [[key, entry] as const] : [])
            .sort(([a, { touchedAt }], [b, other]) => newestFirst(a, touchedAt, b, other.touchedAt))
        )
    })
  }

  /** When each live session of listed keys was touched. No more of them than a page are held at a time. */
  const timesOf = (subject: string, pages: Iterable<ReadonlyArray<Key>>, now: number) =>
    Effect.reduce(
      pages,
      new Map<SessionId, readonly [Key, touchedAt: number]>(),
      (times, page) =>
        Effect.map(liveOf(subject, page, now), (found) => {
          found.forEach(([key, { touchedAt }]) => times.set(key.id, [key, touchedAt]))
          return times
        })
    )

  /** The same as `liveOf`, of more keys than are held at a time: they are put in order first, and then read once more. */
  const inPages = (subject: string, keys: ReadonlyArray<Key>, now: number) => {
    const seen = new Set<SessionId>()
    return Stream.unwrap(
      Effect.map(timesOf(subject, Arr.chunksOf(keys, heldTogether), now), (times) => {
        const inOrder = [...times.values()].sort(([a, touchedAt], [b, other]) => newestFirst(a, touchedAt, b, other))
        return Stream.fromIterable(Arr.chunksOf(inOrder, heldTogether)).pipe(
          Stream.mapEffect((page) => liveOf(subject, page.map(([key]) => key), now)),
          // of a session that is renewed meanwhile, both keys may be listed
          Stream.mapConcat((found) => found.filter(([{ id }]) => !seen.has(id) && seen.add(id)))
        )
      })
    )
  }

  return {
    ...backend,
    listsApart: true,
    insert: (key, entry, now) => listing(key, entry, now, () => backend.insert(key, entry, now)),
    replace: (key, revision, entry, now) => listing(key, entry, now, () => backend.replace(key, revision, entry, now)),
    rename: (key, revision, next, entry, tombstone, now) =>
      andThen(
        listing(next, entry, now, () => backend.rename(key, revision, next, entry, tombstone, now)),
        (result) =>
          result._tag === "Replaced" && entry.subject !== undefined
            ? afterExit(list.renewed(entry.subject, key), () => Exit.succeed(result))
            : Exit.succeed(result)
      ),
    remove: (key, tombstone, now) =>
      andThen(
        end(key, tombstone, now),
        (removed) => Exit.succeed(removed._tag === "Renewed" ? removed.successor : undefined)
      ),
    subjects: {
      list: (subject, now) =>
        Stream.unwrap(
          Effect.map(
            Stream.runCollect(list.keys(subject)),
            (keys) =>
              keys.length > heldTogether
                ? inPages(subject, Chunk.toReadonlyArray(keys), now)
                // `Stream.mapEffect` takes several times as long
                : Stream.unwrap(Effect.map(liveOf(subject, keys, now), Stream.fromIterable))
          )
        ).pipe(Stream.map(([{ id }, entry]) => [id, entry] as const)),
      end: (id, tombstone, now) =>
        andThen(list.locate(id), (key): Effect.Effect<Ended, unknown> =>
          Option.isNone(key)
            ? Exit.succeed({ _tag: "Absent" })
            : andThen(end(key.value, tombstone, now), (removed) => Exit.succeed(ended(removed, now))))
    }
  }
}
