import { Headers, HttpApp, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import type { Layer } from "effect"
import { Config, ConfigProvider, Effect, Exit, FastCheck as fc, FiberRef, Redacted, Tracer } from "effect"
import * as HeaderState from "effect-session/HeaderState"
import * as SessionToken from "effect-session/SessionToken"
import * as State from "effect-session/State"
import { inspect } from "node:util"
import { noStore, vary } from "../src/internal/http/headers.js"
import { replaceBody, setCookie } from "../src/internal/http/response.js"

const text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
const token = SessionToken.fromString(text)
const ok = HttpServerResponse.text("ok")
const emission: State.Emission = { now: 0, endsAt: 3_600_000, persistent: true, attributes: undefined }

const transport = (options: HeaderState.Options = {}): Effect.Effect<State.Transport, unknown> =>
  Effect.map(State.State, (state) => state.transports[0]).pipe(Effect.provide(HeaderState.layer(options)))

const request = (headers: { readonly [name: string]: string }) => {
  const plain = HttpServerRequest.fromWeb(new Request("http://localhost/"))
  return plain.modify({ headers: Headers.fromInput(headers) })
}

const extracted = (options: HeaderState.Options, headers: { readonly [name: string]: string }) =>
  Effect.gen(function*() {
    const header = yield* transport(options)
    return (yield* header.extract(request(headers))).map(Redacted.value)
  })

describe("HeaderState", () => {
  it.effect("by default the bearer token of Authorization, its scheme in any case", () =>
    Effect.gen(function*() {
      for (const value of [`Bearer ${text}`, `bearer ${text}`, `BEARER  ${text}`]) {
        assert.deepStrictEqual(yield* extracted({}, { authorization: value }), [text], value)
      }
      const others = [
        text,
        `Basic ${text}`,
        `Bearer${text}`,
        "Bearer",
        "Bearer ",
        "",
        `Bearer\t${text}`,
        `XBearer ${text}`
      ]
      for (const value of others) {
        assert.deepStrictEqual(yield* extracted({}, { authorization: value }), [], value)
      }
      assert.deepStrictEqual(yield* extracted({}, { "x-session": text }), [])
    }))

  it.effect("another header has no scheme, unless it is given", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* extracted({ header: "X-Session" }, { "x-session": text }), [text])
      assert.deepStrictEqual(yield* extracted({ header: "X-Session" }, { "x-session": `Bearer ${text}` }), [])
      assert.deepStrictEqual(yield* extracted({ header: "X-Session", scheme: "S" }, { "x-session": `s ${text}` }), [
        text
      ])
      assert.deepStrictEqual(yield* extracted({ header: "X-Session", scheme: "S" }, { "x-session": text }), [])
      assert.deepStrictEqual(yield* extracted({ scheme: "Token" }, { authorization: `token ${text}` }), [text])
    }))

  it.effect("S51: two tokens in a header are none", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* extracted({ header: "X-Session" }, { "x-session": `${text}, ${text}` }), [])
      assert.deepStrictEqual(yield* extracted({}, { authorization: `Bearer ${text}, Bearer ${text}` }), [])
    }))

  it.effect("S07: a new token goes out in the same form, for the client to send as it is", () =>
    Effect.gen(function*() {
      const bearer = yield* transport()
      const response = yield* bearer.emit(ok, token, emission)
      assert.strictEqual(response.headers["authorization"], `Bearer ${text}`)
      const own = yield* transport({ header: "X-Session" })
      assert.strictEqual((yield* own.emit(ok, token, emission)).headers["x-session"], text)
      assert.isFalse(own.persistent)
    }))

  it.effect("S27: a removal is the header with nothing in it", () =>
    Effect.gen(function*() {
      const own = yield* transport({ header: "X-Session" })
      const response = own.expire(yield* own.emit(ok, token, emission), undefined)
      assert.strictEqual(response.headers["x-session"], "")
      assert.isTrue(HttpServerResponse.toWeb(response).headers.has("x-session"))
      assert.deepStrictEqual(yield* extracted({ header: "X-Session" }, { "x-session": "" }), [])
    }))

  it.effect("S56: Vary names the header", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* transport()).vary, ["Authorization"])
      assert.deepStrictEqual((yield* transport({ header: "X-Session" })).vary, ["X-Session"])
    }))

  it.effect("C17: a token is bound to the header, named in lower case", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* transport()).audience, "header:authorization")
      assert.strictEqual((yield* transport({ header: "X-Session" })).audience, "header:x-session")
    }))

  it.effect("it answers at once", () =>
    Effect.gen(function*() {
      const bearer = yield* transport()
      assert.isTrue(Exit.isExit(bearer.extract(request({ authorization: `Bearer ${text}` }))))
      assert.isTrue(Exit.isExit(bearer.extract(request({}))))
      assert.isTrue(Exit.isExit(bearer.emit(ok, token, emission)))
    }))

  describe("C19: a response that is printed shows no token", () => {
    const printed = (response: HttpServerResponse.HttpServerResponse) => [
      JSON.stringify(response),
      String(response),
      inspect(response, { depth: 10 }),
      inspect({ nested: [response] }, { depth: 10 })
    ]

    it.effect("and no other header is hidden, whatever is added to it here later", () =>
      Effect.gen(function*() {
        const state = yield* Effect.provide(
          State.State,
          State.orElse(HeaderState.layer({ header: "X-Session" }), HeaderState.layer())
        )
        const [own, bearer] = state.transports
        const before = HttpServerResponse.text("body", { headers: { "x-a": "seen" } })
        const emitted = yield* own.emit(before, token, emission)
        const others = setCookie(noStore(vary(emitted, state.transports)), "a", "1", "1", {})
        const twice = yield* bearer!.emit(others, token, emission)
        for (const response of [emitted, others, twice, replaceBody(twice, 503)]) {
          for (const line of printed(response)) {
            assert.notInclude(line, text)
            assert.include(line, "<redacted>")
            assert.include(line, "seen")
          }
        }
        assert.include(printed(replaceBody(before, 503))[0], "seen")
        assert.isTrue(HttpServerResponse.isServerResponse(twice))
      }))

    it.scopedLive("but the client gets it, from a web handler and from a server of Node", () =>
      Effect.gen(function*() {
        const own = yield* transport({ header: "X-Session" })
        const app = Effect.suspend(() => own.emit(ok, token, emission))
        const web = yield* Effect.promise(() => HttpApp.toWebHandler(app)(new Request("http://localhost/")))
        assert.strictEqual(web.headers.get("x-session"), text)
        yield* HttpServer.serveEffect(app)
        const address = yield* HttpServer.addressWith((address) =>
          Effect.succeed(address._tag === "TcpAddress" ? `http://127.0.0.1:${address.port}` : "")
        )
        const answer = yield* Effect.promise(() => fetch(address))
        assert.strictEqual(answer.headers.get("x-session"), text)
        assert.strictEqual(yield* Effect.promise(() => answer.text()), "ok")
      }).pipe(Effect.provide(NodeHttpServer.layerTest)))
  })

  it.effect("S46: a token beyond the limit, or of other characters, is not sent", () =>
    Effect.gen(function*() {
      const bearer = yield* transport()
      const longest = "a".repeat(bearer.limit)
      const sent = yield* bearer.emit(ok, SessionToken.fromString(longest), emission)
      assert.strictEqual("Authorization".length + (sent.headers["authorization"]?.length ?? 0), 4096)
      for (const value of [`${longest}a`, "a b", "a\r\nset-cookie: b=1", "é", "", "a,b", "\ud800"]) {
        const response = yield* bearer.emit(ok, SessionToken.fromString(value), emission)
        assert.isFalse(Headers.has(response.headers, "authorization"), value)
      }
    }))

  it.effect("a web Response as the body gets the header, even one that can't be written on", () =>
    Effect.gen(function*() {
      const own = yield* transport({ header: "X-Session" })
      const app = Effect.suspend(() =>
        own.emit(HttpServerResponse.raw(Response.redirect("http://localhost/next")), token, emission)
      )
      const web = yield* Effect.promise(() => HttpApp.toWebHandler(app)(new Request("http://localhost/")))
      assert.strictEqual(web.headers.get("x-session"), text)
      assert.strictEqual(web.status, 302)
    }))

  describe("what is refused when the layer is built", () => {
    const refused: ReadonlyArray<readonly [HeaderState.Options, string]> = [
      [{ header: "" }, "not a header name"],
      [{ header: "a b" }, "not a header name"],
      [{ header: "a\r\nb" }, "not a header name"],
      [{ header: "X-Sessioñ" }, "not a header name"],
      [{ header: "Cookie" }, "CookieState.layer()"],
      [{ header: "set-cookie" }, "CookieState.layer()"],
      [{ header: "Content-Length" }, "X-Session"],
      [{ header: "Vary" }, "X-Session"],
      [{ scheme: "" }, "Bearer"],
      [{ scheme: "Bearer " }, "Bearer"],
      [{ header: "x".repeat(2049) }, "2048"]
    ]
    for (const [options, advice] of refused) {
      it.effect(`S49: ${JSON.stringify(options).slice(0, 60)}`, () =>
        Effect.map(Effect.exit(transport(options)), (exit) => {
          assert.isTrue(Exit.isFailure(exit), "the layer was built")
          assert.include(String(exit), "InvalidData")
          assert.include(String(exit), advice)
        }))
    }

    it.effect("layerConfig is held to the same", () =>
      Effect.gen(function*() {
        const layer = HeaderState.layerConfig({ header: Config.string("HEADER") })
        const provide = (value: string) =>
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["HEADER", value]])))
        const state = yield* Effect.provide(State.State, layer).pipe(provide("X-A"))
        assert.strictEqual(state.transports[0].audience, "header:x-a")
        assert.include(
          String(yield* Effect.exit(Effect.provide(State.State, layer)).pipe(provide("Cookie"))),
          "CookieState"
        )
      }))
  })

  describe("S07: the platform's spans", () => {
    const attributes = (layer: Layer.Layer<State.State, unknown>, header: string) =>
      Effect.gen(function*() {
        const ended: Array<Tracer.Span> = []
        const tracer = Tracer.make({
          span: (name, parent, context, links, startTime, kind) => {
            const span = new Span(name, parent, context, [...links], startTime, kind)
            ended.push(span)
            return span
          },
          context: (f) => f()
        })
        const app = Effect.gen(function*() {
          const state = yield* State.State
          const transport = state.transports.find(({ vary }) => vary.includes(header))
          return yield* transport!.emit(ok, token, emission)
        })
        const runtime = yield* Effect.runtime<State.State>().pipe(Effect.provide(layer), Effect.withTracer(tracer))
        const http = new Request("http://localhost/", { headers: { [header]: text } })
        yield* Effect.promise(() => HttpApp.toWebHandlerRuntime(runtime)(app)(http))
        return ended.flatMap((span) => [...span.attributes.entries()])
      })

    class Span implements Tracer.Span {
      readonly _tag = "Span"
      readonly spanId = "1"
      readonly traceId = "1"
      readonly sampled = true
      readonly attributes = new Map<string, unknown>()
      readonly status: Tracer.SpanStatus
      constructor(
        readonly name: string,
        readonly parent: Tracer.Span["parent"],
        readonly context: Tracer.Span["context"],
        readonly links: Array<Tracer.SpanLink>,
        readonly startTime: bigint,
        readonly kind: Tracer.SpanKind
      ) {
        this.status = { _tag: "Started", startTime }
      }
      end(): void {}
      attribute(name: string, value: unknown): void {
        this.attributes.set(name, value)
      }
      event(): void {}
      addLinks(): void {}
    }

    it.effect("print the header as redacted, also behind orElse", () =>
      Effect.gen(function*() {
        const own = HeaderState.layer({ header: "X-Session" })
        for (const layer of [own, State.orElse(HeaderState.layer(), own)]) {
          const found = yield* attributes(layer, "X-Session")
          const names = found.map(([name]) => name)
          assert.include(names, "http.request.header.x-session")
          assert.include(names, "http.response.header.x-session")
          assert.notInclude(JSON.stringify(found), text)
        }
        assert.notInclude(yield* FiberRef.get(Headers.currentRedactedNames), "x-session")
      }))
  })

  it.effect.prop(
    "S03: any value is a candidate or none, and never a failure",
    [
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc.constantFrom("__proto__", "a".repeat(10_000), "\u0000", "\r\n", "\ud800", "%E0%A4%A", ","),
        fc.string({ unit: fc.constantFrom("B", "Bearer ", " ", "a", "=", ",", "\u0000", "\ud800") })
      )
    ],
    ([value]) =>
      Effect.gen(function*() {
        for (const options of [{}, { header: "X-Session" }]) {
          const found = yield* extracted(options, { authorization: value, "x-session": value })
          assert.isAtMost(found.length, 1)
          assert.isTrue(found.every((token) => value.endsWith(token) && /^[!-~]+$/.test(token)))
        }
      })
  )

  it.effect("names that objects have anyway are names like others", () =>
    Effect.gen(function*() {
      for (const header of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
        const state = yield* transport({ header })
        assert.deepStrictEqual(yield* state.extract(request({})), [], header)
      }
    }))
})
