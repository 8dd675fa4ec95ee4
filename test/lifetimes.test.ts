/**
 * How long sessions and their cookies live, at the millisecond, by the Clock of the reader.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, TestClock } from "effect"
import {
  CookieState,
  HttpMiddleware,
  MemoryStore,
  Session,
  SessionField,
  SessionPolicy,
  SessionToken,
  Store
} from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, assertNoCookie, increment } = fixture

/** A store whose sweep has stopped: what is over is over without it (S20). */
const unswept = Layer.orDie(Layer.effect(Store.Store, Effect.scoped(MemoryStore.make())))

const services = (policy: Layer.Layer<never> = Layer.empty) =>
  Layer.mergeAll(Layer.orDie(CookieState.layer()), testing.controlled(unswept), policy)

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

const app = HttpMiddleware.session(fixture.routes({
  "/add": answering(increment),
  "/add-500": answering(increment, 500),
  "/read": answering(SessionField.get(fixture.Count)),
  "/login": answering(Session.renew),
  "/week": answering(Effect.zipRight(increment, Session.expireIn("7 days"))),
  "/minute": answering(Effect.zipRight(increment, Session.expireIn("1 minute"))),
  "/never": answering(Session.expireIn("1000 days")),
  "/zero": answering(Session.expireIn(0)),
  "/expire-new": answering(Session.expireIn("7 days"))
}))

const start = Effect.gen(function*() {
  const client = yield* testing.client(app)
  const token = assertCookie(yield* client.get("/add"))
  const controls = yield* testing.Controls
  yield* controls.reset
  const says = (path: string) => Effect.flatMap(client.get(path), (answer) => answer.text)
  return { client, controls, says, token }
})

const recordUnder = (token: string) =>
  Effect.map(
    Effect.flatMap(Store.Store, (store) => clocked(store).load(SessionToken.fromString(token))),
    (found) => found._tag === "Live" ? found.record : undefined
  )

describe("the idle timeout", () => {
  it.effect("S17 S20: one millisecond before its deadline a session lives, at the deadline it is over", () =>
    Effect.gen(function*() {
      const { says } = yield* start
      yield* TestClock.adjust(hour - 1)
      assert.strictEqual(yield* says("/read"), "1")
      // the read moved the deadline
      yield* TestClock.adjust(hour - 1)
      assert.strictEqual(yield* says("/read"), "1")
      yield* TestClock.adjust(hour)
      assert.strictEqual(yield* says("/read"), "0")
    }).pipe(Effect.provide(services())))

  it.effect("S17: a cookie that the client keeps longer revives nothing, and a new session gets a new token", () =>
    Effect.gen(function*() {
      const { client, token } = yield* start
      yield* TestClock.adjust(hour)
      assert.strictEqual(yield* fixture.tokenOf(client), token)
      const [answer, rejected] = yield* fixture.rising("rejected", "unknown", client.get("/add"))
      assert.strictEqual(rejected, 1)
      assert.notStrictEqual(assertCookie(answer), token)
      assert.strictEqual(yield* answer.text, "1")
    }).pipe(Effect.provide(services())))

  it.effect("S21 S64: reads within the touch interval write nothing; the first after it moves the deadline alone", () =>
    Effect.gen(function*() {
      const { controls, says, token } = yield* start
      yield* TestClock.adjust(6 * minute - 1)
      yield* says("/read")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
      yield* TestClock.adjust(1)
      const before = yield* recordUnder(token)
      yield* says("/read")
      const after = yield* recordUnder(token)
      assert.deepStrictEqual(after, before && { ...before, deadline: hour + 6 * minute, touchedAt: 6 * minute })
    }).pipe(Effect.provide(services())))

  it.effect("S17: each write extends it, an error does not", () =>
    Effect.gen(function*() {
      const { says, token } = yield* start
      yield* TestClock.adjust(minute)
      yield* says("/add-500")
      assert.strictEqual((yield* recordUnder(token))?.deadline, hour)
      yield* says("/add")
      assert.strictEqual((yield* recordUnder(token))?.deadline, hour + minute)
    }).pipe(Effect.provide(services())))

  it.effect("S23: the policy's own values rule", () =>
    Effect.gen(function*() {
      const { says } = yield* start
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* says("/read"), "0")
    }).pipe(Effect.provide(services(fixture.policy(SessionPolicy.layer({ idleTimeout: "10 seconds" }))))))
})

describe("the absolute lifetime", () => {
  it.effect("S18 S19 S20: no use extends it, and at exactly its bound the session is over", () =>
    Effect.gen(function*() {
      const { says, token } = yield* start
      for (let n = 0; n < 47; n++) {
        yield* TestClock.adjust(30 * minute)
        assert.strictEqual(yield* says(n % 2 === 0 ? "/add" : "/read"), `${2 + Math.floor(n / 2)}`)
      }
      assert.strictEqual((yield* recordUnder(token))?.deadline, day)
      yield* TestClock.adjust(30 * minute - 1)
      assert.strictEqual(yield* says("/read"), "25")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* says("/read"), "0")
    }).pipe(Effect.provide(services())))

  it.effect("S13 S18: renew keeps it", () =>
    Effect.gen(function*() {
      const { client, says } = yield* start
      for (let n = 0; n < 24; n++) {
        yield* TestClock.adjust(hour - (n === 23 ? 1 : 0) - 1000)
        const next = assertCookie(yield* client.get("/login"))
        assert.strictEqual((yield* recordUnder(next))?.expiresAt, day)
      }
      yield* TestClock.adjust(24_001)
      assert.strictEqual(yield* says("/read"), "0")
    }).pipe(Effect.provide(services())))

  it.effect("S19: an idle timeout beyond it is cut to it", () =>
    Effect.gen(function*() {
      const { token } = yield* start
      assert.strictEqual((yield* recordUnder(token))?.deadline, minute)
    }).pipe(Effect.provide(services(fixture.policy(SessionPolicy.layer({ lifetime: "1 minute" }))))))
})

describe("expireIn", () => {
  it.effect("S22: sets both bounds from now, makes the cookie persistent, and both end together", () =>
    Effect.gen(function*() {
      const { client, says, token } = yield* start
      yield* TestClock.adjust(minute)
      const answer = yield* client.get("/week")
      assert.strictEqual(assertCookie(answer), token)
      assert.match(answer.setCookies[0] ?? "", /Max-Age=604800(;|$)/)
      const record = yield* recordUnder(token)
      assert.deepInclude(record, { deadline: minute + 7 * day, expiresAt: minute + 7 * day, persistent: true })
      yield* TestClock.adjust(7 * day - 1)
      assert.strictEqual(yield* says("/read"), "2")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* client.cookies, [])
      assert.strictEqual(yield* recordUnder(token), undefined)
    }).pipe(Effect.provide(services())))

  it.effect("S22: stays through renew, whose cookie carries what is left", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      yield* client.get("/week")
      yield* TestClock.adjust(2 * day)
      const answer = yield* client.get("/login")
      assert.match(answer.setCookies[0] ?? "", /Max-Age=432000(;|$)/)
      assert.strictEqual((yield* recordUnder(assertCookie(answer)))?.expiresAt, 7 * day)
    }).pipe(Effect.provide(services())))

  it.effect("may shorten as well as lengthen, and the cookie follows", () =>
    Effect.gen(function*() {
      const { client, says } = yield* start
      yield* client.get("/week")
      const answer = yield* client.get("/minute")
      assert.match(answer.setCookies[0] ?? "", /Max-Age=60(;|$)/)
      yield* TestClock.adjust(minute)
      assert.strictEqual(yield* says("/read"), "0")
    }).pipe(Effect.provide(services())))

  it.effect("S48: is cut to the 400 days that a browser keeps a cookie", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      const answer = yield* client.get("/never")
      assert.match(answer.setCookies[0] ?? "", new RegExp(`Max-Age=${400 * 86_400}(;|$)`))
    }).pipe(Effect.provide(services())))

  it.effect("refuses a duration that is none, and leaves the session as it was", () =>
    Effect.gen(function*() {
      const { client, says } = yield* start
      assert.strictEqual((yield* client.get("/zero")).status, 500)
      assert.strictEqual(yield* says("/read"), "1")
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("S35: alone, on a first visit, begins no session", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      assertNoCookie(yield* client.get("/expire-new"))
      assertCookie(yield* client.get("/week"))
    }).pipe(Effect.provide(services())))
})

describe("remembered, where the layer has a maxAge", () => {
  const remembering = HttpMiddleware.session(fixture.routes({
    "/remember": answering(Effect.all([increment, Session.renew, Session.expireIn("30 days")])),
    "/renew": answering(Session.renew),
    "/renew-short": answering(Effect.zipRight(Session.renew, CookieState.attributes({ maxAge: "1 hour" }))),
    "/read": answering(SessionField.get(fixture.Count))
  }))
  const layers = Layer.mergeAll(Layer.orDie(CookieState.layer({ maxAge: "1 day" })), unswept)

  it.effect("P-A: the cookie lasts as long as the record, also after a later renew", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(remembering)
      const endsAt = Effect.map(client.cookies, ([cookie]) => cookie?.expiresAt)
      const token = assertCookie(yield* client.get("/remember"))
      assert.strictEqual(yield* endsAt, 30 * day)
      assert.strictEqual((yield* recordUnder(token))?.expiresAt, 30 * day)
      yield* TestClock.adjust(2 * day)
      const next = assertCookie(yield* client.get("/renew"))
      assert.strictEqual(yield* endsAt, 30 * day)
      assert.strictEqual((yield* recordUnder(next))?.expiresAt, 30 * day)
      yield* TestClock.adjust(28 * day - 1)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* client.cookies, [])
      assert.isUndefined(yield* recordUnder(next))
    }).pipe(Effect.provide(layers)))

  it.effect("P-A: but CookieState.attributes in the same response say otherwise", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(remembering)
      yield* client.get("/remember")
      const answer = yield* client.get("/renew-short")
      assert.match(answer.setCookies[0] ?? "", /Max-Age=3600(;|$)/)
      assert.strictEqual((yield* recordUnder(assertCookie(answer)))?.expiresAt, 30 * day)
      const renewed = yield* client.get("/renew")
      assert.match(renewed.setCookies[0] ?? "", /Max-Age=2592000(;|$)/)
    }).pipe(Effect.provide(layers)))
})

describe("expireByPolicy", () => {
  const forgetting = HttpMiddleware.session(fixture.routes({
    "/add": answering(increment),
    "/read": answering(SessionField.get(fixture.Count)),
    "/week": answering(Effect.zipRight(increment, Session.expireIn("7 days"))),
    "/policy": answering(Session.expireByPolicy),
    "/policy-renew": answering(Effect.zipRight(Session.renew, Session.expireByPolicy)),
    "/both": answering(Effect.zipRight(Session.expireIn("7 days"), Session.expireByPolicy)),
    "/both-week": answering(Effect.zipRight(Session.expireByPolicy, Session.expireIn("7 days")))
  }))

  const remembered = Effect.gen(function*() {
    const client = yield* testing.client(forgetting)
    const token = assertCookie(yield* client.get("/week"))
    yield* TestClock.adjust(2 * day)
    return { client, token, cookie: Effect.map(client.cookies, ([cookie]) => cookie) }
  })

  it.effect("takes expireIn back: the policy's bounds from now, and the browser's session for the cookie", () =>
    Effect.gen(function*() {
      const { client, cookie, token } = yield* remembered
      assert.strictEqual((yield* cookie)?.expiresAt, 7 * day)
      const answer = yield* client.get("/policy")
      assert.strictEqual(assertCookie(answer), token)
      assert.notMatch(answer.setCookies[0] ?? "", /Max-Age|Expires/)
      assert.isUndefined((yield* cookie)?.expiresAt)
      const record = yield* recordUnder(token)
      assert.deepInclude(record, { deadline: 2 * day + hour, expiresAt: 3 * day, idle: hour })
      assert.isUndefined(record?.persistent)
      yield* TestClock.adjust(30 * minute)
      yield* client.get("/read")
      assert.strictEqual((yield* recordUnder(token))?.deadline, 2 * day + hour + 30 * minute)
      yield* TestClock.adjust(hour)
      assert.isUndefined(yield* recordUnder(token))
    }).pipe(Effect.provide(services())))

  it.effect("with a renewal, in one step", () =>
    Effect.gen(function*() {
      const { client, cookie } = yield* remembered
      const next = assertCookie(yield* client.get("/policy-renew"))
      assert.isUndefined((yield* cookie)?.expiresAt)
      assert.deepInclude(yield* recordUnder(next), { deadline: 2 * day + hour, expiresAt: 3 * day })
    }).pipe(Effect.provide(services())))

  it.effect("where the layer has a maxAge, the cookie has that again", () =>
    Effect.gen(function*() {
      const { client, cookie } = yield* remembered
      yield* client.get("/policy")
      assert.strictEqual((yield* cookie)?.expiresAt, 2 * day + hour)
    }).pipe(Effect.provide(Layer.mergeAll(CookieState.layer({ maxAge: "2 hours" }), unswept))))

  it.effect("does nothing to a session that was never bound, whatever was asked for before it in the request", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(forgetting)
      const visitor = yield* client.other({ jar: "empty" })
      assertNoCookie(yield* visitor.get("/policy"))
      const token = assertCookie(yield* client.get("/add"))
      const before = yield* recordUnder(token)
      const controls = yield* testing.Controls
      yield* controls.reset
      for (const path of ["/policy", "/both"]) {
        assertNoCookie(yield* client.get(path))
      }
      assert.deepStrictEqual(yield* controls.methods, ["load", "load"])
      assert.deepStrictEqual(yield* recordUnder(token), before)
    }).pipe(Effect.provide(services())))

  it.effect("the later of both counts", () =>
    Effect.gen(function*() {
      const { client, token } = yield* remembered
      yield* client.get("/both-week")
      assert.deepInclude(yield* recordUnder(token), { expiresAt: 9 * day, persistent: true })
      yield* client.get("/both")
      assert.strictEqual((yield* recordUnder(token))?.expiresAt, 3 * day)
    }).pipe(Effect.provide(services())))

  it.effect("is made again on what another request saved first", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { client, token } = yield* remembered
      const other = yield* fixture.elsewhere(forgetting)
      const update = yield* controls.hold("update")
      const slow = yield* client.fork("GET", "/policy")
      yield* update.arrived
      yield* other.get("/week", { cookies: `${fixture.cookieName}=${token}` })
      yield* update.release
      const answer = yield* slow
      assertCookie(answer)
      assert.notMatch(answer.setCookies[0] ?? "", /Max-Age|Expires/)
      const record = yield* recordUnder(token)
      assert.deepInclude(record, { expiresAt: 3 * day, data: { n: 2 } })
      assert.isUndefined(record?.persistent)
    }).pipe(Effect.provide(services())))
})

describe("a cookie that an older secret signed", () => {
  const signedBy = (...secrets: ReadonlyArray<string>) =>
    Effect.provide(
      testing.client(app),
      CookieState.layer({ signed: { secrets: secrets.map((secret) => Redacted.make(secret)) } })
    )

  /** What a browser of before the rotation sends, to an app that signs by the new secret. */
  const rotated = Effect.gen(function*() {
    const before = yield* signedBy("old")
    yield* before.get("/add")
    const [cookie] = yield* before.cookies
    const cookies = `${cookie?.name}=${cookie?.value}`
    const client = yield* signedBy("new", "old")
    const after = yield* signedBy("new")
    return {
      send: (path: string) => client.get(path, { cookies }),
      sendNew: (path: string) => client.get(path),
      isNew: Effect.gen(function*() {
        const [cookie] = yield* client.cookies
        const answer = yield* after.get("/read", { cookies: `${cookie?.name}=${cookie?.value}` })
        return (yield* answer.text) !== "0"
      })
    }
  })

  it.effect("S59: is left as it is by a read that writes nothing", () =>
    Effect.gen(function*() {
      const { send } = yield* rotated
      const answer = yield* send("/read")
      assert.strictEqual(yield* answer.text, "1")
      assertNoCookie(answer)
    }).pipe(Effect.provide(services())))

  it.effect("S59: is set anew by the first secret when the session is written, and then no more", () =>
    Effect.gen(function*() {
      const { isNew, send, sendNew } = yield* rotated
      const answer = yield* send("/add")
      assert.strictEqual(yield* answer.text, "2")
      assert.lengthOf(answer.setCookies, 1)
      assert.isTrue(yield* isNew)
      assertNoCookie(yield* sendNew("/add"))
    }).pipe(Effect.provide(services())))

  it.effect("S59: is set anew when the session is touched", () =>
    Effect.gen(function*() {
      const { isNew, send } = yield* rotated
      yield* TestClock.adjust(10 * minute)
      assert.lengthOf((yield* send("/read")).setCookies, 1)
      assert.isTrue(yield* isNew)
    }).pipe(Effect.provide(services())))

  it.effect("S59: is not set anew by a write that fails or is dropped", () =>
    Effect.gen(function*() {
      const { send } = yield* rotated
      assertNoCookie(yield* send("/add-500"))
      yield* (yield* testing.Controls).fail("update")
      assertNoCookie(yield* send("/add"))
    }).pipe(fixture.quietly, Effect.provide(services())))
})

describe("a cookie with an expiry", () => {
  it.effect("S22: is set again when the session slides, and never outlives the record", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      const first = yield* client.get("/add")
      assert.match(first.setCookies[0] ?? "", /Max-Age=3600(;|$)/)
      yield* TestClock.adjust(6 * minute - 1)
      assertNoCookie(yield* client.get("/read"))
      yield* TestClock.adjust(1)
      const slid = yield* client.get("/read")
      assert.match(slid.setCookies[0] ?? "", /Max-Age=3600(;|$)/)
      yield* Effect.repeatN(Effect.zipRight(TestClock.adjust(30 * minute), client.get("/read")), 46)
      const [cookie] = yield* client.cookies
      assert.strictEqual(cookie?.expiresAt, day)
    }).pipe(Effect.provide(Layer.mergeAll(CookieState.layer({ maxAge: "2 hours" }), unswept))))
})

describe("a cookie with an expiry, of a session that is written all the time", () => {
  it.effect("S22: is set again once the touch interval has passed, and tells of the record's own deadline", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      const token = assertCookie(yield* client.get("/add"))
      for (let n = 2; n <= 70; n++) {
        yield* TestClock.adjust(minute)
        const answer = yield* client.get("/add")
        assert.strictEqual(yield* answer.text, String(n))
        assert.lengthOf(answer.setCookies, (n - 1) % 6 === 0 ? 1 : 0, `write ${n}`)
        const [cookie] = yield* client.cookies
        assert.strictEqual(cookie?.expiresAt, (yield* recordUnder(token))?.deadline)
      }
    }).pipe(Effect.provide(Layer.mergeAll(CookieState.layer({ maxAge: "2 hours" }), unswept))))

  it.effect("S17: without an expiry its deadline follows every write", () =>
    Effect.gen(function*() {
      const { says, token } = yield* start
      yield* TestClock.adjust(minute)
      yield* says("/add")
      assert.strictEqual((yield* recordUnder(token))?.deadline, hour + minute)
    }).pipe(Effect.provide(services())))
})

describe("a session of an earlier policy", () => {
  it.effect("S17: with a shorter idle timeout, lives on while it is read", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      const token = SessionToken.draw(yield* SessionToken.Generator)
      const store = yield* Store.Store
      yield* clocked(store).create(token, testing.record({ idle: 30 * minute, data: { n: 7 } }))
      yield* client.keep(`${fixture.cookieName}=${Redacted.value(token)}; Path=/; Secure`)
      for (let n = 0; n < 8; n++) {
        yield* TestClock.adjust(5 * minute)
        assert.strictEqual(yield* (yield* client.get("/read")).text, "7")
      }
    }).pipe(Effect.provide(services(fixture.policy(SessionPolicy.layer({ idleTimeout: "10 hours" }))))))
})

describe("a clock that is set back an hour", () => {
  it.effect("S17 S21: the session lives on, no deadline moves back, and nothing is touched", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(10 * hour)
      const { controls, says, token } = yield* start
      yield* TestClock.setTime(9 * hour)
      assert.strictEqual(yield* says("/read"), "1")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
      assert.strictEqual(yield* says("/add"), "2")
      const record = yield* recordUnder(token)
      assert.strictEqual(record?.deadline, 11 * hour)
      assert.strictEqual(record?.expiresAt, 10 * hour + day)
      yield* TestClock.setTime(11 * hour - 1)
      assert.strictEqual(yield* says("/read"), "2")
    }).pipe(Effect.provide(services())))
})

describe("a store that answers at once", () => {
  const states = {
    "a cookie": CookieState.layer(),
    "a signed cookie, whose signature is checked by an effect": CookieState.layer({
      name: "connect.sid",
      signed: { secrets: Redacted.make("a secret of the test") }
    })
  }
  for (const [name, state] of Object.entries(states)) {
    it.effect(`S17 S20: ${name}: one millisecond before its deadline a session lives, at the deadline it is over`, () =>
      Effect.gen(function*() {
        const client = yield* testing.client(app)
        const says = (path: string) => Effect.flatMap(client.get(path), (answer) => answer.text)
        yield* says("/add")
        yield* TestClock.adjust(hour - 1)
        assert.strictEqual(yield* says("/read"), "1")
        yield* TestClock.adjust(hour)
        assert.strictEqual(yield* says("/read"), "0")
      }).pipe(Effect.provide(Layer.merge(state, unswept))))
  }
})
