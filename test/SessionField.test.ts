import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Either, Exit, Inspectable, Option, pipe, Redacted, Ref, Schema } from "effect"
import { CookieState, HttpMiddleware, Session, SessionField, SessionPolicy, Store } from "effect-session"
import * as SealedStore from "effect-session/SealedStore"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })
const User = SessionField.make("user", Schema.NonEmptyString)
const Born = SessionField.make("born", Schema.Date)
const Secret = SessionField.make("secret", Schema.String, { onRenew: "remove" })

const data = Effect.flatMap(Session.Session, Ref.get)
const put = (value: unknown) => Effect.flatMap(Session.Session, (session) => Ref.set(session, value as Session.Data))

/** A session of its own for each test. */
const withSession = <A, E>(effect: Effect.Effect<A, E, Session.Session>, seed: Session.Data = {}) =>
  Effect.provide(effect, Session.layerTest(seed))

const missing = (key: string, reason: "Missing" | "Invalid" = "Missing") =>
  Either.left(new SessionField.SessionFieldMissing({ key, reason }))

const defectOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : undefined

describe("a field as an effect", () => {
  it.effect("gives its value, its default, or the typed SessionFieldMissing", () =>
    withSession(
      Effect.gen(function*() {
        assert.strictEqual(yield* Visits, 3)
        assert.deepStrictEqual(yield* Effect.either(User), missing("user"))
        yield* SessionField.remove(Visits)
        assert.strictEqual(yield* Visits, 0)
        assert.strictEqual(yield* SessionField.get(Visits), 0)
      }),
      { visits: 3 }
    ))

  it.effect("S07: prints its keys and no value", () =>
    withSession(
      Effect.sync(() => {
        assert.strictEqual(String(User), "SessionField(user)")
        assert.deepStrictEqual(Inspectable.toJSON(User), { _id: "SessionField", keys: ["user"] })
        assert.isTrue(SessionField.isSessionField(User))
        assert.isFalse(SessionField.isSessionField({ keys: ["user"] }))
      }),
      { user: "ann" }
    ))

  it.effect("keeps what the schema encodes, and gives what it decodes", () =>
    withSession(Effect.gen(function*() {
      yield* SessionField.set(Born, new Date(0))
      assert.deepStrictEqual(yield* data, { born: "1970-01-01T00:00:00.000Z" })
      assert.deepStrictEqual(yield* Born, new Date(0))
    })))

  it.effect("a key like one of every object's own is a key like any other", () =>
    withSession(Effect.gen(function*() {
      for (const key of ["constructor", "toString", "hasOwnProperty"]) {
        const field = SessionField.make(key, Schema.String)
        assert.deepStrictEqual(yield* Effect.either(field), missing(key))
        yield* SessionField.set(field, "mine")
        assert.strictEqual(yield* field, "mine")
      }
    })))
})

describe("the functions, data-first and data-last", () => {
  it.effect("set, update, updateAndGet, getAndUpdate, getAndSet, modify, remove, take", () =>
    withSession(
      Effect.gen(function*() {
        yield* SessionField.set(Visits, 1)
        yield* pipe(Visits, SessionField.set(2))
        assert.strictEqual(yield* Visits, 2)
        yield* SessionField.update(Visits, (n) => n + 1)
        yield* pipe(Visits, SessionField.update((n) => n + 1))
        assert.strictEqual(yield* SessionField.updateAndGet(Visits, (n) => n + 1), 5)
        assert.strictEqual(yield* pipe(Visits, SessionField.updateAndGet((n) => n + 1)), 6)
        assert.strictEqual(yield* SessionField.getAndUpdate(Visits, (n) => n + 1), 6)
        assert.strictEqual(yield* pipe(Visits, SessionField.getAndUpdate((n) => n + 1)), 7)
        assert.strictEqual(yield* SessionField.getAndSet(Visits, 10), 8)
        assert.strictEqual(yield* pipe(Visits, SessionField.getAndSet(11)), 10)
        assert.strictEqual(yield* SessionField.modify(Visits, (n) => [`was ${n}`, n + 1]), "was 11")
        assert.strictEqual(yield* pipe(Visits, SessionField.modify((n) => [`was ${n}`, n + 1] as const)), "was 12")
        assert.strictEqual(yield* SessionField.transaction(Visits, (n) => [n, n + 1]), 13)
        assert.strictEqual(yield* pipe(Visits, SessionField.transaction((n) => [n, n + 1] as const)), 14)
        assert.strictEqual(yield* SessionField.take(Visits), 15)
        assert.deepStrictEqual(yield* data, { other: true })
        assert.strictEqual(yield* SessionField.take(Visits), 0)
      }),
      { other: true }
    ))

  it.effect("without a default, what needs a value fails typed and changes nothing; set needs none", () =>
    withSession(Effect.gen(function*() {
      const before = yield* data
      for (
        const effect of [
          SessionField.get(User),
          SessionField.update(User, (name) => `${name}!`),
          SessionField.updateAndGet(User, (name) => `${name}!`),
          SessionField.getAndUpdate(User, (name) => `${name}!`),
          SessionField.getAndSet(User, "bob"),
          SessionField.modify(User, (name) => [name, name]),
          SessionField.transaction(User, (name) => [name, name]),
          SessionField.take(User)
        ] as ReadonlyArray<Effect.Effect<unknown, unknown, Session.Session>>
      ) {
        assert.deepStrictEqual(yield* Effect.either(effect), missing("user"))
      }
      assert.strictEqual(yield* data, before)
      yield* SessionField.set(User, "ann")
      assert.strictEqual(yield* SessionField.take(User), "ann")
      assert.deepStrictEqual(yield* data, {})
    })))

  it.effect("getOrFail is a guard in one line", () =>
    withSession(Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* Effect.either(SessionField.getOrFail(User, () => "sign in")),
        Either.left("sign in")
      )
      assert.deepStrictEqual(
        yield* Effect.either(pipe(User, SessionField.getOrFail(() => "sign in"))),
        Either.left("sign in")
      )
      yield* SessionField.set(User, "ann")
      assert.strictEqual(yield* SessionField.getOrFail(User, () => "sign in"), "ann")
    })))

  it.effect("option: none where it is missing, and setting none removes it", () =>
    withSession(Effect.gen(function*() {
      const user = SessionField.option(User)
      assert.deepStrictEqual(yield* user, Option.none())
      yield* SessionField.set(user, Option.some("ann"))
      assert.deepStrictEqual(yield* data, { user: "ann" })
      assert.deepStrictEqual(yield* SessionField.getAndSet(user, Option.none()), Option.some("ann"))
      assert.deepStrictEqual(yield* data, {})
      yield* SessionField.set(User, "bob")
      assert.deepStrictEqual(yield* SessionField.take(user), Option.some("bob"))
      assert.deepStrictEqual(yield* SessionField.take(user), Option.none())
      assert.deepStrictEqual(yield* SessionField.option(Visits), Option.none())
    })))

  it.effect("struct: read and written together, and missing when one of them is", () =>
    withSession(Effect.gen(function*() {
      const both = SessionField.struct({ name: User, visits: Visits, secret: SessionField.option(Secret) })
      assert.deepStrictEqual(both.keys, ["user", "visits", "secret"])
      assert.deepStrictEqual(yield* Effect.either(both), missing("user"))
      yield* SessionField.set(both, { name: "ann", visits: 2, secret: Option.some("s") })
      assert.deepStrictEqual(yield* data, { user: "ann", visits: 2, secret: "s" })
      yield* SessionField.update(both, ({ name, visits }) => ({ name, visits: visits + 1, secret: Option.none() }))
      assert.deepStrictEqual(yield* both, { name: "ann", visits: 3, secret: Option.none() })
      yield* SessionField.remove(both)
      assert.deepStrictEqual(yield* data, {})
      assert.throws(() => SessionField.struct({}), TypeError, "at least one field")
    })))

  it("struct: two fields of one key are refused, because writing one would take back the other", () => {
    const Same = SessionField.make("user", Schema.String, { default: () => "" })
    assert.throws(
      () => SessionField.struct({ user: User, nested: SessionField.struct({ same: Same, visits: Visits }) }),
      TypeError,
      "SessionField.struct was given two fields of the key \"user\""
    )
  })

  it("struct: the fields of two sessions are refused, because a field of one would be read from the other", () => {
    class Admin extends Session.Tag<Admin>()("field-admin") {}
    const Role = SessionField.make("role", Schema.String, { session: Admin })
    const nested = SessionField.struct({ role: SessionField.option(Role) })
    assert.throws(
      // @ts-expect-error the compiler says so too
      () => SessionField.struct({ user: User, nested }),
      TypeError,
      "SessionField.struct was given fields of several sessions: SessionField(user) and SessionField(role)"
    )
    const Theme = SessionField.make("theme", Schema.String, { session: Admin })
    assert.deepStrictEqual(SessionField.struct({ role: Role, theme: Theme }).keys, ["role", "theme"])
  })

  it.effect("ref: a Ref of the field alone, with all that Ref can", () =>
    withSession(
      Effect.gen(function*() {
        const ref: Ref.Ref<number> = yield* SessionField.ref(Visits)
        assert.strictEqual(yield* Ref.updateAndGet(ref, (n) => n + 1), 1)
        assert.strictEqual(yield* Ref.getAndSet(ref, 5), 1)
        assert.strictEqual(yield* ref, 5)
        assert.isTrue(yield* Ref.modify(ref, (n) => [n === 5, n + 1]))
        assert.strictEqual(yield* ref.get, 6)
        assert.deepStrictEqual(yield* data, { visits: 6, other: true })
      }),
      { other: true }
    ))

  it.effect("S65: fields of unrelated modules live side by side, each writing its own key", () =>
    withSession(
      Effect.gen(function*() {
        const before = (yield* data)["deep"]
        yield* SessionField.set(Visits, 1)
        yield* SessionField.set(User, "ann")
        assert.deepStrictEqual(yield* data, { deep: { kept: true }, visits: 1, user: "ann" })
        assert.strictEqual((yield* data)["deep"], before)
      }),
      { deep: { kept: true } }
    ))
})

describe("values that a session can't hold", () => {
  /** A schema that lets anything through, as one written against its type does. */
  const lax = Schema.Struct({ inner: Schema.Array(Schema.Unknown) }) as unknown as Schema.Schema<
    { readonly inner: ReadonlyArray<string> }
  >
  const Anything = SessionField.make("box", lax)
  const cycle: Array<unknown> = []
  cycle.push(cycle)

  for (
    const [name, value, path] of [
      ["a function", () => 1, "box.inner[0]"],
      ["a class instance", new Map(), "box.inner[0]"],
      ["a date", new Date(0), "box.inner[0]"],
      ["NaN", Number.NaN, "box.inner[0]"],
      ["infinity", Number.NEGATIVE_INFINITY, "box.inner[0]"],
      ["a bigint", 1n, "box.inner[0]"],
      ["a symbol", Symbol.iterator, "box.inner[0]"],
      ["undefined in a list", undefined, "box.inner[0]"],
      ["a key named __proto__", JSON.parse("{\"a\":{\"__proto__\":1}}"), "box.inner[0].a.__proto__"],
      ["a cycle", cycle, "box.inner[0][0]"],
      ["a key that is no identifier", { "a b": () => 1 }, "box.inner[0][\"a b\"]"]
    ] as ReadonlyArray<readonly [string, unknown, string]>
  ) {
    it.effect(`${name}: refused with its path, and the session before it is whole`, () =>
      withSession(
        Effect.gen(function*() {
          const before = yield* data
          const exit = yield* Effect.exit(SessionField.set(Anything, { inner: [value as never] }))
          const error = defectOf(exit)
          assert.instanceOf(error, Session.SessionDataError)
          assert.deepInclude(error as Session.SessionDataError, { reason: "NotJson", path })
          assert.strictEqual(yield* data, before)
          assert.deepStrictEqual(defectOf(yield* Effect.exit(put({ box: { inner: [value] } }))), error)
          assert.strictEqual(yield* data, before)
          assert.strictEqual(({} as { polluted?: unknown }).polluted, undefined)
        }),
        { visits: 1 }
      ))
  }

  it.effect("nested deeper than a stored session may be, by one level in each update: refused, and never written", () =>
    Effect.gen(function*() {
      const nest = Session.update((data) => ({ past: [data["past"] ?? "first"] }))
      const levels = Effect.map(Session.get, (data) => JSON.stringify(data).split("[").length - 1)
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/nest": fixture.answering(nest),
        "/levels": fixture.answering(levels),
        "/often": fixture.answering(Effect.exit(Effect.repeatN(nest, 20_000)))
      })))
      for (let n = 1; n <= 99; n++) {
        assert.strictEqual((yield* client.get("/nest")).status, 200, String(n))
      }
      assert.strictEqual((yield* client.get("/nest")).status, 500)
      assert.strictEqual(yield* (yield* client.get("/levels")).text, "99")
      assert.strictEqual((yield* client.get("/often")).status, 200)
      assert.strictEqual(yield* (yield* client.get("/levels")).text, "99")
    }).pipe(
      Effect.provide([CookieState.layer(), SealedStore.layer({ keys: [Redacted.make("A".repeat(43))] })]),
      Effect.scoped
    ))

  for (const value of [null, undefined, 1, "text", [1], new Map()]) {
    it.effect(`the session itself is an object, not ${String(value) || "a Map"}`, () =>
      withSession(
        Effect.gen(function*() {
          const error = defectOf(yield* Effect.exit(put(value)))
          assert.instanceOf(error, Session.SessionDataError)
          assert.deepStrictEqual(yield* data, { visits: 1 })
        }),
        { visits: 1 }
      ))
  }

  it.effect("a value that the schema does not allow: refused with the field's key, without the value", () =>
    withSession(
      Effect.gen(function*() {
        const error = defectOf(yield* Effect.exit(SessionField.set(Visits, -7)))
        assert.instanceOf(error, Session.SessionDataError)
        assert.deepInclude(error as Session.SessionDataError, { reason: "Invalid", path: "visits" })
        assert.notInclude((error as Error).message, "-7")
        assert.strictEqual(yield* Visits, 3)
      }),
      { visits: 3 }
    ))

  it.effect("what was put in is copied and frozen: nobody changes a session from outside", () =>
    withSession(Effect.gen(function*() {
      const List = SessionField.make("list", Schema.mutable(Schema.Array(Schema.Number)))
      const mine = [1, 2]
      yield* put({ list: mine })
      mine.push(3)
      assert.deepStrictEqual(yield* data, { list: [1, 2] })
      const theirs = yield* List
      theirs.push(3)
      const kept = (yield* data)["list"]
      assert.throws(() => (kept as Array<number>).push(3), TypeError)
      assert.deepStrictEqual(yield* List, [1, 2])
    })))

  it.effect("a key whose value is undefined is not there", () =>
    withSession(Effect.gen(function*() {
      yield* put({ a: 1, b: undefined })
      assert.deepStrictEqual(yield* data, { a: 1 })
    })))

  it.effect("S62: more than the policy's size is refused typed, nothing is written", () =>
    Effect.gen(function*() {
      const Text = SessionField.make("text", Schema.String, { default: () => "" })
      yield* SessionField.set(Text, "x".repeat(80))
      const error = defectOf(yield* Effect.exit(SessionField.set(Text, "x".repeat(100))))
      assert.instanceOf(error, Session.SessionDataError)
      assert.deepInclude(error as Session.SessionDataError, { reason: "TooLarge" })
      assert.strictEqual((yield* Text).length, 80)
    }).pipe(
      Effect.provide(Session.layerTest()),
      Effect.provide(SessionPolicy.layer({ maxSize: 100 }))
    ))

  it.effect("S62: over HTTP it is answered with 413, and nothing is stored", () =>
    Effect.gen(function*() {
      const Text = SessionField.make("text", Schema.String)
      const client = yield* testing.client(HttpMiddleware.session(
        fixture.answering(SessionField.set(Text, "x".repeat(101)))
      ))
      const answer = yield* client.get("/")
      assert.strictEqual(answer.status, 413)
      fixture.assertNoCookie(answer)
      const controls = yield* testing.Controls
      assert.deepStrictEqual(yield* controls.methods, [])
    }).pipe(
      fixture.quietly,
      Effect.provide(fixture.services(fixture.policy(SessionPolicy.layer({ maxSize: 100 }))))
    ))
})

describe("S61: stored data that no longer fits its schema", () => {
  const stale = { visits: "many", user: 7 }

  for (
    const [name, effect, value] of [
      ["get with a default", SessionField.get(Visits), Either.right(0)],
      ["get without one", SessionField.get(User), missing("user", "Invalid")],
      ["option", SessionField.get(SessionField.option(User)), Either.right(Option.none())],
      ["updateAndGet", SessionField.updateAndGet(Visits, (n) => n + 1), Either.right(1)],
      ["modify without a default", SessionField.modify(User, (n) => [n, n]), missing("user", "Invalid")],
      ["take", SessionField.take(SessionField.option(User)), Either.right(Option.none())],
      ["struct", SessionField.get(SessionField.struct({ visits: Visits })), Either.right({ visits: 0 })],
      ["ref", Effect.flatMap(SessionField.ref(Visits), Ref.get), Either.right(0)],
      ["transaction", SessionField.transaction(Visits, (n) => [n, n + 1]), Either.right(0)],
      ["getOrCreate", SessionField.getOrCreate(User, Effect.succeed("ann")), Either.right("ann")]
    ] as ReadonlyArray<
      readonly [string, Effect.Effect<unknown, unknown, Session.Session>, Either.Either<unknown, unknown>]
    >
  ) {
    it.effect(`${name}: counts as missing, is logged with its key and counted, once`, () =>
      fixture.logged((lines) =>
        withSession(
          Effect.gen(function*() {
            const [answer, rejected] = yield* fixture.rising("rejected", "invalid field", Effect.either(effect))
            assert.deepStrictEqual(answer, value)
            assert.strictEqual(rejected, 1)
            yield* Effect.either(effect)
            const warnings = lines.filter(({ level }) => level === "WARN")
            assert.lengthOf(warnings, 1)
            assert.include(["visits", "user"], warnings[0]?.annotations["session.field"])
            assert.notInclude(JSON.stringify(warnings), "many")
          }),
          stale
        )
      ))
  }

  it.effect("set puts it right", () =>
    withSession(
      Effect.gen(function*() {
        yield* SessionField.set(User, "ann")
        assert.strictEqual(yield* User, "ann")
      }),
      stale
    ))
})

describe("onRenew: \"remove\"", () => {
  it.effect("S16: the value is gone at once after renew, the others stay, and what is set after it stays", () =>
    withSession(Effect.gen(function*() {
      yield* SessionField.set(Secret, "before")
      yield* SessionField.set(User, "ann")
      yield* Session.renew
      assert.deepStrictEqual(yield* data, { user: "ann" })
      yield* SessionField.set(Secret, "after")
      assert.strictEqual(yield* Secret, "after")
      yield* Session.commit
      assert.deepStrictEqual(yield* data, { user: "ann", secret: "after" })
      yield* Session.renew
      assert.deepStrictEqual(yield* data, { user: "ann" })
    })))

  it.effect("S16: over requests: a secret kept before a login is not there after it", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/form": fixture.answering(SessionField.getOrCreate(Secret, Effect.succeed("csrf"))),
        "/login": fixture.answering(Effect.zipRight(SessionField.set(User, "ann"), Session.renew)),
        "/show": fixture.answering(Effect.map(data, (data) => JSON.stringify(data)))
      })))
      yield* client.get("/form")
      yield* client.get("/login")
      assert.strictEqual(yield* (yield* client.get("/show")).text, "{\"user\":\"ann\"}")
    }).pipe(Effect.provide(fixture.services())))

  it.effect("S16: a secret that another request set while the login was on its way does not survive it either", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const app = HttpMiddleware.session(fixture.routes({
        "/user": fixture.answering(SessionField.set(User, "ann")),
        "/form": fixture.answering(SessionField.set(Secret, "csrf")),
        "/login": fixture.answering(Session.renew),
        "/show": fixture.answering(Effect.map(data, (data) => JSON.stringify(data)))
      }))
      const client = yield* testing.client(app)
      yield* client.get("/user")
      const renew = yield* controls.hold("renew")
      const login = yield* client.fork("GET", "/login")
      yield* renew.arrived
      const elsewhere = yield* fixture.elsewhere(app)
      yield* elsewhere.get("/form", { cookies: `${fixture.cookieName}=${yield* fixture.tokenOf(client)}` })
      yield* renew.release
      yield* login
      assert.strictEqual(yield* (yield* client.get("/show")).text, "{\"user\":\"ann\"}")
    }).pipe(Effect.provide(fixture.services())))
})

describe("getOrCreate", () => {
  it.effect("born once: two requests that both make one get the same, that of the first", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      let born = 0
      const make = Effect.suspend(() => {
        born += 1
        return Effect.as(born === 2 ? Deferred.succeed(gate, undefined) : Deferred.await(gate), `secret ${born}`)
      })
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/": fixture.answering(SessionField.set(Visits, 1)),
        "/secret": fixture.answering(SessionField.getOrCreate(Secret, make))
      })))
      yield* client.get("/")
      const answers = yield* Effect.all([client.get("/secret"), client.get("/secret")], { concurrency: "unbounded" })
      const [first, second] = yield* Effect.forEach(answers, (answer) => answer.text)
      assert.strictEqual(born, 2)
      assert.strictEqual(first, second)
    }).pipe(Effect.provide(fixture.services())))

  it.effect("stands even if the response is an error, and makes nothing where there is one", () =>
    Effect.gen(function*() {
      let born = 0
      const secret = SessionField.getOrCreate(Secret, Effect.sync(() => `secret ${born++}`))
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/500": fixture.answering(secret, 500),
        "/": fixture.answering(pipe(Secret, SessionField.getOrCreate(Effect.sync(() => `secret ${born++}`))))
      })))
      const failed = yield* client.get("/500")
      assert.strictEqual(failed.status, 500)
      fixture.assertCookie(failed)
      assert.strictEqual(yield* (yield* client.get("/")).text, "secret 0")
      assert.strictEqual(born, 1)
    }).pipe(Effect.provide(fixture.services())))

  it.effect("fails typed where the store does, and with what make fails with", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/make": fixture.answering(
          SessionField.getOrCreate(Secret, Effect.fail("no luck")).pipe(
            Effect.catchAll((error) => Effect.succeed(error))
          )
        ),
        "/store": SessionField.getOrCreate(Secret, Effect.succeed("s")).pipe(
          Effect.as("made"),
          Effect.catchTag("StoreError", (error) => Effect.succeed(error.method)),
          fixture.answering
        )
      })))
      const controls = yield* testing.Controls
      assert.strictEqual(yield* (yield* client.get("/make")).text, "no luck")
      yield* controls.fail("create")
      assert.strictEqual(yield* (yield* client.get("/store")).text, "testing.create")
    }).pipe(fixture.quietly, Effect.provide(fixture.services())))
})

it.effect("a Ref that is no session is refused by name", () =>
  Effect.gen(function*() {
    const ref = yield* Ref.make<Session.Data>({})
    const exit = yield* Effect.exit(Effect.provideService(Effect.either(User), Session.Session, ref))
    assert.include(String(exit), "HttpMiddleware.session")
    assert.isTrue(Store.isStoreError(new Store.StoreError({ reason: "Timeout", method: "x" })))
  }))
