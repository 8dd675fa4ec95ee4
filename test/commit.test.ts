/**
 * What a store's rarer answers mean for a commit, and what a handler that outlives its response learns of it.
 */
import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Redacted, Ref, TestClock } from "effect"
import {
  CookieState,
  HttpMiddleware,
  MemoryStore,
  NullStore,
  Session,
  SessionField,
  SessionToken,
  Store
} from "effect-session"
import * as testing from "effect-session/testing"
import * as CommitQueue from "../src/internal/session/commitQueue.js"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, assertNoCookie, increment, services } = fixture

const app = HttpMiddleware.session(fixture.routes({
  "/add": answering(increment),
  "/read": answering(SessionField.get(fixture.Count)),
  "/login": answering(Session.renew),
  "/logout": answering(Session.destroy),
  "/twice": answering(Effect.zipRight(Effect.zipRight(increment, Session.commit), increment))
}))

describe("answers of a store", () => {
  it.effect("Gone to a touch: the answer is served, and the client is told of no longer life", () =>
    Effect.gen(function*() {
      const inner = yield* Store.Store
      const token = assertCookie(yield* (yield* testing.client(app)).get("/add"))
      yield* TestClock.adjust("10 minutes")
      const store = Store.make({ ...inner, touch: () => Effect.succeed(Store.gone) })
      const client = yield* Effect.provideService(testing.client(app), Store.Store, store)
      const answer = yield* client.get("/read", { cookies: `${fixture.cookieName}=${token}` })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(yield* answer.text, "1")
      assertNoCookie(answer)
    }).pipe(Effect.provide([CookieState.layer({ maxAge: "1 day" }), MemoryStore.layer()])))

  it.effect("S65: a revision of its own: the next commit compares with that one", () =>
    Effect.gen(function*() {
      const inner = yield* Store.Store
      const scaled = (answer: Store.Updated): Store.Updated =>
        answer._tag === "Updated" ? { ...answer, revision: answer.revision * 10 } : answer
      const store = Store.make({
        ...inner,
        load: (token, call) =>
          Effect.map(inner.load(token, call), (found) =>
            found._tag === "Live" ? Store.live({ ...found.record, revision: found.record.revision * 10 }) : found),
        update: (token, revision, record, call) =>
          Effect.map(inner.update(token, revision / 10, record, call), scaled)
      })
      const client = yield* Effect.provideService(testing.client(app), Store.Store, store)
      yield* client.get("/add")
      const [answer, conflicts] = yield* fixture.rising("events", "conflict", client.get("/twice"))
      assert.strictEqual(yield* answer.text, "3")
      assert.strictEqual(conflicts, 0)
      assert.strictEqual(yield* (yield* client.get("/read")).text, "3")
    }).pipe(Effect.provide([CookieState.layer(), MemoryStore.layer()])))

  it.effect("S05: Exists: three tokens are drawn, no more", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      yield* (yield* testing.client(app)).get("/add")
      yield* controls.reset
      assert.strictEqual((yield* (yield* testing.client(app)).get("/add")).status, 503)
      assert.deepStrictEqual(yield* controls.methods, ["create", "create", "create"])
    }).pipe(
      fixture.quietly,
      Effect.provideService(SessionToken.Generator, (size) => new Uint8Array(size)),
      Effect.provide(services())
    ))

  it.effect("NotKept: what transactions leave lives as long as the request", () => {
    const add = SessionField.transaction(fixture.Count, (n) => [n, n + 1])
    return Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(answering(
        Effect.map(Effect.all([add, add, SessionField.get(fixture.Count)]), String)
      )))
      assert.strictEqual(yield* (yield* client.get("/")).text, "0,1,2")
    }).pipe(Effect.provide([CookieState.layer(), NullStore.layer]))
  })
})

describe("one request", () => {
  const client = (
    handler: Effect.Effect<unknown, Store.StoreError | Session.SessionGone | Session.HeadSent, Session.Session>
  ) =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/": answering(Effect.orDie(handler))
      })))
      const token = assertCookie(yield* client.get("/add"))
      const controls = yield* testing.Controls
      yield* controls.reset
      return { client, controls, token }
    })

  it.effect("S13: what follows a committed renewal is an update, and a second renewal has a token of its own", () =>
    Effect.gen(function*() {
      const renew = Effect.zipRight(Session.renew, Session.commit)
      const { client: browser, controls } = yield* client(
        Effect.zipRight(Effect.zipRight(renew, Effect.zipRight(increment, Session.commit)), renew)
      )
      assertCookie(yield* browser.get("/"))
      assert.deepStrictEqual(yield* controls.methods, ["load", "renew", "update", "renew"])
      const tokens = (yield* controls.calls).flatMap(({ next }) => next === undefined ? [] : [Redacted.value(next)])
      assert.lengthOf(new Set(tokens), 2)
      assert.strictEqual(yield* fixture.tokenOf(browser), tokens[1])
    }).pipe(Effect.provide(services())))

  it.effect("S66: a store that throws when it is to reload fails typed", () =>
    Effect.gen(function*() {
      const inner = yield* Store.Store
      let loads = 0
      const store = Store.make({
        ...inner,
        load: (token, call) => {
          loads += 1
          if (loads > 1) {
            throw new Error("a defect")
          }
          return inner.load(token, call)
        }
      })
      const { token } = yield* client(Effect.void)
      const app = HttpMiddleware.session(answering(
        Effect.zipRight(Session.load, Effect.map(Effect.flip(Session.reload), ({ _tag }) => _tag))
      ))
      const other = yield* Effect.provideService(testing.client(app), Store.Store, store)
      const answer = yield* other.get("/", { cookies: `${fixture.cookieName}=${token}` })
      assert.strictEqual(yield* answer.text, "StoreError")
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("S04: without a cookie no token is counted as rejected", () =>
    Effect.gen(function*() {
      const { client: browser } = yield* client(Effect.asVoid(Session.load))
      const visitor = yield* browser.other({ jar: "empty" })
      const before = yield* fixture.counted("rejected")
      yield* visitor.get("/")
      assert.strictEqual(yield* fixture.counted("rejected"), before)
    }).pipe(Effect.provide(services())))
})

describe("a store that answers at once and throws", () => {
  for (const method of ["load", "update", "touch", "remove"] as const) {
    it.effect(`S66: ${method}: a failure like any other, counted once`, () =>
      Effect.gen(function*() {
        const inner = yield* Store.Store
        const token = assertCookie(yield* (yield* testing.client(app)).get("/add"))
        yield* TestClock.adjust("10 minutes")
        const store = Store.make({
          ...inner,
          [method]: () => {
            throw new Error("a defect")
          }
        })
        const client = yield* Effect.provideService(testing.client(app), Store.Store, store)
        const before = yield* fixture.counted("store_failures")
        const path = { load: "/add", update: "/add", touch: "/read", remove: "/logout" }[method]
        const answer = yield* client.get(path, { cookies: `${fixture.cookieName}=${token}` })
        assert.strictEqual(answer.status, method === "touch" ? 200 : 503)
        assertNoCookie(answer)
        assert.strictEqual((yield* fixture.counted("store_failures")) - before, 1)
      }).pipe(fixture.quietly, Effect.provide([CookieState.layer(), MemoryStore.layer()])))
  }

  it.effect("fails with the StoreError that it threw, or with Unavailable and the cause", () =>
    Effect.gen(function*() {
      const inner = yield* Store.Store
      const token = assertCookie(yield* (yield* testing.client(app)).get("/add"))
      const errors: Array<Store.StoreError> = []
      for (const thrown of [new Store.StoreError({ reason: "Contention", method: "mine" }), new Error("a defect")]) {
        const store = Store.make({
          ...inner,
          load: () => {
            throw thrown
          }
        })
        const loading = Effect.as(
          Effect.tapError(Session.load, (error) => Effect.sync(() => errors.push(error))),
          HttpServerResponse.empty()
        )
        const client = yield* Effect.provideService(
          testing.client(HttpMiddleware.session(loading)),
          Store.Store,
          store
        )
        const answer = yield* client.get("/", { cookies: `${fixture.cookieName}=${token}` })
        assert.strictEqual(answer.status, 503)
      }
      assert.deepStrictEqual(errors.map(({ method, reason }) => [reason, method]), [
        ["Contention", "mine"],
        ["Unavailable", "load"]
      ])
      assert.include(String(errors[1]?.cause), "a defect")
    }).pipe(fixture.quietly, Effect.provide([CookieState.layer(), MemoryStore.layer()])))
})

describe("what is lost", () => {
  it.effect("S15: an update under a superseded token is counted, a read is not", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(app)
      yield* client.get("/add")
      const old = yield* client.other({ jar: "copy" })
      yield* client.get("/login")
      assert.strictEqual((yield* fixture.rising("events", "gone", old.get("/add")))[1], 1)
      assert.strictEqual((yield* fixture.rising("events", "gone", old.get("/read")))[1], 0)
    }).pipe(Effect.provide(services())))

  it.effect("S65: an update that throws when it is replayed: 500, logged, and the other's change stays", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/add": answering(increment),
          "/once": answering(SessionField.update(fixture.Count, (n) => {
            if (n > 1) {
              throw new Error("not twice")
            }
            return n + 1
          })),
          "/read": answering(SessionField.get(fixture.Count))
        })))
        yield* client.get("/add")
        const other = yield* fixture.elsewhere(HttpMiddleware.session(answering(increment)))
        const token = yield* fixture.tokenOf(client)
        const update = yield* controls.hold("update")
        const slow = yield* client.fork("GET", "/once")
        yield* update.arrived
        yield* other.get("/", { cookies: `${fixture.cookieName}=${token}` })
        yield* update.release
        const answer = yield* slow
        assert.strictEqual(answer.status, 500)
        assertNoCookie(answer)
        assert.lengthOf(lines.filter(({ level, message }) => level === "ERROR" && message.includes("committed")), 1)
        assert.strictEqual(yield* (yield* client.get("/read")).text, "2")
      })
    ).pipe(Effect.provide(services())))
})

describe("updates that change nothing", () => {
  it.effect("C16: an explicit commit forgets them: after a conflict none of them runs again", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const times = 100
      let ran = 0
      let changed = 0
      const same = Effect.flatMap(
        Session.Session,
        Ref.update((data) => {
          ran += 1
          return data
        })
      )
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/": answering(Effect.gen(function*() {
          yield* Effect.repeatN(Effect.zipRight(same, Session.commit), times - 1)
          yield* SessionField.update(fixture.Count, (n) => {
            changed += 1
            return n + 1
          })
          yield* Session.commit
          return yield* SessionField.get(fixture.Count)
        }))
      })))
      const token = assertCookie(yield* client.get("/add"))
      const other = yield* fixture.elsewhere(HttpMiddleware.session(answering(increment)))
      const update = yield* controls.hold("update")
      const slow = yield* client.fork("GET", "/")
      yield* update.arrived
      yield* other.get("/", { cookies: `${fixture.cookieName}=${token}` })
      yield* update.release
      assert.strictEqual(yield* (yield* Fiber.join(slow)).text, "3")
      assert.deepStrictEqual([ran, changed], [times, 2])
    }).pipe(Effect.provide(services())))
})

describe("a fiber that outlives its response learns", () => {
  const outliving = (
    during: (token: SessionToken.Token) => Effect.Effect<unknown, Store.StoreError, Store.Store | testing.Controls>
  ) =>
    Effect.gen(function*() {
      const answered = yield* Deferred.make<void>()
      const learned = yield* Deferred.make<Session.Outcome>()
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/fork": answering(Effect.gen(function*() {
          yield* increment
          yield* during(yield* Session.token)
          yield* increment
          yield* Deferred.await(answered).pipe(
            Effect.zipRight(Session.outcome),
            Effect.flatMap((outcome) => Deferred.succeed(learned, outcome)),
            Effect.forkDaemon
          )
        }))
      })))
      yield* client.get("/add")
      yield* client.get("/fork")
      yield* Deferred.succeed(answered, undefined)
      return yield* Deferred.await(learned)
    }).pipe(fixture.quietly, Effect.provide(services()))

  it.effect("that its commit failed, and why", () =>
    Effect.gen(function*() {
      const outcome = yield* outliving(() => Effect.flatMap(testing.Controls, (controls) => controls.fail("update")))
      assert.strictEqual(outcome._tag, "Failed")
      assert.include(String("cause" in outcome ? outcome.cause : ""), "StoreError")
    }))

  it.effect("that its session was gone", () =>
    Effect.gen(function*() {
      const outcome = yield* outliving((token) => Effect.flatMap(Store.Store, (store) => clocked(store).remove(token)))
      assert.deepStrictEqual(outcome, { _tag: "Gone" })
    }))
})

describe("the commit queue", () => {
  const queue = Effect.map(MemoryStore.make(), CommitQueue.queueOf)

  it.scoped("S65: each waits for the one before, also one that comes when the first is done", () =>
    Effect.gen(function*() {
      const { run: inTurn } = yield* queue
      const steps: Array<string> = []
      const run = (name: string) =>
        Effect.gen(function*() {
          const go = yield* Deferred.make<void>()
          const fiber = yield* Effect.fork(inTurn("key", () =>
            Effect.zipRight(
              Effect.sync(() => {
                steps.push(name)
              }),
              Deferred.await(go)
            )))
          yield* Effect.yieldNow()
          return Effect.zipRight(Deferred.succeed(go, undefined), fiber)
        })
      const first = yield* run("first")
      const second = yield* run("second")
      assert.deepStrictEqual(steps, ["first"])
      yield* first
      yield* Effect.yieldNow()
      const third = yield* run("third")
      assert.deepStrictEqual(steps, ["first", "second"])
      yield* second
      yield* third
      assert.deepStrictEqual(steps, ["first", "second", "third"])
    }))

  it.effect("S26: what a commit left of a session is not taken for the one that began after its destruction", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const goSecond = yield* Deferred.make<void>()
      const goThird = yield* Deferred.make<void>()
      const queued = Effect.repeatN(Effect.yieldNow(), 20)
      const setFlash = Effect.flatMap(Session.Session, Ref.set<Session.Data>({ flash: "bye" }))
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/second": answering(Effect.zipRight(Session.load, Effect.zipRight(Deferred.await(goSecond), increment))),
        "/third": answering(Effect.zipRight(Session.load, Effect.zipRight(Deferred.await(goThird), increment))),
        "/": Effect.gen(function*() {
          yield* increment
          const ofFirst = yield* controls.hold("update")
          const updating = yield* Effect.fork(Session.commit)
          yield* ofFirst.arrived
          yield* Deferred.succeed(goSecond, undefined)
          yield* queued
          const ofSecond = yield* controls.hold("update")
          yield* ofFirst.release
          yield* Fiber.join(updating)
          yield* ofSecond.arrived
          yield* Session.destroy
          yield* setFlash
          const beginning = yield* Effect.fork(Session.commit)
          yield* queued
          const ofThird = yield* controls.hold("update")
          yield* Deferred.succeed(goThird, undefined)
          yield* queued
          yield* ofSecond.release
          yield* Fiber.join(beginning)
          yield* ofThird.arrived
          yield* increment
          const adding = yield* Effect.fork(Session.commit)
          yield* queued
          yield* ofThird.release
          yield* Fiber.join(adding)
          return HttpServerResponse.unsafeJson(yield* Effect.flatMap(Session.Session, Ref.get))
        })
      })))
      yield* client.get("/add")
      yield* controls.reset
      yield* client.fork("GET", "/second")
      yield* client.fork("GET", "/third")
      yield* controls.arrived("load", 2)
      const answer = yield* client.get("/")
      assert.deepStrictEqual(JSON.parse(yield* answer.text), { flash: "bye", n: 1 })
      const updates = (yield* controls.calls).filter(({ method }) => method === "update")
      assert.deepStrictEqual(updates.map(({ revision }) => revision), [1, 2, 2, 1])
    }).pipe(Effect.provide(services())))

  it.scoped("what a commit leaves is told to those who wait, and forgotten when nobody does", () =>
    Effect.gen(function*() {
      const { isBusy, run: inTurn } = yield* queue
      const record = testing.record()
      const go = yield* Deferred.make<void>()
      const seen: Array<boolean> = []
      const turn = inTurn("other", (ahead, leave) =>
        Effect.sync(() => {
          seen.push(ahead !== undefined)
          leave(record)
        }))
      const first = yield* Effect.fork(
        inTurn("other", (_, leave) => Effect.zipRight(Deferred.await(go), Effect.sync(() => leave(record))))
      )
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(turn)
      yield* Effect.yieldNow()
      yield* Deferred.succeed(go, undefined)
      yield* first
      yield* second
      yield* turn
      assert.deepStrictEqual(seen, [true, false])
      assert.isFalse(isBusy("other"))
    }))
})
