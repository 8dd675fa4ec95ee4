/**
 * A folder as a backend of sessions: what each operation reads, decides and writes. `swap.ts` replaces one file by
 * another, and `format.ts` knows what a file looks like. The module knows nothing of tokens or HTTP.
 */
import * as PlatformError from "@effect/platform/Error"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as SessionRecord from "../../SessionRecord.js"
import * as Backend from "../../StoreBackend.js"
import { repeatedToken } from "../options.js"
import { carriedOn } from "../runtime/background.js"
import type { Running } from "../runtime/caller.js"
import { afterExit, andThen, catchAll } from "../runtime/exit.js"
import * as KeyedMutex from "../runtime/keyedMutex.js"
import { attempt } from "../runtime/pending.js"
import { Signals } from "../runtime/signals.js"
import * as Listed from "../store/listed.js"
import * as Format from "./format.js"
import * as Subjects from "./subjects.js"
import * as Swap from "./swap.js"
import * as Sweep from "./sweep.js"

const makeSetAside = (files: Swap.Files) => (id: string): Effect.Effect<void, PlatformError.PlatformError> =>
  Effect.gen(function*() {
    const aside = Format.setAside(id, files.nonce(yield* Clock.currentTimeMillis))
    yield* files.rename(id, aside)
    // Another process may have replaced the damaged file by a good one meanwhile.
    if (isSound(yield* files.read(aside))) {
      yield* files.link(aside, id)
      yield* files.remove(aside)
    } else {
      yield* Effect.annotateLogs(
        Effect.logWarning(
          "FileStore: A session's file can't be read. It is renamed to *.corrupt and deleted after a day; " +
            "its session has ended."
        ),
        "session.id",
        id
      )
    }
  }).pipe(Effect.catchIf(Swap.isNotFound, () => Effect.void))

/** @internal */
export const make = (files: Swap.Files): Listed.Listed => {
  const mutex = KeyedMutex.make()
  const signals = new Signals<string>()
  const subjects = Subjects.make(files)
  const unlist = Listed.unlisting(subjects)
  const setAside = makeSetAside(files)
  const { note, sweep, untilDue } = Sweep.make(
    files,
    setAside,
    (id, entry) => unlist(Subjects.keyOf(id), entry)
  )

  /**
   * Runs an operation while no other one in this process uses its ids, so that locks are contended only by other
   * processes. The argument of `f` says whether the operation had to wait. A caller that is interrupted returns at
   * once, and the operation is completed in the background.
   */
  const alone = <A, E>(
    ids: ReadonlyArray<string>,
    f: (waited: boolean) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> => {
    const caller = Option.getOrUndefined(Fiber.getCurrentFiber())
    return caller === undefined
      ? Effect.withFiberRuntime((caller) => aloneFor(caller, ids, f))
      : aloneFor(caller, ids, f)
  }

  const aloneFor = <A, E>(
    caller: Running,
    ids: ReadonlyArray<string>,
    f: (waited: boolean) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> => {
    const inTurn = Effect.suspend(() => mutex.run(ids, (waited) => Effect.uninterruptible(f(waited))))
    return files.answersByPromise
      ? carriedOn(caller, () => {
        if (ids.some(mutex.isHeld)) {
          return inTurn
        }
        const releases = [...new Set(ids)].map(mutex.take)
        return afterExit(attempt(() => f(false)), (exit) => {
          releases.forEach((release) => release())
          return exit
        })
      })
      : Effect.disconnect(inTurn)
  }

  const sound = (id: string, found: Format.Found) =>
    found?._tag === "Corrupt" ? Effect.as(setAside(id), undefined) : Sweep.resolve(files, id, found)

  /** Runs a write `alone`, and then tells those who watch its ids, whatever became of it. */
  const writing = <A, E>(
    ids: ReadonlyArray<string>,
    f: (waited: boolean) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    alone(ids, (waited) =>
      afterExit(f(waited), (exit) => {
        ids.forEach((id) => signals.notify(id))
        return exit
      }))

  /** Decides by the content that counts. */
  const deciding =
    <A>(id: string, decide: (current: Format.Content | undefined, found: Format.Found) => Swap.Decision<A>) =>
    (found: Format.Found) => andThen(sound(id, found), (current) => Exit.succeed(decide(current, found)))

  const insert: Backend.Backend["insert"] = ({ id }, entry, now) => {
    const nonce = files.nonce(now)
    const temporary = Format.temporary(id, nonce)
    const drop = () => files.remove(temporary)
    const content = (nonce: string) => Format.encodeLive(entry, nonce, 0)
    const replace = () =>
      files.swap(
        id,
        now,
        undefined,
        deciding(id, (current, found): Swap.Decision<boolean> =>
          Backend.isTaken(current, now) || isPending(found)
            ? Swap.answer(false)
            : { _tag: "Write", base: Format.baseOf(found), content, value: true })
      )
    return andThen(
      files.write(temporary, content(nonce)),
      () =>
        andThen(Swap.orUndo(files.link(temporary, id), drop), (linked) =>
          linked
            ? andThen(
              Swap.orUndo(files.syncFolder(), () => files.discard(temporary)),
              () => andThen(files.discard(temporary), () => Exit.succeed(true))
            )
            : andThen(drop(), replace))
    )
  }

  const replaceWith = (
    id: string,
    revision: number,
    now: number,
    waited: boolean,
    content: (nonce: string) => Uint8Array,
    prepare?: () => Effect.Effect<void, PlatformError.PlatformError>
  ) => {
    const write = (base: string): Swap.Decision<Backend.Replaced> => ({
      _tag: "Write",
      base,
      content,
      prepare,
      value: Backend.replaced
    })
    // Mostly nobody wrote or touched the session meanwhile, and the guess saves a read. After a wait, somebody did.
    return files.swap(
      id,
      now,
      waited ? undefined : write(Format.base(revision, 0)),
      deciding(id, (current, found) =>
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
      const nonce = files.nonce(now)
      const pending = Format.temporary(next.id, nonce)
      const clear = () => files.remove(pending)
      yield* files.write(pending, Format.encodeLive(entry, nonce, 0, key.id))
      let placed = false
      // This can run twice: if the process stood still for long, the sweep may have deleted the file of the first try.
      const place = () =>
        andThen(files.link(pending, next.id), (linked) => {
          placed ||= linked
          return placed ? files.syncFolder() : Exit.fail(repeated)
        })
      // After the commit nothing may be rolled back, because the old file already names the new one.
      const rollBack = () =>
        Effect.ignore(
          Effect.flatMap(
            files.read(key.id),
            (found) => found?._tag === "Tombstone" && found.successor === next.id ? Effect.void : files.remove(next.id)
          )
        )
      const withdraw = Effect.suspend(() => placed ? Effect.flatMap(rollBack(), clear) : clear())
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
      // This is a compare-and-set, because a removal under the old token may have ended the new session by now.
      yield* Effect.ignoreLogged(Sweep.finish(files, next.id, now))
      yield* clear()
      return result
    })

  const extend: Backend.Backend["extend"] = ({ id }, revision, deadline, now) =>
    files.swap(
      id,
      now,
      undefined,
      deciding(id, (current, found): Swap.Decision<boolean> => {
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
      })
    )

  const end: Listed.Unlisted["end"] = ({ id }, tombstone, now) =>
    files.swap(
      id,
      now,
      undefined,
      deciding(id, (current, found): Swap.Decision<Listed.Removed> => {
        if (current?._tag === "Entry") {
          return {
            _tag: "Write",
            base: Format.baseOf(found),
            content: (nonce) => Format.encodeTombstone(tombstone, nonce),
            value: { _tag: "Removed", entry: current }
          }
        }
        const successor = Backend.isTaken(current, now) ? current?.successor : undefined
        return Swap.answer(successor === undefined ? { _tag: "Absent" } : { _tag: "Renewed", successor })
      })
    )

  const unlisted: Listed.Unlisted = {
    get: ({ id }) =>
      andThen(
        files.read(id),
        (found) => andThen(sound(id, found), (current) => Exit.succeed(Option.fromNullable(current)))
      ),
    insert: (key, entry, now) => {
      note(key.id, entry.deadline)
      return writing([key.id], () => insert(key, entry, now))
    },
    replace: ({ id }, revision, entry, now) => {
      note(id, entry.deadline)
      return writing(
        [id],
        (waited) => replaceWith(id, revision, now, waited, (nonce) => Format.encodeLive(entry, nonce, 0))
      )
    },
    rename: (key, revision, next, entry, tombstone, now) => {
      note(key.id, tombstone.until)
      note(next.id, entry.deadline)
      return writing([key.id, next.id], (waited) => rename(key, revision, next, entry, tombstone, now, waited))
    },
    extend: (key, revision, deadline, now) => alone([key.id], () => extend(key, revision, deadline, now)),
    end: (key, tombstone, now) => {
      note(key.id, tombstone.until)
      return writing([key.id], () => end(key, tombstone, now))
    },
    setAside: ({ id }) => alone([id], () => setAside(id)),
    sweep,
    untilDue,
    changes: { complete: false, of: ({ id }) => signals.stream(id) }
  }
  const listed = Listed.make(unlisted, subjects)
  return {
    ...listed,
    // Only a session that begins makes a missing folder: for any other, its own session is in the one that is missing.
    insert: (key, entry, now) => {
      const begin = () => listed.insert(key, entry, now)
      return catchAll(begin(), (error) => isMissing(error) ? andThen(files.makeAgain, begin) : Exit.fail(error))
    }
  }
}

const isMissing = (error: unknown): boolean => PlatformError.isPlatformError(error) && Swap.isNotFound(error)

/** Fails a renewal whose new token is in use, so that no session ends for it (S05). */
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
