import {
  Cookies,
  FetchHttpClient,
  FileSystem,
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpApiSecurity,
  HttpClient,
  HttpServerResponse,
  Multipart,
  OpenApi
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Either, Layer, Redacted, Ref, Schema, Stream } from "effect"
import {
  CookieState,
  HeaderState,
  HttpApiSession,
  HttpMiddleware,
  MemoryStore,
  ParamState,
  Session,
  SessionError,
  SessionField,
  SessionPolicy,
  Store
} from "effect-session"
import type { State } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const { assertCookie, assertNoCookie, assertRemoval, increment, logged, policy, services } = fixture

// ------------------------------------------------------------------------------------------------------- an app of users

const Name = SessionField.make("name", Schema.NonEmptyString)

class User extends Schema.Class<User>("HttpApiSession/User")({ name: Schema.NonEmptyString }) {}

class NoSuchUser extends Schema.TaggedError<NoSuchUser>()(
  "NoSuchUser",
  { name: Schema.String },
  HttpApiSchema.annotations({ status: 404 })
) {}

class Unauthorized extends Schema.TaggedError<Unauthorized>()(
  "Unauthorized",
  { why: Schema.String },
  HttpApiSchema.annotations({ status: 401 })
) {}

class CurrentUser extends Context.Tag("HttpApiSession/CurrentUser")<CurrentUser, User>() {}

class Machine extends Context.Tag("HttpApiSession/Machine")<Machine, string>() {}

/** A guard of the app's own, which asks the session. */
class SignedIn extends HttpApiMiddleware.Tag<SignedIn>()("HttpApiSession/SignedIn", {
  failure: Unauthorized,
  provides: CurrentUser
}) {}

/** A middleware of the app's own with another credential. */
class Keyed extends HttpApiMiddleware.Tag<Keyed>()("HttpApiSession/Keyed", {
  failure: Unauthorized,
  provides: Machine,
  security: { key: HttpApiSecurity.apiKey({ in: "header", key: "x-api-key" }) }
}) {}

const visits = HttpApiGroup.make("visits")
  .add(HttpApiEndpoint.get("untouched", "/untouched").addSuccess(Schema.String))
  .add(HttpApiEndpoint.get("visit", "/visits").addSuccess(Schema.Int))
  .add(
    HttpApiEndpoint.post("add", "/visits")
      .setPayload(Schema.Struct({ by: Schema.Int }))
      .addSuccess(Schema.Int)
  )
  .add(HttpApiEndpoint.get("fails", "/fails").addError(NoSuchUser))
  .add(HttpApiEndpoint.get("dies", "/dies"))
  .add(HttpApiEndpoint.get("loads", "/loads").addSuccess(Schema.Int).addError(Store.StoreError))
  .add(HttpApiEndpoint.get("gone", "/gone").addError(SessionError.SessionGone))
  .add(HttpApiEndpoint.get("stream", "/stream"))
  .add(
    HttpApiEndpoint.post("upload", "/upload")
      .setPayload(HttpApiSchema.Multipart(Schema.Struct({ file: Multipart.SingleFileSchema })))
      .addSuccess(Schema.Struct({ length: Schema.Number, visits: Schema.Int }))
  )

const users = HttpApiGroup.make("users")
  .add(HttpApiEndpoint.post("login", "/login").setPayload(User))
  .add(HttpApiEndpoint.del("logout", "/logout"))
  .add(HttpApiEndpoint.get("me", "/me").addSuccess(User).middleware(SignedIn))
  .add(HttpApiEndpoint.get("find", "/:name").setPath(User).addSuccess(User).addError(NoSuchUser))
  .prefix("/users")

const machines = HttpApiGroup.make("machines")
  .add(HttpApiEndpoint.get("count", "/machines").addSuccess(Schema.String))
  .middleware(Keyed)

class Api extends HttpApi.make("api")
  .add(visits)
  .add(users)
  .add(machines)
  .middleware(HttpApiSession.HttpApiSession)
{}

const VisitsLive = HttpApiBuilder.group(Api, "visits", (handlers) =>
  handlers
    .handle("untouched", () => Effect.succeed("untouched"))
    .handle("visit", () => increment)
    .handle("add", ({ payload }) => SessionField.updateAndGet(fixture.Count, (n) => n + payload.by))
    .handle("fails", () => Effect.zipRight(increment, new NoSuchUser({ name: "nobody" })))
    .handle("dies", () => Effect.zipRight(increment, Effect.die(new Error("a defect"))))
    .handle("loads", () => Effect.zipRight(Session.load, SessionField.get(fixture.Count)))
    .handle("gone", () => new SessionError.SessionGone())
    .handle("stream", () =>
      Effect.gen(function*() {
        yield* increment
        yield* Session.commit
        const context = yield* Effect.context<Session.Session>()
        return HttpServerResponse.stream(
          Stream.fromEffect(Effect.zipLeft(Effect.map(increment, String), Effect.orDie(Session.commit))).pipe(
            Stream.encodeText,
            Stream.provideContext(context)
          )
        )
      }).pipe(Effect.orDie))
    .handle("upload", ({ payload }) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        return { length: (yield* Effect.orDie(fs.readFile(payload.file.path))).length, visits: yield* increment }
      })))

const UsersLive = HttpApiBuilder.group(Api, "users", (handlers) =>
  handlers
    .handle("login", ({ payload }) => Effect.zipRight(Session.renew, SessionField.set(Name, payload.name)))
    .handle("logout", () => Session.destroy)
    .handle("me", () => CurrentUser)
    .handle("find", ({ path: { name } }) =>
      name === "root" ? Effect.succeed(new User({ name })) : new NoSuchUser({ name })))

const MachinesLive = HttpApiBuilder.group(
  Api,
  "machines",
  (handlers) => handlers.handle("count", () => Effect.zipWith(Machine, increment, (name, n) => `${name} ${n}`))
)

const KeyedLive = Layer.succeed(Keyed, {
  key: (key) =>
    Redacted.value(key) === "secret" ? Effect.succeed("robot") : new Unauthorized({ why: "a key is missing" })
})

const signedIn = Effect.matchEffect(Name, {
  onFailure: () => new Unauthorized({ why: "nobody is signed in" }),
  onSuccess: (name) => Effect.succeed(new User({ name }))
})

const ApiLive = HttpApiBuilder.api(Api).pipe(
  Layer.provide([VisitsLive, UsersLive, MachinesLive]),
  Layer.provide([KeyedLive, HttpApiSession.guard(SignedIn, signedIn), HttpApiSession.layer])
)

// ------------------------------------------------------------------------------------------------------------- helpers

type Needed = State.State | Store.Store

const broken = () =>
  new Store.StoreError({ reason: "Unavailable", method: "load", cause: new Error("postgres://root:secret@db") })

/** An api under a store under control. */
const serving = <R>(api: Layer.Layer<HttpApi.Api, never, R>, below: Layer.Layer<R | testing.Controls>) =>
  Layer.mergeAll(
    api,
    HttpApiBuilder.Router.Live,
    HttpApiBuilder.Middleware.layer,
    NodeHttpServer.layerContext
  ).pipe(Layer.provideMerge(below))

const live = (settings: Layer.Layer<never> = Layer.empty) => serving(Layer.provide(ApiLive, settings), services())

const start = Effect.gen(function*() {
  const app = yield* HttpApiBuilder.httpApp
  return { client: yield* testing.client(app), controls: yield* testing.Controls }
})

/** The generated client of an api, over its web handler: with a jar for cookies, and without sockets. */
const generated = (api: Layer.Layer<HttpApi.Api, never, Needed>) =>
  Effect.gen(function*() {
    const { dispose, handler } = HttpApiBuilder.toWebHandler(
      Layer.mergeAll(
        Layer.provide(api, Layer.orDie(Layer.merge(CookieState.layer(), MemoryStore.layer()))),
        NodeHttpServer.layerContext
      )
    )
    yield* Effect.addFinalizer(() => Effect.promise(dispose))
    const jar = yield* Ref.make(Cookies.empty)
    const client = yield* HttpApiClient.make(Api, {
      baseUrl: "https://app.test",
      transformClient: HttpClient.withCookiesRef(jar)
    }).pipe(
      Effect.provide(FetchHttpClient.layer),
      Effect.provideService(FetchHttpClient.Fetch, (input, init) => handler(new Request(input, init)))
    )
    return { client, jar }
  })

// ---------------------------------------------------------------------------------------------------------------- tests

describe("N6: the OpenAPI document", () => {
  it("has the cookie of the session beside the app's own scheme", () => {
    const spec = OpenApi.fromApi(Api)
    assert.deepStrictEqual(spec.components.securitySchemes, {
      session: { type: "apiKey", in: "cookie", name: "__Host-session" },
      key: { type: "apiKey", in: "header", name: "x-api-key" }
    })
    assert.deepStrictEqual(spec.security, [{ session: [] }])
    assert.deepStrictEqual(spec.paths["/machines"]?.get?.security, [{ key: [] }])
  })

  it("has what a tag of another name says, and the statuses of the session's errors", () => {
    class Bearer extends HttpApiSession.Tag<Bearer>()("bearer", { security: HttpApiSecurity.bearer }) {}
    class Either extends HttpApiSession.Tag<Either>()("either", {
      security: { browser: HttpApiSecurity.apiKey({ in: "cookie", key: "sid" }), native: HttpApiSecurity.bearer }
    }) {}
    const api = HttpApi.make("api").add(
      HttpApiGroup.make("group", { topLevel: true })
        .add(
          HttpApiEndpoint.get("a", "/a")
            .addError(Store.StoreError)
            .addError(SessionError.SessionGone)
            .middleware(Bearer)
        )
        .add(HttpApiEndpoint.get("b", "/b").addError(SessionError.SessionFieldMissing).middleware(Either))
    )
    const spec = OpenApi.fromApi(api)
    assert.deepStrictEqual(spec.components.securitySchemes, {
      bearer: { type: "http", scheme: "bearer" },
      browser: { type: "apiKey", in: "cookie", name: "sid" },
      native: { type: "http", scheme: "bearer" }
    })
    assert.deepStrictEqual(spec.paths["/a"]?.get?.security, [{ bearer: [] }])
    assert.deepStrictEqual(spec.paths["/b"]?.get?.security, [{ browser: [] }, { native: [] }])
    assert.sameMembers(Object.keys(spec.paths["/a"]?.get?.responses ?? {}), ["204", "400", "401", "503"])
    assert.sameMembers(Object.keys(spec.paths["/b"]?.get?.responses ?? {}), ["204", "400", "401"])
  })
})

describe("N6: a request of an HttpApi", () => {
  it.effect("not touched: no store call, no header", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      const answer = yield* client.get("/untouched")
      assert.strictEqual(answer.status, 200)
      assertNoCookie(answer)
      assert.isNull(answer.headers.get("vary"))
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(Effect.provide(live())))

  it.effect("commits before the response leaves, and reads what it committed", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      assertCookie(yield* client.get("/visits"))
      const answer = yield* client.post("/visits", { json: { by: 3 } })
      assert.strictEqual(yield* answer.json, 4)
      assertNoCookie(answer)
      assert.deepStrictEqual(yield* controls.methods, ["create", "load", "update"])
    }).pipe(Effect.provide(live())))

  it.effect("a payload that does not decode is a 400 that commits nothing", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      yield* client.get("/visits")
      yield* controls.reset
      const answer = yield* client.post("/visits", { json: { by: "three" } })
      assert.strictEqual(answer.status, 400)
      assertNoCookie(answer)
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(Effect.provide(live())))

  it.effect("a declared failure below 500 commits, a defect does not", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      const failed = yield* client.get("/fails")
      assert.strictEqual(failed.status, 404)
      assert.deepStrictEqual(yield* failed.json, { _tag: "NoSuchUser", name: "nobody" })
      assertCookie(failed)
      const died = yield* client.get("/dies")
      assert.strictEqual(died.status, 500)
      assertNoCookie(died)
      assert.strictEqual(yield* (yield* client.get("/visits")).json, 2)
    }).pipe(Effect.provide(live())))

  it.effect("beside a security middleware of the app's own", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      const refused = yield* client.get("/machines")
      assert.strictEqual(refused.status, 401)
      assertNoCookie(refused)
      const answer = yield* client.get("/machines", { headers: { "x-api-key": "secret" } })
      assert.strictEqual(yield* answer.json, "robot 1")
      assertCookie(answer)
    }).pipe(Effect.provide(live())))

  it.effect("a stream commits again after its head", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      const answer = yield* client.get("/stream")
      assertCookie(answer)
      assert.strictEqual(yield* answer.text, "2")
      assert.strictEqual(yield* (yield* client.get("/visits")).json, 3)
    }).pipe(Effect.provide(live())))

  it.effect("multipart", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      const form = new FormData()
      form.set("file", new Blob(["a few bytes"]), "file.txt")
      const answer = yield* client.post("/upload", { body: form })
      assert.deepStrictEqual(yield* answer.json, { length: 11, visits: 1 })
      assertCookie(answer)
    }).pipe(Effect.provide(live())))
})

describe("N6: a store that fails under an HttpApi", () => {
  it.effect("is a 503 of an endpoint that declares it, without the cause, and of one that does not", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      yield* client.get("/visits")
      yield* controls.fail("load", { error: broken() })
      const declared = yield* client.get("/loads")
      assert.strictEqual(declared.status, 503)
      assertNoCookie(declared)
      const text = yield* declared.text
      assert.include(text, "\"_tag\":\"StoreError\"")
      assert.notInclude(text, "secret")
      assert.notInclude(text, "cause")
      yield* controls.fail("load", { error: broken() })
      const implicit = yield* client.get("/visits")
      assert.strictEqual(implicit.status, 503)
      assertNoCookie(implicit)
      assert.notInclude(yield* implicit.text, "secret")
    }).pipe(Effect.provide(live())))

  it.effect("is a bare 503 when the commit fails", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      yield* controls.fail("create")
      const answer = yield* client.get("/visits")
      assert.strictEqual(answer.status, 503)
      assertNoCookie(answer)
      assert.strictEqual(yield* answer.text, "")
    }).pipe(Effect.provide(live())))

  it.effect("SessionGone has the same status, declared or not", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      assert.strictEqual((yield* client.get("/gone")).status, 401)
    }).pipe(Effect.provide(live())))

  it.effect("the policy is that of the layer", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      yield* client.get("/visits")
      yield* controls.fail("load")
      const answer = yield* client.get("/visits")
      assert.strictEqual(answer.status, 200)
      assertNoCookie(answer)
    }).pipe(Effect.provide(live(policy(SessionPolicy.layer({ onStoreFailure: "anonymous" }))))))
})

describe("N6: the generated client", () => {
  it.scoped("decodes values and declared errors, and its jar carries the session", () =>
    Effect.gen(function*() {
      const { client, jar } = yield* generated(ApiLive)
      assert.deepStrictEqual(yield* Effect.flip(client.users.me()), new Unauthorized({ why: "nobody is signed in" }))
      assert.isTrue(Cookies.isEmpty(yield* jar))
      assert.strictEqual(yield* client.visits.visit(), 1)
      const visitor = yield* Effect.map(jar, Cookies.getValue("__Host-session"))
      yield* client.users.login({ payload: new User({ name: "ada" }) })
      assert.notDeepEqual(yield* Effect.map(jar, Cookies.getValue("__Host-session")), visitor)
      assert.deepStrictEqual(yield* client.users.me(), new User({ name: "ada" }))
      assert.strictEqual(yield* client.visits.add({ payload: { by: 2 } }), 3)
      assert.deepStrictEqual(yield* Effect.flip(client.visits.fails()), new NoSuchUser({ name: "nobody" }))
      assert.deepStrictEqual(yield* client.users.find({ path: { name: "root" } }), new User({ name: "root" }))
      assert.strictEqual(yield* client.visits.loads(), 4)
      const form = new FormData()
      form.set("file", new Blob(["abc"]), "file.txt")
      assert.deepStrictEqual(yield* client.visits.upload({ payload: form }), { length: 3, visits: 5 })
      yield* client.users.logout()
      assert.deepStrictEqual(yield* Effect.flip(client.users.me()), new Unauthorized({ why: "nobody is signed in" }))
    }))

  it.effect("a logout removes the cookie", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start
      assertCookie(yield* client.post("/users/login", { json: { name: "ada" } }))
      assert.deepStrictEqual(yield* (yield* client.get("/users/me")).json, { name: "ada" })
      assertRemoval(yield* client.request("DELETE", "/users/logout"))
      assert.strictEqual((yield* client.get("/users/me")).status, 401)
      assert.include(yield* controls.methods, "remove")
    }).pipe(Effect.provide(live())))
})

describe("N6: a guard", () => {
  const me = HttpApiEndpoint.get("me", "/me").addSuccess(Schema.String)
  const Session_ = HttpApiSession.HttpApiSession
  const apis = {
    "on the endpoint, inside the session's": HttpApi.make("api").add(
      HttpApiGroup.make("group").add(me.middleware(SignedIn).middleware(Session_))
    ),
    "on the endpoint, outside of the session's": HttpApi.make("api").add(
      HttpApiGroup.make("group").add(me.middleware(Session_).middleware(SignedIn))
    ),
    "on the endpoint, the session's on the group": HttpApi.make("api").add(
      HttpApiGroup.make("group").add(me.middleware(SignedIn)).middleware(Session_)
    ),
    "on the group, the session's on the endpoint": HttpApi.make("api").add(
      HttpApiGroup.make("group").add(me.middleware(Session_)).middleware(SignedIn)
    ),
    "on the group, the session's on the api": HttpApi.make("api").add(
      HttpApiGroup.make("group").add(me).middleware(SignedIn)
    ).middleware(Session_),
    "on the api, the session's on the endpoint": HttpApi.make("api").add(
      HttpApiGroup.make("group").add(me.middleware(Session_))
    ).middleware(SignedIn)
  }
  // they differ in their types alone by where the middleware is, and so by which layer is asked for it
  type OnApi = typeof apis["on the group, the session's on the api"]
  for (const [place, api] of Object.entries(apis) as unknown as ReadonlyArray<readonly [string, OnApi]>) {
    it.effect(`${place}: both have one session, of one load and one commit`, () =>
      Effect.gen(function*() {
        const { client, controls } = yield* start
        const refused = yield* client.get("/me")
        assert.strictEqual(refused.status, 401)
        assert.deepStrictEqual(yield* refused.json, { _tag: "Unauthorized", why: "visit 1" })
        assertCookie(refused)
        yield* controls.reset
        const answer = yield* client.get("/me")
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(yield* answer.json, "visitor of 3")
        assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
      }).pipe(Effect.provide(serving(
        HttpApiBuilder.api(api).pipe(
          Layer.provide(HttpApiBuilder.group(api, "group", (handlers) =>
            handlers.handle("me", () =>
              Effect.zipWith(CurrentUser, increment, ({ name }, n) =>
                `${name} of ${n}`)))),
          Layer.provide(HttpApiSession.guard(
            SignedIn,
            Effect.filterOrFail(
              increment,
              (n) =>
                n > 1,
              (n) => new Unauthorized({ why: `visit ${n}` })
            ).pipe(Effect.as(new User({ name: "visitor" })))
          )),
          Layer.provide(HttpApiSession.layer)
        ),
        services()
      ))))
  }
})

describe("N6: other sessions", () => {
  class Admin extends Session.Tag<Admin>()("admin") {}
  class AdminSession extends HttpApiSession.Tag<AdminSession>()("admin", {
    security: HttpApiSecurity.apiKey({ in: "cookie", key: "__Host-admin" }),
    session: Admin
  }) {}
  class Checked extends HttpApiMiddleware.Tag<Checked>()("HttpApiSession/Checked", { failure: Unauthorized }) {}

  const AdminName = SessionField.make("name", Schema.String, { session: Admin })

  it.effect("a named session stands beside the default one, each with its cookie, and has guards", () => {
    const api = HttpApi.make("api").add(
      HttpApiGroup.make("group", { topLevel: true })
        .add(HttpApiEndpoint.get("visit", "/visit").addSuccess(Schema.Int))
        .add(HttpApiEndpoint.post("login", "/login"))
        .add(HttpApiEndpoint.get("me", "/me").addSuccess(Schema.String).middleware(Checked))
    ).middleware(AdminSession).middleware(HttpApiSession.HttpApiSession)
    const handlers = HttpApiBuilder.group(api, "group", (handlers) =>
      handlers
        .handle("visit", () => increment)
        .handle("login", () => SessionField.set(AdminName, "root"))
        .handle("me", () => Effect.orDie(AdminName)))
    return Effect.gen(function*() {
      const { client } = yield* start
      assertCookie(yield* client.get("/visit"))
      assert.strictEqual((yield* client.get("/me")).status, 401)
      const { setCookies } = yield* client.post("/login")
      assert.lengthOf(setCookies, 1)
      assert.match(setCookies[0] ?? "", /^__Host-admin=/)
      assert.strictEqual(yield* (yield* client.get("/me")).json, "root")
      assert.strictEqual(yield* (yield* client.get("/visit")).json, 2)
    }).pipe(Effect.provide(serving(
      HttpApiBuilder.api(api).pipe(
        Layer.provide(handlers),
        Layer.provide(HttpApiSession.guard(
          Checked,
          Effect.mapError(AdminName, () => new Unauthorized({ why: "no administrator" })),
          Admin
        )),
        Layer.provide([AdminSession.layer, HttpApiSession.layer]),
        Layer.provide(Layer.orDie(HttpMiddleware.layerSession(Admin, [
          CookieState.layer({ name: "__Host-admin" }),
          MemoryStore.layer()
        ])))
      ),
      services()
    )))
  })

  class Bearer extends HttpApiSession.Tag<Bearer>()("bearer", { security: HttpApiSecurity.bearer }) {}

  it.effect("a bearer header", () => {
    const api = HttpApi.make("api").add(
      HttpApiGroup.make("group").add(HttpApiEndpoint.get("visit", "/visit").addSuccess(Schema.Int))
    ).middleware(Bearer)
    return Effect.gen(function*() {
      const { client } = yield* start
      const first = yield* client.get("/visit")
      const authorization = first.headers.get("authorization") ?? ""
      assert.match(authorization, /^Bearer .{43}$/)
      const answer = yield* client.get("/visit", { headers: { authorization } })
      assert.strictEqual(yield* answer.json, 2)
    }).pipe(Effect.provide(serving(
      HttpApiBuilder.api(api).pipe(
        Layer.provide(HttpApiBuilder.group(api, "group", (handlers) => handlers.handle("visit", () => increment))),
        Layer.provide(Bearer.layer)
      ),
      Layer.merge(Layer.orDie(HeaderState.layer()), Layer.orDie(testing.controlled(MemoryStore.layer())))
    )))
  })

  class Linked extends HttpApiSession.Tag<Linked>()("linked", {
    security: HttpApiSecurity.apiKey({ in: "query", key: "session" })
  }) {}

  it.effect("a parameter of the URL, on a group", () => {
    const api = HttpApi.make("api").add(
      HttpApiGroup.make("group")
        .add(HttpApiEndpoint.get("visit", "/visit").addSuccess(Schema.Int))
        .add(HttpApiEndpoint.get("link", "/link").addSuccess(Schema.String))
        .middleware(Linked)
    )
    const handlers = HttpApiBuilder.group(api, "group", (handlers) =>
      handlers
        .handle("visit", () => increment)
        .handle("link", () => Effect.orDie(Effect.map(Effect.zipRight(increment, Session.token), Redacted.value))))
    return Effect.gen(function*() {
      const { client } = yield* start
      const token = yield* (yield* client.get("/link")).json
      assert.strictEqual(yield* (yield* client.get(`/visit?session=${token}`)).json, 2)
    }).pipe(Effect.provide(serving(
      HttpApiBuilder.api(api).pipe(Layer.provide(handlers), Layer.provide(Linked.layer)),
      Layer.merge(
        Layer.orDie(ParamState.layer({ key: "session" })),
        Layer.orDie(testing.controlled(MemoryStore.layer()))
      )
    )))
  })

  const warnings = <I>(layer: Layer.Layer<I, never, Needed>, state: Layer.Layer<State.State, unknown>) =>
    logged((lines) =>
      Layer.build(layer).pipe(
        Effect.provide([Layer.orDie(state), MemoryStore.layer()]),
        Effect.orDie,
        Effect.map(() => lines.filter(({ level }) => level === "WARN").map(({ message }) => message))
      )
    )

  it.scoped("a scheme that names what the State does not read is a warning when the layer is built", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* warnings(HttpApiSession.layer, CookieState.layer()), [])
      const [wrong = "", ...more] = yield* warnings(HttpApiSession.layer, CookieState.layer({ secure: false }))
      assert.deepStrictEqual(more, [])
      assert.include(wrong, "cookie:__Host-session")
      assert.include(wrong, "cookie:session")
      assert.lengthOf(yield* warnings(Bearer.layer, CookieState.layer()), 1)
      assert.deepStrictEqual(yield* warnings(Bearer.layer, HeaderState.layer()), [])
      assert.deepStrictEqual(yield* warnings(Linked.layer, ParamState.layer({ key: "session" })), [])
      assert.lengthOf(yield* warnings(Linked.layer, ParamState.layer({ key: "sid" })), 1)
    }))
})

describe("StoreError", () => {
  it("is encoded without its cause, and decoded", () => {
    const error = broken()
    assert.instanceOf(error.cause, Error)
    const encoded = Schema.encodeSync(Store.StoreError)(error)
    assert.deepStrictEqual(encoded, { _tag: "StoreError", reason: "Unavailable", method: "load" })
    const decoded = Schema.decodeUnknownEither(Store.StoreError)({ ...encoded, cause: "planted" })
    assert.isUndefined(Either.getOrThrow(decoded).cause)
  })
})
