/**
 * The sessions of a subject: one set of tests for every store that provides `Sessions`, and what is left of each.
 */
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Chunk, Clock, Effect, Exit, Fiber, Layer, Option, Stream, TestClock } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, Sessions, SessionToken, Store } from "effect-session"
import type { SessionRecord } from "effect-session"
import * as FileStore from "effect-session/FileStore"
import * as RedisStore from "effect-session/RedisStore"
import * as SqlStore from "effect-session/SqlStore"
import * as testing from "effect-session/testing"
import { Sessions as InMemory } from "../src/internal/memoryStore/sessions.js"
import * as fixture from "./fixtures/http.js"
import * as Redis from "./fixtures/redis.js"
import * as Fixture from "./fixtures/sql.js"
import { callNow, clockedStore, createSession, hour, makeRecord, recordOf, withData } from "./support/records.js"

const minute = 60_000

type Subject = string | undefined

/** A session that logged in now, with its id. */
const login = (subject: Subject, more: Partial<SessionRecord.SessionRecord> = {}) =>
  Effect.gen(function*() {
    const store = yield* Store.Store
    const authenticatedAt = yield* Clock.currentTimeMillis
    const token = yield* createSession(
      store,
      { of: "a session" },
      subject === undefined ? more : { subject, authenticatedAt, ...more }
    )
    return { token, id: yield* SessionToken.toId(token) }
  })

/** Several sessions of a subject, one a minute, the last of them used last. */
const logins = (subject: Subject, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.zipRight(TestClock.adjust(minute), login(subject)))

const tagOf = (token: SessionToken.Token) =>
  Effect.flatMap(clockedStore, (store) => Effect.map(store.load(token), ({ _tag }) => _tag))

const renew = (
  token: SessionToken.Token,
  change: (record: SessionRecord.SessionRecord) => SessionRecord.SessionRecord
) =>
  Effect.gen(function*() {
    const store = yield* clockedStore
    const next = SessionToken.draw(yield* SessionToken.Generator, token)
    const record = yield* recordOf(store, token)
    assert.strictEqual((yield* store.renew(token, record.revision, next, change(record)))._tag, "Updated")
    return { token: next, id: yield* SessionToken.toId(next) }
  })

const listed = (subject: string) => Effect.map(Stream.runCollect(Sessions.list(subject)), Chunk.toReadonlyArray)

const idsOf = (subject: string) => Effect.map(listed(subject), (found) => found.map(({ id }) => id))

const subjects: ReadonlyArray<string> = [
  "../../etc/passwd",
  "a/b\\c:d*e?f",
  "'; DROP TABLE sessions; --",
  "%",
  "_",
  "{}",
  "__proto__",
  "constructor",
  "nul\0byte",
  "nul",
  "Zoë",
  "Zoe\u0308",
  "ANN's",
  "ann's",
  "ann's ",
  " ",
  "\ud800",
  "\udfff",
  "\ufffd",
  "\\ud800",
  "🙂",
  "x".repeat(10_240),
  `${"x".repeat(10_239)}y`
]

let drawn = 0

/** A subject that no other test has. */
const someone = (name: string) => `${name} ${++drawn}`

/**
 * What every store that provides `Sessions` keeps. `listsAll` is whether it finds the session of nobody by its id too.
 */
const suite = (name: string, services: Layer.Layer<Store.Store | Sessions.Sessions, unknown>, listsAll = true) =>
  layer(services, { timeout: 60_000 })(`Sessions on ${name}`, (it) => {
    it.effect("S31: a list shows the subject's sessions by what is safe to show, newest use first", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const began = yield* Clock.currentTimeMillis
        const first = yield* login(ann, { label: "Firefox on Linux" })
        yield* TestClock.adjust(minute)
        const second = yield* login(ann, { createdAt: began - 5, expiresAt: began + 20 * minute })
        yield* login(someone("bob"))
        yield* login(undefined)
        const ofFirst = {
          id: first.id,
          label: Option.some("Firefox on Linux"),
          createdAt: began,
          authenticatedAt: began,
          touchedAt: began,
          endsAt: began + hour
        }
        const ofSecond = {
          id: second.id,
          label: Option.none(),
          createdAt: began - 5,
          authenticatedAt: began + minute,
          touchedAt: began + minute,
          endsAt: began + 20 * minute
        }
        assert.deepStrictEqual(yield* listed(ann), [ofSecond, ofFirst])
        assert.strictEqual(yield* Sessions.count(ann), 2)
        assert.deepStrictEqual(yield* listed(someone("nobody")), [])
        assert.strictEqual(yield* Sessions.count(""), 0)
        // a touch is a use
        yield* TestClock.adjust(minute)
        const store = yield* clockedStore
        yield* store.touch(first.token, 0, began + 2 * hour)
        assert.deepStrictEqual(yield* listed(ann), [
          { ...ofFirst, touchedAt: began + 2 * minute, endsAt: began + 2 * hour },
          ofSecond
        ])
      }))

    it.effect("S31: one session can be ended, with a tombstone, and no other ends", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const [ended, kept] = yield* Effect.zip(login(ann), login(ann))
        const store = yield* clockedStore
        const record = yield* recordOf(store, ended.token)
        assert.isTrue(yield* Sessions.revoke(ended.id))
        assert.deepStrictEqual(yield* idsOf(ann), [kept.id])
        assert.strictEqual(yield* tagOf(ended.token), "Superseded")
        assert.strictEqual(yield* tagOf(kept.token), "Live")
        // as after a logout, nothing brings it back
        assert.strictEqual((yield* store.update(ended.token, record.revision, record))._tag, "Gone")
        assert.strictEqual((yield* store.touch(ended.token, record.revision, 9e12))._tag, "Gone")
        assert.strictEqual((yield* store.create(ended.token, record))._tag, "Exists")
        const next = SessionToken.draw(yield* SessionToken.Generator, ended.token)
        assert.strictEqual((yield* store.renew(ended.token, record.revision, next, record))._tag, "Gone")
        assert.isFalse(yield* Sessions.revoke(ended.id))
        yield* TestClock.adjust(3 * minute)
        assert.strictEqual(yield* tagOf(ended.token), "None")
        assert.isFalse(yield* Sessions.revoke(ended.id))
        assert.deepStrictEqual(yield* idsOf(ann), [kept.id])
      }))

    it.effect("S31: a session of nobody can be ended, and what is no id of a session ends nothing", () =>
      Effect.gen(function*() {
        const { id, token } = yield* login(undefined)
        for (const wrong of ["", "x", "a".repeat(43), `${id} `, `${id}\0`, "__proto__", "\ud800", "x".repeat(10_240)]) {
          assert.isFalse(yield* Sessions.revoke(wrong))
        }
        assert.strictEqual(yield* tagOf(token), "Live")
        assert.strictEqual(yield* Sessions.revoke(id), listsAll)
        assert.strictEqual(yield* tagOf(token), listsAll ? "Superseded" : "Live")
      }))

    it.effect("S31: a renewed session is listed once, under its new id, and is ended by the old one too", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const first = yield* login(ann)
        const second = yield* renew(first.token, (record) => record)
        assert.deepStrictEqual(yield* idsOf(ann), [second.id])
        const third = yield* renew(second.token, (record) => record)
        assert.deepStrictEqual(yield* idsOf(ann), [third.id])
        assert.isTrue(yield* Sessions.revoke(first.id))
        assert.deepStrictEqual(yield* idsOf(ann), [])
        assert.deepStrictEqual(yield* Effect.forEach([first, second, third], ({ token }) => tagOf(token)), [
          "Superseded",
          "Superseded",
          "Superseded"
        ])
        assert.isFalse(yield* Sessions.revoke(first.id))
      }))

    it.effect("S28 S30: all sessions of one subject can be ended, and nobody else's", () =>
      Effect.gen(function*() {
        const [ann, bob] = [someone("ann"), someone("bob")]
        const hers = yield* logins(ann, 3)
        const others = [yield* login(bob), yield* login(undefined)]
        assert.strictEqual(yield* Sessions.revokeAll(ann), 3)
        assert.strictEqual(yield* Sessions.count(ann), 0)
        for (const { token } of hers) {
          assert.strictEqual(yield* tagOf(token), "Superseded")
        }
        for (const { token } of others) {
          assert.strictEqual(yield* tagOf(token), "Live")
        }
        assert.strictEqual(yield* Sessions.revokeAll(ann), 0)
        const again = yield* login(ann)
        assert.deepStrictEqual(yield* idsOf(ann), [again.id])
      }))

    it.effect("S29: all sessions of a subject but the current one can be ended", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const hers = yield* logins(ann, 3)
        const except = hers[1]?.id
        assert.strictEqual(yield* Sessions.revokeAll(ann, { except }), 2)
        assert.deepStrictEqual(yield* idsOf(ann), [except])
        assert.strictEqual(yield* Sessions.revokeAll(ann, { except }), 0)
        assert.strictEqual(yield* Sessions.revokeAll(ann, { except: "another" }), 1)
      }))

    it.effect("S32: the sessions of a subject can be limited to those of newest use", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const hers = yield* logins(ann, 4)
        const bob = yield* login(someone("bob"))
        assert.strictEqual(yield* Sessions.keepNewest(ann, 4), 0)
        assert.strictEqual(yield* Sessions.keepNewest(ann, 2), 2)
        assert.deepStrictEqual(yield* idsOf(ann), [hers[3]?.id, hers[2]?.id])
        assert.strictEqual(yield* Sessions.keepNewest(ann, 0), 2)
        assert.strictEqual(yield* Sessions.count(ann), 0)
        assert.strictEqual(yield* tagOf(bob.token), "Live")
      }))

    it.effect("a limit that is no number of sessions is refused, with what to write instead", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        yield* login(ann)
        for (const n of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
          const exit = yield* Effect.exit(Sessions.keepNewest(ann, n))
          assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "such as 5")
        }
        assert.strictEqual(yield* Sessions.count(ann), 1)
      }))

    it.effect("S20: an expired session is not answered, and its end is final when it is ended once more (D10)", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const { id, token } = yield* login(ann, { idle: minute, deadline: (yield* Clock.currentTimeMillis) + minute })
        const store = yield* Store.Store
        const before = yield* callNow
        yield* TestClock.adjust(minute - 1)
        assert.strictEqual(yield* Sessions.count(ann), 1)
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* listed(ann), [])
        assert.strictEqual(yield* Sessions.count(ann), 0)
        assert.strictEqual(yield* Sessions.revokeAll(ann), 0)
        assert.strictEqual(yield* Sessions.keepNewest(ann, 0), 0)
        assert.strictEqual((yield* store.load(token, before))._tag, "Live")
        assert.isFalse(yield* Sessions.revoke(id))
        assert.strictEqual((yield* store.load(token, before))._tag, "Superseded")
      }))

    it.effect("S29: an id from before a renewal keeps nothing", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const first = yield* login(ann)
        const { id } = yield* renew(first.token, (record) => record)
        assert.strictEqual(yield* Sessions.revokeAll(ann, { except: id }), 0)
        assert.strictEqual(yield* Sessions.revokeAll(ann, { except: first.id }), 1)
        assert.deepStrictEqual(yield* idsOf(ann), [])
      }))

    it.effect("whose a session is changes with the record, whoever writes it", () =>
      Effect.gen(function*() {
        const [ann, bob] = [someone("ann"), someone("bob")]
        const store = yield* clockedStore
        const { id, token } = yield* login(undefined)
        const write = (change: (record: SessionRecord.SessionRecord) => SessionRecord.SessionRecord) =>
          Effect.gen(function*() {
            const record = yield* recordOf(store, token)
            assert.strictEqual((yield* store.update(token, record.revision, change(record)))._tag, "Updated")
          })
        yield* write((record) => ({ ...record, subject: ann }))
        assert.deepStrictEqual([yield* idsOf(ann), yield* idsOf(bob)], [[id], []])
        yield* write((record) => withData(record, { n: 1 }))
        assert.deepStrictEqual([yield* idsOf(ann), yield* idsOf(bob)], [[id], []])
        yield* write(({ listedUntil: _, ...record }) => ({ ...record, subject: bob }))
        assert.deepStrictEqual([yield* idsOf(ann), yield* idsOf(bob)], [[], [id]])
        const renewed = yield* renew(token, (record) => ({ ...record, subject: ann }))
        assert.deepStrictEqual([yield* idsOf(ann), yield* idsOf(bob)], [[renewed.id], []])
        yield* renew(renewed.token, ({ subject, ...record }) => {
          assert.strictEqual(subject, ann)
          return record
        })
        assert.deepStrictEqual([yield* idsOf(ann), yield* idsOf(bob)], [[], []])
      }))

    it.effect("a write that is refused leaves whose the session is", () =>
      Effect.gen(function*() {
        const [ann, bob] = [someone("ann"), someone("bob")]
        const store = yield* clockedStore
        const { id, token } = yield* login(ann)
        const other = yield* makeRecord({}, { subject: bob })
        assert.strictEqual((yield* store.create(token, other))._tag, "Exists")
        assert.strictEqual((yield* store.update(token, 7, other))._tag, "Conflict")
        const next = SessionToken.draw(yield* SessionToken.Generator, token)
        assert.strictEqual((yield* store.renew(token, 7, next, other))._tag, "Conflict")
        const taken = yield* login(undefined)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(store.renew(token, 0, taken.token, other))))
        assert.deepStrictEqual([yield* idsOf(ann), yield* idsOf(bob)], [[id], []])
      }))

    it.effect("a session under the token of an expired one is its own subject's alone", () =>
      Effect.gen(function*() {
        const [ann, bob] = [someone("ann"), someone("bob")]
        const { id, token } = yield* login(ann, { deadline: (yield* Clock.currentTimeMillis) + 1 })
        yield* TestClock.adjust(1)
        const store = yield* clockedStore
        assert.strictEqual((yield* store.create(token, yield* makeRecord({}, { subject: bob })))._tag, "Created")
        assert.deepStrictEqual([yield* idsOf(ann), yield* idsOf(bob)], [[], [id]])
      }))

    it.effect("a logout takes a session off the list", () =>
      Effect.gen(function*() {
        const ann = someone("ann")
        const { id, token } = yield* login(ann)
        const store = yield* clockedStore
        yield* store.remove(token)
        assert.deepStrictEqual(yield* idsOf(ann), [])
        assert.isFalse(yield* Sessions.revoke(id))
      }))

    it.effect("any text is a subject, and no two are one", () =>
      Effect.gen(function*() {
        const found = yield* Effect.forEach(subjects, (subject) => login(subject))
        for (const [index, subject] of subjects.entries()) {
          assert.deepStrictEqual(yield* idsOf(subject), [found[index]?.id], JSON.stringify(subject).slice(0, 40))
        }
        for (const subject of subjects) {
          assert.strictEqual(yield* Sessions.revokeAll(subject), 1)
        }
      }))

    it.effect(
      "a subject may have more sessions than a page holds, used at the same time or not",
      () =>
        Effect.gen(function*() {
          const ann = someone("ann")
          const now = yield* Clock.currentTimeMillis
          const made = yield* Effect.forEach(
            Array.from({ length: 1010 }, (_, n) => n),
            (n) => Effect.map(login(ann, { touchedAt: now - (n < 600 ? 0 : n) }), ({ id }) => ({ id, n })),
            { concurrency: 8 }
          )
          const found = yield* idsOf(ann)
          assert.lengthOf(found, 1010)
          assert.strictEqual(new Set(found).size, 1010)
          assert.deepStrictEqual(found.slice(600), made.filter(({ n }) => n >= 600).map(({ id }) => id))
          // a reader who has enough asks for no more
          assert.strictEqual(Chunk.size(yield* Stream.runCollect(Stream.take(Sessions.list(ann), 3))), 3)
          assert.strictEqual(yield* Sessions.keepNewest(ann, 1000), 10)
          assert.strictEqual(yield* Sessions.count(ann), 1000)
        }),
      60_000
    )
  })

suite("MemoryStore", MemoryStore.layer())

suite(
  "FileStore",
  FileSystem.FileSystem.pipe(
    Effect.flatMap((fileSystem) => fileSystem.makeTempDirectoryScoped({ prefix: "filestore-" })),
    Effect.map((directory) => FileStore.layer({ directory })),
    Layer.unwrapScoped,
    Layer.provide(NodeContext.layer)
  )
)

for (const database of Fixture.databases) {
  describe.skipIf(database.missing !== undefined)(Fixture.title("Sessions", database), () => {
    suite(
      database.name,
      SqlStore.layer().pipe(Layer.provide(SqlStore.layerMigrations()), Layer.provide(database.client))
    )
  })
}

const noRedis = await Redis.isShared() ? undefined : `skipped: no Redis at ${Redis.url}`

describe.skipIf(noRedis !== undefined)(noRedis ?? "Sessions", () => {
  for (const { connect, name } of Redis.clients) {
    const prefix = `effect-session:sessions:${process.pid}:${name}:`
    const client = Effect.zipRight(Effect.addFinalizer(() => Redis.clear(prefix)), connect(Redis.url))
    suite(`RedisStore by ${name}`, RedisStore.layer({ client, prefix }), false)
  }
})

describe("Sessions.make", () => {
  const id = (n: number) => String(n).padStart(43, "x") as SessionToken.SessionId

  it.effect("S28: a session that was missed, because it was written while the list was read, ends too", () =>
    Effect.gen(function*() {
      const live = new Set([id(1), id(2)])
      let reads = 0
      const sessions = Sessions.make({
        list: () =>
          Stream.suspend(() => {
            reads++
            return Stream.fromIterable([...live].filter((found) => reads > 1 || found === id(1))).pipe(
              Stream.map((found) => [found, testing.record({ subject: "ann" })] as const)
            )
          }),
        end: (found) => Effect.sync(() => live.delete(found) ? Option.some(found) : Option.none())
      })
      assert.strictEqual(yield* sessions.revokeAll("ann"), 2)
      assert.strictEqual(live.size, 0)
    }))

  it.effect("a session that is listed and can't be ended is not asked for without end", () =>
    Effect.gen(function*() {
      const sessions = Sessions.make({
        list: () => Stream.make([id(1), testing.record({ subject: "ann" })] as const),
        end: () => Effect.succeed(Option.none())
      })
      assert.strictEqual(yield* sessions.revokeAll("ann"), 0)
    }))
})

describe("Sessions in memory", () => {
  const id = (n: number) => String(n) as SessionToken.SessionId
  const of = (subject: Subject, deadline = hour) =>
    testing.record(subject === undefined ? { deadline } : { subject, deadline })

  it("an evicted, a swept, a removed and a renewed session are not in the index any more", () => {
    const sessions = new InMemory(2)
    sessions.insert(id(1), of("ann"))
    sessions.insert(id(2), of(undefined))
    assert.strictEqual(sessions.subjects.size, 1)
    sessions.insert(id(3), of("bob", minute))
    assert.deepStrictEqual([...sessions.subjects.idsOf("ann")], [])
    assert.strictEqual(sessions.subjects.size, 1)
    sessions.sweep(500, 10 * minute)
    assert.strictEqual(sessions.subjects.size, 0)
    sessions.insert(id(4), of("ann"))
    sessions.leaveTombstone(id(4), 0, id(5))
    assert.strictEqual(sessions.subjects.size, 0)
    sessions.insert(id(5), of("ann"))
    assert.deepStrictEqual([...sessions.subjects.idsOf("ann")], [id(5)])
    sessions.remove(id(5), 0)
    assert.strictEqual(sessions.subjects.size, 0)
  })

  it.effect("a subject may have 30,000 sessions", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const call = yield* callNow
      const last = yield* Effect.forEach(Array.from({ length: 30_000 }), (_, n) => {
        const token = SessionToken.fromString(`${String(n).padStart(42, "x")}A`)
        return Effect.as(store.create(token, testing.record({ subject: "ann" }), call), token)
      }).pipe(Effect.map((tokens) => tokens.at(-1) as SessionToken.Token))
      assert.strictEqual(yield* Sessions.count("ann"), 30_000)
      assert.strictEqual(yield* Sessions.keepNewest("ann", 1), 29_999)
      // of those that were used at the same time, the latest stays
      assert.deepStrictEqual(yield* idsOf("ann"), [yield* SessionToken.toId(last)])
    }).pipe(Effect.provide(MemoryStore.layer())), 60_000)

  it.effect("S68: requests get their turn while thousands of sessions end", () =>
    Effect.gen(function*() {
      yield* Effect.forEach(Array.from({ length: 2000 }), () => login("ann"))
      let turns = 0
      const count = () => {
        turns++
        next = setImmediate(count)
      }
      let next = setImmediate(count)
      yield* Effect.addFinalizer(() => Effect.sync(() => clearImmediate(next)))
      assert.strictEqual(yield* Sessions.revokeAll("ann"), 2000)
      assert.isAtLeast(turns, 3)
    }).pipe(Effect.scoped, Effect.provide(MemoryStore.layer())))
})

describe("Sessions beside requests", () => {
  const app = HttpMiddleware.session(fixture.routes({
    "/login": fixture.answering(Session.login("ann", { label: "Firefox on Linux" })),
    "/capped": fixture.answering(
      Session.login("ann").pipe(Effect.zipRight(Session.commit), Effect.zipRight(Sessions.keepNewest("ann", 2)))
    ),
    "/add": fixture.answering(fixture.increment),
    "/who": fixture.answering(Effect.map(Session.subject, Option.getOrElse(() => "nobody"))),
    "/elsewhere": fixture.answering(Effect.flatMap(Session.id, (except) => Sessions.revokeAll("ann", { except }))),
    "/password": fixture.answering(
      Session.renew.pipe(
        Effect.zipRight(Session.commit),
        Effect.zipRight(Effect.flatMap(Session.id, (except) => Sessions.revokeAll("ann", { except })))
      )
    ),
    "/renew": fixture.answering(Session.renew),
    "/end": fixture.answering(Effect.flatMap(Session.id, Sessions.revoke))
  }))

  const services = Layer.merge(
    Layer.orDie(CookieState.layer()),
    Layer.orDie(testing.controlled(MemoryStore.layer()))
  )

  const who = (client: testing.Client) => Effect.flatMap(client.get("/who"), ({ text }) => text)

  it.scoped("S26 S28: a slow request under way writes nothing and sets no cookie", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(app)
      yield* client.get("/login")
      const held = yield* controls.hold("update")
      const slow = yield* client.fork("GET", "/add")
      yield* held.arrived
      assert.strictEqual(yield* Sessions.revokeAll("ann"), 1)
      yield* held.release
      fixture.assertNoCookie(yield* Fiber.join(slow))
      assert.strictEqual(yield* Sessions.count("ann"), 0)
      assert.strictEqual(yield* who(client), "nobody")
      assert.notInclude((yield* controls.methods).slice(2), "create")
    }).pipe(Effect.provide(services)))

  it.scoped("S26 S28: a renewal under way begins a session of nobody (S15)", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(app)
      yield* client.get("/login")
      const held = yield* controls.hold("renew")
      const slow = yield* client.fork("GET", "/renew")
      yield* held.arrived
      assert.strictEqual(yield* Sessions.revokeAll("ann"), 1)
      yield* held.release
      yield* Fiber.join(slow)
      assert.strictEqual(yield* Sessions.count("ann"), 0)
      assert.strictEqual(yield* who(client), "nobody")
    }).pipe(Effect.provide(services)))

  it.scoped("S26 S31: a slow request that loads after the end gets an empty session that is never stored", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(app)
      yield* client.get("/login")
      const held = yield* controls.hold("load")
      const slow = yield* client.fork("GET", "/add")
      yield* held.arrived
      const [session] = yield* listed("ann")
      assert.isTrue(yield* Sessions.revoke(session?.id ?? ""))
      yield* controls.reset
      fixture.assertNoCookie(yield* Fiber.join(slow))
      assert.notInclude(yield* controls.methods, "create")
    }).pipe(Effect.provide(services)))

  it.scoped("S28: a renewal that lands just before the end is followed", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/login")
      const [session] = yield* listed("ann")
      yield* client.get("/renew")
      assert.strictEqual(yield* who(client), "ann")
      assert.isTrue(yield* Sessions.revoke(session?.id ?? ""))
      assert.strictEqual(yield* who(client), "nobody")
    }).pipe(Effect.provide(services)))

  it.scoped("S29: everywhere else is logged out, also where the current session gets a new token meanwhile", () =>
    Effect.gen(function*() {
      for (const path of ["/elsewhere", "/password"]) {
        const here = yield* testing.client(app)
        const there = yield* here.other()
        yield* here.get("/login")
        yield* there.get("/login")
        assert.strictEqual(yield* Effect.flatMap(here.get(path), ({ text }) => text), "1")
        assert.deepStrictEqual([yield* who(here), yield* who(there)], ["ann", "nobody"])
        yield* Sessions.revokeAll("ann")
      }
    }).pipe(Effect.provide(services)))

  it.scoped("S32: a limit after the login counts the new session, and ends the one of oldest use", () =>
    Effect.gen(function*() {
      const first = yield* testing.client(app)
      const clients = [first, yield* first.other(), yield* first.other()]
      for (const client of clients) {
        yield* TestClock.adjust(minute)
        yield* client.get("/capped")
      }
      assert.deepStrictEqual(yield* Effect.forEach(clients, who), ["nobody", "ann", "ann"])
    }).pipe(Effect.provide(services)))

  it.scoped("a request that ends its own session saves nothing more", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/login")
      const answer = yield* client.get("/end")
      assert.strictEqual(yield* answer.text, "true")
      assert.strictEqual(yield* who(client), "nobody")
    }).pipe(Effect.provide(services)))
})
