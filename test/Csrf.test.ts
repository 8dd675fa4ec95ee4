import type { HttpApp } from "@effect/platform"
import { HttpClient, HttpClientRequest, HttpRouter, HttpServer, HttpServerRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, FastCheck as fc, Layer, Option, Redacted, Schema } from "effect"
import {
  CookieState,
  Csrf,
  HttpMiddleware,
  MemoryStore,
  NullStore,
  ParamState,
  Session,
  SessionField
} from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const { answering, done, increment, services } = fixture

const cross = "cross-site"

interface Sent {
  readonly method?: string
  readonly fetchSite?: string | undefined
  readonly origin?: string | undefined
  readonly host?: string | undefined
  readonly url?: string
  readonly others?: Record<string, string>
}

const headersOf = (headers: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter((pair): pair is [string, string] => pair[1] !== undefined))

const webRequest = ({ fetchSite, host, method = "POST", origin, others, url = "http://example.com/pay" }: Sent) =>
  HttpServerRequest.fromWeb(
    new Request(url, { method, headers: headersOf({ "sec-fetch-site": fetchSite, origin, host, ...others }) })
  )

/** The status of a request, with an app that answers 200. */
const status = (sent: Sent, trustedOrigins?: ReadonlyArray<string>) =>
  Csrf.protect({ trustedOrigins })(Effect.succeed(done)).pipe(
    Effect.provideService(HttpServerRequest.HttpServerRequest, webRequest(sent)),
    Effect.map((response) => response.status)
  )

const trusted = ["https://trusted.example", "https://other.example:8443", "capacitor://localhost"]

type Row = readonly [title: string, expected: 200 | 403, sent: Sent]

const own = "https://example.com"
const attacker = "https://attacker.example"

const table: ReadonlyArray<Row> = [
  ...["GET", "HEAD", "OPTIONS"].flatMap((method): ReadonlyArray<Row> => [
    [`${method} passes, sent by another site`, 200, { method, fetchSite: cross, origin: attacker }],
    [`${method} passes, of another origin`, 200, { method, origin: attacker }]
  ]),
  ...["POST", "PUT", "PATCH", "DELETE", "PROPFIND"].flatMap((method): ReadonlyArray<Row> => [
    [`${method} is refused, sent by another site`, 403, { method, fetchSite: cross }],
    [`${method} passes, of the same origin`, 200, { method, fetchSite: "same-origin" }]
  ]),
  ["the user's own doing passes", 200, { fetchSite: "none" }],
  ["same-site is refused", 403, { fetchSite: "same-site" }],
  ["same-site is refused, even of the app's own origin", 403, { fetchSite: "same-site", origin: own }],
  ["cross-site is refused, even of the app's own origin", 403, { fetchSite: cross, origin: own }],
  ["same-origin passes, whatever the origin", 200, { fetchSite: "same-origin", origin: attacker }],
  ["a word that nobody knows is refused", 403, { fetchSite: "other" }],
  ["same-origin in capitals is refused: the word has one spelling", 403, { fetchSite: "Same-Origin" }],
  ["two values are refused", 403, { fetchSite: "same-origin, cross-site" }],
  ["an empty Sec-Fetch-Site is none", 200, { fetchSite: "", origin: own }],
  ["an empty Sec-Fetch-Site is none, and Origin decides", 403, { fetchSite: "", origin: attacker }],

  ["neither header passes", 200, {}],
  ["an empty Origin is none", 200, { origin: "" }],
  ["the app's own origin passes", 200, { origin: own }],
  ["a scheme alone that differs passes: TLS may end at a proxy", 200, { origin: "http://example.com" }],
  ["another origin is refused", 403, { origin: attacker }],
  ["a subdomain is refused", 403, { origin: "https://evil.example.com" }],
  ["a parent domain is refused", 403, { origin: "https://example.com", host: "app.example.com" }],
  ["a host that begins alike is refused", 403, { origin: "https://example.com.attacker.example" }],
  ["a host that ends alike is refused", 403, { origin: "https://notexample.com" }],
  ["null is refused", 403, { origin: "null" }],
  ["null is refused where the host is named so", 403, { origin: "null", host: "null" }],
  ["a port that differs is refused", 403, { origin: "https://example.com:8443" }],
  ["the same port passes", 200, { origin: "https://example.com:8443", host: "example.com:8443" }],
  ["the default port of the origin's scheme passes, in Host", 200, { origin: own, host: "example.com:443" }],
  ["the default port of the origin's scheme passes, in Origin", 200, { origin: "https://example.com:443" }],
  ["the default port of another scheme is refused", 403, { origin: own, host: "example.com:80" }],
  ["capitals in Host pass", 200, { origin: own, host: "EXAMPLE.com" }],
  ["capitals in Origin pass", 200, { origin: "HTTPS://Example.COM" }],
  ["IPv6 passes", 200, { origin: "http://[::1]:3000", host: "[::1]:3000" }],
  ["IPv6 in another spelling passes", 200, { origin: "http://[::1]:3000", host: "[0:0:0:0:0:0:0:1]:3000" }],
  ["another IPv6 address is refused", 403, { origin: "http://[::2]:3000", host: "[::1]:3000" }],
  ["two origins are refused", 403, { origin: `${own}, ${attacker}` }],
  ["two origins are refused, with a blank", 403, { origin: `${own} ${own}` }],
  ["an origin with a path is none", 403, { origin: `${own}/` }],
  ["an origin with a user is none", 403, { origin: "https://example.com@attacker.example" }],
  ["a host in the place of a user is none", 403, { origin: "https://attacker.example@example.com" }],
  ["a backslash is no part of an origin", 403, { origin: "https://attacker.example\\@example.com" }],
  ["a scheme that is not of the web is refused", 403, { origin: "chrome-extension://example.com" }],
  ["an origin without a scheme is none", 403, { origin: "example.com" }],
  ["a host that is none is not the origin's", 403, { origin: own, host: "x@example.com" }],
  ["a host with a path is not the origin's", 403, { origin: own, host: "example.com/x" }],
  ["Host is asked before the URL", 403, { origin: own, host: "internal:3000" }],
  ["X-Forwarded-Host is not trusted", 403, {
    origin: attacker,
    others: { "x-forwarded-host": "attacker.example", "forwarded": "host=attacker.example" }
  }],

  ["a trusted origin passes", 200, { origin: "https://trusted.example" }],
  ["a trusted origin passes across sites", 200, { fetchSite: cross, origin: "https://trusted.example" }],
  ["a trusted origin passes within the site", 200, { fetchSite: "same-site", origin: "https://trusted.example" }],
  ["a trusted origin with its port passes", 200, { fetchSite: cross, origin: "https://other.example:8443" }],
  ["a trusted origin without its port is refused", 403, { fetchSite: cross, origin: "https://other.example" }],
  ["a trusted origin of another scheme is refused", 403, { origin: "http://trusted.example" }],
  ["a subdomain of a trusted origin is refused", 403, { origin: "https://a.trusted.example" }],
  ["a trusted origin of a scheme of an app passes", 200, { fetchSite: cross, origin: "capacitor://localhost" }],
  ["across sites without an origin is refused", 403, { fetchSite: cross }]
]

describe("protect", () => {
  for (const [title, expected, sent] of table) {
    it.effect(
      title,
      () => Effect.map(status(sent, trusted), (status) => assert.strictEqual(status, expected, JSON.stringify(sent)))
    )
  }

  it.effect("trusts nobody by default", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* status({ origin: "https://trusted.example" }), 403)
      assert.strictEqual(yield* status({ origin: "null" }, []), 403)
    }))

  it.effect("compares a trusted origin as browsers write it", () =>
    Effect.gen(function*() {
      for (const origin of ["HTTPS://Trusted.Example", "https://trusted.example:443"]) {
        assert.strictEqual(yield* status({ fetchSite: cross, origin: "https://trusted.example" }, [origin]), 200)
      }
    }))

  for (
    const origin of [
      "",
      "null",
      "*",
      "example.com",
      "example.com:8080",
      "//example.com",
      "https://",
      "file://",
      "https://example.com/",
      "https://example.com/path",
      "https://example.com?query",
      "https://example.com#fragment",
      "https://user@example.com",
      "https://*.example.com",
      "https://*",
      "https://ex ample.com",
      " https://example.com",
      "https://example.com\n",
      "https://example.com:port",
      "https://example.com:99999",
      "https://a.example,https://b.example"
    ]
  ) {
    it(`throws at once for the trusted origin ${JSON.stringify(origin)}, and says what to write`, () => {
      assert.throws(
        () => Csrf.protect({ trustedOrigins: [own, origin] }),
        TypeError,
        /Write a scheme, a host and a port .* such as "https:\/\/admin\.example\.com"/
      )
    })
  }

  it.effect("an origin is of its own host, of no other, and trusted when it is listed", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom("http", "https"),
          fc.domain(),
          fc.domain(),
          fc.option(fc.integer({ min: 1024, max: 65_535 }), { nil: undefined }),
          (scheme, mine, theirs, port) =>
            Effect.runPromise(Effect.gen(function*() {
              const ending = port === undefined ? "" : `:${port}`
              const origin = `${scheme}://${mine}${ending}`
              const host = `${theirs}${ending}`
              assert.strictEqual(yield* status({ origin, host: `${mine}${ending}` }), 200)
              assert.strictEqual(yield* status({ origin, host }), mine === theirs ? 200 : 403)
              assert.strictEqual(yield* status({ origin, host, fetchSite: cross }, [origin]), 200)
            }))
        ),
        { numRuns: 50 }
      )
    ))

  it.effect("a refused request runs nothing, touches no session, and is counted by its reason", () =>
    Effect.gen(function*() {
      let runs = 0
      const app = Csrf.protect()(HttpMiddleware.session(answering(Effect.tap(increment, () => runs += 1))))
      const client = yield* testing.client(app)
      const controls = yield* testing.Controls
      const [refused, counted] = yield* fixture.rising(
        "rejected",
        cross,
        client.post("/", { headers: { "sec-fetch-site": cross } })
      )
      assert.strictEqual(refused.status, 403)
      assert.strictEqual(yield* refused.text, "")
      assert.strictEqual(counted, 1)
      assert.strictEqual(runs, 0)
      assert.deepStrictEqual(yield* controls.methods, [])
      fixture.assertNoCookie(refused)
      const [passed, uncounted] = yield* fixture.rising("rejected", cross, client.post("/"))
      assert.strictEqual(passed.status, 200)
      assert.strictEqual(uncounted, 0)
      assert.strictEqual(runs, 1)
    }).pipe(Effect.provide(services())))

  describe("under a server of Node, where Host is the client's", () => {
    const router = HttpRouter.empty.pipe(HttpRouter.post("/pay", Effect.succeed(done)))
    const places: ReadonlyArray<readonly [string, HttpApp.Default<unknown>]> = [
      ["app.pipe", router.pipe(Csrf.protect())],
      ["HttpRouter.use", router.pipe(HttpRouter.use(Csrf.protect()))]
    ]
    for (const [place, app] of places) {
      it.scoped(place, () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(app)
          const origin = yield* HttpServer.addressFormattedWith((address) => Effect.succeed(address))
          const client = yield* HttpClient.HttpClient
          const post = (headers: Record<string, string>) =>
            Effect.map(client.post("/pay", { headers }), (response) => response.status)
          assert.strictEqual(yield* post({}), 200)
          assert.strictEqual(yield* post({ origin: origin.replace("0.0.0.0", "127.0.0.1") }), 200)
          assert.strictEqual(yield* post({ origin: attacker }), 403)
          assert.strictEqual(yield* post({ origin: attacker, "x-forwarded-host": "attacker.example" }), 403)
        }).pipe(Effect.provide(NodeHttpServer.layerTest)))
    }
    it.scoped("HttpServer.serve", () =>
      Effect.gen(function*() {
        const client = yield* HttpClient.HttpClient
        const answer = yield* client.post("/pay", { headers: { "sec-fetch-site": cross } })
        assert.strictEqual(answer.status, 403)
      }).pipe(Effect.provide(Layer.provideMerge(HttpServer.serve(router, Csrf.protect()), NodeHttpServer.layerTest))))
  })
})

const form = "application/x-www-form-urlencoded"

const session = HttpMiddleware.session(fixture.routes({
  "/token": answering(Csrf.token),
  "/tokens": answering(Effect.map(Effect.all([Csrf.token, Csrf.token]), JSON.stringify)),
  "/verify": answering(Csrf.verify),
  "/reason": answering(Effect.match(Csrf.verify, {
    onFailure: (error) => `${error._tag} ${error.reason}`,
    onSuccess: () => "passed"
  })),
  "/verify-form": answering(Effect.zipRight(
    Csrf.verify,
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => Effect.map(request.urlParamsBody, JSON.stringify))
  )),
  "/login": answering(Session.renew),
  "/login-token": answering(Effect.zipRight(Session.renew, Csrf.token)),
  "/logout": answering(Session.destroy),
  "/add": answering(increment),
  "/data": answering(Effect.map(Session.get, JSON.stringify))
}))

const start = testing.client(session)

const tokenOf = (client: testing.Client, path = "/token") => Effect.flatMap(client.get(path), (answer) => answer.text)

const sending = (client: testing.Client, token: string) =>
  client.post("/verify", { headers: { "x-csrf-token": token } })

const statusOf = (client: testing.Client, token: string) =>
  Effect.map(sending(client, token), (answer) => answer.status)

describe("token and verify", () => {
  it.effect("a token is good by header and by form, as often as it is sent", () =>
    Effect.gen(function*() {
      const client = yield* start
      const token = yield* tokenOf(client)
      assert.match(token, /^[A-Za-z0-9_-]{64}$/)
      assert.strictEqual(yield* statusOf(client, token), 200)
      assert.strictEqual(yield* statusOf(client, token), 200)
      for (const type of [form, `${form}; charset=UTF-8`, form.toUpperCase()]) {
        const headers = { "content-type": type }
        assert.strictEqual((yield* client.post("/verify", { headers, body: `a=1&csrf=${token}` })).status, 200)
      }
    }).pipe(Effect.provide(services())))

  it.effect("is masked anew each time, and all are good", () =>
    Effect.gen(function*() {
      const client = yield* start
      const tokens = JSON.parse(yield* tokenOf(client, "/tokens")) as Array<string>
      tokens.push(yield* tokenOf(client))
      assert.strictEqual(new Set(tokens).size, 3)
      const { "effect-session/csrf": secret } = JSON.parse(yield* tokenOf(client, "/data"))
      assert.match(secret, /^[A-Za-z0-9_-]{32}$/)
      // The secret never stands in a page, and nor does a part of a token twice.
      for (const token of tokens) {
        assert.notInclude(token, secret)
        assert.strictEqual(yield* statusOf(client, token), 200)
      }
      for (const half of [0, 32]) {
        assert.strictEqual(new Set(tokens.map((token) => token.slice(half, half + 32))).size, 3)
      }
    }).pipe(Effect.provide(services())))

  it.effect("a request without a token, or with what is none, is refused before the session is looked at", () =>
    Effect.gen(function*() {
      const client = yield* start
      const token = yield* tokenOf(client)
      const controls = yield* testing.Controls
      yield* controls.reset
      const reason = (options: testing.RequestOptions) =>
        Effect.flatMap(client.post("/reason", options), (answer) => answer.text)
      assert.strictEqual(yield* reason({}), "CsrfError Missing")
      assert.strictEqual(yield* reason({ headers: { "x-csrf-token": "" } }), "CsrfError Missing")
      assert.strictEqual(yield* reason({ body: new URLSearchParams({ other: token }) }), "CsrfError Missing")
      for (const wrong of [token.slice(1), token.slice(0, 32), `${token}A`, `${token}, ${token}`, "null"]) {
        assert.strictEqual(yield* reason({ headers: { "x-csrf-token": wrong } }), "CsrfError Invalid", wrong)
      }
      assert.deepStrictEqual(yield* controls.methods, [])
      const refused = yield* client.post("/verify")
      assert.strictEqual(refused.status, 403)
      assert.strictEqual(yield* refused.text, "")
    }).pipe(Effect.provide(services())))

  it.effect("a wrong header is not made good by the form", () =>
    Effect.gen(function*() {
      const client = yield* start
      const token = yield* tokenOf(client)
      const body = new URLSearchParams({ csrf: token })
      assert.strictEqual((yield* client.post("/verify", { body })).status, 200)
      assert.strictEqual((yield* client.post("/verify", { body, headers: { "x-csrf-token": "x" } })).status, 403)
    }).pipe(Effect.provide(services())))

  it.effect("multipart, JSON, plain text and the query are not read", () =>
    Effect.gen(function*() {
      const client = yield* start
      const token = yield* tokenOf(client)
      const multipart = new FormData()
      multipart.set("csrf", token)
      assert.strictEqual((yield* client.post("/verify", { body: multipart })).status, 403)
      assert.strictEqual((yield* client.post("/verify", { json: { csrf: token } })).status, 403)
      assert.strictEqual((yield* client.post("/verify", { body: `csrf=${token}` })).status, 403)
      assert.strictEqual((yield* client.post(`/verify?csrf=${token}`)).status, 403)
    }).pipe(Effect.provide(services())))

  it.effect("another session's token is refused, and so is any without a session", () =>
    Effect.gen(function*() {
      const client = yield* start
      const token = yield* tokenOf(client)
      const other = yield* client.other()
      const theirs = yield* tokenOf(other)
      assert.strictEqual(yield* statusOf(client, theirs), 403)
      assert.strictEqual(yield* statusOf(other, token), 403)
      assert.strictEqual(yield* statusOf(yield* client.other(), token), 403)
      const secretless = yield* client.other()
      yield* secretless.get("/add")
      assert.strictEqual(yield* statusOf(secretless, token), 403)
    }).pipe(Effect.provide(services())))

  it.effect("S16: a token of before a login is refused after it, and the next one is good", () =>
    Effect.gen(function*() {
      const client = yield* start
      const before = yield* tokenOf(client)
      yield* client.get("/login")
      assert.strictEqual(yield* tokenOf(client, "/data"), "{}")
      assert.strictEqual(yield* statusOf(client, before), 403)
      const after = yield* tokenOf(client)
      assert.strictEqual(yield* statusOf(client, after), 200)
      const same = yield* tokenOf(client, "/login-token")
      assert.strictEqual(yield* statusOf(client, after), 403)
      assert.strictEqual(yield* statusOf(client, same), 200)
      yield* client.get("/logout")
      assert.strictEqual(yield* statusOf(client, same), 403)
    }).pipe(Effect.provide(services())))

  it.effect("of pages that load at the same time, all have good tokens", () =>
    Effect.gen(function*() {
      const client = yield* start
      yield* client.get("/add")
      const controls = yield* testing.Controls
      const held = yield* controls.hold("update")
      const first = yield* client.fork("GET", "/token")
      yield* held.arrived
      const elsewhere = yield* fixture.elsewhere(session)
      const cookie = Option.getOrThrow(yield* client.cookie(fixture.cookieName))
      const second = yield* elsewhere.get("/token", { cookies: `${fixture.cookieName}=${cookie}` })
      yield* held.release
      for (const answer of [yield* first, second]) {
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(yield* statusOf(client, yield* answer.text), 200)
      }
    }).pipe(Effect.provide(services())))

  it.effect("no changed, cut or made-up token is good", () =>
    Effect.gen(function*() {
      const token = yield* Csrf.token
      const good = (given: string) =>
        Effect.isSuccess(Csrf.verify).pipe(
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            webRequest({ others: { "x-csrf-token": given } })
          )
        )
      assert.isTrue(yield* good(token))
      const runtime = yield* Effect.runtime<Session.Session>()
      const isGood = (given: string) => Effect.runPromise(Effect.provide(good(given), runtime))
      const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
      yield* Effect.promise(() =>
        fc.assert(fc.asyncProperty(
          fc.integer({ min: 0, max: 63 }),
          fc.constantFrom(...letters),
          async (at, letter) => {
            const changed = token.slice(0, at) + letter + token.slice(at + 1)
            assert.strictEqual(await isGood(changed), changed === token)
            assert.isFalse(await isGood(token.slice(0, at)))
          }
        ))
      )
      yield* Effect.promise(() =>
        fc.assert(fc.asyncProperty(
          fc.string({ unit: fc.constantFrom(...letters), minLength: 60, maxLength: 68 }),
          async (made) => assert.isFalse(await isGood(made))
        ))
      )
    }).pipe(Effect.provide(Session.layerTest())))

  it.effect("S61: a stored secret that is none is made anew", () =>
    fixture.logged(() =>
      Effect.gen(function*() {
        const token = yield* Csrf.token
        const { "effect-session/csrf": secret } = yield* Session.get
        assert.match(String(secret), /^[A-Za-z0-9_-]{32}$/)
        assert.lengthOf(token, 64)
      }).pipe(Effect.provide(Session.layerTest({ "effect-session/csrf": "short" })))
    ))

  it.effect("does not meet a field of the app's own that is named csrf", () =>
    Effect.gen(function*() {
      const Own = SessionField.make("csrf", Schema.String)
      yield* Csrf.token
      assert.strictEqual(yield* Own, "mine")
    }).pipe(Effect.provide(Session.layerTest({ csrf: "mine" }))))

  it.effect("where the store keeps nothing, the page is shown and its token refused", () =>
    Effect.gen(function*() {
      const client = yield* start
      const token = yield* tokenOf(client)
      assert.match(token, /^[A-Za-z0-9_-]{64}$/)
      assert.strictEqual(yield* statusOf(client, token), 403)
    }).pipe(Effect.provide([CookieState.layer(), NullStore.layer])))

  it.effect("S66: a store that fails is answered with 503", () =>
    fixture.logged(() =>
      Effect.gen(function*() {
        const client = yield* start
        const controls = yield* testing.Controls
        yield* controls.fail("create")
        assert.strictEqual((yield* client.get("/token")).status, 503)
        const token = yield* tokenOf(client)
        yield* controls.fail("load")
        assert.strictEqual(yield* statusOf(client, token), 503)
        assert.strictEqual(yield* statusOf(client, token), 200)
      }).pipe(Effect.provide(services()))
    ))

  it.effect("a named session has tokens of its own", () =>
    Effect.gen(function*() {
      const admin = Csrf.verbs(Admin)
      const provided = Effect.provideService(
        HttpServerRequest.HttpServerRequest,
        webRequest({ others: { "x-csrf-token": yield* admin.token } })
      )
      yield* provided(admin.verify)
      assert.strictEqual((yield* provided(Effect.flip(Csrf.verify))).reason, "Invalid")
    }).pipe(Effect.provide([Session.layerTest(), adminTest])))
})

class Admin extends Session.Tag<Admin>()("admin") {}

const adminTest = Layer.map(
  Layer.fresh(Session.layerTest()),
  (context) => Context.make(Admin, Context.get(context, Session.Session))
)

describe("the body of a form that is verified", () => {
  const params = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.urlParamsBody)

  it.effect("can still be read as parameters", () =>
    Effect.gen(function*() {
      const client = yield* start
      const token = yield* tokenOf(client)
      const answer = yield* client.post("/verify-form", { body: new URLSearchParams({ a: "1", csrf: token }) })
      assert.deepStrictEqual(yield* answer.json, [["a", "1"], ["csrf", token]])
    }).pipe(Effect.provide(services())))

  // A router that takes a prefix off the URL makes another request object, by which the body can't be read once more.
  const inner = HttpRouter.empty.pipe(
    HttpRouter.post("/inside", answering(Effect.zipRight(Csrf.verify, Effect.map(params, JSON.stringify)))),
    HttpRouter.post("/outside", answering(Effect.map(params, JSON.stringify))),
    HttpRouter.post("/twice", answering(Effect.zipRight(Csrf.verify, Effect.map(params, JSON.stringify))))
  )
  const router = HttpRouter.empty.pipe(
    HttpRouter.get(
      "/token",
      answering(
        Effect.all([Csrf.token, Session.token]).pipe(
          Effect.map(([csrf, token]) => JSON.stringify({ csrf, session: Redacted.value(token) }))
        )
      )
    ),
    HttpRouter.mount("/inner", inner)
  )
  const app = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) =>
      /outside|twice/.test(request.url) ? Effect.zipRight(Csrf.verify, router) : Effect.zipRight(Session.load, router)
  ).pipe(HttpMiddleware.session)

  const state = Layer.mergeAll(ParamState.layer({ body: true }), MemoryStore.layer())

  for (const path of ["inside", "outside", "twice"]) {
    it.scoped(`is read once by ParamState, by verify ${path} of a mounted router, and by the handler; on Node`, () =>
      Effect.gen(function*() {
        yield* HttpServer.serveEffect(app)
        const client = yield* HttpClient.HttpClient
        const fields = (yield* Effect.flatMap(client.get("/token"), (response) => response.json)) as {
          readonly csrf: string
          readonly session: string
        }
        const request = HttpClientRequest.bodyUrlParams(HttpClientRequest.post(`/inner/${path}`), fields)
        const answer = yield* client.execute(request)
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(yield* answer.json, Object.entries(fields))
      }).pipe(Effect.provide([NodeHttpServer.layerTest, state])))

    it.effect(`is read once by ParamState, by verify ${path} of a mounted router, and by the handler; on the web`, () =>
      Effect.gen(function*() {
        const client = yield* testing.client(app)
        const fields = (yield* Effect.flatMap(client.get("/token"), (answer) => answer.json)) as {
          readonly csrf: string
          readonly session: string
        }
        const answer = yield* client.post(`/inner/${path}`, { body: new URLSearchParams(fields) })
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(yield* answer.json, Object.entries(fields))
      }).pipe(Effect.provide(state)))
  }
})
