import { HttpApp, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Redacted, Ref, Schema, TestClock, Tracer } from "effect"
import {
  CookieState,
  HeaderState,
  HttpMiddleware,
  MemoryStore,
  NullStore,
  Session,
  SessionField,
  SessionPolicy,
  SessionToken,
  State,
  Store
} from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, assertNoCookie, assertRemoval, increment, services } = fixture

const read = SessionField.get(fixture.Count)

const app = HttpMiddleware.session(fixture.routes({
  "/untouched": Effect.succeed(fixture.done),
  "/read": answering(read),
  "/add": answering(increment),
  "/add-500": answering(increment, 500),
  "/add-499": answering(increment, 499),
  "/add-403": answering(increment, 403),
  "/add-302": answering(increment, 302),
  "/add-ignored": answering(Effect.zipLeft(increment, Session.ignoreChanges)),
  "/same": answering(Effect.flatMap(Session.Session, Ref.update((data) => data))),
  "/renew": answering(Session.renew),
  "/renew-500": answering(Session.renew, 500),
  "/login": answering(Effect.zipRight(Session.renew, increment)),
  "/logout": answering(Session.destroy),
  "/logout-500": answering(Session.destroy, 500),
  "/logout-defect": Effect.zipRight(Session.destroy, Effect.die(new Error("after the logout"))),
  "/logout-ignored": answering(Effect.zipRight(Session.destroy, Session.ignoreChanges)),
  "/logout-flash": answering(Effect.zipRight(Session.destroy, increment)),
  "/logout-login": answering(Effect.all([Session.destroy, increment, Session.renew])),
  "/commit-500": answering(Effect.zipRight(increment, Session.commit), 500),
  "/commit-die": Effect.all([increment, Session.commit]).pipe(Effect.zipRight(Effect.die(new Error("afterwards")))),
  "/commit-add": answering(Effect.all([increment, Session.commit, increment]), 200),
  "/renew-commit-500": answering(Effect.zipRight(Session.renew, Session.commit), 500),
  "/commit-empty": answering(Session.commit),
  "/id": answering(Session.id),
  "/is-new": answering(Session.isNew),
  "/load": answering(Effect.map(Session.load, JSON.stringify)),
  "/token": answering(Effect.as(Session.token, "linked"))
}))

const start = Effect.gen(function*() {
  const client = yield* testing.client(app)
  const controls = yield* testing.Controls
  return { client, controls }
})

/** A client with a session that counts 1, and nothing recorded yet. */
const visited = Effect.gen(function*() {
  const { client, controls } = yield* start
  const answer = yield* client.get("/add")
  const token = assertCookie(answer)
  yield* controls.reset
  return { client, controls, token }
})

describe("the table of the commit, row by row", () => {
  it.effect("not touched: no store call, no header", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      const answer = yield* client.get("/untouched")
      assertNoCookie(answer)
      assert.isNull(answer.headers.get("vary"))
      assert.isNull(answer.headers.get("cache-control"))
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(Effect.provide(services())))

  for (
    const [path, status] of [
      ["/logout", 200],
      ["/logout-500", 500],
      ["/logout-defect", 500],
      ["/logout-ignored", 200]
    ] as const
  ) {
    it.effect(`S25 S27: destroyed, ${path}: the record is removed and the cookie expired, whatever the status`, () =>
      Effect.gen(function*() {
        const { client, controls, token } = yield* visited
        const answer = yield* client.get(path)
        assert.strictEqual(answer.status, status)
        assertRemoval(answer)
        assert.strictEqual(answer.headers.get("cache-control"), "no-store")
        assert.deepStrictEqual(yield* controls.methods, ["load", "remove"])
        assert.deepStrictEqual(yield* client.cookies, [])
        const store = yield* Store.Store
        assert.strictEqual((yield* clocked(store).load(SessionToken.fromString(token)))._tag, "Superseded")
      }).pipe(fixture.quietly, Effect.provide(services())))
  }

  it.effect("P-B: destroyed without a token: nothing is said to the client, in a header neither", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      for (const path of ["/logout", "/logout-500"]) {
        const answer = yield* client.get(path)
        assertNoCookie(answer)
        assert.isNull(answer.headers.get("authorization"))
        assert.isNull(answer.headers.get("cache-control"))
      }
      assert.deepStrictEqual(yield* (yield* testing.Controls).methods, [])
    }).pipe(Effect.provide(Layer.provideMerge(
      Layer.orDie(State.orElse(HeaderState.layer(), CookieState.layer())),
      services()
    ))))

  it.effect("P-B: a logout without a cookie, answered after a login in the same jar, leaves the login's cookie", () =>
    Effect.gen(function*() {
      const destroyed = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/login": answering(Effect.zipRight(Session.renew, increment)),
        "/logout": answering(Effect.all([Session.destroy, Deferred.succeed(destroyed, undefined), Deferred.await(go)])),
        "/read": answering(read)
      })))
      const logout = yield* client.fork("GET", "/logout")
      yield* Deferred.await(destroyed)
      const token = assertCookie(yield* client.get("/login"))
      yield* Deferred.succeed(go, undefined)
      assertNoCookie(yield* logout)
      assert.strictEqual(yield* fixture.tokenOf(client), token)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(Effect.provide(services())))

  it.effect("S25 S66: destroyed and the removal fails: 503, and the client keeps its token to try again", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* controls.fail("remove")
      const [answer, failures] = yield* fixture.rising("store_failures", "testing.remove", client.get("/logout"))
      assert.strictEqual(answer.status, 503)
      assertNoCookie(answer)
      assert.strictEqual(failures, 1)
      assertRemoval(yield* client.get("/logout"))
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("destroyed on a 500 and the removal fails: the 500 stays, and no cookie", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* controls.fail("remove")
      const answer = yield* client.get("/logout-500")
      assert.strictEqual(answer.status, 500)
      assertNoCookie(answer)
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("S11 S26: updates after destroy begin a new session under a new token", () =>
    Effect.gen(function*() {
      const { client, controls, token } = yield* visited
      yield* client.get("/add")
      yield* controls.reset
      const answer = yield* client.get("/logout-flash")
      assert.notStrictEqual(assertCookie(answer), token)
      assert.deepStrictEqual(yield* controls.methods, ["load", "remove", "create"])
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(Effect.provide(services())))

  it.effect("S11: logout and login in one request end in one new session", () =>
    Effect.gen(function*() {
      const { client, controls, token } = yield* visited
      assert.notStrictEqual(assertCookie(yield* client.get("/logout-login")), token)
      assert.deepStrictEqual(yield* controls.methods, ["load", "remove", "create"])
    }).pipe(Effect.provide(services())))

  it.effect("destroyed, and the session that should follow can't be created: 503, and the old cookie is expired", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* controls.fail("create")
      const answer = yield* client.get("/logout-flash")
      assert.strictEqual(answer.status, 503)
      assertRemoval(answer)
    }).pipe(fixture.quietly, Effect.provide(services())))

  for (const path of ["/add-500", "/add-499", "/renew-500", "/add-ignored"]) {
    it.effect(`S24 S56: ${path}: nothing is stored, no cookie, and Vary all the same`, () =>
      Effect.gen(function*() {
        const { client, controls } = yield* visited
        const answer = yield* client.get(path)
        assertNoCookie(answer)
        assert.strictEqual(answer.headers.get("vary")?.toLowerCase(), "cookie")
        assert.deepStrictEqual(yield* controls.methods, ["load"])
        assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
      }).pipe(Effect.provide(services())))

    it.effect(`${path}, on a first visit: no session comes of it`, () =>
      Effect.gen(function*() {
        const { client, controls } = yield* start
        assertNoCookie(yield* client.get(path))
        assert.deepStrictEqual(yield* controls.methods, [])
      }).pipe(Effect.provide(services())))
  }

  it.effect("S24: a 5xx does not extend the session's life", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* TestClock.adjust("30 minutes")
      yield* client.get("/add-500")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
    }).pipe(Effect.provide(services())))

  for (const path of ["/commit-500", "/commit-die", "/renew-commit-500"]) {
    it.effect(`${path}: the token that an earlier commit landed is delivered with the error`, () =>
      Effect.gen(function*() {
        const { client } = yield* start
        const answer = yield* client.get(path)
        assert.strictEqual(answer.status, 500)
        assertCookie(answer)
        assert.strictEqual(yield* (yield* client.get("/is-new")).text, "false")
      }).pipe(fixture.quietly, Effect.provide(services())))
  }

  it.effect("the token that an earlier commit landed is delivered also when the last commit fails", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      yield* controls.fail("update")
      const answer = yield* client.get("/commit-add")
      assert.strictEqual(answer.status, 503)
      assertCookie(answer)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(fixture.quietly, Effect.provide(services())))

  for (const [path, status] of [["/add-403", 403], ["/add-302", 302]] as const) {
    it.effect(`S63: ${path}: a ${status} commits like any other answer`, () =>
      Effect.gen(function*() {
        const { client } = yield* start
        const answer = yield* client.get(path)
        assert.strictEqual(answer.status, status)
        assertCookie(answer)
        assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
      }).pipe(Effect.provide(services())))
  }

  it.effect("S11 S13: renewed: data and absolute bound under a new token, in one step; the old token is superseded", () =>
    Effect.gen(function*() {
      const { client, controls, token } = yield* visited
      const store = yield* Store.Store
      const before = yield* clocked(store).load(SessionToken.fromString(token))
      yield* TestClock.adjust("3 minutes")
      yield* controls.reset
      const next = assertCookie(yield* client.get("/login"))
      assert.notStrictEqual(next, token)
      assert.deepStrictEqual(yield* controls.methods, ["load", "renew"])
      assert.strictEqual((yield* clocked(store).load(SessionToken.fromString(token)))._tag, "Superseded")
      const after = yield* clocked(store).load(SessionToken.fromString(next))
      if (before._tag !== "Live" || after._tag !== "Live") {
        return assert.fail("both were live")
      }
      assert.deepStrictEqual(after.record.data, { n: 2 })
      assert.strictEqual(after.record.expiresAt, before.record.expiresAt)
      assert.strictEqual(after.record.createdAt, before.record.createdAt)
    }).pipe(Effect.provide(services())))

  it.effect("S11: renewed on a first visit: a session begins, even an empty one", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      assertCookie(yield* client.get("/renew"))
      assert.deepStrictEqual(yield* controls.methods, ["create"])
    }).pipe(Effect.provide(services())))

  for (const path of ["/read", "/same", "/id", "/is-new", "/load"]) {
    it.effect(`S35 S53: new, nothing changed (${path}): no store call, no cookie`, () =>
      Effect.gen(function*() {
        const { client, controls } = yield* start
        const answer = yield* client.get(path)
        assert.strictEqual(answer.status, 200)
        assertNoCookie(answer)
        assert.strictEqual(answer.headers.get("vary")?.toLowerCase(), "cookie")
        assert.deepStrictEqual(yield* controls.methods, [])
      }).pipe(Effect.provide(services())))
  }

  it.effect("new, changed: created, with a cookie and no-store", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      const answer = yield* client.get("/add")
      assertCookie(answer)
      assert.strictEqual(answer.headers.get("cache-control"), "no-store")
      assert.deepStrictEqual(yield* controls.methods, ["create"])
    }).pipe(Effect.provide(services())))

  it.effect("S53: changed: updated, and no cookie, for a browser-session cookie is still good", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* TestClock.adjust("30 minutes")
      const answer = yield* client.get("/add")
      assertNoCookie(answer)
      assert.isNull(answer.headers.get("cache-control"))
      assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
    }).pipe(Effect.provide(services())))

  it.effect("S22 S53: changed: a cookie with an expiry is set again once the touch interval has passed", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/add")
      yield* TestClock.adjust("5 minutes")
      assertNoCookie(yield* client.get("/add"))
      yield* TestClock.adjust("6 minutes")
      const answer = yield* client.get("/add")
      assertCookie(answer)
      assert.match(answer.setCookies[0] ?? "", /Max-Age=3600/)
    }).pipe(
      Effect.provide(Layer.mergeAll(CookieState.layer({ maxAge: "1 hour" }), MemoryStore.layer()))
    ))

  it.effect("S65: changed by another first: the updates are replayed on what it left", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      const update = yield* controls.hold("update")
      const slow = yield* client.fork("GET", "/add")
      yield* update.arrived
      // another process: not in this one's queue
      const store = yield* Store.Store
      const token = SessionToken.fromString(yield* fixture.tokenOf(client))
      const found = yield* clocked(store).load(token)
      if (found._tag !== "Live") {
        return assert.fail("not live")
      }
      yield* clocked(store).update(token, found.record.revision, { ...found.record, data: { n: 10, other: true } })
      const [answer, conflicts] = yield* fixture.rising(
        "events",
        "conflict",
        Effect.zipRight(update.release, slow)
      )
      assert.strictEqual(answer.status, 200)
      assertNoCookie(answer)
      assert.strictEqual(conflicts, 1)
      assert.strictEqual(yield* (yield* client.get("/load")).text, JSON.stringify({ n: 11, other: true }))
    }).pipe(Effect.provide(services())))

  for (const path of ["/logout", "/login"]) {
    it.effect(`S15 S26: changed, but gone meanwhile (${path}): it stays gone, and the answer has no Set-Cookie at all`, () =>
      Effect.gen(function*() {
        const { client, controls, token } = yield* visited
        const update = yield* controls.hold("update")
        const slow = yield* client.fork("GET", "/add")
        yield* update.arrived
        // in another process, so that it doesn't queue behind this one
        const elsewhere = yield* fixture.elsewhere(app)
        yield* elsewhere.get(path, { cookies: `${fixture.cookieName}=${token}` })
        const [answer, lost] = yield* fixture.rising("events", "gone", Effect.zipRight(update.release, slow))
        assert.strictEqual(answer.status, 200)
        assertNoCookie(answer)
        assert.strictEqual(lost, 1)
        const store = yield* Store.Store
        assert.strictEqual((yield* clocked(store).load(SessionToken.fromString(token)))._tag, "Superseded")
      }).pipe(Effect.provide(services())))
  }

  it.effect("S20: changed, but expired meanwhile: it stays gone, no Set-Cookie", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      const update = yield* controls.hold("update")
      const slow = yield* client.fork("GET", "/add")
      yield* update.arrived
      yield* TestClock.adjust("2 hours")
      yield* update.release
      const answer = yield* slow
      assert.strictEqual(answer.status, 200)
      assertNoCookie(answer)
    }).pipe(Effect.provide(services(fixture.policy(SessionPolicy.layer({ storeTimeout: "1 day" }))))))

  it.effect("S17 S21: read: touched once the deadline can move by the touch interval, and no cookie", () =>
    Effect.gen(function*() {
      const { client, controls, token } = yield* visited
      yield* TestClock.adjust("6 minutes")
      assertNoCookie(yield* client.get("/read"))
      assert.deepStrictEqual(yield* controls.methods, ["load", "touch"])
      const found = yield* clocked(yield* Store.Store).load(SessionToken.fromString(token))
      assert.strictEqual(found._tag === "Live" ? found.record.deadline : 0, 66 * 60_000)
      assert.strictEqual(found._tag === "Live" ? found.record.revision : 0, 1)
    }).pipe(Effect.provide(services())))

  it.effect("S22: read with a touch: a cookie that carries an expiry follows", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/add")
      yield* TestClock.adjust("10 minutes")
      assertCookie(yield* client.get("/read"))
    }).pipe(
      Effect.provide(Layer.mergeAll(CookieState.layer({ maxAge: "1 hour" }), MemoryStore.layer()))
    ))

  it.effect("S64: read: nothing", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* TestClock.adjust(6 * 60_000 - 1)
      assertNoCookie(yield* client.get("/read"))
      assert.deepStrictEqual(yield* controls.methods, ["load"])
    }).pipe(Effect.provide(services())))

  it.effect("an explicit commit keeps an empty session", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      assertCookie(yield* client.get("/commit-empty"))
      assert.deepStrictEqual(yield* controls.methods, ["create"])
      assert.strictEqual(yield* (yield* client.get("/is-new")).text, "false")
    }).pipe(Effect.provide(services())))
})

describe("what the answer says to caches", () => {
  const respondWith = (headers: Record<string, string>) =>
    Effect.gen(function*() {
      const client = yield* testing.client(
        HttpMiddleware.session(Effect.as(increment, HttpServerResponse.text("", { headers })))
      )
      return yield* client.get("/")
    }).pipe(Effect.provide(services()))

  it.effect("S56: Vary joins the handler's own, and never doubles", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* respondWith({ vary: "Accept" })).headers.get("vary"), "Accept, Cookie")
      assert.strictEqual((yield* respondWith({ vary: "Accept, Cookie" })).headers.get("vary"), "Accept, Cookie")
      assert.strictEqual((yield* respondWith({ vary: "*" })).headers.get("vary"), "*")
    }))

  it.effect("S57: the handler's Cache-Control stays only where it keeps the answer out of shared caches", () =>
    Effect.gen(function*() {
      const of = (value: string) =>
        Effect.map(respondWith({ "cache-control": value }), (answer) => answer.headers.get("cache-control"))
      assert.strictEqual(yield* of("private, max-age=60"), "private, max-age=60")
      assert.strictEqual(yield* of("max-age=0, No-Store"), "max-age=0, No-Store")
      assert.strictEqual(yield* of("public, max-age=3600"), "no-store")
      assert.strictEqual(yield* of("no-cache"), "no-store")
    }))

  it.effect("S57: a disclosed token is not cached, cookie or not", () =>
    Effect.gen(function*() {
      const { client } = yield* visited
      const answer = yield* client.get("/token")
      assertNoCookie(answer)
      assert.strictEqual(answer.headers.get("cache-control"), "no-store")
    }).pipe(Effect.provide(services())))

  it.effect("S54: the handler's own cookies stay, and ours appears once", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(Effect.zipRight(
        increment,
        HttpServerResponse.setCookie(fixture.done, "theme", "dark").pipe(Effect.orDie)
      )))
      const answer = yield* client.get("/")
      assertCookie(answer)
      assert.isTrue(answer.setCookies.some((line) => line.startsWith("theme=dark")))
      assert.lengthOf(answer.setCookies, 2)
    }).pipe(Effect.provide(services())))
})

describe("superseded and unknown tokens", () => {
  it.effect("S04: an unknown token is never adopted, and counted", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      const planted = "A".repeat(43)
      yield* client.keep(`${fixture.cookieName}=${planted}; Path=/; Secure`)
      const [answer, rejected] = yield* fixture.rising("rejected", "unknown", client.get("/add"))
      assert.notStrictEqual(assertCookie(answer), planted)
      assert.strictEqual(rejected, 1)
      assert.deepStrictEqual(yield* controls.methods, ["load", "create"])
    }).pipe(Effect.provide(services())))

  it.effect("S03: a malformed token costs no store call, and is counted", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      const [answer, rejected] = yield* fixture.rising(
        "rejected",
        "malformed",
        client.get("/read", { cookies: `${fixture.cookieName}=${"A".repeat(42)}` })
      )
      assertNoCookie(answer)
      assert.strictEqual(rejected, 1)
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(Effect.provide(services())))

  it.effect("S15: with a superseded token: an empty session that is never stored and sets no cookie", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      const old = yield* client.other({ jar: "copy" })
      yield* client.get("/login")
      yield* controls.reset
      const answer = yield* old.get("/add")
      assert.strictEqual(yield* answer.text, "1")
      assertNoCookie(answer)
      assertNoCookie(yield* old.get("/logout"))
      assert.deepStrictEqual(yield* controls.methods, ["load", "load"])
      assert.strictEqual(yield* (yield* client.get("/read")).text, "2")
    }).pipe(Effect.provide(services())))

  it.effect("S11 S15: renew on a superseded token begins a session of this request's own updates", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* client.get("/add")
      const old = yield* client.other({ jar: "copy" })
      yield* client.get("/logout")
      yield* controls.reset
      const answer = yield* old.get("/login")
      assertCookie(answer)
      assert.deepStrictEqual(yield* controls.methods, ["load", "create"])
      assert.strictEqual(yield* (yield* old.get("/read")).text, "1")
    }).pipe(Effect.provide(services())))

  it.effect("S11 S15: renew on a session that goes while the request runs begins one of its own updates", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited
      yield* client.get("/add")
      const renew = yield* controls.hold("renew")
      const slow = yield* client.fork("GET", "/login")
      yield* renew.arrived
      const other = yield* client.other({ jar: "copy" })
      yield* other.get("/logout")
      yield* renew.release
      const answer = yield* slow
      assertCookie(answer)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(Effect.provide(services())))

  it.effect("S26: a tombstone is remembered for a minute, then the token is unknown", () =>
    Effect.gen(function*() {
      const { client } = yield* visited
      const old = yield* client.other({ jar: "copy" })
      yield* client.get("/logout")
      yield* TestClock.adjust(59_999)
      assertNoCookie(yield* old.get("/add"))
      yield* TestClock.adjust(1)
      assertCookie(yield* old.get("/add"))
    }).pipe(Effect.provide(services())))

  it.effect("S51: of several cookies of the name, the first live one is the session, and at most four are looked up", () =>
    Effect.gen(function*() {
      const { client, controls, token } = yield* visited
      const planted = (letter: string) => `${fixture.cookieName}=${letter.repeat(42)}A`
      const three = ["B", "C", "B", "D"].map(planted)
      const answer = yield* client.get("/read", {
        cookies: [...three, `${fixture.cookieName}=${token}`].join("; ")
      })
      assert.strictEqual(yield* answer.text, "1")
      assert.lengthOf(yield* controls.calls, 4)
      yield* controls.reset
      const late = yield* client.get("/read", {
        cookies: [...["B", "C", "D", "E", "F"].map(planted), `${fixture.cookieName}=${token}`].join("; ")
      })
      assert.strictEqual(yield* late.text, "0")
      assert.lengthOf(yield* controls.calls, 4)
    }).pipe(Effect.provide(services())))
})

describe("S66: a store failure is never a silent empty session", () => {
  const swallowing = HttpMiddleware.session(fixture.routes({
    "/swallow": answering(Effect.catchAllCause(increment, () => Effect.succeed("swallowed"))),
    "/typed": Session.load.pipe(
      Effect.as(fixture.done),
      Effect.catchTag("StoreError", (error) => Effect.succeed(HttpServerResponse.text(error.reason, { status: 418 })))
    ),
    "/add": answering(increment),
    "/logout": answering(Session.destroy),
    "/untouched": Effect.succeed(fixture.done)
  }))

  const failing = Effect.gen(function*() {
    const client = yield* testing.client(swallowing)
    const controls = yield* testing.Controls
    yield* client.get("/add")
    yield* controls.reset
    return { client, controls }
  })

  for (const [path, status] of [["/add", 503], ["/swallow", 503], ["/typed", 503], ["/untouched", 200]] as const) {
    for (const fault of ["fail", "die"] as const) {
      it.effect(`load ${fault}s, ${path}: ${status}, without a cookie, logged and counted once`, () =>
        fixture.logged((lines) =>
          Effect.gen(function*() {
            const { client, controls } = yield* failing
            const touched = path !== "/untouched"
            yield* controls[fault]("load")
            const before = yield* fixture.counted("store_failures")
            const answer = yield* client.get(path)
            assert.strictEqual(answer.status, status)
            assertNoCookie(answer)
            assert.strictEqual((yield* fixture.counted("store_failures")) - before, touched ? 1 : 0)
            assert.lengthOf(lines.filter(({ message }) => message.includes("could not be loaded")), touched ? 1 : 0)
            yield* controls.reset
            assert.strictEqual(yield* (yield* client.get("/add")).text, "2")
          })
        ).pipe(fixture.leavingNoFiber, Effect.provide(services())))
    }
  }

  for (const method of ["create", "update", "renew"] as const) {
    for (const fault of ["fail", "die"] as const) {
      it.effect(`${method} ${fault}s in the commit: 503, without a cookie, logged and counted once`, () =>
        fixture.logged((lines) =>
          Effect.gen(function*() {
            const client = yield* testing.client(app)
            const controls = yield* testing.Controls
            if (method !== "create") {
              yield* client.get("/add")
            }
            yield* controls[fault](method)
            const before = yield* fixture.counted("store_failures")
            const answer = yield* client.get(method === "renew" ? "/login" : "/add")
            assert.strictEqual(answer.status, 503)
            assert.strictEqual(yield* answer.text, "")
            assertNoCookie(answer)
            assert.strictEqual((yield* fixture.counted("store_failures")) - before, 1)
            assert.lengthOf(lines.filter(({ message }) => message.includes("could not be committed")), 1)
            assert.strictEqual(yield* (yield* client.get("/read")).text, method === "create" ? "0" : "1")
          })
        ).pipe(fixture.leavingNoFiber, Effect.provide(services())))
    }
  }

  for (const fault of ["fail", "die", "hang"] as const) {
    it.effect(`touch ${fault}s: the answer is served all the same, logged and counted`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const { client, controls } = yield* visited
          yield* TestClock.adjust("10 minutes")
          yield* controls[fault]("touch")
          const before = yield* fixture.counted("store_failures")
          const pending = yield* client.fork("GET", "/read")
          if (fault === "hang") {
            yield* controls.arrived("touch")
            yield* TestClock.adjust("5 seconds")
          }
          const answer = yield* pending
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(yield* answer.text, "1")
          assertNoCookie(answer)
          assert.strictEqual((yield* fixture.counted("store_failures")) - before, 1)
          assert.lengthOf(lines.filter(({ message }) => message.includes("could not be touched")), 1)
        })
      ).pipe(fixture.leavingNoFiber, Effect.provide(services())))
  }

  const anonymous = services(fixture.policy(SessionPolicy.layer({ onStoreFailure: "anonymous" })))

  for (const fault of ["fail", "die", "hang"] as const) {
    it.effect(`anonymous, load ${fault}s: an empty session, never saved, no cookie, counted`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const { client, controls } = yield* failing
          yield* controls[fault]("load")
          const before = yield* fixture.counted("store_failures")
          const pending = yield* client.fork("GET", "/add")
          if (fault === "hang") {
            yield* controls.arrived("load")
            yield* TestClock.adjust("5 seconds")
          }
          const answer = yield* pending
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(yield* answer.text, "1")
          assertNoCookie(answer)
          assert.deepStrictEqual(yield* controls.methods, ["load"])
          assert.strictEqual((yield* fixture.counted("store_failures")) - before, 1)
          assert.lengthOf(lines.filter(({ level }) => level === "ERROR"), 1)
          assert.strictEqual(yield* (yield* client.get("/add")).text, "2")
        })
      ).pipe(fixture.leavingNoFiber, Effect.provide(anonymous)))
  }

  it.effect("S56: anonymous, load fails: the answer varies by all that was read to find a token", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(app)
      yield* controls.fail("load")
      const token = SessionToken.draw(yield* SessionToken.Generator)
      const answer = yield* client.get("/read", { headers: { authorization: `Bearer ${Redacted.value(token)}` } })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers.get("vary")?.toLowerCase(), "cookie, authorization")
    }).pipe(
      fixture.quietly,
      Effect.provide(Layer.provideMerge(
        Layer.orDie(State.orElse(CookieState.layer(), HeaderState.layer())),
        anonymous
      ))
    ))

  it.effect("S25: anonymous: a logout is still carried out, and fails with 503 when it can't be", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const { client, controls } = yield* failing
        yield* controls.fail("load")
        yield* controls.fail("remove")
        const before = yield* fixture.counted("store_failures")
        const answer = yield* client.get("/logout")
        assert.strictEqual(answer.status, 503)
        assertNoCookie(answer)
        assert.strictEqual((yield* fixture.counted("store_failures")) - before, 2)
        assert.lengthOf(lines.filter(({ level }) => level === "ERROR"), 2)
        yield* controls.fail("load")
        assertRemoval(yield* client.get("/logout"))
      })
    ).pipe(Effect.provide(anonymous)))
})

describe("C8: with onStoreFailure: \"anonymous\" nothing explicit answers as if it had been saved", () => {
  const Secret = SessionField.make("secret", Schema.String)
  const Redeemed = SessionField.make("redeemed", Schema.Boolean, { default: () => false })

  const verbs: ReadonlyArray<
    readonly [
      string,
      Effect.Effect<unknown, Store.StoreError | Session.SessionGone | Session.HeadSent, Session.Session>
    ]
  > = [
    ["transaction", SessionField.transaction(Redeemed, (redeemed) => [!redeemed, true])],
    ["commit", Effect.zipRight(increment, Session.commit)],
    ["commit of nothing", Session.commit],
    ["getOrCreate", SessionField.getOrCreate(Secret, Effect.succeed("a new secret"))],
    ["token", Session.token]
  ]

  for (const [name, verb] of verbs) {
    it.effect(`C8: ${name} fails with the load's failure, each time, until the store is back`, () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const failures: Array<unknown> = []
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/add": answering(increment),
          "/": answering(Effect.repeatN(
            Effect.catchAll(verb, (error) => Effect.sync(() => failures.push(error))),
            1
          )),
          "/unhandled": answering(verb)
        })))
        const begun = yield* client.get("/add")
        const token = assertCookie(begun)
        const down = new Store.StoreError({ reason: "Unavailable", method: "load", description: "down" })
        yield* controls.fail("any", { times: 1000, error: down })
        for (const path of ["/", "/", "/unhandled"]) {
          const answer = yield* client.get(path)
          assert.strictEqual(answer.status, path === "/" ? 200 : 503)
          assertNoCookie(answer)
        }
        assert.deepStrictEqual(failures.map(String), Array.from({ length: 4 }, () => String(down)))
        yield* controls.reset
        const store = yield* Store.Store
        const found = yield* clocked(store).load(SessionToken.fromString(token))
        assert.deepStrictEqual(found._tag === "Live" && found.record.data, { n: 1 })
        yield* client.get("/")
        assert.lengthOf(failures, 4)
      }).pipe(
        fixture.quietly,
        Effect.provide(services(fixture.policy(SessionPolicy.layer({ onStoreFailure: "anonymous" }))))
      ))

    if (name !== "token") {
      it.effect(`C8: ${name} on a store that keeps nothing goes on as before`, () =>
        Effect.gen(function*() {
          const client = yield* testing.client(HttpMiddleware.session(answering(verb)))
          const answer = yield* client.get("/")
          assert.strictEqual(answer.status, 200)
          assertNoCookie(answer)
        }).pipe(Effect.provide([
          CookieState.layer(),
          NullStore.layer,
          SessionPolicy.layer({ onStoreFailure: "anonymous" })
        ])))
    }
  }
})

describe("a named session", () => {
  class Admin extends Session.Tag<Admin>()("middleware-admin") {}
  const admin = Session.verbs(Admin)
  const Visits = SessionField.make("visits", Schema.Int, { default: () => 0, session: Admin })
  const visit = SessionField.updateAndGet(Visits, (n) => n + 1)

  it.live("C5: its State and Store live as long as the app", () =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const store = Layer.scoped(
        Store.Store,
        Effect.gen(function*() {
          let open = true
          yield* Effect.acquireRelease(
            Effect.sync(() => steps.push("built")),
            () =>
              Effect.sync(() => {
                open = false
                steps.push("closed")
              })
          )
          const inner = yield* MemoryStore.make()
          return Store.around(inner, ({ method }, run) => {
            steps.push(`${method}${open ? "" : " after it was closed"}`)
            return run()
          })
        })
      )
      const { dispose, handler } = HttpApp.toWebHandlerLayer(
        HttpMiddleware.sessionOf(Admin)(answering(visit)),
        HttpMiddleware.layerSession(Admin, [CookieState.layer({ name: "__Host-admin" }), store])
      )
      const fetching = (headers: Record<string, string>) =>
        Effect.promise(() => handler(new Request("https://app.test/", { headers })))
      const first = yield* fetching({})
      const cookie = first.headers.getSetCookie()[0]?.split(";")[0] ?? ""
      const second = yield* fetching({ cookie })
      assert.strictEqual(yield* Effect.promise(() => second.text()), "2")
      yield* Effect.promise(dispose)
      assert.deepStrictEqual(steps, ["built", "create", "load", "update", "closed"])
    }))

  it.live("C5: HeaderState's header is redacted in the spans of its requests", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        ...native,
        span: (...args) => {
          const span = native.span(...args)
          spans.push(span)
          return span
        },
        context: (f) => f()
      })
      const { dispose, handler } = HttpApp.toWebHandlerLayer(
        HttpMiddleware.sessionOf(Admin)(answering(visit)),
        HttpMiddleware.layerSession(Admin, [HeaderState.layer({ header: "x-admin" }), MemoryStore.layer()]).pipe(
          Layer.provideMerge(Layer.setTracer(tracer))
        )
      )
      const fetching = (headers: Record<string, string>) =>
        Effect.promise(() => handler(new Request("https://app.test/", { headers })))
      const token = (yield* fetching({})).headers.get("x-admin") ?? assert.fail("no token")
      const second = yield* fetching({ "x-admin": token })
      assert.strictEqual(yield* Effect.promise(() => second.text()), "2")
      yield* Effect.promise(dispose)
      const attributes = spans.flatMap((span) => [...span.attributes])
      const names = attributes.map(([name]) => name)
      assert.include(names, "http.request.header.x-admin")
      assert.include(names, "http.response.header.x-admin")
      assert.notInclude(attributes.map(([, value]) => String(value)).join(" "), token)
    }))

  it.scoped("C9: its new cookie, the app's own and CORS stay in the answer to another session's failed commit", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const middleware = yield* Layer.build(HttpMiddleware.layerSession(Admin, [
        CookieState.layer({ name: "__Host-admin" }),
        MemoryStore.layer()
      ]))
      const response = HttpServerResponse.unsafeSetCookie(
        HttpServerResponse.text("the whole page", { headers: { etag: "\"1\"", "content-language": "en" } }),
        "theirs",
        "1"
      )
      const client = yield* testing.client(
        fixture.routes({
          "/begin": answering(Effect.zipRight(increment, visit)),
          "/login": Effect.as(Effect.zipRight(admin.renew, increment), response),
          "/admin": answering(Effect.zip(admin.isNew, Visits))
        }).pipe(
          HttpMiddleware.session,
          HttpMiddleware.sessionOf(Admin),
          HttpMiddleware.cors({ allowedOrigins: ["https://x.test"] }),
          Effect.provide(middleware)
        )
      )
      yield* client.get("/begin")
      const before = yield* client.cookie("__Host-admin")
      yield* controls.fail("update")
      const answer = yield* client.get("/login", { headers: { origin: "https://x.test" } })
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(yield* answer.text, "")
      assert.deepStrictEqual(answer.setCookies.map((line) => line.split("=")[0]).sort(), ["__Host-admin", "theirs"])
      assert.strictEqual(answer.headers.get("access-control-allow-origin"), "https://x.test")
      for (const header of ["etag", "content-type", "content-language"]) {
        assert.isNull(answer.headers.get(header), header)
      }
      assert.notDeepEqual(yield* client.cookie("__Host-admin"), before)
      assert.strictEqual(yield* (yield* client.get("/admin")).text, "false,1")
    }).pipe(fixture.quietly, Effect.provide(services())))
})

describe("S05: a generator that repeats itself", () => {
  it.effect("overwrites nothing: the visitor gets 503, the session that is there stays whole", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/add")
      const other = yield* client.other({ jar: "empty" })
      const answer = yield* other.get("/add")
      assert.strictEqual(answer.status, 503)
      assertNoCookie(answer)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(
      fixture.quietly,
      Effect.provideService(SessionToken.Generator, (size) => new Uint8Array(size)),
      Effect.provide(services())
    ))

  it.effect("once: another token is drawn", () => {
    let draws = 0
    return Effect.gen(function*() {
      const client = yield* testing.client(app)
      const first = assertCookie(yield* client.get("/add"))
      const second = assertCookie(yield* (yield* client.other({ jar: "empty" })).get("/add"))
      assert.notStrictEqual(first, second)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(
      Effect.provideService(SessionToken.Generator, (size) => new Uint8Array(size).fill(draws++ < 2 ? 0 : 1)),
      Effect.provide(services())
    )
  })
})

// ---------------------------------------------------------------------------------------------------- integrations

interface Reply {
  readonly status: number
  readonly text: string
  readonly setCookies: ReadonlyArray<string>
  readonly vary: string | null
}

type Fetch = (path: string, cookie?: string) => Effect.Effect<Reply>

const replyOf = (web: Response): Effect.Effect<Reply> =>
  Effect.map(Effect.promise(() => web.text()), (text) => ({
    status: web.status,
    text,
    setCookies: web.headers.getSetCookie(),
    vary: web.headers.get("vary")
  }))

const cookieHeader = (cookie: string | undefined) =>
  cookie === undefined ? {} : { headers: { cookie: `${fixture.cookieName}=${cookie}` } }

const handlers = {
  "/untouched": Effect.succeed(fixture.done),
  "/read": answering(read),
  "/add": answering(increment),
  "/add-500": answering(increment, 500),
  "/add-die": Effect.zipRight(increment, Effect.die(new Error("a defect"))),
  "/add-fail": Effect.zipRight(increment, Effect.fail("an error" as const)),
  "/login": answering(Effect.zipRight(Session.renew, increment)),
  "/logout": answering(Session.destroy)
}

const plain = fixture.routes<string, Session.Session>(handlers)

const router = Object.entries(handlers).reduce(
  (router, [path, handler]) => HttpRouter.get(router, path as `/${string}`, handler),
  HttpRouter.empty as HttpRouter.HttpRouter<string, Session.Session>
)

const stores = Layer.mergeAll(CookieState.layer(), MemoryStore.layer())

const served =
  (layer: Layer.Layer<never, unknown, HttpServer.HttpServer>) => (test: (fetch: Fetch) => Effect.Effect<void>) =>
    Effect.gen(function*() {
      const server = yield* HttpServer.HttpServer
      const port = server.address._tag === "TcpAddress" ? server.address.port : 0
      yield* test((path, cookie) =>
        Effect.flatMap(
          Effect.promise(() =>
            fetch(`http://127.0.0.1:${port}${path}`, { redirect: "manual", ...cookieHeader(cookie) })
          ),
          replyOf
        )
      )
    }).pipe(Effect.provide(Layer.provideMerge(layer, NodeHttpServer.layerTest)), Effect.scoped, Effect.orDie)

const web =
  (handler: (request: Request) => Promise<Response>, dispose: () => Promise<void>) =>
  (test: (fetch: Fetch) => Effect.Effect<void>) =>
    test((path, cookie) =>
      Effect.flatMap(
        Effect.promise(() => handler(new Request(`http://app.test${path}`, cookieHeader(cookie)))),
        replyOf
      )
    ).pipe(Effect.ensuring(Effect.promise(dispose)))

const quiet = fixture.quiet

const integrations: ReadonlyArray<
  readonly [string, () => (test: (fetch: Fetch) => Effect.Effect<void>) => Effect.Effect<void>]
> = [
  [
    "HttpServer.serve(app, session)",
    () => served(Layer.provide(HttpServer.serve(plain, HttpMiddleware.session), [stores, quiet]))
  ],
  [
    "HttpServer.serve(router, session)",
    () => served(Layer.provide(HttpServer.serve(router, HttpMiddleware.session), [stores, quiet]))
  ],
  [
    "HttpRouter.use(session)",
    () => served(Layer.provide(HttpServer.serve(HttpRouter.use(router, HttpMiddleware.session)), [stores, quiet]))
  ],
  ["app.pipe(session)", () => served(Layer.provide(HttpServer.serve(HttpMiddleware.session(plain)), [stores, quiet]))],
  ["HttpApp.toWebHandlerLayer(app.pipe(session))", () => {
    const { dispose, handler } = HttpApp.toWebHandlerLayer(
      HttpMiddleware.session(plain),
      Layer.orDie(Layer.merge(stores, quiet))
    )
    return web(handler, dispose)
  }],
  ["HttpApp.toWebHandlerLayer with session as its middleware", () => {
    const { dispose, handler } = HttpApp.toWebHandlerLayer(
      HttpRouter.use(router, HttpMiddleware.session),
      Layer.orDie(Layer.merge(stores, quiet)),
      { middleware: HttpMiddleware.session as never }
    )
    return web(handler, dispose)
  }]
]

const tokenIn = (reply: Reply): string => {
  assert.lengthOf(reply.setCookies, 1)
  return /^__Host-session=([A-Za-z0-9_-]{43});/.exec(reply.setCookies[0] ?? "")?.[1] ?? assert.fail("no token")
}

for (const [name, make] of integrations) {
  describe(`the main rows under ${name}`, () => {
    it.live("S11 S25 S26 S35 S53: first visit, count, read, error, login, logout", () =>
      make()((fetch) =>
        Effect.gen(function*() {
          const untouched = yield* fetch("/untouched")
          assert.deepStrictEqual([untouched.setCookies, untouched.vary], [[], null])
          const visitor = yield* fetch("/read")
          assert.deepStrictEqual([visitor.text, visitor.setCookies, visitor.vary], ["0", [], "Cookie"])
          assert.strictEqual((yield* fetch("/nowhere")).status, 404)

          const token = tokenIn(yield* fetch("/add"))
          const second = yield* fetch("/add", token)
          assert.deepStrictEqual([second.text, second.setCookies], ["2", []])
          for (const path of ["/add-500", "/add-die", "/add-fail"]) {
            const failed = yield* fetch(path, token)
            assert.deepStrictEqual([failed.status, failed.setCookies, failed.vary], [500, [], "Cookie"])
          }
          const third = yield* fetch("/read", token)
          assert.deepStrictEqual([third.text, third.setCookies], ["2", []])

          const next = tokenIn(yield* fetch("/login", token))
          assert.notStrictEqual(next, token)
          assert.strictEqual((yield* fetch("/read", next)).text, "3")
          const late = yield* fetch("/add", token)
          assert.deepStrictEqual([late.text, late.setCookies], ["1", []])

          const logout = yield* fetch("/logout", next)
          assert.match(logout.setCookies[0] ?? "", /^__Host-session=;.*Max-Age=0/)
          assert.deepStrictEqual((yield* fetch("/add", next)).setCookies, [])
          assert.strictEqual((yield* fetch("/read")).text, "0")
        })
      ))
  })
}
