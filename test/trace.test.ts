/**
 * In which order state, store and handler are called in a request: the traces of plack.md §2, as lazy loading makes them.
 * Tokens are named A, B, C in the order in which they were drawn, Z is one that nobody drew.
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Redacted, Ref, Stream, TestClock } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionToken, State, Store } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const unknown = "Z".repeat(42) + "Y"

class Trace extends Context.Tag("test/Trace")<Trace, {
  readonly lines: Array<string>
  readonly name: (token: SessionToken.Token) => string
  readonly generate: (size: number) => Uint8Array
}>() {}

const trace = Layer.sync(Trace, () => {
  const lines: Array<string> = []
  const names = new Map([[unknown, "Z"]])
  let drawn = 0
  const letter = () => String.fromCharCode(64 + drawn)
  return {
    lines,
    name: (token) => {
      const text = Redacted.value(token)
      const known = names.get(text)
      if (known === undefined) {
        names.set(text, letter())
      }
      return known ?? letter()
    },
    generate: (size) => {
      drawn += 1
      lines.push(`generate ${letter()}`)
      return new Uint8Array(size).fill(drawn)
    }
  }
})

const recordingState = Layer.effect(
  State.State,
  Effect.gen(function*() {
    const { lines, name } = yield* Trace
    const { transports: [own] } = yield* CookieState.make()
    return State.make({
      ...own,
      extract: (request) =>
        Effect.suspend(() => {
          lines.push("extract")
          return own.extract(request)
        }),
      emit: (response, token, emission) =>
        Effect.suspend(() => {
          lines.push(`emit ${name(token)}`)
          return own.emit(response, token, emission)
        }),
      expire: (response, attributes) => {
        lines.push("expire")
        return own.expire(response, attributes)
      }
    })
  })
)

const recordingStore = Layer.scoped(
  Store.Store,
  Effect.gen(function*() {
    const { lines, name } = yield* Trace
    const own = yield* MemoryStore.make()
    return Store.around(own, ({ method, next, token }, run) =>
      Effect.suspend(() => {
        lines.push(next === undefined ? `${method} ${name(token)}` : `${method} ${name(token)} to ${name(next)}`)
        return run()
      }))
  })
)

const services = Layer.mergeAll(recordingState, recordingStore).pipe(Layer.provideMerge(trace), Layer.orDie)

type Handler = Effect.Effect<unknown, unknown, Session.Session>

const add = Effect.flatMap(Session.Session, Ref.update((data) => ({ ...data, n: Number(data["n"] ?? 0) + 1 })))
const read = Effect.flatMap(Session.Session, Ref.get)

/** The calls of one request; with `visited`, of a client who has session A. */
const traced = (
  handler: Handler,
  expected: ReadonlyArray<string>,
  { cookies, later = Effect.void, response, visited = true, wait = 0 }: {
    readonly cookies?: string
    /** Before the request, in milliseconds. */
    readonly wait?: number
    readonly visited?: boolean
    readonly response?: HttpServerResponse.HttpServerResponse
    /** After the head has reached the client. */
    readonly later?: Effect.Effect<unknown, unknown>
  } = {}
) =>
  Effect.gen(function*() {
    const { generate, lines } = yield* Trace
    let current: Handler = add
    let answered = HttpServerResponse.text("done")
    const app = Effect.gen(function*() {
      lines.push("handler")
      yield* current
      lines.push("answer")
      return answered
    })
    const client = yield* testing.client(HttpMiddleware.session(app)).pipe(
      Effect.provideService(SessionToken.Generator, generate)
    )
    if (visited) {
      yield* client.get("/")
      lines.splice(0)
    }
    current = handler
    answered = response ?? answered
    yield* TestClock.adjust(wait)
    const answer = yield* client.get("/", { cookies })
    lines.push("head")
    yield* later
    yield* answer.text
    assert.deepStrictEqual(lines, expected)
  }).pipe(fixture.quietly, Effect.provide(services))

const first = ["generate A", "create A", "emit A", "head"]

describe("call order", () => {
  it.effect("S35: untouched: the handler alone", () => traced(Effect.void, ["handler", "answer", "head"]))

  it.effect("first visit: nothing is drawn or stored before the answer is known", () =>
    traced(add, ["handler", "extract", "answer", ...first], { visited: false }))

  it.effect("S35: first visit that only reads", () =>
    traced(read, ["handler", "extract", "answer", "head"], { visited: false }))

  it.effect("first visit that asks for its id: the token is drawn then", () =>
    traced(
      Effect.zipRight(Session.id, add),
      ["handler", "extract", "generate A", "answer", "create A", "emit A", "head"],
      { visited: false }
    ))

  it.effect("second visit: loaded at the first touch, written after the answer", () =>
    traced(add, ["handler", "extract", "load A", "answer", "update A", "head"]))

  it.effect("S64: second visit that only reads", () =>
    traced(Effect.zipRight(read, read), ["handler", "extract", "load A", "answer", "head"]))

  it.effect("S21: a read after the touch interval", () =>
    traced(read, ["handler", "extract", "load A", "answer", "touch A", "head"], { wait: 10 * 60_000 }))

  it.effect("S03: invalid id: no load", () =>
    traced(add, ["handler", "extract", "answer", ...first], { visited: false, cookies: "__Host-session=../wrong" }))

  it.effect("S04: unknown id: loaded, not adopted", () =>
    traced(add, ["handler", "extract", "load Z", "answer", ...first], {
      visited: false,
      cookies: `__Host-session=${unknown}`
    }))

  it.effect("S13: renew: one step", () =>
    traced(Session.renew, ["handler", "extract", "load A", "answer", "generate B", "renew A to B", "emit B", "head"]))

  it.effect("renew and change: the same step", () =>
    traced(Effect.zipRight(add, Session.renew), [
      "handler",
      "extract",
      "load A",
      "answer",
      "generate B",
      "renew A to B",
      "emit B",
      "head"
    ]))

  it.effect("ignoreChanges", () =>
    traced(Effect.zipRight(add, Session.ignoreChanges), ["handler", "extract", "load A", "answer", "head"]))

  it.effect("ignoreChanges on a first visit: nothing was promised to the client", () =>
    traced(Effect.zipRight(add, Session.ignoreChanges), ["handler", "extract", "answer", "head"], { visited: false }))

  it.effect("X06: renew and ignoreChanges: the session stays", () =>
    traced(
      Effect.zipRight(Session.renew, Session.ignoreChanges),
      ["handler", "extract", "load A", "answer", "head"]
    ))

  it.effect("explicit commit: at once, and nothing is owed at the end", () =>
    traced(Effect.zipRight(add, Session.commit), ["handler", "extract", "load A", "update A", "answer", "head"]))

  it.effect("P14: commit in a stream: before the head what was there, after it what came later", () =>
    Effect.gen(function*() {
      const begin = yield* Deferred.make<Session.Session["Type"]>()
      const gate = yield* Deferred.make<void>()
      const late = Effect.flatMap(Deferred.await(begin), (session) =>
        Deferred.await(gate).pipe(
          Effect.zipRight(add),
          Effect.zipRight(Session.commit),
          Effect.provideService(Session.Session, session)
        ))
      yield* traced(
        Effect.zipRight(add, Effect.flatMap(Session.Session, (session) => Deferred.succeed(begin, session))),
        ["handler", "extract", "load A", "answer", "update A", "head", "update A"],
        {
          response: HttpServerResponse.stream(
            Stream.fromEffect(Effect.as(late, "late")).pipe(Stream.encodeText, Stream.orDie)
          ),
          later: Deferred.succeed(gate, undefined)
        }
      )
    }))

  it.effect("S25: destroy", () =>
    traced(Session.destroy, ["handler", "extract", "load A", "answer", "remove A", "expire", "head"]))

  it.effect("P-B: destroy without a token: no store call, and no removal that could meet another's login", () =>
    traced(Session.destroy, ["handler", "extract", "answer", "head"], { visited: false }))

  it.effect("destroy with a malformed token: no store call, and the client forgets it", () =>
    traced(Session.destroy, ["handler", "extract", "answer", "expire", "head"], {
      visited: false,
      cookies: "__Host-session=junk"
    }))

  it.effect("renew, then destroy: destroyed", () =>
    traced(
      Effect.zipRight(Session.renew, Session.destroy),
      ["handler", "extract", "load A", "answer", "remove A", "expire", "head"]
    ))

  it.effect("destroy, then renew: a new session, and one cookie", () =>
    traced(Effect.zipRight(Session.destroy, Session.renew), [
      "handler",
      "extract",
      "load A",
      "answer",
      "remove A",
      "generate B",
      "create B",
      "emit B",
      "head"
    ]))

  it.effect("X12: a handler that dies: nothing more", () =>
    traced(Effect.zipRight(add, Effect.dieMessage("boom")), ["handler", "extract", "load A", "head"]))

  it.effect("destroyed, then dies: removed all the same", () =>
    traced(
      Effect.zipRight(Session.destroy, Effect.dieMessage("boom")),
      ["handler", "extract", "load A", "remove A", "expire", "head"]
    ))
})
