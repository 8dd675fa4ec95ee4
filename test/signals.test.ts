import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { Signals } from "../src/internal/runtime/signals.js"

/** A watcher that says when it has heard so many signals, and takes its time after each if `pause` is given. */
const watching = (signals: Signals<string>, key: string, pause: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function*() {
    const began = yield* Deferred.make<void>()
    let heard = 0
    const fiber = yield* Effect.fork(Stream.runForEach(signals.stream(key), () => {
      heard++
      return Effect.zipRight(Deferred.succeed(began, undefined), pause)
    }))
    yield* Deferred.await(began)
    return { fiber, heard: () => heard }
  })

/** Lets the watchers run until none has anything to do. */
const settled = Effect.repeatN(Effect.yieldNow(), 20)

describe("Signals", () => {
  it.scoped("a watcher hears once at once, then each signal of its key, and of no other", () =>
    Effect.gen(function*() {
      const signals = new Signals<string>()
      const watchers = [yield* watching(signals, "a"), yield* watching(signals, "a"), yield* watching(signals, "b")]
      signals.notify("nobody's")
      for (let n = 0; n < 2; n++) {
        signals.notify("a")
        yield* settled
      }
      assert.deepStrictEqual(watchers.map(({ heard }) => heard()), [3, 3, 1])
    }))

  it.scoped("a slow watcher hears once of all that it missed", () =>
    Effect.gen(function*() {
      const signals = new Signals<string>()
      const go = yield* Deferred.make<void>()
      const { heard } = yield* watching(signals, "a", Deferred.await(go))
      for (let n = 0; n < 1000; n++) {
        signals.notify("a")
      }
      yield* settled
      assert.strictEqual(heard(), 1)
      yield* Deferred.succeed(go, undefined)
      yield* settled
      assert.strictEqual(heard(), 2)
    }))

  it.scoped("a watcher that leaves is forgotten, and a key with its last one", () =>
    Effect.gen(function*() {
      const signals = new Signals<string>()
      const watchers = yield* Effect.replicateEffect(watching(signals, "a"), 100)
      const [first, ...others] = watchers
      assert.strictEqual(signals.size, 1)
      yield* Fiber.interruptAll(others.map(({ fiber }) => fiber))
      assert.strictEqual(signals.size, 1)
      signals.notify("a")
      yield* settled
      assert.strictEqual(first?.heard(), 2)
      yield* Fiber.interrupt(first?.fiber ?? (yield* Effect.fork(Effect.void)))
      assert.strictEqual(signals.size, 0)
    }))
})
