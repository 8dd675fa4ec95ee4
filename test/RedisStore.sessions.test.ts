/**
 * The list of a subject's sessions in Redis: its keys, its cost, and what a crash leaves of it. What every store that
 * provides `Sessions` keeps is in Sessions.test.ts.
 */
import { HttpServerRequest } from "@effect/platform"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import {
  Chunk,
  Clock,
  Context,
  Deferred,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Runtime,
  Scope,
  Stream,
  TestClock
} from "effect"
import { CookieState, HttpMiddleware, Session } from "effect-session"
import * as RedisStore from "effect-session/RedisStore"
import * as SessionRecord from "effect-session/SessionRecord"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import type { Redis } from "ioredis"
import * as ListScripts from "../src/internal/redisStore/listScripts.js"
import * as Scripts from "../src/internal/redisStore/scripts.js"
import { subjectHash } from "../src/internal/store/subject.js"
import * as http from "./fixtures/http.js"
import * as Fixture from "./fixtures/redis.js"
import { clocked } from "./support/clocked.js"
import { createSession, drawToken, hour, makeRecord, recordOf, revisionOf, withData } from "./support/records.js"

const prefix = "test:"
const minute = 60_000
const day = 24 * hour

const isInstalled = await Fixture.isInstalled()

const services = (options: RedisStore.Options) =>
  Effect.map(Layer.build(RedisStore.layer(options)), (context) => ({
    store: clocked(Context.get(context, Store.Store)),
    sessions: Context.get(context, Sessions.Sessions)
  }))

type Services = Effect.Effect.Success<ReturnType<typeof services>>

const idsOf = (sessions: Sessions.Sessions["Type"], subject: string) =>
  Effect.map(
    Stream.runCollect(sessions.list(subject)),
    (found) => Chunk.toReadonlyArray(found).map(({ id }) => id as string)
  )

const keysOf = (admin: Redis) => Effect.promise(() => admin.keys("*"))

const indexOf = (subject: string) => Effect.map(subjectHash(subject), (hash) => `${prefix}subject:${hash}`)

const locatorOf = (token: SessionToken.Token) => Effect.map(SessionToken.toId(token), (id) => `${prefix}id:${id}`)

/** The names of a server's commands meanwhile. */
const commands = <A, E, R>(server: Fixture.Server, effect: Effect.Effect<A, E, R>) =>
  Effect.map(Fixture.sent(server, effect), ([, sent]) => sent.map(([name]) => name))

/** The methods of a client of either package that send a command. */
const sending = new Set(["eval", "evalSha", "evalsha", "get"])

/** A client whose commands go through `send`. */
const through = (
  client: RedisStore.Client,
  send: (command: () => Promise<unknown>, args: ReadonlyArray<unknown>) => Promise<unknown>
): RedisStore.Client =>
  new Proxy(client, {
    get: (client, name, self) => {
      const value: unknown = Reflect.get(client, name, client)
      if (typeof value !== "function") {
        return name === "isReady" ? true : value
      }
      if (name === "withCommandOptions") {
        return () => self as unknown
      }
      return sending.has(String(name))
        ? (...args: Array<unknown>) => send(() => Reflect.apply(value, client, args) as Promise<unknown>, args)
        : value.bind(client) as unknown
    }
  })

/** A client that dies at its n-th command: before it is sent, or before its answer is there. It is dead from then on. */
const dying = (client: RedisStore.Client, at: number, sent: boolean) => {
  let count = 0
  return {
    client: through(client, async (command) => {
      count++
      if (count === at && sent) {
        await command()
      }
      if (count >= at) {
        throw new Error("died")
      }
      return command()
    }),
    isDead: () => count >= at
  }
}

/** Lets time pass on servers for what is listed there. */
const aged = (nodes: ReadonlyArray<Fixture.Server>, time: number) =>
  Effect.promise(async () => {
    for (const { admin } of nodes) {
      for (const key of await admin.keys(`${prefix}id:*`)) {
        await admin.pexpire(key, await admin.pttl(key) - time)
      }
    }
  })

/** The sessions of a subject that are alive by their own keys, whatever is listed. */
const alive = (nodes: ReadonlyArray<Fixture.Server>, now: number) =>
  Effect.promise(async () => {
    const found: Array<string> = []
    for (const { admin } of nodes) {
      for (const key of await admin.keys(`${prefix}{*`)) {
        const entry = Scripts.decode(await admin.get(key) ?? "")
        if (entry._tag === "Entry" && entry.deadline > now) {
          found.push(key.slice(-43))
        }
      }
    }
    return found.sort()
  })

/** What may be under way when a process dies, each of a session of `ann`. */
const steps: ReadonlyArray<
  readonly [string, (own: Services, token: SessionToken.Token) => Effect.Effect<unknown, unknown>]
> = [
  ["a login that begins a session", ({ store }) => createSession(store, { n: 0 }, { subject: "ann" })],
  ["a renewal", ({ store }, token) =>
    Effect.gen(function*() {
      const record = yield* recordOf(store, token)
      yield* store.renew(token, record.revision, yield* drawToken(token), record)
    })],
  ["an update to a later bound", ({ store }, token) =>
    Effect.gen(function*() {
      const record = yield* recordOf(store, token)
      yield* store.update(token, record.revision, { ...record, expiresAt: record.expiresAt + day })
    })],
  ["a logout", ({ store }, token) => store.remove(token)],
  ["a revocation", ({ sessions }, token) => Effect.flatMap(SessionToken.toId(token), sessions.revoke)],
  ["the end of all", ({ sessions }) => sessions.revokeAll("ann")]
]

/** Lets a process die at each step of what it does, and looks at what it left. */
const crashes = (
  nodes: () => ReadonlyArray<Fixture.Server>,
  connect: Effect.Effect<RedisStore.Client, never, Scope.Scope>
) =>
  Effect.gen(function*() {
    const client = yield* connect
    const { sessions, store } = yield* services({ client, prefix })
    // whether the server refuses both keys at once is known before, and each script is there
    yield* createSession(store, {}, { subject: "warm" })
    for (const [name, step] of steps) {
      for (const sent of [false, true]) {
        let died = true
        for (let at = 1; died; at++) {
          yield* Effect.promise(() => Promise.all(nodes().map(({ admin }) => admin.flushall())))
          const token = yield* createSession(store, { n: 0 }, { subject: "ann" })
          const mortal = dying(client, at, sent)
          const own = yield* services({ client: mortal.client, prefix })
          yield* Effect.exit(step(own, token))
          died = mortal.isDead()
          const now = yield* Clock.currentTimeMillis
          const where = `${name}, command ${at}, ${sent ? "carried out" : "not carried out"}`
          const found = yield* alive(nodes(), now)
          assert.deepStrictEqual([...(yield* idsOf(sessions, "ann"))].sort(), found, where)
          assert.strictEqual(yield* sessions.revokeAll("ann"), found.length, where)
          assert.deepStrictEqual(yield* alive(nodes(), now), [], where)
          // what was listed for a write that never came is forgotten
          yield* aged(nodes(), 10 * minute)
          assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [], where)
          const index = yield* indexOf("ann")
          const left = yield* Effect.promise(() => Promise.all(nodes().map(({ admin }) => admin.keys(index))))
          assert.deepStrictEqual(left.flat(), [], where)
        }
      }
    }
  })

/** Renews a session often, and looks at what that left on the list. */
const renewals = (
  nodes: () => ReadonlyArray<Fixture.Server>,
  connect: Effect.Effect<RedisStore.Client, never, Scope.Scope>
) =>
  Effect.gen(function*() {
    yield* Effect.promise(() => Promise.all(nodes().map(({ admin }) => admin.flushall())))
    const { sessions, store } = yield* services({ client: yield* connect, prefix })
    const renewing = (token: SessionToken.Token) =>
      Effect.gen(function*() {
        const record = yield* recordOf(store, token)
        const next = yield* drawToken(token)
        assert.strictEqual((yield* store.renew(token, record.revision, next, record))._tag, "Updated")
        return next
      })
    const start = yield* Effect.forEach(["ann", "bob"], (subject) => createSession(store, {}, { subject }))
    const ends = yield* Effect.forEach(
      start,
      (token) => Effect.reduce(Array.from({ length: 50 }), token, renewing),
      { concurrency: "unbounded" }
    )
    // the last old keys wait for what is listed next
    const members = yield* Effect.forEach(["ann", "bob"], (subject) =>
      Effect.flatMap(indexOf(subject), (index) =>
        Effect.promise(async () => {
          const counts = await Promise.all(
            nodes().map(async ({ admin }) =>
              await admin.exists(index).catch(() =>
                  0
                ) === 1
                ? admin.zcard(index)
                : 0
            )
          )
          return counts.reduce((sum, count) => sum + count)
        })))
    assert.isAtMost(members[0]! + members[1]!, 4)
    const left = yield* Effect.promise(async () => {
      const each = nodes().map(async ({ admin }) =>
        Promise.all((await admin.keys(`${prefix}id:*`)).map((key) => admin.pttl(key)))
      )
      return (await Promise.all(each)).flat()
    })
    assert.isAtMost(left.filter((timeToLive) => timeToLive > 2 * minute).length, 4)
    for (const [index, subject] of ["ann", "bob"].entries()) {
      assert.deepStrictEqual(yield* idsOf(sessions, subject), [yield* SessionToken.toId(ends[index]!)])
      // the first id leads to what the session became
      assert.isTrue(yield* sessions.revoke(yield* SessionToken.toId(start[index]!)))
      assert.deepStrictEqual(yield* idsOf(sessions, subject), [])
    }
  })

const hostile: ReadonlyArray<string> = [
  "../../etc/passwd",
  "a{b}c",
  "nul\0byte",
  "*",
  "[a-z]?",
  "new\r\nline",
  "__proto__",
  "\ud800",
  "\udfff",
  "x".repeat(10_240)
]

describe.skipIf(!isInstalled)(isInstalled ? "Sessions in Redis" : "skipped: no redis-server here", () => {
  for (const { connect, name } of Fixture.clients) {
    describe(name, () => {
      const scope = Effect.runSync(Scope.make())
      let server: Fixture.Server
      beforeAll(async () => {
        server = await Effect.runPromise(Scope.extend(Fixture.server(), scope))
      })
      afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

      const open = Effect.gen(function*() {
        yield* Effect.promise(() => server.admin.flushall())
        const client = yield* connect(server.url)
        return { admin: server.admin, client, ...(yield* services({ client, prefix })) }
      })

      it.scoped("S31: no name of a key holds a subject or a token, whatever the subject is", () =>
        Effect.gen(function*() {
          const { admin, sessions, store } = yield* open
          for (const subject of hostile) {
            const token = yield* createSession(store, {}, { subject })
            const names = [yield* indexOf(subject), yield* locatorOf(token)]
            const found = yield* keysOf(admin)
            assert.includeMembers(found, names)
            assert.isTrue(found.every((name) => /^test:(subject:|id:|\{[0-9a-f]{4}\})[\w-]{43}$/.test(name)))
            assert.deepStrictEqual(yield* idsOf(sessions, subject), [yield* SessionToken.toId(token)])
          }
          assert.lengthOf(yield* keysOf(admin), 3 * hostile.length)
        }))

      it.scoped("a login, a renewal and a logout take one command more, an anonymous session none", () =>
        Effect.gen(function*() {
          const { sessions, store } = yield* open
          const run = (token: SessionToken.Token, subject: Partial<SessionRecord.SessionRecord>) =>
            Effect.gen(function*() {
              const next = yield* drawToken(token)
              const record = yield* makeRecord({ n: 0 }, subject)
              const created = yield* commands(server, store.create(token, record))
              const read = yield* recordOf(store, token)
              let revision = 0
              const updated = yield* commands(
                server,
                Effect.map(store.update(token, 0, read), (answer) => revision = revisionOf(answer))
              )
              const touched = yield* commands(server, store.touch(token, revision, record.deadline + 1))
              const loaded = yield* commands(server, store.load(token))
              const renewed = yield* commands(server, store.renew(token, revision, next, read))
              const removed = yield* commands(server, store.remove(next))
              return { created, updated, touched, loaded, renewed, removed }
            })
          const ann = { subject: "ann" }
          // each script is sent whole once
          yield* run(yield* drawToken(), ann)
          yield* idsOf(sessions, "ann")
          const once = ["EVALSHA"]
          const twice = ["EVALSHA", "EVALSHA"]
          const anonymous = {
            created: once,
            updated: once,
            touched: once,
            loaded: ["GET"],
            renewed: once,
            removed: once
          }
          assert.deepStrictEqual(yield* run(yield* drawToken(), {}), anonymous)
          assert.deepStrictEqual(yield* run(yield* drawToken(), ann), {
            ...anonymous,
            created: twice,
            renewed: twice,
            removed: twice
          })

          const token = yield* createSession(store, {}, ann)
          const later = yield* recordOf(store, token)
          const write = store.update(token, 0, { ...later, expiresAt: later.expiresAt + 1 })
          assert.deepStrictEqual(yield* commands(server, write), twice)
          const id = yield* SessionToken.toId(token)
          assert.deepStrictEqual(yield* commands(server, idsOf(sessions, "nobody")), ["EVALSHA"])
          assert.deepStrictEqual(yield* commands(server, sessions.revoke(id)), ["GET", "EVALSHA", "EVALSHA"])
          assert.deepStrictEqual(yield* commands(server, sessions.revoke("x".repeat(43))), ["GET"])
        }))

      it.scoped("S28: a request that logs in and goes on to write lists the session once", () =>
        Effect.gen(function*() {
          const { client } = yield* open
          const app = Effect.gen(function*() {
            const { url } = yield* HttpServerRequest.HttpServerRequest
            if (url !== "/update") {
              yield* Session.login("ann")
              yield* Session.commit
            }
            if (url !== "/login") {
              yield* http.increment
              yield* Session.commit
            }
            if (url === "/all") {
              yield* Session.renew
              yield* Session.commit
              yield* http.increment
            }
            return http.done
          })
          const count = (layer: Layer.Layer<Store.Store, unknown>) =>
            Effect.gen(function*() {
              const get = (path: string) =>
                Effect.gen(function*() {
                  const browser = yield* testing.client(HttpMiddleware.session(app))
                  return [
                    yield* commands(server, browser.get(path)),
                    yield* commands(server, browser.get("/update"))
                  ].map((sent) => sent.filter((name) => name === "EVALSHA").length)
                })
              // each script is sent whole once
              yield* get("/all")
              return [yield* get("/login"), yield* get("/login-and-update"), yield* get("/all")]
            }).pipe(Effect.provide([CookieState.layer(), layer]))
          const store = RedisStore.layer({ client, prefix })
          // a login and a renewal take one command more, an update none
          const expected = [[2, 1], [3, 1], [6, 1]]
          assert.deepStrictEqual(yield* count(store), expected)
          assert.deepStrictEqual(yield* count(TieredStore.layer()(store)), expected)
        }))

      it.scoped("the logout of an anonymous session moves no data", () =>
        Effect.gen(function*() {
          const { client } = yield* open
          const answers: Array<unknown> = []
          const { store } = yield* services({
            client: through(client, async (command) => {
              const answer = await command()
              answers.push(answer)
              return answer
            }),
            prefix
          })
          const data = { text: "x".repeat(10_000) }
          const anonymous = yield* createSession(store, data)
          const hers = yield* createSession(store, data, { subject: "ann" })
          answers.length = 0
          yield* store.remove(anonymous)
          assert.isBelow(String(answers).length, 200)
          yield* store.remove(hers)
          assert.isAbove(String(answers).length, 10_000)
        }))

      it.scoped("S28 S67: wherever a process dies, no session is alive and unlisted", () =>
        crashes(() => [server], connect(server.url)))

      it.scoped("S28: fifty renewals of a session leave no more on the list than one does", () =>
        renewals(() => [server], connect(server.url)))

      it.scoped("S26: an update that is under way when its session is revoked is refused", () =>
        Effect.gen(function*() {
          const { client, sessions, store } = yield* open
          const token = yield* createSession(store, { n: 0 }, { subject: "ann" })
          const record = yield* recordOf(store, token)
          const arrived = yield* Deferred.make<void>()
          const release = yield* Deferred.make<void>()
          const runtime = yield* Effect.runtime()
          const slow = yield* services({
            client: through(client, async (command) => {
              await Runtime.runPromise(runtime)(
                Effect.zipRight(Deferred.succeed(arrived, undefined), Deferred.await(release))
              )
              return command()
            }),
            prefix
          })
          const update = yield* Effect.fork(slow.store.update(token, 0, withData(record, { n: 1 })))
          yield* Deferred.await(arrived)
          assert.strictEqual(yield* sessions.revokeAll("ann"), 1)
          yield* Deferred.succeed(release, undefined)
          assert.deepStrictEqual(yield* Fiber.join(update), Store.gone)
          assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
        }))

      it.scoped("S28: a session that is renewed while the list is read ends under its new id", () =>
        Effect.gen(function*() {
          const { client, store } = yield* open
          const token = yield* createSession(store, {}, { subject: "ann" })
          const next = yield* drawToken(token)
          const record = yield* recordOf(store, token)
          const runtime = yield* Effect.runtime()
          let renewed: Promise<Store.Updated> | undefined
          const other = yield* services({
            client: through(client, async (command, args) => {
              // between the list and the first read of what is listed
              if (args.length === 1) {
                await (renewed ??= Runtime.runPromise(runtime)(store.renew(token, 0, next, record)))
              }
              return command()
            }),
            prefix
          })
          assert.strictEqual(yield* other.sessions.revokeAll("ann"), 1)
          assert.isDefined(renewed)
          for (const each of [token, next]) {
            assert.strictEqual((yield* store.load(each))._tag, "Superseded")
          }
        }))

      it.scoped("S26: a login that is sent again after it was revoked does not begin again", () =>
        Effect.gen(function*() {
          const { client, sessions, store: others } = yield* open
          const runtime = yield* Effect.runtime()
          /** A store whose second command, which writes the session, is sent again when `between` has run. */
          const resending = (between: Effect.Effect<unknown, unknown>) => {
            let count = 0
            return Effect.map(
              services({
                client: through(client, async (command) => {
                  const answer = await command()
                  if (++count !== 2) {
                    return answer
                  }
                  await Runtime.runPromise(runtime)(between)
                  return command()
                }),
                prefix
              }),
              ({ store }) => store
            )
          }
          // the scripts are there
          const first = yield* createSession(others, {}, { subject: "bob" })
          yield* others.renew(first, 0, yield* drawToken(first), yield* recordOf(others, first))

          const token = yield* drawToken()
          const revoking = (token: SessionToken.Token) => Effect.flatMap(SessionToken.toId(token), sessions.revoke)
          const begins = yield* resending(revoking(token))
          const record = yield* makeRecord({}, { subject: "ann" })
          assert.deepStrictEqual(yield* begins.create(token, record), Store.created(token))
          assert.deepStrictEqual(yield* others.load(token), Store.superseded)

          const hers = yield* createSession(others, {}, { subject: "ann" })
          const next = yield* drawToken(hers)
          const renews = yield* resending(revoking(hers))
          const renewed = yield* renews.renew(hers, 0, next, yield* recordOf(others, hers))
          assert.strictEqual(renewed._tag, "Updated")
          assert.deepStrictEqual(yield* others.load(next), Store.superseded)
          assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
        }))

      it.scoped("a session that is listed and not there stays listed for ten minutes, and goes when it is listed again", () =>
        Effect.gen(function*() {
          const { admin, client, sessions } = yield* open
          const { store } = yield* services({ client: dying(client, 2, false).client, prefix })
          const index = yield* indexOf("ann")
          const members = Effect.promise(() => admin.zcard(index))
          assert.isTrue(Either.isLeft(yield* Effect.either(createSession(store, {}, { subject: "ann" }))))
          for (const [wait, left] of [[0, 1], [9 * minute, 1], [minute, 0]] as const) {
            yield* aged([server], wait)
            assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
            assert.strictEqual(yield* members, left)
          }
        }))

      it.scoped("S28: a reader whose clock is ahead takes no session off the list that is about to be written", () =>
        Effect.gen(function*() {
          const { client, sessions } = yield* open
          const listed = yield* Deferred.make<void>()
          const release = yield* Deferred.make<void>()
          const runtime = yield* Effect.runtime()
          let count = 0
          const slow = yield* services({
            client: through(client, async (command) => {
              if (++count === 2) {
                await Runtime.runPromise(runtime)(
                  Effect.zipRight(Deferred.succeed(listed, undefined), Deferred.await(release))
                )
              }
              return command()
            }),
            prefix
          })
          const warm = yield* services({ client, prefix })
          yield* createSession(warm.store, {}, { subject: "warm" })
          const login = yield* Effect.fork(createSession(slow.store, {}, { subject: "ann" }))
          yield* Deferred.await(listed)
          yield* TestClock.adjust(11 * minute)
          assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [])
          yield* Deferred.succeed(release, undefined)
          assert.deepStrictEqual(yield* idsOf(sessions, "ann"), [yield* SessionToken.toId(yield* Fiber.join(login))])
        }))

      it.scoped("S28: a login that is tried again while a reader takes its first try off the list stays listed", () =>
        Effect.gen(function*() {
          const { client, sessions, store } = yield* open
          const runtime = yield* Effect.runtime()
          let reached = true
          for (let at = 1; reached; at++) {
            yield* Effect.promise(() => server.admin.flushdb())
            const token = yield* drawToken()
            const record = yield* makeRecord({}, { subject: "ann" })
            const first = yield* services({ client: dying(client, 2, false).client, prefix })
            yield* Effect.flip(first.store.create(token, record))
            yield* aged([server], 10 * minute)
            yield* TestClock.adjust(11 * minute)
            let count = 0
            const reader = yield* services({
              client: through(client, async (command) => {
                if (++count === at) {
                  await Runtime.runPromise(runtime)(store.create(token, record))
                }
                return command()
              }),
              prefix
            })
            yield* idsOf(reader.sessions, "ann")
            reached = count >= at
            const ids = reached ? [yield* SessionToken.toId(token)] : []
            assert.deepStrictEqual(yield* idsOf(sessions, "ann"), ids, `before the reader's command ${at}`)
          }
        }))

      it.scoped("an index outlives its last member, forgets those that are past, and lowers no bound", () =>
        Effect.gen(function*() {
          const { admin, sessions, store } = yield* open
          yield* TestClock.setTime(1_700_000_000_000)
          const start = yield* Clock.currentTimeMillis
          const index = yield* indexOf("ann")
          const left = (key: string) => Effect.promise(() => admin.pttl(key))
          const about = (actual: number, expected: number) => assert.approximately(actual, expected, 30_000)
          const login = (bound: number) =>
            createSession(store, {}, { subject: "ann", expiresAt: start + bound, deadline: start + bound })

          const long = yield* login(30 * day)
          about(yield* left(index), 30 * day + minute)
          about(yield* left(yield* locatorOf(long)), 30 * day + minute)
          const short = yield* login(hour)
          about(yield* left(index), 30 * day + minute)
          about(yield* left(yield* locatorOf(short)), hour + minute)
          // a create that is refused leaves the longer bound of the session that is there
          const record = yield* makeRecord({}, { subject: "ann", expiresAt: start + 1 })
          assert.deepStrictEqual(yield* store.create(long, record), Store.exists)
          about(yield* left(yield* locatorOf(long)), 30 * day + minute)
          const scores = Effect.promise(() => admin.zrange(index, 0, -1, "WITHSCORES"))
          const memberOf = (token: SessionToken.Token) =>
            Effect.map(SessionToken.toId(token), (id) => `${SessionToken.shard(token)}${id}`)
          assert.deepStrictEqual(yield* scores, [
            yield* memberOf(short),
            String(start + hour),
            yield* memberOf(long),
            String(start + 30 * day)
          ])
          yield* TestClock.adjust(hour + minute)
          yield* createSession(store, {}, { subject: "ann" })
          assert.strictEqual(yield* Effect.promise(() => admin.zcard(index)), 3)
          yield* TestClock.adjust(1)
          const last = yield* createSession(store, {}, { subject: "ann" })
          assert.strictEqual(yield* Effect.promise(() => admin.zcard(index)), 3)
          assert.notInclude(yield* scores, yield* memberOf(short))
          yield* store.remove(last)
          about(yield* left(yield* locatorOf(last)), 2 * minute)

          const endless = yield* createSession(store, {}, { subject: "bob", expiresAt: 1e300, deadline: 1e300 })
          assert.isAbove(yield* left(yield* indexOf("bob")), 3_155_759_000_000)
          assert.deepStrictEqual(yield* idsOf(sessions, "bob"), [yield* SessionToken.toId(endless)])
        }))

      it.scoped("a full server refuses a login and leaves nobody alive; a logout goes off the list", () =>
        Effect.gen(function*() {
          const { admin, sessions, store } = yield* open
          const token = yield* createSession(store, {}, { subject: "ann" })
          const limit = (bytes: string) => Effect.promise(() => admin.config("SET", "maxmemory", bytes))
          yield* Effect.addFinalizer(() => limit("0"))
          yield* limit("1")
          const refused = yield* Effect.flip(createSession(store, {}, { subject: "ann" }))
          assert.include(String(refused.cause), "OOM")
          assert.strictEqual(yield* sessions.count("ann"), 1)
          yield* store.remove(token)
          assert.deepStrictEqual(yield* Effect.promise(() => admin.keys(`${prefix}subject:*`)), [])
          yield* limit("0")
          assert.strictEqual(yield* sessions.count("ann"), 0)
        }))

      it.scoped("a release that knows no revocations reads one as the tombstone of a session that has ended", () =>
        Effect.gen(function*() {
          const { admin, sessions, store } = yield* open
          const token = yield* createSession(store, {}, { subject: "ann" })
          const id = yield* SessionToken.toId(token)
          yield* sessions.revoke(id)
          const text = yield* Effect.promise(() => admin.get(`${prefix}{${SessionToken.shard(token)}}${id}`))
          const earlier = /^T (\d{16})(?: ([\w-]{43})(?: [\w.-]{48})?)?$/
          assert.match(text!, earlier)
          assert.deepStrictEqual(Scripts.decode(text!), { _tag: "Tombstone", until: minute, revoked: true })
          assert.deepStrictEqual(Scripts.decode(text!.slice(0, 18)), {
            _tag: "Tombstone",
            until: minute,
            successor: undefined
          })
          // whoever follows it ends nothing more
          assert.deepStrictEqual(
            yield* commands(server, store.remove(token)),
            ["EVALSHA"]
          )
          assert.isFalse(yield* sessions.revoke(id))
        }))
    })
  }
})

it.scoped.skipIf(!isInstalled)(
  "S28: a subject may have 100,000 sessions, which can be listed and ended",
  () =>
    Effect.gen(function*() {
      const { admin, url } = yield* Fixture.server()
      const { sessions } = yield* services({ client: yield* Fixture.nodeRedis(url), prefix })
      const many = 100_000
      const now = yield* Clock.currentTimeMillis
      const record = yield* makeRecord({ n: 0 }, { subject: "ann", listedUntil: now + day })
      const index = yield* indexOf("ann")
      yield* Effect.promise(async () => {
        for (let from = 0; from < many; from += 10_000) {
          const pipeline = admin.pipeline()
          for (let n = from; n < from + 10_000; n++) {
            const key = {
              id: String(n).padStart(43, "x") as SessionToken.SessionId,
              shard: (n % 65_536).toString(16).padStart(4, "0")
            }
            const [head, body] = Scripts.encode({
              _tag: "Entry",
              revision: 0,
              touchedAt: now + n,
              deadline: now + hour,
              body: SessionRecord.encode(record)
            })
            pipeline.set(`${prefix}{${key.shard}}${key.id}`, `${head}${".".repeat(48)} ${body}`)
            pipeline.set(`${prefix}id:${key.id}`, `${key.shard} ${day}`, "PX", day)
            pipeline.zadd(index, now + day, ListScripts.member(key))
          }
          await pipeline.exec()
        }
      })
      assert.strictEqual(yield* sessions.count("ann"), many)
      const newest = yield* Stream.runCollect(Stream.take(sessions.list("ann"), 2))
      assert.deepStrictEqual(Chunk.toReadonlyArray(newest).map(({ touchedAt }) => touchedAt), [
        now + many - 1,
        now + many - 2
      ])
      assert.strictEqual(yield* sessions.keepNewest("ann", 1), many - 1)
      assert.strictEqual(yield* sessions.revokeAll("ann"), 1)
      assert.strictEqual(yield* Effect.promise(() => admin.exists(index)), 0)
    }),
  400_000
)

describe.skipIf(!isInstalled)(isInstalled ? "Sessions in a cluster" : "skipped: no redis-server here", () => {
  const scope = Effect.runSync(Scope.make())
  let cluster: Fixture.ClusterOf
  beforeAll(async () => {
    cluster = await Effect.runPromise(Scope.extend(Fixture.cluster(3), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const [index, name] of ["redis", "ioredis"].entries()) {
    const connect = Effect.suspend(() => cluster.clients[index]!.connect)

    it.scoped(`${name} S28 S29 S31: sessions are listed and ended, wherever they and their lists are`, () =>
      Effect.gen(function*() {
        yield* Effect.promise(() => Promise.all(cluster.nodes.map(({ admin }) => admin.flushall())))
        const { sessions, store } = yield* services({ client: yield* connect, prefix })
        const people = Array.from({ length: 10 }, (_, n) => `ann ${n}`)
        const slots = new Set<number>()
        for (const subject of people) {
          const tokens = yield* Effect.forEach(Array.from({ length: 5 }), () => createSession(store, {}, { subject }))
          const ids = yield* Effect.forEach(tokens, SessionToken.toId)
          assert.sameMembers([...(yield* idsOf(sessions, subject))], ids)
          const key = yield* indexOf(subject)
          slots.add(yield* Effect.promise(() => cluster.nodes[0]!.admin.cluster("KEYSLOT", key)))
          assert.isTrue(yield* sessions.revoke(ids[0]!))
          const next = yield* drawToken(tokens[1])
          yield* store.renew(tokens[1]!, 0, next, yield* recordOf(store, tokens[1]!))
          assert.isTrue(yield* sessions.revoke(ids[1]!))
          assert.deepStrictEqual(yield* store.load(next), Store.superseded)
          yield* store.remove(tokens[2]!)
          assert.strictEqual(yield* sessions.revokeAll(subject, { except: ids[3] }), 1)
          assert.deepStrictEqual(yield* idsOf(sessions, subject), [ids[3]!])
        }
        assert.isAbove(slots.size, 5)
        const lists = yield* Effect.promise(() =>
          Promise.all(cluster.nodes.map(({ admin }) => admin.keys(`${prefix}subject:*`)))
        )
        assert.isTrue(lists.every((found) => found.length > 0) && lists.flat().length === people.length)
      }))

    it.scoped(`${name} S28 S67: wherever a process dies, no session is alive and unlisted`, () =>
      crashes(() => cluster.nodes, connect))

    it.scoped(`${name} S28: fifty renewals of a session leave no more on the list than one does`, () =>
      renewals(() => cluster.nodes, connect))
  }
})
