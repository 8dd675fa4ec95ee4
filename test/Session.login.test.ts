import { HttpApiSchema } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Exit, Layer, Option, Schema, TestClock } from "effect"
import { HttpMiddleware, Session, SessionError, SessionField, SessionPolicy } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

class Unauthorized extends Data.TaggedError("Unauthorized") {}

const Secret = SessionField.make("secret", Schema.String, { onRenew: "remove" })

const hour = 3_600_000

const info = Effect.map(Session.info, (info) =>
  JSON.stringify({
    subject: Option.getOrNull(info.subject),
    label: Option.getOrNull(info.label),
    authenticatedAt: Option.getOrNull(info.authenticatedAt),
    expiresAt: Option.getOrNull(info.expiresAt)
  }))

const app = HttpMiddleware.session(fixture.routes({
  "/add": fixture.answering(fixture.increment),
  "/secret": fixture.answering(Effect.asVoid(SessionField.set(Secret, "of the visitor"))),
  "/get": fixture.answering(Effect.map(Session.get, (data) => JSON.stringify(data))),
  "/login": fixture.answering(Session.login("ann", { label: "Firefox on Linux" })),
  "/again": fixture.answering(Session.login("ann")),
  "/remember": fixture.answering(Session.login("ann", { remember: "30 days" })),
  "/expire-then-login": fixture.answering(Effect.zipRight(Session.expireIn("2 days"), Session.login("ann"))),
  "/login-then-read": fixture.answering(Effect.zipRight(Session.login("bob"), info)),
  "/empty": fixture.answering(Session.login("")),
  "/wrong": fixture.answering(Session.login("ann", { remember: 0 })),
  "/info": fixture.answering(info),
  "/logout": fixture.answering(Session.destroy),
  "/guarded": Effect.catchTag(
    fixture.answering(Session.subjectOrFail(() => new Unauthorized())),
    "Unauthorized",
    () => fixture.answering(Effect.succeed("nobody"), 401)
  ),
  "/recent": fixture.answering(Effect.as(Session.requireRecentLogin("10 minutes"), "recent"))
}))

const text = (client: testing.Client, path: string) => Effect.flatMap(client.get(path), ({ text }) => text)
const person = (client: testing.Client) => Effect.map(text(client, "/info"), (text) => JSON.parse(text) as unknown)

describe("Session.login", () => {
  it.scoped("S11 S12: gives the session a new token, ends the old one, and says whose it is from then on", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/add")
      const before = yield* fixture.tokenOf(client)
      const thief = yield* client.other({ jar: "copy" })
      fixture.assertCookie(yield* client.get("/login"))
      assert.notStrictEqual(yield* fixture.tokenOf(client), before)
      assert.strictEqual(yield* text(client, "/guarded"), "ann")
      assert.strictEqual((yield* thief.get("/guarded")).status, 401)
      assert.deepStrictEqual(yield* person(client), {
        subject: "ann",
        label: "Firefox on Linux",
        authenticatedAt: 0,
        expiresAt: 24 * hour
      })
      assert.deepStrictEqual(JSON.parse(yield* text(client, "/get")), { n: 1 })
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("a visitor without a session gets one", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      assert.strictEqual((yield* client.get("/guarded")).status, 401)
      fixture.assertCookie(yield* client.get("/login"))
      assert.strictEqual(yield* text(client, "/guarded"), "ann")
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("S18: begins the absolute lifetime anew: a visitor of 23 hours is not out in one", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/add")
      for (let at = 1; at < 46; at++) {
        yield* TestClock.adjust("30 minutes")
        yield* client.get("/add")
      }
      yield* client.get("/login")
      for (let at = 1; at < 46; at++) {
        yield* TestClock.adjust("30 minutes")
        yield* client.get("/add")
      }
      assert.strictEqual(yield* text(client, "/guarded"), "ann")
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("S16: drops what was declared to end with a renewal", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/add")
      yield* client.get("/secret")
      assert.deepStrictEqual(JSON.parse(yield* text(client, "/get")), { n: 1, secret: "of the visitor" })
      yield* client.get("/login")
      assert.deepStrictEqual(JSON.parse(yield* text(client, "/get")), { n: 1 })
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("remember keeps the session and its cookie, and a later login without it does not", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      const remembered = yield* client.get("/remember")
      assert.match(remembered.setCookies[0] ?? "", /Max-Age=2592000/)
      yield* TestClock.adjust("29 days")
      assert.strictEqual(yield* text(client, "/guarded"), "ann")
      const again = yield* client.get("/again")
      assert.notMatch(again.setCookies[0] ?? "", /Max-Age|Expires/)
      yield* TestClock.adjust("61 minutes")
      assert.strictEqual(yield* text(client, "/guarded"), "nobody")
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("what expireIn said in the same request holds", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      assert.match((yield* client.get("/expire-then-login")).setCookies[0] ?? "", /Max-Age=172800/)
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("another login in the same session takes the place of the first, with its label", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/login")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(JSON.parse(yield* text(client, "/login-then-read")), {
        subject: "bob",
        label: null,
        authenticatedAt: 60_000,
        expiresAt: 24 * hour
      })
      assert.deepStrictEqual(yield* person(client), {
        subject: "bob",
        label: null,
        authenticatedAt: 60_000,
        expiresAt: 24 * hour + 60_000
      })
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("after a logout the session is nobody's", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/login")
      fixture.assertRemoval(yield* client.get("/logout"))
      assert.strictEqual((yield* client.get("/guarded")).status, 401)
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("S15: a login beside another request's update keeps both", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(app)
      yield* client.get("/add")
      const other = yield* Effect.flatMap(
        fixture.elsewhere(app),
        (elsewhere) => Effect.as(Effect.flatMap(client.setCookies, Effect.forEach(elsewhere.keep)), elsewhere)
      )
      const held = yield* controls.hold("renew")
      const login = yield* client.fork("GET", "/login")
      yield* held.arrived
      yield* other.get("/add")
      yield* held.release
      fixture.assertCookie(yield* login)
      assert.deepStrictEqual(JSON.parse(yield* text(client, "/get")), { n: 2 })
      assert.strictEqual(yield* text(client, "/guarded"), "ann")
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("an empty subject, and a time that is not above zero, are refused", () =>
    fixture.quietly(Effect.gen(function*() {
      const client = yield* testing.client(app)
      assert.strictEqual((yield* client.get("/empty")).status, 500)
      assert.strictEqual((yield* client.get("/wrong")).status, 500)
      assert.strictEqual((yield* client.get("/guarded")).status, 401)
    })).pipe(Effect.provide(fixture.services())))

  it.scoped("S66: a session that could not be loaded dies with the failure, also where the policy goes on without it", () =>
    fixture.quietly(Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(app)
      yield* client.get("/add")
      yield* controls.fail("load", { times: 1 })
      const answer = yield* client.get("/login")
      assert.strictEqual(answer.status, 503)
      fixture.assertNoCookie(answer)
    })).pipe(
      Effect.provide(fixture.services(fixture.policy(SessionPolicy.layer({ onStoreFailure: "anonymous" }))))
    ))

  it.scoped("named sessions have a login of their own", () =>
    Effect.gen(function*() {
      class Admin extends Session.Tag<Admin>()("admin") {}
      const admin = Session.verbs(Admin)
      const program = Effect.gen(function*() {
        yield* admin.login("root")
        assert.deepStrictEqual(yield* admin.subject, Option.some("root"))
        assert.deepStrictEqual(yield* Session.subject, Option.none())
        yield* admin.requireRecentLogin("1 minute")
        assert.strictEqual(yield* admin.subjectOrFail(() => new Unauthorized()), "root")
        assert.instanceOf(
          yield* Effect.flip(Session.requireRecentLogin("1 minute")),
          Session.ReauthenticationRequired
        )
      })
      const ref = yield* Layer.build(Session.layerTest())
      const other = yield* Layer.build(Session.layerTest())
      yield* program.pipe(
        Effect.provideServiceEffect(Admin, Effect.provide(Session.Session, other)),
        Effect.provide(ref)
      )
    }))
})

describe("Session.requireRecentLogin", () => {
  it.scoped("S33: passes until the time is over, and is 401 a millisecond later, and for nobody", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      assert.strictEqual((yield* client.get("/recent")).status, 401)
      yield* client.get("/login")
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* text(client, "/recent"), "recent")
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* client.get("/recent")).status, 401)
      yield* client.get("/login")
      assert.strictEqual(yield* text(client, "/recent"), "recent")
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("S33: a login is not made recent by use or by a renewal", () =>
    Effect.gen(function*() {
      const { subject } = yield* Effect.provide(
        Effect.gen(function*() {
          yield* Session.login("ann")
          yield* Session.commit
          yield* TestClock.adjust("11 minutes")
          yield* Session.renew
          yield* Session.commit
          assert.isTrue(Exit.isFailure(yield* Effect.exit(Session.requireRecentLogin("10 minutes"))))
          return yield* Session.info
        }),
        Session.layerTest()
      )
      assert.deepStrictEqual(subject, Option.some("ann"))
    }))

  it("an HttpApi that declares its failure answers 401", () => {
    assert.strictEqual(HttpApiSchema.getStatusError(SessionError.ReauthenticationRequired), 401)
  })

  it.effect("tells what to do", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.provide(Session.requireRecentLogin("1 hour"), Session.layerTest()))
      assert.isTrue(Exit.isFailure(exit))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "Ask the user to log in again")
    }))
})
