/**
 * The platform's pitfalls, as effect/platform 0.97 has them, each with the outcome a session owes.
 */
import { HttpApp, HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberRef,
  Layer,
  Option,
  Redacted,
  Ref,
  Schema,
  Stream,
  TestClock
} from "effect"
import {
  CookieState,
  HttpMiddleware,
  MemoryStore,
  Session,
  SessionField,
  SessionPolicy,
  SessionToken,
  State,
  Store
} from "effect-session"
import * as testing from "effect-session/testing"
import { Readable } from "node:stream"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, assertNoCookie, increment, services } = fixture

const read = answering(SessionField.get(fixture.Count))

/** The app on a real port, for one test. */
const serving = <A, E>(
  app: Layer.Layer<never, never, HttpServer.HttpServer | State.State | Store.Store>,
  test: (url: string, controls: testing.StoreControls) => Effect.Effect<A, E>
) =>
  Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    const controls = yield* testing.Controls
    return yield* test(`http://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}`, controls)
  }).pipe(
    Effect.provide(app.pipe(Layer.provideMerge(services()), Layer.provideMerge(NodeHttpServer.layerTest))),
    Effect.scoped,
    fixture.quietly
  )

const fetching = (url: string, init?: RequestInit): Effect.Effect<Response> =>
  Effect.promise((signal) => fetch(url, { signal, ...init }))

const tokenOf = (web: Response): string => {
  const lines = web.headers.getSetCookie()
  assert.lengthOf(lines, 1)
  return /^__Host-session=([A-Za-z0-9_-]{43});/.exec(lines[0] ?? "")?.[1] ?? assert.fail("no token")
}

const cookie = (token: string) => ({ headers: { cookie: `${fixture.cookieName}=${token}` } })

describe("the commit handler is called twice", () => {
  it.live("S63: a header that can't be written: the platform's 500 carries the cookie of what was persisted once", () =>
    serving(
      HttpServer.serve(
        fixture.routes({
          "/bad": Effect.as(increment, HttpServerResponse.text("", { headers: { "x-bad": "a\nb" } })),
          "/read": read
        }),
        HttpMiddleware.session
      ),
      (url, controls) =>
        Effect.gen(function*() {
          const answer = yield* fetching(`${url}/bad`)
          assert.strictEqual(answer.status, 500)
          const token = tokenOf(answer)
          assert.deepStrictEqual(yield* controls.methods, ["create"])
          const again = yield* fetching(`${url}/read`, cookie(token))
          assert.strictEqual(yield* Effect.promise(() => again.text()), "1")
        })
    ))

  for (const status of [200, 500]) {
    it.effect(`persists once and tells the client on each call, the second of them for a ${status}`, () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        let twice: HttpServerResponse.HttpServerResponse | undefined
        const app = HttpMiddleware.session(Effect.gen(function*() {
          yield* increment
          const request = yield* HttpServerRequest.HttpServerRequest
          const handlers = yield* currentHandlers
          const late = Effect.provideService(increment, Session.Session, yield* Session.Session)
          yield* HttpApp.appendPreResponseHandler((_, response) =>
            Effect.tap(
              Effect.zipRight(late, handlers(request, HttpServerResponse.empty({ status }))),
              (again) => {
                twice = again
                return Effect.succeed(response)
              }
            )
          )
          return fixture.done
        }))
        const client = yield* testing.client(app)
        const token = assertCookie(yield* client.get("/"))
        assert.deepStrictEqual(yield* controls.methods, ["create"])
        const sent = twice?.cookies.cookies[fixture.cookieName]?.value
        assert.strictEqual(sent, token)
      }).pipe(fixture.quietly, Effect.provide(services())))
  }

  it.effect("says nothing on either call of a session that was not touched", () =>
    Effect.gen(function*() {
      const responses = [fixture.done, HttpServerResponse.empty({ status: 404 })]
      const answers: Array<HttpServerResponse.HttpServerResponse> = []
      const app = HttpMiddleware.session(Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const handlers = yield* currentHandlers
        for (const response of responses) {
          answers.push(yield* handlers(request, response))
        }
        return fixture.done
      }))
      const client = yield* testing.client(app)
      assertNoCookie(yield* client.get("/"))
      assert.lengthOf(answers, 2)
      answers.forEach((answer, call) => assert.strictEqual(answer, responses[call]))
    }).pipe(fixture.quietly, Effect.provide(services())))

  const currentHandlers = Effect.map(FiberRef.get(HttpApp.currentPreResponseHandlers), Option.getOrThrow)

  it.live("S67: a stream that fails after the head: persisted once, and nothing hangs", () =>
    serving(
      HttpServer.serve(
        Effect.as(
          increment,
          HttpServerResponse.stream(Stream.concat(
            Stream.make(new TextEncoder().encode("first")),
            Stream.fail("broken")
          ))
        ),
        HttpMiddleware.session
      ),
      (url, controls) =>
        Effect.gen(function*() {
          const answer = yield* fetching(url)
          assert.strictEqual(answer.status, 200)
          tokenOf(answer)
          yield* Effect.exit(Effect.tryPromise(() => answer.text()))
          assert.deepStrictEqual(yield* controls.methods, ["create"])
        })
    ))

  it.live("S67: a client that leaves in mid stream: what was persisted stays, once", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      yield* serving(
        HttpServer.serve(
          Effect.as(
            increment,
            HttpServerResponse.stream(
              Stream.make(new TextEncoder().encode("first")).pipe(
                Stream.concat(Stream.never),
                Stream.ensuring(Deferred.succeed(ended, undefined))
              )
            )
          ),
          HttpMiddleware.session
        ),
        (url, controls) =>
          Effect.gen(function*() {
            const leaving = new AbortController()
            const answer = yield* fetching(url, { signal: leaving.signal })
            tokenOf(answer)
            leaving.abort()
            yield* Deferred.await(ended)
            assert.deepStrictEqual(yield* controls.methods, ["create"])
          })
      )
    }))
})

describe("a store that hangs", () => {
  const app = HttpMiddleware.session(fixture.routes({
    "/add": answering(increment),
    "/swallow": answering(Effect.catchAllCause(increment, () => Effect.succeed("swallowed"))),
    "/read": read,
    "/login": answering(Session.renew),
    "/logout": answering(Session.destroy)
  }))

  for (
    const [method, path, calls] of [
      ["load", "/add", ["load"]],
      ["load", "/swallow", ["load"]],
      ["load", "/logout", ["load"]],
      ["update", "/add", ["load", "update"]],
      ["renew", "/login", ["load", "renew"]],
      ["remove", "/logout", ["load", "remove"]]
    ] as const
  ) {
    it.effect(`S66 S67: in ${method}, ${path}: 503 after 5 seconds, the call is interrupted, nothing is left behind`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const client = yield* testing.client(app)
          const controls = yield* testing.Controls
          yield* client.get("/add")
          yield* controls.reset
          const held = yield* controls.hold(method)
          const before = yield* fixture.counted("store_failures")
          const slow = yield* client.fork("GET", path)
          yield* held.arrived
          yield* TestClock.adjust(4999)
          assert.isTrue(Option.isNone(yield* Fiber.poll(slow)))
          yield* TestClock.adjust(1)
          const answer = yield* slow
          assert.strictEqual(answer.status, 503)
          assertNoCookie(answer)
          yield* held.interrupted
          assert.deepStrictEqual(yield* controls.methods, calls)
          assert.strictEqual((yield* fixture.counted("store_failures")) - before, 1)
          assert.lengthOf(lines.filter(({ level, message }) => level === "ERROR" && message.includes("Timeout")), 1)
          assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
        })
      ).pipe(fixture.leavingNoFiber, Effect.provide(services())))
  }

  it.effect("S66: in create: 503, and no cookie", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      const controls = yield* testing.Controls
      yield* controls.hang("create")
      const slow = yield* client.fork("GET", "/add")
      yield* controls.arrived("create")
      yield* TestClock.adjust("5 seconds")
      const answer = yield* slow
      assert.strictEqual(answer.status, 503)
      assertNoCookie(answer)
    }).pipe(fixture.quietly, fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("S66: in create: a body that is not sent is given up, such as that of a file, which holds its descriptor", () =>
    Effect.gen(function*() {
      const file = Readable.from(["body"])
      let cancelled = false
      const fetched = new Response(new ReadableStream({ cancel: () => void (cancelled = true) }))
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/file": Effect.as(increment, HttpServerResponse.raw(file)),
        "/fetched": Effect.as(increment, HttpServerResponse.raw(fetched))
      })))
      const controls = yield* testing.Controls
      yield* controls.fail("create", { times: 2 })
      assert.strictEqual((yield* client.get("/file")).status, 503)
      assert.isTrue(file.destroyed)
      assert.strictEqual((yield* client.get("/fetched")).status, 503)
      assert.isTrue(cancelled)
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.scoped("S57 S66: in create: the 503 carries another session's new cookie, and no cache may keep it", () =>
    Effect.gen(function*() {
      class Other extends Session.Tag<Other>()("other") {}
      const adding = Effect.zipRight(Session.verbs(Other).set({ a: 1 }), fixture.answering(increment))
      const layer = HttpMiddleware.layerSession(Other, [
        CookieState.layer({ name: "__Host-other" }),
        MemoryStore.layer()
      ])
      const other = yield* Layer.build(layer)
      const both = HttpMiddleware.sessionOf(Other)(HttpMiddleware.session(adding))
      const client = yield* testing.client(Effect.provide(both, other))
      const controls = yield* testing.Controls
      yield* controls.fail("create")
      const answer = yield* client.get("/")
      assert.strictEqual(answer.status, 503)
      assert.match(answer.setCookies.join(), /^__Host-other=/)
      assert.strictEqual(answer.headers.get("cache-control"), "no-store")
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("S66: those that queue behind a write that hangs are served once it has timed out", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      const controls = yield* testing.Controls
      yield* client.get("/add")
      yield* controls.hang("update")
      const stuck = yield* client.fork("GET", "/add")
      yield* controls.arrived("update")
      yield* TestClock.adjust("1 second")
      const behind = yield* client.fork("GET", "/add")
      yield* controls.arrived("load", 2)
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* stuck).status, 503)
      const answer = yield* behind
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "2")
    }).pipe(fixture.quietly, fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("S66: slow but in time: served", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      const controls = yield* testing.Controls
      yield* client.get("/add")
      yield* controls.latency("any", "4 seconds")
      const slow = yield* client.fork("GET", "/add")
      yield* TestClock.adjust("4 seconds")
      yield* controls.arrived("update")
      yield* TestClock.adjust("4 seconds")
      const answer = yield* slow
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(yield* answer.text, "2")
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("S66: others that win every attempt until the time is up: 503 by Contention", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const inner = yield* Store.Store
        const contended = Store.make({
          ...inner,
          update: (token, _revision, _record, call) =>
            Effect.zipRight(
              Effect.sleep("1 second"),
              Effect.map(Effect.suspend(() => inner.load(token, call)), (found) =>
                found._tag === "Live"
                  ? Store.conflict({ ...found.record, revision: found.record.revision + 1 })
                  : Store.gone)
            )
        })
        const client = yield* Effect.provideService(testing.client(app), Store.Store, contended)
        yield* client.get("/add")
        const slow = yield* client.fork("GET", "/add")
        yield* Effect.repeatN(Effect.zipRight(Effect.yieldNow(), TestClock.adjust("1 second")), 6)
        assert.strictEqual((yield* slow).status, 503)
        assert.lengthOf(lines.filter(({ message }) => message.includes("Contention")), 1)
      })
    ).pipe(fixture.leavingNoFiber, Effect.provide(services())))
})

describe("a store that does what it was asked, and whose answer is lost", () => {
  const app = HttpMiddleware.session(fixture.routes({
    "/add": answering(increment),
    "/read": read,
    "/login": answering(Session.renew),
    "/logout": answering(Session.destroy)
  }))

  for (
    const [method, path, left] of [
      ["create", "/add", "0"],
      ["update", "/add", "2"],
      ["renew", "/login", "0"],
      ["remove", "/logout", "0"],
      ["touch", "/read", "1"]
    ] as const
  ) {
    it.effect(`S66 S67: ${method}: ${method === "touch" ? "served" : "503, and no cookie"}; never two sessions that live`, () =>
      Effect.gen(function*() {
        const client = yield* testing.client(app)
        const controls = yield* testing.Controls
        if (method !== "create") {
          yield* client.get("/add")
          yield* TestClock.adjust("10 minutes")
        }
        yield* controls.fail(method, { at: "after" })
        const answer = yield* client.get(path)
        assert.strictEqual(answer.status, method === "touch" ? 200 : 503)
        assertNoCookie(answer)
        assert.strictEqual(yield* (yield* client.get("/read")).text, left)
        const store = yield* Store.Store
        const tokens = (yield* controls.calls).flatMap(({ next, token }) =>
          next === undefined ? [token] : [token, next]
        )
        const lives = yield* Effect.filter(
          [...new Map(tokens.map((token) => [Redacted.value(token), token])).values()],
          (token) => Effect.map(clocked(store).load(token), ({ _tag }) => _tag === "Live")
        )
        assert.lengthOf(lives, method === "remove" ? 0 : 1)
      }).pipe(fixture.quietly, fixture.leavingNoFiber, Effect.provide(services())))
  }
})

describe("a commit that the handler stops waiting for", () => {
  const app = (before: Effect.Effect<unknown, never, Session.Session>, arrived: Effect.Effect<unknown>) =>
    Effect.gen(function*() {
      const left = yield* Deferred.make<void>()
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/": Effect.gen(function*() {
          yield* before
          const commit = yield* Effect.fork(Effect.interruptible(Session.commit))
          yield* arrived
          yield* Fiber.interrupt(commit)
          yield* Deferred.succeed(left, undefined)
          return HttpServerResponse.empty({ status: 500 })
        })
      })))
      return { client, left }
    })

  for (
    const [what, method, before] of [
      ["a first session", "create", increment],
      ["a renewed session", "renew", Session.renew]
    ] as const
  ) {
    it.effect(`S67: ${what}: the 500 waits for it, and delivers the token that it landed`, () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const held = yield* controls.hold(method)
        const { client, left } = yield* app(before, held.arrived)
        if (method === "renew") {
          yield* client.get("/add")
        }
        const answering = yield* client.fork("GET", "/")
        yield* Deferred.await(left)
        yield* Effect.repeatN(Effect.yieldNow(), 20)
        yield* held.release
        const answer = yield* Fiber.join(answering)
        assert.strictEqual(answer.status, 500)
        const store = yield* Store.Store
        const found = yield* clocked(store).load(SessionToken.fromString(assertCookie(answer)))
        assert.strictEqual(found._tag, "Live")
      }).pipe(Effect.provide(services())))
  }
})

describe("updates that go past the size limit together with another request's", () => {
  const limited = Layer.mergeAll(
    Layer.orDie(CookieState.layer()),
    Layer.orDie(MemoryStore.layer()),
    fixture.policy(SessionPolicy.layer({ maxSize: 200 }))
  )
  const put = (key: string, size: number) =>
    Effect.flatMap(Session.Session, Ref.update((data) => ({ ...data, [key]: "x".repeat(size) })))

  it.effect("S56: on a store that answers at once: 413, which varies as any other, and the other's update stands", () =>
    Effect.gen(function*() {
      const arrived = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/fast": answering(put("fast", 150)),
        "/read": answering(Effect.map(Effect.flatMap(Session.Session, Ref.get), (data) => Object.keys(data).join())),
        "/slow": answering(
          Effect.zipRight(put("slow", 150), Effect.zipRight(Deferred.succeed(arrived, undefined), Deferred.await(go)))
        )
      })))
      yield* client.get("/add")
      const slow = yield* client.fork("GET", "/slow")
      yield* Deferred.await(arrived)
      assert.strictEqual((yield* client.get("/fast")).status, 200)
      yield* Deferred.succeed(go, undefined)
      const answer = yield* Fiber.join(slow)
      assert.strictEqual(answer.status, 413)
      assert.strictEqual(answer.headers.get("vary"), "Cookie")
      assert.strictEqual(yield* (yield* client.get("/read")).text, "n,fast")
    }).pipe(fixture.quietly, Effect.provide(limited)))

  it.effect("the token that an earlier commit landed is delivered", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/": answering(Effect.gen(function*() {
          yield* put("first", 150)
          const token = yield* Session.token
          yield* put("second", 20)
          const found = yield* clocked(store).load(token)
          assert(found._tag === "Live")
          const { data } = testing.record({ data: { ...found.record.data, other: "x".repeat(20) } })
          yield* clocked(store).update(token, found.record.revision, { ...found.record, data })
        }))
      })))
      const answer = yield* client.get("/")
      assert.strictEqual(answer.status, 413)
      assertCookie(answer)
    }).pipe(fixture.quietly, Effect.provide(limited)))
})

describe("a defect in a custom store", () => {
  for (
    const [name, fault] of [
      ["throws", () => {
        throw new Error("not an Effect at all")
      }],
      ["dies", () => Effect.die("a defect")],
      ["interrupts itself", () => Effect.interrupt]
    ] as ReadonlyArray<readonly [string, () => Effect.Effect<never, Store.StoreError>]>
  ) {
    for (const method of ["load", "update", "touch"] as const) {
      it.effect(`S66: ${method} ${name}: a failure like any other`, () =>
        Effect.gen(function*() {
          const inner = yield* Store.Store
          const app = HttpMiddleware.session(fixture.routes({ "/add": answering(increment), "/read": read }))
          const good = yield* testing.client(app)
          const token = assertCookie(yield* good.get("/add"))
          yield* TestClock.adjust("10 minutes")
          const bad = yield* Effect.provideService(
            testing.client(app),
            Store.Store,
            Store.make({ ...inner, [method]: fault })
          )
          const before = yield* fixture.counted("store_failures")
          const answer = yield* bad.get(method === "touch" ? "/read" : "/add", {
            cookies: `${fixture.cookieName}=${token}`
          })
          assert.strictEqual(answer.status, method === "touch" ? 200 : 503)
          assertNoCookie(answer)
          assert.strictEqual((yield* fixture.counted("store_failures")) - before, 1)
        }).pipe(fixture.quietly, fixture.leavingNoFiber, Effect.provide(services())))
    }
  }

  const defective: { readonly [how: string]: State.Transport["emit"] } = {
    dies: () => Effect.die("a defect"),
    throws: () => {
      throw new Error("a defect")
    }
  }
  for (const [how, emit] of Object.entries(defective)) {
    it.effect(`a state that ${how} when it is to emit: 500, logged, and nothing hangs`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const inner = yield* State.State
          const [transport] = inner.transports
          const client = yield* Effect.provideService(
            testing.client(HttpMiddleware.session(answering(increment))),
            State.State,
            State.make({ ...transport, emit })
          )
          assert.strictEqual((yield* client.get("/")).status, 500)
          assert.lengthOf(
            lines.filter(({ level, message }) =>
              level === "ERROR" && message.includes("could not be put into the response") &&
              message.includes("a defect")
            ),
            1
          )
        })
      ).pipe(Effect.provide(services())))
  }
})

describe("one session per request", () => {
  it.effect("two session middlewares, a third on a route: one load, one Ref, one cookie", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const inner = HttpMiddleware.session(answering(Effect.zipRight(increment, Session.id)))
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/", Effect.flatMap(increment, () => inner)),
        HttpRouter.use(HttpMiddleware.session)
      )
      const client = yield* testing.client(HttpMiddleware.session(Effect.flatMap(
        Session.id,
        (id) => Effect.map(router, (response) => HttpServerResponse.setHeader(response, "x-id", id))
      )))
      assertCookie(yield* client.get("/"))
      assert.deepStrictEqual(yield* controls.methods, ["create"])
      yield* controls.reset
      assertNoCookie(yield* client.get("/"))
      assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
    }).pipe(Effect.provide(services())))

  it.live("serve and route stacked on a node server: one load, one cookie", () =>
    serving(
      HttpServer.serve(
        HttpRouter.empty.pipe(HttpRouter.get("/", answering(increment)), HttpRouter.use(HttpMiddleware.session)),
        HttpMiddleware.session
      ),
      (url, controls) =>
        Effect.gen(function*() {
          const token = tokenOf(yield* fetching(url))
          const answer = yield* fetching(url, cookie(token))
          assert.strictEqual(yield* Effect.promise(() => answer.text()), "2")
          assert.deepStrictEqual(yield* controls.methods, ["create", "load", "update"])
        })
    ))

  it.effect("a sub-handler built from another request's runtime has a session of its own", () =>
    Effect.gen(function*() {
      let inside: Response | undefined
      const sub = HttpMiddleware.session(Effect.map(
        Effect.zip(increment, Session.isNew),
        ([n, isNew]) => HttpServerResponse.text(`${n} ${isNew}`)
      ))
      const app = HttpMiddleware.session(Effect.gen(function*() {
        yield* increment
        const runtime = yield* Effect.runtime<Store.Store | State.State | Session.Session>()
        inside = yield* Effect.promise(() =>
          HttpApp.toWebHandlerRuntime(runtime)(sub)(new Request("https://inside.test/"))
        )
        return HttpServerResponse.text(`${yield* SessionField.get(fixture.Count)}`)
      }))
      const client = yield* testing.client(app)
      const outside = yield* client.get("/")
      assert.strictEqual(yield* outside.text, "1")
      const token = assertCookie(outside)
      const web = inside ?? assert.fail("no answer inside")
      assert.strictEqual(yield* Effect.promise(() => web.text()), "1 true")
      assert.notStrictEqual(tokenOf(web), token)
      // and once more, with sessions on both sides
      assert.strictEqual(yield* (yield* client.get("/")).text, "2")
    }).pipe(Effect.provide(services())))

  it.effect("one web Request handled by two apps, each with its own store: each has its own session", () =>
    Effect.gen(function*() {
      const handler = Effect.map(
        Effect.runtime<State.State | Store.Store>(),
        (runtime) => HttpApp.toWebHandlerRuntime(runtime)(HttpMiddleware.session(answering(increment)))
      )
      const first = yield* handler
      const second = yield* Effect.provide(handler, MemoryStore.layer())
      const request = new Request("https://app.test/")
      const tokens = [
        tokenOf(yield* Effect.promise(() => first(request))),
        tokenOf(yield* Effect.promise(() => second(request)))
      ]
      assert.notStrictEqual(tokens[0], tokens[1])
      const one = yield* Store.Store
      assert.strictEqual((yield* clocked(one).load(SessionToken.fromString(tokens[1] ?? "")))._tag, "None")
    }).pipe(Effect.provide(services())))

  it.live("the store's layer is built once for all requests", () => {
    let built = 0
    const { dispose, handler } = HttpApp.toWebHandlerLayer(
      HttpMiddleware.session(answering(increment)),
      Layer.merge(
        Layer.orDie(CookieState.layer()),
        Layer.scoped(Store.Store, Effect.tap(Effect.orDie(MemoryStore.make()), () => Effect.sync(() => built++)))
      )
    )
    return Effect.gen(function*() {
      yield* Effect.promise(() => handler(new Request("https://app.test/")))
      yield* Effect.promise(() => handler(new Request("https://app.test/")))
      assert.strictEqual(built, 1)
    }).pipe(Effect.ensuring(Effect.promise(dispose)))
  })
})

describe("an app with a State and a Store of its own, below another session's middleware", () => {
  const User = SessionField.make("user", Schema.String, { default: () => "nobody" })
  const admin = fixture.routes({
    "/a": answering(SessionField.get(User)),
    "/a/login": answering(SessionField.set(User, "root")),
    "/b": answering(SessionField.get(User)),
    "/b/login": answering(SessionField.set(User, "root"))
  }).pipe(HttpMiddleware.session)
  const adminLayers = Layer.merge(CookieState.layer({ name: "__Host-admin" }), MemoryStore.layer())

  const mounted = <E>(app: HttpApp.Default<E>) =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpRouter.empty.pipe(
        HttpRouter.get("/signup", answering(SessionField.set(User, "mallory"))),
        HttpRouter.get("/user", answering(SessionField.get(User))),
        HttpRouter.mountApp("/a", app, { includePrefix: true }),
        HttpRouter.mountApp("/b", app, { includePrefix: true }),
        HttpMiddleware.session
      ))
      return {
        names: Effect.map(client.cookies, (cookies) => cookies.map(({ name }) => name)),
        says: (path: string) => Effect.flatMap(client.get(path), ({ text }) => text)
      }
    })

  const hasItsOwn = <E>(mount: "/a" | "/b", app: HttpApp.Default<E>) =>
    Effect.gen(function*() {
      const { names, says } = yield* mounted(app)
      yield* says("/signup")
      assert.strictEqual(yield* says(mount), "nobody")
      yield* says(`${mount}/login`)
      assert.strictEqual(yield* says(mount), "root")
      assert.strictEqual(yield* says("/user"), "mallory")
      assert.deepStrictEqual(yield* names, [fixture.cookieName, "__Host-admin"])
    })

  it.effect("C6: run from a web handler, which is given the very same request, it has a session of its own", () =>
    Effect.gen(function*() {
      const { dispose, handler } = HttpApp.toWebHandlerLayer(admin, Layer.orDie(adminLayers))
      yield* Effect.ensuring(hasItsOwn("/a", HttpApp.fromWebHandler(handler)), Effect.promise(dispose))
    }).pipe(Effect.provide(services())))

  it.scoped("C6: with its layers provided around it, it has a session of its own", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(adminLayers)
      yield* hasItsOwn("/b", Effect.provide(admin, context))
    }).pipe(Effect.provide(services())))

  it.scoped("C6: one named session twice, each with layers of its own: two sessions", () =>
    Effect.gen(function*() {
      class Admin extends Session.Tag<Admin>()("pitfalls-admin") {}
      const Level = SessionField.make("level", Schema.Int, { default: () => 0, session: Admin })
      const up = SessionField.updateAndGet(Level, (n) => n + 1)
      const named = (name: string) =>
        Layer.build(HttpMiddleware.layerSession(Admin, [CookieState.layer({ name }), MemoryStore.layer()]))
      const outer = yield* named("__Host-outer")
      const inner = yield* named("__Host-inner")
      const below = answering(up).pipe(HttpMiddleware.sessionOf(Admin), Effect.provide(inner))
      const client = yield* testing.client(
        Effect.all([up, up, below]).pipe(
          Effect.map(([, , response]) => response),
          HttpMiddleware.sessionOf(Admin),
          Effect.provide(outer)
        )
      )
      assert.strictEqual(yield* (yield* client.get("/")).text, "1")
      assert.strictEqual(yield* (yield* client.get("/")).text, "2")
      assert.deepStrictEqual((yield* client.cookies).map(({ name }) => name).sort(), ["__Host-inner", "__Host-outer"])
    }))
})

describe("a request with an upgrade header", () => {
  const asking = (headers: Record<string, string>) => new Request("https://app.test/", { headers })

  for (const headers of [{}, { upgrade: "websocket" }] as ReadonlyArray<Record<string, string>>) {
    const title = headers["upgrade"] === undefined ? "without one" : "with one"

    it.effect(`C2: ${title}: answered once: the body's stream runs once, and is closed when it was read`, () =>
      Effect.gen(function*() {
        let begun = 0
        let open = 0
        const closed = yield* Deferred.make<void>()
        const body = Stream.unwrapScoped(Effect.as(
          Effect.acquireRelease(
            Effect.sync(() => {
              begun += 1
              open += 1
            }),
            () =>
              Effect.suspend(() => {
                open -= 1
                return Deferred.succeed(closed, undefined)
              })
          ),
          Stream.concat(Stream.make("first"), Stream.never)
        ))
        const { dispose, handler } = HttpApp.toWebHandlerLayer(
          HttpMiddleware.session(Effect.as(increment, HttpServerResponse.stream(Stream.encodeText(body)))),
          Layer.orDie(Layer.merge(CookieState.layer(), MemoryStore.layer())),
          { middleware: HttpMiddleware.session as never }
        )
        const web = yield* Effect.promise(() => handler(asking(headers)))
        tokenOf(web)
        const reader = web.body?.getReader() ?? assert.fail("no body")
        yield* Effect.promise(() => reader.read())
        yield* Effect.promise(() => reader.cancel())
        yield* Deferred.await(closed)
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        assert.deepStrictEqual([begun, open], [1, 0])
        yield* Effect.promise(dispose)
      }))

    it.effect(`C2: ${title}: the handler is given the same request that came`, () =>
      Effect.gen(function*() {
        const client = yield* testing.client(Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          (came) =>
            HttpMiddleware.session(Effect.map(
              Effect.zip(HttpServerRequest.HttpServerRequest, increment),
              ([given]) => HttpServerResponse.text(String(given === came))
            ))
        ))
        assert.strictEqual(yield* (yield* client.get("/", { headers })).text, "true")
      }).pipe(Effect.provide(services())))
  }
})

describe("S67: the client goes away", () => {
  /** A router's handlers are interrupted by a client that leaves. */
  const interrupted = (steps: {
    readonly before: Effect.Effect<unknown, never, Session.Session>
    readonly at: Effect.Effect<void>
    readonly ended: Deferred.Deferred<void>
  }) =>
    HttpMiddleware.session(HttpRouter.empty.pipe(
      HttpRouter.get("/add", answering(increment)),
      HttpRouter.get("/read", read),
      HttpRouter.get(
        "/slow",
        answering(Effect.zipRight(steps.before, Effect.zipRight(steps.at, Effect.never))).pipe(
          Effect.ensuring(Deferred.succeed(steps.ended, undefined))
        )
      )
    ))

  for (
    const [step, before, calls] of [
      ["before it touched the session", Effect.void, []],
      ["after a read", Session.load, ["load"]],
      ["after a write", increment, ["load"]],
      ["after a renew", Session.renew, ["load"]],
      ["after an explicit commit", Effect.zipRight(increment, Effect.orDie(Session.commit)), ["load", "update"]],
      ["after a logout", Session.destroy, ["load", "remove"]]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, never, Session.Session>, ReadonlyArray<string>]>
  ) {
    it.effect(`while the handler runs, ${step}: nothing half committed`, () =>
      Effect.gen(function*() {
        const arrived = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const controls = yield* testing.Controls
        const client = yield* testing.client(
          interrupted({ before, at: Effect.asVoid(Deferred.succeed(arrived, undefined)), ended })
        )
        yield* client.get("/add")
        yield* controls.reset
        const leaving = yield* client.fork("GET", "/slow")
        yield* Deferred.await(arrived)
        yield* Fiber.interrupt(leaving)
        yield* Deferred.await(ended)
        if (calls.includes("remove")) {
          yield* controls.arrived("remove")
        }
        yield* Effect.repeatN(Effect.yieldNow(), 20)
        assert.deepStrictEqual(yield* controls.methods, calls)
      }).pipe(fixture.leavingNoFiber, Effect.provide(services())))
  }

  it.effect("while the load runs: the load ends by itself, and the handler sees the interruption", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      const controls = yield* testing.Controls
      const client = yield* testing.client(
        interrupted({ before: Session.load.pipe(Effect.orDie), at: Effect.void, ended })
      )
      yield* client.get("/add")
      const load = yield* controls.hold("load")
      const leaving = yield* client.fork("GET", "/slow")
      yield* load.arrived
      yield* Fiber.interrupt(leaving)
      yield* Deferred.await(ended)
      yield* load.release
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.deepStrictEqual(yield* controls.methods, ["create", "load"])
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("while the commit runs: it lands", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      const controls = yield* testing.Controls
      const client = yield* testing.client(interrupted({ before: Effect.void, at: Effect.void, ended }))
      yield* client.get("/add")
      const update = yield* controls.hold("update")
      const leaving = yield* client.fork("GET", "/add")
      yield* update.arrived
      yield* Fiber.interrupt(leaving)
      yield* update.release
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "2")
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))
})

describe("errors as answers", () => {
  it.effect("a response given as an error is committed like any other", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(
        Effect.zipRight(increment, Effect.fail(HttpServerResponse.empty({ status: 418 })))
      ))
      const answer = yield* client.get("/")
      assert.strictEqual(answer.status, 418)
      assertCookie(answer)
    }).pipe(Effect.provide(services())))

  it.effect("a handler that catches all causes and answers 503: delivered, nothing saved", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(HttpMiddleware.session(
        Effect.zipRight(increment, Effect.die("a defect")).pipe(
          Effect.catchAllCause(() => Effect.succeed(HttpServerResponse.text("sorry", { status: 503 })))
        )
      ))
      const answer = yield* client.get("/")
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(yield* answer.text, "sorry")
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(Effect.provide(services())))

  it.effect("a value that is not JSON is the handler's defect, 500, also when it is found by a transaction", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const seen: Array<string> = []
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/": answering(increment),
        "/bad": Session.transaction((data) => [undefined, { ...data, bad: Number.NaN }]).pipe(
          Effect.tapErrorCause((cause) => {
            seen.push(Cause.isDieType(cause) ? String(cause.defect) : "not a defect")
            return Effect.void
          }),
          Effect.as(fixture.done)
        ),
        "/read": read
      })))
      yield* client.get("/")
      yield* controls.reset
      assert.strictEqual((yield* client.get("/bad")).status, 500)
      assert.include(seen[0] ?? "", "bad")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(fixture.quietly, fixture.leavingNoFiber, Effect.provide(services())))
})

describe("fibers of the handler's own", () => {
  it.effect("a reader interrupted while the load runs breaks no other", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const app = HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/two": Effect.gen(function*() {
          const first = yield* Effect.fork(Effect.interruptible(SessionField.get(fixture.Count)))
          const second = yield* Effect.fork(SessionField.get(fixture.Count))
          yield* controls.arrived("load")
          yield* Fiber.interrupt(first)
          yield* load.release
          return HttpServerResponse.text(`${yield* Fiber.join(second)} ${yield* SessionField.get(fixture.Count)}`)
        })
      }))
      const client = yield* testing.client(app)
      yield* client.get("/add")
      yield* controls.reset
      const load = yield* controls.hold("load")
      const answer = yield* client.get("/two")
      assert.strictEqual(yield* answer.text, "1 1")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("many readers share one load, and one failure of it is logged and counted once", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/add": answering(increment),
          "/many": answering(Effect.all(Array.from({ length: 10 }, () => Effect.exit(Session.load)), {
            concurrency: "unbounded"
          }))
        })))
        yield* client.get("/add")
        yield* controls.reset
        const load = yield* controls.hold("load")
        const before = yield* fixture.counted("store_failures")
        const many = yield* client.fork("GET", "/many")
        yield* load.arrived
        yield* load.fail(new Store.StoreError({ reason: "Unavailable", method: "test" }))
        assert.strictEqual((yield* many).status, 503)
        assert.deepStrictEqual(yield* controls.methods, ["load"])
        assert.strictEqual((yield* fixture.counted("store_failures")) - before, 1)
        assert.lengthOf(lines.filter(({ level }) => level === "ERROR"), 1)
      })
    ).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("a writer forked as a daemon, after the commit: not saved, a warning logged and counted", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const gate = yield* Deferred.make<void>()
        const wrote = yield* Deferred.make<void>()
        const app = HttpMiddleware.session(fixture.routes({
          "/fork": answering(Effect.zipRight(
            increment,
            Effect.forkDaemon(
              Deferred.await(gate).pipe(
                Effect.zipRight(increment),
                Effect.zipRight(increment),
                Effect.zipRight(Deferred.succeed(wrote, undefined))
              )
            )
          )),
          "/read": read
        }))
        const client = yield* testing.client(app)
        yield* client.get("/fork")
        const [, unsaved] = yield* fixture.rising(
          "events",
          "unsaved",
          Effect.zipRight(Deferred.succeed(gate, undefined), Deferred.await(wrote))
        )
        assert.isAtLeast(unsaved, 1)
        assert.isAtLeast(lines.filter(({ level }) => level === "WARN").length, 1)
        assert.deepStrictEqual(yield* controls.methods, ["create"])
        assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
      })
    ).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("a writer whose first touch is after the head of an untouched request: no session comes of it", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const gate = yield* Deferred.make<void>()
        const wrote = yield* Deferred.make<Exit.Exit<void, unknown>>()
        const client = yield* testing.client(HttpMiddleware.session(answering(
          Effect.forkDaemon(
            Deferred.await(gate).pipe(
              Effect.zipRight(increment),
              Effect.zipRight(Session.commit),
              Effect.exit,
              Effect.flatMap((exit) => Deferred.succeed(wrote, exit))
            )
          )
        )))
        assertNoCookie(yield* client.get("/"))
        yield* Deferred.succeed(gate, undefined)
        const exit = yield* Deferred.await(wrote)
        assert.strictEqual(
          Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause))?.constructor.name : "saved",
          "HeadSent"
        )
        assert.deepStrictEqual(yield* controls.methods, [])
        assert.lengthOf(lines.filter(({ level }) => level === "WARN"), 1)
      })
    ).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("an update that was made before the head but runs after it is told as well", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const wrote = yield* Deferred.make<void>()
        const client = yield* testing.client(HttpMiddleware.session(Effect.gen(function*() {
          const session = yield* Session.Session
          const write = Ref.update(session, (data) => ({ ...data, late: true }))
          yield* increment
          yield* Effect.forkDaemon(
            Deferred.await(gate).pipe(
              Effect.zipRight(write),
              Effect.zipRight(Deferred.succeed(wrote, undefined))
            )
          )
          return fixture.done
        })))
        yield* client.get("/")
        yield* Deferred.succeed(gate, undefined)
        yield* Deferred.await(wrote)
        assert.lengthOf(lines.filter(({ level }) => level === "WARN"), 1)
      })
    ).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("an update while the last commit is under way is told as well, and not half saved", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const gate = yield* Deferred.make<void>()
        const wrote = yield* Deferred.make<void>()
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/": answering(Effect.zipRight(
            increment,
            Effect.forkDaemon(
              Deferred.await(gate).pipe(
                Effect.zipRight(increment),
                Effect.zipRight(Deferred.succeed(wrote, undefined))
              )
            )
          )),
          "/read": read
        })))
        const create = yield* controls.hold("create")
        const pending = yield* client.fork("GET", "/")
        yield* create.arrived
        yield* Deferred.succeed(gate, undefined)
        yield* Deferred.await(wrote)
        yield* create.release
        assertCookie(yield* pending)
        assert.lengthOf(lines.filter(({ level }) => level === "WARN"), 1)
        assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
      })
    ).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("S26: destroyed while a commit of the same request is replayed: nothing of it comes back", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const app = HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/": answering(Effect.gen(function*() {
          yield* increment
          const committing = yield* Effect.fork(Session.commit)
          yield* update.arrived
          yield* Session.destroy
          yield* (yield* fixture.elsewhere(adding)).get("/", { cookies: `${fixture.cookieName}=${token}` })
          yield* update.release
          yield* Fiber.join(committing)
          return JSON.stringify(yield* Effect.flatMap(Session.Session, Ref.get))
        }))
      }))
      const adding = HttpMiddleware.session(answering(increment))
      const client = yield* testing.client(app)
      const token = assertCookie(yield* client.get("/add"))
      const update = yield* controls.hold("update")
      const answer = yield* client.get("/")
      assert.strictEqual(yield* answer.text, "{}")
      fixture.assertRemoval(answer)
      const store = yield* Store.Store
      assert.strictEqual((yield* clocked(store).load(SessionToken.fromString(token)))._tag, "Superseded")
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("S26: destroyed while a commit of the same request is under way: what landed is removed as well", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const client = yield* testing.client(HttpMiddleware.session(Effect.gen(function*() {
        yield* increment
        const create = yield* controls.hold("create")
        const committing = yield* Effect.fork(Session.commit)
        yield* create.arrived
        yield* Session.destroy
        yield* create.release
        yield* Fiber.join(committing)
        return fixture.done
      })))
      // The client never had the token, so there is no cookie to remove.
      assertNoCookie(yield* client.get("/"))
      const created = (yield* controls.calls)[0]
      assert.deepStrictEqual(yield* controls.methods, ["create", "remove"])
      const store = yield* Store.Store
      assert.strictEqual((yield* clocked(store).load(created?.token ?? SessionToken.fromString("")))._tag, "Superseded")
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))
})
