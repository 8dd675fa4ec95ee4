import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Option, Redacted, Schema, TestClock } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionField } from "effect-session"
import * as SealedStore from "effect-session/SealedStore"
import * as testing from "effect-session/testing"
import { createHash, randomBytes } from "node:crypto"
import { answering, Count, increment, routes } from "./fixtures/http.js"
import * as Reference from "./vectors/webcrypto.js"

const start = 1_700_000_000_000
const key = createHash("sha256").update("http").digest()
const keys = [Redacted.make(key.toString("base64"))]
const name = "__Host-session"

const counted = SessionField.getAndUpdate(Count, (n) => n + 1)
const Note = SessionField.make("note", Schema.String, { default: () => "" })
/** What is kept is not what the handler sees: a codec of the field's own. */
const Seen = SessionField.make("seen", Schema.Array(Schema.DateFromNumber), { default: () => [] })

const app = HttpMiddleware.session(routes({
  "/": answering(counted),
  "/read": answering(SessionField.get(Count)),
  "/id": answering(Effect.zipRight(increment, Session.id)),
  "/login": answering(Effect.zipRight(Effect.zipRight(increment, Session.renew), Session.id)),
  "/logout": answering(Effect.zipLeft(counted, Session.destroy)),
  "/seen": answering(Effect.map(
    SessionField.updateAndGet(Seen, (dates) => [...dates, new Date(start + dates.length)]),
    (dates) => dates.map((date) => date.toISOString()).join(" ")
  )),
  "/note/100": answering(SessionField.set(Note, "x".repeat(100))),
  "/note/3000": answering(SessionField.set(Note, "x".repeat(3000))),
  "/note/9000": answering(SessionField.set(Note, "x".repeat(9000))),
  "/no-path": answering(
    Effect.zipRight(increment, CookieState.attributes({ path: undefined, domain: "example.test" }))
  ),
  "/foo": answering(Effect.zipRight(increment, CookieState.attributes({ path: "/foo", domain: "example.test" }))),
  "/swallowed": Effect.zipRight(
    Effect.ignore(Effect.zipRight(SessionField.set(Note, "x".repeat(9000)), Session.commit)),
    HttpServerResponse.text("fine")
  )
}))

const quiet = Logger.remove(Logger.defaultLogger)
const sealed = SealedStore.layer({ keys })
const revocable = SealedStore.layer({ keys, revocations: MemoryStore.layer() })

const browsing = <A, E>(
  cookie: CookieState.Options,
  store: typeof sealed,
  test: (browser: testing.Client) => Effect.Effect<A, E>
) =>
  // before the layers are built, so that no sweep has fifty years to catch up with
  Effect.zipRight(
    TestClock.setTime(start),
    Effect.flatMap(testing.client(app), test).pipe(
      Effect.provide(Layer.mergeAll(CookieState.layer(cookie), store, quiet))
    )
  )

const textOf = (browser: testing.Client, path: string, cookies?: string) =>
  Effect.flatMap(browser.get(path, { cookies }), (answer) => {
    assert.strictEqual(answer.status, 200)
    return answer.text
  })

const valueOf = (browser: testing.Client, cookie = name) => Effect.map(browser.cookie(cookie), Option.getOrThrow)

/** The attributes of the one cookie set, without what differs from call to call. */
const attributesOf = (answer: testing.Answer): ReadonlyArray<string> => {
  assert.strictEqual(answer.setCookies.length, 1)
  return answer.setCookies[0]!.split("; ").slice(1)
}

describe("SealedStore over HTTP", () => {
  it.effect("P15: a counter with no server state: 0, 1, 2, logged out on the third, 0 again", () =>
    browsing({ maxAge: "1 hour" }, sealed, (browser) =>
      Effect.gen(function*() {
        const first = yield* browser.get("/")
        assert.strictEqual(yield* first.text, "0")
        const attributes = attributesOf(first)
        assert.include(attributes, "Path=/")
        assert.include(attributes, "Max-Age=3600")
        assert.strictEqual(yield* textOf(browser, "/"), "1")
        const third = yield* browser.get("/logout")
        assert.strictEqual(yield* third.text, "2")
        assert.match(third.setCookies[0]!, /^__Host-session=;.*Max-Age=0/)
        assert.strictEqual(yield* textOf(browser, "/"), "0")
      })))

  it.effect("P16: the same for data with a codec of its own", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* textOf(browser, "/seen"), "2023-11-14T22:13:20.000Z")
        assert.strictEqual(yield* textOf(browser, "/seen"), "2023-11-14T22:13:20.000Z 2023-11-14T22:13:20.001Z")
      })))

  it.effect("P22: a path taken away for one response leaves no Path; SameSite and HttpOnly stay", () =>
    browsing({ name: "session", secure: false, path: "/" }, sealed, (browser) =>
      Effect.gen(function*() {
        const attributes = attributesOf(yield* browser.get("/no-path"))
        assert.sameMembers([...attributes], ["Domain=example.test", "SameSite=Lax", "HttpOnly"])
      })))

  it.effect("P23: a path given for one response is the cookie's", () =>
    browsing({ name: "session", secure: false, path: "/" }, sealed, (browser) =>
      Effect.gen(function*() {
        const attributes = attributesOf(yield* browser.get("/foo"))
        assert.sameMembers([...attributes], ["Domain=example.test", "Path=/foo", "SameSite=Lax", "HttpOnly"])
      })))

  it.effect("P24: a partitioned cookie is Secure, SameSite=None and HttpOnly, with a path and without", () =>
    browsing({ name: "session", partitioned: true }, sealed, (browser) =>
      Effect.gen(function*() {
        const common = ["SameSite=None", "Secure", "HttpOnly", "Partitioned"]
        assert.sameMembers([...attributesOf(yield* browser.get("/"))], ["Path=/", ...common])
        const other = yield* browser.other({ jar: "empty" })
        assert.sameMembers([...attributesOf(yield* other.get("/no-path"))], ["Domain=example.test", ...common])
      })))

  it.effect("S53 S64: a read sets no cookie, and what was read is what the cookie says", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/")
        const read = yield* browser.get("/read")
        assert.strictEqual(yield* read.text, "1")
        assert.deepStrictEqual(read.setCookies, [])
      })))

  it.effect("X23: an altered, cut, foreign or empty cookie is a fresh session, and no error", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/")
        const good = yield* valueOf(browser)
        const middle = good.length >> 1
        const bad = [
          good.slice(0, middle) + (good[middle] === "A" ? "B" : "A") + good.slice(middle + 1),
          good.slice(0, -22) + "A".repeat(22),
          good.toUpperCase(),
          good.slice(0, -22),
          "garbage",
          "a:b",
          "",
          "A".repeat(200)
        ]
        for (const value of bad) {
          assert.strictEqual(yield* textOf(browser, "/read", `${name}=${value}`), "0", value)
        }
        assert.strictEqual(yield* textOf(browser, "/read", `${name}=${good}`), "1")
        // S51: a bad one before a good one hides nothing
        assert.strictEqual(yield* textOf(browser, "/read", `${name}=${bad[0]}; ${name}=${good}`), "1")
      })))

  it.effect("S58: a cookie of one name is worth nothing under another", () =>
    Effect.gen(function*() {
      const good = yield* browsing({ name: "__Host-a" }, sealed, (browser) =>
        Effect.zipRight(browser.get("/"), valueOf(browser, "__Host-a")))
      const elsewhere = yield* browsing({ name: "__Host-b" }, sealed, (browser) =>
        textOf(browser, "/read", `__Host-b=${good}`))
      assert.strictEqual(elsewhere, "0")
    }))

  it.effect("S17 S20 X24: its deadline is inside: a cookie kept longer is a fresh session", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/")
        const kept = `${name}=${yield* valueOf(browser)}`
        yield* TestClock.adjust("59 minutes")
        assert.strictEqual(yield* textOf(browser, "/read", kept), "1")
        yield* TestClock.adjust("1 minutes")
        assert.strictEqual(yield* textOf(browser, "/read", kept), "0")
      })))

  it.effect("S11 S25 S36 X24: with revocations a cookie from before the logout, or the login, is worth nothing", () =>
    browsing({}, revocable, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/")
        const before = `${name}=${yield* valueOf(browser)}`
        yield* browser.get("/login")
        const after = `${name}=${yield* valueOf(browser)}`
        assert.strictEqual(yield* textOf(browser, "/read", before), "0")
        assert.strictEqual(yield* textOf(browser, "/read", after), "2")
        yield* browser.get("/logout")
        assert.strictEqual(yield* textOf(browser, "/read", after), "0")
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(yield* textOf(browser, "/read", after), "0")
      })))

  it.effect("S36 X24: without them, as its docstring says, it stays good until its deadline", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/")
        const before = `${name}=${yield* valueOf(browser)}`
        yield* browser.get("/logout")
        assert.strictEqual(yield* textOf(browser, "/read", before), "1")
        yield* TestClock.adjust("1 hours")
        assert.strictEqual(yield* textOf(browser, "/read", before), "0")
      })))

  it.effect("X25 S61: sealed by the right key but undecodable is a fresh session, each time, and can be written", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        const value = yield* Effect.promise(() =>
          Reference.sealFirst(key, name, randomBytes(24), {
            id: randomBytes(32).toString("base64url"),
            revision: 1,
            issuedAt: start,
            deadline: start + 1000,
            latest: start + 1000,
            body: "{}"
          })
        )
        for (let time = 0; time < 2; time++) {
          assert.strictEqual(yield* textOf(browser, "/read", `${name}=${value}`), "0")
        }
        yield* browser.keep(`${name}=${value}; Path=/; Secure`)
        assert.strictEqual(yield* textOf(browser, "/"), "0")
        assert.strictEqual(yield* textOf(browser, "/"), "1")
      })))

  it.effect("X26: the id is one from request to request, and a login's is the one that the next request sees", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        const first = yield* textOf(browser, "/id")
        assert.strictEqual(yield* textOf(browser, "/id"), first)
        assert.strictEqual(yield* textOf(browser, "/id"), first)
        const login = yield* textOf(browser, "/login")
        assert.notStrictEqual(login, first)
        assert.strictEqual(yield* textOf(browser, "/id"), login)
      })))

  it.effect("S46 X27: a session over 4096 bytes with its name is an error before the head leaves, and no cookie", () =>
    browsing({}, sealed, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/note/100")
        for (const path of ["/note/3000", "/note/9000", "/swallowed"]) {
          const answer = yield* browser.get(path)
          assert.strictEqual(answer.status, 503, path)
          assert.deepStrictEqual(answer.setCookies, [])
        }
        // and the session is what it was
        assert.strictEqual((yield* browser.get("/read")).status, 200)
        assert.strictEqual(yield* textOf(browser, "/"), "0")
      })))
})
