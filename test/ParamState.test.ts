import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import type { Tracer } from "effect"
import { Config, ConfigProvider, Effect, Exit, FastCheck as fc, Option, Redacted } from "effect"
import * as HeaderState from "effect-session/HeaderState"
import * as HttpMiddleware from "effect-session/HttpMiddleware"
import * as MemoryStore from "effect-session/MemoryStore"
import * as ParamState from "effect-session/ParamState"
import * as Session from "effect-session/Session"
import * as SessionToken from "effect-session/SessionToken"
import * as State from "effect-session/State"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"

const text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
const ok = HttpServerResponse.text("ok")
const form = "application/x-www-form-urlencoded"

const transport = (options: ParamState.Options = {}): Effect.Effect<State.Transport, unknown> =>
  Effect.map(State.State, (state) => state.transports[0]).pipe(Effect.provide(ParamState.layer(options)))

const request = (url: string, init?: RequestInit) =>
  HttpServerRequest.fromWeb(new Request("http://localhost/", init)).modify({ url })

const extracted = (options: ParamState.Options, url: string, init?: RequestInit) =>
  Effect.gen(function*() {
    const param = yield* transport(options)
    return (yield* param.extract(request(url, init))).map(Redacted.value)
  })

const post = (body: string, type: string = form): RequestInit => ({
  method: "POST",
  body,
  headers: { "content-type": type, cookie: "session=cookie" }
})

describe("ParamState", () => {
  it.effect("S03: of a form full of tokens no more are looked at than are looked up", () =>
    Effect.gen(function*() {
      const generator = yield* SessionToken.Generator
      const form = new URLSearchParams()
      Array.from({ length: 1000 }, () => form.append("session", Redacted.value(SessionToken.draw(generator))))
      let looked = 0
      const store = yield* Store.Store
      const counting = Store.make({
        ...store,
        accepts: (token) => {
          looked += 1
          return store.accepts(token)
        }
      })
      const client = yield* Effect.provideService(
        testing.client(HttpMiddleware.session(Effect.as(Effect.orDie(Session.load), ok))),
        Store.Store,
        counting
      )
      assert.strictEqual((yield* client.post("/", { body: form })).status, 200)
      assert.strictEqual(looked, 4)
    }).pipe(Effect.provide([ParamState.layer({ body: true }), MemoryStore.layer()])))

  describe("C12: a form of many values", () => {
    it.effect("gives the last 16 distinct ones, of the form and of the query", () =>
      Effect.gen(function*() {
        const many = Array.from({ length: 10_000 }, (_, index) => `session=${index}`).join("&")
        const last = Array.from({ length: 16 }, (_, index) => String(9999 - index))
        assert.deepStrictEqual(yield* extracted({ body: true }, "/", post(many)), last)
        assert.deepStrictEqual(yield* extracted({}, `/?${many}`), last)
        assert.deepStrictEqual(yield* extracted({ body: true }, `/?${many}`, post(many)), [...last, ...last])
        const same = "session=a&".repeat(10_000)
        assert.deepStrictEqual(yield* extracted({ body: true }, "/", post(`session=first&${same}session=b`)), [
          "b",
          "a",
          "first"
        ])
      }))

    it.effect("is read no further than needed", () =>
      Effect.gen(function*() {
        let searches = 0
        class Counting extends String {
          override lastIndexOf(text: string, from?: number): number {
            searches += 1
            return super.lastIndexOf(text, from)
          }
        }
        const param = yield* transport({ body: true })
        const asked = {
          method: "POST",
          url: "/",
          headers: { "content-type": form },
          text: Effect.succeed(new Counting(Array.from({ length: 1000 }, (_, index) => `session=${index}`).join("&")))
        }
        assert.lengthOf(yield* param.extract(asked as never), 16)
        assert.strictEqual(searches, 16)
      }))
  })

  it.effect("the query's parameter is read at once", () =>
    Effect.gen(function*() {
      const param = yield* transport()
      assert.isTrue(Exit.isExit(param.extract(request(`/?session=${text}`))))
      assert.isTrue(Exit.isExit(param.extract(request("/"))))
      assert.isTrue(Exit.isExit(param.emit(ok, SessionToken.fromString(text), {
        now: 0,
        endsAt: 1,
        persistent: false,
        attributes: undefined
      })))
    }))

  it.effect.prop("S50: a name is read as URLSearchParams reads it", [
    fc.string({
      unit: fc.constantFrom("s", "S", "%73", "%", "%2", "+", " ", "%20", "é", "%C3%A9", "%c3%A9", "=", "&", "1")
    }),
    fc.constantFrom("s", "%", "s s", "é", "+", "=", "&", "%2", "s%73", "sé")
  ], ([parameters, key]) =>
    Effect.gen(function*() {
      const expected = new Set(new URLSearchParams(`?${parameters}`).getAll(key).reverse())
      assert.deepStrictEqual(
        new Set(yield* extracted({ key, body: true }, "/", post(parameters))),
        expected,
        JSON.stringify(parameters)
      )
    }), { fastCheck: { numRuns: 1000 }, timeout: 120_000 })

  it.effect("X30: the query's parameter, the last first; no cookie is read", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* extracted({}, `/a?session=first&b=1&session=${text}`), [text, "first"])
      assert.deepStrictEqual(yield* extracted({ key: "sid" }, `/a?session=1&sid=2`), ["2"])
      assert.deepStrictEqual(yield* extracted({}, "/session=1", { headers: { cookie: "session=1" } }), [])
      assert.deepStrictEqual(yield* extracted({}, "/?xsession=1&sessionx=1&Session=1"), [])
      assert.deepStrictEqual(yield* extracted({}, "/?a=1#?session=1"), [])
      assert.deepStrictEqual(yield* extracted({}, "/#?session=1"), [])
      assert.deepStrictEqual(yield* extracted({}, "http://elsewhere/x?session=1#y"), ["1"])
      assert.deepStrictEqual(yield* extracted({ key: "a b" }, "/?a+b=1&a%20b=2"), ["2", "1"])
    }))

  it.effect("X30: a form is read only when asked, and beats the query", () =>
    Effect.gen(function*() {
      const init = () => post("session=b1&session=b2")
      assert.deepStrictEqual(yield* extracted({}, "/?session=q", init()), ["q"])
      assert.deepStrictEqual(yield* extracted({ body: true }, "/?session=q1&session=q2", init()), [
        "b2",
        "b1",
        "q2",
        "q1"
      ])
    }))

  it.effect("a body of another type, or of none, is left alone", () =>
    Effect.gen(function*() {
      const read = (type: string) => extracted({ body: true }, "/", post("session=b", type))
      assert.deepStrictEqual(yield* read("text/plain"), [])
      assert.deepStrictEqual(yield* read("application/x-www-form-urlencodedx"), [])
      assert.deepStrictEqual(yield* read(`${form.toUpperCase()} ; charset=utf-8`), ["b"])
      assert.deepStrictEqual(yield* extracted({ body: true }, "/?session=q", { headers: { "content-type": form } }), [
        "q"
      ])
      const left = request("/", post("session=b", "text/plain"))
      yield* (yield* transport({ body: true })).extract(left)
      assert.isFalse((left.source as Request).bodyUsed)
    }))

  it.effect("a handler reads the form after the session did, as text and as parameters", () =>
    Effect.gen(function*() {
      const shared = request("/", post("session=b&n=1"))
      yield* (yield* transport({ body: true })).extract(shared)
      assert.strictEqual(yield* shared.text, "session=b&n=1")
      assert.deepStrictEqual(yield* shared.urlParamsBody, [["session", "b"], ["n", "1"]])
    }))

  it.effect("a body that can't be read holds no token, and the query still counts", () =>
    Effect.gen(function*() {
      const consumed = new Request("http://localhost/", post("session=b"))
      yield* Effect.promise(() => consumed.text())
      const param = yield* transport({ body: true })
      const found = yield* param.extract(HttpServerRequest.fromWeb(consumed).modify({ url: "/?session=q" }))
      assert.deepStrictEqual(found.map(Redacted.value), ["q"])
    }))

  it.effect("X30 S10: never says anything in a response, and needs no Vary", () =>
    Effect.gen(function*() {
      const param = yield* transport()
      const emission: State.Emission = { now: 0, endsAt: 1, persistent: true, attributes: { maxAge: 1 } }
      assert.strictEqual(yield* param.emit(ok, SessionToken.fromString(text), emission), ok)
      assert.strictEqual(param.expire(ok, undefined), ok)
      assert.deepStrictEqual(param.vary, [])
      assert.isFalse(param.persistent)
      assert.strictEqual(param.limit, 2048)
    }))

  it.effect("C17: a token is bound to the key of its parameter", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* transport()).audience, "param:session")
      assert.strictEqual((yield* transport({ key: "SID" })).audience, "param:SID")
    }))

  it.effect("over a bare path, as Node gives it", () =>
    Effect.gen(function*() {
      const param = yield* transport()
      const app = Effect.gen(function*() {
        const tokens = yield* param.extract(yield* HttpServerRequest.HttpServerRequest)
        return HttpServerResponse.text(tokens.map(Redacted.value).join())
      })
      const web = yield* Effect.promise(() =>
        HttpApp.toWebHandler(app)(new Request(`http://localhost/a/b?session=${text}`))
      )
      assert.strictEqual(yield* Effect.promise(() => web.text()), text)
    }))

  for (const key of ["", "a\u0000", "a\r\n", "\u007f", "\ud800"]) {
    it.effect(`S49: the key ${JSON.stringify(key)} is refused when the layer is built`, () =>
      Effect.map(Effect.exit(transport({ key })), (exit) => {
        assert.isTrue(Exit.isFailure(exit), "the layer was built")
        assert.include(String(exit), "write a name")
      }))
  }

  it.effect("layerConfig is held to the same", () =>
    Effect.gen(function*() {
      const layer = ParamState.layerConfig({ key: Config.string("KEY"), body: Config.boolean("BODY") })
      const provide = (key: string) =>
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["KEY", key], ["BODY", "true"]])))
      const state = yield* Effect.provide(State.State, layer).pipe(provide("sid"))
      const found = yield* state.transports[0].extract(request("/?sid=q", post("sid=b")))
      assert.deepStrictEqual(found.map(Redacted.value), ["b", "q"])
      assert.include(
        String(yield* Effect.exit(Effect.provide(State.State, layer)).pipe(provide("\u0000"))),
        "write a name"
      )
    }))

  const strange = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("__proto__", "a".repeat(10_000), "\u0000", "\r\n", "\ud800", "%", "%E0%A4%A", "%zz", "+", "#", "?"),
    fc.string({ unit: fc.constantFrom("%", "session=", "&", "=", "?", "#", "\ud800", "4", "1", "\u0000") })
  )

  it.effect.prop(
    "S03: any value is a candidate or none, and never a failure",
    [strange],
    ([value]) =>
      Effect.gen(function*() {
        for (const body of [false, true]) {
          const found = yield* extracted({ body }, `/?session=${value}`, post(`session=${value}`))
          assert.isTrue(found.every((token) => typeof token === "string"))
          assert.isTrue(Array.isArray(yield* extracted({ body }, value)))
          const [last] = yield* extracted(
            { body: true },
            `/?session=${value}`,
            post(`session=${value}&session=${text}`)
          )
          assert.strictEqual(last, text)
        }
      })
  )

  it.effect.prop("S50: what URLSearchParams writes is read", [
    fc.string({ unit: "grapheme" }),
    fc.string({ unit: "grapheme", minLength: 1 })
  ], ([
    value,
    name
  ]) =>
    Effect.gen(function*() {
      fc.pre(!/[\x00-\x1f\x7f]/.test(name))
      const parameters = new URLSearchParams([["a", "1"], [name, value]]).toString()
      assert.include(yield* extracted({ key: name, body: true }, `/?${parameters}`), value)
      assert.include(yield* extracted({ key: name, body: true }, "/", post(parameters)), value)
    }))

  describe("S07: what is written down", () => {
    it("redact takes the value out, and leaves the rest", () => {
      const cases: ReadonlyArray<readonly [string, string]> = [
        [`/a?session=${text}`, "/a?session=<redacted>"],
        [`session=${text}&b=1`, "session=<redacted>&b=1"],
        [
          `http://localhost/a?b=1&session=${text}&session=2#c`,
          "http://localhost/a?b=1&session=<redacted>&session=<redacted>#c"
        ],
        [`/?%73ession=${text}`, "/?%73ession=<redacted>"],
        ["/?sessions=1&a=session", "/?sessions=1&a=session"],
        ["/session", "/session"],
        ["/?%=1&%E0%A4%A=2", "/?%=1&%E0%A4%A=2"],
        ["", ""]
      ]
      for (const [before, after] of cases) {
        assert.strictEqual(ParamState.redact(before), after)
      }
      assert.strictEqual(ParamState.redact("/?a+b=1&session=2", "a b"), "/?a+b=<redacted>&session=2")
    })

    it.effect.prop("redact leaves nothing that is read", [
      fc.string({ unit: fc.constantFrom("session=", "a=", "?", "&", "#", "x", "%73ession=") })
    ], ([
      url
    ]) =>
      Effect.gen(function*() {
        const found = yield* extracted({}, ParamState.redact(url))
        assert.isTrue(found.every((value) => /^(<redacted>.*)?$/.test(value)), JSON.stringify([url, found]))
      }))

    it.effect("the spans around lose the token when it is read, the platform's server span too", () =>
      Effect.gen(function*() {
        const param = yield* transport()
        const spans: Array<Tracer.AnySpan> = []
        const app = Effect.gen(function*() {
          const inner = yield* Effect.currentSpan
          inner.attribute("n", 1)
          inner.attribute("url.query", `session=${text}`)
          spans.push(inner, ...Option.toArray(inner.parent))
          yield* param.extract(yield* HttpServerRequest.HttpServerRequest)
          return ok
        }).pipe(Effect.withSpan("inner"))
        const http = new Request(`http://localhost/a?b=1&session=${text}`, {
          headers: { referer: `http://localhost/?session=${text}` }
        })
        const runtime = yield* Effect.runtime<never>()
        yield* Effect.promise(() => HttpApp.toWebHandlerRuntime(runtime)(app)(http))
        assert.lengthOf(spans, 2)
        const attributes = spans.flatMap((span) => span._tag === "Span" ? [...span.attributes] : [])
        assert.notInclude(JSON.stringify(attributes), text)
        const values = attributes.map(([, value]) => value)
        assert.includeMembers(values, [
          1,
          "http://localhost/a?b=1&session=<redacted>",
          "b=1&session=<redacted>",
          "http://localhost/?session=<redacted>"
        ])
      }))

    it.effect("the server's span does not name the page that sent a form, nor where a response redirects to", () =>
      Effect.gen(function*() {
        const spans: Array<Tracer.AnySpan> = []
        const app = Effect.gen(function*() {
          spans.push(yield* Effect.currentParentSpan)
          const request = yield* HttpServerRequest.HttpServerRequest
          const [state] = (yield* State.State).transports
          const [token] = request.method === "POST" ? yield* state.extract(request) : []
          return HttpServerResponse.redirect(`/next?session=${token === undefined ? text : Redacted.value(token)}`)
        })
        const layers = [
          ParamState.layer({ body: true }),
          State.orElse(HeaderState.layer(), ParamState.layer({ body: true }))
        ]
        for (const layer of layers) {
          const runtime = yield* Effect.provide(Effect.runtime<State.State>(), layer)
          const handler = HttpApp.toWebHandlerRuntime(runtime)(Effect.orDie(app))
          const headers = { referer: `http://localhost/form?session=${text}` }
          for (
            const init of [{ headers }, { ...post(`session=${text}`), headers: { "content-type": form, ...headers } }]
          ) {
            const response = yield* Effect.promise(() => handler(new Request("http://localhost/", init)))
            assert.strictEqual(response.headers.get("location"), `/next?session=${text}`)
          }
        }
        assert.lengthOf(spans, 4)
        for (const span of spans) {
          const attributes = span._tag === "Span" ? Object.fromEntries(span.attributes) : {}
          assert.strictEqual(attributes["http.response.header.location"], "<redacted>")
          assert.strictEqual(attributes["http.request.header.referer"], "<redacted>")
          assert.notInclude(JSON.stringify(attributes), text)
        }
      }))

    it.effect("without a span there is nothing to do", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* extracted({}, "/?session=1"), ["1"])
      }))
  })
})
