import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Redacted, Schema } from "effect"
import { CookieState, HttpMiddleware, Session, SessionField, State } from "effect-session"
import * as SealedStore from "effect-session/SealedStore"
import * as testing from "effect-session/testing"
import { createHash } from "node:crypto"
import { answering, routes } from "./fixtures/http.js"

const name = "__Host-session"
const key = Redacted.make(createHash("sha256").update("chunks").digest("base64"))
const Note = SessionField.make("note", Schema.String, { default: () => "" })

const put = (size: number) => answering(SessionField.set(Note, "x".repeat(size)))

const app = HttpMiddleware.session(routes({
  "/read": answering(Effect.map(SessionField.get(Note), (note) => note.length)),
  "/10": put(10),
  "/3000": put(3000),
  "/6000": put(6000),
  "/8500": put(8500),
  "/9500": put(9500),
  "/logout": answering(Session.destroy)
}))

const browsing = <A, E>(
  options: CookieState.Options,
  test: (browser: testing.Client) => Effect.Effect<A, E>
) =>
  Effect.flatMap(testing.client(app), test).pipe(
    Effect.provide(
      Layer.mergeAll(
        CookieState.layer(options),
        SealedStore.layer({ keys: [key] }),
        Logger.remove(Logger.defaultLogger)
      )
    )
  )

const read = (browser: testing.Client, cookies?: string) =>
  Effect.flatMap(browser.get("/read", { cookies }), (answer) => {
    assert.strictEqual(answer.status, 200)
    return Effect.map(answer.text, Number)
  })

const held = (browser: testing.Client) => Effect.map(browser.cookies, (cookies) => cookies.map((cookie) => cookie.name))

const pieces = (browser: testing.Client) =>
  Effect.map(browser.cookies, (cookies) => cookies.map(({ name, value }) => `${name}=${value}`))

const expired = (answer: testing.Answer): ReadonlyArray<string> =>
  answer.setCookies.filter((line) => line.includes("Max-Age=0")).map((line) => line.split("=")[0]!)

describe("CookieState with chunks", () => {
  it.effect("S46 S55: off by default, a token over one cookie is an error", () =>
    browsing({}, (browser) =>
      Effect.gen(function*() {
        const answer = yield* browser.get("/3000")
        assert.strictEqual(answer.status, 503)
        assert.deepStrictEqual(answer.setCookies, [])
      })))

  it.effect("S55: a small token stays in one cookie", () =>
    browsing({ chunks: true }, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/10")
        assert.deepStrictEqual(yield* held(browser), [name])
        assert.strictEqual(yield* read(browser), 10)
      })))

  it.effect("S46 S55: a long one goes into up to four, none over 4096 bytes, 12 KB in all", () =>
    browsing({ chunks: true }, (browser) =>
      Effect.gen(function*() {
        for (const [size, count] of [[3000, 2], [6000, 3], [8500, 4]] as const) {
          const answer = yield* browser.get(`/${size}`)
          assert.strictEqual(answer.status, 200)
          assert.deepStrictEqual(
            yield* held(browser),
            Array.from({ length: count }, (_, index) => `${name}.${index}`)
          )
          assert.strictEqual(yield* read(browser), size)
          const sizes = (yield* browser.cookies).map((cookie) => cookie.name.length + cookie.value.length)
          assert.isAtMost(Math.max(...sizes), 4096)
          assert.isAtMost(sizes.reduce((sum, size) => sum + size, 0), 12 * 1024)
          for (const line of answer.setCookies) {
            assert.match(line, /; Path=\/; .*Secure|Secure.*Path=\//)
            assert.include(line, "HttpOnly")
            assert.include(line, "SameSite=Lax")
          }
        }
      })))

  it.effect("S55: over that it is an error, before the head leaves, and the session is what it was", () =>
    browsing({ chunks: true }, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/6000")
        const answer = yield* browser.get("/9500")
        assert.strictEqual(answer.status, 503)
        assert.deepStrictEqual(answer.setCookies, [])
        assert.strictEqual(yield* read(browser), 6000)
      })))

  it.effect("S55: pieces that a shorter token leaves behind are expired, and so is the other form", () =>
    browsing({ chunks: true }, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/10")
        const longer = yield* browser.get("/8500")
        assert.deepStrictEqual(expired(longer), [name])
        const shorter = yield* browser.get("/3000")
        assert.deepStrictEqual(expired(shorter), [name, `${name}.2`, `${name}.3`])
        assert.deepStrictEqual(yield* held(browser), [`${name}.0`, `${name}.1`])
        const small = yield* browser.get("/10")
        assert.deepStrictEqual(expired(small), [`${name}.0`, `${name}.1`, `${name}.2`, `${name}.3`])
        assert.deepStrictEqual(yield* held(browser), [name])
        assert.strictEqual(yield* read(browser), 10)
      })))

  it.effect("S25 S27 S55: a logout expires every form", () =>
    browsing({ chunks: true }, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/6000")
        const answer = yield* browser.get("/logout")
        assert.deepStrictEqual(expired(answer), [name, `${name}.0`, `${name}.1`, `${name}.2`, `${name}.3`])
        assert.deepStrictEqual(yield* held(browser), [])
      })))

  it.effect("S55: a piece that is missing, changed, moved, foreign or one too many is a fresh session", () =>
    browsing({ chunks: true }, (browser) =>
      Effect.gen(function*() {
        yield* browser.get("/6000")
        const [first, second, third] = (yield* pieces(browser)) as [string, string, string]
        yield* browser.get("/8500")
        const [otherFirst] = (yield* pieces(browser)) as [string]
        const valueOf = (piece: string) => piece.slice(piece.indexOf("=") + 1)
        const bad = {
          missing: [first, second],
          "missing first": [second, third],
          "missing middle": [first, third],
          changed: [first, `${second.slice(0, -1)}${second.endsWith("A") ? "B" : "A"}`, third],
          moved: [`${name}.0=${valueOf(second)}`, `${name}.1=${valueOf(first)}`, third],
          foreign: [otherFirst, second, third],
          "one too many": [first, second, third, `${name}.3=AAAA`]
        }
        for (const [what, cookies] of Object.entries(bad)) {
          assert.strictEqual(yield* read(browser, cookies.join("; ")), 0, what)
        }
        // in any order, and beside pieces past the fourth, they are the session
        const flood = Array.from({ length: 200 }, (_, index) => `${name}.${index + 4}=AAAA`)
        assert.strictEqual(yield* read(browser, [third, ...flood, first, second].join("; ")), 6000)
      })))

  it.effect("S55: no more is joined than four pieces, whatever is sent", () =>
    Effect.gen(function*() {
      const { transports } = yield* State.State
      const header = Array.from({ length: 1000 }, (_, index) => `${name}.${index}=${"ABCDEFGHIJ"[index % 10]}`)
      const request = { headers: { cookie: header.join("; ") } }
      const tokens = yield* transports[0].extract(request as never)
      assert.deepStrictEqual(tokens.map(Redacted.value), ["ABCD"])
    }).pipe(Effect.provide(CookieState.layer({ chunks: true }))))

  it.effect("S46: under the longest names too, a token has the room of one cookie", () =>
    Effect.gen(function*() {
      for (const length of [14, 2700, 2800, 3069, 3500, 4053]) {
        const options = { name: "n".repeat(length) }
        const [plain] = (yield* CookieState.make(options)).transports
        const [chunked] = (yield* CookieState.make({ ...options, chunks: true })).transports
        assert.isAtLeast(chunked.limit, plain.limit, String(length))
      }
    }))

  it.effect("together with signed it is refused when the layer is built", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(CookieState.make({ chunks: true, signed: { secrets: Redacted.make("secret") } }))
      assert.include(String(error), "leave out chunks or signed")
    }))
})
