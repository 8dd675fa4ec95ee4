/**
 * One store full of sessions: weighed, then swept by its own means while something else watches how long the event loop
 * is held up.
 */
import { Clock, Duration, Effect, Scope } from "effect"
import { MemoryStore, SessionToken } from "effect-session"
import type * as SessionRecord from "effect-session/SessionRecord"
import session from "express-session"
import makeMemoryStore from "memorystore"
import { serve } from "./processes.js"

export type Candidate = "records" | "texts" | "effect-session" | "memorystore" | "express-session"

export interface Pause {
  /** Milliseconds for which nothing else ran, at most. */
  readonly longest: number
  /** Milliseconds that the sweep took. */
  readonly total: number
  /** Which share of the sessions is left after it. */
  readonly left: number
}

interface Holder {
  readonly add: (index: number) => void
  /** Makes all sessions end an hour from now. */
  readonly use: () => void
  readonly sweep: () => Promise<void>
  /** A share of all. */
  readonly left: () => number
}

const minute = 60_000
const hour = 60 * minute

/** The clock of this process, for the peers too: milliseconds that were skipped. */
let skipped = 0
const realNow = Date.now
Date.now = () => realNow() + skipped

/** The text of a token of 256 bits, the same for the same index, so that no token has to be kept. */
const tokenOf = (index: number): string => {
  const bytes = Buffer.alloc(32)
  for (let n = 0; n < 8; n++) bytes.writeUInt32BE(Math.imul(index + n * 0x9e3779b1, 0x85ebca6b) >>> 0, n * 4)
  return bytes.toString("base64url")
}

const dataOf = (index: number) => ({ user: `user${index}@example.org`, visits: index % 100, theme: "dark" })

/** When a session was last used: not all at once, but over forty minutes. */
const usedAt = (index: number, count: number, start: number): number => start + Math.floor(index / count * 40 * minute)

const recordOf = (index: number, createdAt: number): SessionRecord.SessionRecord => ({
  data: dataOf(index),
  revision: 1,
  createdAt,
  touchedAt: createdAt,
  deadline: createdAt + hour,
  expiresAt: createdAt + 24 * hour,
  idle: hour
})

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const sliced = async <A>(map: Map<string, A>, expired: (value: A) => boolean): Promise<void> => {
  let slice = 0
  for (const [key, value] of map) {
    if (expired(value)) map.delete(key)
    if (++slice % 500 === 0) await immediate()
  }
}

const records = (count: number, start: number): Holder => {
  const map = new Map<string, SessionRecord.SessionRecord>()
  return {
    add: (index) => {
      map.set(tokenOf(index), recordOf(index, usedAt(index, count, start)))
    },
    use: () => {
      const now = Date.now()
      for (const [key, record] of map) map.set(key, { ...record, touchedAt: now, deadline: now + hour })
    },
    sweep: () => sliced(map, ({ deadline }) => deadline <= Date.now()),
    left: () => map.size / count
  }
}

/** What express-session hands to a store. */
const expressSession = (index: number, expires: number): session.SessionData => ({
  cookie: { originalMaxAge: hour, expires: new Date(expires), httpOnly: true, path: "/" },
  ...dataOf(index)
} as unknown as session.SessionData)

const texts = (count: number, start: number): Holder => {
  const map = new Map<string, string>()
  return {
    add: (index) => {
      map.set(tokenOf(index), JSON.stringify(expressSession(index, usedAt(index, count, start) + hour)))
    },
    use: () => {
      for (let index = 0; index < count; index++) {
        map.set(tokenOf(index), JSON.stringify(expressSession(index, Date.now() + hour)))
      }
    },
    sweep: () =>
      sliced(
        map,
        (text) => Date.parse((JSON.parse(text) as { cookie: { expires: string } }).cookie.expires) <= Date.now()
      ),
    left: () => map.size / count
  }
}

/** A clock that stands where `skipped` puts it, and whose sleepers wake when told. */
const handClock = () => {
  const unsafeCurrentTimeMillis = () => Date.now()
  let sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []
  let slept = (): void => {}
  const clock: Clock.Clock = Object.assign(Object.create(Clock.make()) as Clock.Clock, {
    unsafeCurrentTimeMillis,
    currentTimeMillis: Effect.sync(unsafeCurrentTimeMillis),
    sleep: (duration: Duration.Duration) =>
      Effect.async<void>((resume) => {
        sleepers.push({ at: Date.now() + Duration.toMillis(duration), wake: () => resume(Effect.void) })
        slept()
      })
  })
  return {
    clock,
    /** Wakes who is due, and resolves when it sleeps again: at once if nobody is. */
    wake: (): Promise<void> =>
      new Promise((resolve) => {
        slept = resolve
        const due = sleepers.filter(({ at }) => at <= Date.now())
        sleepers = sleepers.filter(({ at }) => at > Date.now())
        // The store sleeps until something ends, so there may be no sweep.
        if (due.length === 0) return resolve()
        for (const { wake } of due) wake()
      })
  }
}

const ours = async (count: number, start: number): Promise<Holder> => {
  const { clock, wake } = handClock()
  const scope = Effect.runSync(Scope.make())
  const store = await Effect.runPromise(Effect.withClock(Scope.extend(MemoryStore.make(), scope), clock))
  const token = (index: number) => SessionToken.fromString(tokenOf(index))
  const call = () => ({ now: Date.now(), audience: "cookie:session", limit: 4096 })
  // One session that outlives all sweeps: an empty store would not sleep again.
  const last = { ...recordOf(-1, start), deadline: start + 1000 * hour, expiresAt: start + 1000 * hour }
  await Effect.runPromise(store.create(token(-1), last, call()))
  return {
    add: (index) => {
      const record = recordOf(index, usedAt(index, count, start))
      Effect.runSync(store.create(token(index), record, call()))
    },
    use: () => {
      for (let index = 0; index < count; index++) {
        Effect.runSync(store.touch(token(index), 1, Date.now() + hour, call()))
      }
    },
    sweep: wake,
    // A session that expired answers like one that was swept, so what is swept shows with the clock turned back.
    left: () => {
      const here = skipped
      skipped = 0
      const stride = Math.ceil(count / 10_000)
      let asked = 0
      let left = 0
      for (let index = 0; index < count; index += stride) {
        asked++
        if (Effect.runSync(store.load(token(index), call()))._tag === "Live") left++
      }
      skipped = here
      return left / asked
    }
  }
}

const memorystore = (count: number, start: number): Holder => {
  const Store = makeMemoryStore(session)
  const store = new Store({ ttl: (_: unknown, data: session.SessionData) => Number(data.cookie.expires) - Date.now() })
  return {
    add: (index) => store.set(tokenOf(index), expressSession(index, usedAt(index, count, start) + hour)),
    use: () => {
      for (let index = 0; index < count; index++) {
        store.set(tokenOf(index), expressSession(index, Date.now() + hour))
      }
    },
    sweep: async () => (store as unknown as { prune: () => void }).prune(),
    left: () => (store as unknown as { store: { itemCount: number } }).store.itemCount / count
  }
}

/** It has no sweep: `all` is what drops the expired ones. */
const expressMemory = (count: number, start: number): Holder => {
  const store = new session.MemoryStore()
  const sessions = (store as unknown as { sessions: { [key: string]: string } }).sessions
  return {
    add: (index) => {
      store.set(tokenOf(index), expressSession(index, usedAt(index, count, start) + hour))
    },
    use: () => {
      for (let index = 0; index < count; index++) {
        store.set(tokenOf(index), expressSession(index, Date.now() + hour))
      }
    },
    sweep: () => new Promise((resolve) => store.all(() => resolve())),
    left: () => Object.keys(sessions).length / count
  }
}

const holders = { records, texts, "effect-session": ours, memorystore, "express-session": expressMemory }

/** Collected twice: what the first round found is given back in the second, or else during whatever comes next. */
const used = async (): Promise<number> => {
  for (let round = 0; round < 2; round++) {
    await immediate()
    globalThis.gc?.()
  }
  await immediate()
  return process.memoryUsage().heapUsed
}

/** Runs a sweep beside a loop that notes when it gets its turn. */
const watched = async (holder: Holder): Promise<Pause> => {
  let longest = 0
  let over = false
  let last = performance.now()
  const start = last
  const tick = (): void => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (!over) setImmediate(tick)
  }
  setImmediate(tick)
  await holder.sweep()
  const total = performance.now() - start
  over = true
  await immediate()
  return { longest, total, left: holder.left() }
}

if (process.send !== undefined) {
  const [, , candidate, text] = process.argv
  const count = Number(text)
  const begun = realNow()
  const holder = await holders[candidate as Candidate](count, begun)
  serve("ready", async (message) => {
    switch (message) {
      case "fill": {
        const before = await used()
        for (let index = 0; index < count; index++) {
          holder.add(index)
          // Callbacks that a store has put off get their turn, and nothing piles up.
          if (index % 1000 === 0) await immediate()
        }
        return (await used() - before) / count
      }
      case "sweep with none expired":
        // Once unwatched, so that no compiler is watched.
        skipped += 2 * minute
        await holder.sweep()
        await used()
        skipped += 2 * minute
        return watched(holder)
      case "sweep with all used since":
        // Every session would have ended, had it not been used in between.
        skipped += 50 * minute
        holder.use()
        await used()
        skipped += 55 * minute
        return watched(holder)
      default:
        await used()
        skipped += 2 * hour
        return watched(holder)
    }
  })
}
