/**
 * The behaviour of Plack's session distribution, case by case as plack.md numbers them: what it does well is kept (P, K),
 * and what it does badly is mended (F). Every case runs on each pair of state and store that it applies to.
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Layer, Option, Ref, Stream, TestClock } from "effect"
import {
  CacheStore,
  CookieState,
  HttpMiddleware,
  MemoryStore,
  Session,
  SessionPolicy,
  SessionToken,
  Store
} from "effect-session"
import type { State } from "effect-session"
import * as testing from "effect-session/testing"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { logged, quietly } from "./fixtures/http.js"
import * as plack from "./support/plack.js"

type Services = State.State | Store.Store | testing.Controls | plack.Behind

/** A token of the right form that no session has. */
const unknown = "A".repeat(43)

const malformed = [
  "",
  "../wrong",
  "../../etc/passwd",
  "a".repeat(40),
  `${"A".repeat(42)}`,
  `${"A".repeat(44)}`,
  `${"A".repeat(42)}B`,
  `${"A".repeat(42)}=`,
  `${"A".repeat(42)} `
]

/** Plack's shared suite: P01 to P09. */
const suite = (name: string, carrier: plack.Carrier, layer: Layer.Layer<Services>, face: plack.Face): void => {
  const test = (title: string, body: (visit: plack.Visitor) => Effect.Effect<void, unknown, Services>) =>
    it.effect(title, () => Effect.provide(Effect.flatMap(plack.visitor(carrier), body), layer))

  /** Two visitors, as P01 and P02 leave them. */
  const two = (visit: plack.Visitor) =>
    Effect.gen(function*() {
      const first = yield* visit(Effect.zipRight(face.set("foo", "bar"), face.set("bar", "baz")), { link: true })
      const second = yield* visit(face.set("foo", "baz"), { link: true })
      return [plack.tokenOf(first), plack.tokenOf(second)] as const
    })

  const read = Effect.zip(Session.id, face.dump)

  describe(`${name}, ${face.name}`, () => {
    test("P01: without a token: an empty session with an id; what is set is got and dumped", (visit) =>
      Effect.gen(function*() {
        const { token, value } = yield* visit(
          Effect.gen(function*() {
            assert.deepStrictEqual(yield* face.dump, {})
            assert.isTrue(yield* Session.isNew)
            yield* face.set("foo", "bar")
            yield* face.set("bar", "baz")
            assert.strictEqual(yield* face.get("foo"), "bar")
            assert.strictEqual(yield* face.get("bar"), "baz")
            assert.deepStrictEqual(yield* face.dump, { foo: "bar", bar: "baz" })
            return yield* Session.id
          }),
          { link: true }
        )
        assert.strictEqual(value, plack.idOf(token ?? ""))
        assert.deepStrictEqual(yield* plack.stored(token ?? ""), { foo: "bar", bar: "baz" })
      }))

    test("P02: a second visitor has another id, and an empty session", (visit) =>
      Effect.gen(function*() {
        const [token] = yield* two(visit)
        const { value } = yield* visit(Effect.gen(function*() {
          const before = yield* face.dump
          yield* face.set("foo", "baz")
          return { before, id: yield* Session.id, after: yield* face.dump }
        }))
        assert.deepStrictEqual(value.before, {})
        assert.deepStrictEqual(value.after, { foo: "baz" })
        assert.notStrictEqual(value.id, plack.idOf(token))
      }))

    test("P03: with the token: the same id, the data is back; what is removed is gone at once", (visit) =>
      Effect.gen(function*() {
        const [token] = yield* two(visit)
        const { value } = yield* visit(
          Effect.gen(function*() {
            assert.isFalse(yield* Session.isNew)
            assert.strictEqual(yield* face.get("foo"), "bar")
            yield* face.remove("foo")
            assert.isUndefined(yield* face.get("foo"))
            assert.deepStrictEqual(yield* face.dump, { bar: "baz" })
            return yield* Session.id
          }),
          { tokens: [token] }
        )
        assert.strictEqual(value, plack.idOf(token))
      }))

    test("P04: sessions are apart: the other visitor's is as it was", (visit) =>
      Effect.gen(function*() {
        const [one, other] = yield* two(visit)
        yield* visit(face.remove("foo"), { tokens: [one] })
        const { value } = yield* visit(read, { tokens: [other] })
        assert.deepStrictEqual(value, [plack.idOf(other), { foo: "baz" }])
      }))

    test("P05: a removal lasts, and what is set later joins the rest", (visit) =>
      Effect.gen(function*() {
        const [token] = yield* two(visit)
        yield* visit(face.remove("foo"), { tokens: [token] })
        const { value } = yield* visit(
          Effect.zipRight(
            Effect.tap(face.get("foo"), (foo) => assert.isUndefined(foo)),
            Effect.zipRight(face.set("baz", "quux"), face.dump)
          ),
          { tokens: [token] }
        )
        assert.deepStrictEqual(value, { bar: "baz", baz: "quux" })
        assert.deepStrictEqual(yield* plack.stored(token), { bar: "baz", baz: "quux" })
      }))

    test("P06: destroyed: the data is gone at once", (visit) =>
      Effect.gen(function*() {
        const [token] = yield* two(visit)
        const { value } = yield* visit(
          Effect.gen(function*() {
            assert.strictEqual(yield* face.get("bar"), "baz")
            yield* Session.destroy
            return yield* face.dump
          }),
          { tokens: [token] }
        )
        assert.deepStrictEqual(value, {})
        assert.isUndefined(yield* plack.stored(token))
      }))

    test("P07: with the token of an ended session: another id, an empty session", (visit) =>
      Effect.gen(function*() {
        const [token] = yield* two(visit)
        yield* visit(Session.destroy, { tokens: [token] })
        const early = yield* visit(Effect.zipLeft(read, face.set("foo", "early")), { tokens: [token], link: true })
        assert.notStrictEqual(early.value[0], plack.idOf(token))
        assert.deepStrictEqual(early.value[1], {})
        assert.isUndefined(early.token, "within a minute it may be a request that the logout overtook")
        yield* TestClock.adjust(Store.tombstoneTimeToLive)
        const late = yield* visit(Effect.zipLeft(read, face.set("foo", "late")), { tokens: [token], link: true })
        assert.deepStrictEqual(late.value[1], {})
        assert.strictEqual(late.value[0], plack.idOf(plack.tokenOf(late)))
        assert.notStrictEqual(late.token, token)
      }))

    test("P08: the other visitor's session outlives it", (visit) =>
      Effect.gen(function*() {
        const [one, other] = yield* two(visit)
        yield* visit(Session.destroy, { tokens: [one] })
        const { value } = yield* visit(read, { tokens: [other] })
        assert.deepStrictEqual(value, [plack.idOf(other), { foo: "baz" }])
      }))

    test("P09: a malformed token is not taken; the session is empty, and can be written", (visit) =>
      Effect.gen(function*() {
        const { token, value } = yield* visit(
          Effect.gen(function*() {
            assert.deepStrictEqual(yield* face.dump, {})
            yield* face.set("foo", "bar")
            return yield* read
          }),
          { tokens: ["../wrong"], link: true }
        )
        assert.strictEqual(value[0], plack.idOf(token ?? ""))
        assert.deepStrictEqual(value[1], { foo: "bar" })
        assert.deepStrictEqual(yield* plack.stored(token ?? ""), { foo: "bar" })
      }))
  })
}

/** The other cases that do not depend on how the session is used. */
const cases = (name: string, carrier: plack.Carrier, kind: plack.Kind): void => {
  const layer = Layer.merge(carrier.layer(), kind.layer)
  const test = (title: string, body: (visit: plack.Visitor) => Effect.Effect<void, unknown, Services>) =>
    it.effect(title, () => quietly(Effect.provide(Effect.flatMap(plack.visitor(carrier), body), layer)))
  const noCookie = <A>(visit: plack.Visit<A>): void => assert.deepStrictEqual(visit.answer.setCookies, [])

  describe(name, () => {
    test("P12: a counter gives 0, then 1; the handler's headers are as they were", (visit) =>
      Effect.gen(function*() {
        const count = Effect.flatMap(Session.Session, (session) =>
          Ref.modify(session, (data) => {
            const n = Number(data["counter"] ?? 0)
            return [n, { ...data, counter: n + 1 }]
          }))
        const html = HttpServerResponse.html("<p>hello</p>")
        const first = yield* visit(count, { link: true, response: html })
        assert.strictEqual(first.value, 0)
        assert.match(first.answer.headers.get("content-type") ?? "", /^text\/html/)
        assert.strictEqual(yield* first.answer.text, "<p>hello</p>")
        const tokens = [plack.tokenOf(first)]
        assert.strictEqual((yield* visit(count, { tokens })).value, 1)
        const bare = yield* visit(count, { tokens, response: HttpServerResponse.empty() })
        assert.strictEqual(bare.value, 2)
        assert.isNull(bare.answer.headers.get("content-type"))
      }))

    /** A page in two parts: the head leaves before the second is made. */
    const streaming = (late: Effect.Effect<unknown, unknown>) =>
      HttpServerResponse.stream(
        Stream.concat(
          Stream.succeed("early "),
          Stream.fromEffect(Effect.as(late, "late"))
        ).pipe(Stream.encodeText, Stream.orDie)
      )

    const streamed = (
      visit: plack.Visitor,
      early: Effect.Effect<unknown, unknown, Session.Session>,
      late: (
        session: Ref.Ref<Session.Data>
      ) => Effect.Effect<unknown, unknown>
    ) =>
      Effect.gen(function*() {
        const head = yield* Deferred.make<void>()
        const use = yield* Deferred.make<Ref.Ref<Session.Data>>()
        const visited = yield* visit(
          Effect.zipRight(early, Effect.flatMap(Session.Session, (session) => Deferred.succeed(use, session))),
          {
            link: true,
            response: streaming(
              Effect.zipRight(Deferred.await(head), Effect.flatMap(Deferred.await(use), late))
            )
          }
        )
        yield* Deferred.succeed(head, undefined)
        assert.strictEqual(yield* visited.answer.text, "early late")
        return plack.tokenOf(visited)
      })

    const add = (key: string) => (session: Ref.Ref<Session.Data>) =>
      Ref.update(session, (data) => ({ ...data, [key]: 1 }))

    it.effect("P13 X14: in a stream, what is written before the head is kept, and what is written after is not", () =>
      logged((lines) =>
        Effect.gen(function*() {
          const visit = yield* plack.visitor(carrier)
          const token = yield* streamed(visit, put({ early: 1 }), add("late"))
          assert.deepStrictEqual(yield* plack.stored(token), { early: 1 })
          assert.lengthOf(lines.filter(({ message }) => message.includes("after the response head left")), 1)
        }).pipe(Effect.provide(layer))
      ))

    test("P14: in a stream, an explicit commit keeps what was written after the head", (visit) =>
      Effect.gen(function*() {
        const token = yield* streamed(
          visit,
          put({ early: 2 }),
          (session) =>
            Effect.zipRight(add("late")(session), Effect.provideService(Session.commit, Session.Session, session))
        )
        assert.deepStrictEqual(yield* plack.stored(token), { early: 2, late: 1 })
      }))

    test("X01 S04: a well-formed token that nobody issued is never adopted", (visit) =>
      Effect.gen(function*() {
        const { token, value } = yield* visit(Effect.zipLeft(plack.dump, put({ n: 1 })), {
          tokens: [unknown],
          link: true
        })
        assert.deepStrictEqual(value, {})
        assert.isString(token)
        assert.notStrictEqual(token, unknown)
        assert.isUndefined(yield* plack.stored(unknown))
      }))

    test("X02 S03: malformed tokens give a fresh session, without a store call", (visit) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        for (const text of malformed) {
          const visited = yield* visit(plack.dump, { tokens: [text] })
          assert.strictEqual(visited.answer.status, 200)
          assert.deepStrictEqual(visited.value, {})
          noCookie(visited)
        }
        assert.deepStrictEqual(yield* controls.calls, [])
      }))

    test("X03 S03: a live token with a newline behind it is malformed", (visit) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const token = yield* plack.begin(visit, { n: 1 })
        yield* controls.reset
        for (const text of [`${token}\n`, `${token}\r\n`, `${token}\u0000`, ` ${token}`, `\n${token}`]) {
          assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [text] })).value, {})
        }
        assert.deepStrictEqual(yield* controls.calls, [])
      }))

    test("X04 S51: of several values, a bad one hides no good one", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        for (
          const tokens of [
            ["../x", token],
            [token, "../x"],
            [unknown, token],
            [token, unknown],
            [unknown, "", token, "../x"]
          ]
        ) {
          assert.deepStrictEqual((yield* visit(plack.dump, { tokens })).value, { n: 1 })
        }
      }))

    test("X05 S11 S13: renewed: the data is kept, the old token is dead at once, the new one goes out", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { cart: 3 })
        const login = yield* visit(
          Effect.gen(function*() {
            const before = yield* Session.id
            yield* Session.renew
            return [before, yield* Session.id] as const
          }),
          { tokens: [token], link: true }
        )
        const next = plack.tokenOf(login)
        assert.notStrictEqual(next, token)
        assert.deepStrictEqual(login.value, [plack.idOf(token), plack.idOf(next)], "the id is the new one after renew")
        assert.isUndefined(yield* plack.stored(token))
        assert.deepStrictEqual(yield* plack.stored(next), { cart: 3 })
        assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [token] })).value, {})
        assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [next] })).value, { cart: 3 })
      }))

    for (
      const [order, both] of [
        ["renew, then ignoreChanges", Effect.zipRight(Session.renew, Session.ignoreChanges)],
        ["ignoreChanges, then renew", Effect.zipRight(Session.ignoreChanges, Session.renew)]
      ] as const
    ) {
      test(`X06: ${order}: the session stays whole, under its token`, (visit) =>
        Effect.gen(function*() {
          const token = yield* plack.begin(visit, { cart: 3 })
          noCookie(yield* visit(Effect.zipRight(both, put({ lost: 1 })), { tokens: [token] }))
          assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [token] })).value, { cart: 3 })
        }))
    }

    test("X09: ignoreChanges: the store keeps the old value, and the session's life is not extended", (visit) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const token = yield* plack.begin(visit, { n: 1 })
        yield* TestClock.adjust("30 minutes")
        yield* controls.reset
        noCookie(yield* visit(Effect.zipRight(Session.ignoreChanges, put({ n: 2 })), { tokens: [token] }))
        assert.deepStrictEqual(yield* controls.methods, ["load"])
        assert.deepStrictEqual(yield* plack.stored(token), { n: 1 })
        yield* TestClock.adjust("30 minutes")
        assert.isUndefined(yield* plack.stored(token))
      }))

    test("X10 X12: a change is not kept when it is ignored, nor when the handler dies after it", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1, list: [1] })
        yield* visit(Effect.zipRight(put({ n: 2, list: [] }), Session.ignoreChanges), { tokens: [token] })
        assert.deepStrictEqual(yield* plack.stored(token), { n: 1, list: [1] })
        const died = yield* visit(Effect.zipRight(put({ n: 3, list: [] }), Effect.dieMessage("boom")), {
          tokens: [token]
        })
        assert.strictEqual(died.answer.status, 500)
        noCookie(died)
        assert.deepStrictEqual(yield* plack.stored(token), { n: 1, list: [1] })
      }))

    test("X10: what is read can't be changed in place", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { list: [1] })
        const { value } = yield* visit(
          Effect.map(plack.dump, (data) =>
            Exit.isFailure(Effect.runSyncExit(Effect.sync(() => {
              const { list } = data as { list: Array<number> }
              list.push(2)
            })))),
          { tokens: [token] }
        )
        assert.isTrue(value, "it is frozen")
        assert.deepStrictEqual(yield* plack.stored(token), { list: [1] })
      }))

    test("X11: ignoreChanges, then a change: not kept, but by an explicit commit", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        yield* visit(Effect.zipRight(Session.ignoreChanges, put({ n: 2 })), { tokens: [token] })
        assert.deepStrictEqual(yield* plack.stored(token), { n: 1 })
        yield* visit(
          Effect.zipRight(Session.ignoreChanges, Effect.zipRight(put({ n: 3 }), Session.commit)),
          { tokens: [token] }
        )
        assert.deepStrictEqual(yield* plack.stored(token), { n: 3 })
      }))

    test("X12: a handler that dies on a first visit leaves no session and no cookie", (visit) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const died = yield* visit(Effect.zipRight(put({ n: 1 }), Effect.dieMessage("boom")))
        assert.strictEqual(died.answer.status, 500)
        noCookie(died)
        assert.deepStrictEqual(yield* controls.calls, [])
      }))

    for (const status of [302, 304, 404]) {
      test(`X13 S63: a ${status} commits like any other answer`, (visit) =>
        Effect.gen(function*() {
          const visited = yield* visit(put({ n: 1 }), { link: true, response: HttpServerResponse.empty({ status }) })
          assert.strictEqual(visited.answer.status, status)
          assert.deepStrictEqual(yield* plack.stored(plack.tokenOf(visited)), { n: 1 })
        }))
    }

    test("X13: a 500 of the handler's own commits nothing", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        const visited = yield* visit(put({ n: 2 }), {
          tokens: [token],
          response: HttpServerResponse.empty({ status: 500 })
        })
        noCookie(visited)
        assert.deepStrictEqual(yield* plack.stored(token), { n: 1 })
      }))

    test("X15: in place of data, undefined or null is refused, and the session stays whole", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        for (const data of [undefined, null, [], "text"]) {
          const refused = yield* visit(put(data as never), { tokens: [token] })
          assert.strictEqual(refused.answer.status, 500)
          const defect = refused.exit !== undefined && Exit.isFailure(refused.exit)
            ? Option.getOrUndefined(Cause.dieOption(refused.exit.cause))
            : undefined
          assert.instanceOf(defect, Session.SessionDataError)
          assert.deepStrictEqual(yield* plack.stored(token), { n: 1 })
        }
        yield* visit(put({}), { tokens: [token] })
        assert.deepStrictEqual(yield* plack.stored(token), {}, "empty data is data")
      }))

    test("X16: the id is read-only: data named id is data", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        const { value } = yield* visit(Effect.zipRight(put({ id: "f".repeat(40) }), Session.id), { tokens: [token] })
        assert.strictEqual(value, plack.idOf(token))
        assert.deepStrictEqual(yield* plack.stored(token), { id: "f".repeat(40) })
      }))

    test("X18: a value that can't be kept is refused with its path, and the previous session is whole", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        const refused = yield* visit(put({ n: 2, deep: { list: [1, () => 1] } } as never), { tokens: [token] })
        assert.strictEqual(refused.answer.status, 500)
        assert.include(String(refused.exit), "deep.list[1]")
        noCookie(refused)
        assert.deepStrictEqual(yield* plack.stored(token), { n: 1 })
      }))

    if (kind.text) {
      test("X19 S61: what the store can't decode is a fresh session, each time, and stays no obstacle", (visit) =>
        Effect.gen(function*() {
          const behind = yield* plack.Behind
          const token = yield* plack.begin(visit, { n: 1 })
          const whole = behind.dump()
          const torn = whole.slice(whole.indexOf(" ") + 1, -3)
          for (const text of ["", "garbage", "{}", "null", "[", "\u0000\u0001", torn]) {
            behind.overwrite(token, text)
            const visited = yield* visit(plack.dump, { tokens: [token] })
            assert.strictEqual(visited.answer.status, 200)
            assert.deepStrictEqual(visited.value, {})
            const again = yield* visit(Effect.zipLeft(plack.dump, put({ n: 2 })), { tokens: [token], link: true })
            assert.deepStrictEqual(again.value, {})
            assert.notStrictEqual(plack.tokenOf(again), token)
            assert.deepStrictEqual(yield* plack.stored(plack.tokenOf(again)), { n: 2 })
          }
        }))
    }

    it.effect("X20 S05: a generator that repeats itself hands nobody another's session", () =>
      Effect.gen(function*() {
        const visit = yield* plack.visitor(carrier)
        const token = yield* plack.begin(visit, { user: "ann" })
        assert.strictEqual(token, unknown)
        const newcomer = yield* visit(Effect.zipLeft(plack.dump, put({ user: "eve" })))
        assert.deepStrictEqual(newcomer.value, {})
        assert.strictEqual(newcomer.answer.status, 503)
        noCookie(newcomer)
        assert.deepStrictEqual(yield* plack.stored(token), { user: "ann" })
      }).pipe(
        Effect.provideService(SessionToken.Generator, (size) => new Uint8Array(size)),
        quietly,
        Effect.provide(layer)
      ))

    test("X21 S35: twenty visitors who only read leave nothing", (visit) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const behind = yield* plack.Behind
        const before = behind.keys()
        for (let i = 0; i < 20; i++) {
          noCookie(yield* visit(plack.dump))
        }
        assert.deepStrictEqual(yield* controls.calls, [])
        assert.deepStrictEqual(behind.keys(), before)
      }))

    for (
      const [bound, wait, policy] of [
        ["idle", Duration.minutes(10), SessionPolicy.layer({ idleTimeout: "10 minutes" })],
        ["absolute", Duration.minutes(10), SessionPolicy.layer({ lifetime: "10 minutes" })]
      ] as const
    ) {
      it.effect(`X22 S17 S18 S20: past its ${bound} bound a session is over, whatever the client still sends`, () =>
        Effect.gen(function*() {
          const visit = yield* plack.visitor(carrier)
          const token = yield* plack.begin(visit, { user: "ann" })
          yield* TestClock.adjust(Duration.subtract(wait, Duration.millis(1)))
          assert.deepStrictEqual(
            (yield* visit(Effect.zipLeft(plack.dump, Session.ignoreChanges), { tokens: [token] }))
              .value,
            { user: "ann" }
          )
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [token] })).value, {})
          assert.isUndefined(yield* plack.stored(token))
        }).pipe(Effect.provide(layer), Effect.provide(policy)))
    }

    it.effect("X28: two middlewares of one session are one", () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const visit = yield* plack.visitor(carrier, (app) => HttpMiddleware.session(HttpMiddleware.session(app)))
        const token = yield* plack.begin(visit, { n: 1 })
        yield* controls.reset
        yield* visit(put({ n: 2 }), { tokens: [token] })
        assert.deepStrictEqual(yield* controls.methods, ["load", "update"])
        assert.deepStrictEqual(yield* plack.stored(token), { n: 2 })
      }).pipe(Effect.provide(layer)))

    it.scoped("X28: two sessions of different names have ids, data and stores of their own", () =>
      Effect.gen(function*() {
        const inner = yield* Layer.build(Layer.merge(carrier.layer("admin"), kind.layer))
        const adminParts = yield* Layer.build(
          HttpMiddleware.layerSession(Admin, Layer.succeedContext(inner))
        )
        const admin = Session.verbs(Admin)
        const both = Effect.gen(function*() {
          yield* put({ whose: "visitor" })
          yield* Effect.flatMap(Admin, (session) => Ref.set(session, { whose: "admin" }))
          yield* Session.commit
          yield* admin.commit
          return HttpServerResponse.text(JSON.stringify([yield* Session.id, yield* admin.id]))
        })
        const client = yield* testing.client(
          HttpMiddleware.session(Effect.provide(HttpMiddleware.sessionOf(Admin)(both), adminParts))
        )
        const answer = yield* client.get("/")
        const ids = (yield* answer.json) as ReadonlyArray<SessionToken.SessionId>
        assert.lengthOf(new Set(ids), 2)
        if (carrier.name === "cookie") {
          assert.deepStrictEqual(answer.setCookies.map((line) => line.split("=")[0]).sort(), [
            "__Host-session",
            "admin"
          ])
          const outer = plack.cookieValue(answer) ?? ""
          const own = plack.cookieValue(answer, "admin") ?? ""
          assert.deepStrictEqual([outer, own].map(plack.idOf), ids)
          assert.deepStrictEqual(yield* plack.stored(outer), { whose: "visitor" })
          assert.isUndefined(yield* plack.stored(own))
          assert.deepStrictEqual(yield* Effect.provide(plack.stored(own), inner), { whose: "admin" })
        } else {
          assert.deepStrictEqual(answer.setCookies, [])
        }
      }).pipe(Effect.provide(layer)))

    test("X31 S35: ignoreChanges on a first visit: no cookie for a session that is not there", (visit) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        noCookie(yield* visit(Effect.zipRight(put({ n: 1 }), Session.ignoreChanges)))
        assert.deepStrictEqual(yield* controls.calls, [])
      }))
  })
}

class Admin extends Session.Tag<Admin>()("plack-admin") {}

const { put } = plack

for (const carrier of plack.carriers) {
  for (const kind of plack.kinds) {
    const name = `${carrier.name} and ${kind.name}`
    for (const face of plack.faces) {
      suite(name, carrier, Layer.merge(carrier.layer(), kind.layer), face)
    }
    cases(name, carrier, kind)
  }
}

/** What only a cookie can do. */
const cookieCases = (kind: plack.Kind): void => {
  const layer = Layer.merge(plack.cookie.layer(), kind.layer)
  const test = (title: string, body: (visit: plack.Visitor) => Effect.Effect<void, unknown, Services>) =>
    it.effect(title, () => quietly(Effect.provide(Effect.flatMap(plack.visitor(plack.cookie), body), layer)))

  describe(`cookie and ${kind.name}, in the head`, () => {
    test("P10 S27 S53: the cookie has the token when it is born, nothing while it is good, a removal at the end", (visit) =>
      Effect.gen(function*() {
        const born = yield* visit(put({ n: 1 }))
        const token = plack.tokenOf(born)
        assert.deepStrictEqual(born.answer.setCookies, [
          `__Host-session=${token}; Path=/; HttpOnly; Secure; SameSite=Lax`
        ])
        assert.deepStrictEqual((yield* visit(put({ n: 2 }), { tokens: [token] })).answer.setCookies, [])
        assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [token] })).answer.setCookies, [])
        const ended = yield* visit(Session.destroy, { tokens: [token] })
        assert.lengthOf(ended.answer.setCookies, 1)
        assert.match(
          ended.answer.setCookies[0] ?? "",
          /^__Host-session=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax$/
        )
      }))

    test("X03: a token with %0A behind it is malformed, and not sent back", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        const { answer, value } = yield* visit(plack.dump, { request: { cookies: `__Host-session=${token}%0A` } })
        assert.deepStrictEqual(value, {})
        assert.deepStrictEqual(answer.setCookies, [])
      }))

    test("X04: a quoted value is taken", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        const { value } = yield* visit(plack.dump, { request: { cookies: `__Host-session="${token}"` } })
        assert.deepStrictEqual(value, { n: 1 })
      }))

    test("X07 S25 S27: a logout empties the cookie; without a session it costs no store call", (visit) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const token = yield* plack.begin(visit, { n: 1 })
        yield* controls.reset
        const removal = /^__Host-session=; .*Max-Age=0.*Expires=Thu, 01 Jan 1970/
        const ended = yield* visit(Session.destroy, { tokens: [token] })
        assert.lengthOf(ended.answer.setCookies, 1)
        assert.match(ended.answer.setCookies[0] ?? "", removal)
        assert.deepStrictEqual(yield* controls.methods, ["load", "remove"])
        yield* controls.reset
        const stranger = yield* visit(Session.destroy)
        assert.isUndefined(stranger.token)
        stranger.answer.setCookies.forEach((line) => assert.match(line, removal))
        assert.deepStrictEqual(yield* controls.methods, [])
      }))

    test("X08 S27: a life given to this response does not outlive the logout in it", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        const ended = yield* visit(
          Effect.zipRight(CookieState.attributes({ maxAge: "1 hour" }), Session.destroy),
          { tokens: [token] }
        )
        assert.lengthOf(ended.answer.setCookies, 1)
        assert.match(ended.answer.setCookies[0] ?? "", /^__Host-session=; Max-Age=0;/)
        assert.notInclude(ended.answer.setCookies[0] ?? "", "3600")
      }))

    test("X13 S54: the app's own cookie of the session's name gives way, others stay", (visit) =>
      Effect.gen(function*() {
        const { answer, token } = yield* visit(put({ n: 1 }), {
          response: HttpServerResponse.text("hi").pipe(
            HttpServerResponse.unsafeSetCookie("__Host-session", "mine"),
            HttpServerResponse.unsafeSetCookie("theme", "dark")
          )
        })
        assert.lengthOf(answer.setCookies.filter((line) => line.startsWith("__Host-session=")), 1)
        assert.match(token ?? "", /^[\w-]{43}$/)
        assert.include(answer.setCookies, "theme=dark")
      }))

    test("X17: an attribute named value does not replace the token", (visit) =>
      Effect.gen(function*() {
        const { answer, token } = yield* visit(
          Effect.zipRight(CookieState.attributes({ value: "mine", id: "x" } as never), put({ n: 1 }))
        )
        assert.match(token ?? "", /^[\w-]{43}$/)
        assert.notInclude(answer.setCookies.join(), "mine")
        assert.deepStrictEqual(yield* plack.stored(token ?? ""), { n: 1 })
      }))
  })
}

/** What only a parameter can do. */
const paramCases = (kind: plack.Kind): void => {
  const layer = Layer.merge(plack.param.layer(), kind.layer)
  const test = (title: string, body: (visit: plack.Visitor) => Effect.Effect<void, unknown, Services>) =>
    it.effect(title, () => quietly(Effect.provide(Effect.flatMap(plack.visitor(plack.param), body), layer)))
  const form = (text: string, path: string) => ({
    method: "POST",
    path,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: text
  })

  describe(`param and ${kind.name}, in links and forms`, () => {
    test("X30 S10: a cookie is not looked at", (visit) =>
      Effect.gen(function*() {
        const token = yield* plack.begin(visit, { n: 1 })
        for (const name of ["session", "__Host-session"]) {
          assert.deepStrictEqual((yield* visit(plack.dump, { request: { cookies: `${name}=${token}` } })).value, {})
        }
      }))

    test("X30: of several parameters the last wins", (visit) =>
      Effect.gen(function*() {
        const one = yield* plack.begin(visit, { n: 1 })
        const two = yield* plack.begin(visit, { n: 2 })
        assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [one, two] })).value, { n: 2 })
        assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [two, one] })).value, { n: 1 })
      }))

    test("X30: the form beats the query", (visit) =>
      Effect.gen(function*() {
        const one = yield* plack.begin(visit, { n: 1 })
        const two = yield* plack.begin(visit, { n: 2 })
        const { value } = yield* visit(plack.dump, { request: form(`session=${one}`, `/?session=${two}`) })
        assert.deepStrictEqual(value, { n: 1 })
        assert.deepStrictEqual((yield* visit(plack.dump, { request: form("a=b", `/?session=${two}`) })).value, { n: 2 })
      }))

    test("X30: no answer sets a cookie: not at birth, not at a login, not at a logout", (visit) =>
      Effect.gen(function*() {
        const born = yield* visit(put({ n: 1 }), { link: true })
        const login = yield* visit(Session.renew, { tokens: [plack.tokenOf(born)], link: true })
        const logout = yield* visit(Session.destroy, { tokens: [plack.tokenOf(login)] })
        assert.deepStrictEqual([born, login, logout].flatMap(({ answer }) => answer.setCookies), [])
        assert.isUndefined(yield* plack.stored(plack.tokenOf(login)))
      }))
  })
}

for (const kind of plack.kinds) {
  cookieCases(kind)
  paramCases(kind)
}

describe("once", () => {
  it.effect("P11: every module loads, and the barrel has it under its name", () =>
    Effect.gen(function*() {
      const folder = new URL("../src/", import.meta.url)
      const names = fs.readdirSync(fileURLToPath(folder)).filter((name) => name.endsWith(".ts"))
        .map((name) => name.slice(0, -3))
      const barrel: Record<string, unknown> = yield* Effect.promise(() => import("effect-session"))
      for (const name of names) {
        const module: Record<string, unknown> = yield* Effect.promise(() => import(`../src/${name}.ts`))
        assert.isAbove(Object.keys(module).length, 0, name)
        if (barrel[name] !== undefined) {
          assert.strictEqual(barrel[name], module, name)
        }
      }
      for (const name of ["HttpMiddleware", "Session", "SessionField", "CookieState", "ParamState", "MemoryStore"]) {
        assert.isDefined(barrel[name], name)
      }
    }))

  it.effect("P28: a text codec of one's own is a cache around another: it gets key and text, and on the way back the key", () =>
    Effect.gen(function*() {
      const kept = new Map<string, string>()
      const keys = new Set<string>()
      const layer = Layer.orDie(CacheStore.layer({
        get: (key) =>
          Effect.sync(() => {
            keys.add(key)
            return Option.map(Option.fromNullable(kept.get(key)), (text) => Buffer.from(text, "base64").toString())
          }),
        set: (key, text) => Effect.sync(() => kept.set(key, Buffer.from(text).toString("base64"))),
        remove: (key) => Effect.sync(() => kept.delete(key))
      }))
      yield* Effect.gen(function*() {
        const visit = yield* plack.visitor(plack.param)
        const token = yield* plack.begin(visit, { foo: "bär" })
        assert.deepStrictEqual((yield* visit(plack.dump, { tokens: [token] })).value, { foo: "bär" })
        assert.deepStrictEqual([...kept.keys()], [`session:${plack.idOf(token)}`])
        assert.deepStrictEqual([...keys], [...kept.keys()])
        assert.match([...kept.values()].join(""), /^[A-Za-z0-9+/=]+$/)
      }).pipe(Effect.provide(Layer.merge(plack.param.layer(), layer)))
    }))

  it.scoped("X29: memory is of one process: another does not know its sessions, and begins new ones", () =>
    Effect.gen(function*() {
      const process = Layer.build(Layer.merge(plack.cookie.layer(), Layer.orDie(MemoryStore.layer())))
      const one = yield* process
      const other = yield* process
      const here = yield* Effect.provide(plack.visitor(plack.cookie), one)
      const there = yield* Effect.provide(plack.visitor(plack.cookie), other)
      const token = yield* plack.begin(here, { n: 1 })
      const elsewhere = yield* there(Effect.zipLeft(plack.dump, put({ n: 2 })), { tokens: [token] })
      assert.deepStrictEqual(elsewhere.value, {})
      assert.notStrictEqual(plack.tokenOf(elsewhere), token)
      assert.deepStrictEqual((yield* here(plack.dump, { tokens: [token] })).value, { n: 1 })
    }))
})
