import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  Logger,
  Redacted,
  TestClock,
  TestContext
} from "effect"
import * as FileStore from "effect-session/FileStore"
import { encode as encodeRecord, type SessionRecord } from "effect-session/SessionRecord"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { isMainThread } from "node:worker_threads"
import * as Format from "../src/internal/fileStore/format.js"
import * as filestore from "./fixtures/filestore.js"
import {
  callAt,
  type Clocked,
  clocked,
  createSession,
  dataOf,
  drawToken,
  hour,
  makeRecord,
  recordOf,
  revisionOf,
  withData
} from "./support/records.js"
import { writersOfALostRevision } from "./support/restored.js"

const names = (directory: string): Array<string> => fs.readdirSync(directory).filter((name) => !name.endsWith(".trash"))

const idOf = (token: SessionToken.Token): string => SessionToken.unsafeToId(token) ?? ""

const sessionFile = (directory: string, token: SessionToken.Token): string => path.join(directory, idOf(token))

const add = (store: Clocked, token: SessionToken.Token, record: SessionRecord, n: number) =>
  store.update(token, record.revision, withData(record, { n }))

const isUnavailable = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  Cause.failureOption(exit.cause).pipe((failure) =>
    failure._tag === "Some" && failure.value instanceof Store.StoreError && failure.value.reason === "Unavailable"
  )

/** Two stores on one folder, as two processes have them. */
const two = Effect.gen(function*() {
  const directory = yield* filestore.folder
  const one = yield* filestore.open(directory)
  const other = yield* filestore.open(directory)
  return { directory, one, other }
})

const { asleep, sweptAfter } = filestore

describe("FileStore: one folder, several processes", () => {
  it.scoped("S05 X20: a token that another process took is never overwritten", () =>
    Effect.gen(function*() {
      const { directory, one, other } = yield* two
      const token = yield* createSession(one, { whose: "first" })
      assert.strictEqual((yield* other.create(token, yield* makeRecord({ whose: "second" })))._tag, "Exists")
      assert.deepStrictEqual(yield* dataOf(other, token), { whose: "first" })
      assert.deepStrictEqual(names(directory), [idOf(token)])
    }))

  it.scoped("X20: of two first writers of one token, one wins, whichever is stepped first", () =>
    Effect.gen(function*() {
      for (let seed = 0; seed < 15; seed++) {
        const directory = yield* filestore.folder
        const { actors, results } = yield* race(
          directory,
          2,
          seed,
          (store, token, n) =>
            Effect.map(
              Effect.flatMap(makeRecord({ n }), (record) => store.create(token, record)),
              (answer) => answer._tag
            )
        )
        assert.deepStrictEqual([...results].sort(), ["Created", "Exists"], `seed ${seed}`)
        assert.deepStrictEqual(yield* dataOf(actors.reader, actors.token), { n: results.indexOf("Created") })
      }
    }))

  it.scoped("S26 S65: another process's update is a conflict, with its record; its removal is the end", () =>
    Effect.gen(function*() {
      const { one, other } = yield* two
      const token = yield* createSession(one, { n: 0 })
      const read = yield* recordOf(other, token)
      yield* add(one, token, read, 1)
      const answer = yield* add(other, token, read, 2)
      assert.strictEqual(answer._tag, "Conflict")
      assert.deepStrictEqual(answer._tag === "Conflict" && answer.record.data, { n: 1 })
      yield* one.remove(token)
      assert.strictEqual((yield* add(other, token, read, 3))._tag, "Gone")
      assert.strictEqual(yield* dataOf(other, token), "Superseded")
    }))

  it.scoped("D5: after a restored backup, a writer that read a lost write gets a Conflict, also where another wrote since", () =>
    Effect.gen(function*() {
      const { directory, one } = yield* two
      yield* writersOfALostRevision(one, (token) =>
        Effect.sync(() => {
          const copy = fs.readFileSync(sessionFile(directory, token))
          return Effect.sync(() => fs.writeFileSync(sessionFile(directory, token), copy))
        }))
    }))

  it.scoped("C7: a removal under a token that another process renewed ends the session that it became", () =>
    Effect.gen(function*() {
      const { one, other } = yield* two
      const first = yield* createSession(one, { n: 0 })
      const [second, third] = [yield* drawToken(first), yield* drawToken(first)]
      const renewed = yield* one.renew(first, 0, second, yield* recordOf(one, first))
      yield* one.renew(second, revisionOf(renewed), third, yield* recordOf(one, second))
      yield* other.remove(first)
      assert.deepStrictEqual(
        yield* Effect.forEach([first, second, third], (token) => dataOf(one, token)),
        ["Superseded", "Superseded", "Superseded"]
      )
    }))

  it.scoped("D10: a removal of a session that has expired leaves nothing that a clock a few seconds behind revives", () =>
    Effect.gen(function*() {
      const { one, other } = yield* two
      const token = yield* createSession(one, { n: 0 })
      const { deadline } = yield* recordOf(one, token)
      yield* one.remove(token, callAt(deadline + 1))
      assert.strictEqual((yield* other.load(token, callAt(deadline - 3000)))._tag, "Superseded")
      assert.strictEqual((yield* other.touch(token, 0, deadline + 1000, callAt(deadline - 3000)))._tag, "Gone")
    }))

  it.scoped("S65: a write after a touch finds the content that the touch left", () =>
    Effect.gen(function*() {
      const { directory, one, other } = yield* two
      const token = yield* createSession(one, { n: 0 })
      const read = yield* recordOf(one, token)
      for (let n = 1; n <= 3; n++) {
        assert.strictEqual((yield* other.touch(token, read.revision, read.deadline + n))._tag, "Touched")
      }
      assert.strictEqual((yield* add(one, token, read, 1))._tag, "Updated")
      assert.deepStrictEqual(names(directory), [idOf(token)])
    }))

  it.scoped("S65: a write that fails or loses leaves nothing beside the session's file", () =>
    Effect.gen(function*() {
      const { directory, one } = yield* two
      const token = yield* createSession(one, { n: 0 })
      const read = yield* recordOf(one, token)
      yield* add(one, token, read, 1)
      yield* add(one, token, read, 2)
      yield* one.renew(token, read.revision, yield* drawToken(), read)
      yield* one.touch(token, 7, read.deadline + 1)
      assert.deepStrictEqual(names(directory), [idOf(token)])
    }))

  it.scopedLive("S65: 2 stores add 1 to one session 50 times each, all at once, and it ends at 100", () =>
    Effect.gen(function*() {
      const { directory, one, other } = yield* two
      const token = yield* createSession(one, { n: 0 })
      const increment = (store: Clocked) =>
        Effect.flatMap(recordOf(store, token), (record) => addOne(store, token, record))
      yield* Effect.forEach(
        Array.from({ length: 100 }, (_, index) => index % 2 === 0 ? one : other),
        increment,
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(yield* dataOf(one, token), { n: 100 })
      assert.deepStrictEqual(names(directory), [idOf(token)])
    }))
})

const addOne = (
  store: Clocked,
  token: SessionToken.Token,
  record: SessionRecord
): Effect.Effect<void, Store.StoreError> =>
  Effect.flatMap(
    add(store, token, record, Number(record.data["n"]) + 1),
    (answer) => answer._tag === "Conflict" ? addOne(store, token, answer.record) : Effect.void
  )

/** A generator of numbers that a seed gives again (mulberry32). */
const randomOf = (seed: number) => {
  let state = seed + 1
  return (below: number): number => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/**
 * Processes that act on one token at once, each step of each on the file system let through in an order made of the
 * seed. In every second order a wait takes a thousand times as long by the clock: then a lock that is met counts as left
 * behind at the second look, and its owner is robbed of it at whatever point it is.
 */
const race = <A>(
  directory: string,
  count: number,
  seed: number,
  act: (store: Clocked, token: SessionToken.Token, index: number) => Effect.Effect<A, unknown>,
  prepare: (store: Clocked, token: SessionToken.Token) => Effect.Effect<unknown, unknown> = () => Effect.void
) =>
  Effect.gen(function*() {
    const random = randomOf(seed)
    const now = yield* Clock.currentTimeMillis
    const token = yield* drawToken()
    const reader = yield* filestore.open(directory)
    yield* prepare(reader, token)
    const schedule = filestore.stepped(count, random)
    const stores = yield* Effect.forEach(
      Array.from({ length: count }),
      () => filestore.openThen(directory, schedule.around)
    )
    const results = yield* Effect.forEach(stores, (store, index) =>
      act(store, token, index).pipe(
        Effect.withClock(filestore.hastyClock(now, seed % 2 === 0 ? 1 : 1000)),
        Effect.ensuring(schedule.done)
      ), { concurrency: "unbounded" })
    return { actors: { reader, token }, results }
  })

describe("FileStore: locks", () => {
  it.scopedLive(
    "S65: whoever breaks whose lock at whatever step, exactly one of three writers of a revision wins",
    () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        for (let seed = 0; seed < 80; seed++) {
          const record = yield* makeRecord({ n: -1 }, {
            deadline: Number.MAX_SAFE_INTEGER,
            expiresAt: Number.MAX_SAFE_INTEGER
          })
          const { actors, results } = yield* race(
            directory,
            3,
            seed,
            (store, token, n) => Effect.map(add(store, token, record, n), (answer) => answer._tag),
            (store, token) => store.create(token, record)
          )
          const winners = results.filter((result) => result === "Updated")
          assert.strictEqual(winners.length, 1, `seed ${seed}: ${results.join()}`)
          assert.deepStrictEqual(yield* dataOf(actors.reader, actors.token), { n: results.indexOf("Updated") })
        }
      }),
    60_000
  )

  it.scopedLive(
    "S65: of three who find a dead owner's lock at once, whichever is stepped first, one wins",
    () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        for (let seed = 0; seed < 100; seed++) {
          const record = yield* makeRecord({ n: -1 }, {
            deadline: Number.MAX_SAFE_INTEGER,
            expiresAt: Number.MAX_SAFE_INTEGER
          })
          const { actors, results } = yield* race(
            directory,
            3,
            // Odd: the lock counts as left behind at the second look.
            2 * seed + 1,
            (store, token, n) => Effect.map(add(store, token, record, n), (answer) => answer._tag),
            (store, token) =>
              Effect.gen(function*() {
                yield* store.create(token, record)
                const died = yield* Deferred.make<void>()
                const victim = yield* filestore.openThen(
                  directory,
                  filestore.killedAfter(2, Deferred.succeed(died, undefined))
                )
                yield* Effect.forkDaemon(add(victim, token, record, 7))
                yield* Deferred.await(died)
              }).pipe(Effect.scoped)
          )
          assert.lengthOf(results.filter((result) => result === "Updated"), 1, `seed ${seed}: ${results.join()}`)
          assert.deepStrictEqual(yield* dataOf(actors.reader, actors.token), { n: results.indexOf("Updated") })
        }
      }),
    60_000
  )

  it.scopedLive(
    "S65: whoever breaks whose lock at whatever step, no increment and no touch is lost",
    () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        for (let seed = 0; seed < 30; seed++) {
          const record = yield* makeRecord({ n: 0 }, { deadline: 9_000_000_000_000, expiresAt: 9_000_000_000_000 })
          const { actors } = yield* race(
            directory,
            4,
            seed,
            (store, token, index) =>
              index === 3
                ? store.touch(token, 0, record.deadline + 5)
                : addOne(store, token, record),
            (store, token) => store.create(token, record)
          )
          assert.deepStrictEqual(yield* dataOf(actors.reader, actors.token), { n: 3 }, `seed ${seed}`)
        }
      }),
    60_000
  )

  it.scopedLive(
    "C7 S13 S15 S26: a renewal beside a removal and an update leaves no token live, at every step",
    () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        for (let seed = 0; seed < 30; seed++) {
          const record = yield* makeRecord({ n: 0 }, { deadline: 9_000_000_000_000, expiresAt: 9_000_000_000_000 })
          const next = yield* drawToken()
          const { actors, results } = yield* race(
            directory,
            3,
            seed,
            (store, token, index) =>
              index === 0
                ? Effect.map(store.renew(token, 0, next, record), (answer) => answer._tag)
                : index === 1
                ? Effect.as(store.remove(token), "Removed")
                : Effect.map(add(store, token, record, 1), (answer) => answer._tag),
            (store, token) => store.create(token, record)
          )
          const renewed = results[0] === "Updated"
          assert.strictEqual((yield* actors.reader.load(actors.token))._tag, "Superseded", `seed ${seed}`)
          assert.strictEqual((yield* actors.reader.load(next))._tag, renewed ? "Superseded" : "None", `seed ${seed}`)
        }
      }),
    60_000
  )

  it.scopedLive("S65: a lock left by a killed process is broken within 2 seconds, and nothing of it stays", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* createSession(yield* filestore.open(directory), { n: 0 })
      const read = yield* recordOf(yield* filestore.open(directory), token)
      const died = yield* Deferred.make<void>()
      const victim = yield* filestore.openThen(directory, filestore.killedAfter(3, Deferred.succeed(died, undefined)))
      yield* Effect.forkDaemon(add(victim, token, read, 1))
      yield* Deferred.await(died)
      assert.strictEqual(names(directory).filter((name) => name.endsWith(".lock")).length, 1)
      const clock = filestore.hastyClock(Date.now())
      const store = yield* filestore.open(directory)
      assert.strictEqual((yield* Effect.withClock(add(store, token, read, 2), clock))._tag, "Updated")
      assert.isAtLeast(clock.slept, 900)
      assert.isAtMost(clock.slept, 2000)
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
      assert.deepStrictEqual(names(directory), [idOf(token)])
    }))

  it.scopedLive("S65: a process that stood still before its commit, and was taken for dead, can't commit on waking", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* createSession(yield* filestore.open(directory), { n: 0 })
      const read = yield* recordOf(yield* filestore.open(directory), token)
      const asleep = yield* Deferred.make<void>()
      const wake = yield* Deferred.make<void>()
      let stopped = false
      const sleeper = yield* filestore.openThen(directory, (call, effect) =>
        call.method === "rename" && !stopped
          ? Effect.suspend(() => {
            stopped = true
            return Deferred.succeed(asleep, undefined).pipe(
              Effect.zipRight(Deferred.await(wake)),
              Effect.zipRight(effect)
            )
          })
          : effect)
      const late = yield* Effect.fork(add(sleeper, token, read, 1))
      yield* Deferred.await(asleep)
      const store = yield* filestore.open(directory)
      const answer = yield* Effect.withClock(add(store, token, read, 2), filestore.hastyClock(Date.now()))
      assert.strictEqual(answer._tag, "Updated")
      yield* Deferred.succeed(wake, undefined)
      assert.strictEqual((yield* Fiber.join(late))._tag, "Conflict")
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
    }))
})

/** Kills a process after each of its first calls in turn, until it ends by itself; asks `check` after each death. */
const killedAtEveryStep = (
  act: (
    store: Clocked,
    token: SessionToken.Token,
    record: SessionRecord
  ) => Effect.Effect<unknown, unknown>,
  check: (
    store: Clocked,
    token: SessionToken.Token,
    record: SessionRecord,
    finished: boolean,
    directory: string
  ) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function*() {
    let finished = false
    for (let steps = 0; !finished; steps++) {
      assert.isBelow(steps, 60)
      const directory = yield* filestore.folder
      const first = yield* filestore.open(directory)
      const token = yield* createSession(first, { n: 0 })
      const record = yield* recordOf(first, token)
      const died = yield* Deferred.make<boolean>()
      const victim = yield* filestore.openThen(
        directory,
        filestore.killedAfter(steps, Deferred.succeed(died, false))
      )
      yield* Effect.forkDaemon(Effect.zipRight(act(victim, token, record), Deferred.succeed(died, true)))
      finished = yield* Deferred.await(died)
      const clock = filestore.hastyClock(Date.now())
      const survivor = yield* filestore.open(directory)
      yield* Effect.withClock(check(survivor, token, record, finished, directory), clock)
      assert.isAtMost(clock.slept, 2000)
      assert.isEmpty(names(directory).filter((name) => name.endsWith(".corrupt")))
    }
  })

describe("FileStore: killed at every step", () => {
  it.scopedLive("X18: an update is there whole or not at all, and the session goes on", () =>
    killedAtEveryStep(
      (store, token, record) => add(store, token, record, 1),
      (store, token, record, finished) =>
        Effect.gen(function*() {
          const found = yield* recordOf(store, token)
          assert.include(finished ? [1] : [0, 1], found.data["n"])
          assert.strictEqual(found.revision > record.revision, found.data["n"] === 1)
          assert.strictEqual((yield* add(store, token, found, 2))._tag, "Updated")
          assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
        })
    ))

  it.scopedLive("S13 S15: a renewal leaves exactly one of the two tokens live, and that one goes on", () =>
    Effect.gen(function*() {
      const next = yield* drawToken()
      const outcomes = new Set<string>()
      yield* killedAtEveryStep(
        (store, token, record) => store.renew(token, record.revision, next, withData(record, { n: 1 })),
        (store, token, _, finished) =>
          Effect.gen(function*() {
            const outcome = `${(yield* store.load(token))._tag} ${(yield* store.load(next))._tag}`
            outcomes.add(outcome)
            assert.include(finished ? ["Superseded Live"] : ["Live None", "Superseded Live"], outcome)
            const live = outcome === "Live None" ? token : next
            const found = yield* recordOf(store, live)
            assert.deepStrictEqual(found.data, { n: live === token ? 0 : 1 })
            assert.strictEqual((yield* add(store, live, found, 2))._tag, "Updated")
            assert.deepStrictEqual(yield* dataOf(store, live), { n: 2 })
          })
      )
      assert.strictEqual(outcomes.size, 2)
    }))

  it.scopedLive("S13: a renewal that was cut short is finished by the sweep, before its tombstone goes", () =>
    Effect.gen(function*() {
      const next = yield* drawToken()
      yield* killedAtEveryStep(
        (store, token, record) => store.renew(token, record.revision, next, withData(record, { n: 1 })),
        (store, token, _record, _finished, directory) =>
          Effect.gen(function*() {
            const live = (yield* store.load(token))._tag === "Live" ? token : next
            yield* sweptAfter(directory, 20 * 60_000, { passes: 2 })
            assert.deepStrictEqual(yield* dataOf(store, live), { n: live === token ? 0 : 1 })
            // A lock whose base is current stays until the next write.
            const left = names(directory).filter((name) => live === next || !name.endsWith(".lock"))
            assert.deepStrictEqual(left, [idOf(live)])
          })
      )
    }))

  it.scopedLive("S13: a session whose renewal the sweep finishes while it is read is live", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { n: 0 })
      const next = yield* drawToken()
      const died = yield* Deferred.make<void>()
      const victim = yield* filestore.openThen(directory, (call, effect) =>
        // the rename over the old file is the commit, and the one of its lock is next
        call.method === "rename" && call.paths[0]?.endsWith(".lock") === true
          ? Effect.zipRight(Deferred.succeed(died, undefined), Effect.never)
          : effect)
      yield* Effect.forkDaemon(victim.renew(token, 0, next, yield* makeRecord({ n: 1 })))
      yield* Deferred.await(died)
      let sweeps = 0
      const reader = yield* filestore.openThen(
        directory,
        (call, effect) =>
          call.method === "readFile" && call.paths[0]?.endsWith(idOf(token)) === true && sweeps++ === 0
            ? Effect.zipRight(Effect.orDie(sweptAfter(directory, 3 * 60_000)), effect)
            : effect
      )
      assert.deepStrictEqual(yield* dataOf(reader, next), { n: 1 })
      assert.strictEqual(sweeps, 1)
      assert.isFalse(fs.existsSync(sessionFile(directory, token)))
    }))

  it.scopedLive("S25 S26: a removal is done or not, and can be repeated", () =>
    killedAtEveryStep(
      (store, token) => store.remove(token),
      (store, token, _, finished) =>
        Effect.gen(function*() {
          assert.include(finished ? ["Superseded"] : ["Live", "Superseded"], (yield* store.load(token))._tag)
          yield* store.remove(token)
          assert.strictEqual((yield* store.load(token))._tag, "Superseded")
        })
    ))

  it.scopedLive("S05: a creation is there whole or not at all", () =>
    Effect.gen(function*() {
      const token = yield* drawToken()
      yield* killedAtEveryStep(
        (store) => Effect.flatMap(makeRecord({ n: 5 }), (record) => store.create(token, record)),
        (store, _, record, finished) =>
          Effect.gen(function*() {
            const found = yield* dataOf(store, token)
            if (finished || found !== "None") {
              assert.deepStrictEqual(found, { n: 5 })
            } else {
              assert.strictEqual((yield* store.create(token, record))._tag, "Created")
            }
          })
      )
    }))

  it.scoped("an interrupted caller is let go at once, and what it began is finished behind it", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* createSession(yield* filestore.open(directory), { n: 0 })
      const began = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const store = yield* filestore.openThen(
        directory,
        (call, effect) =>
          call.method === "rename" && call.paths[1]?.endsWith(".trash") === true
            ? Effect.ensuring(effect, Deferred.succeed(ended, undefined))
            : call.method === "link"
            ? Effect.zipRight(Effect.zipRight(Deferred.succeed(began, undefined), Deferred.await(go)), effect)
            : effect
      )
      const record = yield* recordOf(store, token)
      const writer = yield* Effect.fork(add(store, token, record, 1))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(writer)
      yield* Deferred.succeed(go, undefined)
      yield* Deferred.await(ended)
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      assert.deepStrictEqual(names(directory), [idOf(token)])
    }))
})

describe("FileStore: damaged files", () => {
  const damaged = (
    title: string,
    damage: (file: string) => void,
    around: filestore.Around = filestore.untouched
  ) =>
    it.scoped(`X19 S61: ${title} is a fresh session, and is set aside`, () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        const store = yield* filestore.open(directory, { around })
        const operations: ReadonlyArray<
          (token: SessionToken.Token, record: SessionRecord) => Effect.Effect<
            string,
            Store.StoreError
          >
        > = [
          (token) => Effect.map(store.load(token), (answer) => answer._tag),
          (token, record) => Effect.map(add(store, token, record, 1), (answer) => answer._tag),
          (token, record) => Effect.map(store.touch(token, 0, record.deadline + 1), (answer) => answer._tag),
          (token) => Effect.as(store.remove(token), "None")
        ]
        for (const operation of operations) {
          const token = yield* createSession(store, { n: 0 })
          const record = yield* makeRecord({ n: 1 })
          const file = sessionFile(directory, token)
          damage(file)
          assert.include(["None", "Gone"], yield* operation(token, record))
          assert.strictEqual((yield* store.load(token))._tag, "None")
          assert.isFalse(fs.existsSync(file))
          const aside = names(directory).filter((name) => name.startsWith(path.basename(file)))
          assert.lengthOf(aside, 1)
          assert.match(aside[0] ?? "", /\.corrupt$/)
        }
        const token = yield* createSession(store, { n: 0 })
        const file = sessionFile(directory, token)
        damage(file)
        assert.strictEqual((yield* store.create(token, yield* makeRecord({ n: 7 })))._tag, "Created")
        assert.strictEqual(yield* dataOf(store, yield* drawToken()), "None")
      }))

  damaged("an empty file", (file) => fs.writeFileSync(file, ""))
  damaged("random bytes", (file) => fs.writeFileSync(file, Uint8Array.from({ length: 300 }, (_, index) => index * 7)))
  damaged("a file of some other program", (file) => fs.writeFileSync(file, "{\"cookie\":{\"path\":\"/\"},\"n\":1}"))
  damaged("a header without its body", (file) => {
    const text = fs.readFileSync(file, "utf8")
    fs.writeFileSync(file, text.slice(0, text.indexOf("\n") + 1))
  })
  damaged("a file with something after its end", (file) => fs.appendFileSync(file, "x"))
  damaged("a folder in a file's place", (file) => {
    fs.rmSync(file)
    fs.mkdirSync(file)
    fs.writeFileSync(path.join(file, "inside"), "x")
  })
  damaged("a link that leads in circles", (file) => {
    fs.rmSync(file)
    fs.symlinkSync(file, file)
  })

  it.scoped("X19 S61: a body that is no JSON is a fresh session, and is set aside", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { n: 0 })
      const file = sessionFile(directory, token)
      fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(/\{/g, "["))
      assert.strictEqual((yield* store.load(token))._tag, "None")
      assert.match(names(directory).join(), /^[^,]+\.corrupt$/)
    }))

  it.scoped("X19: a session's file cut at any byte is a fresh session", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { text: "é\n\"\u2028", list: [1, { a: null }] })
      const file = sessionFile(directory, token)
      const whole = fs.readFileSync(file)
      for (let length = 0; length < whole.length; length++) {
        fs.writeFileSync(file, whole.subarray(0, length))
        assert.strictEqual((yield* store.load(token))._tag, "None", `${length} of ${whole.length} bytes`)
      }
      fs.writeFileSync(file, whole)
      assert.strictEqual((yield* store.load(token))._tag, "Live")
    }))

  it.scoped("X19: a file that this user may not read is set aside, as long as the folder lets it", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const whole = yield* filestore.open(directory)
      const token = yield* createSession(whole, { n: 0 })
      const denied = sessionFile(directory, token)
      const isDenied = (call: filestore.Call) => call.method === "readFile" && call.paths[0] === denied
      const locked = yield* filestore.openThen(
        directory,
        filestore.failing("EACCES", (call) => isDenied(call) || call.method === "rename")
      )
      assert.isTrue(isUnavailable(yield* Effect.exit(locked.load(token))))
      assert.strictEqual((yield* whole.load(token))._tag, "Live")
      const store = yield* filestore.openThen(directory, filestore.failing("EACCES", isDenied))
      assert.strictEqual((yield* store.load(token))._tag, "None")
      assert.strictEqual((yield* whole.load(token))._tag, "Live", "a good file that was moved by mistake is put back")
    }))

  it.scoped("S61: a file of a later release is absent here, and left in peace", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { n: 0 })
      const file = sessionFile(directory, token)
      fs.writeFileSync(file, "effect-session 2 whatever comes\n{}")
      assert.strictEqual((yield* store.load(token))._tag, "None")
      assert.strictEqual((yield* store.create(token, yield* makeRecord({ n: 1 })))._tag, "Exists")
      assert.strictEqual((yield* add(store, token, yield* makeRecord({ n: 1 }), 2))._tag, "Gone")
      yield* sweptAfter(directory, 0)
      assert.deepStrictEqual(names(directory), [path.basename(file)])
    }))
})

describe("FileStore: what a file says", () => {
  const encode = (text: string) => new TextEncoder().encode(text)

  it("X19: a header of other words, or of more or fewer, is corrupt", () => {
    const live = "effect-session 1 L x - 0 0 1 2 2"
    const ended = "effect-session 1 T x - 5"
    const whole = [`${live}\n{}`, `${ended}\n`].map((text) => Format.decode(encode(text))._tag)
    assert.deepStrictEqual(whole, ["Entry", "Tombstone"])
    const damaged = [
      `effect-sessiom${live.slice(14)}\n{}`,
      `${live} 3\n{}`,
      `${live.slice(0, -2)}\n{}`,
      `${live.replace(" L ", " X ")}\n{}`,
      `${live.replace(" L ", " T ")}\n{}`,
      `${live.replace(" 1 2 2", " y 2 2")}\n{}`,
      `${live}\n{} `,
      live,
      `${ended} 6\n`,
      `${ended.slice(0, -2)}\n`,
      `${ended.replace(" T ", " L ")}\n`,
      `${ended.slice(0, -1)}y\n`,
      "\n",
      ""
    ]
    for (const text of damaged) {
      assert.strictEqual(Format.decode(encode(text))._tag, "Corrupt", JSON.stringify(text))
    }
  })

  it.scopedLive("S13 S15: a session that waits for its renewal lives once the old file names it, and it alone", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const [old, waiting, other] = [yield* drawToken(), yield* drawToken(), yield* drawToken()]
      const body = encodeRecord(yield* makeRecord({ n: 1 }))
      const at = Date.now()
      const entry = { _tag: "Entry", revision: 1, touchedAt: at, deadline: at + hour, body } as const
      const [oldId, waitingId, otherId] = yield* Effect.forEach([old, waiting, other], SessionToken.toId)
      assert(oldId !== undefined && waitingId !== undefined && otherId !== undefined)
      const write = (id: string, bytes: Uint8Array) => fs.writeFileSync(path.join(directory, id), bytes)
      const answers = Effect.map(store.load(waiting), ({ _tag }) => _tag)
      write(waitingId, Format.encodeLive(entry, "x", 0, oldId))
      assert.strictEqual(yield* answers, "None", "without the old file")
      write(oldId, Format.encodeLive(entry, "x", 0))
      assert.strictEqual(yield* answers, "None", "while the old one lives")
      write(oldId, Format.encodeTombstone({ _tag: "Tombstone", until: at + 60_000, successor: otherId }, "x"))
      assert.strictEqual(yield* answers, "None", "while another is named")
      write(oldId, Format.encodeTombstone({ _tag: "Tombstone", until: at + 60_000, successor: waitingId }, "x"))
      assert.strictEqual(yield* answers, "Live")
    }))
})

describe("FileStore: a disk that fails", () => {
  const steps: ReadonlyArray<readonly [string, (call: filestore.Call) => boolean]> = [
    ["the file itself", (call) => call.method === "writeFile"],
    ["its second name", (call) => call.method === "link"],
    ["the rename", (call) => call.method === "rename" && call.paths[0]?.endsWith(".tmp") === true]
  ]

  for (const [what, which] of steps) {
    it.scoped(`X18: no room for ${what}: StoreError, the old session whole, nothing left, and later writes go on`, () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        const store = yield* filestore.open(directory)
        const full = yield* filestore.openThen(directory, filestore.failing("ENOSPC", which))
        const token = yield* createSession(store, { n: 0 })
        const record = yield* recordOf(store, token)
        const next = yield* drawToken()
        assert.isTrue(isUnavailable(yield* Effect.exit(add(full, token, record, 1))))
        assert.isTrue(isUnavailable(yield* Effect.exit(full.touch(token, 0, record.deadline + 1))))
        assert.isTrue(isUnavailable(yield* Effect.exit(full.renew(token, 0, next, record))))
        assert.isTrue(isUnavailable(yield* Effect.exit(full.remove(token))))
        assert.deepStrictEqual(yield* dataOf(store, token), { n: 0 })
        assert.strictEqual(yield* dataOf(store, next), "None")
        assert.isEmpty(names(directory).filter((name) => name.endsWith(".tmp")))
        assert.strictEqual((yield* add(store, token, record, 1))._tag, "Updated")
        assert.deepStrictEqual(names(directory), [idOf(token)])
      }))
  }

  const mounted = Effect.acquireRelease(
    Effect.sync(() => {
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), "filestore-mount-"))
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", directory], { stdio: "ignore" })
        return directory
      } catch {
        return undefined
      }
    }),
    (directory) =>
      Effect.sync(() => {
        if (directory !== undefined) {
          execFileSync("umount", ["-l", directory])
          fs.rmdirSync(directory)
        }
      })
  )

  it.scopedLive("X18: a disk that is really full, then read-only: StoreError, the old session whole", (context) =>
    Effect.gen(function*() {
      const directory = yield* mounted
      if (directory === undefined) {
        return context.skip("skipped: this process may not mount a file system")
      }
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { n: 0 })
      const record = yield* recordOf(store, token)
      fs.writeFileSync(path.join(directory, "other"), Buffer.alloc(1000))
      const big = withData(record, { n: 1, text: "x".repeat(100_000) })
      assert.isTrue(isUnavailable(yield* Effect.exit(store.update(token, 0, big))))
      assert.isTrue(isUnavailable(yield* Effect.exit(createSession(store, { text: "x".repeat(100_000) }))))
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 0 })
      assert.deepStrictEqual(names(directory).sort(), [idOf(token), "other"].sort())
      const revision = revisionOf(yield* add(store, token, record, 1))
      execFileSync("mount", ["-o", "remount,ro", directory])
      assert.isTrue(isUnavailable(yield* Effect.exit(store.update(token, revision, big))))
      assert.isTrue(isUnavailable(yield* Effect.exit(store.remove(token))))
      assert.isTrue(isUnavailable(yield* Effect.exit(createSession(store, { n: 9 }))))
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      const error = yield* Effect.flip(filestore.open(directory))
      assert.include(String(error), "write the path of a folder in which this process may create and link files")
    }))

  it.scoped("a disk that fails on reading: StoreError, never an empty session, and nothing is set aside", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { n: 0 })
      const broken = yield* filestore.openThen(
        directory,
        filestore.failing("EIO", (call) => call.method === "readFile")
      )
      assert.isTrue(isUnavailable(yield* Effect.exit(broken.load(token))))
      assert.isTrue(isUnavailable(yield* Effect.exit(add(broken, token, yield* recordOf(store, token), 1))))
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 0 })
      assert.strictEqual((yield* add(store, token, yield* recordOf(store, token), 2))._tag, "Updated")
    }))

  it.scoped("a folder removed while running is missed by every call, and made again by the next session that begins", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { n: 0 })
      const record = yield* recordOf(store, token)
      fs.rmSync(directory, { recursive: true })
      for (
        const call of [
          store.load(token),
          add(store, token, record, 1),
          store.touch(token, record.revision, record.deadline + 1),
          store.renew(token, record.revision, yield* drawToken(token), record),
          store.remove(token)
        ]
      ) {
        assert.isTrue(isUnavailable(yield* Effect.exit(call)))
        assert.isFalse(fs.existsSync(directory))
      }
      const next = yield* createSession(store, { n: 1 })
      assert.deepStrictEqual(yield* dataOf(store, next), { n: 1 })
      assert.strictEqual(fs.statSync(directory).mode & 0o777, 0o700)
      assert.strictEqual(yield* dataOf(store, token), "None")
    }))
})

describe("FileStore: the folder", () => {
  // a worker thread, such as those that mutants run in, can't set it
  it.scoped.skipIf(!isMainThread)("folder 0700, files 0600, whatever the umask", () =>
    Effect.gen(function*() {
      const directory = path.join(yield* filestore.folder, "made", "here")
      const umask = process.umask(0)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.umask(umask)))
      for (const durability of ["rename", "fsync"] as const) {
        const store = yield* filestore.open(directory, { durability })
        const token = yield* createSession(store, { n: 0 })
        yield* add(store, token, yield* recordOf(store, token), 1)
        const gone = yield* createSession(store, { n: 0 })
        yield* store.renew(gone, 0, yield* drawToken(), yield* makeRecord({}))
      }
      assert.strictEqual(fs.statSync(directory).mode & 0o777, 0o700)
      for (const name of fs.readdirSync(directory)) {
        assert.strictEqual(fs.statSync(path.join(directory, name)).mode & 0o777, 0o600, name)
      }
    }))

  const refused = (title: string, directory: string, message: string) =>
    it.scoped(`a folder that can't be used fails the layer: ${title}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(FileStore.layer({ directory })))
        assert.strictEqual(error._op, "InvalidData")
        assert.include(String(error), "FileStore.directory")
        assert.include(String(error), message)
      }).pipe(Effect.provide(NodeContext.layer)))

  refused("an empty path", " ", "write the path of a folder for sessions alone")
  refused("NUL in its path", "/tmp/a\u0000b", "write the path of a folder for sessions alone")
  refused("a file on the way", "/dev/null/sessions", "may create and link files. /dev/null/sessions can't be used")

  it.scoped("a folder that denies writing fails the layer, and so does one without links", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      for (const method of ["makeDirectory", "writeFile", "link"]) {
        const around = filestore.failing("EACCES", (call) => call.method === method)
        assert.include(String(yield* Effect.flip(filestore.open(directory, { around }))), "EACCES: by the test")
      }
      assert.isEmpty(names(directory))
    }))

  it.scoped("a folder that other users have access to is warned of when the layer is built, and left as it is", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const warnings: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => {
        warnings.push(String(message))
      })
      const warnedAt = (mode: number) =>
        Effect.suspend(() => {
          warnings.length = 0
          fs.chmodSync(directory, mode)
          return Effect.provide(
            Effect.scoped(filestore.open(directory)),
            Logger.replace(Logger.defaultLogger, logger)
          )
        })
      yield* warnedAt(0o700)
      assert.deepStrictEqual(warnings, [])
      for (const mode of [0o750, 0o740, 0o705, 0o704, 0o777]) {
        yield* warnedAt(mode)
        assert.lengthOf(warnings, 1, mode.toString(8))
        assert.include(warnings[0], `mode 0${mode.toString(8)}). To deny it, run: chmod 700 ${directory}`)
        assert.strictEqual(fs.statSync(directory).mode & 0o777, mode)
      }
    }))

  it.scoped("a wrong durability fails the layer", () =>
    Effect.gen(function*() {
      const durability = "always" as FileStore.Durability
      const error = yield* Effect.flip(filestore.open(yield* filestore.folder, { durability }))
      assert.include(String(error), "write \"rename\" or \"fsync\"")
    }))

  it.scoped("layerConfig takes the options from Config", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* FileStore.layerConfig({ directory: Config.string("SESSIONS") }).pipe(
        Layer.build,
        Effect.map((context) => clocked(Context.get(context, Store.Store))),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["SESSIONS", directory]]))),
        Effect.provide(NodeContext.layer)
      )
      const token = yield* createSession(store, {})
      assert.isTrue(fs.existsSync(sessionFile(directory, token)))
    }))

  it.scoped("sessions outlive the process", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* Effect.scoped(
        Effect.flatMap(filestore.open(directory), (store) => createSession(store, { n: 3 }))
      )
      assert.deepStrictEqual(fs.readdirSync(directory), [idOf(token)])
      assert.deepStrictEqual(yield* dataOf(yield* filestore.open(directory), token), { n: 3 })
    }))

  it.scoped("S06 S07: the folder holds nothing that a client sends", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, { n: 3 })
      const next = yield* drawToken()
      yield* store.renew(token, 0, next, yield* makeRecord({ n: 4 }))
      for (const name of fs.readdirSync(directory)) {
        for (const text of [name, fs.readFileSync(path.join(directory, name), "utf8")]) {
          assert.notInclude(text, Redacted.value(token))
          assert.notInclude(text, Redacted.value(next))
        }
      }
    }))

  it.effect.prop(
    "no string as a token touches a path outside the folder, in any operation",
    [
      FastCheck.oneof(
        FastCheck.string({ unit: "binary" }),
        FastCheck.constantFrom(
          "../../etc/passwd",
          "..",
          ".",
          "/etc/passwd",
          "a\u0000b",
          "con",
          "__proto__",
          "\r\n",
          "%2e%2e"
        ),
        FastCheck.string({ unit: "binary", minLength: 10_000, maxLength: 10_000 }),
        FastCheck.string({ unit: FastCheck.constantFrom("../", "\ud800", "a"), minLength: 10, maxLength: 60 })
      )
    ],
    ([text]) =>
      Effect.gen(function*() {
        const calls: Array<filestore.Call> = []
        const directory = yield* filestore.folder
        const store = yield* filestore.openThen(directory, filestore.recording(calls))
        const token = SessionToken.fromString(text)
        const record = yield* makeRecord({ n: 0 })
        assert.isFalse(store.accepts(token))
        yield* store.load(token)
        yield* store.create(token, record)
        yield* store.touch(token, 0, record.deadline + 1)
        const revision = revisionOf(yield* store.update(token, 0, record))
        yield* store.renew(token, revision, SessionToken.fromString(text + "x"), record)
        yield* store.remove(token)
        assert.isNotEmpty(calls)
        for (const call of calls) {
          for (const file of call.paths.filter((file) => file !== directory)) {
            assert.strictEqual(path.dirname(file), directory)
            assert.match(path.basename(file), /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/)
          }
        }
      }).pipe(Effect.scoped),
    { fastCheck: { numRuns: 60 } }
  )
})

describe("FileStore: durability", () => {
  const kindOf = (directory: string, file: string): string =>
    file === directory ? "folder" : (/\.(\w+)$/.exec(file)?.[1] ?? "session")

  const callsOf = (
    durability: FileStore.Durability,
    act: (
      store: Clocked,
      token: SessionToken.Token,
      record: SessionRecord
    ) => Effect.Effect<unknown, unknown>
  ) =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const calls: Array<filestore.Call> = []
      const writer = yield* filestore.open(directory)
      const token = yield* createSession(writer, { n: 0 })
      const store = yield* filestore.open(directory, { durability, around: filestore.recording(calls) })
      calls.length = 0
      yield* act(store, token, yield* recordOf(writer, token))
      return calls.map((call) => [call.method, ...call.paths.map((file) => kindOf(directory, file))].join(" "))
    })

  it.scoped("fsync: the file is synced before it gets its name, the folder after, and only then the lock goes", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* callsOf("fsync", (store, token, record) => add(store, token, record, 1)), [
        "open tmp",
        "writeAll tmp",
        "sync tmp",
        "link tmp lock",
        "readFile session",
        "rename tmp session",
        "open folder",
        "sync folder",
        "rename lock trash"
      ])
      assert.deepStrictEqual(yield* callsOf("fsync", (store) => createSession(store, { n: 1 })), [
        "open tmp",
        "writeAll tmp",
        "sync tmp",
        "link tmp session",
        "open folder",
        "sync folder",
        "rename tmp trash"
      ])
    }))

  it.scoped("fsync: a renewal's new file is on disk before the old one is superseded", () =>
    Effect.gen(function*() {
      const calls = yield* callsOf("fsync", (store, token, record) =>
        Effect.flatMap(drawToken(), (next) => store.renew(token, 0, next, record)))
      const placed = calls.indexOf("link tmp session")
      const committed = calls.indexOf("rename tmp session")
      assert.isBelow(calls.indexOf("sync tmp"), placed)
      assert.include(calls.slice(placed, committed), "sync folder")
      assert.include(calls.slice(committed), "sync folder")
    }))

  it.scoped("rename, the default: a write is five calls, a read is one, nothing is synced", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* callsOf("rename", (store, token, record) => add(store, token, record, 1)), [
        "writeFile tmp",
        "link tmp lock",
        "readFile session",
        "rename tmp session",
        "rename lock trash"
      ])
      assert.deepStrictEqual(yield* callsOf("rename", (store, token) => store.load(token)), ["readFile session"])
    }))
})

describe("FileStore: the folder can't be synced", () => {
  for (const nth of [1, 2, 3]) {
    it.scopedLive(`S13 S15: in a renewal, at sync ${nth}: one of both tokens lives`, () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        const reader = yield* filestore.open(directory)
        const token = yield* createSession(reader, { n: 0 })
        let count = 0
        const around = filestore.failing("EIO", ({ method, paths }) =>
          method === "sync" && paths[0] === directory && ++count === nth)
        const store = yield* filestore.open(directory, { durability: "fsync", around })
        const next = yield* drawToken(token)
        yield* Effect.exit(store.renew(token, 0, next, withData(yield* recordOf(reader, token), { n: 1 })))
        assert.isAtLeast(count, nth)
        const [before, after] = yield* Effect.all([reader.load(token), reader.load(next)])
        assert.deepStrictEqual([before._tag, after._tag], nth === 1 ? ["Live", "None"] : ["Superseded", "Live"])
      }))
  }

  it.scopedLive("in a create: no temporary file is left", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const around = filestore.failing("EIO", ({ method, paths }) => method === "sync" && paths[0] === directory)
      const store = yield* filestore.open(directory, { durability: "fsync", around })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(store.create(yield* drawToken(), yield* makeRecord({})))))
      assert.isEmpty(fs.readdirSync(directory).filter((name) => name.endsWith(".tmp")))
    }))
})

describe("FileStore: another clock", () => {
  it.scopedLive("S13: a renewal that was stopped for ten minutes and swept keeps what it answers for", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const reader = yield* filestore.open(directory)
      const token = yield* createSession(reader, { n: 0 })
      const stopped = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      let stops = true
      const store = yield* filestore.openThen(directory, (call, effect) =>
        Effect.suspend(() => {
          const [from = "", to = ""] = call.paths
          if (!stops || call.method !== "rename" || !from.endsWith(".tmp") || to.endsWith(".trash")) {
            return effect
          }
          stops = false
          return Effect.zipRight(Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go)), effect)
        }))
      const next = yield* drawToken(token)
      const record = withData(yield* recordOf(reader, token), { n: 1 })
      const renewing = yield* Effect.fork(Effect.exit(store.renew(token, 0, next, record)))
      yield* Deferred.await(stopped)
      const now = yield* Clock.currentTimeMillis
      yield* Effect.gen(function*() {
        yield* TestClock.setTime(now + 10 * 60_000)
        yield* filestore.open(directory)
        yield* asleep
        yield* TestClock.adjust("1 minute")
        yield* asleep
        yield* TestClock.adjust("1 minute")
        yield* asleep
      }).pipe(Effect.scoped, Effect.provide(TestContext.TestContext))
      yield* Deferred.succeed(go, undefined)
      const exit = yield* Fiber.join(renewing)
      const renewed = Exit.isSuccess(exit) && exit.value._tag === "Updated"
      assert.strictEqual((yield* reader.load(renewed ? next : token))._tag, "Live")
    }))

  it.scopedLive(
    "S65: a dead owner's lock is broken also when the time of day is set back meanwhile",
    () =>
      Effect.gen(function*() {
        const directory = yield* filestore.folder
        const first = yield* filestore.open(directory)
        const token = yield* createSession(first, { n: 0 })
        const record = yield* recordOf(first, token)
        const killed = yield* Deferred.make<void>()
        const victim = yield* filestore.openThen(
          directory,
          filestore.killedAfter(3, Effect.asVoid(Deferred.succeed(killed, undefined)))
        )
        yield* Effect.forkDaemon(victim.update(token, 0, withData(record, { n: 1 })))
        yield* Deferred.await(killed)
        const real = Clock.make()
        let asked = 0
        // the first look at the lock is before the hour goes back, all others are after
        const time = () => real.unsafeCurrentTimeMillis() - (asked++ < 3 ? 0 : hour)
        const clock: Clock.Clock = {
          ...real,
          [Clock.ClockTypeId]: Clock.ClockTypeId,
          unsafeCurrentTimeMillis: time,
          currentTimeMillis: Effect.sync(time),
          unsafeCurrentTimeNanos: () => real.unsafeCurrentTimeNanos(),
          sleep: (duration) => real.sleep(duration)
        }
        const answer = yield* Effect.withClock(first.update(token, 0, withData(record, { n: 2 })), clock)
        assert.strictEqual(answer._tag, "Updated")
      }),
    10_000
  )
})

describe("FileStore: sweep", () => {
  it.scopedLive("S68: what is over goes a minute later; what lives, and what is not ours, stays", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const over = yield* createSession(store, {}, { deadline: Date.now() + 1000 })
      const lives = yield* createSession(store, { n: 1 })
      const removed = yield* createSession(store, {})
      yield* store.remove(removed)
      fs.writeFileSync(path.join(directory, "notes.txt"), "mine")
      yield* sweptAfter(directory, 30_000)
      assert.lengthOf(names(directory), 4)
      yield* sweptAfter(directory, 61_500)
      assert.isFalse(fs.existsSync(sessionFile(directory, over)))
      assert.isTrue(fs.existsSync(sessionFile(directory, removed)))
      yield* sweptAfter(directory, 121_000)
      assert.deepStrictEqual(names(directory).sort(), [idOf(lives), "notes.txt"].sort())
      assert.deepStrictEqual(yield* dataOf(store, lives), { n: 1 })
    }))

  it.scopedLive("set-aside files go after a day, temporary files and dead locks after ten minutes", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, {}, {
        deadline: Date.now() + 48 * hour,
        expiresAt: Date.now() + 48 * hour
      })
      const torn = yield* createSession(store, {})
      const folder = yield* createSession(store, {})
      fs.writeFileSync(sessionFile(directory, torn), "")
      fs.rmSync(sessionFile(directory, folder))
      fs.mkdirSync(path.join(sessionFile(directory, folder), "deep"), { recursive: true })
      const died = yield* Deferred.make<void>()
      const victim = yield* filestore.openThen(directory, filestore.killedAfter(2, Deferred.succeed(died, undefined)))
      yield* Effect.forkDaemon(add(victim, token, yield* recordOf(store, token), 1))
      yield* Deferred.await(died)
      const kinds = () => names(directory).map((name) => /\.(\w+)$/.exec(name)?.[1] ?? "session").sort()
      yield* sweptAfter(directory, 60_000)
      assert.deepStrictEqual(kinds(), ["corrupt", "corrupt", "lock", "session", "tmp"])
      yield* sweptAfter(directory, 11 * 60_000)
      // The clock may have been set forward: they are deleted if the next sweep still finds them.
      assert.deepStrictEqual(kinds(), ["corrupt", "corrupt", "lock", "session", "tmp"])
      yield* sweptAfter(directory, 11 * 60_000, { passes: 2 })
      assert.deepStrictEqual(kinds(), ["corrupt", "corrupt", "lock", "session"])
      // The lock's base is still current: only the next write makes it worthless.
      yield* add(store, token, yield* recordOf(store, token), 1)
      assert.deepStrictEqual(kinds(), ["corrupt", "corrupt", "session"])
      yield* sweptAfter(directory, 25 * hour)
      assert.deepStrictEqual(kinds(), ["session"])
    }))

  /** A folder that lists so many files which aren't there, each read as `content`; counts what is asked of them. */
  const pretending = (count: number, content: Uint8Array) => {
    const listed = Array.from({ length: count }, (_, index) => String(index).padStart(43, "0"))
    const asked = { read: 0, removed: 0 }
    const isPretended = (call: filestore.Call) => /^0{30}/.test(path.basename(call.paths[0] ?? ""))
    const around: filestore.Around = (call, effect) =>
      Effect.suspend(() => {
        if (call.method === "readDirectory") {
          return Effect.map(effect, (names) => [...names as ReadonlyArray<string>, ...listed] as typeof names)
        }
        if (!isPretended(call)) {
          return effect
        }
        if (call.method === "readFile") {
          asked.read++
          return Effect.succeed(content as never)
        }
        asked.removed++
        return Effect.succeed(undefined as never)
      })
    return { asked, around }
  }

  const expired = Format.encodeLive(
    { _tag: "Entry", revision: 0, touchedAt: 0, deadline: -hour, body: "{}" },
    "x",
    0
  )

  it.scopedLive("S68: a sweep of 100,000 files looks at 500 at most before the event loop has its turn", () =>
    Effect.gen(function*() {
      const { around, asked } = pretending(100_000, expired)
      let most = 0
      let before = 0
      let immediate: NodeJS.Immediate
      const turn = () => {
        most = Math.max(most, asked.read - before)
        before = asked.read
        immediate = setImmediate(turn)
      }
      turn()
      yield* Effect.addFinalizer(() => Effect.sync(() => clearImmediate(immediate)))
      yield* sweptAfter(yield* filestore.folder, 0, { around })
      assert.deepStrictEqual(asked, { read: 100_000, removed: 100_000 })
      assert.strictEqual(most, 500)
    }))

  it.scopedLive("S68: all through a sweep of 100,000 files a request is answered at each turn of the event loop", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* createSession(yield* filestore.open(directory), { n: 1 })
      const bytes = fs.readFileSync(sessionFile(directory, token))
      // A disk that answers at the next turn, so that how many files are swept meanwhile is the sweep's doing alone.
      const store = yield* filestore.openThen(directory, (call, effect) =>
        call.method === "readFile"
          ? Effect.async((resume) => void setImmediate(() => resume(Effect.succeed(bytes as never))))
          : effect)
      const { around, asked } = pretending(100_000, expired)
      let most = 0
      let before = 0
      yield* dataOf(store, token).pipe(
        Effect.map((data) => {
          assert.deepStrictEqual(data, { n: 1 })
          most = Math.max(most, asked.read - before)
          before = asked.read
        }),
        Effect.forever,
        Effect.forkScoped
      )
      yield* sweptAfter(directory, 0, { around })
      assert.strictEqual(asked.removed, 100_000)
      assert.isAtMost(most, 1000)
    }))

  it.scopedLive("S68: a sweep of 1,200 real files leaves those that live", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const lives = yield* createSession(store, { n: 0 })
      for (let index = 0; index < 1200; index++) {
        fs.writeFileSync(path.join(directory, String(index).padStart(43, "0")), expired)
      }
      yield* sweptAfter(directory, 0)
      assert.deepStrictEqual(names(directory), [idOf(lives)])
    }))

  it.scopedLive("S68: a folder whose files fill whole batches is gone through once in a sweep", () =>
    Effect.gen(function*() {
      const living = {
        _tag: "Entry",
        revision: 0,
        touchedAt: 0,
        deadline: Number.MAX_SAFE_INTEGER,
        body: "{}"
      } as const
      const { around, asked } = pretending(1000, Format.encodeLive(living, "x", 0))
      yield* sweptAfter(yield* filestore.folder, 0, { around })
      assert.deepStrictEqual(asked, { read: 1000, removed: 0 })
    }))

  it.scoped("N3: a folder whose sessions live on is gone through once an hour, and a new one that ends sooner is not missed", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const calls: Array<filestore.Call> = []
      const store = yield* filestore.openThen(directory, filestore.recording(calls))
      yield* createSession(store, {}, { deadline: 100 * hour, expiresAt: 100 * hour })
      const passes = Effect.sync(() => calls.splice(0).filter((call) => call.method === "readDirectory").length)
      yield* asleep
      yield* TestClock.adjust("1 minute")
      yield* asleep
      assert.strictEqual(yield* passes, 1)
      for (let minute = 0; minute < 59; minute++) {
        yield* TestClock.adjust("1 minute")
        yield* asleep
      }
      assert.strictEqual(yield* passes, 0)
      yield* TestClock.adjust("1 minute")
      yield* asleep
      assert.strictEqual(yield* passes, 1)
      const short = yield* createSession(store, {}, { deadline: hour + 5 * 60_000 })
      yield* TestClock.adjust("8 minutes")
      yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve))).pipe(
        Effect.repeat({ until: () => !fs.existsSync(sessionFile(directory, short)) })
      )
      yield* asleep
      assert.strictEqual(yield* passes, 1)
    }))

  it.scoped("S68: a sweep that fails is tried again, and a file once seen alive is not read again before its time", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      // Closed again: its own sweep must not be mistaken for that of the store under test.
      const token = yield* Effect.scoped(
        Effect.flatMap(filestore.open(directory), (store) => createSession(store, {}))
      )
      const calls: Array<filestore.Call> = []
      let fails = true
      yield* filestore.openThen(directory, (call, effect) =>
        fails && call.method === "readDirectory"
          ? filestore.failing("EIO", () => true)(call, effect)
          : filestore.recording(calls)(call, effect))
      const reads = Effect.sync(() => calls.splice(0).filter((call) => call.method === "readFile").length)
      const minute = Effect.zipRight(TestClock.adjust("1 minute"), asleep)
      yield* asleep
      yield* minute
      assert.strictEqual(yield* reads, 0)
      fails = false
      yield* minute
      assert.strictEqual(yield* reads, 1)
      yield* minute
      assert.strictEqual(yield* reads, 0)
      yield* TestClock.adjust("2 hours")
      yield* asleep
      // The clock went on while that sweep read its file; this one begins after.
      yield* minute
      assert.isFalse(fs.existsSync(sessionFile(directory, token)))
    }))
})
