import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import * as StoreLaws from "effect-session/StoreLaws"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import { right, subtlerStores, wrongStores } from "./fixtures/wrongStores.js"

const laws = StoreLaws.laws({ clock: "test", thoroughness: 2 })

const lawNamed = (name: string): StoreLaws.Law => {
  const found = laws.find((law) => law.name === name)
  assert.isDefined(found, `there is no law named "${name}"`)
  return found
}

StoreLawsSuite.suite("the store that the wrong ones are made of", { layer: right, clock: "test" })

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
