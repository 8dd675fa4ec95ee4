/**
 * What a store must do after a failover or a restored backup took back a write that somebody has read (D5).
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import type { Clocked } from "./clocked.js"
import { createSession, drawToken, recordOf, revisionOf, withData } from "./records.js"

/** `backup` keeps what the store holds, and answers how to put it back. */
export const writersOfALostRevision = <E, R>(
  store: Clocked,
  backup: (token: SessionToken.Token) => Effect.Effect<Effect.Effect<unknown, E, R>, E, R>
): Effect.Effect<void, E | Store.StoreError, R> =>
  Effect.gen(function*() {
    const token = yield* createSession(store, { by: "nobody" })
    const before = yield* recordOf(store, token)
    const putBack = yield* backup(token)
    const lost = revisionOf(yield* store.update(token, before.revision, withData(before, { by: "lost" })))
    const read = yield* recordOf(store, token)
    assert.deepStrictEqual([read.data, read.revision], [{ by: "lost" }, lost])
    yield* putBack
    assert.deepStrictEqual(yield* recordOf(store, token), before)
    yield* store.update(token, before.revision, withData(before, { by: "acknowledged" }))
    const kept = yield* recordOf(store, token)
    const late = withData(read, { by: "late" })
    assert.deepStrictEqual(yield* store.update(token, read.revision, late), Store.conflict(kept))
    assert.deepStrictEqual(
      yield* store.renew(token, read.revision, yield* drawToken(token), late),
      Store.conflict(kept)
    )
    yield* store.touch(token, read.revision, read.deadline + 1000)
    assert.deepStrictEqual(yield* recordOf(store, token), kept)
  })

/** Keeps what a map holds, and answers how to put it back. */
export const backupOf = <K, V>(map: Map<K, V>): Effect.Effect<Effect.Effect<void>> =>
  Effect.sync(() => {
    const copy = new Map(map)
    return Effect.sync(() => copy.forEach((value, key) => map.set(key, value)))
  })
