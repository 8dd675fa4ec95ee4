/**
 * By which way the store reaches its files: Node's own calls, or the file system that the app provides.
 */
import { NodeContext } from "@effect/platform-node"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as FileStore from "effect-session/FileStore"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Disk from "../src/internal/fileStore/disk.js"
import * as filestore from "./fixtures/filestore.js"
import { clocked, createSession, dataOf, recordOf, withData } from "./support/records.js"

/** A store on a file system of the app's own that is made of Node's. */
const openOn = (directory: string, change: (real: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>) =>
  FileStore.make({ directory }).pipe(
    Effect.map(clocked),
    Effect.updateService(FileSystem.FileSystem, (real) => ({ ...real, ...change(real) }))
  )

const swapped = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 1)

/** Both ways to the files of a folder. */
const both = Effect.gen(function*() {
  const directory = yield* filestore.folder
  const fileSystem = yield* FileSystem.FileSystem
  const known = path.join(directory, "known")
  fs.writeFileSync(known, "as it is")
  const platform = Disk.ofPlatform(fileSystem)
  const own = yield* Disk.fastest(fileSystem, known, new TextEncoder().encode("as it is"))
  return { at: (name: string) => path.join(directory, name), own, platform }
})

describe("FileStore: the way to the files", () => {
  it.scoped("a file system of the app's own that changes what it writes is never passed over", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const store = yield* openOn(directory, (real) => ({
        readFile: (path) => Effect.map(real.readFile(path), swapped),
        writeFile: (path, data, options) => real.writeFile(path, swapped(data), options)
      }))
      const token = yield* createSession(store, { secret: "clear" })
      yield* store.update(token, 0, withData(yield* recordOf(store, token), { secret: "clear again" }))
      assert.deepStrictEqual(yield* dataOf(store, token), { secret: "clear again" })
      const contents = fs.readdirSync(directory).map((name) => fs.readFileSync(path.join(directory, name), "latin1"))
      assert.isNotEmpty(contents)
      assert.notInclude(contents.join(), "clear")
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("Node's own files are read and written without a call of the platform's", () =>
    Effect.gen(function*() {
      let opened = false
      const called: Array<string> = []
      const note = (name: string) => {
        if (opened) {
          called.push(name)
        }
      }
      const directory = yield* filestore.folder
      const store = yield* openOn(directory, (real) => ({
        readFile: (path) => (note("readFile"), real.readFile(path)),
        writeFile: (path, data, options) => (note("writeFile"), real.writeFile(path, data, options)),
        rename: (from, to) => (note("rename"), real.rename(from, to))
      }))
      yield* filestore.asleep
      opened = true
      const token = yield* createSession(store, { n: 0 })
      yield* store.update(token, 0, withData(yield* recordOf(store, token), { n: 1 }))
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      assert.deepStrictEqual(called, [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("both ways read the same bytes, whatever the length of the file", () =>
    Effect.gen(function*() {
      const { at, own, platform } = yield* both
      assert.notStrictEqual(own, platform)
      for (const length of [0, 1, 3999, 4000, 4001, 15_999, 16_000, 16_001, 300_000]) {
        const content = Uint8Array.from({ length }, (_, index) => index % 251)
        yield* own.create(at(`f${length}`), content, length % 2 === 0)
        assert.strictEqual(fs.statSync(at(`f${length}`)).mode & 0o777, 0o600)
        for (const disk of [own, platform]) {
          assert.isTrue(Buffer.from(content).equals(yield* disk.read(at(`f${length}`))), String(length))
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("both ways fail with the same errors", () =>
    Effect.gen(function*() {
      const { at, own, platform } = yield* both
      fs.mkdirSync(at("folder"))
      fs.symlinkSync(at("circle"), at("circle"))
      const calls: ReadonlyArray<(disk: Disk.Disk) => Effect.Effect<unknown, unknown>> = [
        (disk) => disk.read(at("missing")),
        (disk) => disk.read(at("folder")),
        (disk) => disk.read(at("circle")),
        (disk) => disk.read(at("known/inside")),
        (disk) => disk.create(at("known"), Uint8Array.of(1), false),
        (disk) => disk.create(at("missing/inside"), Uint8Array.of(1), false),
        (disk) => disk.link(at("known"), at("folder")),
        (disk) => disk.link(at("missing"), at("other")),
        (disk) => disk.rename(at("missing"), at("other")),
        (disk) => disk.syncFolder(at("missing"))
      ]
      const reasonOf = (error: unknown) => (error as { readonly reason?: unknown }).reason
      for (const call of calls) {
        const expected = yield* Effect.flip(call(platform))
        const error = yield* Effect.flip(call(own))
        assert.strictEqual(reasonOf(error), reasonOf(expected), String(expected))
      }
    }).pipe(Effect.provide(NodeContext.layer)))
})
