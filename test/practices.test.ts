/**
 * What `docs/login.md` says that an app does for itself with a few lines, tried as it is written there.
 */
import type { HttpApp } from "@effect/platform"
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Option, Schema, Stream, TestClock } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionField, Sessions } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"
import { logged } from "./fixtures/http.js"

const layers = Layer.orDie(Layer.merge(CookieState.layer(), MemoryStore.layer()))

const text = (client: testing.Client, path: string) => Effect.flatMap(client.get(path), ({ text }) => text)

const who = Effect.map(Session.subject, (subject) => HttpServerResponse.text(Option.getOrElse(subject, () => "nobody")))

describe("renewal on a schedule", () => {
  const RenewedAt = SessionField.make("renewedAt", Schema.Number, { default: () => 0 })

  /** Gives a session that is a quarter of an hour old, or was not renewed for as long, a new token. */
  const renewing = <E, R>(app: HttpApp.Default<E, R>) =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const { createdAt } = yield* Session.info
      const isDue = (renewedAt: number) =>
        Option.exists(createdAt, (createdAt) => now - Math.max(createdAt, renewedAt) >= 900_000)
      if (isDue(yield* SessionField.get(RenewedAt))) {
        // of the requests that find it due at the same moment, one is told true
        const isOurs = yield* SessionField.transaction(RenewedAt, (at) => isDue(at) ? [true, now] : [false, at])
        if (isOurs) {
          yield* Session.renew
          yield* Session.commit
        }
      }
    }).pipe(
      Effect.catchTag("SessionGone", () => Effect.void), // another request has just renewed it
      Effect.zipRight(app)
    )

  it.scoped("S14: the token changes after its time, the old one ends at once, and the session goes on", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(renewing(who)))
      yield* client.login("ann")
      const first = yield* client.cookie("__Host-session")
      yield* TestClock.adjust("14 minutes")
      assert.strictEqual(yield* text(client, "/"), "ann")
      assert.deepStrictEqual(yield* client.cookie("__Host-session"), first)
      const thief = yield* client.other({ jar: "copy" })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* text(client, "/"), "ann")
      assert.notDeepEqual(yield* client.cookie("__Host-session"), first)
      assert.strictEqual(yield* text(thief, "/"), "nobody")
      const second = yield* client.cookie("__Host-session")
      yield* TestClock.adjust("14 minutes")
      assert.strictEqual(yield* text(client, "/"), "ann")
      assert.deepStrictEqual(yield* client.cookie("__Host-session"), second)
    }).pipe(Effect.provide(layers)))

  it.scoped("S29: a request whose token changes on schedule ends all other sessions, and knows its own", () =>
    Effect.gen(function*() {
      const endOthers = Effect.gen(function*() {
        const found = yield* Session.subject
        const except = yield* Session.id
        const ids = yield* Stream.runCollect(Stream.map(Sessions.list(Option.getOrThrow(found)), ({ id }) => id))
        assert.include(Array.from(ids), except)
        return HttpServerResponse.text(String(yield* Sessions.revokeAll("ann", { except })))
      })
      const paths = fixture.routes({ "/end-others": endOthers, "/": who })
      const here = yield* testing.client(HttpMiddleware.session(renewing(paths)))
      const there = yield* here.other()
      yield* here.login("ann")
      yield* there.login("ann")
      yield* TestClock.adjust("15 minutes")
      assert.strictEqual(yield* text(here, "/end-others"), "1")
      assert.deepStrictEqual([yield* text(here, "/"), yield* text(there, "/")], ["ann", "nobody"])
    }).pipe(Effect.provide(layers)))

  it.scoped("S25: a logout in a request whose token is due leaves no session", () =>
    Effect.gen(function*() {
      const paths = fixture.routes({ "/logout": fixture.answering(Session.destroy), "/": who })
      const client = yield* testing.client(HttpMiddleware.session(renewing(paths)))
      yield* client.login("ann")
      yield* TestClock.adjust("15 minutes")
      yield* client.get("/logout")
      assert.deepStrictEqual(yield* client.cookie("__Host-session"), Option.none())
      assert.strictEqual(yield* text(client, "/"), "nobody")
    }).pipe(Effect.provide(layers)))

  const controlled = Layer.orDie(Layer.merge(CookieState.layer(), testing.controlled(MemoryStore.layer())))

  it.scoped("S15: of two requests that find it due at once, one renews, and the user stays logged in", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(HttpMiddleware.session(renewing(who)))
      yield* client.login("ann")
      yield* TestClock.adjust("15 minutes")
      const loads = [yield* controls.hold("load"), yield* controls.hold("load")]
      const requests = [yield* client.fork("GET", "/"), yield* client.fork("GET", "/")]
      yield* Effect.forEach(loads, ({ arrived }) => arrived)
      yield* Effect.forEach(loads, ({ release }) => release)
      yield* Effect.forEach(requests, Fiber.join)
      assert.strictEqual(yield* text(client, "/"), "ann")
      assert.strictEqual(yield* Sessions.count("ann"), 1)
    }).pipe(Effect.provide(controlled)))

  it.scoped("S15: a request that finds it due after another has renewed is a visitor's, and sets no cookie", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(HttpMiddleware.session(renewing(who)))
      yield* client.login("ann")
      yield* TestClock.adjust("15 minutes")
      const load = yield* controls.hold("load", { at: "after" })
      const late = yield* client.fork("GET", "/")
      yield* load.arrived
      assert.strictEqual(yield* text(client, "/"), "ann")
      yield* load.release
      const answer = yield* Fiber.join(late)
      fixture.assertNoCookie(answer)
      assert.strictEqual(yield* answer.text, "nobody")
      assert.strictEqual(yield* text(client, "/"), "ann")
    }).pipe(Effect.provide(controlled)))
})

describe("the last use of a remembered session", () => {
  const LastUse = SessionField.make("lastUse", Schema.Number)

  const noting = <E, R>(app: HttpApp.Default<E, R>) =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const { persistent, touchedAt } = yield* Session.info
      if (persistent && Option.exists(touchedAt, (touchedAt) => now - touchedAt >= 3_600_000)) {
        yield* SessionField.set(LastUse, now)
      }
      return yield* app
    })

  it.scoped("S31 S32 S64: it is seen in the list, it is what a cap goes by, and it is written once an hour", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const daily = yield* testing.client(HttpMiddleware.session(noting(who)))
      const unused = yield* daily.other()
      yield* daily.run(Session.login("ann", { remember: "30 days" }))
      yield* TestClock.adjust("1 day")
      yield* unused.run(Session.login("ann", { remember: "30 days" }))
      yield* TestClock.adjust("9 days")
      yield* controls.reset
      const answer = yield* daily.get("/")
      fixture.assertNoCookie(answer)
      yield* TestClock.adjust("59 minutes")
      yield* daily.get("/")
      assert.deepStrictEqual(yield* controls.methods, ["load", "update", "load"])
      const [newest] = yield* Stream.runCollect(Sessions.list("ann"))
      assert.strictEqual(newest?.touchedAt, (yield* Clock.currentTimeMillis) - 59 * 60_000)
      assert.strictEqual(yield* Sessions.keepNewest("ann", 1), 1)
      assert.deepStrictEqual([yield* text(daily, "/"), yield* text(unused, "/")], ["ann", "nobody"])
    }).pipe(
      Effect.provide(Layer.orDie(Layer.merge(CookieState.layer(), testing.controlled(MemoryStore.layer()))))
    ))
})

describe("single sign-on", () => {
  const UserId = SessionField.make("userId", Schema.NonEmptyString)
  const issuer = "https://id.example"
  const named = (issuer: string, name: string) => JSON.stringify([issuer, name])
  const ann = named(issuer, "ann")
  const bob = named(issuer, "bob")

  /** The app's table: the sessions of one session at the provider are those of a subject of its own. */
  const table = () => {
    const rows: Array<{ readonly userId: string; readonly subject: string }> = []
    return {
      add: (userId: string, subject: string) => Effect.sync(() => void rows.push({ userId, subject })),
      of: (userId: string) =>
        Effect.sync(() => [...new Set(rows.filter((row) => row.userId === userId).map(({ subject }) => subject))])
    }
  }

  const practice = Effect.gen(function*() {
    const subjects = table()
    const loggedIn = (claims: { readonly iss: string; readonly sid: string; readonly sub: string }) =>
      Effect.gen(function*() {
        const userId = named(claims.iss, claims.sub)
        const subject = named(claims.iss, claims.sid)
        yield* subjects.add(userId, subject)
        yield* Session.login(subject)
        yield* SessionField.set(UserId, userId)
      })
    const devices = (userId: string) =>
      Stream.flatMap(Stream.fromIterableEffect(subjects.of(userId)), (subject) => Sessions.list(subject))
    const endSession = (claims: { readonly iss: string; readonly sid: string }) =>
      Sessions.revokeAll(named(claims.iss, claims.sid))
    const endAll = (userId: string) =>
      Effect.flatMap(subjects.of(userId), Effect.forEach((subject) => Sessions.revokeAll(subject), { discard: true }))

    const app = HttpMiddleware.session(
      Effect.map(SessionField.option(UserId), (user) => HttpServerResponse.text(Option.getOrElse(user, () => "nobody")))
    )
    const browser = (sub: string, sid: string) =>
      Effect.tap(testing.client(app), (client) => client.run(loggedIn({ iss: issuer, sid, sub })))
    return {
      devices,
      endSession,
      endAll,
      phone: yield* browser("ann", "sid-1"),
      laptop: yield* browser("ann", "sid-1"),
      work: yield* browser("ann", "sid-2"),
      other: yield* browser("bob", "sid-3")
    }
  })

  it.scoped("S34: a logout token with a sid ends that session at the provider, on all devices, and no other", () =>
    Effect.gen(function*() {
      const { devices, endSession, laptop, other, phone, work } = yield* practice
      assert.lengthOf(yield* Stream.runCollect(devices(ann)), 3)
      assert.strictEqual(yield* endSession({ iss: issuer, sid: "sid-1" }), 2)
      assert.strictEqual(yield* text(phone, "/"), "nobody")
      assert.strictEqual(yield* text(laptop, "/"), "nobody")
      assert.strictEqual(yield* text(work, "/"), ann)
      assert.strictEqual(yield* text(other, "/"), bob)
      assert.lengthOf(yield* Stream.runCollect(devices(ann)), 1)
    }).pipe(Effect.provide(layers)))

  it.scoped("S34: a logout token with a sub alone ends all of the user's sessions, and no other's", () =>
    Effect.gen(function*() {
      const { devices, endAll, laptop, other, phone, work } = yield* practice
      yield* endAll(ann)
      assert.deepStrictEqual(yield* Effect.forEach([phone, laptop, work], (client) => text(client, "/")), [
        "nobody",
        "nobody",
        "nobody"
      ])
      assert.strictEqual(yield* text(other, "/"), bob)
      assert.lengthOf(yield* Stream.runCollect(devices(ann)), 0)
    }).pipe(Effect.provide(layers)))
})

describe("a session that is bound to its client", () => {
  const Agent = SessionField.make("agent", Schema.String)

  /** Ends a session that comes with another user agent than it began with, and says so. */
  const bound = <E, R>(app: HttpApp.Default<E, R>) =>
    Effect.gen(function*() {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const agent = headers["user-agent"] ?? ""
      const known = yield* SessionField.option(Agent)
      if (Option.isSome(known) && known.value !== agent) {
        yield* Effect.logWarning("a session came from another client")
        yield* Session.destroy
        return HttpServerResponse.empty({ status: 401 })
      }
      if (Option.isNone(known)) {
        yield* SessionField.set(Agent, agent)
      }
      return yield* app
    })

  it.scoped("S70: a change of the client is reported, and ends the session for both", () =>
    logged((lines) =>
      Effect.gen(function*() {
        const client = yield* testing.client(HttpMiddleware.session(bound(who)))
        const from = (client: testing.Client, agent: string) => client.get("/", { headers: { "user-agent": agent } })
        yield* client.login("ann")
        assert.strictEqual((yield* from(client, "Firefox")).status, 200)
        assert.strictEqual((yield* from(client, "Firefox")).status, 200)
        const thief = yield* client.other({ jar: "copy" })
        assert.strictEqual((yield* from(thief, "curl")).status, 401)
        const warnings = lines.filter(({ level }) => level === "WARN")
        assert.lengthOf(warnings, 1)
        assert.include(warnings[0]?.message, "a session came from another client")
        assert.strictEqual(yield* Effect.flatMap(from(client, "Firefox"), ({ text }) => text), "nobody")
      })
    ).pipe(Effect.provide(layers)))
})
