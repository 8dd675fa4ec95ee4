/**
 * Requests of one session that meet, stepped so that each race comes out the same every time: every wait is on an event.
 */
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import {
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
      update: (token, revision, record) => Effect.zipRight(Effect.yieldNow(), store.update(token, revision, record))
    }))
)

const file = Layer.unwrapScoped(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return FileStore.layer({ directory: yield* fs.makeTempDirectoryScoped() })
})).pipe(Layer.provide(NodeContext.layer))

const stores = [
  ["MemoryStore", MemoryStore.layer()],
  ["a MemoryStore that suspends", suspending],
  ["FileStore", file]
] as const

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
      Effect.flatMap(Store.Store, (store) => store.load(SessionToken.fromString(token))),
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
        assert.isAtMost(updates, name === "MemoryStore" ? 199 : 105, "N writers cost about N store calls")
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
              Effect.flatMap(Store.Store, (store) => store.load(SessionToken.fromString(token))),
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
  })
}
