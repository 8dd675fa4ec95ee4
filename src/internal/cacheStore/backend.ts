/**
 * A cache as a backend of sessions: compare-and-set by a queue for each key in this process, one text a key.
 */
import type * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Cache, Keyv, Persistence, PromiseCache } from "../../CacheStore.js"
import * as Store from "../../Store.js"
import * as Entry from "../record/entryText.js"
import * as Queue from "../runtime/keyedMutex.js"

/** @internal */
export interface Options {
  readonly prefix: string
  /** Whether expiry is left to us: the cache has no time to live of its own, and reads must not meet a write. */
  readonly expiring?: boolean
}

/** How long past its end an entry stays in the cache, so that its clock can differ from ours. */
const margin = 60_000

/** The longest time to live asked of a cache: a hundred years. Longer ones overflow in some. */
const longest = 3_155_760_000_000

/** How long what can't be read is kept for inspection, where the cache can forget. */
const asideFor = Duration.days(7)

/** @internal */
export const make = (cache: Cache, options: Options): Store.Backend => {
  const queue = Queue.make()
  const expiring = options.expiring === true ? makeAgenda() : undefined
  const at = (key: Store.Key): string => options.prefix + key.id

  const read = (name: string): Effect.Effect<Store.Entry | undefined, unknown> =>
    Effect.map(cache.get(name), (text) => text._tag === "Some" ? Entry.fromText(text.value) : undefined)

  const write = (name: string, entry: Store.Entry, now: number): Effect.Effect<unknown, unknown> => {
    const until = entry._tag === "Entry" ? entry.deadline : entry.until
    expiring?.note(name, until)
    const left = Math.ceil(Math.max(until - now, 0)) + margin
    return cache.set(name, Entry.toText(entry), Duration.millis(Math.min(left, longest)))
  }

  /** Runs `f` when a live entry of that revision is there. */
  const compare = (
    name: string,
    revision: number,
    now: number,
    f: (entry: Store.LiveEntry) => Effect.Effect<unknown, unknown>
  ): Effect.Effect<Store.Replaced, unknown> =>
    Effect.flatMap(read(name), (entry) => {
      if (!Store.isLive(entry, now)) {
        return Effect.succeed(Store.absent)
      }
      return entry.revision === revision ? Effect.as(f(entry), Store.replaced) : Effect.succeed(Store.changed(entry))
    })

  const discard = (name: string, now: number): Effect.Effect<boolean, unknown> =>
    queue.run(
      [name],
      Effect.flatMap(read(name), (entry) => {
        if (entry === undefined) {
          return Effect.succeed(false)
        }
        if (Store.isTaken(entry, now)) {
          expiring?.note(name, entry._tag === "Entry" ? entry.deadline : entry.until)
          return Effect.succeed(false)
        }
        return Effect.as(cache.remove(name), true)
      })
    )

  return {
    get: (key, now) => {
      const name = at(key)
      if (expiring === undefined) {
        return Effect.map(read(name), Option.fromNullable)
      }
      return Effect.tap(
        queue.run([name], Effect.map(read(name), Option.fromNullable)),
        (found) => found._tag === "Some" && !Store.isTaken(found.value, now) ? discard(name, now) : Effect.void
      )
    },
    insert: (key, entry, now) => {
      const name = at(key)
      return queue.run(
        [name],
        Effect.flatMap(
          read(name),
          (found) => Store.isTaken(found, now) ? Effect.succeed(false) : Effect.as(write(name, entry, now), true)
        )
      )
    },
    replace: (key, revision, entry, now) => {
      const name = at(key)
      return queue.run([name], compare(name, revision, now, () => write(name, entry, now)))
    },
    rename: (key, revision, next, entry, tombstone, now) => {
      const name = at(key)
      const nextName = at(next)
      return queue.run(
        [name, nextName],
        compare(name, revision, now, () =>
          Effect.flatMap(read(nextName), (found) =>
            Store.isTaken(found, now)
              ? Effect.fail(new Error("the token to renew to is in use: the generator of tokens repeats itself"))
              // the new one first: nobody has its token yet, so a failure between the two costs nobody their session
              : Effect.zipRight(
                write(nextName, entry, now),
                Effect.onError(
                  write(name, tombstone, now),
                  () => Effect.asVoid(Effect.forkDaemon(Effect.ignore(cache.remove(nextName))))
                )
              )))
      )
    },
    extend: (key, revision, deadline, now) => {
      const name = at(key)
      return queue.run(
        [name],
        Effect.flatMap(read(name), (entry) => {
          if (!Store.isLive(entry, now)) {
            return Effect.succeed(false)
          }
          return entry.revision === revision && deadline > entry.deadline
            ? Effect.as(write(name, { ...entry, deadline, touchedAt: now }, now), true)
            : Effect.succeed(true)
        })
      )
    },
    remove: (key, tombstone, now) => {
      const name = at(key)
      return queue.run(
        [name],
        Effect.flatMap(read(name), (entry) => Store.isLive(entry, now) ? write(name, tombstone, now) : Effect.void)
      )
    },
    setAside: (key) => {
      const name = at(key)
      return queue.run(
        [name],
        Effect.flatMap(cache.get(name), (text) =>
          text._tag === "None" ? Effect.void : Effect.zipRight(
            cache.set(`${options.prefix}aside:${key.id}`, text.value, asideFor),
            cache.remove(name)
          ))
      )
    },
    ...(expiring === undefined ? {} : {
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

/**
 * The platform's KeyValueStore as a cache. It fails to remove a missing key when it is a folder, which is no failure here.
 *
 * @internal
 */
export const ofKeyValueStore = (store: KeyValueStore.KeyValueStore): Cache => ({
  get: store.get,
  set: (key, value) => store.set(key, value),
  remove: (key) =>
    Effect.catchAll(
      store.remove(key),
      (error) => Effect.flatMap(store.has(key), (there) => there ? Effect.fail(error) : Effect.void)
    )
})

/** A store of `@effect/experimental`'s persistence as a cache. @internal */
export const ofPersistence = (store: Effect.Effect.Success<ReturnType<Persistence["make"]>>): Cache => ({
  get: (key) =>
    Effect.map(store.get(key), Option.map((value) => typeof value === "string" ? value : JSON.stringify(value))),
  set: (key, value, timeToLive) => store.set(key, value, Option.some(timeToLive)),
  remove: store.remove
})

/** A client of promises as a cache. @internal */
export const ofPromises = (client: PromiseCache): Cache => {
  const call = <A>(f: () => Promise<A>): Effect.Effect<A, unknown> =>
    Effect.tryPromise({ try: f, catch: (cause) => cause })
  return {
    get: (key) => Effect.map(call(() => client.get(key)), Option.fromNullable),
    set: (key, value, timeToLive) => Queue.untilOver(call(() => client.set(key, value, Duration.toMillis(timeToLive)))),
    remove: (key) => Queue.untilOver(call(() => client.remove(key)))
  }
}

/** A Keyv as a cache. @internal */
export const ofKeyv = (keyv: Keyv): Cache => {
  const cache = ofPromises({
    get: async (key) => {
      const value = await keyv.get(key)
      return value === undefined || value === null || typeof value === "string" ? value : JSON.stringify(value)
    },
    set: (key, value, timeToLive) => keyv.set(key, value, timeToLive),
    remove: (key) => keyv.delete(key)
  })
  return {
    ...cache,
    set: (key, value, timeToLive) =>
      Effect.filterOrFail(
        cache.set(key, value, timeToLive),
        (done) => done !== false,
        () => "Keyv kept nothing: its set answered false"
      )
  }
}

interface Agenda {
  readonly note: (name: string, until: number) => void
  readonly due: (limit: number, now: number) => ReadonlyArray<string>
}

/**
 * When to look at which name again: a set of names for each minute, so that what is not due costs nothing. A name is
 * looked at when its first deadline has passed, and noted anew if that moved meanwhile.
 */
const makeAgenda = (): Agenda => {
  const minutes = new Map<number, Set<string>>()
  const noted = new Set<string>()
  const minuteOf = (time: number): number => Math.floor(time / 60_000)
  let first = Number.POSITIVE_INFINITY
  return {
    note: (name, until) => {
      if (noted.has(name) || !Number.isFinite(until)) {
        return
      }
      noted.add(name)
      const minute = minuteOf(until)
      first = Math.min(first, minute)
      const names = minutes.get(minute)
      if (names === undefined) {
        minutes.set(minute, new Set([name]))
      } else {
        names.add(name)
      }
    },
    due: (limit, now) => {
      const found: Array<string> = []
      const last = minuteOf(now)
      if (first >= last) {
        return found
      }
      for (const [minute, names] of minutes) {
        if (minute >= last) {
          continue
        }
        for (const name of names) {
          if (found.length === limit) {
            return found
          }
          found.push(name)
          names.delete(name)
          noted.delete(name)
        }
        minutes.delete(minute)
      }
      first = Math.min(...minutes.keys())
      return found
    }
  }
}
