/**
 * The sweep of a folder: deletes files of ended sessions, and what killed processes left there and in the lists by
 * subject. It works in small steps, each of which goes on where the last one stopped. Between two steps it rests, so that
 * a large folder of live sessions costs less than 2 % of a core however long the pass takes. The module knows nothing of
 * tokens or HTTP.
 */
import type * as PlatformError from "@effect/platform/Error"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { LiveEntry } from "../../StoreBackend.js"
import { Alarm } from "../runtime/deadlineIndex.js"
import { andThen } from "../runtime/exit.js"
import { grace, interval } from "../store/sweeping.js"
import { Deadlines } from "./deadlines.js"
import * as Format from "./format.js"
import * as Subjects from "./subjects.js"
import * as Swap from "./swap.js"

/** How long a damaged file is kept for inspection, in milliseconds. */
const inspection = 86_400_000

/** How many deadlines are remembered at most. The next pass need not read those files. */
const capacity = 200_000

/** How many abandoned files are remembered at most from one pass to the next. */
const mostSuspects = 10_000

/** How many times as long as a step took the sweep rests after it, if all files of the step were kept. */
const restFactor = 100

/** The longest rest between two steps, in milliseconds. A slow disk costs time but no processor time. */
const longestRest = 10_000

/** The longest wait between two passes, in milliseconds, because other processes write files too. */
const longestSleep = 3_600_000

/**
 * Resolves a pending session: it is live if the old id's tombstone names it. Otherwise it does not exist, or it is not
 * pending any more: a sweep may have removed the mark, and then the tombstone, after the session was read.
 *
 * @internal
 */
export const resolve = (
  files: Swap.Files,
  id: string,
  found: Format.Content | undefined
): Effect.Effect<Format.Content | undefined, PlatformError.PlatformError> =>
  found?._tag === "Entry" && found.from !== undefined
    ? andThen(
      files.read(found.from),
      (old) =>
        old?._tag === "Tombstone" && old.successor === id
          ? Exit.succeed(found)
          : andThen(files.read(id), (again) => Exit.succeed(isSettled(again) ? again : undefined))
    )
    : Exit.succeed(found)

const isSettled = (found: Format.Found): found is Format.Content =>
  found?._tag === "Tombstone" || (found?._tag === "Entry" && found.from === undefined)

/** Removes the pending mark of a session whose renewal was committed. @internal */
export const finish = (files: Swap.Files, id: string, now: number) =>
  files.swap(id, now, undefined, (found) => {
    const whole = found?._tag === "Corrupt" ? undefined : found
    return andThen(resolve(files, id, whole), (current) =>
      Exit.succeed<Swap.Decision<void>>(
        current?._tag === "Entry" && current.from !== undefined
          ? {
            _tag: "Write",
            base: Format.baseOf(current),
            content: (nonce) => Format.encodeLive(current, nonce, current.touches + 1),
            value: undefined
          }
          : Swap.answer(undefined)
      ))
  })

/** The names in the order of the visits, which begin with the last. */
const listsLast = (names: Array<string>): Array<string> => {
  const index = names.indexOf(Format.lists)
  if (index > 0) {
    names.splice(index, 1)
    names.unshift(Format.lists)
  }
  return names
}

/** @internal */
export interface Sweep {
  /**
   * Visits at most `limit` files and says how many it visited. Fewer than `limit` means that the pass has ended and
   * that the next call begins another one.
   */
  readonly sweep: (limit: number, now: number) => Effect.Effect<number, PlatformError.PlatformError>
  /** Waits until the earliest file that is known of is due, but at most an hour. */
  readonly untilDue: Effect.Effect<void>
  /** Notes that the file of an id is about to be written, and when its session ends. */
  readonly note: (id: string, until: number) => void
}

/** @internal */
export const make = (
  files: Swap.Files,
  setAside: (id: string) => Effect.Effect<void, PlatformError.PlatformError>,
  /** Takes a session that has expired off its list. */
  unlist: (id: string, entry: LiveEntry) => Effect.Effect<void>
): Sweep => {
  /** The names that the current pass has not visited yet. */
  let names: Array<string> | undefined
  /** What the last pass found, and what the current one finds. */
  let deadlines = new Deadlines(capacity)
  let seen = new Deadlines(capacity)
  let suspects = new Set<string>()
  let suspected = new Set<string>()
  /** How many names the current step has deleted. */
  let deletions = 0
  /** How long to rest before the next step of the current pass, in milliseconds. */
  let rest = 0
  /** The earliest end that is known of. Before the first pass it is minus infinity, so that no file is missed. */
  let earliest = Number.NEGATIVE_INFINITY
  /** The earliest end that the current pass has found. */
  let following = Number.POSITIVE_INFINITY
  let finishedAt = 0

  const alarm = new Alarm(
    () => Math.min(earliest + grace, finishedAt + longestSleep),
    Duration.toMillis(interval)
  )

  const note = (id: string, until: number): void => {
    deadlines.advance(id, until)
    seen.advance(id, until)
    following = Math.min(following, until)
    if (until < earliest) {
      earliest = until
      alarm.ring()
    }
  }

  const remember = (id: string, deadline: number): void => {
    following = Math.min(following, deadline)
    seen.set(id, deadline)
  }

  const kept: Effect.Effect<void> = Effect.void

  const deleted = (name: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      deletions += 1
      return files.remove(name)
    })

  /**
   * Deletes what a process left that was killed. By the clock it is old enough, but the clock may have been set forward,
   * or be another than its writer's. So it has to be there still in the next pass, which is a minute later or more.
   */
  const abandoned = (name: string): Effect.Effect<void> => {
    if (suspects.has(name)) {
      return deleted(name)
    }
    if (suspected.size < mostSuspects) {
      suspected.add(name)
      following = Number.NEGATIVE_INFINITY
    }
    return kept
  }

  const session = (id: string, now: number): Effect.Effect<void, PlatformError.PlatformError> =>
    Effect.flatMap(files.read(id), (found) => {
      if (found === undefined) {
        return kept
      }
      if (found._tag === "Corrupt") {
        return setAside(id)
      }
      if (found._tag === "Tombstone") {
        return now < found.until + grace
          ? Effect.sync(() => remember(id, found.until))
          : Effect.zipRight(
            found.successor === undefined ? Effect.void : finish(files, found.successor, now),
            deleted(id)
          )
      }
      // Ids are random, so nobody puts a new session in the place of an expired one before the deletion.
      if (now >= found.deadline + grace) {
        return Effect.zipRight(unlist(id, found), deleted(id))
      }
      if (found.from === undefined) {
        return Effect.sync(() => remember(id, found.deadline))
      }
      return Effect.flatMap(
        resolve(files, id, found),
        (current) => current !== undefined || now - Format.madeAt(found.nonce) < Subjects.stale ? kept : abandoned(id)
      )
    })

  /**
   * Ends the base `none` of an id without a file, as an ordinary write does: it takes the dead process's lock over and
   * puts a tombstone in the file's place. The answer is false if there is a file by now.
   */
  const endNone = (id: string, until: number, now: number) =>
    files.swap(id, now, undefined, (found) =>
      Effect.succeed<Swap.Decision<boolean>>(
        found === undefined
          ? {
            _tag: "Write",
            base: Format.baseOf(found),
            content: (nonce) => Format.encodeTombstone({ _tag: "Tombstone", until }, nonce),
            isExclusive: true,
            value: true
          }
          : Swap.answer(false)
      )).pipe(Effect.tap((ended) => ended ? Effect.sync(() => remember(id, until)) : Effect.void))

  /** A lock stays while its base is current, because another process may depend on it. */
  const lock = (name: string, id: string, base: string, now: number) =>
    Effect.flatMap(files.read(name), (found) => {
      if (found === undefined || (found._tag !== "Corrupt" && now - Format.madeAt(found.nonce) < Subjects.stale)) {
        return kept
      }
      return Effect.flatMap(files.read(id), (current) => {
        const isCurrent = Format.baseOf(current) === base
        if (isCurrent && current !== undefined) {
          return kept
        }
        return isCurrent && suspects.has(name)
          // the tombstone counts no longer, so that the token can be taken
          ? Effect.zipRight(endNone(id, now, now), abandoned(name))
          : abandoned(name)
      })
    })

  /**
   * Deletes the file that lists a session which is not there. Its writer may only have been slow, and may write the
   * session at any moment. So the id is ended first: of the tombstone and the session only one can be put there. A
   * writer that finds the tombstone draws another token.
   */
  const unlistMissing = (name: string, id: string, now: number) =>
    suspects.has(name)
      ? Effect.flatMap(endNone(id, now + Subjects.stale, now), (ended) => ended ? deleted(name) : kept)
      : abandoned(name)

  /** A list is visited after all sessions' files. So those of live sessions are mostly known, and need not be read. */
  const listed = (name: string, id: string, now: number) =>
    seen.has(id)
      ? kept
      : Effect.flatMap(files.read(id), (found) =>
        found !== undefined
          ? kept
          : Effect.flatMap(
            Subjects.isStale(files, name, now),
            (isStale) => isStale ? unlistMissing(name, id, now) : kept
          ))

  /** The names in a folder of lists are next. */
  const open = (folder: string) =>
    Effect.map(files.listIn(folder), (found) => {
      for (const name of found) {
        names?.push(`${folder}/${name}`)
      }
    })

  const visit = (name: string, now: number): Effect.Effect<void, PlatformError.PlatformError> => {
    const named = Format.parseName(name)
    switch (named?._tag) {
      case undefined:
        return kept
      case "Session": {
        const deadline = deadlines.take(named.id)
        return deadline !== undefined && now < deadline + grace
          ? Effect.sync(() => remember(named.id, deadline))
          : session(named.id, now)
      }
      case "Temporary":
        return now - Format.madeAt(named.nonce) < Subjects.stale ? kept : abandoned(name)
      case "SetAside":
        return now - Format.madeAt(named.nonce) < inspection ? kept : files.removeTree(name)
      case "Lock":
        return lock(name, named.id, named.base, now)
      case "Trash":
        return deleted(name)
      case "ListFolder":
        return open(name)
      case "Listed":
        return listed(name, named.id, now)
    }
  }

  const sweep: Sweep["sweep"] = (limit, now) =>
    Effect.gen(function*() {
      if (rest > 0) {
        yield* Effect.sleep(rest)
        rest = 0
      }
      const began = yield* Clock.currentTimeNanos
      if (names === undefined) {
        following = Number.POSITIVE_INFINITY
        names = listsLast(yield* files.list)
        deadlines = seen
        seen = new Deadlines(capacity)
        suspects = suspected
        suspected = new Set()
      }
      deletions = 0
      let count = 0
      for (; count < limit; count++) {
        const name = names.pop()
        if (name === undefined) {
          break
        }
        yield* visit(name, now)
      }
      if (count < limit) {
        names = undefined
        earliest = following
        finishedAt = now
        return count
      }
      const took = Number((yield* Clock.currentTimeNanos) - began) / 1_000_000
      rest = Math.min(took * restFactor * (1 - deletions / count), longestRest)
      return count
    })

  return { note, sweep, untilDue: alarm.untilDue }
}
