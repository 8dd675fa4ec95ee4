import { Effect, Layer, Redacted } from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import * as SealedStore from "effect-session/SealedStore"
import type * as SessionToken from "effect-session/SessionToken"
import * as SignedTokens from "effect-session/SignedTokens"
import * as Store from "effect-session/Store"
import * as StoreLaws from "effect-session/StoreLaws"
import { createHash } from "node:crypto"

const keys = [Redacted.make(createHash("sha256").update("laws").digest("base64"))]
const binding = { audience: "__Host-session", limit: 16_384 }

/**
 * Some laws look for a session under the token that they drew. Here that finds the token that was answered for it, as a
 * client would have it. With `hidden`, answers name it by the drawn token too, for laws that compare the two.
 */
const asAnswered = (hidden: boolean) => (store: Store.Store): Store.Store => {
  const answered = new Map<string, SessionToken.Token>()
  const find = (name: SessionToken.Token) => answered.get(Redacted.value(name)) ?? name
  const noting = <A extends Store.Created | Store.Updated | Store.Touched, E>(
    name: SessionToken.Token,
    call: Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    Effect.map(call, (answer) => {
      if (!("token" in answer)) {
        return answer
      }
      answered.set(Redacted.value(name), answer.token)
      return hidden ? { ...answer, token: name } : answer
    })
  return Store.make({
    accepts: (token) => store.accepts(find(token)),
    load: (token, to) => store.load(find(token), to),
    create: (token, record, to) => noting(token, store.create(find(token), record, to)),
    update: (token, revision, record, to) => {
      const call = store.update(find(token), revision, record, to)
      return hidden ? noting(token, call) : call
    },
    renew: (token, revision, next, record, to) =>
      noting(next, store.renew(find(token), revision, find(next), record, to)),
    touch: (token, revision, deadline, to) => {
      const call = store.touch(find(token), revision, deadline, to)
      return hidden ? noting(token, call) : call
    },
    remove: (token, to) => store.remove(find(token), to)
  })
}

const answering = <E>(layer: Layer.Layer<Store.Store, E>, hidden: boolean) =>
  Layer.project(layer, Store.Store, Store.Store, asAnswered(hidden))

StoreLaws.suite("SealedStore", {
  layer: SealedStore.layer({ keys }),
  clock: "test",
  binding,
  waives: ["revocation", "revisions", "tombstones", "compareAndSet", "createIfAbsent"]
})

const sealsAnew = "a token that is created under again is sealed anew, for a session of its own"

StoreLaws.suite("SealedStore with revocations", {
  layer: answering(SealedStore.layer({ keys, revocations: MemoryStore.layer() }), false),
  clock: "test",
  binding,
  waives: ["revisions", "createIfAbsent"],
  except: {
    "renew leaves the old token superseded": sealsAnew,
    "remove leaves the token superseded": sealsAnew,
    "renew never overwrites another session": sealsAnew,
    "renew takes no superseded token": sealsAnew
  }
})

StoreLaws.suite("SignedTokens over MemoryStore", {
  layer: answering(MemoryStore.layer().pipe(SignedTokens.layer({ keys })), true),
  clock: "test"
})
