/**
 * The lists of sessions by subject that the file store keeps: what is on the disk, what a killed process leaves, and what
 * the sweep does about it. What the service answers is in `Sessions.test.ts`.
 */
import { NodeContext } from "@effect/platform-node"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Clock, Context, Deferred, Effect, Fiber, Layer, Logger, Option, type Scope, Stream } from "effect"
import * as FileStore from "effect-session/FileStore"
import { encode as encodeRecord, type SessionRecord } from "effect-session/SessionRecord"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import { isMainThread } from "node:worker_threads"
import * as Format from "../src/internal/fileStore/format.js"
import { subjectHash } from "../src/internal/store/subject.js"
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
  withData
} from "./support/records.js"

const minute = 60_000

const idOf = (token: SessionToken.Token): string => SessionToken.unsafeToId(token) ?? ""

interface Opened {
  readonly store: Clocked
  readonly sessions: Sessions.Service
}

/** Both services on a folder, as one process has them: by the platform's calls, unless `onNode` asks for Node's own. */
const open = (
  directory: string,
  options: {
    readonly around?: filestore.Around
    readonly durability?: FileStore.Durability
    readonly onNode?: boolean
  } = {}
) =>
  FileStore.layer({ directory, durability: options.durability }).pipe(
    Layer.provide(
      options.onNode === true ? NodeContext.layer : filestore.services(options.around ?? filestore.untouched)
    ),
    Layer.build,
    Effect.map((services): Opened => ({
      store: clocked(Context.get(services, Store.Store)),
      sessions: Context.get(services, Sessions.Sessions)
    }))
  )

/** The same, whose file system has `around` it only after it was opened. */
const openThen = (directory: string, around: filestore.Around) => {
  let opened = false
  return Effect.tap(
    open(directory, { around: (call, effect) => Effect.suspend(() => opened ? around(call, effect) : effect) }),
    () => Effect.sync(() => opened = true)
  )
}

/** The paths of all files below the folder of lists. */
const listFiles = (directory: string): Array<string> => {
  const lists = path.join(directory, "subjects")
  return fs.existsSync(lists)
    ? fs.readdirSync(lists, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) =>
      path.join(entry.parentPath, entry.name)
    )
    : []
}

/** The ids that are listed on the disk, whoever's they are. */
const listedIds = (directory: string): Array<string> =>
  listFiles(directory).map((file) => path.basename(file).slice(44)).sort()

const idsOf = (sessions: Sessions.Service, subject: string) =>
  Effect.map(
    Stream.runCollect(sessions.list(subject)),
    (found) => Chunk.toReadonlyArray(found).map(({ id }): string => id)
  )

const login = (store: Store.Store, subject: string, more: Partial<SessionRecord> = {}) =>
  createSession(store, { n: 0 }, { subject, authenticatedAt: 0, ...more })

const renew = (store: Clocked, token: SessionToken.Token, more: Partial<SessionRecord> = {}) =>
  Effect.gen(function*() {
    const next = yield* drawToken(token)
    const record = yield* recordOf(store, token)
    assert.strictEqual((yield* store.renew(token, record.revision, next, { ...record, ...more }))._tag, "Updated")
    return next
  })

/** Makes the file of a list as old as so many minutes. */
const age = (file: string, minutes: number): void => {
  const time = Date.now() / 1000 - 60 * minutes
  fs.utimesSync(file, time, time)
}

/** Writes the file that lists an id, by hand. */
const listByHand = (directory: string, subject: string, id: string) =>
  Effect.map(subjectHash(subject), (hash) => {
    const file = path.join(directory, Format.listed(hash, id))
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, "")
    return file
  })

/** Warnings of broken locks and of a folder that was deleted belong to these tests. */
const quiet = Logger.remove(Logger.defaultLogger)

const subjects: ReadonlyArray<string> = [
  "../../etc/passwd",
  "a/b\\c:d*e?f",
  "/",
  "..",
  "nul\0byte",
  "__proto__",
  "CON",
  "\ud800",
  "\udfff",
  "\ufffd",
  "🙂",
  "ann",
  "ANN",
  "x".repeat(10_240)
]

describe("FileStore: the lists by subject on the disk", () => {
  it.scoped("S06 S07: no name holds a subject, and each session is an empty file under its hash", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { store } = yield* open(directory)
      const expected = yield* Effect.forEach(subjects, (subject) =>
        Effect.gen(function*() {
          const token = yield* login(store, subject)
          return path.join(directory, Format.listed(yield* subjectHash(subject), idOf(token)))
        }))
      assert.deepStrictEqual(listFiles(directory).sort(), expected.sort())
      for (const file of expected) {
        assert.match(path.relative(directory, file), /^subjects\/[\w-]{2}\/[\w-]{43}\.[\w-]{43}$/)
        assert.strictEqual(fs.statSync(file).size, 0)
      }
    }))

  // a worker thread, such as those that mutants run in, can't set the umask
  it.scoped.skipIf(!isMainThread)("other users can't read a list, whatever the umask", () =>
    Effect.gen(function*() {
      const umask = process.umask(0)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.umask(umask)))
      for (const onNode of [true, false]) {
        const directory = yield* filestore.folder
        yield* login((yield* open(directory, { onNode })).store, "ann")
        const [file = ""] = listFiles(directory)
        const modes = [path.join(directory, "subjects"), path.dirname(file), file].map((made) =>
          fs.statSync(made).mode & 0o777
        )
        assert.deepStrictEqual(modes, [0o700, 0o700, 0o600])
      }
    }))

  it.scoped("where no session has a subject, nothing is made", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { store } = yield* open(directory)
      const token = yield* renew(store, yield* createSession(store, { n: 0 }))
      yield* store.update(token, (yield* recordOf(store, token)).revision, yield* makeRecord({ n: 1 }))
      yield* store.remove(token)
      assert.isFalse(fs.existsSync(path.join(directory, "subjects")))
    }))

  it.scoped("a login, a renewal and a logout cost one or two calls more, and nothing else costs any", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const calls: Array<filestore.Call> = []
      const { sessions, store } = yield* open(directory, { around: filestore.recording(calls) })
      const costOf = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.gen(function*() {
          calls.length = 0
          const value = yield* effect
          const ofLists = calls.filter(({ paths }) => paths[0]?.includes("subjects") === true)
          return [value, ofLists.map(({ method }) => method), calls.length - ofLists.length] as const
        })
      const [, first, cost] = yield* costOf(login(store, "ann"))
      assert.deepStrictEqual(first, ["makeDirectory", "makeDirectory", "writeFile"])
      const [token, second] = yield* costOf(login(store, "ann"))
      assert.deepStrictEqual(second, ["writeFile"])
      const [anonymous, none, costOfAnonymous] = yield* costOf(createSession(store, {}))
      assert.deepStrictEqual([none, costOfAnonymous], [[], cost])
      const record = yield* recordOf(store, token)
      const [updated, ofUpdate] = yield* costOf(store.update(token, record.revision, withData(record, { n: 1 })))
      assert.deepStrictEqual([updated._tag, ofUpdate], ["Updated", []])
      assert.deepStrictEqual((yield* costOf(recordOf(store, token)))[1], [])
      const [next, ofRenewal] = yield* costOf(renew(store, token))
      assert.deepStrictEqual(ofRenewal, ["writeFile"])
      const [, ofLogout, costOfLogout] = yield* costOf(store.remove(next))
      assert.deepStrictEqual(ofLogout, ["remove"])
      const [, ofNobody, costOfNobody] = yield* costOf(store.remove(anonymous))
      assert.deepStrictEqual([ofNobody, costOfNobody], [[], costOfLogout])
      const another = yield* login(store, "ann")
      const [, ofRevocation] = yield* costOf(sessions.revoke(idOf(another)))
      assert.deepStrictEqual(ofRevocation, ["remove"])
    }))

  it.scoped("fsync: a session is on the list on the disk before it is there, with all folders of the list", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const calls: Array<filestore.Call> = []
      const { store } = yield* open(directory, { durability: "fsync", around: filestore.recording(calls) })
      const synced = (act: Effect.Effect<unknown, unknown>) =>
        Effect.gen(function*() {
          calls.length = 0
          yield* act
          const placed = calls.findIndex(({ method, paths }) =>
            method === "link" && /^[\w-]{43}$/.test(path.basename(paths[1] ?? ""))
          )
          return calls.slice(0, placed).filter(({ method }) => method === "sync").map(({ paths: [file = ""] }) =>
            file === directory
              ? "folder"
              : file.endsWith(".tmp")
              ? "tmp"
              : path.relative(directory, file).replace(/[\w-]{43}\.[\w-]{43}/, "entry")
          )
        })
      const token = yield* drawToken()
      const record = yield* makeRecord({}, { subject: "ann" })
      const list = Format.listFolder(yield* subjectHash("ann"))
      const first = yield* synced(store.create(token, record))
      assert.deepStrictEqual(first, ["folder", "subjects", `${list}/entry`, list, "tmp"])
      assert.deepStrictEqual(yield* synced(renew(store, token)), [`${list}/entry`, list, "tmp", "tmp"])
    }))

  it.scoped("two processes have one list", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const [one, other] = [yield* open(directory), yield* open(directory, { onNode: true })]
      const token = yield* login(one.store, "ann")
      const second = yield* login(other.store, "ann")
      assert.sameMembers(yield* idsOf(one.sessions, "ann"), [idOf(token), idOf(second)])
      const next = yield* renew(one.store, token)
      assert.sameMembers(yield* idsOf(other.sessions, "ann"), [idOf(next), idOf(second)])
      assert.isTrue(yield* other.sessions.revoke(idOf(token)))
      assert.strictEqual((yield* one.store.load(next))._tag, "Superseded")
      assert.strictEqual(yield* one.sessions.keepNewest("ann", 0), 1)
      assert.strictEqual((yield* other.store.load(second))._tag, "Superseded")
      assert.deepStrictEqual(listedIds(directory), [])
    }))

  it.scoped("a folder of lists that somebody deleted is made again", () =>
    Effect.gen(function*() {
      for (const onNode of [true, false]) {
        const directory = yield* filestore.folder
        const { sessions, store } = yield* open(directory, { onNode })
        yield* login(store, "ann")
        const [file = ""] = listFiles(directory)
        for (const folder of [path.dirname(file), path.join(directory, "subjects"), directory]) {
          fs.rmSync(folder, { recursive: true })
          if (folder !== directory) {
            assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
          }
          const token = yield* login(store, "ann")
          assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [idOf(token)])
        }
      }
    }).pipe(Effect.provide(quiet)))

  it.scoped("S28: while the folder is gone nobody is told that a subject has no sessions, or that all have ended", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { sessions, store } = yield* open(directory)
      const token = yield* login(store, "ann")
      fs.renameSync(directory, `${directory}.away`)
      yield* Effect.addFinalizer(() => Effect.sync(() => fs.renameSync(`${directory}.away`, directory)))
      assert.strictEqual((yield* Effect.flip(sessions.count("ann"))).reason, "Unavailable")
      assert.strictEqual((yield* Effect.flip(sessions.revokeAll("ann"))).reason, "Unavailable")
      assert.strictEqual((yield* Effect.flip(sessions.revoke(idOf(token)))).reason, "Unavailable")
      assert.isFalse(fs.existsSync(directory))
    }))

  it.scoped("S28: a session whose folder goes before it is saved makes no folder, whatever is written of it", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { store } = yield* open(directory)
      const token = yield* login(store, "ann")
      const record = yield* recordOf(store, token)
      const longer = testing.record({
        ...record,
        subject: "bob",
        expiresAt: (record.expiresAt ?? record.deadline) + hour
      })
      fs.renameSync(directory, `${directory}.away`)
      yield* Effect.addFinalizer(() => Effect.sync(() => fs.renameSync(`${directory}.away`, directory)))
      for (
        const write of [
          store.renew(token, record.revision, yield* drawToken(token), longer),
          store.update(token, record.revision, longer)
        ]
      ) {
        assert.strictEqual((yield* Effect.flip(write)).reason, "Unavailable")
        assert.isFalse(fs.existsSync(directory))
      }
    }))

  it.scoped("a session that can't be listed does not begin", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { store } = yield* open(directory)
      fs.writeFileSync(path.join(directory, "subjects"), "in the way")
      const token = yield* drawToken()
      const error = yield* Effect.flip(store.create(token, yield* makeRecord({}, { subject: "ann" })))
      assert.strictEqual(error.reason, "Unavailable")
      assert.strictEqual((yield* store.load(token))._tag, "None")
      assert.deepStrictEqual(yield* dataOf(store, yield* createSession(store, { n: 1 })), { n: 1 })
    }))

  it.scoped("where the lists can't be written, no session begins or is renewed, and any other call is answered", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const token = yield* login((yield* open(directory)).store, "ann")
      const { sessions, store } = yield* openThen(
        directory,
        filestore.failing("EACCES", (call) => filestore.writes(call) && call.paths[0]?.includes("subjects") === true)
      )
      const record = yield* recordOf(store, token)
      const next = yield* drawToken(token)
      assert.strictEqual((yield* Effect.flip(store.create(next, record))).reason, "Unavailable")
      assert.strictEqual((yield* Effect.flip(store.renew(token, record.revision, next, record))).reason, "Unavailable")
      assert.strictEqual((yield* store.load(next))._tag, "None")
      assert.strictEqual((yield* store.update(token, record.revision, withData(record, { n: 1 })))._tag, "Updated")
      assert.deepStrictEqual(yield* dataOf(store, token), { n: 1 })
      yield* store.remove(token)
      assert.strictEqual((yield* store.load(token))._tag, "Superseded")
      assert.deepStrictEqual(listedIds(directory), [idOf(token)])
      assert.strictEqual((yield* Effect.flip(sessions.count("ann"))).reason, "Unavailable")
    }))

  it.scoped("a file system that is not Node's own keeps the lists, and what it changes is never passed over", () =>
    Effect.gen(function*() {
      const real = yield* FileSystem.FileSystem
      const swapped = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 1)
      const directory = yield* filestore.folder
      const services = yield* FileStore.layer({ directory }).pipe(
        Layer.provide(Layer.succeed(FileSystem.FileSystem, {
          ...real,
          readFile: (path) => Effect.map(real.readFile(path), swapped),
          writeFile: (path, data, options) => real.writeFile(path, swapped(data), options)
        })),
        Layer.provide(NodeContext.layer),
        Layer.build
      )
      const store = clocked(Context.get(services, Store.Store))
      const sessions = Context.get(services, Sessions.Sessions)
      const token = yield* renew(store, yield* login(store, "ann"))
      yield* login(store, "ann")
      assert.strictEqual(yield* sessions.revokeAll("ann", { except: idOf(token) }), 1)
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [idOf(token)])
      assert.deepStrictEqual(listedIds(directory), [idOf(token)])
    }).pipe(Effect.provide(NodeContext.layer)))

  it("names in the folder of lists stand for lists and listed sessions alone", () => {
    const id = "a".repeat(43)
    assert.deepStrictEqual(Format.parseName("subjects"), { _tag: "ListFolder" })
    assert.deepStrictEqual(Format.parseName("subjects/aB"), { _tag: "ListFolder" })
    assert.deepStrictEqual(Format.parseName(`subjects/ab/${id}.${id}`), { _tag: "Listed", id })
    for (
      const name of [
        "subjects/",
        "subjects/abc",
        "subjects/..",
        "subjectsab",
        `subjects/${id}`,
        `subjects/ab/${id}`,
        `subjects/ab/${id}.${id}.tmp`,
        `subjects/ab/cd/${id}.${id}`,
        `ab/${id}.${id}`
      ]
    ) {
      assert.isUndefined(Format.parseName(name), name)
    }
  })
})

/** Kills a process after each of its first calls in turn, until it ends by itself; asks `check` after each death. */
const killedAtEveryStep = (
  subject: string | undefined,
  act: (opened: Opened, token: SessionToken.Token) => Effect.Effect<unknown, unknown>,
  check: (opened: Opened, token: SessionToken.Token, directory: string) => Effect.Effect<void, unknown, Scope.Scope>
) =>
  Effect.gen(function*() {
    let finished = false
    for (let steps = 0; !finished; steps++) {
      assert.isBelow(steps, 60)
      const directory = yield* filestore.folder
      const first = yield* open(directory)
      const token = yield* subject === undefined ? createSession(first.store, { n: 0 }) : login(first.store, subject)
      const died = yield* Deferred.make<boolean>()
      const victim = yield* openThen(directory, filestore.killedAfter(steps, Deferred.succeed(died, false)))
      yield* Effect.forkDaemon(Effect.zipRight(act(victim, token), Deferred.succeed(died, true)))
      finished = yield* Deferred.await(died)
      const survivor = yield* open(directory)
      yield* Effect.withClock(check(survivor, token, directory), filestore.hastyClock(Date.now()))
      assert.isEmpty(fs.readdirSync(directory).filter((name) => name.endsWith(".corrupt")))
    }
  })

/** The ids of those tokens that are live, each of which has to be listed. */
const liveAndListed = ({ sessions, store }: Opened, tokens: ReadonlyArray<SessionToken.Token>) =>
  Effect.gen(function*() {
    const live = yield* Effect.filter(
      tokens,
      (token) => Effect.map(store.load(token), (loaded) => loaded._tag === "Live" && loaded.record.subject === "ann")
    )
    const ids = live.map(idOf).sort()
    assert.deepStrictEqual([...yield* idsOf(sessions, "ann")].sort(), ids)
    return ids
  })

/** What is checked after a death: nothing is live and unlisted, and what is left on a list goes by the sweep. */
const consistent = (opened: Opened, tokens: ReadonlyArray<SessionToken.Token>, directory: string) =>
  Effect.gen(function*() {
    const ids = yield* liveAndListed(opened, tokens)
    assert.includeMembers(listedIds(directory), ids)
    yield* filestore.sweptAfter(directory, 11 * minute, { passes: 3 })
    assert.deepStrictEqual(listedIds(directory), ids)
  })

describe("FileStore: killed at every step, no session is live and unlisted", () => {
  it.scopedLive("S13 S31: in a login that begins a session", () =>
    Effect.gen(function*() {
      const next = yield* drawToken()
      yield* killedAtEveryStep(
        undefined,
        ({ store }) => Effect.flatMap(makeRecord({}, { subject: "ann" }), (record) => store.create(next, record)),
        (opened, token, directory) => consistent(opened, [token, next], directory)
      )
    }).pipe(Effect.provide(quiet)), 60_000)

  for (const subject of [undefined, "ann"]) {
    it.scopedLive(
      `S13 S31: in ${subject === undefined ? "a login by renewal" : "a renewal"}`,
      () =>
        Effect.gen(function*() {
          const next = yield* drawToken()
          yield* killedAtEveryStep(
            subject,
            ({ store }, token) =>
              Effect.flatMap(
                recordOf(store, token),
                (record) => store.renew(token, record.revision, next, { ...record, subject: "ann" })
              ),
            (opened, token, directory) => consistent(opened, [token, next], directory)
          )
        }).pipe(Effect.provide(quiet)),
      60_000
    )
  }

  for (
    const [name, act] of [
      ["a logout", ({ store }, token) => store.remove(token)],
      ["an end beside the requests", ({ sessions }, token) => sessions.revoke(idOf(token))],
      ["the end of all", ({ sessions }) => sessions.revokeAll("ann")]
    ] satisfies ReadonlyArray<
      readonly [string, (opened: Opened, token: SessionToken.Token) => Effect.Effect<unknown, unknown>]
    >
  ) {
    it.scopedLive(
      `S13 S28 S31: in ${name}`,
      () =>
        killedAtEveryStep("ann", act, (opened, token, directory) => consistent(opened, [token], directory)).pipe(
          Effect.provide(quiet)
        ),
      60_000
    )
  }
})

describe("FileStore: what is left on a list", () => {
  it.scopedLive("S68: the sweep takes a session off with its file, and leaves those that live", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { store } = yield* open(directory)
      const now = Date.now()
      yield* login(store, "ann", { deadline: now + minute })
      const kept = [yield* login(store, "ann"), yield* login(store, "bob")].map(idOf).sort()
      yield* filestore.sweptAfter(directory, 3 * minute)
      assert.deepStrictEqual(listedIds(directory), kept)
      yield* filestore.sweptAfter(directory, 2 * hour)
      assert.deepStrictEqual(listedIds(directory), [])
    }))

  it.scopedLive("S68: a file of a list whose session is not there goes after ten minutes, if it is there a minute later", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const id = "a".repeat(43)
      yield* listByHand(directory, "ann", id)
      yield* filestore.sweptAfter(directory, 9 * minute, { passes: 3 })
      yield* filestore.sweptAfter(directory, 11 * minute, { passes: 1 })
      assert.deepStrictEqual(listedIds(directory), [id])
      yield* filestore.sweptAfter(directory, 11 * minute, { passes: 2 })
      assert.deepStrictEqual(listedIds(directory), [])
      assert.deepStrictEqual(fs.readdirSync(directory).sort(), [id, "subjects"])
    }))

  it.scopedLive("S68: the sweep leaves in the folder of lists what is not ours", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const strange = ["note", "aa/note", "aa/bb/note"].map((name) => path.join(directory, "subjects", name))
      for (const file of strange) {
        fs.mkdirSync(path.dirname(file), { recursive: true })
        fs.writeFileSync(file, "")
        age(file, 30)
      }
      yield* filestore.sweptAfter(directory, 400 * 24 * hour, { passes: 3 })
      assert.deepStrictEqual(listFiles(directory).sort(), strange.sort())
    }))

  it.scopedLive("a listing keeps what is not there, however old, because its session may be about to be written", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { sessions } = yield* open(directory)
      const [young, old] = ["y".repeat(43), "o".repeat(43)]
      yield* listByHand(directory, "ann", young)
      age(yield* listByHand(directory, "ann", old), 11)
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
      assert.deepStrictEqual(listedIds(directory), [old, young])
    }))

  it.scopedLive("S28: a login under way stays on the list that a process reads whose clock is eleven minutes ahead", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { sessions } = yield* open(directory)
      const hasty = Effect.withClock(idsOf(sessions, "ann"), filestore.hastyClock(Date.now() + 11 * minute))
      const { store } = yield* openThen(
        directory,
        (call, effect) => call.method === "link" ? Effect.zipRight(Effect.orDie(hasty), effect) : effect
      )
      const token = yield* login(store, "ann")
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [idOf(token)])
    }))

  it.scopedLive("a listing takes off whose tombstone it finds, and neither an expired session nor one that is damaged", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { sessions, store } = yield* open(directory)
      const ended = yield* login(store, "ann")
      yield* store.remove(ended)
      yield* listByHand(directory, "ann", idOf(ended))
      const expired = yield* login(store, "ann", { deadline: Date.now() - 1 })
      const damaged = yield* login(store, "ann")
      fs.writeFileSync(path.join(directory, idOf(damaged)), "torn")
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
      assert.deepStrictEqual(listedIds(directory), [idOf(expired), idOf(damaged)].sort())
    }).pipe(Effect.provide(quiet)))

  it.scopedLive("a create under way is not robbed of its place on the list by a sweep whose clock is 20 minutes ahead", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const stopped = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { sessions, store } = yield* openThen(directory, (call, effect) =>
        call.method === "link"
          ? Effect.zipRight(Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go)), effect)
          : effect)
      const creating = yield* Effect.fork(login(store, "ann"))
      yield* Deferred.await(stopped)
      yield* filestore.sweptAfter(directory, 20 * minute)
      yield* Deferred.succeed(go, undefined)
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [idOf(yield* Fiber.join(creating))])
    }))

  /** A store whose first creation of a session fails, since the disk is full. Its second stops before the session's file. */
  const retrying = (directory: string) =>
    Effect.gen(function*() {
      const stopped = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const waits = Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go))
      let tries = 0
      const { sessions, store } = yield* openThen(directory, (call, effect) =>
        Effect.suspend(() => {
          if (call.method !== "link") {
            return effect
          }
          tries += 1
          return tries === 1
            ? filestore.failing("ENOSPC", () => true)(call, effect)
            : Effect.zipRight(waits, effect)
        }))
      const token = yield* drawToken()
      const create = Effect.flatMap(makeRecord({}, { subject: "ann" }), (record) => store.create(token, record))
      yield* Effect.flip(create)
      assert.deepStrictEqual(listedIds(directory), [idOf(token)])
      listFiles(directory).forEach((file) => age(file, 11))
      return { create, token, sessions, stopped: Deferred.await(stopped), go: Deferred.succeed(go, undefined) }
    })

  /** Runs something at the end of the second call that `which` picks. */
  const atTheSecond = (which: (call: filestore.Call) => boolean, run: Effect.Effect<unknown>): filestore.Around => {
    let count = 0
    return (call, effect) =>
      which(call)
        ? Effect.tap(effect, () => Effect.suspend(() => ++count === 2 ? run : Effect.void))
        : effect
  }

  it.scopedLive("S28: a login that failed and is tried again eleven minutes later stays on the list", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { create, go, sessions, stopped, token } = yield* retrying(directory)
      const creating = yield* Deferred.make<Fiber.Fiber<Store.Created, unknown>>()
      yield* filestore.sweptAfter(directory, 0, {
        passes: 2,
        around: atTheSecond(
          ({ method, paths: [name = ""] }) => method === "readDirectory" && name.endsWith("subjects"),
          Effect.zipRight(
            Effect.flatMap(Effect.forkDaemon(create), (fiber) => Deferred.succeed(creating, fiber)),
            stopped
          )
        )
      })
      yield* go
      assert.strictEqual((yield* Fiber.join(yield* Deferred.await(creating)))._tag, "Created")
      assert.deepStrictEqual(listedIds(directory), [idOf(token)])
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [idOf(token)])
    }))

  /**
   * A login that stopped before its session's file, until a sweep has begun to take it off the list. It goes on before
   * that call of the sweep's second pass on the session or the list, and ends before the call is made.
   */
  const wakingAt = (nth: number) =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { create, go, sessions, stopped, token } = yield* retrying(directory)
      const creating = yield* Effect.fork(create)
      yield* stopped
      listFiles(directory).forEach((file) => age(file, 11))
      let passes = 0
      let calls = 0
      yield* filestore.sweptAfter(directory, 0, {
        passes: 2,
        around: (call, effect) =>
          Effect.suspend(() => {
            passes += call.method === "readDirectory" && call.paths[0] === directory ? 1 : 0
            return passes === 2 && call.paths.some((name) => name.includes(idOf(token))) && ++calls === nth
              ? Effect.zipRight(Effect.zipRight(go, Effect.ignore(Fiber.await(creating))), effect)
              : effect
          })
      })
      yield* go
      const created = yield* Fiber.join(creating)
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), created._tag === "Created" ? [idOf(token)] : [])
      return { created: created._tag, isOver: calls < nth }
    })

  it.scopedLive(
    "S28: a login that a sweep takes for abandoned begins on the list, or not at all",
    () =>
      Effect.gen(function*() {
        const outcomes: Array<string> = []
        for (let nth = 1, isOver = false; !isOver; nth++) {
          const result = yield* Effect.scoped(wakingAt(nth))
          outcomes.push(result.created)
          isOver = result.isOver
        }
        assert.sameMembers([...new Set(outcomes)], ["Created", "Exists"])
      }),
    60_000
  )

  it.scopedLive("N3: a session that the sweep knows to live costs no call on a list", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { store } = yield* open(directory)
      const ids = (yield* Effect.replicateEffect(login(store, "ann"), 20)).map(idOf)
      const calls: Array<filestore.Call> = []
      yield* filestore.sweptAfter(directory, 2 * minute, { around: filestore.recording(calls) })
      assert.deepStrictEqual(listedIds(directory), [...ids].sort())
      const reads = calls.filter(({ method, paths: [file = ""] }) =>
        method === "readFile" && ids.includes(path.basename(file))
      )
      assert.lengthOf(reads, 20)
    }))
})

describe("FileStore: many sessions of one subject", () => {
  const numbered = (n: number): string => String(n).padStart(43, "0")

  /** So many sessions of ann, the last of them used last. A thousand have one file, which takes half the time. */
  const fill = (directory: string, count: number) =>
    Effect.gen(function*() {
      const hash = yield* subjectHash("ann")
      const record = yield* makeRecord({}, { subject: "ann" })
      const body = encodeRecord(record)
      fs.mkdirSync(path.join(directory, Format.listFolder(hash)), { recursive: true })
      for (let n = 0; n < count; n++) {
        const first = numbered(n - n % 1000)
        const entry = { ...record, touchedAt: record.touchedAt + n, _tag: "Entry", body } as const
        for (
          const [nameOf, content] of [
            [(id: string) => id, Format.encodeLive(entry, "0-ff-0", 0)],
            [(id: string) => Format.listed(hash, id), ""]
          ] as const
        ) {
          const file = path.join(directory, nameOf(numbered(n)))
          if (n % 1000 === 0) {
            fs.writeFileSync(file, content)
          } else {
            fs.linkSync(path.join(directory, nameOf(first)), file)
          }
        }
      }
    })

  it.scopedLive("100,000 sessions of one subject are listed, newest use first", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      yield* fill(directory, 100_000)
      const { sessions } = yield* open(directory, { onNode: true })
      const found = yield* idsOf(sessions, "ann")
      assert.strictEqual(new Set(found).size, 100_000)
      assert.isTrue(found.slice(0, 1000).every((id) => id >= numbered(99_000)))
      assert.isTrue(found.slice(-1000).every((id) => id < numbered(1000)))
    }), 180_000)

  it.scopedLive("S28: 2,000 sessions of one subject end at once", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      yield* fill(directory, 2000)
      const { sessions } = yield* open(directory, { onNode: true })
      assert.strictEqual(yield* sessions.keepNewest("ann", 10), 1990)
      assert.strictEqual(yield* sessions.revokeAll("ann"), 10)
      assert.deepStrictEqual(listedIds(directory), [])
    }), 60_000)
})

describe("FileStore: an end beside the requests", () => {
  it.scopedLive("S26 S28: an update under way when its session is ended saves nothing", () =>
    Effect.gen(function*() {
      for (const method of ["writeFile", "readFile"]) {
        const directory = yield* filestore.folder
        const stopped = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const { store } = yield* openThen(directory, (call, effect) =>
          call.method === method
            ? Effect.zipRight(Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go)), effect)
            : effect)
        const other = yield* open(directory)
        const token = yield* login(other.store, "ann")
        const record = yield* recordOf(other.store, token)
        const slow = yield* Effect.fork(store.update(token, record.revision, withData(record, { n: 1 })))
        yield* Deferred.await(stopped)
        assert.strictEqual(
          yield* Effect.withClock(other.sessions.revokeAll("ann"), filestore.hastyClock(Date.now())),
          1
        )
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual((yield* Fiber.join(slow))._tag, "Gone")
        assert.strictEqual((yield* other.store.load(token))._tag, "Superseded")
        assert.deepStrictEqual(listedIds(directory), [])
      }
    }).pipe(Effect.provide(quiet)))

  it.scoped("S28 S32: a session that is renewed while the list is read ends under its new id", () =>
    Effect.gen(function*() {
      const ends: ReadonlyArray<(sessions: Sessions.Service) => Effect.Effect<number, Store.StoreError>> = [
        (sessions) => sessions.revokeAll("ann"),
        (sessions) => sessions.keepNewest("ann", 0)
      ]
      for (const end of ends) {
        const directory = yield* filestore.folder
        const { store } = yield* open(directory)
        let token = yield* login(store, "ann")
        const tokens = [token]
        const { sessions } = yield* openThen(
          directory,
          (call, effect) =>
            call.method === "readDirectory" && tokens.length === 1
              ? Effect.tap(effect, () =>
                Effect.gen(function*() {
                  for (let n = 0; n < 2; n++) {
                    token = yield* renew(store, token)
                    tokens.push(token)
                  }
                }).pipe(Effect.orDie))
              : effect
        )
        assert.strictEqual(yield* end(sessions), 1)
        assert.lengthOf(tokens, 3)
        for (const each of tokens) {
          assert.strictEqual((yield* store.load(each))._tag, "Superseded")
        }
        assert.deepStrictEqual(listedIds(directory), [])
      }
    }))

  it.scoped("S31: a session is listed once, also if it is renewed while the list is read", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { sessions, store } = yield* open(directory)
      const token = yield* login(store, "ann")
      const next = yield* renew(store, token)
      // both were listed when the names were read
      yield* listByHand(directory, "ann", idOf(token))
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [idOf(next)])
      // a login made it another subject's
      const later = yield* renew(store, next, { subject: "bob" })
      yield* listByHand(directory, "ann", idOf(token))
      assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
      assert.deepStrictEqual(listedIds(directory), [idOf(later)])
      assert.deepStrictEqual(yield* idsOf(sessions, "bob"), [idOf(later)])
    }))

  it("the file of an ended session says whether it was revoked, and one that an older release wrote still reads", () => {
    const decode = (text: string) => Format.decode(new TextEncoder().encode(text))
    const of = (more: { readonly revoked?: true }) => ({ _tag: "Tombstone", until: 5, ...more }) as const
    const older = "effect-session 1 T 0-ff-0 - 5\n"
    assert.deepStrictEqual(decode(older), { ...of({}), nonce: "0-ff-0", successor: undefined })
    assert.strictEqual(new TextDecoder().decode(Format.encodeTombstone(of({}), "0-ff-0")), older)
    const revoked = new TextDecoder().decode(Format.encodeTombstone(of({ revoked: true }), "0-ff-0"))
    assert.deepStrictEqual(decode(revoked), { ...of({ revoked: true }), nonce: "0-ff-0", successor: undefined })
    // an older release reads the header and nothing behind it
    assert.strictEqual(revoked.slice(0, older.length), older)
  })
})

describe("FileStore: who watches a session", () => {
  /** How often a watcher of a token was told. */
  const told = (store: Store.Store, token: SessionToken.Token) =>
    Effect.gen(function*() {
      const began = yield* Deferred.make<void>()
      let count = -1
      yield* Effect.forkScoped(Stream.runForEach(store.watching?.changes(token) ?? Stream.empty, () => {
        count++
        return Deferred.succeed(began, undefined)
      }))
      yield* Deferred.await(began)
      return () => Effect.map(Effect.repeatN(Effect.yieldNow(), 20), () => count)
    })

  const endingOf = (store: Clocked, token: SessionToken.Token) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => store.watching?.ending(token, callAt(now)) ?? Effect.succeedNone
    )

  it.scoped("is told in the process of each write, renewal and end, and not of a touch", () =>
    Effect.gen(function*() {
      for (const onNode of [true, false]) {
        const directory = yield* filestore.folder
        const { sessions, store } = yield* open(directory, { onNode })
        assert.isFalse(store.watching?.complete)
        const token = yield* drawToken()
        const count = yield* told(store, token)
        yield* store.create(token, yield* makeRecord({}, { subject: "ann" }))
        assert.strictEqual(yield* count(), 1)
        const record = yield* recordOf(store, token)
        yield* store.update(token, record.revision, record)
        assert.strictEqual(yield* count(), 2)
        yield* store.touch(token, (yield* recordOf(store, token)).revision, 2 * hour)
        yield* login(store, "ann")
        assert.strictEqual(yield* count(), 2)
        const next = yield* renew(store, token)
        assert.strictEqual(yield* count(), 3)
        const ofNext = yield* told(store, next)
        yield* sessions.revoke(idOf(next))
        assert.strictEqual(yield* ofNext(), 1)
        const last = yield* createSession(store, {})
        const ofLast = yield* told(store, last)
        yield* store.remove(last)
        assert.strictEqual(yield* ofLast(), 1)
      }
    }))

  it.scoped("finds what was written when it is told, also of a caller that was interrupted", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const stopped = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { store } = yield* openThen(directory, (call, effect) =>
        call.method === "link"
          ? Effect.zipRight(Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go)), effect)
          : effect)
      const token = yield* createSession((yield* open(directory)).store, { n: 0 })
      const seen = yield* Deferred.make<unknown>()
      const record = yield* recordOf(store, token)
      const writing = yield* Effect.fork(store.update(token, record.revision, withData(record, { n: 1 })))
      yield* Deferred.await(stopped)
      yield* Effect.forkScoped(
        (store.watching?.changes(token) ?? Stream.empty).pipe(
          Stream.drop(1),
          Stream.runForEach(() => Effect.flatMap(dataOf(store, token), (data) => Deferred.succeed(seen, data)))
        )
      )
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Fiber.interrupt(writing)
      yield* Deferred.succeed(go, undefined)
      assert.deepStrictEqual(yield* Deferred.await(seen), { n: 1 })
    }))

  it.scoped("learns how a session ended, as long as the tombstone is there", () =>
    Effect.gen(function*() {
      const directory = yield* filestore.folder
      const { sessions, store } = yield* open(directory)
      const [revoked, destroyed, renewed, live] = [
        yield* login(store, "ann"),
        yield* login(store, "ann"),
        yield* login(store, "ann"),
        yield* login(store, "ann")
      ]
      yield* sessions.revoke(idOf(revoked))
      yield* store.remove(destroyed)
      const next = yield* renew(store, renewed)
      const endings = yield* Effect.forEach(
        [revoked, destroyed, renewed, next, live],
        (token) => endingOf(store, token)
      )
      assert.deepStrictEqual(endings.map(Option.getOrUndefined), [
        "revoked",
        "destroyed",
        "renewed",
        undefined,
        undefined
      ])
      // the successor is ended, and the renewal stays a renewal
      yield* sessions.revoke(idOf(renewed))
      assert.deepStrictEqual(
        (yield* Effect.forEach([renewed, next], (token) => endingOf(store, token))).map(Option.getOrUndefined),
        ["renewed", "revoked"]
      )
    }))
})
