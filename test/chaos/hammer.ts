/**
 * Fibers that use a few sessions in every way that a store offers, as fast as they can. They know nothing of faults.
 */
import { Effect, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import type { SessionRecord } from "../../src/SessionRecord.js"
import * as SessionToken from "../../src/SessionToken.js"
import type * as Store from "../../src/Store.js"
import * as testing from "../../src/testing.js"

/** The sessions' newest tokens, which all who hammer share. There are as many places as sessions at a time. */
export interface Board {
  /** The last few tokens of a place, oldest first. */
  readonly tokens: (place: number) => ReadonlyArray<string>
  /** Tells of a token before it is used. */
  readonly announce: (place: number, token: string) => void
}

export interface Options {
  /** Makes the names of writes unique. */
  readonly name: string
  /** How many sessions there are at a time. */
  readonly sessions: number
  /** How many fibers run at a time. */
  readonly fibers: number
  /** By how many milliseconds this process's clock is wrong. */
  readonly clockOffset: number
  readonly stopped: () => boolean
}

/** How many tokens of a place are remembered: the newest, and some that were renewed or removed. */
export const remembered = 4

/** A session with as many writes is removed soon, so that histories stay small. */
const longLog = 50

const hour = 3_600_000

const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(Math.random() * values.length)]!

/** Runs until `stopped`. The store records by itself. */
export const hammer = (store: Store.Store, board: Board, options: Options): Effect.Effect<void> => {
  let count = 0

  const now = () => Date.now() + options.clockOffset
  const call = (): Store.Call => ({ now: now(), audience: "cookie:session", limit: 4096 })
  const nextWrite = () => `${options.name}.${count++}`
  const withWrite = (record: SessionRecord, write: string): SessionRecord => {
    const log = record.data["log"] as ReadonlyArray<string>
    return testing.record({ ...record, touchedAt: now(), data: { log: [...log, write] } })
  }

  const create = (place: number) =>
    Effect.suspend(() => {
      const token = SessionToken.draw(randomBytes)
      board.announce(place, Redacted.value(token))
      const at = now()
      const record = testing.record({
        data: { log: [`${nextWrite()}#0`] },
        revision: 0,
        createdAt: at,
        touchedAt: at,
        deadline: at + hour,
        expiresAt: at + 2 * hour,
        idle: hour
      })
      return store.create(token, record, call())
    })

  /** Makes a write, and again on what another writer left, as the middleware does. */
  const persistently = (
    record: SessionRecord,
    attempt: (revision: number, record: SessionRecord) => Effect.Effect<Store.Updated, Store.StoreError>
  ) => {
    const write = nextWrite()
    const run = (base: SessionRecord, count: number): Effect.Effect<unknown, Store.StoreError> =>
      Effect.flatMap(
        Effect.suspend(() => attempt(base.revision, withWrite(base, `${write}#${count}`))),
        (answer) => answer._tag === "Conflict" && count < 4 ? run(answer.record, count + 1) : Effect.succeed(answer)
      )
    return run(record, 0)
  }

  const renew = (place: number, token: SessionToken.Token, record: SessionRecord) =>
    persistently(record, (revision, record) => {
      const next = SessionToken.draw(randomBytes, token)
      board.announce(place, Redacted.value(next))
      return store.renew(token, revision, next, record, call())
    })

  const use = (place: number, token: SessionToken.Token, isNewest: boolean) =>
    Effect.gen(function*() {
      const chance = Math.random()
      // now and then a logout that was never preceded by a look
      if (chance < 0.01) {
        return yield* store.remove(token, call())
      }
      const loaded = yield* store.load(token, call())
      yield* Effect.yieldNow()
      if (loaded._tag !== "Live") {
        return isNewest && Math.random() < 0.5 ? yield* create(place) : undefined
      }
      const { record } = loaded
      const size = (record.data["log"] as ReadonlyArray<string>).length
      if (chance < 0.02 || size > longLog && chance < 0.3) {
        return yield* store.remove(token, call())
      }
      if (chance < 0.2) {
        return undefined
      }
      if (chance < 0.3) {
        return yield* store.touch(token, record.revision, now() + hour, call())
      }
      return yield* chance < 0.42
        ? renew(place, token, record)
        : persistently(record, (revision, record) => store.update(token, revision, record, call()))
    })

  const step = Effect.suspend(() => {
    const place = Math.floor(Math.random() * options.sessions)
    const tokens = board.tokens(place)
    const newest = tokens.at(-1)
    if (newest === undefined) {
      return create(place)
    }
    const token = Math.random() < 0.85 ? newest : pick(tokens)
    return use(place, SessionToken.fromString(token), token === newest)
  })

  const fiber = Effect.repeat(
    Effect.zipRight(
      // a backend that fails at once is not asked in a loop
      Effect.catchAll(step, () => Effect.sleep(20)),
      Effect.suspend(() => Effect.sleep(Math.random() * 6))
    ),
    { until: options.stopped }
  )
  return Effect.all(Array.from({ length: options.fibers }, () => fiber), { concurrency: "unbounded", discard: true })
}
