/**
 * A folder as a backend of sessions: what each operation reads, decides and writes. How one file takes the place of
 * another is `swap`'s affair, what a file looks like `format`'s.
 */
import * as PlatformError from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SessionRecord from "../../SessionRecord.js"
import type * as SessionToken from "../../SessionToken.js"
import * as Backend from "../../StoreBackend.js"
import { repeatedToken } from "../options.js"
import * as KeyedMutex from "../runtime/keyedMutex.js"
import * as Format from "./format.js"
import * as Swap from "./swap.js"
import * as Sweep from "./sweep.js"

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

/** @internal */
export const make = (files: Swap.Files): Backend.Backend => {
  const mutex = KeyedMutex.make()
  const setAside = makeSetAside(files)
  const { note, sweep, untilDue } = Sweep.make(files, setAside)

  /**
   * Operations on one id wait for each other in this process, so that only other processes are ever met at a lock. Each
   * is told whether it waited. A caller that is interrupted is let go at once, and what it began is finished behind it.
   */
  const alone = <A, E>(ids: ReadonlyArray<string>, f: (waited: boolean) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.disconnect(mutex.run(ids, (waited) => Effect.uninterruptible(f(waited))))

  const sound = (id: string, found: Format.Found) =>
    found?._tag === "Corrupt" ? Effect.as(setAside(id), undefined) : Sweep.resolve(files, id, found)

  const read = (id: string) => Effect.flatMap(files.read(id), (found) => sound(id, found))

  const insert: Backend.Backend["insert"] = ({ id }, entry, now) =>
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
          Backend.isTaken(current, now) || isPending(found)
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
    const write = (base: string): Swap.Decision<Backend.Replaced> => ({
      _tag: "Write",
      base,
      content,
      prepare,
      value: Backend.replaced
    })
    // Mostly nobody wrote or touched meanwhile, and the guess saves a read; who had to wait knows that somebody did.
    return files.swap(
      id,
      waited ? undefined : write(Format.base(revision, 0)),
      (found) =>
        Effect.map(sound(id, found), (current) =>
          !Backend.isLive(current, now)
            ? Swap.answer<Backend.Replaced>(Backend.absent)
            : current.revision !== revision
            ? Swap.answer(Backend.changed(current))
            : write(Format.baseOf(found)))
    )
  }

  const rename = (
    key: Backend.Key,
    revision: number,
    next: Backend.Key,
    entry: Backend.LiveEntry,
    tombstone: Backend.Tombstone,
    now: number,
    waited: boolean
  ) =>
    Effect.gen(function*() {
      const nonce = yield* files.nonce
      const pending = Format.temporary(next.id, nonce)
      const clear = files.remove(pending)
      yield* files.write(pending, Format.encodeLive(entry, nonce, 0, key.id))
      let placed = false
      // Tried again where a first try was denied: after a long stop the sweep may have deleted what that one placed.
      const place = files.link(pending, next.id).pipe(
        Effect.flatMap((linked) => linked || placed ? Effect.sync(() => placed = true) : Effect.fail(repeated)),
        Effect.zipRight(files.settle)
      )
      // A failure after the commit takes nothing back: the old file names the new one by then.
      const isCommitted = Effect.map(
        files.read(key.id),
        (found) => found?._tag === "Tombstone" && found.successor === next.id
      )
      const takeBack = Effect.ignore(Effect.unlessEffect(files.remove(next.id), isCommitted))
      const withdraw = Effect.suspend(() => Effect.zipRight(placed ? takeBack : Effect.void, clear))
      const result = yield* Effect.onError(
        replaceWith(
          key.id,
          revision,
          now,
          waited,
          (nonce) => Format.encodeTombstone(tombstone, nonce),
          place
        ),
        () => withdraw
      )
      if (result._tag !== "Replaced") {
        yield* withdraw
        return result
      }
      // By compare-and-set: a removal under the old token may have ended the new session by now.
      yield* Effect.ignoreLogged(Sweep.finish(files, next.id))
      yield* clear
      return result
    })

  const extend: Backend.Backend["extend"] = ({ id }, revision, deadline, now) =>
    files.swap(id, undefined, (found) =>
      Effect.map(sound(id, found), (current): Swap.Decision<boolean> => {
        if (!Backend.isLive(current, now)) {
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

  const remove: Backend.Backend["remove"] = ({ id }, tombstone, now) =>
    files.swap(
      id,
      undefined,
      (found) =>
        Effect.map(sound(id, found), (current): Swap.Decision<SessionToken.SessionId | undefined> =>
          current?._tag === "Entry"
            ? {
              _tag: "Write",
              base: Format.baseOf(found),
              content: (nonce) =>
                Format.encodeTombstone(tombstone, nonce),
              value: undefined
            }
            : Swap.answer(Backend.isTaken(current, now) ? current?.successor : undefined))
    )

  return {
    get: ({ id }) => Effect.map(read(id), Option.fromNullable),
    insert: (key, entry, now) => {
      note(entry.deadline)
      return alone([key.id], () => insert(key, entry, now))
    },
    replace: ({ id }, revision, entry, now) => {
      note(entry.deadline)
      return alone(
        [id],
        (waited) => replaceWith(id, revision, now, waited, (nonce) => Format.encodeLive(entry, nonce, 0), Effect.void)
      )
    },
    rename: (key, revision, next, entry, tombstone, now) => {
      note(Math.min(entry.deadline, tombstone.until))
      return alone([key.id, next.id], (waited) => rename(key, revision, next, entry, tombstone, now, waited))
    },
    extend: (key, revision, deadline, now) => alone([key.id], () => extend(key, revision, deadline, now)),
    remove: (key, tombstone, now) => {
      note(tombstone.until)
      return alone([key.id], () => remove(key, tombstone, now))
    },
    setAside: ({ id }) => alone([id], () => setAside(id)),
    sweep,
    untilDue
  }
}

/** A renewal to a token that is taken: no session may end for it (S05). */
const repeated = new PlatformError.SystemError({
  module: "FileSystem",
  method: "link",
  reason: "AlreadyExists",
  description: repeatedToken
})

const isSound = (found: Format.Found): boolean => {
  if (found?._tag !== "Entry") {
    return found?._tag === "Tombstone"
  }
  const decoded = SessionRecord.decode(found.body, found)
  return decoded._tag === "Right" || decoded.left.reason === "NewerVersion"
}

const isPending = (found: Format.Found): boolean => found?._tag === "Entry" && found.from !== undefined
