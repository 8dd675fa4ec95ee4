import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as MemoryStore from "effect-session/MemoryStore"
import * as StoreLaws from "effect-session/StoreLaws"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import { rightBackend, wrongBackends } from "./fixtures/wrongBackends.js"
import { wrongSessions } from "./fixtures/wrongSessions.js"
import { right, subtlerStores, wrongStores } from "./fixtures/wrongStores.js"

/** A cache that processes share, which can't compare and set. */
const twoProcesses = () => {
  const map = new Map<string, string>()
  const call = <A>(f: () => A) => Effect.zipRight(Effect.yieldNow(), Effect.sync(f))
  return CacheStore.layer({
    get: (key) => call(() => Option.fromNullable(map.get(key))),
    set: (key, value) => call(() => map.set(key, value)),
    remove: (key) => call(() => map.delete(key))
  })
}

const laws = StoreLaws.laws({ clock: "test", thoroughness: 2 })

const lawNamed = (name: string, among = laws): StoreLaws.Law => {
  const found = among.find((law) => law.name === name)
  assert.isDefined(found, `there is no law named "${name}"`)
  return found
}

StoreLawsSuite.suite("the store that the wrong ones are made of", { layer: right, clock: "test" })

StoreLawsSuite.suite("the store whose backend the wrong ones have", { layer: rightBackend, clock: "test" })

describe("a wrong store breaks the law that names its mistake", () => {
  it("there are ten of them, each with a law of its own", () => {
    assert.strictEqual(wrongStores.length, 10)
    assert.strictEqual(new Set(wrongStores.map(({ law }) => law)).size, 10)
  })

  for (const wrong of [...wrongStores, ...subtlerStores]) {
    it.effect(`${wrong.name} breaks "${wrong.law}"`, () =>
      Effect.gen(function*() {
        const law = lawNamed(wrong.law)
        const error = yield* Effect.provide(Effect.flip(law.run), wrong.layer)
        assert.instanceOf(error, StoreLaws.LawBroken)
        assert.strictEqual(error.law, law.name)
        assert.isAbove(error.problem.length, 0)
      }))
  }
})

describe("a store with a wrong backend breaks the law that names its mistake", () => {
  for (const wrong of wrongBackends) {
    it.effect(`D9: ${wrong.name} breaks "${wrong.law}"`, () =>
      Effect.gen(function*() {
        const law = lawNamed(wrong.law, StoreLaws.laws({ clock: "test", second: wrong.second }))
        const error = yield* Effect.provide(Effect.flip(law.run), wrong.layer)
        assert.instanceOf(error, StoreLaws.LawBroken)
        assert.strictEqual(error.law, law.name)
      }))
  }

  it.effect("D9: a mistake that takes two instances is not seen by one", () =>
    Effect.gen(function*() {
      const wrong = wrongBackends.find(({ second }) => second !== undefined)
      assert.isDefined(wrong)
      yield* Effect.provide(lawNamed(wrong.law).run, wrong.layer)
    }))

  it.effect("D9: a store of two caches fails where it waives nothing, and nothing else fails", () =>
    Effect.gen(function*() {
      const layer = twoProcesses()
      const options = { clock: "test", second: layer } as const
      const failed = yield* Effect.partition(
        StoreLaws.laws(options),
        (law) => Effect.mapError(law.waived === undefined ? law.run : Effect.void, () => law.name)
      ).pipe(Effect.map(([failures]) => failures), Effect.provide(layer))
      const waived = StoreLaws.laws({ ...options, waives: ["compareAndSet", "createIfAbsent"] })
        .filter((law) => law.waived?.startsWith("waived:") === true)
        .map(({ name }) => name)
      assert.include(failed, "parallel writers lose no update")
      assert.includeMembers(waived, failed)
    }))
})

describe("Sessions with a mistake, and a store that tells what is wrong, break the law that names it", () => {
  const withSessions = StoreLaws.laws({ clock: "test", sessions: true })

  for (const wrong of wrongSessions) {
    it.effect(`${wrong.name} breaks "${wrong.law}"`, () =>
      Effect.gen(function*() {
        const law = lawNamed(wrong.law, withSessions)
        const error = yield* Effect.provide(Effect.flip(law.run), wrong.layer)
        assert.instanceOf(error, StoreLaws.LawBroken)
        assert.strictEqual(error.law, law.name)
      }), 30_000)
  }

  it("every law of Sessions has one of them", () => {
    const without = StoreLaws.laws({ clock: "test" }).filter(({ waived }) =>
      waived === "for stores that provide Sessions"
    )
    assert.includeMembers(wrongSessions.map(({ law }) => law), without.map(({ name }) => name))
  })

  it.effect("a layer that provides no Sessions fails their laws, and the failure says why", () =>
    Effect.gen(function*() {
      const law = lawNamed("a renewed session is listed once, under its new id", withSessions)
      const error = yield* Effect.provide(Effect.flip(law.run), right)
      assert.include(error.message, "provides no Sessions")
    }))
})

describe("StoreLaws", () => {
  it("has every law's name once", () => {
    assert.strictEqual(new Set(laws.map(({ name }) => name)).size, laws.length)
  })

  it("waives what a store declares it can't do, and says so", () => {
    const waived = (options: Partial<StoreLaws.Options>) =>
      new Map(StoreLaws.laws({ clock: "test", ...options }).map((law) => [law.name, law.waived]))
    assert.strictEqual(
      waived({ waives: ["compareAndSet"] }).get("parallel writers lose no update"),
      "waived: compareAndSet"
    )
    assert.isUndefined(waived({ waives: ["createIfAbsent"] }).get("parallel writers lose no update"))
    assert.strictEqual(waived({ clock: "live" }).get("a tombstone ends after its minute"), "another clock sweeps")
    assert.strictEqual(
      waived({ except: { "create keeps the record": "it shortens texts" } }).get("create keeps the record"),
      "except: it shortens texts"
    )
    assert.isUndefined(waived({ waives: ["keeping"] }).get("a store that keeps nothing answers NotKept"))
  })

  it("refuses an exception from a law that there is not", () => {
    assert.throws(() => StoreLaws.laws({ clock: "test", except: { "no such law": "" } }), TypeError, "no such law")
  })

  it.effect("prints the seed of a history that went wrong, and repeats it", () =>
    Effect.gen(function*() {
      const name = "random histories of two clients go as in the model"
      const wrong = wrongStores.find((store) => store.name === "a renew that leaves both")
      assert.isDefined(wrong)
      const broken = (options: Partial<StoreLaws.Options>) =>
        Effect.gen(function*() {
          const law = StoreLaws.laws({ clock: "test", ...options }).find((law) => law.name === name)
          assert.isDefined(law)
          const error = yield* Effect.flip(law.run)
          assert.instanceOf(error, StoreLaws.LawBroken)
          return error.problem
        }).pipe(Effect.provide(Layer.fresh(wrong.layer)))
      const first = yield* broken({})
      const seed = Number(/seed (\d+)/.exec(first)?.[1])
      assert.strictEqual(yield* broken({ seed }), first)
    }))

  it.effect("runs one law alone", () =>
    Effect.provide(lawNamed("create never overwrites").run, Layer.orDie(MemoryStore.layer())))
})
