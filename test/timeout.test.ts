import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, TestClock } from "effect"
import type { Running } from "../src/internal/runtime/caller.js"
import { afterExit, andThen, mapError } from "../src/internal/runtime/exit.js"
import { Pending, tryPromise } from "../src/internal/runtime/pending.js"
import * as Timeout from "../src/internal/runtime/timeout.js"

/** A promise that is settled by hand. */
const promised = <A>() => {
  let resolve: (value: A) => void = () => {}
  let reject: (error: unknown) => void = () => {}
  const promise = new Promise<A>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, reject, resolve }
}

const started = <A, E>(call: Effect.Effect<A, E>) =>
  Effect.withFiberRuntime<Timeout.Started<A, E | "late">>((caller) =>
    Effect.succeed(Timeout.start(caller as Running, call, 1000, () => "late" as const))
  )

const failure = (error: unknown) => `failed: ${String(error)}`

describe("a call of a driver that answers by promise", () => {
  it.effect("goes on from the answer, at once where a step is done and in a fiber where one is an effect", () =>
    Effect.gen(function*() {
      const driver = promised<number>()
      const call = andThen(
        andThen(tryPromise(() => driver.promise, failure), (n) => Exit.succeed(n + 1)),
        (n) => Effect.map(Effect.yieldNow(), () => n * 2)
      )
      assert.instanceOf(call, Pending)
      const running = yield* started(call)
      assert.isUndefined(running.exit)
      driver.resolve(20)
      assert.strictEqual(yield* Timeout.outcome(running), 42)
    }))

  it.effect("can be waited for as any other effect", () =>
    Effect.gen(function*() {
      const driver = promised<number>()
      const call = mapError(tryPromise(() => driver.promise, failure), (error) => error.toUpperCase())
      driver.reject("no")
      assert.strictEqual(yield* Effect.flip(call), "FAILED: NO")
    }))

  it.effect("is asked anew each time that it runs, and not before", () =>
    Effect.gen(function*() {
      let asked = 0
      const call = andThen(tryPromise(() => Promise.resolve(++asked), failure), (n) => Exit.succeed(n))
      assert.strictEqual(asked, 0)
      assert.deepStrictEqual([yield* call, yield* call], [1, 2])
    }))

  it.effect("fails as the driver does, by a rejection or by a throw", () =>
    Effect.gen(function*() {
      const thrown = tryPromise(() => {
        throw "at once"
      }, failure)
      assert.strictEqual(yield* Effect.flip(Timeout.outcome(yield* started(thrown))), "failed: at once")
      const rejected = afterExit(
        tryPromise(() => Promise.reject("later"), failure),
        (exit) => Exit.succeed(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "none")
      )
      assert.strictEqual(yield* Timeout.outcome(yield* started(rejected)), "Error: failed: later")
    }))

  it.effect("a step that throws is a defect", () =>
    Effect.gen(function*() {
      const call = andThen(tryPromise(() => Promise.resolve(1), failure), (): Effect.Effect<number> => {
        throw new Error("a bug")
      })
      const exit = yield* Effect.exit(Timeout.outcome(yield* started(call)))
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
    }))

  it.effect("an answer that comes too late is not acted on", () =>
    Effect.gen(function*() {
      const driver = promised<number>()
      const steps: Array<number> = []
      const running = yield* started(andThen(tryPromise(() => driver.promise, failure), (n) => {
        steps.push(n)
        return Exit.succeed(n)
      }))
      yield* TestClock.adjust(1000)
      assert.strictEqual(yield* Effect.flip(Timeout.outcome(running)), "late")
      driver.resolve(1)
      yield* Effect.promise(() => driver.promise)
      yield* Effect.yieldNow()
      assert.deepStrictEqual(steps, [])
    }))

  it.effect("a step in a fiber is interrupted when the time is over", () =>
    Effect.gen(function*() {
      const [begun, interrupted] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const running = yield* started(andThen(
        tryPromise(() => Promise.resolve(1), failure),
        () =>
          Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
      ))
      yield* Deferred.await(begun)
      yield* TestClock.adjust(1000)
      assert.strictEqual(yield* Effect.flip(Timeout.outcome(running)), "late")
      yield* Deferred.await(interrupted)
    }))

  it.live("by the runtime's own clock, a call that is in time leaves no timer", () =>
    Effect.gen(function*() {
      const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
      const before = timers()
      const running = yield* started(Effect.zipRight(Effect.yieldNow(), Effect.succeed(1)))
      assert.strictEqual(yield* Timeout.outcome(running), 1)
      assert.strictEqual(timers(), before)
    }))

  it.live("by the runtime's own clock, a call that never answers is late", () =>
    Effect.gen(function*() {
      const call = Effect.withFiberRuntime<Timeout.Started<never, "late">>((caller) =>
        Effect.succeed(Timeout.start(caller as Running, Effect.never, 1, () => "late" as const))
      )
      assert.strictEqual(yield* Effect.flip(Timeout.outcome(yield* call)), "late")
    }))
})
