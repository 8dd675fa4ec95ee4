/**
 * Tokens and records for the tests of stores.
 */
import { Effect } from "effect"
import type { SessionRecord } from "effect-session/SessionRecord"
import * as SessionToken from "effect-session/SessionToken"
import type * as Store from "effect-session/Store"
import * as Json from "../../src/internal/record/json.js"

export const hour = 3_600_000

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
    const created = yield* store.create(token, record)
    return created._tag === "Created" ? created.token : token
  })

/** The data under a token, or the tag of what was answered. */
export const dataOf = (
  store: Store.Store,
  token: SessionToken.Token
): Effect.Effect<unknown, Store.StoreError> =>
  Effect.map(store.load(token), (loaded) => loaded._tag === "Live" ? loaded.record.data : loaded._tag)

/** The live record under a token; dies where there is none. */
export const recordOf = (
  store: Store.Store,
  token: SessionToken.Token
): Effect.Effect<SessionRecord, Store.StoreError> =>
  Effect.flatMap(
    store.load(token),
    (loaded) => loaded._tag === "Live" ? Effect.succeed(loaded.record) : Effect.dieMessage(loaded._tag)
  )

/** A record with other data. */
export const withData = (record: SessionRecord, data: { readonly [key: string]: unknown }): SessionRecord => ({
  ...record,
  data: Json.adoptObject(data)
})
