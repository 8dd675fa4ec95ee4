/**
 * The sweep of a folder: deletes files of ended sessions, and what killed processes left. It works in small steps, each
 * of which goes on where the last one stopped. The module knows nothing of tokens or HTTP.
 */
import type * as PlatformError from "@effect/platform/Error"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Alarm } from "../runtime/deadlineIndex.js"
import { grace, interval } from "../store/sweeping.js"
import * as Format from "./format.js"
import * as Swap from "./swap.js"

/** How old a temporary file or a lock must be to count as abandoned, in milliseconds. */
const stale = 600_000

/** How long a damaged file is kept for inspection, in milliseconds. */
const inspection = 86_400_000

/** How many deadlines are remembered at most. The next pass need not read those files. */
const capacity = 200_000

/** The longest wait between two passes, in milliseconds, because other processes write files too. */
const longestSleep = 3_600_000

/**
 * Resolves a pending session: it is live if the old id's tombstone names it, otherwise it does not exist.
 *
 * @internal
 */
export const resolve = (
  files: Swap.Files,
  id: string,
  found: Format.Content | undefined
): Effect.Effect<Format.Content | undefined, PlatformError.PlatformError> =>
  found?._tag === "Entry" && found.from !== undefined
    ? Effect.map(files.read(found.from), (old) => old?._tag === "Tombstone" && old.successor === id ? found : undefined)
    : Effect.succeed(found)

/** Removes the pending mark of a session whose renewal was committed. @internal */
export const finish = (files: Swap.Files, id: string) =>
  files.swap(id, undefined, (found) => {
    const whole = found?._tag === "Corrupt" ? undefined : found
    return Effect.map(resolve(files, id, whole), (current): Swap.Decision<void> =>
      current?._tag === "Entry" && current.from !== undefined
        ? {
          _tag: "Write",
          base: Format.baseOf(current),
          content: (nonce) =>
            Format.encodeLive(current, nonce, current.touches + 1),
          value: undefined
        }
        : Swap.answer(undefined))
  })

/** @internal */
export interface Sweep {
  /**
   * Visits at most `limit` files and says how many it visited. Fewer than `limit` means that the pass has ended and
   * that the next call begins another one.
   */
  readonly sweep: (limit: number, now: number) => Effect.Effect<number, PlatformError.PlatformError>
  /** Waits until the earliest file that is known of is due, but at most an hour. */
  readonly untilDue: Effect.Effect<void>
  /** Notes that a file is about to be written whose session ends at this time. */
  readonly note: (until: number) => void
}

/** @internal */
export const make = (
  files: Swap.Files,
  setAside: (id: string) => Effect.Effect<void, PlatformError.PlatformError>
): Sweep => {
  let names: ReadonlyArray<string> | undefined
  let position = 0
  let deadlines = new Map<string, number>()
  let seen = new Map<string, number>()
  /** The earliest end that is known of. Before the first pass it is minus infinity, so that no file is missed. */
  let earliest = Number.NEGATIVE_INFINITY
  /** The earliest end that the current pass has found. */
  let following = Number.POSITIVE_INFINITY
  let finishedAt = 0

  const alarm = new Alarm(
    () => Math.min(earliest + grace, finishedAt + longestSleep),
    Duration.toMillis(interval)
  )

  const note = (until: number): void => {
    following = Math.min(following, until)
    if (until < earliest) {
      earliest = until
      alarm.ring()
    }
  }

  const remember = (id: string, deadline: number): void => {
    following = Math.min(following, deadline)
    if (seen.size < capacity) {
      seen.set(id, deadline)
    }
  }

  const deleted = files.remove
  const kept = Effect.void

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
          : Effect.zipRight(found.successor === undefined ? Effect.void : finish(files, found.successor), deleted(id))
      }
      // Ids are random, so nobody puts a new session in the place of an expired one before the deletion.
      if (now >= found.deadline + grace) {
        return deleted(id)
      }
      if (found.from === undefined) {
        return Effect.sync(() => remember(id, found.deadline))
      }
      return Effect.flatMap(
        resolve(files, id, found),
        (current) => current !== undefined || now - Format.madeAt(found.nonce) < stale ? kept : deleted(id)
      )
    })

  const lock = (name: string, id: string, base: string, now: number) =>
    Effect.flatMap(files.read(name), (found) => {
      const age = found === undefined || found._tag === "Corrupt" ? stale : now - Format.madeAt(found.nonce)
      return age < stale
        ? kept
        : Effect.flatMap(files.read(id), (current) => Format.baseOf(current) === base ? kept : deleted(name))
    })

  const visit = (name: string, now: number): Effect.Effect<void, PlatformError.PlatformError> => {
    const named = Format.parseName(name)
    switch (named?._tag) {
      case undefined:
        return kept
      case "Session": {
        const deadline = deadlines.get(named.id)
        return deadline !== undefined && now < deadline + grace
          ? Effect.sync(() => remember(named.id, deadline))
          : session(named.id, now)
      }
      case "Temporary":
        return now - Format.madeAt(named.nonce) < stale ? kept : deleted(name)
      case "SetAside":
        return now - Format.madeAt(named.nonce) < inspection ? kept : files.removeTree(name)
      case "Lock":
        return lock(name, named.id, named.base, now)
      case "Trash":
        return deleted(name)
    }
  }

  const sweep: Sweep["sweep"] = (limit, now) =>
    Effect.gen(function*() {
      if (names === undefined) {
        following = Number.POSITIVE_INFINITY
        names = yield* files.list
        position = 0
        deadlines = seen
        seen = new Map()
      }
      const batch = names.slice(position, position + limit)
      for (const name of batch) {
        position++
        yield* visit(name, now)
      }
      if (batch.length < limit) {
        names = undefined
        earliest = following
        finishedAt = now
      }
      return batch.length
    })

  return { note, sweep, untilDue: alarm.untilDue }
}
