import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Option,
  Schema,
  Stream,
  TestClock
} from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionField, Sessions } from "effect-session"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import { callAt, clockedStore } from "./support/records.js"

const draw = Effect.map(SessionToken.Generator, (generator) => SessionToken.draw(generator))

describe("testing.record", () => {
  it("fills in what is not given, and counts times from its creation", () => {
    assert.deepStrictEqual(testing.record(), {
      data: {},
      revision: 1,
      createdAt: 0,
      touchedAt: 0,
      deadline: 3_600_000,
      expiresAt: 86_400_000,
      idle: 3_600_000
    })
    const later = testing.record({ createdAt: 1000, touchedAt: 2000, idle: 10, subject: "ada" })
    assert.deepInclude(later, { deadline: 2010, expiresAt: 86_401_000, subject: "ada" })
  })

  it("holds frozen JSON and refuses anything else", () => {
    const { data } = testing.record({ data: { list: [1] } })
    assert.isTrue(Object.isFrozen(data))
    assert.isTrue(Object.isFrozen(data["list"]))
    assert.throws(() => testing.record({ data: { n: Number.NaN } }), TypeError, "not JSON")
  })
})

describe("testing.controlled", () => {
  const controlled = testing.controlled(MemoryStore.layer())

  const seeded = Effect.gen(function*() {
    const store = yield* clockedStore
    const controls = yield* testing.Controls
    const token = yield* draw
    const record = testing.record({ data: { n: 0 } })
    yield* store.create(token, record)
    yield* controls.reset
    return { controls, record, store, token }
  })

  const unavailable = new Store.StoreError({ reason: "Unavailable", method: "test" })

  it.effect("keeps the store as it is, and whatever else its layer provides", () => {
    class Extra extends Context.Tag("Extra")<Extra, number>() {}
    return Effect.gen(function*() {
      assert.strictEqual(yield* Extra, 1)
      const { controls, record, store, token } = yield* seeded
      assert.isTrue(store.accepts(token))
      const next = SessionToken.fromString("A".repeat(43))
      assert.strictEqual((yield* store.load(token))._tag, "Live")
      assert.strictEqual((yield* store.touch(token, 1, 4_000_000))._tag, "Touched")
      assert.strictEqual((yield* store.update(token, 1, record))._tag, "Updated")
      assert.strictEqual((yield* store.renew(token, 2, next, record))._tag, "Updated")
      yield* store.remove(next)
      assert.strictEqual((yield* store.create(next, record))._tag, "Exists")
      assert.deepStrictEqual(yield* controls.methods, ["load", "touch", "update", "renew", "remove", "create"])
      const call = callAt(0)
      assert.deepStrictEqual(yield* controls.calls, [
        { method: "load", token, call },
        { method: "touch", token, revision: 1, deadline: 4_000_000, call },
        { method: "update", token, revision: 1, record, call },
        { method: "renew", token, revision: 2, next, record, call },
        { method: "remove", token: next, call },
        { method: "create", token: next, record, call }
      ])
    }).pipe(Effect.provide(testing.controlled(Layer.merge(MemoryStore.layer(), Layer.succeed(Extra, 1)))))
  })

  it.effect("holds a call before the store has done it", () =>
    Effect.gen(function*() {
      const { controls, record, store, token } = yield* seeded
      const held = yield* controls.hold("update")
      const fiber = yield* Effect.fork(store.update(token, 1, record))
      assert.strictEqual((yield* held.arrived).revision, 1)
      yield* store.remove(token)
      yield* held.release
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Gone")
    }).pipe(Effect.provide(controlled)))

  it.effect("holds a call after the store has done it", () =>
    Effect.gen(function*() {
      const { controls, store, token } = yield* seeded
      const held = yield* controls.hold("remove", { at: "after" })
      const fiber = yield* Effect.fork(store.remove(token))
      yield* held.arrived
      assert.strictEqual((yield* store.load(token))._tag, "Superseded")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* held.release
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(controlled)))

  it.effect("holds the next call alone, in the order asked for", () =>
    Effect.gen(function*() {
      const { controls, store, token } = yield* seeded
      const first = yield* controls.hold("load")
      const second = yield* controls.hold("load")
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.fork(store.load(token)))
      yield* second.arrived
      assert.strictEqual((yield* Fiber.join(fibers[2]!))._tag, "Live")
      yield* second.release
      yield* Fiber.join(fibers[1]!)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fibers[0]!)))
      yield* first.release
      yield* Fiber.join(fibers[0]!)
    }).pipe(Effect.provide(controlled)))

  it.effect("lets a held call fail, and tells when its caller gave up", () =>
    Effect.gen(function*() {
      const { controls, store, token } = yield* seeded
      const failing = yield* controls.hold("load")
      yield* failing.fail(unavailable)
      assert.strictEqual(yield* Effect.flip(store.load(token)), unavailable)
      const abandoned = yield* controls.hold("load")
      const fiber = yield* Effect.fork(Effect.timeoutOption(store.load(token), "1 second"))
      yield* abandoned.arrived
      yield* TestClock.adjust("1 second")
      yield* abandoned.interrupted
      assert.isTrue(Option.isNone(yield* Fiber.join(fiber)))
    }).pipe(Effect.provide(controlled)))

  it.effect("fails, kills and hangs the next calls, then lets them through", () =>
    Effect.gen(function*() {
      const { controls, record, store, token } = yield* seeded
      yield* controls.fail("load", { times: 2 })
      yield* controls.die("any", { defect: "boom" })
      assert.strictEqual((yield* Effect.flip(store.load(token))).reason, "Unavailable")
      assert.strictEqual((yield* Effect.flip(store.load(token))).method, "testing.load")
      const died = yield* Effect.exit(store.remove(token))
      assert.deepStrictEqual(died, Exit.die("boom"))
      yield* controls.fail("update", { at: "after", error: unavailable })
      assert.strictEqual(yield* Effect.flip(store.update(token, 1, record)), unavailable)
      const loaded = yield* store.load(token)
      assert.strictEqual(loaded._tag === "Live" ? loaded.record.revision : 0, 2)
      yield* controls.hang("load")
      const fiber = yield* Effect.fork(store.load(token))
      yield* controls.arrived("load", 4)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      assert.isTrue(Cause.isInterruptedOnly(Exit.match(yield* Fiber.interrupt(fiber), {
        onFailure: (cause) => cause,
        onSuccess: () => Cause.empty
      })))
    }).pipe(Effect.provide(controlled)))

  it.effect("waits for calls to arrive, and for as long as they should take", () =>
    Effect.gen(function*() {
      const { controls, store, token } = yield* seeded
      yield* controls.latency("any", "1 minute")
      yield* controls.latency("remove", Duration.zero)
      const waiting = yield* Effect.fork(controls.arrived("load", 2))
      const fiber = yield* Effect.fork(Effect.zipRight(store.load(token), store.load(token)))
      yield* controls.arrived("load")
      yield* TestClock.adjust("59 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* Fiber.join(waiting)).method, "load")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Live")
      yield* store.remove(token)
    }).pipe(Effect.provide(controlled)))

  it.effect("reset releases what is held and forgets what is queued", () =>
    Effect.gen(function*() {
      const { controls, store, token } = yield* seeded
      const held = yield* controls.hold("load")
      const fiber = yield* Effect.fork(store.load(token))
      yield* held.arrived
      yield* controls.fail("load")
      yield* controls.latency("load", "1 hour")
      yield* controls.reset
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Live")
      assert.strictEqual((yield* store.load(token))._tag, "Live")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
    }).pipe(Effect.provide(controlled)))
})

describe("testing.client", () => {
  /** Answers with the request's cookies, and sets those that its query asks for. */
  const echo = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const url = new URL(request.url, "https://app.test")
    const body = request.method === "POST" ? yield* Effect.orDie(request.text) : ""
    const answer = HttpServerResponse.unsafeJson({
      cookie: request.headers["cookie"] ?? "",
      contentType: request.headers["content-type"] ?? "",
      header: request.headers["x-test"] ?? "",
      body
    }, { status: url.pathname === "/missing" ? 404 : 200 })
    const lines = url.searchParams.getAll("set")
    const response = HttpServerResponse.raw(
      new Response((answer.body as { readonly body: Uint8Array<ArrayBuffer> }).body, {
        status: answer.status,
        headers: lines.map((line): [string, string] => ["set-cookie", line])
      })
    )
    return response
  })

  const setting = (...lines: ReadonlyArray<string>) =>
    `/?${lines.map((line) => `set=${encodeURIComponent(line)}`).join("&")}`

  const sent = (client: testing.Client, path = "/") =>
    Effect.flatMap(
      client.get(path),
      (answer) => Effect.map(answer.json, (json) => (json as { readonly cookie: string }).cookie)
    )

  it.effect("sends what it was told to keep, and shows the lines of the last answer", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(echo)
      const first = yield* client.get(setting("__Host-a=1; Path=/; Secure; HttpOnly", "b=2"))
      assert.strictEqual(first.status, 200)
      assert.deepStrictEqual(first.setCookies, ["__Host-a=1; Path=/; Secure; HttpOnly", "b=2"])
      assert.deepStrictEqual(yield* client.setCookies, first.setCookies)
      assert.strictEqual(yield* sent(client), "__Host-a=1; b=2")
      assert.deepStrictEqual(yield* client.setCookies, [])
      assert.deepStrictEqual(yield* client.cookie("b"), Option.some("2"))
      yield* client.get(setting("__Host-a=3; Path=/; Secure"))
      assert.strictEqual(yield* sent(client), "__Host-a=3; b=2")
      yield* client.clear
      assert.strictEqual(yield* sent(client), "")
    }))

  it.effect("posts text, forms and JSON, with headers and cookies of the test's own", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(echo)
      const json = yield* client.post("/", { json: { a: 1 }, headers: { "x-test": "yes" }, cookies: "forged=1" })
      assert.deepStrictEqual(yield* json.json, {
        cookie: "forged=1",
        contentType: "application/json",
        header: "yes",
        body: "{\"a\":1}"
      })
      const form = yield* client.post("/", { body: new URLSearchParams({ a: "b c" }) })
      assert.deepInclude(yield* form.json, { body: "a=b+c", cookie: "" })
      assert.strictEqual((yield* client.request("PUT", "/missing")).status, 404)
    }))

  it.effect("forgets what has run out, by the clock of the test", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(echo)
      yield* TestClock.setTime(Date.parse("2026-01-01T00:00:00Z"))
      yield* client.get(setting(
        "age=1; Max-Age=60",
        "date=1; Expires=Thu, 01 Jan 2026 00:02:00 GMT",
        "both=1; Expires=Thu, 01 Jan 2026 00:00:10 GMT; Max-Age=180",
        "browser=1",
        "capped=1; Max-Age=99999999999"
      ))
      const names = Effect.map(client.cookies, (cookies) => cookies.map(({ name }) => name))
      assert.deepStrictEqual(yield* names, ["age", "date", "both", "browser", "capped"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* names, ["date", "both", "browser", "capped"])
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(yield* sent(client), "both=1; browser=1; capped=1")
      yield* client.get(setting("browser=; Max-Age=0", "both=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"))
      assert.deepStrictEqual(yield* names, ["capped"])
      yield* TestClock.adjust("400 days")
      assert.deepStrictEqual(yield* names, [])
    }))

  it.effect("S40 S41 S42 S43: ignores what a browser would ignore", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(echo)
      for (
        const line of [
          "__Host-a=1; Path=/",
          "__host-a=1; Secure",
          "__HOST-a=1; Secure; Path=/x",
          "__Host-a=1; Secure; Path=/; Domain=app.test",
          "__Secure-a=1; Path=/",
          "__Http-a=1; Secure",
          "__Host-Http-a=1; Secure; Path=/",
          "=__Host-a=1; Secure; Path=/",
          "a=1; SameSite=None",
          "a=1; Domain=other.test",
          "a=1; Domain=pp.test",
          "a=\u0001",
          `a=${"x".repeat(4096)}`,
          ""
        ]
      ) {
        yield* client.keep(line)
        assert.deepStrictEqual(yield* client.cookies, [], line)
      }
      for (
        const line of [
          "__Host-a=1; Path=/; Secure",
          "__Host-Http-b=1; Path=/; Secure; HttpOnly",
          "c=1; SameSite=None; Secure",
          "d=1; Domain=.APP.test"
        ]
      ) {
        yield* client.keep(line)
      }
      assert.strictEqual((yield* client.cookies).length, 4)
      const plain = yield* testing.client(echo, { baseUrl: "http://app.test" })
      yield* plain.keep("a=1; Secure")
      assert.deepStrictEqual(yield* plain.cookies, [])
    }))

  it.effect("sends by path, the longer first, and by domain", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(echo, { baseUrl: "https://www.app.test" })
      yield* client.keep("a=root; Path=/")
      yield* client.keep("a=admin; Path=/admin")
      yield* client.keep("b=all; Domain=app.test")
      assert.strictEqual(yield* sent(client), "a=root; b=all")
      assert.strictEqual(yield* sent(client, "/admin/x"), "a=admin; a=root; b=all")
      assert.strictEqual(yield* sent(client, "/administrator"), "a=root; b=all")
      assert.strictEqual(yield* sent(client, "https://app.test/admin"), "b=all")
      yield* client.get(`/deep/er${setting("c=1").slice(1)}`)
      assert.strictEqual(yield* sent(client, "/deep"), "c=1; a=root; b=all")
      assert.strictEqual(yield* sent(client, "/"), "a=root; b=all")
    }))

  it.effect("a request that is made once and sent twice goes with the jar of its time", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(
        Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) =>
          HttpServerResponse.text(headers["cookie"] ?? "none", { headers: { "set-cookie": "a=1" } }))
      )
      const sent = Effect.flatMap(browser.get("/"), ({ text }) =>
        text)
      assert.deepStrictEqual(yield* Effect.all([sent, sent]), ["none", "a=1"])
    }))

  it.effect("keeps the jars of two browsers apart", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(echo)
      yield* client.keep("a=1")
      const copy = yield* client.other({ jar: "copy" })
      const stranger = yield* client.other()
      yield* client.keep("a=2")
      assert.strictEqual(yield* sent(copy), "a=1")
      assert.strictEqual(yield* sent(stranger), "")
      assert.strictEqual(yield* sent(client), "a=2")
    }))

  it.effect("a forked request goes with the jar as it was", () =>
    Effect.gen(function*() {
      const arrived = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const slow = Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        if (request.url === "/slow") {
          yield* Deferred.succeed(arrived, undefined)
          yield* Deferred.await(gate)
        }
        return yield* echo
      })
      const client = yield* testing.client(slow)
      yield* client.keep("a=before")
      const fiber = yield* client.fork("GET", "/slow")
      yield* client.keep("a=after")
      yield* Deferred.await(arrived)
      yield* client.keep("a=later")
      yield* Deferred.succeed(gate, undefined)
      const answer = yield* Fiber.join(fiber)
      assert.deepInclude(yield* answer.json, { cookie: "a=before" })
      assert.strictEqual(yield* sent(client), "a=later")
    }))

  it.effect("runs the app with the services and the clock of its maker", () => {
    class Name extends Context.Tag("Name")<Name, string>() {}
    const app = Effect.gen(function*() {
      const name = yield* Name
      yield* Effect.sleep("14 days")
      return HttpServerResponse.text(`${name} ${yield* Clock.currentTimeMillis}`)
    })
    return Effect.gen(function*() {
      const client = yield* testing.client(app)
      const fiber = yield* client.fork("GET", "/")
      yield* TestClock.adjust("14 days")
      const answer = yield* Fiber.join(fiber)
      assert.strictEqual(yield* answer.text, `ada ${14 * 86_400_000}`)
    }).pipe(Effect.provideService(Name, "ada"))
  })

  it.effect("a request that is interrupted is a client that went away", () =>
    Effect.gen(function*() {
      const arrived = yield* Deferred.make<void>()
      const gone = yield* Deferred.make<void>()
      const client = yield* testing.client(
        Deferred.succeed(arrived, undefined).pipe(
          Effect.zipRight(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(gone, undefined)),
          Effect.as(HttpServerResponse.empty()),
          Effect.interruptible
        )
      )
      const fiber = yield* client.fork("GET", "/")
      yield* Deferred.await(arrived)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(gone)
    }))

  it.effect("has the head before the body of a stream", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const client = yield* testing.client(
        Effect.succeed(
          HttpServerResponse.stream(
            Stream.encodeText(Stream.concat(Stream.make("a"), Stream.fromEffect(Effect.as(Deferred.await(gate), "b"))))
          )
        )
      )
      const answer = yield* client.get("/")
      assert.strictEqual(answer.status, 200)
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(yield* answer.text, "ab")
    }))
})

describe("a controlled store under a client", () => {
  const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

  const visit = Effect.map(
    SessionField.updateAndGet(Visits, (n) => n + 1),
    (n) => HttpServerResponse.text(`${n}`)
  )

  const app = HttpRouter.empty.pipe(
    HttpRouter.get("/", visit),
    HttpRouter.get("/logout", Effect.as(Session.destroy, HttpServerResponse.empty())),
    HttpRouter.use(HttpMiddleware.session)
  )

  it.effect("S26: a logout that overtakes a slow request stands", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const browser = yield* testing.client(app)
      yield* browser.get("/")
      const update = yield* controls.hold("update")
      const slow = yield* browser.fork("GET", "/")
      yield* update.arrived
      yield* browser.get("/logout")
      assert.deepStrictEqual(yield* browser.cookies, [])
      yield* update.release
      const answer = yield* Fiber.join(slow)
      assert.deepStrictEqual(answer.setCookies, [])
      assert.deepStrictEqual(yield* browser.cookies, [])
      assert.strictEqual(yield* (yield* browser.get("/")).text, "1")
      assert.strictEqual(yield* (yield* browser.get("/")).text, "2")
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(yield* (yield* browser.get("/")).text, "1")
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), testing.controlled(MemoryStore.layer())))))
})

describe("testing.client's session", () => {
  const Cart = SessionField.make("cart", Schema.Array(Schema.String), { default: () => [] })
  const Draft = SessionField.make("draft", Schema.String, { default: () => "", onRenew: "remove" })
  const app = Effect.gen(function*() {
    const subject = Option.getOrElse(yield* Session.subject, () => "nobody")
    return HttpServerResponse.text(`${subject}: ${(yield* SessionField.get(Cart)).join(",")}`)
  }).pipe(HttpMiddleware.session)
  const page = (browser: testing.Client) => Effect.flatMap(browser.get("/"), ({ text }) => text)
  const layers = Layer.merge(CookieState.layer(), MemoryStore.layer())

  it.scoped("a login is what the app sees, with its label and under a new token", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(app)
      yield* browser.run(SessionField.set(Draft, "half"))
      const before = yield* browser.cookie("__Host-session")
      yield* browser.login("ann", { label: "Firefox on Linux" })
      assert.isTrue(Option.isSome(before))
      assert.notDeepEqual(yield* browser.cookie("__Host-session"), before)
      assert.strictEqual(yield* page(browser), "ann: ")
      assert.deepStrictEqual(yield* browser.session, {})
      const [session] = yield* Stream.runCollect(Sessions.list("ann"))
      assert.deepStrictEqual(session?.label, Option.some("Firefox on Linux"))
      const other = yield* browser.other()
      assert.strictEqual(yield* page(other), "nobody: ")
    }).pipe(Effect.provide(layers)))

  it.scoped("is filled by fields and read, and a look leaves no trace", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(app)
      assert.deepStrictEqual(yield* browser.session, {})
      assert.deepStrictEqual(yield* browser.cookies, [])
      yield* browser.run(SessionField.set(Cart, ["tea"]))
      assert.strictEqual(yield* page(browser), "nobody: tea")
      yield* TestClock.adjust("50 minutes")
      assert.deepStrictEqual(yield* browser.session, { cart: ["tea"] })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* browser.session, {})
    }).pipe(Effect.provide(layers)))

  it.scoped("is found below whatever path its cookie is for", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(app)
      yield* browser.login("ann")
      yield* browser.run(SessionField.set(Cart, ["tea"]))
      assert.deepStrictEqual(yield* browser.session, { cart: ["tea"] })
      assert.strictEqual(yield* Effect.flatMap(browser.get("/shop/cart"), ({ text }) => text), "ann: tea")
      assert.strictEqual(yield* page(browser), "nobody: ")
      assert.deepStrictEqual((yield* browser.cookies).map(({ path }) => path), ["/shop"])
    }).pipe(Effect.provide([CookieState.layer({ name: "session", path: "/shop" }), MemoryStore.layer()])))

  it.scoped("a login that the browser can't keep says so", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(app, { baseUrl: "http://app.test" })
      const exit = yield* Effect.exit(browser.login("ann"))
      assert.match(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "no failure", /kept no cookie/)
    }).pipe(Effect.provide(layers)))

  it.scoped("an effect that fails saves nothing, and its failure is the test's", () =>
    Effect.gen(function*() {
      const browser = yield* testing.client(app)
      yield* browser.run(SessionField.set(Cart, ["tea"]))
      const failure = yield* Effect.flip(
        browser.run(Effect.zipRight(SessionField.set(Cart, []), Effect.fail("no" as const)))
      )
      assert.strictEqual(failure, "no")
      assert.deepStrictEqual(yield* browser.session, { cart: ["tea"] })
    }).pipe(Effect.provide(layers)))

  it.scoped("a store that fails is the error of the login, and of the look", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const browser = yield* testing.client(app)
      yield* controls.fail("create")
      assert.strictEqual((yield* Effect.flip(browser.login("ann")))._tag, "StoreError")
      yield* browser.login("ann")
      yield* controls.fail("load")
      assert.strictEqual((yield* Effect.flip(browser.session))._tag, "StoreError")
      assert.strictEqual(yield* page(browser), "ann: ")
    }).pipe(
      Effect.provide(Layer.mergeAll(CookieState.layer(), testing.controlled(MemoryStore.layer()))),
      Logger.withMinimumLogLevel(LogLevel.None)
    ))
})
