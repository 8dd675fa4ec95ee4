/**
 * Tokens and records for the tests of stores.
 */
import { Clock, Effect } from "effect"
import type { SessionRecord } from "effect-session/SessionRecord"
import * as Record from "effect-session/SessionRecord"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as Json from "../../src/internal/record/json.js"
import type { Clocked } from "./clocked.js"
import { clocked } from "./clocked.js"

export { type Clocked, clocked } from "./clocked.js"

export const hour = 3_600_000

/** A call at a given time. */
export const callAt = (now: number): Store.Call => ({ now, audience: "cookie:__Host-session", limit: 4096 })

/** A call at the time of the `Clock`. */
export const callNow: Effect.Effect<Store.Call> = Effect.map(Clock.currentTimeMillis, callAt)

/** The store of the context, asked at the time of its caller's `Clock`. */
export const clockedStore: Effect.Effect<Clocked, never, Store.Store> = Effect.map(Store.Store, clocked)

/** A fresh token, drawn as the core draws it. */
export const drawToken = (kin?: SessionToken.Token): Effect.Effect<SessionToken.Token> =>
  Effect.map(SessionToken.Generator, (generator) => SessionToken.draw(generator, kin))

/** A record of a session that began now, one hour idle, one day in all. */
export const makeRecord = (
  data: { readonly [key: string]: unknown },
  more?: Partial<SessionRecord>
): Effect.Effect<SessionRecord> =>
  Effect.map(Effect.clock.pipe(Effect.flatMap((clock) => clock.currentTimeMillis)), (now) => ({
    data: Json.adoptObject(data),
    revision: 0,
    createdAt: now,
    touchedAt: now,
    deadline: now + hour,
    expiresAt: now + 24 * hour,
    idle: hour,
    ...more
  }))

/** Creates a session and answers with its token. */
export const createSession = (
  store: Store.Store,
  data: { readonly [key: string]: unknown },
  more?: Partial<SessionRecord>
): Effect.Effect<SessionToken.Token, Store.StoreError> =>
  Effect.gen(function*() {
    const token = yield* drawToken()
    const record = yield* makeRecord(data, more)
    const created = yield* store.create(token, record, yield* callNow)
    return created._tag === "Created" ? created.token : token
  })

/** The data under a token, or the tag of what was answered. */
export const dataOf = (
  store: Store.Store,
  token: SessionToken.Token
): Effect.Effect<unknown, Store.StoreError> =>
  Effect.map(clocked(store).load(token), (loaded) => loaded._tag === "Live" ? loaded.record.data : loaded._tag)

/** The live record under a token; dies where there is none. */
export const recordOf = (
  store: Store.Store,
  token: SessionToken.Token
): Effect.Effect<SessionRecord, Store.StoreError> =>
  Effect.flatMap(
    clocked(store).load(token),
    (loaded) => loaded._tag === "Live" ? Effect.succeed(loaded.record) : Effect.dieMessage(loaded._tag)
  )

/** The revision that a write answered, which is higher than the one before; dies if the write was not carried out. */
export const revisionOf = (answer: Store.Updated, before = 0): number => {
  if (answer._tag !== "Updated" || answer.revision <= before) {
    throw new Error(`not a write that raised revision ${before}: ${JSON.stringify(answer)}`)
  }
  return answer.revision
}

/** A record with other data. */
export const withData = (record: SessionRecord, data: { readonly [key: string]: unknown }): SessionRecord =>
  // made as the middleware does, so that a store's notes stay
  Record.make(record, Json.adoptObject(data), record.dropOnRenew, record)

/** Reads the counter and writes it raised by one, again and again until it lands. */
export const increment = (store: Clocked, token: SessionToken.Token) =>
  Effect.gen(function*() {
    let record = yield* recordOf(store, token)
    while (true) {
      const answer = yield* store.update(token, record.revision, withData(record, { n: Number(record.data["n"]) + 1 }))
      if (answer._tag !== "Conflict") {
        return answer
      }
      record = answer.record
    }
  })
