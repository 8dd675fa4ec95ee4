import { NodeContext } from "@effect/platform-node"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Logger, TestClock } from "effect"
import * as SessionToken from "effect-session/SessionToken"
import * as fs from "node:fs"
import fsPromises from "node:fs/promises"
import * as path from "node:path"
import { Deadlines } from "../src/internal/fileStore/deadlines.js"
import * as Disk from "../src/internal/fileStore/disk.js"
import * as Format from "../src/internal/fileStore/format.js"
import * as Listing from "../src/internal/fileStore/listing.js"
import * as Swap from "../src/internal/fileStore/swap.js"
import * as Sweep from "../src/internal/fileStore/sweep.js"
import * as filestore from "./fixtures/filestore.js"
import { createSession, dataOf, drawToken, hour, makeRecord, recordOf, withData } from "./support/records.js"

const idOf = (token: SessionToken.Token): string => SessionToken.unsafeToId(token) ?? ""

const kindsIn = (directory: string): Array<string> =>
  fs.readdirSync(directory)
    .map((name) => /\.(\w+)$/.exec(name)?.[1] ?? "session")
    .filter((kind) => kind !== "trash")
    .sort()

/** The warnings of damaged files and broken locks belong to these tests. */
const quiet = Logger.remove(Logger.defaultLogger)

const fill = (directory: string, count: number): Array<string> => {
  const names = Array.from({ length: count }, (_, index) => String(index).padStart(43, "0"))
  for (const name of names) {
    fs.writeFileSync(path.join(directory, name), "")
  }
  return names
}

/** Replaces Node's `opendir` by one that tells of each name as it is read. */
const openingWith = (onName: () => void) => {
  const { opendir } = fsPromises
  return Effect.acquireRelease(
    Effect.sync(() => {
      fsPromises.opendir = async (...args) => {
        const folder = await opendir(...args)
        return new Proxy(folder, {
          get: (target, key) =>
            key === Symbol.asyncIterator
              ? async function*() {
                for await (const entry of target) {
                  onName()
                  yield entry
                }
              }
              : Reflect.get(target, key, target) as unknown
        })
      }
    }),
    () =>
      Effect.sync(() => {
        fsPromises.opendir = opendir
      })
  )
}

describe("FileStore: the list of a large folder", () => {
  it.scopedLive("D14: 3,000 names come 500 at most before the event loop has its turn, each once", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const names = fill(directory, 3000)
      let read = 0
      let most = 0
      let before = 0
      let immediate: NodeJS.Immediate
      const turn = () => {
        most = Math.max(most, read - before)
        before = read
        immediate = setImmediate(turn)
      }
      turn()
      yield* Effect.addFinalizer(() => Effect.sync(() => clearImmediate(immediate)))
      yield* openingWith(() => read++)
      const listed = yield* Listing.list(yield* FileSystem.FileSystem, directory)
      assert.strictEqual(read, 3000)
      assert.isAtMost(most, 500)
      assert.deepStrictEqual(listed.sort(), names)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("D14: the names come from the file system that the app provides, if that isn't Node's own", () =>
    Effect.gen(function*() {
      const real = yield* FileSystem.FileSystem
      const directory = yield* filestore.folder
      const other = yield* filestore.folder
      fill(directory, 3)
      fs.writeFileSync(path.join(other, "elsewhere"), "")
      const inOther: FileSystem.FileSystem = {
        ...real,
        readDirectory: () => real.readDirectory(other),
        stat: () => real.stat(other)
      }
      assert.deepStrictEqual(yield* Listing.list(inOther, directory), ["elsewhere"])
      assert.lengthOf(yield* Listing.list(real, directory), 3)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("D14: a folder that is gone is reported as the platform reports it", () =>
    Effect.gen(function*() {
      const missing = path.join(yield* filestore.folder, "missing")
      const error = yield* Effect.flip(Listing.list(yield* FileSystem.FileSystem, missing))
      assert.isTrue(Swap.isNotFound(error))
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("FileStore: the deadlines that the sweep remembers", () => {
  it("D14: they are limited, and one that is known can still be moved", () => {
    const deadlines = new Deadlines(2)
    deadlines.set("a", 1)
    deadlines.set("b", 2)
    deadlines.set("c", 3)
    deadlines.set("b", 4)
    assert.deepStrictEqual(["a", "b", "c"].map((id) => deadlines.take(id)), [1, 4, undefined])
    deadlines.set("c", 5)
    deadlines.set("d", 6)
    deadlines.set("e", 7)
    assert.deepStrictEqual(["c", "d", "e"].map((id) => deadlines.take(id)), [5, 6, undefined])
  })

  it("D14: one that is written anew is moved to an earlier time alone, and none is added", () => {
    const deadlines = new Deadlines(10)
    deadlines.set("a", 5)
    deadlines.advance("a", 7)
    deadlines.advance("a", 3)
    deadlines.advance("ab", 3)
    assert.deepStrictEqual(["a", "ab"].map((id) => deadlines.take(id)), [3, undefined])
  })

  it.scoped("D14: the file of a session that was logged out goes with its tombstone, not at the session's old end", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* filestore.open(directory)
      const token = yield* createSession(store, {}, { deadline: 100 * hour, expiresAt: 100 * hour })
      yield* filestore.asleep
      yield* TestClock.adjust("1 minute")
      yield* filestore.asleep
      yield* store.remove(token)
      for (let hours = 0; hours < 3; hours++) {
        yield* TestClock.adjust("1 hour")
        yield* filestore.asleep
        yield* TestClock.adjust("1 minute")
        yield* filestore.asleep
      }
      assert.isFalse(fs.existsSync(path.join(directory, idOf(token))))
    }))
})

describe("FileStore: how long a sweep rests", () => {
  /** A pass over so many files of this content, each read in a tenth of a millisecond of a clock that doesn't wait. */
  const pass = (count: number, content: Format.Found, readTime = 0.1) =>
    Effect.gen(function*() {
      const clock = filestore.hastyClock(0)
      let worked = 0
      const fileSystem = yield* FileSystem.FileSystem
      const real = Swap.make({
        disk: Disk.ofPlatform(fileSystem),
        fileSystem,
        path: yield* Path.Path,
        directory: yield* filestore.folder,
        sync: false
      })
      const files: Swap.Files = {
        ...real,
        list: Effect.sync(() => Array.from({ length: count }, (_, index) => String(index).padStart(43, "0"))),
        read: () =>
          Effect.sync(() => {
            worked += readTime
            return content
          })
      }
      const timed: Clock.Clock = {
        ...clock,
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        currentTimeNanos: Effect.sync(() => BigInt(Math.round((clock.slept + worked) * 1_000_000)))
      }
      const { sweep } = Sweep.make(files, () => Effect.void, () => Effect.void)
      let longest = 0
      for (let visited = 500; visited === 500;) {
        const before = clock.slept
        visited = yield* Effect.withClock(sweep(500, 0), timed)
        longest = Math.max(longest, clock.slept - before)
      }
      return { worked, slept: clock.slept, longest }
    }).pipe(Effect.provide(NodeContext.layer))

  const living: Format.Found = {
    _tag: "Entry",
    nonce: "0-x-0",
    revision: 0,
    touches: 0,
    touchedAt: 0,
    deadline: hour,
    body: "{}",
    from: undefined
  }

  it.scoped(
    "D14: a sweep of 300,000 live files works for less than 2 % of the time, and rests between any two steps",
    () =>
      Effect.gen(function*() {
        const { longest, slept, worked } = yield* pass(300_000, living)
        assert.approximately(worked, 30_000, 1)
        assert.isBelow(worked / (worked + slept), 0.02)
        assert.approximately(longest, 5000, 1)
      }),
    60_000
  )

  it.scoped("D14: a slow disk doesn't make it rest for longer than ten seconds", () =>
    Effect.gen(function*() {
      const { longest } = yield* pass(2000, living, 5)
      assert.strictEqual(longest, 10_000)
    }))

  it.scoped("D14: it doesn't rest from the deletion of ended sessions, so they can't become more and more", () =>
    Effect.gen(function*() {
      const { slept } = yield* pass(10_000, { ...living, deadline: -hour })
      assert.strictEqual(slept, 0)
    }))

  it.scoped("D14: a folder of fewer files than one step takes no rest", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* pass(499, living)).slept, 0)
    }))
})

describe("FileStore: what the sweep of another clock may delete", () => {
  /** A store that stops at the first call that `which` picks, until it is let go. */
  const stopping = (directory: string, which: (call: filestore.Call) => boolean) =>
    Effect.gen(function*() {
      const stopped = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      let stops = true
      const store = yield* filestore.openThen(directory, (call, effect) =>
        Effect.suspend(() => {
          if (!stops || !which(call)) {
            return effect
          }
          stops = false
          return Effect.zipRight(Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go)), effect)
        }))
      return { store, stopped: Deferred.await(stopped), go: Deferred.succeed(go, undefined) }
    })

  it.scopedLive("a create under way is not robbed of its temporary file by a clock 20 minutes ahead", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { go, stopped, store } = yield* stopping(directory, (call) => call.method === "link")
      const creating = yield* Effect.fork(createSession(store, { n: 1 }))
      yield* stopped
      yield* filestore.sweptAfter(directory, 20 * 60_000)
      assert.deepStrictEqual(kindsIn(directory), ["tmp"])
      yield* go
      assert.deepStrictEqual(yield* dataOf(store, yield* Fiber.join(creating)), { n: 1 })
    }))

  it.scopedLive("S13: nor is a renewal robbed of the session that it begins", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* createSession(yield* filestore.open(directory), { n: 1 })
      const { go, stopped, store } = yield* stopping(
        directory,
        ({ method, paths: [from = "", to = ""] }) =>
          method === "rename" && from.endsWith(".tmp") && to.endsWith(idOf(token))
      )
      const next = yield* drawToken(token)
      const renewing = yield* Effect.fork(store.renew(token, 0, next, yield* recordOf(store, token)))
      yield* stopped
      yield* filestore.sweptAfter(directory, 20 * 60_000)
      assert.isTrue(fs.existsSync(path.join(directory, idOf(next))))
      yield* go
      assert.strictEqual((yield* Fiber.join(renewing))._tag, "Updated")
      assert.deepStrictEqual(yield* dataOf(store, next), { n: 1 })
    }))

  it.scopedLive("what is there still a minute later is deleted", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      fs.writeFileSync(path.join(directory, Format.temporary("a".repeat(43), Format.nonce(Date.now(), "ff", 0))), "")
      yield* filestore.sweptAfter(directory, 9 * 60_000, { passes: 3 })
      assert.deepStrictEqual(kindsIn(directory), ["tmp"])
      yield* filestore.sweptAfter(directory, 11 * 60_000, { passes: 2 })
      assert.deepStrictEqual(kindsIn(directory), [])
    }))
})

describe("FileStore: a lock of a session that has no file", () => {
  /** What a process leaves that is killed as it puts a session in the place of a damaged file. */
  const abandoned = (directory: string) =>
    Effect.gen(function*() {
      const died = yield* Deferred.make<void>()
      const token = yield* drawToken()
      fs.writeFileSync(path.join(directory, idOf(token)), "torn")
      const victim = yield* filestore.openThen(directory, (call, effect) =>
        call.method === "rename" && call.paths[1]?.endsWith(idOf(token)) === true
          ? Effect.zipRight(Deferred.succeed(died, undefined), Effect.never)
          : effect)
      yield* Effect.forkDaemon(victim.create(token, yield* makeRecord({ n: 1 })))
      yield* Deferred.await(died)
      assert.deepStrictEqual(kindsIn(directory), ["corrupt", "lock", "tmp"])
      assert.include(fs.readdirSync(directory), Format.lock(idOf(token), "none"))
      return token
    })

  it.scopedLive("it goes by the sweep, and so does the tombstone that ended it", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      yield* abandoned(directory)
      yield* filestore.sweptAfter(directory, 11 * 60_000, { passes: 4 })
      assert.deepStrictEqual(kindsIn(directory), ["corrupt"])
    }).pipe(Effect.provide(quiet)))

  it.scopedLive("the token can be taken in between", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* abandoned(directory)
      yield* filestore.sweptAfter(directory, 11 * 60_000, { passes: 2 })
      const store = yield* filestore.open(directory)
      assert.strictEqual(
        (yield* Effect.withClock(
          Effect.flatMap(makeRecord({ n: 2 }), (record) => store.create(token, record)),
          filestore.hastyClock(Date.now() + 14 * 60_000)
        ))._tag,
        "Created"
      )
      assert.deepStrictEqual(kindsIn(directory), ["corrupt", "session"])
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 2 })
    }).pipe(Effect.provide(quiet)))

  it.scopedLive("a process that only stood still can't commit on waking, after another took the token", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* drawToken()
      fs.writeFileSync(path.join(directory, idOf(token)), "torn")
      const stopped = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const sleeper = yield* filestore.openThen(
        directory,
        (call, effect) =>
          call.method === "rename" && call.paths[1]?.endsWith(idOf(token)) === true
            ? Effect.zipRight(Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go)), effect)
            : effect
      )
      const record = yield* makeRecord({ whose: "sleeper" })
      const creating = yield* Effect.fork(sleeper.create(token, record))
      yield* Deferred.await(stopped)
      yield* filestore.sweptAfter(directory, 11 * 60_000, { passes: 2 })
      const store = yield* filestore.open(directory)
      assert.strictEqual(
        (yield* Effect.withClock(
          store.create(token, withData(record, { whose: "other" })),
          filestore.hastyClock(Date.now() + 14 * 60_000)
        ))._tag,
        "Created"
      )
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual((yield* Fiber.join(creating))._tag, "Exists")
      assert.deepStrictEqual(yield* dataOf(store, token), { whose: "other" })
    }).pipe(Effect.provide(quiet)))
})
