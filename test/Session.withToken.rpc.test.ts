/**
 * A session in RPC: calls of `@effect/rpc` over a real WebSocket, each run on the session of the token that it brings.
 */
import { Cookies, HttpClient, HttpRouter, HttpServer, Socket } from "@effect/platform"
import { NodeHttpServer, Undici } from "@effect/platform-node"
import { Rpc, RpcClient, RpcGroup, RpcMiddleware, RpcSerialization, RpcServer } from "@effect/rpc"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Option,
  Schema,
  Stream,
  Tracer
} from "effect"
import type { State } from "effect-session"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionField, SessionToken, Store } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const { answering, increment } = fixture
const cookieName = "session"

/** Runs each call on the session of its token: of the call's own header, or else of the socket's upgrade request. */
class SessionOfCall extends RpcMiddleware.Tag<SessionOfCall>()("SessionOfCall", {
  wrap: true,
  provides: Session.Session,
  failure: Schema.Union(Session.SessionGone, Session.HeadSent, Store.StoreError)
}) {}

const tokenOfCall = (headers: { readonly [name: string]: string | undefined }) =>
  SessionToken.fromString(
    /^Bearer (.+)$/.exec(headers["authorization"] ?? "")?.[1] ??
      Cookies.parseHeader(headers["cookie"] ?? "")[cookieName] ?? ""
  )

const sessions = Layer.effect(
  SessionOfCall,
  Effect.map(
    Effect.context<State.State | Store.Store>(),
    (context) => ({ headers, next }) =>
      next.pipe(
        Session.withToken(tokenOfCall(headers)),
        Effect.mapInputContext((call: Context.Context<never>) => Context.merge(context, call))
      )
  )
)

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

const Calls = RpcGroup.make(
  Rpc.make("Add", { success: Schema.Int }),
  Rpc.make("AddInStep", { success: Schema.Int }),
  Rpc.make("AddAndRefuse", { success: Schema.Int, error: Refused }),
  Rpc.make("AddTimes", { success: Schema.Int, stream: true, payload: { times: Schema.Int } }),
  Rpc.make("Renew")
).middleware(SessionOfCall)

/** What a handler waits for, so that a test can do something while it runs. */
class Step extends Context.Tag("Step")<Step, {
  readonly arrived: Deferred.Deferred<void>
  readonly release: Deferred.Deferred<void>
}>() {
  static readonly layer = Layer.effect(
    Step,
    Effect.all({ arrived: Deferred.make<void>(), release: Deferred.make<void>() })
  )
}

const handlers = Calls.toLayer(Effect.map(Step, (step) =>
  Calls.of({
    Add: () => increment,
    AddInStep: () =>
      Effect.zipLeft(
        increment,
        Effect.zipRight(Deferred.succeed(step.arrived, undefined), Deferred.await(step.release))
      ),
    AddAndRefuse: () => Effect.zipRight(increment, new Refused()),
    AddTimes: ({ times }) => Stream.repeatEffect(increment).pipe(Stream.take(times)),
    Renew: () => Session.renew
  })))

/** Serves the app, whose `/rpc` takes sockets, and visits it: a browser whose session counts 1. */
const visited = Effect.gen(function*() {
  const { httpApp, protocol } = yield* RpcServer.makeProtocolWithHttpAppWebsocket
  yield* RpcServer.make(Calls).pipe(Effect.provideService(RpcServer.Protocol, protocol), Effect.forkScoped)
  const router = HttpRouter.empty.pipe(
    HttpRouter.get("/add", answering(increment)),
    HttpRouter.get("/read", answering(SessionField.get(fixture.Count))),
    HttpRouter.get("/logout", answering(Session.destroy)),
    HttpRouter.get("/rpc", httpApp)
  )
  yield* HttpServer.serveEffect(router, HttpMiddleware.session)
  const { address } = yield* HttpServer.HttpServer
  assert.isTrue(address._tag === "TcpAddress")
  const url = `ws://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}/rpc`
  const first = yield* HttpClient.get("/add")
  const text = Option.getOrElse(Cookies.getValue(first.cookies, cookieName), () => "")
  const cookie = `${cookieName}=${text}`
  const get = (path: string) =>
    Effect.flatMap(HttpClient.get(path, { headers: { cookie } }), (response) => response.text)
  const controls = yield* testing.Controls
  yield* controls.reset
  return { controls, cookie, get, text, url, bearing: RpcClient.withHeaders({ authorization: `Bearer ${text}` }) }
})

/** A client whose socket is upgraded by a request with these headers. */
const connected = (url: string, headers: { readonly [name: string]: string } = {}) =>
  Effect.gen(function*() {
    const socket = Socket.layerWebSocket(url).pipe(
      Layer.provide(
        Layer.succeed(
          Socket.WebSocketConstructor,
          (url) => new Undici.WebSocket(url, { headers }) as unknown as WebSocket
        )
      )
    )
    const protocol = yield* Layer.build(Layer.provide(RpcClient.layerProtocolSocket(), socket))
    return yield* Effect.provide(RpcClient.make(Calls), protocol)
  })

/** What an effect fails with, or `Right`. */
const failure = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onFailure: ({ _tag }) => _tag as string, onSuccess: () => "Right" })

const serving = handlers.pipe(
  Layer.merge(sessions),
  Layer.provideMerge(Layer.mergeAll(
    NodeHttpServer.layerTest,
    Layer.orDie(CookieState.layer({ secure: false })),
    Layer.orDie(testing.controlled(MemoryStore.layer())),
    RpcSerialization.layerNdjson,
    Step.layer
  ))
)

describe("a call that brings a token", () => {
  it.live("in a header: its handler reads and changes the session of the HTTP requests", () =>
    Effect.gen(function*() {
      const { bearing, controls, get, url } = yield* visited
      const client = yield* connected(url)
      assert.strictEqual(yield* bearing(client.Add()), 2)
      assert.strictEqual(yield* get("/add"), "3")
      assert.strictEqual(yield* bearing(client.Add()), 4)
      assert.deepStrictEqual(yield* controls.methods, ["load", "update", "load", "update", "load", "update"])
    }).pipe(Effect.scoped, Effect.provide(serving)))

  it.live("in the cookie of the request that opened the socket, unless it has one of its own", () =>
    Effect.gen(function*() {
      const { cookie, get, url } = yield* visited
      const client = yield* connected(url, { cookie })
      assert.strictEqual(yield* client.Add(), 2)
      assert.strictEqual(yield* get("/read"), "2")
      assert.strictEqual(
        yield* failure(client.Add(undefined, { headers: { authorization: "Bearer x" } })),
        "SessionGone"
      )
      assert.strictEqual(yield* get("/read"), "2")
    }).pipe(Effect.scoped, Effect.provide(serving)))

  it.live("calls of one socket that run at the same time lose nothing", () =>
    Effect.gen(function*() {
      const { bearing, get, url } = yield* visited
      const client = yield* connected(url)
      yield* bearing(Effect.all(Array.from({ length: 10 }, () => client.Add()), { concurrency: "unbounded" }))
      assert.strictEqual(yield* get("/read"), "11")
    }).pipe(Effect.scoped, Effect.provide(serving)))

  it.live("whose answer is a stream: the session is there until its end, and then saved", () =>
    Effect.gen(function*() {
      const { bearing, controls, get, url } = yield* visited
      const client = yield* connected(url)
      const all = yield* bearing(Effect.suspend(() => Stream.runCollect(client.AddTimes({ times: 3 }))))
      assert.deepStrictEqual([...all], [2, 3, 4])
      assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
      assert.strictEqual(yield* get("/read"), "4")
    }).pipe(Effect.scoped, Effect.provide(serving)))

  it.live("whose handler fails: the client gets its error, and nothing is saved", () =>
    Effect.gen(function*() {
      const { bearing, controls, get, url } = yield* visited
      const client = yield* connected(url)
      assert.strictEqual(yield* failure(bearing(client.AddAndRefuse())), "Refused")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
      assert.strictEqual(yield* get("/read"), "1")
    }).pipe(Effect.scoped, Effect.provide(serving)))
})

describe("an error that the middleware declares reaches the client", () => {
  it.live("S26: SessionGone, when the session ends while the handler runs; nothing is written", () =>
    Effect.gen(function*() {
      const { bearing, controls, get, text, url } = yield* visited
      const client = yield* connected(url)
      const { arrived, release } = yield* Step
      const call = yield* Effect.fork(failure(bearing(client.AddInStep())))
      yield* Deferred.await(arrived)
      yield* get("/logout")
      yield* Deferred.succeed(release, undefined)
      assert.strictEqual(yield* Fiber.join(call), "SessionGone")
      assert.notInclude(yield* controls.methods, "create")
      const error = yield* Effect.flip(bearing(client.Add()))
      assert.instanceOf(error, Session.SessionGone)
      assert.notInclude(JSON.stringify(error), text)
    }).pipe(Effect.scoped, Effect.provide(serving)))

  it.live("S03 S04: SessionGone, without a token or with one that is unknown; the handler does not run", () =>
    Effect.gen(function*() {
      const { controls, url } = yield* visited
      const client = yield* connected(url)
      assert.strictEqual(yield* failure(client.Add()), "SessionGone")
      assert.deepStrictEqual(yield* controls.methods, [])
      const unknown = "A".repeat(43)
      assert.strictEqual(
        yield* failure(client.Add(undefined, { headers: { authorization: `Bearer ${unknown}` } })),
        "SessionGone"
      )
      assert.deepStrictEqual(yield* controls.methods, ["load"])
    }).pipe(Effect.scoped, Effect.provide(serving)))

  it.live("S13: HeadSent, when the handler renews: no new token reaches the client", () =>
    Effect.gen(function*() {
      const { bearing, get, url } = yield* visited
      const client = yield* connected(url)
      assert.strictEqual(yield* failure(bearing(client.Renew())), "HeadSent")
      assert.strictEqual(yield* get("/add"), "2")
    }).pipe(Effect.scoped, Effect.provide(serving)))

  it.live("S66: StoreError, without its cause; the socket's next call is answered", () =>
    Effect.gen(function*() {
      const { bearing, controls, url } = yield* visited
      const client = yield* connected(url)
      yield* controls.fail("load")
      const error = yield* Effect.flip(bearing(client.Add()))
      assert.instanceOf(error, Store.StoreError)
      assert.isUndefined((error as Store.StoreError).cause)
      yield* controls.reset
      assert.strictEqual(yield* bearing(client.Add()), 2)
    }).pipe(Effect.scoped, fixture.quietly, Effect.provide(serving)))
})

describe("S07: what is observed of a call", () => {
  it.live("no log and no span of client or server holds the token, from a header or a cookie", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const native = yield* Effect.tracer
        const spans: Array<Tracer.Span> = []
        const tracer = Tracer.make({
          span: (...args) => {
            const span = native.span(...args)
            spans.push(span)
            return span
          },
          context: (f) => f()
        })
        const text = yield* Effect.gen(function*() {
          const { bearing, cookie, get, text, url } = yield* visited
          const client = yield* connected(url, { cookie })
          yield* client.Add()
          yield* bearing(client.Add())
          yield* failure(bearing(client.AddAndRefuse()))
          yield* bearing(Effect.suspend(() => Stream.runCollect(client.AddTimes({ times: 2 }))))
          yield* get("/logout")
          yield* failure(bearing(client.Add()))
          return text
        }).pipe(Effect.scoped, Effect.withTracer(tracer))
        const names = spans.map(({ name }) => name)
        for (const name of ["RpcClient.Add", "RpcServer.Add", "session.load", "http.server GET"]) {
          assert.include(names, name)
        }
        const shown = spans.map((span) => {
          const { attributes, links, name, status } = span
          const ended = status._tag === "Ended" && status.exit._tag === "Failure" ? Cause.pretty(status.exit.cause) : ""
          return JSON.stringify([name, [...attributes], links.map((link) => link.attributes), ended])
        })
        assert.lengthOf(text, 43)
        assert.notInclude(shown.join("\n"), text)
        assert.include(shown.join("\n"), "<redacted>")
        assert.notInclude(JSON.stringify(lines), text)
      })
    ).pipe(Logger.withMinimumLogLevel(LogLevel.All), Effect.provide(serving)))
})
