import { assert, describe, it } from "@effect/vitest"
import { Array, Deferred, Effect, Exit, FastCheck, Fiber, Order } from "effect"
import { AsyncLocalStorage } from "node:async_hooks"
import * as KeyedMutex from "../src/internal/runtime/keyedMutex.js"

/** Lets every fiber that can go on do so. */
const settled = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe("a mutex by key", () => {
  it.effect("takes a free key without a suspension, and keeps nothing of it afterwards", () =>
    Effect.sync(() => {
      const mutex = KeyedMutex.make()
      const exit = Effect.runSyncExit(mutex.run(["b", "a"], (waited) => Effect.sync(() => [waited, mutex.size()])))
      assert.deepStrictEqual(exit, Exit.succeed([false, 2]))
      assert.strictEqual(mutex.size(), 0)
    }))

  it.effect("lets those who wait go on one at a time, in the order in which they came, and tells them", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const go = yield* Deferred.make<void>()
      const log: Array<string> = []
      let inside = 0
      const fibers = yield* Effect.forEach(
        Array.range(0, 9),
        (n) =>
          Effect.fork(mutex.run(["a"], (waited) =>
            Effect.gen(function*() {
              assert.strictEqual(++inside, 1)
              log.push(`${n} ${waited}`)
              yield* Deferred.await(go)
              yield* Effect.yieldNow()
              inside--
            }))).pipe(Effect.zipLeft(settled))
      )
      assert.deepStrictEqual(log, ["0 false"])
      assert.strictEqual(mutex.size(), 1)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual(log, ["0 false", ...Array.range(1, 9).map((n) => `${n} true`)])
      assert.strictEqual(mutex.size(), 0)
    }))

  it.effect("nobody overtakes one who waits, not even between a release and its turn", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const go = yield* Deferred.make<void>()
      const log: Array<string> = []
      const say = (text: string) => () => Effect.sync(() => void log.push(text))
      const first = yield* Effect.fork(mutex.run(["a"], () => Deferred.await(go)))
      yield* settled
      const second = yield* Effect.fork(mutex.run(["a"], say("second")))
      yield* settled
      // runs in the very step in which the first gives the key back
      const third = yield* Effect.fork(Effect.zipRight(Fiber.join(first), mutex.run(["a"], say("third"))))
      yield* settled
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.joinAll([second, third])
      assert.deepStrictEqual(log, ["second", "third"])
    }))

  it.effect("one interrupted while it waits is let go at once, and those behind it have their turn", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const go = yield* Deferred.make<void>()
      const log: Array<string> = []
      const first = yield* Effect.fork(mutex.run(["a"], () => Deferred.await(go)))
      yield* settled
      const second = yield* Effect.fork(mutex.run(["a"], () => Effect.sync(() => void log.push("second"))))
      yield* settled
      const third = yield* Effect.fork(mutex.run(["a"], () => Effect.sync(() => void log.push("third"))))
      yield* settled
      yield* Fiber.interrupt(second)
      assert.deepStrictEqual(log, [])
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.joinAll([first, third])
      assert.deepStrictEqual(log, ["third"])
      assert.strictEqual(mutex.size(), 0)
    }))

  it.effect("one interrupted when the key was given to it already hands it on", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const go = yield* Deferred.make<void>()
      const log: Array<string> = []
      const second = yield* Deferred.make<Fiber.RuntimeFiber<void>>()
      const first = yield* Effect.fork(
        mutex.run(["a"], () => Deferred.await(go)).pipe(
          // in the very step in which the key is given back
          Effect.zipRight(Effect.flatMap(Deferred.await(second), Fiber.interruptFork))
        )
      )
      yield* settled
      const waiting = yield* Effect.fork(mutex.run(["a"], () => Effect.sync(() => void log.push("second"))))
      yield* settled
      const third = yield* Effect.fork(mutex.run(["a"], () => Effect.sync(() => void log.push("third"))))
      yield* settled
      yield* Deferred.succeed(second, waiting)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.joinAll([first, third])
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(waiting)))
      assert.deepStrictEqual(log, ["third"])
      assert.strictEqual(mutex.size(), 0)
    }))

  it.effect("one interrupted, failing, dying or throwing while it holds the key gives it back", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const holding = yield* Effect.fork(mutex.run(["a", "b"], () => Effect.never))
      yield* settled
      const next = yield* Effect.fork(mutex.run(["b"], () => Effect.succeed("next")))
      yield* settled
      yield* Fiber.interrupt(holding)
      assert.strictEqual(yield* Fiber.join(next), "next")
      assert.deepStrictEqual(yield* Effect.exit(mutex.run(["a"], () => Effect.fail("failed"))), Exit.fail("failed"))
      assert.deepStrictEqual(yield* Effect.exit(mutex.run(["a"], () => Effect.die("died"))), Exit.die("died"))
      const thrown = yield* Effect.exit(mutex.run(["a"], (): Effect.Effect<void> => {
        throw "thrown"
      }))
      assert.deepStrictEqual(thrown, Exit.die("thrown"))
      assert.strictEqual(mutex.size(), 0)
    }))

  it.effect("two that want the same two keys in either order both have their turn", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const go = yield* Deferred.make<void>()
      const fibers = yield* Effect.forEach([["a", "b"], ["b", "a"], ["b"], ["a", "b", "a"]], (keys) =>
        Effect.fork(mutex.run(keys, () => Effect.zipRight(Deferred.await(go), Effect.yieldNow()))))
      yield* settled
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.joinAll(fibers)
      assert.strictEqual(mutex.size(), 0)
    }))

  it.effect("keys do not wait for each other", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const holding = yield* Effect.fork(mutex.run(["a"], () => Effect.never))
      yield* settled
      assert.isFalse(yield* mutex.run(["b"], Effect.succeed))
      yield* Fiber.interrupt(holding)
    }))

  it.effect("the body is interrupted only where its caller may be", () =>
    Effect.gen(function*() {
      const mutex = KeyedMutex.make()
      const go = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(Effect.uninterruptible(mutex.run(["a"], () => Deferred.await(go))))
      yield* settled
      yield* Fiber.interruptFork(fiber)
      yield* settled
      assert.strictEqual(mutex.size(), 1)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.await(fiber)
      assert.strictEqual(mutex.size(), 0)
    }))

  it.effect("W1: one who waited goes on in its own continuation, not in that of the one ahead", () =>
    Effect.promise(async () => {
      const storage = new AsyncLocalStorage<string>()
      const mutex = KeyedMutex.make()
      let open = () => {}
      const gate = new Promise<void>((resolve) => {
        open = resolve
      })
      const where = Effect.sync(() => storage.getStore())
      const run = (name: string, body: Effect.Effect<string | undefined>) =>
        storage.run(name, () => Effect.runPromise(mutex.run(["a"], () => body)))
      const ahead = run("ahead", Effect.zipRight(Effect.promise(() => gate), where))
      const behind = run("behind", where)
      open()
      assert.deepStrictEqual(await Promise.all([ahead, behind]), ["ahead", "behind"])
    }))

  it.effect.prop(
    "whatever comes, waits, fails and is interrupted: one at a time under a key, in order, and nothing is left",
    [FastCheck.array(
      FastCheck.record({
        keys: FastCheck.subarray(["a", "b", "c"], { minLength: 1 }),
        steps: FastCheck.integer({ min: 0, max: 3 }),
        ending: FastCheck.constantFrom("succeed", "fail", "die", "interrupt"),
        pause: FastCheck.boolean()
      }),
      { maxLength: 25 }
    )],
    ([jobs]) =>
      Effect.gen(function*() {
        const mutex = KeyedMutex.make()
        const inside = new Set<string>()
        const ran = new Map<string, Array<number>>()
        const fibers: Array<Fiber.RuntimeFiber<void, string>> = []
        for (const [index, { ending, keys, pause, steps }] of jobs.entries()) {
          const body = Effect.gen(function*() {
            for (const key of keys) {
              assert.isFalse(inside.has(key))
              inside.add(key)
              ran.set(key, [...(ran.get(key) ?? []), index])
            }
            yield* Effect.repeatN(Effect.yieldNow(), steps)
            yield* ending === "fail" ? Effect.fail("failed") : ending === "die" ? Effect.die("died") : Effect.void
          }).pipe(Effect.ensuring(Effect.sync(() => keys.forEach((key) => inside.delete(key)))))
          const fiber = yield* Effect.fork(mutex.run([...keys].reverse(), () => body))
          fibers.push(fiber)
          if (pause) {
            yield* Effect.yieldNow()
          }
          if (ending === "interrupt") {
            yield* Fiber.interruptFork(fiber)
          }
        }
        const exits = yield* Effect.forEach(fibers, Fiber.await)
        assert.strictEqual(mutex.size(), 0)
        for (const [index, { ending }] of jobs.entries()) {
          assert.isTrue(Exit.isSuccess(exits[index]!) || ending !== "succeed")
        }
        const single = jobs.every(({ keys }) => keys.length === 1)
        for (const [, order] of single ? ran : []) {
          assert.deepStrictEqual(order, Array.sort(order, Order.number))
        }
      })
  )
})
