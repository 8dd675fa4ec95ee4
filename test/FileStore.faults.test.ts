/**
 * What a client sees of a folder that fails, and what the folder holds afterwards: the store under the middleware, on the
 * real file system.
 */
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { CookieState, FileStore, HttpMiddleware, Session, SessionField } from "effect-session"
import * as testing from "effect-session/testing"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { isMainThread } from "node:worker_threads"
import * as filestore from "./fixtures/filestore.js"
import { answering, Count, increment, routes } from "./fixtures/http.js"

const app = HttpMiddleware.session(routes({
  "/": answering(increment),
  "/read": answering(SessionField.get(Count)),
  "/login": answering(Effect.zipRight(increment, Session.renew)),
  "/logout": answering(Session.destroy)
}))

const layer = (directory: string) =>
  Layer.mergeAll(CookieState.layer(), Layer.provide(FileStore.layer({ directory }), NodeContext.layer))

/** A browser before an app whose sessions are in the folder, and what the app logs. */
const browsing = <A, E, R>(
  directory: string,
  test: (browser: testing.Client, logs: ReadonlyArray<string>) => Effect.Effect<A, E, R>
) => {
  const logs: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => {
    logs.push(String(message))
  })
  return Effect.flatMap(testing.client(app), (browser) => test(browser, logs)).pipe(
    Effect.provide(layer(directory)),
    Effect.provide(Logger.replace(Logger.defaultLogger, logger))
  )
}

/** The status and text of an answer. */
const answer = (browser: testing.Client, url: string) =>
  Effect.flatMap(browser.get(url), ({ status, text }) => Effect.map(text, (text) => `${status} ${text}`))

const statusOf = (browser: testing.Client, url: string) => Effect.map(browser.get(url), ({ status }) => status)

const contentOf = (directory: string): ReadonlyArray<readonly [string, string]> =>
  fs.readdirSync(directory)
    .filter((name) => !name.endsWith(".trash") && name !== "filler")
    .map((name) => [name, fs.readFileSync(path.join(directory, name), "latin1")])

/** The superuser may write anywhere, so these tests act as another user, if they can. */
const nobody = 65_534
const isRoot = process.getuid?.() === 0

const asOther = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  isRoot
    ? Effect.acquireUseRelease(
      Effect.sync(() => process.seteuid?.(nobody)),
      () => effect,
      () => Effect.sync(() => process.seteuid?.(0))
    )
    : effect

const ownFolder = Effect.tap(filestore.folder, (directory) =>
  Effect.sync(() => {
    if (isRoot) {
      fs.chownSync(directory, nobody, nobody)
    }
  }))

describe("FileStore: faults of the folder at the start", () => {
  it.scopedLive("a folder that is missing is made, with those above it", () =>
    Effect.gen(function*() {
      const directory = path.join(yield* filestore.folder, "not", "there")
      yield* browsing(directory, (browser) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* answer(browser, "/"), "200 1")
          assert.strictEqual(yield* answer(browser, "/"), "200 2")
        }))
      assert.lengthOf(contentOf(directory), 1)
    }))

  // a worker thread, such as those that mutants run in, can't change its user
  it.scopedLive.skipIf(!isMainThread)(
    "a folder that may not be written fails the layer, and the error says which and why",
    () =>
      Effect.gen(function*() {
        const directory = yield* ownFolder
        fs.chmodSync(directory, 0o500)
        const error = yield* asOther(Effect.flip(Layer.build(layer(directory))))
        assert.include(
          String(error),
          `write the path of a folder in which this process may create and link files. ${directory} can't be used: EACCES`
        )
        assert.isEmpty(fs.readdirSync(directory))
      })
  )
})

describe("FileStore: faults of the folder in use", () => {
  it.scopedLive.skipIf(!isMainThread)(
    "a folder that may not be read any more: 503, nothing is lost, and it goes on after",
    () =>
      Effect.gen(function*() {
        const directory = yield* ownFolder
        yield* asOther(browsing(directory, (browser) =>
          Effect.gen(function*() {
            assert.strictEqual(yield* answer(browser, "/"), "200 1")
            const before = contentOf(directory)
            fs.chmodSync(directory, 0)
            for (const url of ["/read", "/", "/login", "/logout"]) {
              assert.strictEqual(yield* statusOf(browser, url), 503, url)
            }
            fs.chmodSync(directory, 0o500)
            assert.strictEqual(yield* answer(browser, "/read"), "200 1")
            for (const url of ["/", "/login", "/logout"]) {
              assert.strictEqual(yield* statusOf(browser, url), 503, url)
            }
            fs.chmodSync(directory, 0o700)
            assert.deepStrictEqual(contentOf(directory), before)
            assert.strictEqual(yield* answer(browser, "/"), "200 2")
          })))
      })
  )

  it.scopedLive("S25: while the folder is gone nothing is read or ended, and no logout is answered that was not done", () =>
    Effect.gen(function*() {
      const directory = path.join(yield* filestore.folder, "sessions")
      yield* browsing(directory, (browser, logs) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* answer(browser, "/"), "200 1")
          fs.renameSync(directory, `${directory}.away`)
          for (const url of ["/read", "/", "/login", "/logout"]) {
            assert.strictEqual(yield* statusOf(browser, url), 503, url)
          }
          assert.isFalse(fs.existsSync(directory))
          assert.include(logs, "the session could not be loaded")
          fs.renameSync(`${directory}.away`, directory)
          assert.strictEqual(yield* answer(browser, "/"), "200 2")
        }))
    }))

  it.scopedLive("a folder that was deleted is made again by the next session that begins, with a warning", () =>
    Effect.gen(function*() {
      const directory = path.join(yield* filestore.folder, "sessions")
      yield* browsing(directory, (browser, logs) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* answer(browser, "/"), "200 1")
          fs.rmSync(directory, { recursive: true })
          assert.strictEqual(yield* statusOf(browser, "/"), 503)
          const another = yield* testing.client(app)
          const before = logs.length
          assert.strictEqual(yield* answer(another, "/"), "200 1")
          assert.deepStrictEqual(logs.slice(before), [
            "FileStore: The folder of sessions was deleted. It is made again, and all sessions have ended."
          ])
          assert.strictEqual(yield* answer(browser, "/read"), "200 0")
          assert.strictEqual(yield* answer(another, "/"), "200 2")
          assert.lengthOf(contentOf(directory), 1)
        }))
    }))

  it.scopedLive("a folder that went with the one it was in, as on a disk that was unmounted, is not made again", () =>
    Effect.gen(function*() {
      const disk = path.join(yield* filestore.folder, "disk")
      const directory = path.join(disk, "sessions")
      yield* browsing(directory, (browser) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* answer(browser, "/"), "200 1")
          fs.renameSync(disk, `${disk}.away`)
          assert.strictEqual(yield* statusOf(yield* testing.client(app), "/"), 503)
          assert.isFalse(fs.existsSync(disk))
          fs.renameSync(`${disk}.away`, disk)
          assert.strictEqual(yield* answer(browser, "/"), "200 2")
        }))
    }))
})

describe("FileStore: a full disk", () => {
  const mounted = Effect.acquireRelease(
    Effect.sync(() => {
      const directory = fs.mkdtempSync(path.join(tmpdir(), "filestore-full-"))
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", directory], { stdio: "ignore" })
        return directory
      } catch {
        fs.rmdirSync(directory)
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

  /** Takes what room is left, to the last byte. */
  const fillUp = (directory: string): void => {
    const filler = fs.openSync(path.join(directory, "filler"), "w")
    try {
      for (;;) fs.writeSync(filler, Buffer.alloc(512))
    } catch (error) {
      assert.strictEqual((error as NodeJS.ErrnoException).code, "ENOSPC")
    } finally {
      fs.closeSync(filler)
    }
  }

  it.scopedLive("D16: every write is 503, the logout too; sessions stay readable and whole, and go on with room again", (context) =>
    Effect.gen(function*() {
      const directory = yield* mounted
      if (directory === undefined) {
        return context.skip("skipped: this process may not mount a file system")
      }
      yield* browsing(directory, (browser, logs) =>
        Effect.gen(function*() {
          const visitor = yield* testing.client(app)
          assert.strictEqual(yield* answer(browser, "/"), "200 1")
          fillUp(directory)
          const before = contentOf(directory)
          for (const url of ["/", "/login", "/logout"]) {
            const failed = yield* browser.get(url)
            assert.strictEqual(failed.status, 503, url)
            assert.deepStrictEqual(failed.setCookies, [], url)
          }
          assert.strictEqual(yield* statusOf(visitor, "/"), 503)
          assert.isAbove(logs.length, 0)
          assert.strictEqual(yield* answer(browser, "/read"), "200 1")
          assert.deepStrictEqual(contentOf(directory), before)
          fs.rmSync(path.join(directory, "filler"))
          assert.strictEqual(yield* answer(browser, "/"), "200 2")
          assert.strictEqual(yield* statusOf(browser, "/logout"), 200)
          assert.strictEqual(yield* answer(browser, "/read"), "200 0")
        }))
    }))

  it.scopedLive("the sweep makes room: it deletes ended sessions without writing", (context) =>
    Effect.gen(function*() {
      const directory = yield* mounted
      if (directory === undefined) {
        return context.skip("skipped: this process may not mount a file system")
      }
      const first = yield* browsing(directory, (browser) => answer(browser, "/"))
      assert.strictEqual(first, "200 1")
      // The sweeping process is open before the disk is full, because a start needs room.
      const around: filestore.Around = (call, effect) =>
        Effect.suspend(() => {
          if (call.method === "readDirectory") {
            fillUp(directory)
          }
          return effect
        })
      yield* filestore.sweptAfter(directory, 400 * 24 * 3_600_000, { around })
      assert.deepStrictEqual(contentOf(directory), [])
    }))
})
