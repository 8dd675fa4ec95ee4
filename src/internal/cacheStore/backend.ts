/**
 * A cache as a backend of sessions: one text for each key, with compare-and-set by a mutex for each key in this
 * process. The module knows nothing of tokens or HTTP.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Backend from "../../StoreBackend.js"
import { repeatedToken } from "../options.js"
import { Alarm, DeadlineIndex } from "../runtime/deadlineIndex.js"
import * as KeyedMutex from "../runtime/keyedMutex.js"
import * as sweeping from "../store/sweeping.js"
import type { Cache } from "./clients.js"
import * as Entry from "./entryText.js"

/** @internal */
export interface Options {
  readonly prefix: string
  /** Whether this module has to delete what has expired. Such a cache may also not support reads during a write. */
  readonly expiring?: boolean
}

/** The longest time to live, in milliseconds: a hundred years. Longer ones overflow in some caches. */
const longest = 3_155_760_000_000

/** How long an undecodable session is kept for inspection, if the cache has a time to live. */
const asideFor = Duration.days(7)

/** @internal */
export const make = (cache: Cache, options: Options): Backend.Backend => {
  const mutex = KeyedMutex.make()
  /** The names that a renewal is writing. Whoever has read one waits and reads again: two are never live. */
  const arriving = new Set<string>()
  const expiring = options.expiring === true ? agenda() : undefined
  const at = (key: Backend.Key): string => options.prefix + key.id

  const read = (name: string): Effect.Effect<Backend.Entry | undefined, unknown> =>
    Effect.map(cache.get(name), (text) => text._tag === "Some" ? Entry.fromText(text.value) : undefined)

  const write = (name: string, entry: Backend.Entry, now: number): Effect.Effect<unknown, unknown> => {
    const until = endOf(entry)
    expiring?.note(name, until)
    // the cache keeps it a minute longer, because its clock can differ from ours
    const left = Math.ceil(Math.max(until - now, 0)) + sweeping.grace
    return cache.set(name, Entry.toText(entry), Duration.millis(Math.min(left, longest)))
  }

  /** Runs `f` on the live entry of that revision, if there is one. */
  const compare = (
    name: string,
    revision: number,
    now: number,
    f: (entry: Backend.LiveEntry) => Effect.Effect<unknown, unknown>
  ): Effect.Effect<Backend.Replaced, unknown> =>
    Effect.flatMap(read(name), (entry) => {
      if (!Backend.isLive(entry, now)) {
        return Effect.succeed(Backend.absent)
      }
      return entry.revision === revision
        ? Effect.as(f(entry), Backend.replaced)
        : Effect.succeed(Backend.changed(entry))
    })

  /** Deletes the entry under a name if it ended long enough ago. Otherwise it notes when to look again. */
  const discard = (name: string, now: number): Effect.Effect<void, unknown> =>
    mutex.run([name], () =>
      Effect.flatMap(read(name), (entry) => {
        if (entry === undefined) {
          return Effect.void
        }
        const until = endOf(entry)
        if (now >= until + sweeping.grace) {
          return cache.remove(name)
        }
        expiring?.note(name, until)
        return Effect.void
      }))

  /** Runs an operation on a key while no other one uses that key. */
  const alone = <A>(
    key: Backend.Key,
    f: (name: string) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, unknown> => {
    const name = at(key)
    return mutex.run([name], () => f(name))
  }

  const get = (name: string) => Effect.map(read(name), Option.fromNullable)

  return {
    get: (key, now) =>
      expiring === undefined
        ? Effect.flatMap(get(at(key)), (found) => arriving.has(at(key)) ? alone(key, get) : Effect.succeed(found))
        : Effect.tap(
          alone(key, get),
          (found) => found._tag === "Some" && !Backend.isTaken(found.value, now) ? discard(at(key), now) : Effect.void
        ),
    insert: (key, entry, now) =>
      alone(key, (name) =>
        Effect.flatMap(
          read(name),
          (found) => Backend.isTaken(found, now) ? Effect.succeed(false) : Effect.as(write(name, entry, now), true)
        )),
    replace: (key, revision, entry, now) =>
      alone(key, (name) => compare(name, revision, now, () => write(name, entry, now))),
    rename: (key, revision, next, entry, tombstone, now) => {
      const name = at(key)
      const nextName = at(next)
      return mutex.run(
        [name, nextName],
        () =>
          compare(name, revision, now, () =>
            Effect.flatMap(read(nextName), (found) => {
              if (Backend.isTaken(found, now)) {
                return Effect.fail(new Error(repeatedToken))
              }
              arriving.add(nextName)
              // The new session is written first: nobody has its token yet, so no session is lost if the second write
              // fails. An interruption waits for both, because taking back a half that was carried out would lose it.
              return KeyedMutex.untilDone(Effect.zipRight(
                write(nextName, entry, now),
                Effect.onError(
                  write(name, tombstone, now),
                  () => Effect.asVoid(Effect.forkDaemon(Effect.ignore(cache.remove(nextName))))
                )
              )).pipe(Effect.ensuring(Effect.sync(() => arriving.delete(nextName))))
            }))
      )
    },
    extend: (key, revision, deadline, now) =>
      alone(key, (name) =>
        Effect.flatMap(read(name), (entry) => {
          if (!Backend.isLive(entry, now)) {
            return Effect.succeed(false)
          }
          return entry.revision === revision && deadline > entry.deadline
            ? Effect.as(write(name, { ...entry, deadline, touchedAt: now }, now), true)
            : Effect.succeed(true)
        })),
    remove: (key, tombstone, now) =>
      alone(key, (name) =>
        Effect.flatMap(read(name), (entry) =>
          entry?._tag === "Entry"
            ? Effect.as(write(name, tombstone, now), undefined)
            : Effect.succeed(Backend.isTaken(entry, now) ? entry?.successor : undefined))),
    setAside: (key) =>
      alone(
        key,
        (name) =>
          Effect.flatMap(cache.get(name), (text) =>
            text._tag === "None" ? Effect.void : Effect.zipRight(
              cache.set(`${options.prefix}aside:${key.id}`, text.value, asideFor),
              cache.remove(name)
            ))
      ),
    ...(expiring === undefined ? {} : {
      untilDue: expiring.untilDue,
      sweep: (limit: number, now: number) =>
        Effect.suspend(() => {
          const due = expiring.due(limit, now)
          return Effect.forEach(due, (name) => discard(name, now), { discard: true }).pipe(
            Effect.onError(() => Effect.sync(() => due.forEach((name) => expiring.note(name, now)))),
            Effect.as(due.length)
          )
        })
    })
  }
}

const endOf = (entry: Backend.Entry): number => entry._tag === "Entry" ? entry.deadline : entry.until

interface Agenda {
  readonly note: (name: string, until: number) => void
  readonly due: (limit: number, now: number) => ReadonlyArray<string>
  readonly untilDue: Effect.Effect<void>
}

/**
 * The names to look at again, and when. Each name is noted once: when its first deadline has passed, it is looked at,
 * and noted again if the deadline moved meanwhile.
 */
const agenda = (): Agenda => {
  const index = new DeadlineIndex<string>()
  const noted = new Set<string>()
  const alarm = new Alarm(() => index.next + sweeping.grace, Duration.toMillis(sweeping.interval))
  return {
    note: (name, until) => {
      if (noted.has(name) || !Number.isFinite(until)) {
        return
      }
      noted.add(name)
      if (index.add(name, until)) {
        alarm.ring()
      }
    },
    due: (limit, now) => {
      const found: Array<string> = []
      index.take(limit, now - sweeping.grace, (name) => {
        noted.delete(name)
        found.push(name)
      })
      return found
    },
    untilDue: alarm.untilDue
  }
}
