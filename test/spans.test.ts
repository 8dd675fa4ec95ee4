import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Tracer } from "effect"
import { CookieState, HttpMiddleware, Session, SessionToken, State, Store } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const app = HttpMiddleware.session(fixture.routes({
  "/add": fixture.answering(fixture.increment),
  "/read": fixture.answering(Session.get),
  "/none": fixture.answering(Effect.void),
  "/id": fixture.answering(Session.id)
}))

/** A client of the app under a tracer of the app's own, and what gives the library's spans since it was last asked. */
const traced = Effect.gen(function*() {
  const native = yield* Effect.tracer
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    ...native,
    span: (...args) => {
      const span = native.span(...args)
      spans.push(span)
      return span
    },
    context: (f) => f()
  })
  const client = yield* Effect.withTracer(testing.client(app), tracer)
  const take = () => spans.splice(0).filter(({ name }) => name.startsWith("session."))
  const shown = () => take().map(({ attributes, name }) => [name, [...attributes]])
  return { client, take, shown }
})

describe("S07: spans", () => {
  it.scoped("a request that loads and commits has one of each, with the session's public id and without its token", () =>
    Effect.gen(function*() {
      const { client, shown } = yield* traced
      yield* client.get("/add")
      const first = shown()
      const id = yield* Effect.flatMap(client.get("/id"), ({ text }) => text)
      assert.deepStrictEqual(first, [["session.load", []], ["session.commit", [["session.id", id]]]])
      shown()
      yield* client.get("/add")
      const second = shown()
      assert.deepStrictEqual(second, [["session.load", [["session.id", id]]], ["session.commit", [["session.id", id]]]])
      const token = yield* fixture.tokenOf(client)
      assert.notInclude(JSON.stringify(second), token)
      assert.strictEqual(id, yield* SessionToken.toId(SessionToken.fromString(token)))
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("they stand under a span of the request, and end", () =>
    Effect.gen(function*() {
      const { client, take } = yield* traced
      yield* client.get("/add")
      for (const span of take()) {
        assert.isTrue(Option.isSome(span.parent), span.name)
        assert.strictEqual(span.status._tag, "Ended")
      }
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("a request that only reads has no commit, and one that does not touch its session has no span", () =>
    Effect.gen(function*() {
      const { client, take } = yield* traced
      yield* client.get("/add")
      take()
      yield* client.get("/read")
      assert.deepStrictEqual(take().map(({ name }) => name), ["session.load"])
      yield* client.get("/none")
      assert.deepStrictEqual(take(), [])
    }).pipe(Effect.provide(fixture.services())))

  it.scoped("a load that fails ends its span with the failure", () =>
    fixture.quietly(Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { client, take } = yield* traced
      yield* client.get("/add")
      take()
      yield* controls.fail("load")
      assert.strictEqual((yield* client.get("/read")).status, 503)
      const status = take()[0]?.status
      assert.isTrue(status?._tag === "Ended" && Exit.isFailure(status.exit))
    })).pipe(Effect.provide(fixture.services())))

  for (const how of ["at once", "later, as in a form"] as const) {
    it.scoped(`the store's own spans stand under them, where the token is there ${how}`, () =>
      Effect.gen(function*() {
        const native = yield* Effect.tracer
        const parents: Array<string | undefined> = []
        const tracer = Tracer.make({
          ...native,
          span: (name, parent, ...rest) => {
            if (name === "query") {
              parents.push(parent._tag === "Some" && parent.value._tag === "Span" ? parent.value.name : undefined)
            }
            return native.span(name, parent, ...rest)
          },
          context: (f) => f()
        })
        const [transport] = (yield* CookieState.make()).transports
        const state = State.make({
          ...transport,
          extract: (request) =>
            how === "at once"
              ? transport.extract(request)
              : Effect.zipRight(Effect.yieldNow(), transport.extract(request))
        })
        const store = Store.around(
          yield* Store.Store,
          (_, run) => Effect.withSpan(Effect.suspend(run), "query")
        )
        const client = yield* testing.client(app).pipe(
          Effect.provideService(State.State, state),
          Effect.provideService(Store.Store, store),
          Effect.withTracer(tracer)
        )
        yield* client.get("/add")
        yield* client.get("/add")
        assert.deepStrictEqual(parents, ["session.commit", "session.load", "session.commit"])
      }).pipe(Effect.provide(fixture.services())))
  }
})
