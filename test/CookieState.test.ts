import { HttpApp, HttpBody, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { sign, unsign } from "cookie-signature"
import { Config, ConfigProvider, Context, Effect, Exit, FastCheck as fc, Layer, Redacted, Ref } from "effect"
import * as CookieState from "effect-session/CookieState"
import * as HeaderState from "effect-session/HeaderState"
import * as HttpMiddleware from "effect-session/HttpMiddleware"
import * as MemoryStore from "effect-session/MemoryStore"
import * as Session from "effect-session/Session"
import * as SessionToken from "effect-session/SessionToken"
import * as State from "effect-session/State"
import type * as Store from "effect-session/Store"
import * as rules from "../src/internal/cookie/rules.js"
import * as signature from "../src/internal/crypto/hmac.js"
import { replaceBody, setCookie, unfold } from "../src/internal/http/response.js"

const text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
const token = SessionToken.fromString(text)
const ok = HttpServerResponse.text("ok")
const day = 86_400_000

const transport = (options: CookieState.Options = {}): Effect.Effect<State.Transport, unknown> =>
  Effect.map(State.State, (state) => state.transports[0]).pipe(Effect.provide(CookieState.layer(options)))

const emission = (partial: Partial<State.Emission> = {}): State.Emission => ({
  now: 0,
  endsAt: 3_600_000,
  persistent: false,
  attributes: undefined,
  ...partial
})

const request = (cookie?: string) =>
  HttpServerRequest.fromWeb(
    new Request("http://localhost/", { headers: cookie === undefined ? {} : { cookie } })
  )

/** A header as no client could write it, past the checks of `Request`. */
const rawRequest = (cookie: string) => {
  const plain = request()
  return plain.modify({ headers: { ...plain.headers, cookie } as typeof plain.headers })
}

const setCookies = (response: HttpServerResponse.HttpServerResponse): Array<string> =>
  HttpServerResponse.toWeb(response).headers.getSetCookie()

const emitted = (options: CookieState.Options, partial: Partial<State.Emission> = {}) =>
  Effect.gen(function*() {
    const cookie = yield* transport(options)
    return setCookies(yield* cookie.emit(ok, token, emission(partial)))
  })

const extracted = (options: CookieState.Options, header: string) =>
  Effect.gen(function*() {
    const cookie = yield* transport(options)
    return (yield* cookie.extract(rawRequest(header))).map(Redacted.value)
  })

const refusal = (layer: Layer.Layer<State.State, unknown>) =>
  Effect.map(Effect.exit(Effect.provide(State.State, layer)), (exit) => {
    assert.isTrue(Exit.isFailure(exit), "the layer was built")
    return String(exit)
  })

const host = "__Host-session"

describe("CookieState", () => {
  describe("what is set", () => {
    it.effect("S37 S38 S39 S43 S45 S52: by default a __Host- cookie of the browser's session", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* emitted({}), [`${host}=${text}; Path=/; HttpOnly; Secure; SameSite=Lax`])
      }))

    it.effect("S38: plain HTTP is asked for, and has a name without prefix", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* emitted({ secure: false }), [`session=${text}; Path=/; HttpOnly; SameSite=Lax`])
      }))

    it.effect("S39: a domain or a path of its own makes the default name __Secure-session", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* emitted({ domain: "example.com" }), [
          `__Secure-session=${text}; Domain=example.com; Path=/; HttpOnly; Secure; SameSite=Lax`
        ])
        assert.deepStrictEqual(yield* emitted({ path: "/app" }), [
          `__Secure-session=${text}; Path=/app; HttpOnly; Secure; SameSite=Lax`
        ])
      }))

    it.effect("S44 P24: a partitioned cookie is SameSite=None", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* emitted({ partitioned: true }), [
          `${host}=${text}; Path=/; HttpOnly; Secure; Partitioned; SameSite=None`
        ])
        assert.deepStrictEqual(yield* emitted({ partitioned: true, sameSite: "strict", path: "/foo" }), [
          `__Secure-session=${text}; Path=/foo; HttpOnly; Secure; Partitioned; SameSite=Strict`
        ])
      }))

    it.effect("every option is written", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* emitted({
            name: "id",
            path: "/a",
            domain: "example.com",
            secure: true,
            httpOnly: false,
            sameSite: "strict",
            priority: "high",
            maxAge: "10 minutes"
          }),
          [`id=${text}; Max-Age=600; Domain=example.com; Path=/a; Priority=High; Secure; SameSite=Strict`]
        )
      }))

    it.effect("S22: Max-Age is the shorter of maxAge and the session's end, in whole seconds", () =>
      Effect.gen(function*() {
        const maxAge = (headers: Array<string>) => /Max-Age=(-?\d+)/.exec(headers[0] ?? "")?.[1]
        const options = { maxAge: "10 minutes" } as const
        assert.strictEqual(maxAge(yield* emitted(options, { now: 1000, endsAt: 31_999 })), "30")
        assert.strictEqual(maxAge(yield* emitted(options, { now: 1000, endsAt: 1000 + day })), "600")
        assert.strictEqual(maxAge(yield* emitted(options, { now: 5000, endsAt: 4000 })), "0")
        assert.strictEqual(maxAge(yield* emitted({}, { persistent: true, endsAt: 90_500 })), "90")
        assert.strictEqual(maxAge(yield* emitted({}, { persistent: true, endsAt: 500 * day })), String(400 * 86_400))
        assert.isTrue((yield* transport(options)).persistent)
        assert.isFalse((yield* transport()).persistent)
      }))

    it.effect("P-A: the cookie of a persistent session lasts as long as the session, whatever the layer's maxAge", () =>
      Effect.gen(function*() {
        const maxAge = (headers: Array<string>) => /Max-Age=(-?\d+)/.exec(headers[0] ?? "")?.[1]
        const remembered = { persistent: true, now: 1000, endsAt: 1000 + 30 * day } as const
        for (const options of [{}, { maxAge: "1 day" }, { maxAge: "60 days" }] as const) {
          assert.strictEqual(maxAge(yield* emitted(options, remembered)), String(30 * 86_400))
        }
        const short = { persistent: true, now: 1000, endsAt: 61_000 } as const
        assert.strictEqual(maxAge(yield* emitted({ maxAge: "1 day" }, short)), "60")
        assert.strictEqual(maxAge(yield* emitted({ maxAge: "1 day" }, { now: 0, endsAt: 30 * day })), "86400")
      }))

    it.effect("P-A: but this response's attributes say otherwise", () =>
      Effect.gen(function*() {
        const remembered = { persistent: true, now: 0, endsAt: 30 * day } as const
        const set = (attributes: State.Attributes) =>
          Effect.map(emitted({ maxAge: "1 day" }, { ...remembered, attributes }), ([header]) =>
            (header ?? "").split("; ").filter((part) => /^(Max-Age|Expires)=/.test(part)))
        assert.deepStrictEqual(yield* set({ maxAge: "1 hour" }), ["Max-Age=3600"])
        assert.deepStrictEqual(yield* set({ maxAge: "60 days" }), [`Max-Age=${30 * 86_400}`])
        assert.deepStrictEqual(yield* set({ maxAge: undefined }), [])
        assert.deepStrictEqual(yield* set({ expires: new Date(day) }), ["Expires=Fri, 02 Jan 1970 00:00:00 GMT"])
        assert.deepStrictEqual(yield* set({ expires: new Date(60 * day) }), ["Expires=Sat, 31 Jan 1970 00:00:00 GMT"])
        assert.deepStrictEqual(yield* set({ priority: "low" }), [`Max-Age=${30 * 86_400}`])
        assert.deepStrictEqual(yield* set({ expires: undefined }), [`Max-Age=${30 * 86_400}`])
      }))

    it.effect("S07: a response that is printed shows no token", () =>
      Effect.gen(function*() {
        const cookie = yield* transport()
        const response = yield* cookie.emit(ok, token, emission())
        assert.notInclude(JSON.stringify(response), text)
        assert.notInclude(String(response), text)
        assert.notInclude(String(response.cookies.cookies[host]), text)
        assert.include(JSON.stringify(response), host)
      }))

    it.effect("S46: what doesn't fit a cookie is not sent", () =>
      Effect.gen(function*() {
        const cookie = yield* transport()
        assert.strictEqual(cookie.limit, 4096 - host.length)
        const fits = SessionToken.fromString("a".repeat(cookie.limit))
        const [header] = setCookies(yield* cookie.emit(ok, fits, emission()))
        assert.strictEqual(header?.split(";")[0]?.length, 4096 + 1)
        for (const value of [`a${Redacted.value(fits)}`, "%".repeat(1400), "\ud800"]) {
          assert.deepStrictEqual(setCookies(yield* cookie.emit(ok, SessionToken.fromString(value), emission())), [])
        }
      }))
  })

  describe("what is refused when the layer is built", () => {
    const refused: ReadonlyArray<readonly [string, CookieState.Options, string]> = [
      ["S40: __Host- with a domain", { name: "__Host-a", domain: "example.com" }, "leave domain out"],
      ["S40: __Host- with a path", { name: "__Host-a", path: "/a" }, "path: \\\"/\\\""],
      ["S40: __Host- without Secure", { name: "__Host-a", secure: false }, "secure: true"],
      ["S41: __host- in another case", { name: "__hOST-a", secure: false }, "secure: true"],
      ["S41: __secure- in another case", { name: "__SECURE-a", secure: false }, "secure: true"],
      ["S42: __Http- without Secure", { name: "__Http-a", secure: false }, "secure: true"],
      ["S42: __Http- without HttpOnly", { name: "__http-a", httpOnly: false }, "httpOnly: true"],
      ["S42: __Host-Http- without HttpOnly", { name: "__Host-Http-a", httpOnly: false }, "httpOnly: true"],
      ["S42: __Host-Http- with a path", { name: "__host-http-a", path: "/a" }, "path: \\\"/\\\""],
      ["S43: SameSite=None without Secure", { sameSite: "none", secure: false }, "secure: true"],
      ["S44: Partitioned without Secure", { partitioned: true, secure: false, sameSite: "lax" }, "secure: true"],
      ["S49: an empty name", { name: "" }, "cookie name"],
      ["S49: a name with a control character", { name: "a\u0000" }, "cookie name"],
      ["S49: a name with a semicolon", { name: "a;b" }, "cookie name"],
      ["S49: a name with a line's end", { name: "a\r\nSet-Cookie: b" }, "cookie name"],
      ["S49: a domain with a semicolon", { domain: "a;b" }, "domain"],
      ["S49: a domain with a line's end", { domain: "a\r\nb" }, "domain"],
      ["S49: an empty domain", { domain: "" }, "domain"],
      ["S49: a path with a control character", { path: "/\u0007" }, "path"],
      ["S49: a path beyond ASCII", { path: "/é" }, "path"],
      ["S45: a path that browsers ignore", { path: "app" }, "write \\\"/app\\\""],
      ["S47: a long path", { path: `/${"a".repeat(1024)}` }, "1024 bytes"],
      ["S47: a long domain", { domain: "a".repeat(1025) }, "1024 bytes"],
      ["S46: a name that leaves no room", { name: "a".repeat(4096 - 42) }, "4053 bytes"],
      ["S46: a name that leaves no room for a signature", {
        name: "a".repeat(4000),
        signed: { secrets: Redacted.make("k") }
      }, "bytes"],
      ["S48: a longer life than 400 days", { maxAge: "401 days" }, "400 days"],
      ["S48: an endless life", { maxAge: Infinity }, "400 days"],
      ["S48: no life", { maxAge: 0 }, "1 second"],
      ["S43: an unknown SameSite", { sameSite: "Lax" as "lax" }, "\\\"lax\\\", \\\"strict\\\", \\\"none\\\""],
      ["an unknown priority", { priority: "top" as "high" }, "\\\"low\\\", \\\"medium\\\", \\\"high\\\""],
      ["S59: no secret", { signed: { secrets: [] } }, "Redacted.make"],
      ["S59: an empty secret", { signed: { secrets: [Redacted.make("a"), Redacted.make("")] } }, "Redacted.make"]
    ]
    const noDomain = [
      "http://e.com",
      "https://example.com",
      "//e.com",
      "e.com/",
      "e.com:80",
      "e.com, f.com",
      "e.com,f.com",
      " e.com",
      "e.com ",
      "e .com",
      "com",
      "localhost",
      ".com",
      "..e.com",
      "e..com",
      "e.com.",
      ".",
      "127.0.0.1",
      "1.2",
      "e.0x7f",
      "[::1]",
      "::1",
      "user@e.com",
      "*.e.com",
      "-e.com",
      "e-.com",
      "bücher.example",
      `${"a".repeat(64)}.com`,
      `${"a.".repeat(126)}com`
    ]
    for (const domain of noDomain) {
      it.effect(`C18 N9: the domain ${JSON.stringify(domain).slice(0, 40)}`, () =>
        Effect.gen(function*() {
          const error = String(yield* Effect.flip(CookieState.make({ domain })))
          assert.include(error, "CookieState")
          assert.include(error, "domain")
          assert.include(error, "such as \"example.com\"")
        }))
    }

    it.effect("C18: a host name with a dot is a domain", () =>
      Effect.gen(function*() {
        const names = ["e.com", ".e.com", "E.Com", "a.b.e.com", "xn--bcher-kva.example", "a_b.e.com", "e.1a", "1.2.e"]
        for (const domain of [...names, `${"a".repeat(63)}.com`]) {
          yield* CookieState.make({ domain })
        }
      }))

    for (const [title, options, advice] of refused) {
      it.effect(title, () =>
        Effect.map(refusal(CookieState.layer(options)), (message) => {
          assert.include(message, "InvalidData")
          assert.include(message, advice)
        }))
    }

    it.effect("S40 S41 S42 S46 S48: what keeps the rules is accepted", () =>
      Effect.gen(function*() {
        const accepted: ReadonlyArray<CookieState.Options> = [
          { name: "__Host-Http-a" },
          { name: "__Http-a", path: "/a", domain: "example.com" },
          { name: "__secure-a", path: "/a" },
          { name: "__Hostess", secure: false },
          { name: "a".repeat(4096 - 43) },
          { path: `/${"a".repeat(1023)}` },
          { maxAge: "400 days" },
          { maxAge: "1 second" }
        ]
        for (const options of accepted) {
          yield* transport(options)
        }
      }))

    it.effect("layerConfig reads its options, and is held to the same rules", () =>
      Effect.gen(function*() {
        const layer = CookieState.layerConfig({
          name: Config.string("NAME"),
          maxAge: Config.duration("AGE"),
          signed: { secrets: Config.array(Config.redacted(), "SECRETS") }
        })
        const provide = (entries: ReadonlyArray<readonly [string, string]>) =>
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map(entries)))
        const [state] = (yield* Effect.provide(State.State, layer).pipe(
          provide([["NAME", "id"], ["AGE", "1 day"], ["SECRETS", "a,b"]])
        )).transports
        const [header] = setCookies(yield* state.emit(ok, token, emission()))
        assert.strictEqual(header?.slice(0, header.indexOf(";")), `id=${encodeURIComponent(`s:${sign(text, "a")}`)}`)
        const wrong = yield* Effect.exit(Effect.provide(State.State, layer)).pipe(
          provide([["NAME", "a b"], ["AGE", "1 day"], ["SECRETS", "a"]])
        )
        assert.include(String(wrong), "cookie name")
      }))
  })

  describe("what is read", () => {
    it.effect("S51 X04: all cookies of the name, in order, quoted or not", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* extracted({ secure: false }, `session=bad; other=1; session="${text}"; session=%41`),
          ["bad", text, "A"]
        )
      }))

    it.effect("S51: ten cookies of the same name", () =>
      Effect.gen(function*() {
        const header = Array.from({ length: 10 }, (_, index) => `session=${index}`).join("; ")
        assert.deepStrictEqual(yield* extracted({ secure: false }, header), [..."0123456789"])
      }))

    it.effect("S10: nothing but a cookie of exactly that name", () =>
      Effect.gen(function*() {
        const headers = [
          "",
          ";;;",
          "session",
          "=session",
          "Session=1",
          "session2=1; xsession=1",
          "a=session=1",
          "a; b=\"session=1\"",
          "\u00a0session=1",
          "\u0085session=1",
          "\u2000session=1",
          "\ufeffsession=1",
          "session\u00a0=1"
        ]
        for (const header of headers) {
          assert.deepStrictEqual(yield* extracted({ secure: false }, header), [], JSON.stringify(header))
        }
        assert.deepStrictEqual(yield* extracted({ secure: false }, "session =\t1 "), ["1"])
      }))

    it.effect("S49: names that objects have anyway are names like others", () =>
      Effect.gen(function*() {
        for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
          assert.deepStrictEqual(yield* extracted({ name }, "a=1"), [])
          assert.deepStrictEqual(yield* extracted({ name }, `a=1; ${name}=x; ${name}=y`), ["x", "y"])
          const cookie = yield* transport({ name })
          const response = yield* cookie.emit(yield* HttpServerResponse.setCookie(ok, "a", "1"), token, emission())
          assert.deepStrictEqual(setCookies(response).map((header) => header.split(";")[0]), ["a=1", `${name}=${text}`])
        }
      }))

    it.effect("C17: no cookie header, no candidate; Vary and audience are told", () =>
      Effect.gen(function*() {
        const cookie = yield* transport()
        assert.deepStrictEqual(yield* cookie.extract(request()), [])
        assert.deepStrictEqual(cookie.vary, ["Cookie"])
        assert.strictEqual(cookie.audience, `cookie:${host}`)
      }))

    it.effect("it answers at once", () =>
      Effect.gen(function*() {
        for (const options of [{}, { chunks: true }]) {
          const cookie = yield* transport(options)
          assert.isTrue(Exit.isExit(cookie.extract(request(`${host}=${text}; ${host}.0=a`))))
          assert.isTrue(Exit.isExit(cookie.extract(request())))
          assert.isTrue(Exit.isExit(cookie.emit(ok, token, emission())))
        }
        const signed = yield* transport({ signed: { secrets: Redacted.make("k") } })
        assert.isTrue(Exit.isExit(signed.extract(request("other=1"))))
      }))

    /** A header that counts the characters that a search walks over. */
    const counted = (header: string) => {
      const steps = { walked: 0 }
      class Counting extends String {
        override indexOf(search: string, from = 0): number {
          const at = super.indexOf(search, from)
          steps.walked += (at === -1 ? this.length : at + 1) - from
          return at
        }
        override charCodeAt(index: number): number {
          steps.walked += 1
          return super.charCodeAt(index)
        }
      }
      return { header: new Counting(header) as unknown as string, steps }
    }

    it.effect("C11: a header is walked over in one pass, in one piece and in chunks", () =>
      Effect.gen(function*() {
        for (const options of [{}, { chunks: true }]) {
          const cookie = yield* transport(options)
          for (const unit of [";", "a;", "; ", "a=b;", "=", " ", "a ;", ";=", `${host} =x;`, `${host}=x ;`]) {
            for (const size of [1000, 10_000]) {
              const all = `${unit.repeat(size)}a=b`
              const { header, steps } = counted(all)
              yield* cookie.extract({ headers: { cookie: header } } as never)
              assert.isAtMost(steps.walked, 4 * all.length, `${JSON.stringify(unit)} ${size}`)
            }
          }
        }
      }))

    it.effect("C11: no more than 16 cookies of the name are looked at, and their pieces are still found", () =>
      Effect.gen(function*() {
        const many = Array.from({ length: 1000 }, (_, index) => `${host}=${index}`)
        const first = Array.from({ length: 16 }, (_, index) => String(index))
        assert.deepStrictEqual(yield* extracted({}, many.join(";")), first)
        assert.deepStrictEqual(yield* extracted({ chunks: true }, many.join(";")), first)
        assert.deepStrictEqual(
          yield* extracted({ chunks: true }, [...many, `${host}.1=b`, `${host}.0=a`].join(";")),
          [...first.slice(0, 15), "ab"]
        )
      }))

    const strange = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({
        unit: fc.constantFrom("%", "s", ":", ".", ";", "=", "\"", " ", "\u0000", "\r\n", "\ud800", "é", "4")
      }),
      fc.constantFrom("a".repeat(10_000), "__proto__", "%E0%A4%A", "%", "\"", "\"\"", "s:.", "s:a.b", "\u0000", "\r\n"),
      fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 }).map((units) => String.fromCharCode(...units))
    )

    it.effect.prop(
      "S03 S51: any value is a candidate or none, and never a failure",
      [strange],
      ([value]) =>
        Effect.gen(function*() {
          for (const options of [{ secure: false }, { secure: false, signed: { secrets: Redacted.make("k") } }]) {
            const cookie = yield* transport(options)
            const header = `a=1; session=${value}; session=${text}`
            const tokens = (yield* cookie.extract(rawRequest(header))).map(Redacted.value)
            if (!("signed" in options)) {
              assert.strictEqual(tokens[tokens.length - 1], text)
            } else {
              assert.deepStrictEqual(tokens, [])
            }
            assert.isTrue(Array.isArray(yield* cookie.extract(rawRequest(value))))
          }
        }),
      { fastCheck: { numRuns: 100 } }
    )

    it.effect.prop("S50: what is emitted is read again, whatever it is", [
      fc.string({ unit: "grapheme", maxLength: 60 })
    ], ([
      value
    ]) =>
      Effect.gen(function*() {
        for (const signed of [undefined, { secrets: Redacted.make("k") }]) {
          const cookie = yield* transport({ secure: false, signed })
          const [header] = setCookies(yield* cookie.emit(ok, SessionToken.fromString(value), emission()))
          assert.isDefined(header)
          const tokens = yield* cookie.extract(request(header?.split(";")[0]))
          assert.deepStrictEqual(tokens.map(Redacted.value), [value])
        }
      }))
  })

  describe("other cookies", () => {
    const names = (response: HttpServerResponse.HttpServerResponse) =>
      setCookies(response).map((header) => header.slice(0, header.indexOf("=")))

    it.effect("S54 X13: others stay, and ours is there once, emitted twice or already set by the app", () =>
      Effect.gen(function*() {
        const cookie = yield* transport({ secure: false })
        const response = ok.pipe(
          HttpServerResponse.setHeader("set-cookie", "raw=1; Path=/x"),
          HttpServerResponse.unsafeSetCookie("other", "1", { path: "/y" }),
          HttpServerResponse.unsafeSetCookie("session", "theirs")
        )
        const once = yield* cookie.emit(response, token, emission())
        const twice = yield* cookie.emit(once, token, emission())
        assert.deepStrictEqual(setCookies(twice), setCookies(once))
        assert.sameMembers(setCookies(once), [
          "raw=1; Path=/x",
          "other=1; Path=/y",
          `session=${text}; Path=/; HttpOnly; SameSite=Lax`
        ])
        assert.sameMembers(names(cookie.expire(once, undefined)), ["raw", "other", "session"])
      }))

    it.effect("S54: a raw Set-Cookie of our name gives way", () =>
      Effect.gen(function*() {
        const cookie = yield* transport({ secure: false })
        const plain = HttpServerResponse.empty({
          status: 304,
          headers: { "set-cookie": "session=theirs", "content-type": "text/x", "x-a": "1" }
        })
        const response = yield* cookie.emit(plain, token, emission())
        assert.deepStrictEqual(names(response), ["session"])
        assert.include(setCookies(response)[0], text)
        assert.strictEqual(response.status, 304)
        assert.strictEqual(response.headers["x-a"], "1")
        assert.strictEqual(response.headers["content-type"], "text/x")
        const withBody = yield* cookie.emit(
          HttpServerResponse.text("body", { status: 201, headers: { "set-cookie": "session=theirs" } }),
          token,
          emission()
        )
        const web = HttpServerResponse.toWeb(withBody)
        assert.strictEqual(web.status, 201)
        assert.strictEqual(web.headers.get("content-type"), "text/plain")
        assert.strictEqual(yield* Effect.promise(() => web.text()), "body")
      }))

    const handle = (make: () => Response, method = "GET") =>
      Effect.gen(function*() {
        const cookie = yield* transport({ secure: false })
        const app = Effect.gen(function*() {
          const raw = HttpServerResponse.raw(make(), { headers: { "x-outer": "1" } }).pipe(
            HttpServerResponse.unsafeSetCookie("outer", "1")
          )
          const once = yield* cookie.emit(raw, token, emission())
          return HttpServerResponse.unsafeSetCookie(yield* cookie.emit(once, token, emission()), "late", "1")
        })
        return yield* Effect.promise(() => HttpApp.toWebHandler(app)(new Request("http://localhost/", { method })))
      })

    const full = () => {
      const headers = new Headers({ "x-inner": "1", "content-type": "text/x" })
      headers.append("set-cookie", "inner=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT; Unknown=1")
      headers.append("set-cookie", "inner=2; Path=/elsewhere")
      headers.append("set-cookie", "session=theirs")
      return new Response("body", { status: 202, statusText: "Fine", headers })
    }

    it.effect("S54: a web Response as the body keeps its own cookies, headers, status and body", () =>
      Effect.gen(function*() {
        for (const method of ["GET", "HEAD"]) {
          const web = yield* handle(full, method)
          assert.sameMembers(web.headers.getSetCookie(), [
            "inner=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT; Unknown=1",
            "inner=2; Path=/elsewhere",
            "outer=1",
            `session=${text}; Path=/; HttpOnly; SameSite=Lax`,
            "late=1"
          ])
          assert.strictEqual(web.headers.get("x-inner"), "1")
          assert.strictEqual(web.headers.get("x-outer"), "1")
          assert.strictEqual(web.headers.get("content-type"), "text/x")
          assert.strictEqual(web.status, 202)
          assert.strictEqual(web.statusText, "Fine")
          assert.strictEqual(yield* Effect.promise(() => web.text()), method === "HEAD" ? "" : "body")
        }
      }))

    it.effect("S54: one whose headers can't be written, or that has no body, gets the cookie too", () =>
      Effect.gen(function*() {
        const redirect = yield* handle(() => Response.redirect("http://localhost/next", 303))
        assert.strictEqual(redirect.status, 303)
        assert.strictEqual(redirect.headers.get("location"), "http://localhost/next")
        assert.sameMembers(redirect.headers.getSetCookie().map((header) => header.split("=")[0]), [
          "outer",
          "session",
          "late"
        ])
        const empty = yield* handle(() => new Response(null, { status: 204 }))
        assert.strictEqual(empty.status, 204)
        assert.isNull(empty.body)
      }))

    it.effect("C9: a response whose body is replaced keeps the headers and cookies of others", () =>
      Effect.gen(function*() {
        const cookie = yield* transport({ secure: false })
        const headers = {
          "access-control-allow-origin": "*",
          "content-encoding": "gzip",
          "content-security-policy": "default-src 'self'",
          "cache-control": "max-age=60",
          etag: "\"1\"",
          "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT",
          "set-cookie": "raw=1"
        }
        const native = () => HttpServerResponse.text("body", { status: 201, headers })
        const web = () => HttpServerResponse.raw(new Response("body", { status: 201, headers }))
        for (const response of [native, web]) {
          const emitted = yield* cookie.emit(response(), token, emission())
          const replaced = HttpServerResponse.toWeb(replaceBody(emitted, 503))
          assert.strictEqual(replaced.status, 503)
          assert.strictEqual(yield* Effect.promise(() => replaced.text()), "")
          assert.deepStrictEqual(
            [...replaced.headers].filter(([name]) => name !== "set-cookie").map(([name]) => name),
            ["access-control-allow-origin", "content-security-policy"]
          )
          assert.sameMembers(replaced.headers.getSetCookie().map((line) => line.split("=")[0]), ["raw", "session"])
          assert.strictEqual(HttpServerResponse.toWeb(replaceBody(response(), 503)).headers.get("set-cookie"), "raw=1")
        }
      }))

    it("a web Response that can't be made anew stays as it is", () => {
      const error = HttpServerResponse.raw(Response.error())
      assert.strictEqual(unfold(error), error)
      const node = HttpServerResponse.setBody(ok, HttpBody.raw({ pipe: () => undefined }))
      assert.strictEqual(unfold(node), node)
      const two = setCookie(error, "a", "1", "1", {})
      assert.strictEqual(two.body, error.body)
    })
  })

  describe("removal", () => {
    it.effect("S27 X07 P10: same name, path, domain and flags, empty value, an end in the past", () =>
      Effect.gen(function*() {
        const past = "Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        const cases: ReadonlyArray<readonly [CookieState.Options, string]> = [
          [{}, `${host}=; Max-Age=0; Path=/; ${past}; HttpOnly; Secure; SameSite=Lax`],
          [
            { maxAge: "1 day", signed: { secrets: Redacted.make("k") } },
            `${host}=; Max-Age=0; Path=/; ${past}; HttpOnly; Secure; SameSite=Lax`
          ],
          [
            { domain: "example.com", path: "/a", partitioned: true, httpOnly: false },
            `__Secure-session=; Max-Age=0; Domain=example.com; Path=/a; ${past}; Secure; Partitioned; SameSite=None`
          ]
        ]
        for (const [options, header] of cases) {
          const cookie = yield* transport(options)
          assert.deepStrictEqual(setCookies(cookie.expire(ok, undefined)), [header])
          assert.deepStrictEqual(
            setCookies(cookie.expire(yield* cookie.emit(ok, token, emission()), undefined)),
            [header]
          )
        }
      }))

    it.effect("X08: a life given to this response alone doesn't survive in the removal", () =>
      Effect.gen(function*() {
        const cookie = yield* transport()
        const [header] = setCookies(cookie.expire(ok, { maxAge: "1 hour", expires: new Date(4e12) }))
        assert.include(header, "Max-Age=0;")
        assert.include(header, "Expires=Thu, 01 Jan 1970")
      }))

    it.effect("S25: a browser that got the removal sends no candidate", () =>
      Effect.gen(function*() {
        const cookie = yield* transport()
        const [header] = setCookies(cookie.expire(ok, undefined))
        const tokens = yield* cookie.extract(request(header?.split(";")[0]))
        assert.deepStrictEqual(tokens.filter(SessionToken.isDrawn), [])
      }))
  })

  describe("one response's attributes", () => {
    const configured: CookieState.Options = {
      domain: "example.com",
      name: "id",
      path: "/p",
      secure: true,
      maxAge: "1 hour"
    }
    const both = (options: CookieState.Options, attributes: State.Attributes) =>
      Effect.gen(function*() {
        const cookie = yield* transport(options)
        const [set] = setCookies(yield* cookie.emit(ok, token, emission({ endsAt: day, attributes })))
        const [removed] = setCookies(cookie.expire(ok, attributes))
        const flags = (header = "") => header.split("; ").slice(1).filter((part) => !/^(Max-Age|Expires)=/.test(part))
        assert.deepStrictEqual(flags(set), flags(removed))
        return set?.slice(set.indexOf("; ") + 2)
      })

    it.effect("P17: without any, those of the layer", () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* both(configured, {}),
          "Max-Age=3600; Domain=example.com; Path=/p; HttpOnly; Secure; SameSite=Lax"
        )
      }))

    it.effect("P18 P23: path and domain are replaced, the others stay", () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* both(configured, { path: "/foo", domain: "b.example.com" }),
          "Max-Age=3600; Domain=b.example.com; Path=/foo; HttpOnly; Secure; SameSite=Lax"
        )
      }))

    it.effect("P19: a date is kept, in place of the age, and false stays false", () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* both(configured, { expires: new Date(1000), secure: false, partitioned: false }),
          "Domain=example.com; Path=/p; Expires=Thu, 01 Jan 1970 00:00:01 GMT; HttpOnly; SameSite=Lax"
        )
      }))

    it.effect("S22: a date later than the session's end is cut to it", () =>
      Effect.gen(function*() {
        assert.include(yield* both(configured, { expires: new Date(9 * day) }), "Expires=Fri, 02 Jan 1970 00:00:00 GMT")
      }))

    it.effect("P20 P21: partitioned forces Secure and SameSite=None", () =>
      Effect.gen(function*() {
        const forced = "Path=/; HttpOnly; Secure; Partitioned; SameSite=None"
        assert.strictEqual(yield* both({ name: "id" }, { partitioned: true, secure: false, sameSite: "lax" }), forced)
        assert.strictEqual(yield* both({ name: "id", partitioned: true }, { secure: false }), forced)
      }))

    it.effect("P22 P24: present but undefined takes the attribute away", () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* both({ name: "id" }, { path: undefined, domain: "example.com", secure: undefined }),
          "Domain=example.com; HttpOnly; SameSite=Lax"
        )
        assert.strictEqual(
          yield* both({ name: "id", partitioned: true, domain: "example.com" }, { path: undefined }),
          "Domain=example.com; HttpOnly; Secure; Partitioned; SameSite=None"
        )
      }))

    it.effect("P22: an age taken away leaves a cookie of the browser's session, whatever the session asked", () =>
      Effect.gen(function*() {
        const cookie = yield* transport(configured)
        const attributes = { maxAge: undefined }
        const [header] = setCookies(yield* cookie.emit(ok, token, emission({ persistent: true, attributes })))
        assert.notInclude(header, "Max-Age")
        assert.notInclude(header, "Expires")
      }))
  })

  describe("signed", () => {
    const one = { secure: false, signed: { secrets: Redacted.make("keyboard cat") } } as const
    const value = (headers: Array<string>) => /^session=([^;]*)/.exec(headers[0] ?? "")?.[1] ?? ""

    it.effect("S58: what is set is read by cookie-signature, percent-encoded as Express writes it", () =>
      Effect.gen(function*() {
        const header = yield* emitted(one)
        const wire = value(header)
        assert.isTrue(wire.startsWith("s%3A"))
        assert.strictEqual(unsign(decodeURIComponent(wire).slice(2), "keyboard cat"), text)
      }))

    it.effect.prop(
      "S58: what cookie-signature signs is read, with any secret and value",
      [fc.string({ unit: "grapheme", minLength: 1 }), fc.string({ unit: "grapheme" })],
      ([secret, token]) =>
        Effect.gen(function*() {
          const options = { secure: false, signed: { secrets: Redacted.make(secret) } }
          const header = `session=${encodeURIComponent(`s:${sign(token, secret)}`)}`
          assert.deepStrictEqual(yield* extracted(options, header), [token])
        })
    )

    it.effect("S59: the first secret signs, all verify, others don't", () =>
      Effect.gen(function*() {
        const options = { secure: false, signed: { secrets: [Redacted.make("new"), Redacted.make("old")] } }
        assert.strictEqual(unsign(decodeURIComponent(value(yield* emitted(options))).slice(2), "new"), text)
        const header = ["foreign", "old", "new"].map((secret) => `session=s:${sign(secret, secret)}`).join("; ")
        assert.deepStrictEqual(yield* extracted(options, header), ["old", "new"])
      }))

    it.effect("C11: the first 16 cookies of the name are verified, and no other", () =>
      Effect.gen(function*() {
        const good = `session=s:${sign(text, "keyboard cat")}`
        const bad = Array.from({ length: 1000 }, () => "session=s:a.b")
        assert.deepStrictEqual(yield* extracted(one, [...bad.slice(0, 15), good, good].join(";")), [text])
        assert.deepStrictEqual(yield* extracted(one, [...bad.slice(0, 16), good].join(";")), [])
        const all = Array.from({ length: 100 }, () => good)
        assert.lengthOf(yield* extracted(one, all.join(";")), 16)
      }))

    it.effect("S59: a cookie that an older secret signed is outdated, one of the first is not", () =>
      Effect.gen(function*() {
        const secrets = ["new", "old", "older"].map((secret) => Redacted.make(secret))
        const cookie = yield* transport({ secure: false, signed: { secrets } })
        const cookies = ["old", "new", "older", "foreign"].map((secret) => `session=s:${sign(secret, secret)}`)
        const tokens = yield* cookie.extract(request(cookies.join("; ")))
        assert.deepStrictEqual(
          tokens.map((token) => [Redacted.value(token), cookie.outdated?.(token)]),
          [["old", true], ["new", false], ["older", true]]
        )
        assert.isFalse(cookie.outdated?.(SessionToken.fromString("old")))
        assert.isUndefined((yield* transport()).outdated)
      }))

    it.effect("S60: unsigned, cut, lengthened or altered is no candidate", () =>
      Effect.gen(function*() {
        const good = `s:${sign(text, "keyboard cat")}`
        assert.deepStrictEqual(yield* extracted(one, `session=${good}`), [text])
        const bad = [
          text,
          `s:${text}`,
          `s:${text}.`,
          good.slice(2),
          good.slice(0, -1),
          `${good}=`,
          `${good}A`,
          `S${good.slice(1)}`,
          good.replace("s:A", "s:B"),
          good.slice(0, -1) + (good.endsWith("A") ? "B" : "A"),
          "s:",
          "s:.",
          ""
        ]
        for (const wrong of bad) {
          assert.deepStrictEqual(yield* extracted(one, `session=${wrong}`), [], wrong)
        }
      }))

    it.effect("S46: the room for a token is less by the longest signature", () =>
      Effect.gen(function*() {
        const cookie = yield* transport(one)
        const longest = SessionToken.fromString("a".repeat(cookie.limit))
        const [header = ""] = setCookies(yield* cookie.emit(ok, longest, emission()))
        assert.isAtMost(header.split(";")[0]?.length ?? 0, 4096 + 1)
      }))

    it.effect("S58: WebCrypto signs as Node does", () =>
      Effect.gen(function*() {
        for (const secret of ["k", "é".repeat(100)]) {
          const web = signature.signWeb(secret)
          for (const text of ["", "a", "\ud83d\ude00"]) {
            const made = yield* web(text)
            assert.strictEqual(made, sign(text, secret).slice(text.length + 1))
            assert.strictEqual(made, yield* signature.sign(secret)(text))
          }
        }
      }))

    it("S58: the comparison takes texts of any length", () => {
      assert.isTrue(signature.same("abc", "abc"))
      assert.isTrue(signature.same("", ""))
      for (const wrong of ["", "ab", "abcd", "abd", "\u0000bc", "abc\u0000"]) {
        assert.isFalse(signature.same(wrong, "abc"), wrong)
      }
    })
  })

  describe("attributes in a request", () => {
    type App<S = Session.Session> = HttpApp.Default<unknown, S>

    const handle = (layer: Layer.Layer<State.State, unknown>, app: App, headers: Record<string, string> = {}) =>
      Effect.gen(function*() {
        const runtime = yield* Effect.runtime<State.State | Store.Store>()
        const handler = HttpApp.toWebHandlerRuntime(runtime)(HttpMiddleware.session(app))
        return yield* Effect.promise(() => handler(new Request("http://localhost/", { headers })))
      }).pipe(Effect.provide([layer, MemoryStore.layer()]))

    const login = Effect.flatMap(Session.Session, Ref.update((data) => ({ ...data, n: 1 })))
    const answering = (effect: Effect.Effect<unknown, unknown, Session.Session>): App => Effect.as(effect, ok)
    const flags = (response: Response) =>
      response.headers.getSetCookie().map((header) => header.slice(header.indexOf(";") + 2))

    it.effect("P18 P22 P23: they are written into this response's cookie, and of several calls the later add", () =>
      Effect.gen(function*() {
        const app = Effect.all([
          login,
          CookieState.attributes({ path: "/foo", domain: "example.com" }),
          CookieState.attributes({ domain: undefined, priority: "low" })
        ])
        const response = yield* handle(CookieState.layer({ name: "id" }), answering(app))
        assert.deepStrictEqual(flags(response), ["Path=/foo; Priority=Low; HttpOnly; Secure; SameSite=Lax"])
      }))

    it.effect("P20: partitioned forces Secure and SameSite=None", () =>
      Effect.gen(function*() {
        const app = Effect.all([login, CookieState.attributes({ partitioned: true, secure: false })])
        const response = yield* handle(CookieState.layer({ name: "id", secure: false }), answering(app))
        assert.deepStrictEqual(flags(response), ["Path=/; HttpOnly; Secure; Partitioned; SameSite=None"])
      }))

    it.effect("S22: a life for this response is no longer than the session's", () =>
      Effect.gen(function*() {
        const app = Effect.all([login, CookieState.attributes({ maxAge: "400 days" })])
        const response = yield* handle(CookieState.layer(), answering(app))
        assert.deepStrictEqual(flags(response), ["Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax"])
      }))

    it.effect("X07 X08: a removal has the same path and domain, and no life", () =>
      Effect.gen(function*() {
        const layer = CookieState.layer({ name: "id" })
        const app = Effect.all([
          login,
          Session.commit,
          CookieState.attributes({ path: "/foo", domain: "example.com", maxAge: "1 hour" }),
          Session.destroy
        ])
        // Only a request that carries a cookie is told to forget it.
        const response = yield* handle(layer, answering(app), { cookie: "id=unknown" })
        assert.deepStrictEqual(response.headers.getSetCookie(), [
          "id=; Max-Age=0; Domain=example.com; Path=/foo; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax"
        ])
      }))

    it.effect("S40 S43 S44 S47 S48 S49: what a browser would drop is refused, and changes nothing", () =>
      Effect.gen(function*() {
        const wrong: ReadonlyArray<State.Attributes> = [
          { path: "/foo" },
          { path: undefined },
          { domain: "example.com" },
          { secure: undefined },
          { secure: false },
          { sameSite: "none", secure: false },
          { path: "/\r\n" },
          { domain: "http://e.com" },
          { maxAge: "401 days" },
          { expires: new Date(NaN) }
        ]
        for (const attributes of wrong) {
          let refused = ""
          const app = Effect.gen(function*() {
            yield* login
            refused = String(yield* Effect.flip(CookieState.attributes(attributes)))
          })
          const response = yield* handle(CookieState.layer(), answering(app))
          assert.include(refused, "CookieState")
          assert.include(refused, "write", JSON.stringify(attributes))
          assert.deepStrictEqual(flags(response), ["Path=/; HttpOnly; Secure; SameSite=Lax"])
        }
      }))

    it.effect("C18: a domain that is no host name is refused", () =>
      Effect.gen(function*() {
        for (const domain of ["http://e.com", "e.com:80", "e.com, f.com", " e.com", "com", "127.0.0.1"]) {
          let refused = ""
          const app = Effect.gen(function*() {
            yield* login
            refused = String(yield* Effect.flip(CookieState.attributes({ domain })))
          })
          const response = yield* handle(CookieState.layer({ name: "id" }), answering(app))
          assert.include(refused, "domain")
          assert.include(refused, "such as \"example.com\"")
          assert.deepStrictEqual(flags(response), ["Path=/; HttpOnly; Secure; SameSite=Lax"])
        }
      }))

    it.effect("P-A: Session.expireIn makes the cookie last, whatever the layer's maxAge", () =>
      Effect.gen(function*() {
        const layer = CookieState.layer({ name: "id", maxAge: "1 day" })
        const remember = Effect.all([login, Session.expireIn("30 days")])
        const age = (response: Response) => Number(/Max-Age=(\d+)/.exec(flags(response)[0] ?? "")?.[1])
        assert.strictEqual(age(yield* handle(layer, answering(remember))), 30 * 86_400)
        const hour = Effect.zipRight(remember, CookieState.attributes({ maxAge: "1 hour" }))
        assert.strictEqual(age(yield* handle(layer, answering(hour))), 3600)
      }))

    it.effect("S43: rules are those of all calls together", () =>
      Effect.gen(function*() {
        const app = Effect.gen(function*() {
          yield* login
          yield* CookieState.attributes({ sameSite: "none" })
          return yield* Effect.flip(CookieState.attributes({ secure: false }))
        })
        const response = yield* handle(CookieState.layer({ name: "id" }), answering(app))
        assert.deepStrictEqual(flags(response), ["Path=/; HttpOnly; Secure; SameSite=None"])
      }))

    it.effect("S40: a cookie that isn't the first state is held to its rules, before anything is read too", () =>
      Effect.gen(function*() {
        const layer = State.orElse(HeaderState.layer(), CookieState.layer())
        let first: unknown
        const app = Effect.gen(function*() {
          first = yield* Effect.flip(CookieState.attributes({ path: "/foo" }))
          yield* login
          yield* CookieState.attributes({ priority: "high" })
        })
        const response = yield* handle(layer, answering(app))
        assert.include(String(first), "write path")
        assert.deepStrictEqual(response.headers.getSetCookie(), [])
        assert.match(response.headers.get("authorization") ?? "", /^Bearer .{43}$/)
      }))

    it.effect("they set no cookie by themselves", () =>
      Effect.gen(function*() {
        const response = yield* handle(CookieState.layer(), answering(CookieState.attributes({ priority: "high" })))
        assert.deepStrictEqual(response.headers.getSetCookie(), [])
      }))

    it.effect("a session without HTTP takes them", () =>
      Effect.provide(CookieState.attributes({ priority: "high" }), Session.layerTest()))

    it.scoped("a named session has its own", () =>
      Effect.gen(function*() {
        class Admin extends Session.Tag<Admin>()("admin") {}
        const admin = yield* Layer.build(HttpMiddleware.layerSession(
          Admin,
          Layer.merge(CookieState.layer({ name: "__Host-admin" }), MemoryStore.layer())
        ))
        const app = Effect.gen(function*() {
          yield* login
          yield* Effect.flatMap(Admin, (session) => Ref.set(session, { n: 1 }))
          yield* CookieState.attributes({ sameSite: "strict" }, Admin)
          yield* Effect.flip(CookieState.attributes({ path: "/a" }, Admin))
          yield* CookieState.attributes({ path: "/a" })
          return ok
        })
        const response = yield* handle(
          CookieState.layer({ name: "id" }),
          Effect.provide(HttpMiddleware.sessionOf(Admin)(app), admin)
        )
        assert.sameMembers(
          response.headers.getSetCookie().map((header) => header.replace(/=[^;]{43};/, "=;")),
          ["id=; Path=/a; HttpOnly; Secure; SameSite=Lax", "__Host-admin=; Path=/; HttpOnly; Secure; SameSite=Strict"]
        )
      }))
  })

  it.effect("several layers don't know of each other", () =>
    Effect.gen(function*() {
      const both = yield* Effect.provide(
        Effect.context<State.State>(),
        State.orElse(CookieState.layer({ name: "a" }), CookieState.layer({ name: "b" }))
      )
      const [first, second] = Context.get(both, State.State).transports
      assert.strictEqual(first.audience, "cookie:a")
      assert.strictEqual(second?.audience, "cookie:b")
      const response = yield* second!.emit(yield* first.emit(ok, token, emission()), token, emission())
      assert.lengthOf(setCookies(response), 2)
    }))

  it("rules.check: an invalid date is refused", () => {
    assert.include(rules.check("a", { expires: new Date(NaN) }, 43)?.message, "maxAge")
  })
})
