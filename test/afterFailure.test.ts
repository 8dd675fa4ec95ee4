/**
 * What is left of a session in a request whose load or commit failed, or whose session ended meanwhile.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit } from "effect"
import type { Layer } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, NullStore, Session, SessionPolicy, Store } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const { answering, assertCookie, increment, services } = fixture

const anonymous = fixture.policy(SessionPolicy.layer({ onStoreFailure: "anonymous" }))

const app = <E>(handler: Effect.Effect<unknown, E, Session.Session>) =>
  HttpMiddleware.session(fixture.routes({
    "/begin": answering(Session.set({ role: "admin", n: 10 })),
    "/read": answering(Effect.map(Session.get, (data) => JSON.stringify(data))),
    "/logout": answering(Session.destroy),
    "/": answering(Effect.orDie(handler))
  }))

/** A client that has a session, and what it sends. */
const begun = <E>(handler: Effect.Effect<unknown, E, Session.Session>) =>
  Effect.gen(function*() {
    const client = yield* testing.client(app(handler))
    const cookies = `${fixture.cookieName}=${assertCookie(yield* client.get("/begin"))}`
    const controls = yield* testing.Controls
    yield* controls.reset
    return { client, controls, cookies }
  })

describe("a session that ends while the request runs", () => {
  for (
    const [how, learn] of [
      ["commit", Effect.zipRight(increment, Session.commit)],
      ["reload", Session.reload],
      ["an explicit touch", Session.commit]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Session.Session>]>
  ) {
    it.effect(`S26: nothing of its data comes back by a login after a ${how} that failed`, () =>
      Effect.gen(function*() {
        const go = yield* Deferred.make<void>()
        const { client, controls, cookies } = yield* begun(Effect.gen(function*() {
          yield* Session.load
          yield* Deferred.await(go)
          yield* Effect.exit(learn)
          yield* Session.renew
          yield* Session.update((data) => ({ ...data, user: "bob" }))
        }))
        const slow = yield* client.fork("GET", "/", { cookies })
        yield* controls.arrived("load")
        yield* (yield* testing.client(app(Effect.void))).get("/logout", { cookies })
        yield* Deferred.succeed(go, undefined)
        assertCookie(yield* slow)
        const data = JSON.parse(yield* (yield* client.get("/read")).text) as Session.Data
        assert.notProperty(data, "role")
        assert.strictEqual(data["user"], "bob")
      }).pipe(Effect.provide(services())))
  }
})

describe("a load that failed, under a policy that goes on without a session", () => {
  it.effect("S25: a logout stands when the session is read again", () =>
    Effect.gen(function*() {
      const { client, controls, cookies } = yield* begun(
        Effect.zipRight(Session.get, Effect.zipRight(Session.destroy, Session.reload))
      )
      yield* controls.fail("load")
      fixture.assertRemoval(yield* client.get("/", { cookies }))
      assert.deepStrictEqual(yield* controls.methods, ["load", "remove"])
      assert.strictEqual(yield* (yield* client.get("/read", { cookies })).text, "{}")
    }).pipe(fixture.quietly, Effect.provide(services(anonymous))))

  it.effect("S11: a renewal stands when the session is read again", () =>
    Effect.gen(function*() {
      const { client, controls, cookies } = yield* begun(Effect.gen(function*() {
        yield* Session.get
        yield* Session.renew
        yield* Session.update((data) => ({ ...data, user: "bob" }))
        yield* Session.reload
      }))
      yield* controls.fail("load")
      assertCookie(yield* client.get("/", { cookies }))
      assert.strictEqual(yield* (yield* client.get("/read", { cookies })).text, "{}")
    }).pipe(fixture.quietly, Effect.provide(services(anonymous))))

  it.effect("an update that throws on what is read then is a defect of the reload, and all is as before", () =>
    Effect.gen(function*() {
      const exits: Array<boolean> = []
      const { client, controls, cookies } = yield* begun(Effect.gen(function*() {
        yield* Session.update((data) => {
          if (data["role"] === "admin") {
            throw new Error("not for admins")
          }
          return { ...data, n: 1 }
        })
        exits.push(Exit.isFailure(yield* Effect.exit(Session.reload)))
        exits.push((yield* Session.get)["n"] === 1)
      }))
      yield* controls.fail("load")
      assert.strictEqual((yield* client.get("/", { cookies })).status, 200)
      assert.deepStrictEqual(exits, [true, true])
    }).pipe(fixture.quietly, Effect.provide(services(anonymous))))

  it.effect("destroy and commit succeed once the session is removed", () =>
    Effect.gen(function*() {
      const { client, controls, cookies } = yield* begun(
        Effect.zipRight(Session.get, Effect.zipRight(Session.destroy, Session.commit))
      )
      yield* controls.fail("load")
      assert.strictEqual((yield* client.get("/", { cookies })).status, 200)
      assert.deepStrictEqual(yield* controls.methods, ["load", "remove"])
    }).pipe(fixture.quietly, Effect.provide(services(anonymous))))
})

describe("what the last commit does not save on purpose", () => {
  const warnings = (lines: ReadonlyArray<fixture.Line>) =>
    lines.filter(({ level }) => level === "WARN" || level === "ERROR").map(({ message }) => message)

  const timed = HttpMiddleware.session(fixture.routes({
    "/500": answering(increment, 500),
    "/ignored": answering(Effect.zipRight(increment, Session.ignoreChanges)),
    "/add": answering(increment)
  })).pipe(Effect.timeout("1 second"), Effect.orDie)

  for (
    const [name, store, path] of [
      ["a 5xx", MemoryStore.layer(), "/500"],
      ["ignoreChanges", MemoryStore.layer(), "/ignored"],
      ["a store that keeps nothing", NullStore.layer, "/add"]
    ] as ReadonlyArray<readonly [string, Layer.Layer<Store.Store, unknown>, string]>
  ) {
    it.effect(`${name}: no warning, whatever watches over the session`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          yield* (yield* testing.client(timed)).get(path)
          assert.deepStrictEqual(warnings(lines), [])
        }).pipe(Effect.provide([CookieState.layer(), store]))
      ))
  }
})

describe("a store that keeps nothing, and answers late", () => {
  it.effect("loses no update that is made while it answers", () =>
    Effect.gen(function*() {
      const go = yield* Deferred.make<void>()
      const arrived = yield* Deferred.make<void>()
      const nothing = yield* Effect.provide(Store.Store, NullStore.layer)
      const late = Store.make({
        ...nothing,
        create: () =>
          Effect.as(Effect.zipRight(Deferred.succeed(arrived, undefined), Deferred.await(go)), Store.notKept)
      })
      const client = yield* Effect.provideService(
        testing.client(HttpMiddleware.session(Effect.gen(function*() {
          yield* increment
          const committing = yield* Effect.fork(Session.commit)
          yield* Deferred.await(arrived)
          yield* increment
          yield* Deferred.succeed(go, undefined)
          yield* committing
          return yield* answering(increment)
        }))),
        Store.Store,
        late
      )
      assert.strictEqual(yield* (yield* client.get("/")).text, "3")
    }).pipe(Effect.provide(services())))
})
