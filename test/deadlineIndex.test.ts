import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Fiber, TestClock } from "effect"
import { BoundedMap } from "../src/internal/runtime/boundedMap.js"
import { Alarm, bucketWidth, chunkSize, DeadlineIndex } from "../src/internal/runtime/deadlineIndex.js"

const minute = bucketWidth

describe("DeadlineIndex", () => {
  it("an id is due when the minute of its deadline has passed, and taken once", () => {
    const index = new DeadlineIndex<string>()
    assert.strictEqual(index.next, Infinity)
    assert.isTrue(index.add("b", 5 * minute))
    assert.isTrue(index.add("a", 1))
    assert.isFalse(index.add("c", 2))
    assert.strictEqual(index.next, minute)
    const taken: Array<string> = []
    const each = (id: string) => void taken.push(id)
    assert.strictEqual(index.take(10, minute - 1, each), 0)
    assert.strictEqual(index.take(1, minute, each), 1)
    assert.strictEqual(index.next, minute)
    assert.strictEqual(index.take(10, minute, each), 1)
    assert.deepStrictEqual([...taken].sort(), ["a", "c"])
    assert.strictEqual(index.next, 6 * minute)
    assert.strictEqual(index.take(10, Infinity, each), 1)
    assert.strictEqual(index.next, Infinity)
    assert.strictEqual(index.size, 0)
  })

  it("of more than a chunk that are due together all are taken, batch by batch", () => {
    const index = new DeadlineIndex<number>()
    const count = 2 * chunkSize + 7
    for (let n = 0; n < count; n++) {
      index.add(n, 1)
    }
    const taken = new Set<number>()
    while (index.take(1000, minute, (n) => void taken.add(n)) > 0) {
      assert.strictEqual(index.size, count - taken.size)
    }
    assert.strictEqual(taken.size, count)
  })

  it.prop("next is the end of the earliest minute of all that is filed, whatever is added and taken", {
    steps: FastCheck.array(FastCheck.oneof(FastCheck.nat(20 * minute), FastCheck.constant("take" as const)))
  }, ({ steps }) => {
    const index = new DeadlineIndex<number>()
    let filed: Array<number> = []
    for (const step of steps) {
      if (step === "take") {
        index.take(3, 10 * minute, (deadline) => {
          filed.splice(filed.indexOf(deadline), 1)
        })
      } else {
        filed.push(step)
        index.add(step, step)
      }
      const ends = filed.map((deadline) => (Math.floor(deadline / minute) + 1) * minute)
      assert.isAtMost(index.next, Math.min(...ends))
      assert.strictEqual(index.size, filed.length)
    }
    index.take(Infinity, Infinity, () => {})
    filed = []
    assert.strictEqual(index.next, Infinity)
  })
})

describe("Alarm", () => {
  const waiting = (next: { at: number }) => {
    const alarm = new Alarm(() => next.at, minute)
    return { alarm, fiber: Effect.fork(Effect.zipRight(alarm.untilDue, TestClock.currentTimeMillis)) }
  }

  it.effect("N3: waits until something is due, but for the least time", () =>
    Effect.gen(function*() {
      const late = yield* waiting({ at: 5 * minute }).fiber
      const soon = yield* waiting({ at: 1 }).fiber
      yield* TestClock.adjust(10 * minute)
      assert.strictEqual(yield* Fiber.join(late), 5 * minute)
      assert.strictEqual(yield* Fiber.join(soon), minute)
    }))

  it.effect("N3: without anything filed it sets no timer, and goes on when something is", () =>
    Effect.gen(function*() {
      const next = { at: Infinity }
      const { alarm, fiber: fork } = waiting(next)
      const fiber = yield* fork
      yield* TestClock.adjust(100 * minute)
      assert.deepStrictEqual([...yield* TestClock.sleeps()], [])
      next.at = 103 * minute
      alarm.ring()
      yield* TestClock.adjust(10 * minute)
      assert.strictEqual(yield* Fiber.join(fiber), 103 * minute)
    }))

  it.effect("N3: something earlier wakes it", () =>
    Effect.gen(function*() {
      const next = { at: 1000 * minute }
      const { alarm, fiber: fork } = waiting(next)
      const fiber = yield* fork
      yield* TestClock.adjust(10 * minute)
      next.at = 12 * minute
      alarm.ring()
      yield* TestClock.adjust(10 * minute)
      assert.strictEqual(yield* Fiber.join(fiber), 12 * minute)
    }))

  it.effect("N3: a ring that comes before it waits is not lost", () =>
    Effect.gen(function*() {
      const next = { at: Infinity }
      let asked = 0
      // filed between the look at what is due and the wait
      const alarm = new Alarm(() => asked++ === 0 ? Infinity : next.at, minute)
      next.at = 2 * minute
      const fiber = yield* Effect.fork(alarm.untilDue)
      yield* TestClock.adjust(3 * minute)
      yield* Fiber.join(fiber)
    }))
})

describe("BoundedMap", () => {
  it("gives up what was used least recently", () => {
    const map = new BoundedMap<string, number>(2)
    map.set("a", 1)
    map.set("b", 2)
    map.used("a", 1)
    map.replace("b", 3)
    map.set("c", 4)
    assert.deepStrictEqual(["a", "b", "c"].map((key) => map.peek(key)), [1, undefined, 4])
    assert.strictEqual(map.size, 2)
    map.clear()
    assert.strictEqual(map.size, 0)
  })

  it("without a bound keeps all", () => {
    const map = new BoundedMap<number, number>(Infinity)
    for (let n = 0; n < 1000; n++) {
      map.set(n, n)
    }
    assert.strictEqual(map.size, 1000)
  })
})
