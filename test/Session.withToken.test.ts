/**
 * A session outside of any request: what `withToken` reads, saves and refuses.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Redacted, TestClock } from "effect"
import {
  CookieState,
  HeaderState,
  HttpMiddleware,
  MemoryStore,
  SealedStore,
  Session,
  SessionField,
  SessionPolicy,
  SessionToken,
  State,
  Store
} from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, increment, services } = fixture

const app = HttpMiddleware.session(fixture.routes({
  "/add": answering(increment),
  "/read": answering(SessionField.get(fixture.Count)),
  "/login": answering(Session.renew),
  "/logout": answering(Session.destroy)
}))

/** A browser whose session counts 1, and the token that it would hand on. */
const visited = Effect.gen(function*() {
  const client = yield* testing.client(app)
  const token = SessionToken.fromString(assertCookie(yield* client.get("/add")))
  const controls = yield* testing.Controls
  yield* controls.reset
  return { client, controls, token, counts: Effect.flatMap(client.get("/read"), ({ text }) => text) }
})

const found = (token: SessionToken.Token) => Effect.flatMap(Store.Store, (store) => clocked(store).load(token))

/** What an effect fails with, or `Right`. */
const failure = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onFailure: ({ _tag }) => _tag as string, onSuccess: () => "Right" })

describe("a token with a live session", () => {
  it.effect("its data are read, changed and saved, and the answer is the effect's", () =>
    Effect.gen(function*() {
      const { controls, counts, token } = yield* visited
      const answer = yield* Effect.zip(Session.info, increment).pipe(Session.withToken(token))
      assert.strictEqual(answer[0].id, yield* SessionToken.toId(token))
      assert.isFalse(answer[0].isNew)
      assert.strictEqual(answer[1], 2)
      assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
      assert.strictEqual(yield* counts, "2")
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.effect("S64: reading costs one call, and a touch once the interval has passed", () =>
    Effect.gen(function*() {
      const { controls, token } = yield* visited
      const read = Session.withToken(token)(Session.get)
      assert.deepStrictEqual(yield* read, { n: 1 })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* read, { n: 1 })
      assert.deepStrictEqual(yield* controls.methods, ["load", "load", "touch"])
      const { record } = (yield* found(token)) as Extract<Store.Loaded, { readonly _tag: "Live" }>
      assert.strictEqual(record.deadline, 70 * 60_000)
    }).pipe(Effect.provide(services())))

  it.effect("S65: another request saves first: the update is made again on what it left", () =>
    Effect.gen(function*() {
      const { client, controls, counts, token } = yield* visited
      const other = yield* fixture.elsewhere(app)
      const update = yield* controls.hold("update")
      const job = yield* Effect.fork(Session.withToken(token)(increment))
      yield* update.arrived
      yield* other.get("/add", { cookies: `${fixture.cookieName}=${yield* fixture.tokenOf(client)}` })
      yield* update.release
      yield* Fiber.join(job)
      assert.strictEqual(yield* counts, "3")
    }).pipe(Effect.provide(services())))

  it.effect("S26: it ends while the effect runs: SessionGone, and it stays ended", () =>
    Effect.gen(function*() {
      const { client, token } = yield* visited
      const job = Session.withToken(token)(Effect.zipRight(client.get("/logout"), increment))
      assert.strictEqual(yield* failure(job), "SessionGone")
      assert.strictEqual((yield* found(token))._tag, "Superseded")
    }).pipe(Effect.provide(services())))

  it.effect("ignoreChanges leaves the store as it is", () =>
    Effect.gen(function*() {
      const { controls, token } = yield* visited
      yield* Session.withToken(token)(Effect.zipRight(increment, Session.ignoreChanges))
      assert.deepStrictEqual(yield* controls.methods, ["load"])
    }).pipe(Effect.provide(services())))

  it.effect("transactions, explicit commits and reloads go on as in a request", () =>
    Effect.gen(function*() {
      const { client, counts, token } = yield* visited
      const job = Effect.gen(function*() {
        yield* increment
        yield* Session.commit
        yield* client.get("/add")
        assert.deepStrictEqual(yield* Session.reload, { n: 3 })
        return yield* Session.transaction((data) => [data["n"], { ...data, n: 10 }])
      })
      assert.strictEqual(yield* Session.withToken(token)(job), 3)
      assert.strictEqual(yield* counts, "10")
    }).pipe(Effect.provide(services())))
})

describe("an effect that fails", () => {
  it.effect("nothing is saved, but what was committed before stands", () =>
    Effect.gen(function*() {
      const { counts, token } = yield* visited
      for (const ending of [Effect.fail("an error"), Effect.die(new Error("a defect")), Effect.interrupt]) {
        const exit = yield* Effect.exit(Session.withToken(token)(Effect.zipRight(increment, ending)))
        assert.isTrue(Exit.isFailure(exit))
      }
      assert.strictEqual(yield* counts, "1")
      const job = Effect.all([increment, Session.commit, increment, Effect.fail("an error" as const)])
      assert.strictEqual(
        yield* Effect.flip(Effect.mapError(Session.withToken(token)(job), (error) => String(error))),
        "an error"
      )
      assert.strictEqual(yield* counts, "2")
    }).pipe(Effect.provide(services())))

  it.effect("S25: a session that it destroyed ends all the same", () =>
    Effect.gen(function*() {
      const { token } = yield* visited
      yield* Effect.exit(Session.withToken(token)(Effect.zipRight(Session.destroy, Effect.fail("an error"))))
      assert.strictEqual((yield* found(token))._tag, "Superseded")
    }).pipe(Effect.provide(services())))
})

describe("destroy", () => {
  it.effect("S25: ends the session", () =>
    Effect.gen(function*() {
      const { token } = yield* visited
      yield* Session.withToken(token)(Session.destroy)
      assert.strictEqual((yield* found(token))._tag, "Superseded")
      assert.strictEqual(yield* failure(Session.withToken(token)(Session.get)), "SessionGone")
    }).pipe(Effect.provide(services())))

  it.effect("S25: with ignoreChanges too", () =>
    Effect.gen(function*() {
      const { token } = yield* visited
      yield* Session.withToken(token)(Effect.zipRight(Session.destroy, Session.ignoreChanges))
      assert.strictEqual((yield* found(token))._tag, "Superseded")
    }).pipe(Effect.provide(services())))

  it.effect("S25 S66: a removal that fails is never a success", () =>
    Effect.gen(function*() {
      const { controls, token } = yield* visited
      for (const logout of [Session.destroy, Effect.zipRight(Session.destroy, Session.ignoreChanges)]) {
        yield* controls.fail("remove", { times: 2 })
        assert.strictEqual(yield* failure(Session.withToken(token)(logout)), "StoreError")
        assert.strictEqual((yield* found(token))._tag, "Live")
        yield* controls.reset
      }
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("what is put into the session after it would begin a new one: HeadSent, and nothing is created", () =>
    Effect.gen(function*() {
      const { controls, token } = yield* visited
      const job = Session.withToken(token)(Effect.zipRight(Session.destroy, increment))
      assert.strictEqual(yield* failure(job), "HeadSent")
      assert.deepStrictEqual(yield* controls.methods, ["load", "remove"])
    }).pipe(Effect.provide(services())))
})

describe("a token without a live session: SessionGone, the effect does not run, and nothing is created", () => {
  const gone = (token: SessionToken.Token) =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      yield* controls.reset
      let ran = false
      const job = Effect.zipRight(Effect.sync(() => ran = true), increment)
      assert.strictEqual(yield* failure(Session.withToken(token)(job)), "SessionGone")
      assert.isFalse(ran)
      return yield* controls.methods
    })

  it.effect("S04: unknown", () =>
    Effect.gen(function*() {
      const token = SessionToken.draw(yield* SessionToken.Generator)
      assert.deepStrictEqual(yield* gone(token), ["load"])
    }).pipe(Effect.provide(services())))

  it.effect("S03: malformed: the store is not asked", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* gone(SessionToken.fromString("not a token")), [])
    }).pipe(Effect.provide(services())))

  it.effect("S15: superseded by a renewal, and by a removal", () =>
    Effect.gen(function*() {
      const { client, token } = yield* visited
      const next = SessionToken.fromString(assertCookie(yield* client.get("/login")))
      assert.deepStrictEqual(yield* gone(token), ["load"])
      yield* client.get("/logout")
      assert.deepStrictEqual(yield* gone(next), ["load"])
    }).pipe(Effect.provide(services())))

  it.effect("S17 S20: expired", () =>
    Effect.gen(function*() {
      const { token } = yield* visited
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* gone(token), ["load"])
    }).pipe(Effect.provide(services())))
})

describe("what needs a new token", () => {
  it.effect("S13: renew: HeadSent, and the token stays good", () =>
    Effect.gen(function*() {
      const { client, controls, token } = yield* visited
      assert.strictEqual(yield* failure(Session.withToken(token)(Session.renew)), "HeadSent")
      assert.deepStrictEqual(yield* controls.methods, ["load"])
      assert.strictEqual(yield* (yield* client.get("/add")).text, "2")
    }).pipe(Effect.provide(services())))
})

describe("S66: a store that fails", () => {
  it.effect("to load, or to save: a StoreError", () =>
    Effect.gen(function*() {
      const { controls, counts, token } = yield* visited
      for (const method of ["load", "update"] as const) {
        yield* controls.fail(method)
        assert.strictEqual(yield* failure(Session.withToken(token)(increment)), "StoreError")
      }
      assert.strictEqual(yield* counts, "1")
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("C8: to load, also with onStoreFailure: \"anonymous\": the effect does not run", () =>
    Effect.gen(function*() {
      const { controls, token } = yield* visited
      yield* controls.fail("load")
      let ran = false
      const job = Effect.sync(() => ran = true)
      assert.strictEqual(yield* failure(Session.withToken(token)(job)), "StoreError")
      assert.isFalse(ran)
    }).pipe(
      fixture.quietly,
      Effect.provide(services(fixture.policy(SessionPolicy.layer({ onStoreFailure: "anonymous" }))))
    ))
})

describe("a sealed token", () => {
  const store = SealedStore.layer({ keys: [Redacted.make("A".repeat(43) + "=")] })
  const cookies = Layer.orDie(CookieState.layer())

  const sealed = Effect.gen(function*() {
    const client = yield* testing.client(app)
    yield* client.get("/add")
    return SessionToken.fromString(yield* fixture.tokenOf(client))
  })

  it.effect("S58: is good where it was issued, by whichever of its transports, and nowhere else", () =>
    Effect.gen(function*() {
      const token = yield* sealed
      const read = Session.withToken(token)(Session.get)
      assert.deepStrictEqual(yield* read, { n: 1 })
      assert.deepStrictEqual(yield* Effect.provide(read, State.orElse(HeaderState.layer(), cookies)), { n: 1 })
      for (const state of [CookieState.layer({ name: "__Host-other" }), HeaderState.layer()]) {
        assert.strictEqual(yield* failure(Effect.provide(read, state)), "SessionGone")
      }
    }).pipe(Effect.provide([cookies, store])))

  it.effect("can't take a change, for that is another token: HeadSent", () =>
    Effect.gen(function*() {
      const token = yield* sealed
      assert.strictEqual(yield* failure(Session.withToken(token)(increment)), "HeadSent")
    }).pipe(Effect.provide([cookies, store])))

  it.effect("S21: but can be read when its session would be touched", () =>
    Effect.gen(function*() {
      const token = yield* sealed
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* Session.withToken(token)(Session.get), { n: 1 })
    }).pipe(Effect.provide([cookies, store])))
})

describe("a named session", () => {
  class Admin extends Session.Tag<Admin>()("with-token-admin") {}
  const admin = Session.verbs(Admin)

  it.effect("has its own, and leaves the session around it alone", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const token = SessionToken.draw(yield* SessionToken.Generator)
      yield* clocked(store).create(token, testing.record({ data: { level: 1 } }))
      const job = Effect.zip(
        admin.updateAndGet((data) => ({ level: Number(data["level"]) + 1 })),
        Session.get
      )
      const both = yield* Effect.provide(admin.withToken(token)(job), Session.layerTest({ own: true }))
      assert.deepStrictEqual(both, [{ level: 2 }, { own: true }])
      const loaded = yield* clocked(store).load(token)
      assert.deepStrictEqual(loaded._tag === "Live" && loaded.record.data, { level: 2 })
    }).pipe(Effect.provide([CookieState.layer(), MemoryStore.layer()])))

  it.scoped("uses the State and Store of its own that layerSession built, not those around it", () =>
    Effect.gen(function*() {
      const own = yield* MemoryStore.make()
      const parts = HttpMiddleware.layerSession(Admin, [CookieState.layer(), Layer.succeed(Store.Store, own)])
      const token = SessionToken.draw(yield* SessionToken.Generator)
      yield* clocked(own).create(token, testing.record({ data: { level: 1 } }))
      assert.strictEqual(yield* failure(admin.withToken(token)(admin.get)), "SessionGone")
      assert.deepStrictEqual(yield* Effect.provide(admin.withToken(token)(admin.get), parts), { level: 1 })
    }).pipe(Effect.provide([CookieState.layer(), MemoryStore.layer()])))
})
