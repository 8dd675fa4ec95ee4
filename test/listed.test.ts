/**
 * Sessions of a subject whose list is kept apart, where they are more than are held in memory at a time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, FiberId, Option, Stream } from "effect"
import type { SessionToken, StoreBackend } from "effect-session"
import * as Listed from "../src/internal/store/listed.js"

const size = 2500
const keyOf = (n: number): StoreBackend.Key => ({
  id: String(n).padStart(43, "0") as SessionToken.SessionId,
  shard: ""
})
const entryOf = (touchedAt: number): StoreBackend.LiveEntry => ({
  _tag: "Entry",
  body: "{}",
  revision: 1,
  touchedAt,
  deadline: 1e9
})

/** Sessions 0 to 2499, touched in another order, and what is done to them after a number of reads. */
const many = (
  after: { readonly [reads: number]: (entries: Map<string, StoreBackend.Entry>) => void } = {}
) =>
  listOf(
    new Map(Array.from({ length: size }, (_, n) => [keyOf(n).id, entryOf((n * 7919) % size)])),
    (reads, entries) => {
      after[reads]?.(entries)
      return Effect.void
    }
  )

/** A list of these sessions; `before` is run before each read. */
const listOf = (
  entries: Map<string, StoreBackend.Entry>,
  before: (reads: number, entries: Map<string, StoreBackend.Entry>) => Effect.Effect<void>
) => {
  let reads = 0
  const unused = () => Effect.die("not used here")
  const { subjects } = Listed.make({
    get: ({ id }) =>
      Effect.map(
        Effect.suspend(() => before(reads++, entries)),
        () => Option.fromNullable(entries.get(id))
      ),
    insert: unused,
    replace: unused,
    rename: unused,
    extend: unused,
    end: unused
  }, {
    add: unused,
    remove: () => Exit.void,
    renewed: unused,
    keys: () => Stream.map(Stream.fromIterable([...entries.keys()]), (id) => keyOf(Number(id))),
    missing: () => Exit.void,
    locate: unused
  })
  const list = Stream.map(subjects.list("a subject", 0), ([id, { touchedAt }]) => ({ n: Number(id), touchedAt }))
  return { list, reads: () => reads }
}

/** The session n goes on under another key. */
const renewal = (n: number, next: number) => (entries: Map<string, StoreBackend.Entry>) => {
  const current = entries.get(keyOf(n).id)
  if (current?._tag === "Entry") {
    entries.set(keyOf(next).id, current)
    entries.set(keyOf(n).id, { _tag: "Tombstone", until: 60_000, successor: keyOf(next).id })
  }
}

describe("a list of more sessions than are held at a time", () => {
  it.effect("S31: it has each once, newest use first, and a reader who has enough reads one page more", () =>
    Effect.gen(function*() {
      const all = Array.from(yield* Stream.runCollect(many().list))
      assert.deepStrictEqual(
        all.map(({ touchedAt }) => touchedAt),
        Array.from({ length: size }, (_, n) => size - 1 - n)
      )
      assert.strictEqual(new Set(all.map(({ n }) => n)).size, size)
      const some = many()
      const first = yield* Stream.runCollect(Stream.take(some.list, 10))
      assert.deepStrictEqual(Array.from(first), all.slice(0, 10))
      assert.strictEqual(some.reads(), size + 1000)
    }))

  it.effect("S28 S31: a session that is renewed between the two rounds is there once, under its new id", () =>
    Effect.gen(function*() {
      const { list } = many({ [size]: renewal(5, 9000) })
      const found = Array.from(yield* Stream.runCollect(list), ({ n }) => n)
      assert.lengthOf(found, size)
      assert.include(found, 9000)
      assert.notInclude(found, 5)
    }))

  it.effect("S31: one that is renewed while the first round runs is there once, also if both ids are listed", () =>
    Effect.gen(function*() {
      // read as live, then renewed to an id whose turn in the first round is yet to come
      const { list } = many({
        [size - 1]: (entries) => {
          entries.delete(keyOf(size - 1).id)
          renewal(5, size - 1)(entries)
        }
      })
      const found = Array.from(yield* Stream.runCollect(list), ({ n }) => n)
      assert.lengthOf(found, size - 1)
      assert.include(found, size - 1)
      assert.strictEqual(new Set(found).size, size - 1)
    }))

  it.effect("S25: what has ended between the two rounds is not answered", () =>
    Effect.gen(function*() {
      const { list } = many({
        [size]: (entries) => {
          entries.delete(keyOf(7).id)
          entries.set(keyOf(8).id, { _tag: "Tombstone", until: 60_000 })
        }
      })
      const found = Array.from(yield* Stream.runCollect(list), ({ n }) => n)
      assert.lengthOf(found, size - 2)
      assert.notInclude(found, 7)
      assert.notInclude(found, 8)
    }))
})

it.effect("S32: of sessions that were used at the same time the order is one, whichever is read first", () =>
  Effect.gen(function*() {
    const orders = yield* Effect.forEach([0, 1, 2], (first) => {
      const entries = new Map<string, StoreBackend.Entry>([0, 1, 2].map((n) => [keyOf(n).id, entryOf(5)]))
      const read = Deferred.unsafeMake<void>(FiberId.none)
      const { list } = listOf(
        entries,
        (n) => n === first ? Deferred.succeed(read, undefined) : Deferred.await(read)
      )
      return Effect.map(Stream.runCollect(list), (found) => Array.from(found, ({ n }) => n))
    })
    assert.deepStrictEqual(orders, [orders[0], orders[0], orders[0]])
  }))
