import { KeyValueStore } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Tracer } from "effect"
import { CacheStore, SessionToken, Store } from "effect-session"

describe("S07: the spans of a store's calls", () => {
  const token = SessionToken.fromString("A".repeat(43))

  const load = Effect.gen(function*() {
    const spans: Array<Tracer.Span> = []
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      ...native,
      span: (...args) => {
        const span = native.span(...args)
        spans.push(span)
        return span
      },
      context: (f) => f()
    })
    const store = yield* Store.Store
    return { load: store.load(token), spans, tracer }
  }).pipe(Effect.provide(CacheStore.layerKeyValueStore().pipe(Layer.provide(KeyValueStore.layerMemory))))

  it.effect("reach a tracer of the app's own, with the public id and without the token", () =>
    Effect.gen(function*() {
      const called = yield* load
      yield* Effect.withTracer(called.load, called.tracer)
      assert.deepStrictEqual(called.spans.map(({ name }) => name), ["CacheStore.load"])
      const attributes = [...called.spans.flatMap((span) => [...span.attributes])]
      assert.deepStrictEqual(attributes, [["session.id", yield* SessionToken.toId(token)]])
    }))
})
