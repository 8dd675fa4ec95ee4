/**
 * After the response head has left: what a stream, a fork or a socket can still do to a session, and what it can't.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Either, Redacted, Ref, Stream } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionField, SessionToken, Store } from "effect-session"
import * as testing from "effect-session/testing"
import { request } from "node:http"
import type { Duplex } from "node:stream"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, assertNoCookie, increment, services } = fixture

/** A socket that a server has upgraded to. */
const upgraded = (port: number, headers: { readonly [name: string]: string }, path = "/") =>
  Effect.acquireRelease(
    Effect.async<Duplex>((resume) => {
      const asking = request({
        port,
        path,
        host: "127.0.0.1",
        headers: {
          ...headers,
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="
        }
      })
      asking.on("upgrade", (_, socket) => resume(Effect.succeed(socket)))
      asking.on("error", (error) => resume(Effect.die(error)))
      asking.end()
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** What an effect came to, in a word. */
const word = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.either(effect),
    (either) => Either.isLeft(either) ? either.left._tag : JSON.stringify(either.right ?? "ok")
  )

/** A response whose body is what each effect comes to, run one after another while the body is read. */
const streaming = (effects: ReadonlyArray<Effect.Effect<string, never, Session.Session>>) =>
  Effect.map(Effect.context<Session.Session>(), (context) =>
    HttpServerResponse.stream(
      Stream.fromIterable(effects).pipe(
        Stream.mapEffect((effect) => effect),
        Stream.map((text) => new TextEncoder().encode(`${text};`)),
        Stream.provideContext(context)
      )
    ))

const start = (
  before: Effect.Effect<unknown, never, Session.Session>,
  ...effects: ReadonlyArray<Effect.Effect<string, never, Session.Session>>
) =>
  Effect.gen(function*() {
    const controls = yield* testing.Controls
    const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
      "/stream": Effect.zipRight(before, streaming(effects)),
      "/add": answering(increment),
      "/read": answering(SessionField.get(fixture.Count)),
      "/logout": answering(Session.destroy)
    })))
    return { client, controls }
  })

const visited = (...args: Parameters<typeof start>) =>
  Effect.gen(function*() {
    const { client, controls } = yield* start(...args)
    const token = assertCookie(yield* client.get("/add"))
    yield* controls.reset
    return { client, controls, token }
  })

const add = Effect.asVoid(increment)

describe("a session that exists", () => {
  it.effect("can be updated from a stream by an explicit commit", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited(Session.load.pipe(Effect.orDie), word(add), word(Session.commit))
      const answer = yield* client.get("/stream")
      assertNoCookie(answer)
      assert.strictEqual(yield* answer.text, "\"ok\";\"ok\";")
      assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
      assert.strictEqual(yield* (yield* client.get("/read")).text, "2")
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("can be loaded by a stream that touches it first, and updated", () =>
    Effect.gen(function*() {
      const { client } = yield* visited(Effect.void, word(increment), word(Session.commit))
      const answer = yield* client.get("/stream")
      assert.isNull(answer.headers.get("vary"))
      assert.strictEqual(yield* answer.text, "2;\"ok\";")
      assert.strictEqual(yield* (yield* client.get("/read")).text, "2")
    }).pipe(Effect.provide(services())))

  it.effect("S26: can be removed by an explicit commit", () =>
    Effect.gen(function*() {
      const { client, controls, token } = yield* visited(
        Session.load.pipe(Effect.orDie),
        word(Session.destroy),
        word(Session.commit)
      )
      const answer = yield* client.get("/stream")
      assert.strictEqual(yield* answer.text, "\"ok\";\"ok\";")
      assert.deepStrictEqual(yield* controls.methods, ["load", "remove"])
      const store = yield* Store.Store
      assert.strictEqual((yield* clocked(store).load(SessionToken.fromString(token)))._tag, "Superseded")
    }).pipe(Effect.provide(services())))

  it.effect("a renewal would need a new token: HeadSent, and the old one stays good", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited(
        Session.load.pipe(Effect.orDie),
        word(Session.renew),
        word(Session.commit)
      )
      assert.strictEqual(yield* (yield* client.get("/stream")).text, "\"ok\";HeadSent;")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("updates after a destroy would need one too: the removal lands, the rest is HeadSent", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* visited(
        Session.load.pipe(Effect.orDie),
        word(Session.destroy),
        word(add),
        word(Session.commit)
      )
      assert.strictEqual(yield* (yield* client.get("/stream")).text, "\"ok\";\"ok\";HeadSent;")
      assert.deepStrictEqual(yield* controls.methods, ["load", "remove"])
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("a transaction lands", () =>
    Effect.gen(function*() {
      const { client } = yield* visited(
        Session.load.pipe(Effect.orDie),
        word(SessionField.transaction(fixture.Count, (n) => [n, n + 10]))
      )
      assert.strictEqual(yield* (yield* client.get("/stream")).text, "1;")
      assert.strictEqual(yield* (yield* client.get("/read")).text, "11")
    }).pipe(Effect.provide(services())))

  it.effect("reload sees what other requests did, and that the session has ended", () =>
    Effect.gen(function*() {
      const first = yield* Deferred.make<void>()
      const second = yield* Deferred.make<void>()
      const reloaded = yield* Deferred.make<void>()
      const { client } = yield* visited(
        Session.load.pipe(Effect.orDie),
        Effect.zipLeft(
          Effect.zipRight(Deferred.await(first), word(Session.reload)),
          Deferred.succeed(reloaded, undefined)
        ),
        Effect.zipRight(Deferred.await(second), word(Session.reload)),
        word(Effect.zipRight(add, Session.commit))
      )
      const answer = yield* client.get("/stream")
      yield* client.get("/add")
      yield* Deferred.succeed(first, undefined)
      yield* Deferred.await(reloaded)
      yield* client.get("/logout")
      yield* Deferred.succeed(second, undefined)
      assert.strictEqual(yield* answer.text, "{\"n\":2};SessionGone;SessionGone;")
    }).pipe(fixture.quietly, Effect.provide(services())))
})

describe("a session that does not exist yet", () => {
  it.effect("can't begin in a stream: HeadSent, and no record is left that no client can name", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start(
        Effect.orDie(Session.load),
        word(add),
        word(Session.commit),
        word(Session.token),
        word(Session.transaction((data) => [1, { ...data, n: 5 }]))
      )
      const answer = yield* client.get("/stream")
      assertNoCookie(answer)
      assert.strictEqual(yield* answer.text, "\"ok\";HeadSent;HeadSent;SessionGone;")
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("an explicit commit before the head creates it, even empty, so that the stream has one to write to", () =>
    Effect.gen(function*() {
      const { client, controls } = yield* start(Effect.orDie(Session.commit), word(add), word(Session.commit))
      const answer = yield* client.get("/stream")
      assertCookie(answer)
      assert.strictEqual(yield* answer.text, "\"ok\";\"ok\";")
      assert.deepStrictEqual(yield* controls.methods, ["create", "update"])
      assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))
})

describe("an upgraded socket", () => {
  for (
    const [what, verb] of [
      ["renewed", Session.renew],
      ["begun", add]
    ] as const
  ) {
    for (
      const [title, path] of [["S67", "/"], ["C2 S67: below a router's mount, which modifies the request", "/below/"]]
    ) {
      it.live(`${title}: a session can't be ${what} any more: HeadSent, and the client's token stays good`, () =>
        Effect.gen(function*() {
          const store = yield* Store.Store
          const token = SessionToken.draw(yield* SessionToken.Generator)
          yield* clocked(store).create(
            token,
            testing.record({ createdAt: yield* Clock.currentTimeMillis, data: { n: 1 } })
          )
          const came = yield* Deferred.make<string>()
          const app = Effect.gen(function*() {
            const socket = yield* HttpServerRequest.upgrade
            const context = yield* Effect.context<Session.Session>()
            const tried = Effect.provide(word(Effect.zipRight(verb, Session.commit)), context)
            yield* socket.run(() => Effect.void, {
              onOpen: Effect.asVoid(Effect.flatMap(tried, (tag) => Deferred.succeed(came, tag)))
            })
            return HttpServerResponse.empty()
          }).pipe(Effect.catchTags({ RequestError: Effect.die, SocketError: () => Effect.succeed(fixture.done) }))
          const router = HttpRouter.empty.pipe(HttpRouter.get("/", app), HttpRouter.mountApp("/below", app))
          yield* HttpServer.serveEffect(router, HttpMiddleware.session)
          const { address } = yield* HttpServer.HttpServer
          yield* upgraded(
            address._tag === "TcpAddress" ? address.port : 0,
            what === "renewed" ? { cookie: `session=${Redacted.value(token)}` } : {},
            path
          )
          assert.strictEqual(yield* Deferred.await(came), "HeadSent")
          assert.strictEqual((yield* clocked(store).load(token))._tag, "Live")
        }).pipe(
          Effect.scoped,
          fixture.quietly,
          Effect.provide([NodeHttpServer.layerTest, CookieState.layer({ secure: false }), MemoryStore.layer()])
        ))
    }
  }
})

describe("what nothing saves", () => {
  const warnings = (lines: ReadonlyArray<fixture.Line>) =>
    lines.filter(({ level, message }) => level === "WARN" && message.includes("Session.commit"))

  for (
    const [name, effect] of [
      ["an update", word(add)],
      ["an update of the Ref", word(Effect.flatMap(Session.Session, Ref.update((data) => ({ ...data, late: true }))))],
      ["a logout", word(Session.destroy)],
      ["a renewal", word(Session.renew)],
      ["expireIn", word(Session.expireIn("1 day"))]
    ] as const
  ) {
    it.effect(`${name} in a stream, without a commit: a warning, logged and counted once`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const { client, controls } = yield* visited(Effect.orDie(Session.load), effect, effect)
          const [, unsaved] = yield* fixture.rising(
            "events",
            "unsaved",
            Effect.gen(function*() {
              const answer = yield* client.get("/stream")
              yield* answer.text
              // the request's scope closes once the body has ended
              yield* Effect.repeatN(Effect.yieldNow(), 50)
            })
          )
          assert.strictEqual(unsaved, 1)
          assert.lengthOf(warnings(lines), 1)
          assert.deepStrictEqual(yield* controls.methods, ["load"])
          assert.strictEqual(yield* (yield* client.get("/read")).text, "1")
        })
      ).pipe(fixture.leavingNoFiber, Effect.provide(services())))
  }

  it.effect("updates that a commit saved, and updates that changed nothing, are no reason to warn", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const { client } = yield* visited(
          Effect.orDie(Session.load),
          word(Effect.flatMap(Session.Session, Ref.update((data) => data))),
          word(add),
          word(Session.commit)
        )
        yield* (yield* client.get("/stream")).text
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        assert.lengthOf(warnings(lines), 0)
      })
    ).pipe(Effect.provide(services())))
})

it.effect("S67: a stream that dies after its commit leaves what it committed", () =>
  Effect.gen(function*() {
    const { client, controls } = yield* visited(
      Effect.orDie(Session.load),
      word(Effect.zipRight(add, Session.commit)),
      Effect.die("broken")
    )
    const answer = yield* client.get("/stream")
    yield* Effect.exit(answer.text)
    assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
    assert.strictEqual(yield* (yield* client.get("/read")).text, "2")
  }).pipe(fixture.quietly, fixture.leavingNoFiber, Effect.provide(services())))
