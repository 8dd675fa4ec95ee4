import { Effect, Layer, Redacted } from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import * as SealedStore from "effect-session/SealedStore"
import type * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import { createHash } from "node:crypto"

const keys = [Redacted.make(createHash("sha256").update("laws").digest("base64"))]
const call = { audience: "cookie:__Host-session", limit: 16_384 }

/**
 * Some laws look for a session under the token that they drew. Here that finds the token that was answered for it, as a
 * client would have it.
 */
const asAnswered = (store: Store.Store): Store.Store => {
  const answered = new Map<string, SessionToken.Token>()
  const find = (name: SessionToken.Token) => answered.get(Redacted.value(name)) ?? name
  const noting = <A extends Store.Created | Store.Updated, E>(
    name: SessionToken.Token,
    operation: Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    Effect.tap(operation, (answer) => {
      if ("token" in answer) {
        answered.set(Redacted.value(name), answer.token)
      }
    })
  return Store.make({
    accepts: (token) => store.accepts(find(token)),
    load: (token, call) => store.load(find(token), call),
    create: (token, record, call) => noting(token, store.create(find(token), record, call)),
    update: (token, revision, record, call) => store.update(find(token), revision, record, call),
    renew: (token, revision, next, record, call) =>
      noting(next, store.renew(find(token), revision, find(next), record, call)),
    touch: (token, revision, deadline, call) => store.touch(find(token), revision, deadline, call),
    remove: (token, call) => store.remove(find(token), call)
  })
}

StoreLawsSuite.suite("SealedStore", {
  layer: SealedStore.layer({ keys }),
  clock: "test",
  call,
  waives: ["revocation", "revisions", "tombstones", "compareAndSet", "createIfAbsent"]
})

const sealsAnew = "a token that is created under again is sealed anew, for a session of its own"

StoreLawsSuite.suite("SealedStore with revocations", {
  layer: Layer.project(
    SealedStore.layer({ keys, revocations: MemoryStore.layer() }),
    Store.Store,
    Store.Store,
    asAnswered
  ),
  clock: "test",
  call,
  waives: ["revisions", "createIfAbsent"],
  except: {
    "renew leaves the old token superseded": sealsAnew,
    "remove leaves the token superseded": sealsAnew,
    "renew never overwrites another session": sealsAnew,
    "renew does not accept a superseded token": sealsAnew
  }
})
