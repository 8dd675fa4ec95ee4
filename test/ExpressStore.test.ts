import { assert, describe, it } from "@effect/vitest"
import connectPgSimple from "connect-pg-simple"
import { RedisStore } from "connect-redis"
import type { ConfigError } from "effect"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Redacted, TestClock } from "effect"
import * as ExpressStore from "effect-session/ExpressStore"
import type { SessionRecord } from "effect-session/SessionRecord"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import express from "express"
import session from "express-session"
import { once } from "node:events"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { createClient } from "redis"
import { clocked } from "./support/clocked.js"
import { databaseMissing, databaseTitle, poolWithSchema } from "./support/database.js"
import {
  createSession,
  dataOf,
  drawToken,
  hour,
  makeRecord,
  recordOf,
  revisionOf,
  withData
} from "./support/records.js"
import { redisMissing, redisTitle, redisUrl } from "./support/redis.js"
import { backupOf, writersOfALostRevision } from "./support/restored.js"

const require = createRequire(import.meta.url)

type Callback = (error: unknown, session?: unknown) => void

/** An express-session store in a Map of JSON text, that can be made to fail, to wait, or to answer in odd ways. */
const makeMap = () => {
  const map = new Map<string, string>()
  const control: { before: (method: string) => Effect.Effect<void, unknown> } = { before: () => Effect.void }
  const calls: Array<string> = []
  const run = (method: string, callback: Callback | undefined, f: () => unknown): void => {
    calls.push(method)
    Effect.runCallback(control.before(method), {
      onExit: (exit) => exit._tag === "Success" ? callback?.(null, f()) : callback?.(new Error("down"))
    })
  }
  const store = {
    get: (sid: string, callback: Callback) => run("get", callback, () => JSON.parse(map.get(sid) ?? "null") as unknown),
    set: (sid: string, value: object, callback?: Callback) =>
      run("set", callback, () => void map.set(sid, JSON.stringify(value))),
    destroy: (sid: string, callback?: Callback) => run("destroy", callback, () => void map.delete(sid)),
    touch: (_sid: string, _value: object, callback?: Callback) => run("touch", callback, () => undefined)
  }
  return { calls, control, map, store }
}

const build = <E>(layer: Layer.Layer<Store.Store, E>) =>
  Effect.map(Layer.build(layer), (context) => clocked(Context.get(context, Store.Store)))

const over = (store: ExpressStore.ExpressSessionStore, options?: ExpressStore.Options) =>
  build(ExpressStore.layer(store, options))

const expressId = "abcdefghijklmnopqrstuvwxyz_-0123"

const born = (map: Map<string, string>, value: object): SessionToken.Token => {
  map.set(expressId, JSON.stringify(value))
  return SessionToken.fromString(expressId)
}

const sidOf = (token: SessionToken.Token) => Redacted.value(token)

interface Kept {
  readonly cookie: { readonly [key: string]: unknown }
  readonly [key: string]: unknown
}

const kept = (map: Map<string, string>, token: SessionToken.Token): Kept =>
  JSON.parse(map.get(sidOf(token)) ?? "{}") as Kept

describe("ExpressStore", () => {
  it.scoped("S03: accepts ids of express-session and its own, in full form, and those of a genid when told", () =>
    Effect.gen(function*() {
      const { calls, store } = makeMap()
      const plain = yield* over(store)
      const own = sidOf(yield* drawToken())
      for (const good of [expressId, own]) {
        assert.isTrue(plain.accepts(SessionToken.fromString(good)))
      }
      const uuid = "6e1bb5c1-8f0f-4fd6-b0a4-6d1a5cbdc4b5"
      for (const bad of ["", expressId + "\n", expressId + "a", `../${expressId.slice(3)}`, own + "=", uuid, "a\0b"]) {
        assert.isFalse(plain.accepts(SessionToken.fromString(bad)), JSON.stringify(bad))
      }
      const custom = yield* over(store, { accepts: (sid) => /^[0-9a-f-]{36}$/.test(sid) })
      assert.isTrue(custom.accepts(SessionToken.fromString(uuid)))
      assert.isTrue(custom.accepts(SessionToken.fromString(own)))
      assert.isFalse(custom.accepts(SessionToken.fromString(expressId)))
      assert.deepStrictEqual(calls, [])
    }))

  it.scoped("a session that Express began is read, written and kept in Express's form, its cookie as it was", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      yield* TestClock.setTime(Date.now())
      const expires = new Date(Date.now() + hour).toISOString()
      const cookie = { originalMaxAge: hour, expires, httpOnly: true, path: "/app", sameSite: "strict", secure: true }
      const token = born(map, { cookie, user: { name: "ann" }, views: 3 })
      const record = yield* recordOf(express, token)
      assert.deepStrictEqual(record.data, { user: { name: "ann" }, views: 3 })
      assert.strictEqual(record.idle, hour)
      assert.strictEqual(record.deadline, Date.parse(expires))
      const updated = yield* express.update(
        token,
        record.revision,
        withData(record, { user: { name: "ann" }, views: 4 })
      )
      assert.strictEqual(updated._tag, "Updated")
      const { "effect-session": _, ...visible } = kept(map, token)
      assert.deepStrictEqual(visible, { cookie, user: { name: "ann" }, views: 4 })
    }))

  it.scoped("a cookie that lasts as long as the browser stays one, until expireIn makes it last", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const token = born(map, { cookie: { originalMaxAge: null, expires: null, httpOnly: true, path: "/" }, n: 1 })
      const record = yield* recordOf(express, token)
      yield* express.update(token, record.revision, withData(record, { n: 2 }))
      assert.strictEqual(kept(map, token).cookie["expires"], null)
      const again = yield* recordOf(express, token)
      yield* express.update(token, again.revision, { ...again, persistent: true, idle: 5000, deadline: 5000 })
      assert.deepStrictEqual(kept(map, token).cookie, {
        originalMaxAge: 5000,
        expires: new Date(5000).toISOString(),
        httpOnly: true,
        path: "/"
      })
    }))

  it.scoped("a session that was begun here has the cookie attributes that Express is to find", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store, { cookie: { sameSite: "lax", secure: true, path: "/shop" } })
      const token = yield* createSession(express, { n: 1 })
      assert.deepStrictEqual(kept(map, token).cookie, {
        path: "/shop",
        httpOnly: true,
        sameSite: "lax",
        secure: true,
        originalMaxAge: hour,
        expires: new Date(hour).toISOString()
      })
    }))

  it.scoped("S65: what Express wrote in between is a conflict, each time, although Express raises no revision", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const token = yield* createSession(express, { n: 1 })
      const record = yield* recordOf(express, token)
      const written = new Set([record.revision])
      for (const n of [2, 3]) {
        map.set(sidOf(token), JSON.stringify({ ...kept(map, token), n }))
        const answer = yield* express.update(token, record.revision, withData(record, { n: 100 }))
        assert.deepStrictEqual(answer._tag === "Conflict" && answer.record.data, { n })
        written.add(answer._tag === "Conflict" ? answer.record.revision : -1)
      }
      assert.strictEqual(written.size, 3)
      const fresh = yield* recordOf(express, token)
      revisionOf(yield* express.update(token, fresh.revision, withData(fresh, { n: 4 })), fresh.revision)
      assert.strictEqual((yield* express.update(token, fresh.revision, fresh))._tag, "Conflict")
    }))

  it.scoped("D5: after a restored backup, a writer that read a lost write gets a Conflict, also where another wrote since", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      yield* writersOfALostRevision(yield* over(store), () => backupOf(map))
    }))

  it.scoped("a backend that keeps no order of keys is not taken for a write of Express", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const token = yield* createSession(express, { a: { x: 1, y: [1, { p: 1, q: 2 }] }, b: 2 })
      const before = yield* recordOf(express, token)
      const { a: _, b, ...rest } = kept(map, token)
      map.set(sidOf(token), JSON.stringify({ b, a: { y: [1, { q: 2, p: 1 }], x: 1 }, ...rest }))
      assert.strictEqual((yield* recordOf(express, token)).revision, before.revision)
    }))

  it.scoped("keys that mean something to Express make the round trip out of its sight", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const data = { cookie: "oatmeal", "effect-session": [1], n: 1 }
      const token = yield* createSession(express, data)
      assert.deepStrictEqual(yield* dataOf(express, token), data)
      assert.strictEqual(kept(map, token).cookie["path"], "/")
    }))

  it.scoped("S61: what is no session of Express's is none, is left alone, and so is a later release's", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      for (const value of [1, "text", [], {}, { cookie: 1 }, { cookie: {}, "effect-session": { v: 2 } }]) {
        const token = born(map, value as object)
        assert.strictEqual(yield* dataOf(express, token), "None")
        assert.strictEqual(map.get(expressId), JSON.stringify(value))
      }
    }))

  it.scoped("S20: by default what the store still has lives until its absolute bound, and is touched when read", () =>
    Effect.gen(function*() {
      const { calls, store } = makeMap()
      const express = yield* over(store)
      const token = yield* createSession(express, { n: 1 })
      const record = yield* recordOf(express, token)
      // Express touched it meanwhile, of which this store keeps no trace
      yield* TestClock.adjust(2 * hour)
      const later = yield* recordOf(express, token)
      assert.strictEqual(later.revision, record.revision)
      assert.isTrue(later.deadline > 2 * hour && later.deadline < 3 * hour)
      calls.length = 0
      assert.deepStrictEqual(yield* express.touch(token, record.revision, 3 * hour), Store.touched(token))
      assert.deepStrictEqual(calls, ["get", "touch"])
      yield* TestClock.setTime(24 * hour)
      assert.strictEqual(yield* dataOf(express, token), "None")
    }))

  it.scoped("S17 S20: with expiry \"record\", or a store that has no touch, the record's deadline alone counts", () =>
    Effect.gen(function*() {
      const { store } = makeMap()
      const { touch: _, ...untouchable } = makeMap().store
      for (const express of [yield* over(store, { expiry: "record" }), yield* over(untouchable)]) {
        yield* TestClock.setTime(0)
        const token = yield* createSession(express, { n: 1 })
        yield* express.touch(token, 0, hour + 1000)
        yield* TestClock.adjust(hour + 999)
        assert.deepStrictEqual(yield* dataOf(express, token), { n: 1 })
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* dataOf(express, token), "None")
      }
    }))

  it.scoped("S21: touch writes no data and revives nothing", () =>
    Effect.gen(function*() {
      const { calls, map, store } = makeMap()
      const express = yield* over(store)
      const token = yield* createSession(express, { n: 1 })
      yield* express.touch(token, 0, 2 * hour)
      assert.deepStrictEqual(calls.slice(-2), ["get", "touch"])
      map.clear()
      assert.deepStrictEqual(yield* express.touch(token, 0, 2 * hour), Store.gone)
      assert.strictEqual(map.size, 0)
    }))

  it.scoped("S26: what Express saves back after a logout here is not accepted here, and a second logout ends it", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const token = yield* createSession(express, { user: "ann" })
      const slow = map.get(sidOf(token)) ?? ""
      yield* express.remove(token)
      map.set(sidOf(token), slow)
      assert.strictEqual(yield* dataOf(express, token), "Superseded")
      assert.deepStrictEqual(yield* express.update(token, 0, yield* makeRecord({ n: 1 })), Store.gone)
      yield* express.remove(token)
      assert.isFalse(map.has(sidOf(token)))
    }))

  it.scoped("S13 X05: renew moves the session to the new id, as Express's regenerate would, and ends the old one", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const token = born(map, { cookie: { originalMaxAge: null, expires: null }, user: "ann" })
      const next = yield* drawToken()
      const record = yield* recordOf(express, token)
      assert.strictEqual((yield* express.renew(token, record.revision, next, record))._tag, "Updated")
      assert.isFalse(map.has(expressId))
      assert.strictEqual(yield* dataOf(express, token), "Superseded")
      assert.deepStrictEqual(yield* dataOf(express, next), { user: "ann" })
      assert.deepStrictEqual(kept(map, next).cookie, { originalMaxAge: null, expires: null })
      // another process sees the tombstone in the store
      assert.strictEqual(yield* dataOf(yield* over(store), token), "Superseded")
    }))

  it.scoped("C7: a logout with the old token ends the renewed session, also one that another process renewed", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      for (const other of [true, false]) {
        const express = yield* over(store)
        const first = born(map, { cookie: { originalMaxAge: null, expires: null }, user: "ann" })
        const second = yield* drawToken()
        const third = yield* drawToken()
        const record = yield* recordOf(express, first)
        const revision = revisionOf(yield* express.renew(first, record.revision, second, record))
        yield* express.renew(second, revision, third, { ...record, revision })
        const asking = other ? yield* over(store) : express
        assert.deepStrictEqual(yield* dataOf(asking, third), { user: "ann" })
        yield* asking.remove(first)
        for (const token of [first, second, third]) {
          assert.isFalse(map.has(sidOf(token)))
          assert.strictEqual(yield* dataOf(asking, token), "Superseded")
        }
        map.clear()
        yield* TestClock.adjust("2 minutes")
      }
    }))

  it.scoped("C7: what Express saves back of a renewed session does not hide the new one from a logout", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const token = yield* createSession(express, { user: "ann" })
      const slow = map.get(sidOf(token)) ?? ""
      const next = yield* drawToken()
      yield* express.renew(token, 0, next, yield* recordOf(express, token))
      map.set(sidOf(token), slow)
      yield* (yield* over(store)).remove(token)
      assert.isFalse(map.has(sidOf(token)))
      assert.isFalse(map.has(sidOf(next)))
    }))

  it.scoped("C7: a renewal under way in another process is followed once its tombstone is there", () =>
    Effect.gen(function*() {
      const { control, map, store } = makeMap()
      const express = yield* over(store)
      const other = yield* over(store)
      const token = yield* createSession(express, { user: "ann" })
      const next = yield* drawToken()
      const record = yield* recordOf(express, token)
      const reached = yield* Deferred.make<void>()
      const proceed = yield* Deferred.make<void>()
      control.before = (method) =>
        method === "destroy" ? Effect.zipRight(Deferred.succeed(reached, void 0), Deferred.await(proceed)) : Effect.void
      const renewal = yield* Effect.fork(other.renew(token, 0, next, record))
      yield* Deferred.await(reached)
      control.before = () => Effect.void
      yield* express.remove(token)
      yield* Deferred.succeed(proceed, void 0)
      yield* Fiber.join(renewal)
      assert.isFalse(map.has(sidOf(token)))
      assert.isFalse(map.has(sidOf(next)))
    }))

  it.scoped("D10: a logout ends a session that has expired by its clock for a clock that is behind, too", () =>
    Effect.gen(function*() {
      const { store } = makeMap()
      const express = yield* over(store, { expiry: "record" })
      const token = yield* createSession(express, { n: 1 })
      const behind = { now: hour - 3000 }
      yield* express.remove(token, { now: hour + 1 })
      assert.deepStrictEqual(yield* express.load(token, behind), Store.superseded)
      assert.deepStrictEqual(yield* express.touch(token, 0, 2 * hour, behind), Store.gone)
    }))

  it.scoped("X20 S05: neither create nor renew overwrites a session", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const victim = born(map, { cookie: {}, user: "victim" })
      assert.deepStrictEqual(yield* express.create(victim, yield* makeRecord({})), Store.exists)
      const token = yield* createSession(express, { user: "ann" })
      yield* Effect.flip(express.renew(token, 0, victim, yield* recordOf(express, token)))
      assert.deepStrictEqual(yield* dataOf(express, victim), { user: "victim" })
      assert.deepStrictEqual(yield* dataOf(express, token), { user: "ann" })
    }))

  it.scoped("S65: parallel writers of one process queue, whatever the store waits for", () =>
    Effect.gen(function*() {
      const { control, store } = makeMap()
      const express = yield* over(store)
      const token = yield* createSession(express, { n: 0 })
      const record = yield* recordOf(express, token)
      const reached = yield* Deferred.make<void>()
      const proceed = yield* Deferred.make<void>()
      control.before = (method) =>
        method === "set" ? Effect.zipRight(Deferred.succeed(reached, void 0), Deferred.await(proceed)) : Effect.void
      const first = yield* Effect.fork(express.update(token, 0, withData(record, { n: 1 })))
      yield* Deferred.await(reached)
      const second = yield* Effect.fork(express.update(token, 0, withData(record, { n: 2 })))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(proceed, void 0)
      assert.strictEqual((yield* Fiber.join(first))._tag, "Updated")
      const answer = yield* Fiber.join(second)
      assert.deepStrictEqual(answer._tag === "Conflict" && answer.record.data, { n: 1 })
    }))

  it.scoped("D1: a write that fails with ENOENT is never answered as done", () =>
    Effect.gen(function*() {
      const { store } = makeMap()
      const gone = { code: "ENOENT" }
      const working = yield* over(store)
      const token = yield* createSession(working, { n: 0 })
      const record = yield* recordOf(working, token)
      const folderless = yield* over({
        ...store,
        set: (_sid: string, _value: object, callback?: Callback) => callback?.(gone),
        touch: (_sid: string, _value: object, callback?: Callback) => callback?.(gone)
      })
      const failures = yield* Effect.all([
        Effect.flip(createSession(folderless, { n: 0 })),
        Effect.flip(folderless.update(token, record.revision, withData(record, { n: 1 }))),
        Effect.flip(folderless.renew(token, record.revision, yield* drawToken(), record)),
        Effect.flip(folderless.touch(token, record.revision, record.deadline + 1000))
      ])
      assert.deepStrictEqual(failures.map(({ reason }) => reason), Array(4).fill("Unavailable"))
      assert.deepStrictEqual(yield* dataOf(working, token), { n: 0 })
    }))

  it.scoped("D13: a cookie that Express let last as long as the browser stays one where its maxAge is not in the JSON", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over(store)
      const token = born(map, { cookie: { httpOnly: true, path: "/" }, n: 0 })
      const record = yield* recordOf(express, token)
      yield* express.update(token, record.revision, withData(record, { n: 1 }))
      assert.deepStrictEqual(kept(map, token).cookie, { originalMaxAge: null, httpOnly: true, path: "/" })
    }))

  it.scoped("D15: the __lastAccess of session-file-store is no data, and no write of another", () =>
    Effect.gen(function*() {
      const { map, store } = makeMap()
      const express = yield* over({
        ...store,
        set: (sid: string, value: object, callback?: Callback) =>
          store.set(sid, { ...value, __lastAccess: Math.random() }, callback)
      })
      const token = yield* createSession(express, { n: 0 })
      const record = yield* recordOf(express, token)
      assert.deepStrictEqual(record.data, { n: 0 })
      const updated = yield* express.update(token, record.revision, withData(record, { n: 1 }))
      const after = yield* recordOf(express, token)
      assert.strictEqual(after.revision, updated._tag === "Updated" ? updated.revision : undefined)
      map.set(sidOf(token), JSON.stringify({ ...kept(map, token), __lastAccess: 7 }))
      assert.strictEqual((yield* recordOf(express, token)).revision, after.revision)
      assert.deepStrictEqual(after.data, { n: 1 })
    }))

  it.scoped("S66: errors, throws and rejections are StoreErrors without the token; ENOENT is no session", () =>
    Effect.gen(function*() {
      const { control, store } = makeMap()
      const token = yield* drawToken()
      control.before = () => Effect.fail("down")
      const failing = [
        store,
        {
          ...store,
          get: () => {
            throw new Error("thrown")
          }
        },
        { ...store, get: () => Promise.reject(new Error("rejected")) }
      ]
      for (const store of failing) {
        const error = yield* Effect.flip((yield* over(store)).load(token))
        assert.strictEqual(error.reason, "Unavailable")
        assert.strictEqual(error.method, "ExpressStore.load")
        assert.notInclude(String(error), sidOf(token))
      }
      control.before = () => Effect.void
      const files = { ...store, get: (_: string, callback: Callback) => callback({ code: "ENOENT" }) }
      assert.strictEqual(yield* dataOf(yield* over(files), token), "None")
    }))

  it.scoped("an error that is false, zero or empty is none, as for express-session", () =>
    Effect.gen(function*() {
      const { store } = makeMap()
      for (const none of [false, 0, ""]) {
        const odd = {
          ...store,
          get: (sid: string, callback: Callback) => store.get(sid, (_, value) => callback(none, value)),
          set: (sid: string, value: object, callback?: Callback) => store.set(sid, value, () => callback?.(none))
        }
        const kept = yield* over(odd)
        assert.deepStrictEqual(yield* dataOf(kept, yield* createSession(kept, { n: 1 })), { n: 1 })
      }
    }))

  it.effect("a wrong option or object fails the layer and says what to write", () =>
    Effect.gen(function*() {
      const { store } = makeMap()
      const problem = (layer: Layer.Layer<Store.Store, ConfigError.ConfigError>) =>
        Effect.map(Effect.scoped(Effect.flip(Layer.build(layer))), String)
      assert.include(
        yield* problem(ExpressStore.layer({} as ExpressStore.ExpressSessionStore)),
        "get, set and destroy"
      )
      assert.include(yield* problem(ExpressStore.layer(store, { idleTimeout: 0 })), "idleTimeout")
      assert.include(yield* problem(ExpressStore.layer(store, { lifetime: Duration.infinity })), "lifetime")
      assert.include(yield* problem(ExpressStore.layer(store, { expiry: "never" as "record" })), "expiry")
    }))
})

/** An Express app on a free port, with its session beside ours in one store. */
const serve = (store: session.Store) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const app = express()
      app.use(
        session({ store, secret: "keyboard cat", resave: false, saveUninitialized: false, cookie: { maxAge: hour } })
      )
      app.get("/login", (request, response, next) =>
        request.session.regenerate((error) => {
          if (error) {
            return next(error)
          }
          Object.assign(request.session, { user: "ann" })
          response.json({ sid: request.session.id })
        }))
      app.get("/add", (request, response) => {
        const data = request.session as unknown as { n?: number }
        data.n = (data.n ?? 0) + 1
        response.json(data)
      })
      app.get("/read", (request, response) => void response.json(request.session))
      app.get("/logout", (request, response, next) =>
        request.session.destroy((error) => error ? next(error) : response.json({})))
      const server = createServer(app).listen(0, "127.0.0.1")
      await once(server, "listening")
      return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
    }),
    ({ server }) =>
      Effect.promise(() => new Promise((resolve) => server.close(resolve)))
  )

/** Both ways between Express and this store, over a real store of express-session. */
const shared = (store: session.Store) =>
  Effect.gen(function*() {
    const { url } = yield* serve(store)
    const ours = yield* over(store)
    const { sign } = require("cookie-signature") as { sign: (value: string, secret: string) => string }
    const ask = (path: string, sid?: string) =>
      Effect.promise(async () => {
        const cookie = `connect.sid=${encodeURIComponent(`s:${sign(sid ?? "", "keyboard cat")}`)}`
        const response = await fetch(url + path, { headers: sid === undefined ? {} : { cookie } })
        const text = await response.text()
        assert.strictEqual(response.status, 200, text)
        return JSON.parse(text) as { readonly [key: string]: unknown }
      })

    // begun by Express, read and written here
    const { sid } = (yield* ask("/login")) as { readonly sid: string }
    const token = SessionToken.fromString(sid)
    assert.isTrue(ours.accepts(token))
    const record: SessionRecord = yield* recordOf(ours, token)
    assert.deepStrictEqual(record.data, { user: "ann" })
    // Express counts what is left of the cookie's life anew when it saves it, so a millisecond may be missing.
    assert.isTrue(record.idle <= hour && record.idle > hour - 1000, `idle ${record.idle}`)
    assert.strictEqual(
      (yield* ours.update(token, record.revision, withData(record, { user: "ann", n: 5 })))._tag,
      "Updated"
    )
    assert.strictEqual((yield* ask("/add", sid))["n"], 6)
    assert.deepStrictEqual(yield* dataOf(ours, token), { user: "ann", n: 6 })

    // touched here, and by Express
    const now = yield* recordOf(ours, token)
    assert.strictEqual((yield* ours.touch(token, now.revision, now.deadline + 60_000))._tag, "Touched")
    assert.strictEqual((yield* ask("/read", sid))["n"], 6)
    assert.strictEqual((yield* recordOf(ours, token)).revision, now.revision)

    // renewed here: the old id is nobody's any more
    const next = yield* drawToken()
    yield* ours.renew(token, now.revision, next, now)
    assert.isUndefined((yield* ask("/read", sid))["user"])
    assert.strictEqual((yield* ask("/read", sidOf(next)))["user"], "ann")

    // ended by Express, gone here; begun here, ended here, gone in Express
    yield* ask("/logout", sidOf(next))
    assert.strictEqual(yield* dataOf(ours, next), "None")
    const own = yield* createSession(ours, { user: "bob" })
    assert.strictEqual((yield* ask("/read", sidOf(own)))["user"], "bob")
    yield* ours.remove(own)
    assert.isUndefined((yield* ask("/read", sidOf(own)))["user"])
    assert.strictEqual(yield* dataOf(ours, own), "Superseded")
  })

describe("ExpressStore shares sessions with a real Express app", () => {
  it.scopedLive("by express-session's MemoryStore", () => shared(new session.MemoryStore()))

  it.scopedLive("by memorystore", () =>
    Effect.gen(function*() {
      const MemoryStore =
        (require("memorystore") as (express: typeof session) => new(options: object) => session.Store)(
          session
        )
      yield* shared(new MemoryStore({ checkPeriod: 0 }))
    }))

  it.scopedLive.skipIf(redisMissing)(redisTitle("by connect-redis"), () =>
    Effect.gen(function*() {
      const prefix = `effect-session-express-test-${process.pid}:`
      const client = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const client = createClient({ url: redisUrl })
          await client.connect()
          return client
        }),
        (client) =>
          Effect.promise(async () => {
            for await (const keys of client.scanIterator({ MATCH: `${prefix}*` })) {
              await Promise.all(keys.map((key) => client.del(key)))
            }
            client.destroy()
          })
      )
      yield* shared(new RedisStore({ client, prefix }))
      // the server forgets an idle session at its deadline, a tombstone within two minutes
      const ours = yield* over(new RedisStore({ client, prefix }))
      const token = yield* createSession(ours, { n: 1 })
      const left = yield* Effect.promise(() => client.ttl(prefix + sidOf(token)))
      assert.isTrue(left > 3590 && left <= 3600, String(left))
      yield* ours.remove(token)
      const grave = `${prefix}effect-session:ended:${yield* SessionToken.toId(token)}`
      const ending = yield* Effect.promise(() => client.ttl(grave))
      assert.isTrue(ending > 60 && ending <= 120, String(ending))
    }))

  it.scopedLive.skipIf(databaseMissing)(databaseTitle("by connect-pg-simple"), () =>
    Effect.gen(function*() {
      const schemaName = `effect_session_express_test_${process.pid}`
      const pool = yield* poolWithSchema(schemaName)
      const PgStore = connectPgSimple(session)
      yield* shared(new PgStore({ pool, schemaName, createTableIfMissing: true, pruneSessionInterval: false }))
    }))
})
