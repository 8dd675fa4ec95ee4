/**
 * What an attacker, a broken client or a hasty configuration gives: any text where a token belongs, ids that nobody
 * issued, several at once, and the failures that other libraries had to publish advisories for.
 */
import { NodeContext } from "@effect/platform-node"
import * as Headers from "@effect/platform/Headers"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  ConfigError,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Option,
  Random,
  Redacted,
  Ref,
  Schema,
  Stream,
  TestClock,
  Tracer
} from "effect"
import {
  CacheStore,
  CookieState,
  FileStore,
  HeaderState,
  HttpMiddleware,
  MemoryStore,
  ParamState,
  Session,
  SessionField,
  SessionPolicy,
  SessionToken,
  State,
  Store,
  StoreBackend
} from "effect-session"
import * as testing from "effect-session/testing"
import * as path from "node:path"
import { inspect } from "node:util"
import * as filestore from "./fixtures/filestore.js"
import { quietly } from "./fixtures/http.js"
import * as plack from "./support/plack.js"

const { put } = plack

const nasty = [
  "",
  " ",
  "\u0000",
  "\r\n",
  "a\r\nset-cookie: admin=1",
  "x".repeat(10_000),
  "%".repeat(10_000),
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "../wrong",
  "../../../../etc/passwd",
  "..\\..\\boot.ini",
  "/etc/passwd",
  "file:///etc/passwd",
  "\ud800",
  "\udfff\ud800",
  "%",
  "%E0%A4%A",
  "%00",
  "%2e%2e%2f",
  "%ud800",
  "\"",
  "\"\"",
  ";;;===",
  "null",
  "undefined",
  "NaN",
  "[object Object]",
  "{\"id\":1}",
  "' OR 1=1 --",
  "set x 0 0 5",
  "${jndi:ldap://x}",
  "A".repeat(42),
  "A".repeat(44),
  `${"A".repeat(42)}B`,
  `${"A".repeat(43)}\n`,
  `${"A".repeat(43)}\u0000`,
  `${"A".repeat(42)}%`,
  `${"A".repeat(41)}..`,
  `${"A".repeat(42)}É`
]

const anyText = FastCheck.oneof(
  FastCheck.constantFrom(...nasty),
  FastCheck.string(),
  FastCheck.fullUnicodeString(),
  FastCheck.string16bits(),
  FastCheck.tuple(FastCheck.constantFrom(...nasty), FastCheck.string16bits()).map((parts) => parts.join("")),
  FastCheck.stringMatching(/^[A-Za-z0-9_-]{40,46}$/).filter((text) => !/^[\w-]{42}[AEIMQUYcgkosw048]$/.test(text))
)

/** The request with a header or a URL that no well-behaved client can send, behind the server's parser. */
const withRaw =
  (raw: { readonly cookie?: string; readonly url?: string }) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.updateService(app, HttpServerRequest.HttpServerRequest, (request) =>
      request.modify({
        url: raw.url ?? request.url,
        ...(raw.cookie === undefined ? undefined : { headers: Headers.fromInput({ cookie: raw.cookie }) })
      }))

/** Each place where a text can stand, raw and encoded. */
const placements = (carrier: plack.Carrier, text: string) => {
  const wellFormed = encodeURIComponent(Buffer.from(text).toString())
  const texts = [text, wellFormed, `"${text}"`]
  return carrier.name === "cookie"
    ? [text, ...texts.map((value) => `__Host-session=${value}`), `a=${text}; __Host-session=${text}; ${text}=b`]
      .map((cookie) => ({ cookie }))
    : [`/?${text}`, text, ...texts.map((value) => `/?session=${value}`), `/?${text}=1&session=${text}&${text}`]
      .map((url) => ({ url }))
}

/** Runs a handler for a request with raw input, and gives the answer and what the handler gave. */
const rawVisit = <A>(
  raw: { readonly cookie?: string; readonly url?: string },
  handler: Effect.Effect<A, never, Session.Session>
) =>
  Effect.gen(function*() {
    let value = Option.none<A>()
    const app = Effect.as(
      Effect.tap(handler, (made) =>
        Effect.sync(() => {
          value = Option.some(made)
        })),
      HttpServerResponse.empty()
    )
    const client = yield* testing.client(withRaw(raw)(HttpMiddleware.session(app)))
    const answer = yield* client.get("/")
    return { answer, value: Option.getOrUndefined(value) }
  })

for (const carrier of plack.carriers) {
  describe(`any text, as ${carrier.name}`, () => {
    it.effect("S03: a fresh session, status 200, no cookie, no store call", () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const runtime = yield* Effect.runtime<State.State | Store.Store>()
        const property = FastCheck.asyncProperty(anyText, (text) =>
          Effect.gen(function*() {
            for (const raw of placements(carrier, text)) {
              const { answer, value } = yield* rawVisit(raw, plack.dump)
              assert.strictEqual(answer.status, 204)
              assert.deepStrictEqual(value, {})
              assert.deepStrictEqual(answer.setCookies, [])
              assert.deepStrictEqual(yield* controls.calls, [])
            }
          }).pipe(Effect.provide(runtime), Effect.runPromise))
        yield* Effect.promise(() =>
          FastCheck.assert(property, { numRuns: 150, examples: nasty.map((text): [string] => [text]) })
        )
      }).pipe(Effect.provide(Layer.merge(carrier.layer(), plack.memory.layer))), 60_000)

    it.scoped(
      "S03: no path outside the folder is touched, whatever is sent and then written",
      () =>
        Effect.gen(function*() {
          const directory = yield* filestore.folder
          const calls: Array<filestore.Call> = []
          const store = yield* filestore.open(directory, { around: filestore.recording(calls) })
          const state = yield* Layer.build(carrier.layer())
          const property = FastCheck.asyncProperty(anyText, (text) =>
            Effect.gen(function*() {
              for (const raw of placements(carrier, text).slice(1, 3)) {
                const { answer } = yield* rawVisit(raw, put({ n: 1 }))
                assert.strictEqual(answer.status, 204)
              }
            }).pipe(Effect.provide(state), Effect.provideService(Store.Store, store), Effect.runPromise))
          yield* Effect.promise(() =>
            FastCheck.assert(property, { numRuns: 10, examples: nasty.map((text): [string] => [text]) })
          )
          assert.isAbove(calls.length, 0)
          for (const touched of calls.flatMap(({ paths }) => paths)) {
            const relative = path.relative(directory, touched)
            assert.match(relative, /^(?:[\w.-]+)?$/, touched)
            assert.notMatch(relative, /^\.\.(?:$|\/)/, touched)
          }
        }),
      60_000
    )

    for (const kind of plack.kinds) {
      it.effect(
        `S04 S35: ${kind.name}: 1000 random ids and 1000 anonymous logouts leave no record`,
        () =>
          Effect.gen(function*() {
            const controls = yield* testing.Controls
            const behind = yield* plack.Behind
            const visit = yield* plack.visitor(carrier)
            const generator = yield* SessionToken.Generator
            const before = behind.keys()
            const random = () => Redacted.value(SessionToken.draw(generator))
            for (let i = 0; i < 1000; i++) {
              assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [random()] })).value, {})
              const logout = yield* visit(Session.destroy, { tokens: i % 2 === 0 ? [] : [random()] })
              assert.strictEqual(logout.answer.status, 200)
              assert.isUndefined(logout.token)
            }
            const methods = new Set(yield* controls.methods)
            assert.deepStrictEqual([...methods], ["load"])
            assert.deepStrictEqual(behind.keys(), before)
          }).pipe(Effect.provide(Layer.merge(carrier.layer(), kind.layer))),
        60_000
      )

      it.effect(`S05: ${kind.name}: a renewal to a token that is in use fails, and the session is whole`, () =>
        Effect.gen(function*() {
          const visit = yield* plack.visitor(carrier)
          const token = yield* plack.begin(visit, { user: "ann" })
          const renewed = yield* visit(Effect.zipRight(Session.renew, put({ user: "eve" })), { tokens: [token] })
          assert.strictEqual(renewed.answer.status, 503)
          assert.deepStrictEqual(renewed.answer.setCookies, [])
          assert.deepStrictEqual(yield* plack.stored(token), { user: "ann" })
        }).pipe(
          Effect.provideService(SessionToken.Generator, (size) => new Uint8Array(size)),
          quietly,
          Effect.provide(Layer.merge(carrier.layer(), kind.layer))
        ))

      if (kind.text) {
        it.effect(`S06: ${kind.name}: what is kept has no text in it that a client could send`, () =>
          Effect.gen(function*() {
            const behind = yield* plack.Behind
            const visit = yield* plack.visitor(carrier)
            const one = yield* plack.begin(visit, { n: 1 })
            const two = yield* plack.begin(visit, { n: 2 })
            const three = plack.tokenOf(yield* visit(Session.renew, { tokens: [two], link: true }))
            yield* visit(Session.destroy, { tokens: [one] })
            const kept = behind.dump()
            assert.include(kept, plack.idOf(three), "it is kept by its hash")
            for (const token of [one, two, three]) {
              assert.notInclude(kept, token)
              assert.notInclude(kept, token.slice(0, 20))
              assert.notInclude(kept, Buffer.from(token).toString("base64").slice(0, 20))
            }
          }).pipe(Effect.provide(Layer.merge(carrier.layer(), kind.layer))))
      }
    }

    it.effect("S07: no log line, span, error or printed value has a token or a session's data in it", () =>
      Effect.gen(function*() {
        const said: Array<string> = []
        const logger = Logger.make((options) => {
          said.push(Logger.stringLogger.log(options), Logger.jsonLogger.log(options), inspect(options.message))
        })
        const tracer = Tracer.make({
          context: (f) => f(),
          span: (name, parent, context, links, startTime, kind, options) => {
            const attributes = new Map<string, unknown>(Object.entries(options?.attributes ?? {}))
            spans.push({ name, attributes })
            return {
              _tag: "Span",
              spanId: String(spans.length),
              traceId: "trace",
              name,
              parent,
              context,
              links,
              kind,
              sampled: true,
              status: { _tag: "Started", startTime },
              attributes,
              attribute: (key, value) => {
                attributes.set(key, value)
              },
              event: (event, _time, more) => {
                attributes.set(`event ${event}`, more)
              },
              addLinks: () => {},
              end: (_time, exit) => {
                attributes.set("exit", Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "ok")
              }
            }
          }
        })
        const spans: Array<{ readonly name: string; readonly attributes: ReadonlyMap<string, unknown> }> = []
        const secret = "the-data-of-ann"
        const Secret = SessionField.make("secret", Schema.String)
        const tokens: Array<string> = []

        yield* Effect.gen(function*() {
          const controls = yield* testing.Controls
          const visit = yield* plack.visitor(carrier)
          const print = Effect.gen(function*() {
            const session = yield* Session.Session
            const token = yield* Effect.exit(Session.token)
            const outcome = yield* Session.outcome
            const printed = [session, Secret, SessionField.option(Secret), token, outcome]
            yield* Effect.log(printed, String(session), String(Secret), JSON.stringify(printed), inspect(printed))
          })
          const visited = function*(handler: Effect.Effect<unknown, unknown, Session.Session>, link = false) {
            const { answer, token } = yield* visit(handler, { tokens: tokens.slice(-1), link })
            said.push(JSON.stringify([...answer.headers].filter(([name]) => name !== "set-cookie")))
            tokens.push(...token === undefined ? [] : [token])
          }
          yield* visited(put({ secret }), true)
          yield* visited(print)
          yield* visited(Effect.zipRight(Session.renew, put({ secret, n: 1 })), true)
          for (const method of ["load", "update"] as const) {
            yield* controls.fail(method)
            yield* visited(put({ secret, method }))
            yield* controls.die(method)
            yield* visited(put({ secret, and: method }))
          }
          yield* visited(put({ secret: () => secret } as never))
          yield* visited(Effect.zipRight(plack.dump, Effect.fail(new Error("boom"))))
          yield* controls.fail("remove")
          yield* visited(Session.destroy)
          yield* visited(Session.destroy)
          yield* visited(put({ secret }))
          yield* visited(Session.reload)
        }).pipe(
          Logger.withMinimumLogLevel(LogLevel.All),
          Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
          Effect.withTracer(tracer),
          Effect.withSpan("the test")
        )

        assert.isAbove(said.length, 20)
        assert.isAtLeast(tokens.length, 2)
        const all = [...said, ...spans.map(({ attributes, name }) => inspect([name, attributes], { depth: 9 }))]
          .join("\n")
        assert.include(all, plack.idOf(tokens[0] ?? ""), "the public id is there")
        for (const token of tokens) {
          assert.notInclude(all, token)
        }
        assert.notInclude(all, secret)
      }).pipe(Effect.provide(Layer.merge(carrier.layer(), plack.cache.layer))))
  })
}

describe("tokens", () => {
  it.effect("S01 S02 S50: 100000 drawn tokens are distinct, and decode to 32 uniform bytes", () =>
    Effect.gen(function*() {
      const generator = yield* SessionToken.Generator
      const counts = new Array<number>(256).fill(0)
      const seen = new Set<string>()
      const drawn = 100_000
      for (let i = 0; i < drawn; i++) {
        const text = Redacted.value(SessionToken.draw(generator))
        seen.add(text)
        const bytes = Buffer.from(text, "base64url")
        assert.isTrue(bytes.length === 32 && text.length === 43 && /^[\w-]+$/.test(text))
        for (const byte of bytes) {
          counts[byte] = (counts[byte] ?? 0) + 1
        }
      }
      assert.strictEqual(seen.size, drawn)
      const expected = drawn * 32 / 256
      // ten standard deviations: luck alone never gets there
      const far = 10 * Math.sqrt(expected)
      for (const count of counts) {
        assert.closeTo(count, expected, far)
      }
    }))

  it.effect("S01 S02: with a seeded PRNG and a stopped clock, ids still differ", () =>
    Effect.gen(function*() {
      const visit = yield* plack.visitor(plack.cookie)
      const begin = Effect.withRandom(plack.begin(visit, { n: 1 }), Random.make("seed"))
      const own = Math.random
      const tokens = yield* Effect.acquireUseRelease(
        Effect.sync(() => {
          Math.random = () => 0.5
        }),
        () => Effect.all([begin, begin, begin]),
        () =>
          Effect.sync(() => {
            Math.random = own
          })
      )
      assert.lengthOf(new Set(tokens), 3)
      assert.lengthOf(new Set(tokens.map((token) => token.slice(0, 10))), 3, "nothing in them is the same")
    }).pipe(Effect.provide(Layer.merge(plack.cookie.layer(), plack.memory.layer))))

  it.effect("S50: the cookie's value is the token as it is, safe without any encoding", () =>
    Effect.gen(function*() {
      const visit = yield* plack.visitor(plack.cookie)
      const { answer, token } = yield* visit(Effect.zipRight(put({ n: 1 }), Session.token))
      assert.match(plack.cookieValue(answer) ?? "", /^[A-Za-z0-9_-]{43}$/)
      assert.strictEqual(plack.cookieValue(answer), token)
    }).pipe(Effect.provide(Layer.merge(plack.cookie.layer(), plack.memory.layer))))
})

describe("names", () => {
  for (
    const [title, layer, name] of [
      ["cookie", CookieState.layer(), "__Host-session"],
      ["cookie over plain HTTP", CookieState.layer({ secure: false }), "session"],
      ["cookie below a path", CookieState.layer({ path: "/app" }), "__Secure-session"],
      ["parameter", ParamState.layer(), "session"]
    ] as const
  ) {
    it.scoped(`S09: the default name of the ${title} says nothing of what runs here`, () =>
      Effect.gen(function*() {
        const { transports } = yield* State.State
        assert.deepStrictEqual(transports.map(({ audience }) => audience.split(":")[1]), [name])
      }).pipe(Effect.provide(layer)))
  }
})

const withCookie = (title: string, body: Effect.Effect<void, unknown, State.State | Store.Store | testing.Controls>) =>
  it.effect(title, () => quietly(Effect.provide(body, Layer.merge(plack.cookie.layer(), plack.memory.layer))))

const fake = (index: number): string => Buffer.alloc(32, index + 1).toString("base64url")

describe("several tokens, and several places", () => {
  for (
    const [title, bad, found, loads] of [
      ["nine malformed ones before it", Array.from({ length: 9 }, (_, i) => `../${i}`), true, 1],
      ["three unknown ones before it", Array.from({ length: 3 }, (_, i) => fake(i)), true, 4],
      ["nine times the same unknown one before it", Array.from({ length: 9 }, () => fake(1)), true, 2],
      ["six malformed and three unknown ones before it", [..."abcdef", fake(1), fake(2), fake(3)], true, 4],
      [
        "nine unknown ones before it: four are looked up, and no more",
        Array.from({ length: 9 }, (_, i) => fake(i)),
        false,
        4
      ]
    ] as const
  ) {
    for (const carrier of plack.carriers) {
      it.effect(`S51: ten of the same name (${carrier.name}): ${title}`, () =>
        Effect.gen(function*() {
          const controls = yield* testing.Controls
          const visit = yield* plack.visitor(carrier)
          const token = yield* plack.begin(visit, { n: 1 })
          yield* controls.reset
          const inOrder = [...bad, token]
          const { answer, value } = yield* visit(plack.dump, {
            tokens: carrier.name === "cookie" ? inOrder : inOrder.reverse()
          })
          assert.strictEqual(answer.status, 200)
          assert.deepStrictEqual(value, found ? { n: 1 } : {})
          assert.deepStrictEqual(yield* controls.methods, Array.from({ length: loads }, () => "load"))
        }).pipe(Effect.provide(Layer.merge(carrier.layer(), plack.memory.layer))))
    }
  }

  withCookie(
    "S10: with cookies alone, a token in the query, in a form or in a header is not looked at",
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const visit = yield* plack.visitor(plack.cookie)
      const token = yield* plack.begin(visit, { n: 1 })
      yield* controls.reset
      const form = { "content-type": "application/x-www-form-urlencoded" }
      for (
        const request of [
          { path: `/?session=${token}&__Host-session=${token}` },
          { method: "POST", headers: form, body: `session=${token}&__Host-session=${token}` },
          { headers: { authorization: `Bearer ${token}`, "x-session": token, "__host-session": token } },
          { cookies: `session=${token}; __host-session=${token}; __Secure-session=${token}` }
        ]
      ) {
        assert.deepStrictEqual((yield* visit(plack.dump, { request })).value, {})
      }
      assert.deepStrictEqual(yield* controls.calls, [])
    })
  )

  it.effect("S10: of two joined states the first that carries a token is used, and no other", () =>
    Effect.gen(function*() {
      const visit = yield* plack.visitor(plack.cookie)
      const one = yield* plack.begin(visit, { n: 1 })
      const two = yield* plack.begin(visit, { n: 2 })
      const { value } = yield* visit(plack.dump, { tokens: [one], request: { path: `/?session=${two}` } })
      assert.deepStrictEqual(value, { n: 1 })
      const unknown = yield* visit(plack.dump, { tokens: [fake(1)], request: { path: `/?session=${two}` } })
      assert.deepStrictEqual(unknown.value, {})
    }).pipe(
      Effect.provide(Layer.merge(State.orElse(plack.cookie.layer(), plack.param.layer()), plack.memory.layer))
    ))

  withCookie(
    "S08 S17: what a client says of its session counts for nothing: the server's record does",
    Effect.gen(function*() {
      const visit = yield* plack.visitor(plack.cookie)
      const token = yield* plack.begin(visit, { user: "ann" })
      yield* TestClock.adjust("2 hours")
      for (
        const cookies of [
          `__Host-session=${token}; Max-Age=999999; Expires=Fri, 31 Dec 9999 23:59:59 GMT; user=ann`,
          `$Version=1; __Host-session=${token}; $Path=/`,
          `user=ann; valid=true; __Host-session=${token}.ann`
        ]
      ) {
        assert.deepStrictEqual((yield* visit(plack.dump, { request: { cookies } })).value, {})
      }
    })
  )

  withCookie(
    "cookies and data named __proto__ or constructor leave prototypes as they are",
    Effect.gen(function*() {
      const before = Object.getOwnPropertyNames(Object.prototype)
      const visit = yield* plack.visitor(plack.cookie)
      const token = yield* plack.begin(visit, { constructor: "x", hasOwnProperty: "y", toString: "z" })
      const cookies = `__proto__=1; __proto__[admin]=1; constructor=2; prototype=3; __Host-session=${token}`
      const { value } = yield* visit(plack.dump, { request: { cookies } })
      assert.deepStrictEqual<Session.Data>({ ...value }, { constructor: "x", hasOwnProperty: "y", toString: "z" })
      for (const text of ["{\"__proto__\":{\"admin\":true}}", "{\"a\":[{\"__proto__\":1}]}"]) {
        const refused = yield* visit(put(JSON.parse(text) as Session.Data), { tokens: [token] })
        assert.strictEqual(refused.answer.status, 500)
        assert.include(String(refused.exit), "__proto__")
      }
      const Proto = SessionField.make("__proto__", Schema.String)
      assert.strictEqual((yield* visit(SessionField.set(Proto, "x"), { tokens: [token] })).answer.status, 500)
      assert.deepStrictEqual(Object.getOwnPropertyNames(Object.prototype), before)
      assert.isUndefined(({} as { readonly admin?: unknown }).admin)
      assert.deepStrictEqual(Object.keys((yield* plack.stored(token)) ?? {}), [
        "constructor",
        "hasOwnProperty",
        "toString"
      ])
    })
  )

  for (const kind of [plack.file, plack.cache]) {
    it.effect(`S61: ${kind.name}: a record with __proto__ in it, put there by somebody else, is a fresh session`, () =>
      Effect.gen(function*() {
        const behind = yield* plack.Behind
        const visit = yield* plack.visitor(plack.cookie)
        const token = yield* plack.begin(visit, { user: "ann" })
        const kept = behind.dump()
        const text = kept.slice(kept.indexOf(" ") + 1)
        assert.include(text, "user")
        behind.overwrite(token, text.replace("user", "__proto__"))
        assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [token] })).value, {})
      }).pipe(quietly, Effect.provide(Layer.merge(plack.cookie.layer(), kind.layer))))
  }
})

describe("the answer", () => {
  const uses: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Session.Session>]> = [
    ["read", plack.dump],
    ["asked for its id", Session.id],
    ["asked whether it is new", Session.isNew],
    ["loaded", Session.load],
    ["written", put({ n: 2 })],
    ["renewed", Session.renew],
    ["destroyed", Session.destroy],
    ["read, changes ignored", Effect.zipRight(plack.dump, Session.ignoreChanges)],
    ["read, and then an error", Effect.zipRight(plack.dump, Effect.fail("boom"))]
  ]
  for (const [title, use] of uses) {
    withCookie(
      `S56: Vary: Cookie when the session was ${title}, with a session and without`,
      Effect.gen(function*() {
        const visit = yield* plack.visitor(plack.cookie)
        const token = yield* plack.begin(visit, { n: 1 })
        for (const tokens of [[token], [], [fake(1)], ["../x"]]) {
          assert.strictEqual((yield* visit(use, { tokens })).answer.headers.get("vary"), "Cookie")
        }
      })
    )
  }

  withCookie(
    "S56 S57: untouched: neither Vary nor Cache-Control",
    Effect.gen(function*() {
      const visit = yield* plack.visitor(plack.cookie)
      const { answer } = yield* visit(Effect.void)
      assert.isNull(answer.headers.get("vary"))
      assert.isNull(answer.headers.get("cache-control"))
    })
  )

  withCookie(
    "S57: an answer that sets or removes the cookie is not for any cache; one that does neither is the handler's",
    Effect.gen(function*() {
      const visit = yield* plack.visitor(plack.cookie)
      const response = HttpServerResponse.text("hi", { headers: { "cache-control": "public, max-age=60" } })
      const born = yield* visit(put({ n: 1 }), { response })
      assert.strictEqual(born.answer.headers.get("cache-control"), "no-store")
      const tokens = [plack.tokenOf(born)]
      const written = yield* visit(put({ n: 2 }), { tokens, response })
      assert.strictEqual(written.answer.headers.get("cache-control"), "public, max-age=60")
      const ended = yield* visit(Session.destroy, { tokens, response })
      assert.strictEqual(ended.answer.headers.get("cache-control"), "no-store")
    })
  )

  for (const status of [200, 302]) {
    withCookie(
      `S63: the head of a ${status} waits until the session is kept`,
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const visit = yield* plack.visitor(plack.cookie)
        const held = yield* controls.hold("create", { at: "after" })
        const fiber = yield* Effect.fork(visit(put({ n: 1 }), { response: HttpServerResponse.empty({ status }) }))
        const call = yield* held.arrived
        assert.deepStrictEqual(yield* plack.stored(Redacted.value(call.token)), { n: 1 })
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)), "the client has no head yet")
        yield* held.release
        assert.strictEqual((yield* Fiber.join(fiber)).answer.status, status)
      })
    )
  }

  withCookie(
    "S64: a hundred reads are a hundred loads, and no write",
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const visit = yield* plack.visitor(plack.cookie)
      const token = yield* plack.begin(visit, { n: 1 })
      yield* controls.reset
      for (let i = 0; i < 100; i++) {
        yield* visit(Effect.zipRight(plack.dump, Session.id), { tokens: [token] })
      }
      assert.deepStrictEqual(yield* controls.methods, Array.from({ length: 100 }, () => "load"))
    })
  )
})

const set = (key: string, value: number) =>
  Effect.flatMap(Session.Session, Ref.update((data) => ({ ...data, [key]: value })))

describe("two writers", () => {
  for (const carrier of plack.carriers) {
    for (const kind of plack.kinds) {
      for (
        const [title, slow, quick, expected] of [
          ["different keys: both are kept", set("a", 1), set("b", 2), { n: 0, a: 1, b: 2 }],
          ["the same key: the later commit stands", set("n", 1), set("n", 2), { n: 1 }]
        ] as const
      ) {
        it.effect(`S65: ${carrier.name} and ${kind.name}, ${title}`, () =>
          Effect.gen(function*() {
            const controls = yield* testing.Controls
            const visit = yield* plack.visitor(carrier)
            const store = yield* Store.Store
            // another process: its commits do not queue behind those of this one
            const elsewhere = yield* Effect.provideService(plack.visitor(carrier), Store.Store, Store.make(store))
            const token = yield* plack.begin(visit, { n: 0 })
            const held = yield* controls.hold("update")
            const fiber = yield* Effect.fork(visit(slow, { tokens: [token] }))
            yield* held.arrived
            yield* elsewhere(quick, { tokens: [token] })
            yield* held.release
            assert.strictEqual((yield* Fiber.join(fiber)).answer.status, 200)
            assert.deepStrictEqual(yield* plack.stored(token), expected)
          }).pipe(Effect.provide(Layer.merge(carrier.layer(), kind.layer))))
      }
    }
  }

  withCookie(
    "S67: a client that leaves while the handler works leaves nothing half done",
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const visit = yield* plack.visitor(plack.cookie)
      const token = yield* plack.begin(visit, { n: 1 })
      yield* controls.reset
      const fiber = yield* Effect.fork(visit(Effect.zipRight(put({ n: 2 }), Effect.never), { tokens: [token] }))
      yield* controls.arrived("load")
      yield* Effect.repeatN(Effect.yieldNow(), 50)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* plack.stored(token), { n: 1 })
      assert.notInclude(yield* controls.methods, "update")
    })
  )
})

describe("the sweep", () => {
  const backend = (sweep: (limit: number, now: number) => Effect.Effect<number, unknown>): StoreBackend.Backend => ({
    get: () => Effect.succeedNone,
    insert: () => Effect.succeed(true),
    replace: () => Effect.succeed(StoreBackend.absent),
    rename: () => Effect.succeed(StoreBackend.absent),
    extend: () => Effect.succeed(false),
    remove: () => Effect.succeed(undefined),
    sweep
  })

  it.scoped("S68: batch after batch until one comes back short, other work between them", () =>
    Effect.gen(function*() {
      const calls: Array<readonly [limit: number, now: number]> = []
      let left = 25
      yield* StoreBackend.fromBackend(
        backend((limit, now) =>
          Effect.sync(() => {
            calls.push([limit, now])
            const done = Math.min(limit, left)
            left -= done
            return done
          })
        ),
        { name: "Test", sweepBatch: 10, sweepInterval: "1 minute" }
      )
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(calls, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(calls, [[10, 60_000], [10, 60_000], [10, 60_000]])
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(calls, 4)
    }))

  it.effect("S68: a failed sweep and a defect in one do not end it; the scope does", () =>
    Effect.gen(function*() {
      let calls = 0
      yield* Effect.scoped(Effect.gen(function*() {
        yield* StoreBackend.fromBackend(
          backend(() =>
            Effect.suspend(() => {
              calls += 1
              return calls === 1 ? Effect.fail("down") : calls === 2 ? Effect.die("bug") : Effect.succeed(0)
            })
          ),
          { name: "Test" }
        )
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(calls, 1)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(calls, 2)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(calls, 3)
      }))
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(calls, 3)
    }).pipe(quietly))
})

describe("a layer that is configured wrongly fails when it is built, and says what to write", () => {
  const inAFile = Layer.provide(FileStore.layer({ directory: "/dev/null/sessions" }), NodeContext.layer)
  for (
    const [title, layer, option, says] of [
      ["S40: __Host- with a domain", CookieState.layer({ name: "__Host-a", domain: "example.com" }), "domain", /leave/],
      ["S40: __Host- with a path", CookieState.layer({ name: "__Host-a", path: "/a" }), "path", /write/],
      ["S41: __host- without Secure", CookieState.layer({ name: "__host-a", secure: false }), "secure", /write/],
      ["S43: SameSite=None without Secure", CookieState.layer({ sameSite: "none", secure: false }), "secure", /write/],
      ["S44: Partitioned without Secure", CookieState.layer({ partitioned: true, secure: false }), "secure", /write/],
      ["S49: no name", CookieState.layer({ name: "" }), "name", /write/],
      ["S49: a name with a line break", CookieState.layer({ name: "a\r\nb" }), "name", /write/],
      ["S49: a path with a semicolon", CookieState.layer({ path: "/; Domain=evil" }), "path", /write/],
      ["S49: a domain with a line break", CookieState.layer({ domain: "a\r\nb" }), "domain", /write/],
      ["S48: more than 400 days", CookieState.layer({ maxAge: "401 days" }), "maxAge", /at most 400 days/],
      ["S47: a path of 2000 bytes", CookieState.layer({ path: `/${"a".repeat(2000)}` }), "path", /1024/],
      ["S46: a name of 5000 bytes", CookieState.layer({ name: "a".repeat(5000) }), "name", /at most/],
      ["an empty parameter", ParamState.layer({ key: "" }), "key", /write/],
      ["a parameter with a NUL", ParamState.layer({ key: "a\u0000" }), "key", /write/],
      ["a header with a space", HeaderState.layer({ header: "my token" }), "header", /write/],
      ["no folder", Layer.provide(FileStore.layer({ directory: "" }), NodeContext.layer), "directory", /write/],
      ["a folder that can't be made", inAFile, "directory", /write/],
      ["a capacity of 0", MemoryStore.layer({ capacity: 0 }), "capacity", /write/],
      [
        "a prefix with a space",
        CacheStore.layer(
          { get: () => Effect.succeedNone, set: () => Effect.void, remove: () => Effect.void },
          { prefix: "a b" }
        ),
        "prefix",
        /write/
      ],
      ["a cache that is none", CacheStore.layer({} as never), "cache", /give/],
      ["an idle timeout of 0", SessionPolicy.layer({ idleTimeout: 0 }), "idleTimeout", /write/],
      ["a touch interval longer than it", SessionPolicy.layer({ touchInterval: "2 hours" }), "touchInterval", /write/]
    ] as ReadonlyArray<readonly [string, Layer.Layer<never, unknown>, string, RegExp]>
  ) {
    it.scoped(title, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(layer))
        assert.isTrue(ConfigError.isConfigError(error))
        const { message, path } = error as { readonly path: ReadonlyArray<string>; readonly message: string }
        assert.strictEqual(path.at(-1), option)
        assert.match(message, says)
      }))
  }
})

describe("a stream that reads", () => {
  withCookie(
    "S63: the session is kept before the first byte of the body",
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const visit = yield* plack.visitor(plack.cookie)
      let seen: ReadonlyArray<string> = []
      const body = Stream.fromEffect(Effect.map(controls.methods, (methods) => {
        seen = methods
        return "body"
      }))
      const { answer } = yield* visit(put({ n: 1 }), {
        response: HttpServerResponse.stream(Stream.encodeText(body))
      })
      assert.strictEqual(yield* answer.text, "body")
      assert.deepStrictEqual(seen, ["create"])
    })
  )
})
