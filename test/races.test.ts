/**
 * Requests of one session that meet, stepped so that each race comes out the same every time: every wait is on an event.
 */
import { FileSystem, HttpServerResponse, KeyValueStore } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Ref, Schema } from "effect"
import {
  CacheStore,
  CookieState,
  FileStore,
  HttpMiddleware,
  MemoryStore,
  Session,
  SessionField,
  SessionPolicy,
  SessionToken,
  Store
} from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, assertNoCookie, increment } = fixture

const User = SessionField.make("user", Schema.String, { default: () => "nobody" })

/** Opens once so many have arrived, for all of them. */
const barrier = (count: number) =>
  Effect.map(Deferred.make<void>(), (open) => {
    let arrived = 0
    return Effect.suspend(() => {
      arrived += 1
      return arrived === count ? Deferred.succeed(open, undefined) : Deferred.await(open)
    })
  })

/** Other work gets its turn within every write, as with any store that does I/O. */
const suspending = Layer.scoped(
  Store.Store,
  Effect.map(MemoryStore.make(), (store) =>
    Store.make({
      ...store,
      update: (...args) => Effect.zipRight(Effect.yieldNow(), Effect.suspend(() => store.update(...args)))
    }))
)

const file = Layer.unwrapScoped(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return FileStore.layer({ directory: yield* fs.makeTempDirectoryScoped() })
})).pipe(Layer.provide(NodeContext.layer))

const stores: ReadonlyArray<readonly [name: string, store: Layer.Layer<Store.Store, unknown>]> = [
  ["MemoryStore", MemoryStore.layer()],
  ["a MemoryStore that suspends", suspending],
  ["FileStore", file],
  ["a CacheStore", CacheStore.layerKeyValueStore().pipe(Layer.provide(KeyValueStore.layerMemory))]
]

const stored = Effect.flatMap(Session.Session, Ref.get)

const updating = (f: (data: Session.Data) => Session.Data) => Effect.flatMap(Session.Session, Ref.update(f))

/** Updates that can't be made again on what the other request saved. */
const throwing: ReadonlyArray<readonly [string, number, (data: Session.Data) => Session.Data]> = [
  ["the app's own check", 500, (data) => {
    if (data["fast"] !== undefined) {
      throw new Error("the cart is full")
    }
    return { ...data, slow: 1 }
  }],
  ["the size limit", 413, (data) => ({ ...data, slow: "x".repeat(600) })]
]

type Verb = Effect.Effect<unknown, Store.StoreError | Session.SessionGone | Session.HeadSent, Session.Session>

const verbs: ReadonlyArray<readonly [string, Verb]> = [
  ["commit", Session.commit],
  ["transaction", Session.transaction((data) => [undefined, { ...data, also: true }])],
  ["reload", Session.reload]
]

for (const [name, store] of stores) {
  const services = Layer.mergeAll(
    Layer.orDie(CookieState.layer()),
    Layer.orDie(testing.controlled(store)),
    // Real time passes on a machine that is busy with other things.
    fixture.policy(SessionPolicy.layer({ storeTimeout: "1 hour" })),
    fixture.quiet
  )
  const scoped = <A, E>(effect: Effect.Effect<A, E, Layer.Layer.Success<typeof services>>) =>
    effect.pipe(fixture.leavingNoFiber, Effect.provide(services))

  const dataUnder = (token: string) =>
    Effect.map(
      Effect.flatMap(Store.Store, (store) => clocked(store).load(SessionToken.fromString(token))),
      (found) => found._tag === "Live" ? found.record.data : found._tag
    )

  describe(`races on ${name}`, () => {
    it.live("S65: 100 parallel requests that read, wait, then add 1 keep 100", () =>
      Effect.gen(function*() {
        const all = yield* barrier(100)
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/add": answering(increment),
          "/slow": answering(Effect.zipRight(Effect.zipRight(SessionField.get(fixture.Count), all), increment))
        })))
        const token = assertCookie(yield* client.get("/add"))
        const controls = yield* testing.Controls
        yield* controls.reset
        const answers = yield* Effect.all(Array.from({ length: 100 }, () => client.get("/slow")), {
          concurrency: "unbounded"
        })
        answers.forEach((answer) => {
          assert.strictEqual(answer.status, 200)
          assertNoCookie(answer)
        })
        const methods = yield* controls.methods
        assert.deepStrictEqual(yield* dataUnder(token), { n: 101 })
        const updates = methods.filter((method) => method === "update").length
        assert.lengthOf(methods.filter((method) => method === "load"), 100)
        // one that answers at once never has a queue: each writer learns of the other by its conflict, at no round trip
        assert.isAtMost(
          updates,
          name === "MemoryStore" || name === "a CacheStore" ? 199 : 105,
          "N writers cost about N store calls"
        )
      }).pipe(scoped), 60_000)

    it.live("S65: 30 parallel requests that each set a different key keep all 30", () =>
      Effect.gen(function*() {
        const all = yield* barrier(30)
        const keys = Array.from({ length: 30 }, (_, index) => `key${index}`)
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/": answering(increment),
          ...Object.fromEntries(keys.map((key) => [
            `/${key}`,
            answering(Effect.all([Session.load, all, SessionField.set(SessionField.make(key, Schema.String), key)]))
          ]))
        })))
        const token = assertCookie(yield* client.get("/"))
        yield* Effect.all(keys.map((key) => client.get(`/${key}`)), { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* dataUnder(token), { n: 1, ...Object.fromEntries(keys.map((key) => [key, key])) })
      }).pipe(scoped))

    it.live("two first visits in parallel are two sessions", () =>
      Effect.gen(function*() {
        const all = yield* barrier(2)
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/": answering(Effect.zipRight(Effect.zipRight(SessionField.get(fixture.Count), all), increment))
        })))
        const [first, second] = yield* Effect.all([client.get("/"), client.get("/")], { concurrency: "unbounded" })
        const tokens = [assertCookie(first), assertCookie(second)]
        assert.notStrictEqual(tokens[0], tokens[1])
        assert.deepStrictEqual(yield* Effect.forEach(tokens, dataUnder), [{ n: 1 }, { n: 1 }])
      }).pipe(scoped))

    it.live("S65: of 20 transactions on one coupon, one redeems it", () =>
      Effect.gen(function*() {
        const all = yield* barrier(20)
        const Coupon = SessionField.make("coupon", Schema.String, { default: () => "unused" })
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/": answering(increment),
          "/redeem": answering(Effect.zipRight(
            Effect.zipRight(Session.load, all),
            SessionField.transaction(Coupon, (coupon) => [coupon === "unused", "used"])
          ))
        })))
        yield* client.get("/")
        const answers = yield* Effect.all(Array.from({ length: 20 }, () => client.get("/redeem")), {
          concurrency: "unbounded"
        })
        const texts = yield* Effect.forEach(answers, (answer) => answer.text)
        assert.lengthOf(texts.filter((text) => text === "true"), 1)
        assert.lengthOf(texts.filter((text) => text === "false"), 19)
      }).pipe(scoped))

    it.live("a secret that 20 requests want is born once, and all of them get the same", () =>
      Effect.gen(function*() {
        const all = yield* barrier(20)
        const Secret = SessionField.make("secret", Schema.String)
        let born = 0
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/": answering(increment),
          "/secret": answering(Effect.zipRight(
            Session.load,
            SessionField.getOrCreate(Secret, Effect.as(all, "").pipe(Effect.map(() => `secret ${born++}`)))
          ))
        })))
        yield* client.get("/")
        const answers = yield* Effect.all(Array.from({ length: 20 }, () => client.get("/secret")), {
          concurrency: "unbounded"
        })
        const texts = yield* Effect.forEach(answers, (answer) => answer.text)
        assert.strictEqual(born, 20)
        assert.strictEqual(new Set(texts).size, 1)
      }).pipe(scoped))

    for (const touching of ["early", "late"] as const) {
      for (const kind of ["writes", "reads"] as const) {
        const act = kind === "writes" ? Effect.asVoid(increment) : Effect.asVoid(Session.load)

        /** One browser, signed in as nobody, with a slow request that is on its way. */
        const beside = Effect.gen(function*() {
          const arrived = yield* Deferred.make<void>()
          const gate = yield* Deferred.make<void>()
          const wait = Effect.zipRight(Deferred.succeed(arrived, undefined), Deferred.await(gate))
          const app = HttpMiddleware.session(fixture.routes({
            "/add": answering(increment),
            "/user": answering(SessionField.get(User)),
            "/login": answering(Effect.zipRight(SessionField.set(User, "ann"), Session.renew)),
            "/logout": answering(Session.destroy),
            "/expire": answering(Session.expireIn("7 days")),
            "/slow": answering(Effect.all([touching === "early" ? Session.load : Effect.void, wait, act]))
          }))
          const browser = yield* testing.client(app)
          const token = assertCookie(yield* browser.get("/add"))
          const slow = yield* browser.fork("GET", "/slow")
          yield* Deferred.await(arrived)
          const finish = Effect.gen(function*() {
            const before = yield* browser.cookies
            yield* Deferred.succeed(gate, undefined)
            const answer = yield* Fiber.join(slow)
            assert.strictEqual(answer.status, 200)
            assertNoCookie(answer)
            assert.deepStrictEqual(yield* browser.cookies, before)
          })
          return { browser, finish, token }
        })

        const title = `a slow request that ${kind}, touching the session ${touching}`

        it.live(`S11 S15: ${title}, beside a login: the login stands`, () =>
          Effect.gen(function*() {
            const { browser, finish, token } = yield* beside
            const next = assertCookie(yield* browser.get("/login"))
            yield* finish
            assert.strictEqual(yield* (yield* browser.get("/user")).text, "ann")
            assert.strictEqual(yield* dataUnder(token), "Superseded")
            assert.deepStrictEqual(yield* dataUnder(next), { n: 1, user: "ann" })
          }).pipe(scoped))

        it.live(`S26: ${title}, beside a logout: the logout stands`, () =>
          Effect.gen(function*() {
            const { browser, finish, token } = yield* beside
            fixture.assertRemoval(yield* browser.get("/logout"))
            yield* finish
            assert.deepStrictEqual(yield* browser.cookies, [])
            assert.strictEqual(yield* dataUnder(token), "Superseded")
          }).pipe(scoped))

        it.live(`S15 S26: ${title}, beside a logout and a login: both stand`, () =>
          Effect.gen(function*() {
            const { browser, finish, token } = yield* beside
            yield* browser.get("/logout")
            const next = assertCookie(yield* browser.get("/login"))
            yield* finish
            assert.strictEqual(yield* (yield* browser.get("/user")).text, "ann")
            assert.strictEqual(yield* dataUnder(token), "Superseded")
            assert.deepStrictEqual(yield* dataUnder(next), { user: "ann" })
          }).pipe(scoped))

        it.live(`S22: ${title}, beside expireIn: the new bound stands`, () =>
          Effect.gen(function*() {
            const { browser, finish, token } = yield* beside
            const answer = yield* browser.get("/expire")
            assert.strictEqual(assertCookie(answer), token)
            assert.match(answer.setCookies[0] ?? "", /Max-Age=604800|Max-Age=604799/)
            const bound = Effect.map(
              Effect.flatMap(Store.Store, (store) => clocked(store).load(SessionToken.fromString(token))),
              (found) => found._tag === "Live" ? [found.record.expiresAt, found.record.persistent] : []
            )
            const before = yield* bound
            assert.strictEqual(before[1], true)
            yield* finish
            assert.deepStrictEqual(yield* bound, before)
            assert.deepStrictEqual(yield* dataUnder(token), { n: kind === "writes" ? 2 : 1 })
          }).pipe(scoped))
      }
    }

    it.live("S15: of two logins that race, one goes on with the data, the other begins anew; both clients are logged in", () =>
      Effect.gen(function*() {
        const all = yield* barrier(2)
        const app = HttpMiddleware.session(fixture.routes({
          "/add": answering(increment),
          "/user": answering(SessionField.get(User)),
          "/login": answering(Effect.all([Session.load, all, SessionField.set(User, "ann"), Session.renew]))
        }))
        const first = yield* testing.client(app)
        const token = assertCookie(yield* first.get("/add"))
        const second = yield* first.other({ jar: "copy" })
        const [a, b] = yield* Effect.all([first.get("/login"), second.get("/login")], { concurrency: "unbounded" })
        const tokens = [assertCookie(a), assertCookie(b)]
        assert.notStrictEqual(tokens[0], tokens[1])
        assert.strictEqual(yield* dataUnder(token), "Superseded")
        const kept = yield* Effect.forEach(tokens, dataUnder)
        assert.sameDeepMembers(kept, [{ n: 1, user: "ann" }, { user: "ann" }])
        assert.strictEqual(yield* (yield* first.get("/user")).text, "ann")
        assert.strictEqual(yield* (yield* second.get("/user")).text, "ann")
      }).pipe(scoped))

    /** One request that loads, waits, makes its update and does what is asked; and another that saves meanwhile. */
    const replayed = (
      update: (data: Session.Data) => Session.Data,
      handler: Effect.Effect<number, never, Session.Session>
    ) =>
      Effect.gen(function*() {
        const loaded = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const wait = Effect.all([Session.load, Deferred.succeed(loaded, undefined), Deferred.await(go)])
        const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/begin": answering(updating(() => ({ begun: 1 }))),
          "/fast": answering(updating((data) => ({ ...data, fast: "x".repeat(600) }))),
          "/slow": Effect.all([wait, updating(update), handler]).pipe(
            Effect.map(([, , status]) => HttpServerResponse.text("slow", { status }))
          )
        })))
        const token = assertCookie(yield* client.get("/begin"))
        const slow = yield* client.fork("GET", "/slow")
        yield* Deferred.await(loaded)
        assert.strictEqual((yield* client.get("/fast")).status, 200)
        const saved = yield* dataUnder(token)
        yield* Deferred.succeed(go, undefined)
        const answer = yield* Fiber.join(slow)
        assertNoCookie(answer)
        assert.deepStrictEqual(yield* dataUnder(token), saved, "the other request's write survives")
        return answer
      }).pipe(Effect.provide(fixture.policy(SessionPolicy.layer({ storeTimeout: "1 hour", maxSize: 1000 }))))

    for (const [cause, failure, update] of throwing) {
      for (const [verb, effect] of verbs) {
        it.live(`C1: ${verb} replays an update that throws by ${cause}: it fails each time, and nothing is changed`, () =>
          Effect.gen(function*() {
            const failing = Effect.gen(function*() {
              const before = yield* stored
              for (let time = 0; time < 2; time++) {
                assert.isTrue(Exit.isFailure(yield* Effect.exit(effect)))
                assert.deepStrictEqual(yield* stored, before)
              }
            })
            // the last commit tries once more, and says that it failed
            const kept = yield* replayed(update, Effect.as(failing, 409))
            assert.strictEqual(kept.status, failure)
            const dropped = yield* replayed(update, Effect.as(Effect.zipRight(failing, Session.ignoreChanges), 409))
            assert.strictEqual(dropped.status, 409)
          }).pipe(scoped))
      }

      it.live(`C1: an update is made while a commit is under way, and throws by ${cause} when both are replayed`, () =>
        Effect.gen(function*() {
          const controls = yield* testing.Controls
          const app = HttpMiddleware.session(fixture.routes({
            "/begin": answering(updating(() => ({ begun: 1 }))),
            "/fast": answering(updating((data) => ({ ...data, fast: "x".repeat(600) }))),
            "/slow": Effect.gen(function*() {
              yield* updating((data) => ({ ...data, first: true }))
              const committing = yield* Effect.fork(Effect.exit(Session.commit))
              yield* controls.arrived("update")
              yield* updating(update)
              const before = yield* stored
              yield* Deferred.succeed(updated, undefined)
              assert.isTrue(Exit.isFailure(yield* Fiber.join(committing)))
              assert.deepStrictEqual(yield* stored, before)
              return HttpServerResponse.text("slow", { status: 409 })
            })
          }))
          const updated = yield* Deferred.make<void>()
          const client = yield* testing.client(app)
          const other = yield* fixture.elsewhere(app)
          const token = assertCookie(yield* client.get("/begin"))
          yield* controls.reset
          const held = yield* controls.hold("update")
          const slow = yield* client.fork("GET", "/slow")
          yield* Deferred.await(updated)
          yield* other.get("/fast", { cookies: `${fixture.cookieName}=${token}` })
          const saved = yield* dataUnder(token)
          yield* held.release
          const answer = yield* Fiber.join(slow)
          assert.strictEqual(answer.status, failure)
          assertNoCookie(answer)
          assert.deepStrictEqual(yield* dataUnder(token), saved)
        }).pipe(
          Effect.provide(fixture.policy(SessionPolicy.layer({ storeTimeout: "1 hour", maxSize: 1000 }))),
          scoped
        ))

      it.live(`C1: a commit that waits its turn, whose update throws by ${cause} on what the one ahead left`, () =>
        Effect.gen(function*() {
          const controls = yield* testing.Controls
          const loaded = yield* Deferred.make<void>()
          const go = yield* Deferred.make<void>()
          const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
            "/begin": answering(updating(() => ({ begun: 1 }))),
            "/add": answering(increment),
            "/fast": answering(updating((data) => ({ ...data, fast: "x".repeat(600) }))),
            "/slow": answering(
              Effect.all([
                Session.load,
                Deferred.succeed(loaded, undefined),
                Deferred.await(go),
                updating(update),
                Effect.exit(Session.commit)
              ]),
              409
            )
          })))
          const token = assertCookie(yield* client.get("/begin"))
          const slow = yield* client.fork("GET", "/slow")
          yield* Deferred.await(loaded)
          const held = yield* controls.hold("update")
          const fast = yield* client.fork("GET", "/fast")
          yield* held.arrived
          yield* Deferred.succeed(go, undefined)
          yield* Effect.repeatN(Effect.yieldNow(), 50)
          yield* held.release
          assert.strictEqual((yield* Fiber.join(fast)).status, 200)
          const saved = yield* dataUnder(token)
          assert.strictEqual((yield* Fiber.join(slow)).status, failure)
          assert.deepStrictEqual(yield* dataUnder(token), saved)
          assert.strictEqual((yield* client.get("/add")).status, 200, "the turn was given on")
        }).pipe(
          Effect.provide(fixture.policy(SessionPolicy.layer({ storeTimeout: "1 hour", maxSize: 1000 }))),
          scoped
        ))
    }

    it.live("C7: a logout under way while the session is renewed ends the renewed session too", () =>
      Effect.gen(function*() {
        const destroyed = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const browser = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/login": answering(SessionField.set(User, "ann")),
          "/renew": answering(Session.renew),
          "/user": answering(SessionField.get(User)),
          "/logout": answering(
            Effect.all([Session.destroy, Deferred.succeed(destroyed, undefined), Deferred.await(go)])
          )
        })))
        const token = assertCookie(yield* browser.get("/login"))
        const tab = yield* browser.other({ jar: "copy" })
        const logout = yield* browser.fork("GET", "/logout")
        yield* Deferred.await(destroyed)
        const between = assertCookie(yield* tab.get("/renew"))
        const next = assertCookie(yield* tab.get("/renew"))
        assert.deepStrictEqual(yield* dataUnder(next), { user: "ann" })
        yield* Deferred.succeed(go, undefined)
        const answer = yield* Fiber.join(logout)
        assert.strictEqual(answer.status, 200)
        fixture.assertRemoval(answer)
        assert.deepStrictEqual(yield* Effect.forEach([token, between, next], dataUnder), [
          "Superseded",
          "Superseded",
          "Superseded"
        ])
        assert.strictEqual(yield* (yield* tab.get("/user")).text, "nobody")
      }).pipe(scoped))

    it.live("C10: what a renewed session holds is not shown to a request with the old token", () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const goThird = yield* Deferred.make<void>()
        const goOld = yield* Deferred.make<void>()
        const queued = Effect.repeatN(Effect.yieldNow(), 50)
        const adding = (go: Deferred.Deferred<void>) =>
          Effect.gen(function*() {
            yield* Session.load
            yield* Deferred.await(go)
            yield* increment
            const exit = yield* Effect.exit(Session.commit)
            return HttpServerResponse.unsafeJson({ exit: exit._tag, data: yield* stored })
          })
        const Secret = SessionField.make("secret", Schema.String)
        const victim = yield* testing.client(HttpMiddleware.session(fixture.routes({
          "/add": answering(increment),
          "/third": adding(goThird),
          "/old": adding(goOld),
          "/login": answering(Effect.all([
            Session.renew,
            Session.commit,
            SessionField.set(Secret, "only after the login"),
            Session.commit
          ]))
        })))
        yield* victim.get("/add")
        const old = yield* victim.other({ jar: "copy" })
        const third = yield* victim.other({ jar: "copy" })
        yield* controls.reset
        const addingThird = yield* third.fork("GET", "/third")
        const addingOld = yield* old.fork("GET", "/old")
        yield* controls.arrived("load", 2)
        const renewing = yield* controls.hold("renew")
        const login = yield* victim.fork("GET", "/login")
        yield* renewing.arrived
        // the third waits behind the renewal, what the login writes next behind the third, and the old one behind all
        yield* Deferred.succeed(goThird, undefined)
        yield* queued
        const updating = yield* controls.hold("update")
        yield* renewing.release
        yield* updating.arrived
        yield* queued
        yield* Deferred.succeed(goOld, undefined)
        yield* queued
        yield* updating.release
        const token = assertCookie(yield* Fiber.join(login))
        for (const request of [addingThird, addingOld]) {
          assert.deepStrictEqual(yield* (yield* Fiber.join(request)).json, { exit: "Failure", data: { n: 1 } })
        }
        assert.deepStrictEqual(yield* dataUnder(token), { n: 1, secret: "only after the login" })
      }).pipe(scoped))
  })
}
