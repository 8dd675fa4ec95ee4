import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Effect,
  Either,
  Exit,
  Fiber,
  Inspectable,
  Layer,
  Option,
  Redacted,
  Ref,
  Schema,
  TestClock
} from "effect"
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
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, assertCookie, assertNoCookie, increment, services } = fixture

const data = Effect.flatMap(Session.Session, Ref.get)
const setTo = (value: Session.Data) => Effect.flatMap(Session.Session, Ref.set(value))

const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.either(effect), (either) => Either.isLeft(either) ? either.left._tag : "Right")

/** Runs a handler in a request of its own, of a browser with a session that counts 1, and gives what it found. */
const handling = <A, E>(handler: Effect.Effect<A, E, Session.Session>, before: Effect.Effect<unknown> = Effect.void) =>
  Effect.gen(function*() {
    let found: Exit.Exit<A, E> | undefined
    const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
      "/add": answering(increment),
      "/": Effect.map(Effect.exit(handler), (exit) => {
        found = exit
        return fixture.done
      })
    })))
    yield* client.get("/add")
    yield* (yield* testing.Controls).reset
    yield* before
    const answer = yield* client.get("/")
    const exit = found ?? assert.fail("the handler did not run")
    return { answer, client, exit, value: yield* exit }
  })

describe("layerTest", () => {
  it.effect("unseeded: a new, empty session", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* data, {})
      assert.isTrue(yield* Session.isNew)
      assert.strictEqual((yield* Session.outcome)._tag, "Nothing")
    }).pipe(Effect.provide(Session.layerTest())))

  it.effect("seeded by data: a session that exists", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* data, { user: "ann" })
      assert.isFalse(yield* Session.isNew)
      assert.strictEqual((yield* Session.outcome)._tag, "Nothing")
    }).pipe(Effect.provide(Session.layerTest({ user: "ann" }))))

  it.effect("seeded by an Effect that uses it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* data, { n: 2 })
      assert.isFalse(yield* Session.isNew)
    }).pipe(Effect.provide(Session.layerTest(Effect.zipRight(increment, increment)))))

  it.scoped("a seed that fails fails the layer, and one that needs a service passes the need on", () =>
    Effect.gen(function*() {
      const failed = yield* Effect.flip(Effect.provide(data, Session.layerTest(Effect.fail("no seed"))))
      assert.strictEqual(failed, "no seed")
      const store = yield* MemoryStore.make()
      const layer = Session.layerTest(Effect.asVoid(Store.Store))
      yield* Effect.provide(data, Layer.provide(layer, Layer.succeed(Store.Store, store)))
    }))

  it.effect("each has a session of its own", () =>
    Effect.gen(function*() {
      const run = Effect.provide(increment, Session.layerTest())
      assert.deepStrictEqual([yield* run, yield* run], [1, 1])
    }))
})

describe("a Ref like any other", () => {
  it.effect("all of effect/Ref works on the session", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      const n = (data: Session.Data) => Number(data["n"] ?? 0)
      const next = (data: Session.Data) => ({ n: n(data) + 1 })
      const some = (data: Session.Data) => n(data) < 100 ? Option.some(next(data)) : Option.none()
      const none = () => Option.none<Session.Data>()

      assert.deepStrictEqual(yield* Ref.get(session), {})
      assert.deepStrictEqual(yield* session, {})
      assert.deepStrictEqual(yield* session.get, {})
      yield* Ref.set(session, { n: 1 })
      assert.deepStrictEqual(yield* Ref.getAndSet(session, { n: 2 }), { n: 1 })
      assert.deepStrictEqual(yield* Ref.getAndUpdate(session, next), { n: 2 })
      assert.deepStrictEqual(yield* Ref.getAndUpdateSome(session, some), { n: 3 })
      assert.deepStrictEqual(yield* Ref.getAndUpdateSome(session, none), { n: 4 })
      assert.strictEqual(yield* Ref.modify(session, (data) => [n(data), next(data)]), 4)
      assert.strictEqual(yield* Ref.modifySome(session, -1, (data) => Option.some([n(data), next(data)] as const)), 5)
      assert.strictEqual(yield* Ref.modifySome(session, -1, () => Option.none()), -1)
      assert.deepStrictEqual(yield* Ref.setAndGet(session, { n: 10 }), { n: 10 })
      yield* Ref.update(session, next)
      assert.deepStrictEqual(yield* Ref.updateAndGet(session, next), { n: 12 })
      yield* Ref.updateSome(session, some)
      yield* Ref.updateSome(session, none)
      assert.deepStrictEqual(yield* Ref.updateSomeAndGet(session, some), { n: 14 })
      assert.deepStrictEqual(yield* session.modify((data) => ["answer", next(data)] as const), "answer")
      assert.deepStrictEqual(yield* Ref.get(session), { n: 15 })
    }).pipe(Effect.provide(Session.layerTest())))

  it.effect("S07: prints its public id, never its data or token", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      assert.strictEqual(String(session), "Session(none)")
      yield* setTo({ secret: "hidden" })
      const token = Redacted.value(yield* Session.token)
      const id = yield* Session.id
      const printed = [String(session), JSON.stringify(session), Inspectable.format(session)].join()
      assert.include(printed, id)
      assert.notInclude(printed, token)
      assert.notInclude(printed, "hidden")
    }).pipe(Effect.provide(Session.layerTest())))
})

describe("the data", () => {
  const next = (data: Session.Data) => ({ ...data, n: Number(data["n"] ?? 0) + 1 })

  it.effect("get, set, update, modify, updateAndGet, getAndUpdate: as the functions of Ref do", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Session.get, {})
      assert.isUndefined(yield* Session.set({ n: 1 }))
      assert.isUndefined(yield* Session.update(next))
      assert.deepStrictEqual(yield* Session.get, { n: 2 })
      assert.strictEqual(yield* Session.modify((data) => [`was ${data["n"]}`, next(data)]), "was 2")
      assert.deepStrictEqual(yield* Session.updateAndGet(next), { n: 4 })
      assert.deepStrictEqual(yield* Session.getAndUpdate(next), { n: 4 })
      assert.deepStrictEqual(yield* data, { n: 5 }, "the Ref is of the same data")
      assert.isFrozen(yield* Session.updateAndGet(next))
      assert.deepStrictEqual(yield* Session.updateAndGet((data) => data), { n: 6 })
    }).pipe(Effect.provide(Session.layerTest())))

  it.effect("what is not JSON is refused, and so is a function that throws: nothing is changed", () =>
    Effect.gen(function*() {
      const wrong = { n: new Date(0) } as unknown as Session.Data
      const throws = () => {
        throw new Error("thrown")
      }
      for (
        const verb of [
          Session.set(wrong),
          Session.update(() => wrong),
          Session.modify(() => [1, wrong]),
          Session.updateAndGet(() => wrong),
          Session.getAndUpdate(() => wrong),
          Session.update(throws),
          Session.modify(throws),
          Session.updateAndGet(throws),
          Session.getAndUpdate(throws)
        ]
      ) {
        const exit = yield* Effect.exit(verb)
        assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        assert.deepStrictEqual(yield* Session.get, { n: 1 })
      }
    }).pipe(Effect.provide(Session.layerTest({ n: 1 }))))

  const plus = (n: number) => (data: Session.Data) => ({ ...data, n: Number(data["n"]) + n })

  for (
    const [name, verb, answered, saved] of [
      ["set", Session.set({ mine: true }), undefined, { mine: true }],
      ["update", Session.update(plus(10)), undefined, { n: 12 }],
      ["modify", Session.modify((data) => [data["n"], plus(10)(data)]), 1, { n: 12 }],
      ["updateAndGet", Session.updateAndGet(plus(10)), { n: 11 }, { n: 12 }],
      ["getAndUpdate", Session.getAndUpdate(plus(10)), { n: 1 }, { n: 12 }]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, never, Session.Session>, unknown, Session.Data]>
  ) {
    it.effect(`S65: ${name} is made again on what another request saved first; its answer is of what was read`, () =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        let answer: unknown
        const app = HttpMiddleware.session(fixture.routes({
          "/add": answering(increment),
          "/": answering(Effect.tap(verb, (value) => Effect.sync(() => answer = value)))
        }))
        const client = yield* testing.client(app)
        const token = assertCookie(yield* client.get("/add"))
        const other = yield* fixture.elsewhere(app)
        const update = yield* controls.hold("update")
        const slow = yield* client.fork("GET", "/")
        yield* update.arrived
        yield* other.get("/add", { cookies: `${fixture.cookieName}=${token}` })
        yield* update.release
        assert.strictEqual((yield* slow).status, 200)
        assert.deepStrictEqual(answer, answered)
        const found = yield* clocked(yield* Store.Store).load(SessionToken.fromString(token))
        assert.deepStrictEqual(found._tag === "Live" && found.record.data, saved)
      }).pipe(Effect.provide(services())))
  }
})

describe("info", () => {
  const hour = 3_600_000
  const day = 24 * hour
  const none = {
    subject: Option.none(),
    label: Option.none(),
    authenticatedAt: Option.none(),
    createdAt: Option.none(),
    touchedAt: Option.none(),
    endsAt: Option.none(),
    expiresAt: Option.none()
  }

  /** What `info` answers after each of some steps of one request, and the answer. */
  const after = (
    record: Parameters<typeof testing.record>[0] | undefined,
    ...steps: ReadonlyArray<Effect.Effect<unknown, unknown, Session.Session>>
  ) =>
    Effect.gen(function*() {
      const found: Array<Session.Info> = []
      const token = SessionToken.draw(yield* SessionToken.Generator)
      if (record !== undefined) {
        yield* clocked(yield* Store.Store).create(token, testing.record(record))
      }
      const client = yield* testing.client(HttpMiddleware.session(answering(Effect.forEach(steps, (step) =>
        Effect.zipRight(
          step,
          Effect.map(Session.info, (info) => {
            found.push(info)
          })
        )))))
      const answer = yield* client.get("/", { cookies: `${fixture.cookieName}=${Redacted.value(token)}` })
      return { answer, found, id: yield* SessionToken.toId(token) }
    })

  const idIn = (answer: testing.Answer) => SessionToken.toId(SessionToken.fromString(assertCookie(answer)))

  it.effect("of a new session: the id that it will have, and no times until it is kept", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(hour)
      const { answer, found } = yield* after(undefined, Effect.void, increment, Session.commit)
      const isNew = { id: yield* idIn(answer), isNew: true, persistent: false }
      assert.deepStrictEqual(found, [
        { ...isNew, ...none },
        { ...isNew, ...none },
        {
          ...isNew,
          ...none,
          createdAt: Option.some(hour),
          touchedAt: Option.some(hour),
          endsAt: Option.some(2 * hour),
          expiresAt: Option.some(hour + day)
        }
      ])
    }).pipe(Effect.provide(services())))

  const kept = {
    createdAt: hour,
    touchedAt: 2 * hour,
    deadline: 4 * hour,
    subject: "user 7",
    label: "Firefox on Linux",
    authenticatedAt: hour + 1
  }
  const ofKept = {
    isNew: false,
    persistent: false,
    subject: Option.some("user 7"),
    label: Option.some("Firefox on Linux"),
    authenticatedAt: Option.some(hour + 1),
    createdAt: Option.some(hour),
    touchedAt: Option.some(2 * hour),
    endsAt: Option.some(4 * hour),
    expiresAt: Option.some(hour + day)
  }

  it.effect("of a kept session: all that is known of it", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(2 * hour)
      const { found, id } = yield* after(kept, Effect.void)
      assert.deepStrictEqual(found, [{ id, ...ofKept }])
    }).pipe(Effect.provide(services())))

  it.effect("after renew: the next id, and what lasts", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(3 * hour)
      const { answer, found } = yield* after(kept, Session.renew, Session.commit)
      const id = yield* idIn(answer)
      assert.deepStrictEqual(found, [{ id, ...ofKept }, { id, ...ofKept, touchedAt: Option.some(3 * hour) }])
    }).pipe(Effect.provide(services())))

  it.effect("after expireIn: its end, once that is saved", () =>
    Effect.gen(function*() {
      const { found } = yield* after({}, Session.expireIn("7 days"), Session.commit)
      assert.deepStrictEqual(found.map(({ endsAt, expiresAt, persistent }) => [persistent, endsAt, expiresAt]), [
        [false, Option.some(hour), Option.some(day)],
        [true, Option.some(7 * day), Option.some(7 * day)]
      ])
    }).pipe(Effect.provide(services())))

  it.effect("after destroy: of the session that may begin", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(2 * hour)
      const { answer, found, id } = yield* after(kept, Session.destroy, increment)
      const next = yield* idIn(answer)
      assert.notStrictEqual(next, id)
      assert.deepStrictEqual(found, [
        { id: next, isNew: true, persistent: false, ...none },
        { id: next, isNew: true, persistent: false, ...none }
      ])
    }).pipe(Effect.provide(services())))
})

describe("id and isNew", () => {
  it.effect("S06: the id is the hash of the token that is delivered, new and after renew alike", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/": answering(Effect.zipRight(increment, Session.id)),
        "/renew": answering(Effect.zip(Session.id, Effect.zipRight(Session.renew, Session.id)))
      })))
      const first = yield* client.get("/")
      const token = assertCookie(first)
      const id = yield* SessionToken.toId(SessionToken.fromString(token))
      assert.strictEqual(yield* first.text, id)
      assert.strictEqual(yield* (yield* client.get("/")).text, id)
      const renewed = yield* client.get("/renew")
      const next = yield* SessionToken.toId(SessionToken.fromString(assertCookie(renewed)))
      assert.strictEqual(yield* renewed.text, `${id},${next}`)
    }).pipe(Effect.provide(services())))

  it.effect("isNew is of the request: true until a session came with it, and after destroy", () =>
    Effect.gen(function*() {
      const { value } = yield* handling(Effect.all([
        Session.isNew,
        Effect.zipRight(Session.renew, Session.isNew),
        Effect.zipRight(Session.destroy, Session.isNew)
      ]))
      assert.deepStrictEqual(value, [false, false, true])
    }).pipe(Effect.provide(services())))
})

describe("outcome", () => {
  it.effect("says what is owed, then what was done", () =>
    Effect.gen(function*() {
      const tag = Effect.map(Session.outcome, (outcome) => outcome._tag)
      const after = <A, E>(effect: Effect.Effect<A, E, Session.Session>) => Effect.zipRight(effect, tag)
      const { value } = yield* handling(Effect.all([
        tag,
        after(Session.load),
        after(increment),
        after(Session.commit),
        after(increment),
        after(Session.renew),
        after(Session.commit),
        after(Session.destroy),
        after(Session.commit),
        after(increment)
      ]))
      assert.deepStrictEqual(value, [
        "Nothing",
        "Nothing",
        "Update",
        "Update",
        "Update",
        "Renew",
        "Renew",
        "Remove",
        "Remove",
        "Create"
      ])
    }).pipe(Effect.provide(services())))

  it.effect("a touch that is owed, with its deadline", () =>
    Effect.gen(function*() {
      const { value } = yield* handling(
        Effect.zipRight(Session.load, Session.outcome),
        TestClock.adjust("10 minutes")
      )
      assert.deepStrictEqual(value, { _tag: "Touch", deadline: 70 * 60_000 })
    }).pipe(Effect.provide(services())))

  it.effect("ignoreChanges leaves nothing to do but a removal", () =>
    Effect.gen(function*() {
      const { value } = yield* handling(Effect.all([
        Effect.all([increment, Session.ignoreChanges]).pipe(Effect.zipRight(Session.outcome)),
        Effect.zipRight(Session.destroy, Session.outcome)
      ]))
      assert.deepStrictEqual(value.map(({ _tag }) => _tag), ["Nothing", "Remove"])
    }).pipe(Effect.provide(services())))
})

describe("commit and ignoreChanges", () => {
  it.effect("an explicit commit lands, whatever ignoreChanges says, and later updates do not", () =>
    Effect.gen(function*() {
      const { client } = yield* handling(Effect.all([Session.ignoreChanges, increment, Session.commit, increment]))
      assert.strictEqual(yield* (yield* client.get("/add")).text, "3")
    }).pipe(Effect.provide(services())))

  it.effect("commit twice with nothing between costs one call", () =>
    Effect.gen(function*() {
      yield* handling(Effect.all([increment, Session.commit, Session.commit]))
      assert.deepStrictEqual(yield* (yield* testing.Controls).methods, ["load", "update"])
    }).pipe(Effect.provide(services())))

  it.effect("its failure is typed; if the last commit lands, the answer is good", () =>
    Effect.gen(function*() {
      const { answer, client, value } = yield* handling(
        Effect.zipRight(increment, tagOf(Session.commit)),
        Effect.flatMap(testing.Controls, (controls) => controls.fail("update")) as Effect.Effect<void>
      )
      assert.strictEqual(value, "StoreError")
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(yield* (yield* client.get("/add")).text, "3")
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("commit after destroy carries the removal out; nothing new begins", () =>
    Effect.gen(function*() {
      const { answer } = yield* handling(Effect.zipRight(Session.destroy, Session.commit))
      fixture.assertRemoval(answer)
      assert.deepStrictEqual(yield* (yield* testing.Controls).methods, ["load", "remove"])
    }).pipe(Effect.provide(services())))
})

/** Ends the browser's session behind the back of the request that runs. */
const endingElsewhere = Effect.gen(function*() {
  const store = yield* Store.Store
  const controls = yield* testing.Controls
  const [call] = yield* controls.calls
  yield* clocked(store).remove(call?.token ?? SessionToken.fromString(""))
})

describe("on a session that goes while the request runs", () => {
  const ended = <A, E>(handler: Effect.Effect<A, E, Session.Session>) =>
    Effect.gen(function*() {
      const context = yield* Effect.context<Store.Store | testing.Controls>()
      return yield* handling(
        Effect.all([Session.load, Effect.provide(Effect.orDie(endingElsewhere), context), handler]).pipe(
          Effect.map(([, , value]) => value)
        )
      )
    }).pipe(Effect.provide(services()))

  for (
    const [name, verb] of [
      ["commit", Effect.zipRight(increment, Session.commit)],
      ["transaction", Session.transaction((data) => [undefined, { ...data, n: 5 }])],
      ["reload", Session.reload],
      ["token", Effect.zipRight(increment, Session.token)]
    ] as ReadonlyArray<
      readonly [
        string,
        Effect.Effect<unknown, Store.StoreError | Session.SessionGone | Session.HeadSent, Session.Session>
      ]
    >
  ) {
    it.effect(`S26: ${name} fails with SessionGone, and no cookie is set`, () =>
      Effect.gen(function*() {
        const { answer, value } = yield* ended(tagOf(verb))
        assert.strictEqual(value, "SessionGone")
        assertNoCookie(answer)
      }))
  }

  it.effect("unhandled, SessionGone is answered with 401", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(Effect.fail(new Session.SessionGone())))
      assert.strictEqual((yield* client.get("/")).status, 401)
    }).pipe(Effect.provide(services())))
})

describe("reload", () => {
  it.effect("S26: of a session that was destroyed meanwhile brings nothing back", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { answer, exit } = yield* handling(Effect.gen(function*() {
        yield* Session.load
        const held = yield* controls.hold("load")
        const reloading = yield* Effect.fork(Session.reload)
        yield* held.arrived
        yield* Session.destroy
        yield* setTo({ flash: "bye" })
        yield* held.release
        return [yield* Fiber.join(reloading), yield* data]
      }))
      assert.deepStrictEqual(exit, Exit.succeed([{ flash: "bye" }, { flash: "bye" }]))
      assertCookie(answer)
    }).pipe(Effect.provide(services())))

  it.effect("S13: of a session that was renewed meanwhile is of the renewed one, and what follows is kept", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { answer, exit } = yield* handling(Effect.gen(function*() {
        yield* Session.load
        const held = yield* controls.hold("load", { at: "after" })
        const reloading = yield* Effect.fork(Session.reload)
        yield* held.arrived
        yield* Session.renew
        yield* Session.commit
        yield* held.release
        return [yield* Fiber.join(reloading), yield* increment]
      }))
      assert.deepStrictEqual(exit, Exit.succeed([{ n: 1 }, 2]))
      const store = yield* Store.Store
      const found = yield* clocked(store).load(SessionToken.fromString(assertCookie(answer)))
      assert.deepStrictEqual(found._tag === "Live" && found.record.data, { n: 2 })
    }).pipe(Effect.provide(services())))

  it.effect("reads afresh, and puts this request's updates on top", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const controls = yield* testing.Controls
      const elsewhere = Effect.gen(function*() {
        const [call] = yield* controls.calls
        const token = call?.token ?? SessionToken.fromString("")
        const found = yield* clocked(store).load(token)
        if (found._tag === "Live") {
          yield* clocked(store).update(token, found.record.revision, { ...found.record, data: { n: 10, other: true } })
        }
      })
      const { client, value } = yield* handling(
        Effect.all([increment, Effect.orDie(elsewhere), Session.reload, data]).pipe(Effect.map(([, , ...rest]) => rest))
      )
      assert.deepStrictEqual(value, [{ n: 11, other: true }, { n: 11, other: true }])
      assert.strictEqual(yield* (yield* client.get("/add")).text, "12")
    }).pipe(Effect.provide(services())))

  it.effect("tries a load anew that had failed, and a success makes the request good", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { answer, value } = yield* handling(
        Effect.all([tagOf(Session.load), Session.reload, increment]),
        controls.fail("load")
      )
      assert.deepStrictEqual(value, ["StoreError", { n: 1 }, 2])
      assert.strictEqual(answer.status, 200)
    }).pipe(fixture.quietly, Effect.provide(services())))

  it.effect("its own failure is typed and leaves what was read", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { answer, value } = yield* handling(
        Effect.all([Session.load, Effect.suspend(() => controls.fail("load")), tagOf(Session.reload), increment])
      )
      assert.deepStrictEqual(value, [{ n: 1 }, undefined, "StoreError", 2])
      assert.strictEqual(answer.status, 200)
    }).pipe(fixture.quietly, Effect.provide(services())))
})

describe("transaction", () => {
  it.effect("pending updates and the function land together, and stand when the response is an error", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/500": answering(
          Effect.zipRight(increment, Session.transaction((data) => [data["n"], { ...data, redeemed: true }])),
          500
        ),
        "/": answering(Effect.map(data, (data) => JSON.stringify(data)))
      })))
      const answer = yield* client.get("/500")
      assert.strictEqual(answer.status, 500)
      assert.strictEqual(yield* answer.text, "1")
      assert.strictEqual(yield* (yield* client.get("/")).text, "{\"n\":1,\"redeemed\":true}")
      assert.deepStrictEqual(yield* (yield* testing.Controls).methods, ["create", "load"])
    }).pipe(Effect.provide(services())))

  it.effect("the function runs anew on what another left, and its answer is that of the run that landed", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const app = HttpMiddleware.session(fixture.routes({
        "/add": answering(increment),
        "/": answering(Session.transaction((data) => {
          seen.push(data["n"])
          return [data["n"], { ...data, n: 100 }]
        }))
      }))
      const client = yield* testing.client(app)
      const token = assertCookie(yield* client.get("/add"))
      const controls = yield* testing.Controls
      const update = yield* controls.hold("update")
      const slow = yield* client.fork("GET", "/")
      yield* update.arrived
      yield* (yield* fixture.elsewhere(app)).get("/add", { cookies: `${fixture.cookieName}=${token}` })
      yield* update.release
      const answer = yield* slow
      assert.strictEqual(yield* answer.text, "2")
      assert.deepStrictEqual(seen, [1, 2])
    }).pipe(Effect.provide(services())))

  it.effect("its failure is typed, and a function that throws is a defect: neither changes anything", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const write = Session.transaction((data) => [undefined, { ...data, n: 5 }])
      const { client, value } = yield* handling(
        Effect.all([
          tagOf(write),
          Effect.exit(Session.transaction(() => {
            throw new RangeError("thrown")
          })),
          data
        ]),
        controls.fail("update")
      )
      assert.strictEqual(value[0], "StoreError")
      assert.isTrue(Exit.isFailure(value[1]) && Cause.isDie(value[1].cause))
      assert.deepStrictEqual(value[2], { n: 1 })
      assert.strictEqual(yield* (yield* client.get("/add")).text, "2")
    }).pipe(fixture.quietly, Effect.provide(services())))
})

describe("token", () => {
  it.effect("commits first, so that what it gives is good at once", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(answering(Effect.map(Session.token, Redacted.value))))
      const answer = yield* client.get("/")
      const token = yield* answer.text
      assert.strictEqual(token, assertCookie(answer))
      const found = yield* clocked(yield* Store.Store).load(SessionToken.fromString(token))
      assert.strictEqual(found._tag, "Live")
    }).pipe(Effect.provide(services())))

  it.effect("where nothing is kept there is none", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/token": answering(tagOf(Session.token)),
        "/add": answering(increment),
        "/commit": answering(Effect.zipRight(increment, Session.commit))
      })))
      assert.strictEqual(yield* (yield* client.get("/token")).text, "SessionGone")
      for (const path of ["/add", "/commit"]) {
        const answer = yield* client.get(path)
        assert.strictEqual(answer.status, 200)
        assertNoCookie(answer)
      }
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), NullStore.layer))))
})

describe("a second, named session in one app", () => {
  class Admin extends Session.Tag<Admin>()("admin") {}
  const admin = Session.verbs(Admin)
  const Role = SessionField.make("role", Schema.String, { default: () => "none", session: Admin })

  it.scoped("has a state, store, verbs and fields of its own", () =>
    Effect.gen(function*() {
      const adminLayers = HttpMiddleware.layerSession(Admin, [
        CookieState.layer({ name: "__Host-admin" }),
        MemoryStore.layer()
      ])
      const adminSession = HttpMiddleware.sessionOf(Admin)
      const adminContext = yield* Layer.build(adminLayers)
      const client = yield* testing.client(HttpMiddleware.session(
        adminSession(fixture.routes({
          "/add": answering(increment),
          "/promote": answering(Effect.all([SessionField.set(Role, "root"), increment])),
          "/both": answering(Effect.all([Role, SessionField.get(fixture.Count), admin.isNew, Session.isNew])),
          "/admin-logout": answering(admin.destroy),
          "/admin-renew": answering(admin.renew),
          "/none": Effect.succeed(HttpServerResponse.text("none"))
        })).pipe(Effect.provide(adminContext))
      ))
      const names = Effect.map(client.cookies, (cookies) => cookies.map(({ name }) => name))
      assertCookie(yield* client.get("/add"))
      assert.deepStrictEqual(yield* names, ["__Host-session"])
      const promoted = yield* client.get("/promote")
      assert.lengthOf(promoted.setCookies, 1)
      assert.deepStrictEqual(yield* names, ["__Host-session", "__Host-admin"])
      assert.strictEqual(yield* (yield* client.get("/both")).text, "root,2,false,false")
      const renewed = yield* client.get("/admin-renew")
      assert.match(renewed.setCookies.join(), /^__Host-admin=[^,]+$/)
      const out = yield* client.get("/admin-logout")
      assert.match(out.setCookies.join(), /^__Host-admin=;[^,]*(Expires=[^;]*)?/)
      assert.deepStrictEqual(yield* names, ["__Host-session"])
      assert.strictEqual(yield* (yield* client.get("/both")).text, "none,2,true,false")
      assert.deepStrictEqual((yield* client.get("/none")).headers.get("vary"), null)
    }).pipe(Effect.provide(services())))

  it("has every verb that the module has", () => {
    const own = Session as unknown as Record<string, unknown>
    for (const [name, verb] of Object.entries(admin)) {
      assert.strictEqual(typeof own[name], typeof verb, name)
    }
    assert.includeMembers(Object.keys(admin), [
      ...["get", "set", "update", "modify", "updateAndGet", "getAndUpdate", "id", "isNew", "info", "renew", "destroy"],
      ...["ignoreChanges", "commit", "load", "reload", "transaction", "expireIn", "expireByPolicy", "token", "outcome"],
      "withToken"
    ])
  })

  it.effect("its data, its info and its ends are its own", () =>
    Effect.gen(function*() {
      const ref = yield* Effect.provide(Session.Session, Session.layerTest({ n: 1 }))
      const other = yield* Effect.provide(Session.Session, Session.layerTest({ own: false }))
      const next = (data: Session.Data) => ({ n: Number(data["n"] ?? 0) + 1 })
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* admin.get, { n: 1 })
        assert.deepStrictEqual(yield* admin.updateAndGet(next), { n: 2 })
        assert.deepStrictEqual(yield* admin.getAndUpdate(next), { n: 2 })
        assert.strictEqual(yield* admin.modify((data) => [data["n"], next(data)]), 3)
        yield* admin.update(next)
        assert.deepStrictEqual(yield* admin.get, { n: 5 })
        yield* admin.set({ n: 0 })
        yield* admin.expireIn("7 days")
        yield* admin.commit
        assert.isTrue((yield* admin.info).persistent)
        assert.isFalse((yield* Session.info).persistent)
        yield* admin.expireByPolicy
        yield* admin.commit
        assert.isFalse((yield* admin.info).persistent)
        const before = yield* admin.id
        yield* admin.renew
        assert.notStrictEqual(yield* admin.id, before)
        assert.isFalse(yield* admin.isNew)
        yield* admin.destroy
        assert.isTrue(yield* admin.isNew)
        assert.deepStrictEqual(yield* admin.get, {})
      }).pipe(Effect.provideService(Admin, ref), Effect.provideService(Session.Session, other))
      assert.deepStrictEqual(yield* Ref.get(other), { own: false })
    }))

  it.effect("all its verbs are those of its own session", () =>
    Effect.gen(function*() {
      const ref = yield* Effect.provide(Session.Session, Session.layerTest({ own: true }))
      const other = yield* Effect.provide(Session.Session, Session.layerTest({ own: false }))
      const answer = yield* Effect.all({
        id: admin.id,
        load: admin.load,
        reload: admin.reload,
        transaction: admin.transaction((data) => [data["own"], { ...data, done: true }]),
        expire: admin.expireIn("1 hour"),
        commit: admin.commit,
        token: admin.token,
        ignore: admin.ignoreChanges,
        outcome: admin.outcome
      }).pipe(
        Effect.provideService(Admin, ref),
        Effect.provideService(Session.Session, other)
      )
      assert.deepStrictEqual(answer.load, { own: true })
      assert.strictEqual(answer.transaction, true)
      assert.strictEqual(answer.outcome._tag, "Update")
      assert.strictEqual(answer.id, yield* SessionToken.toId(answer.token))
      assert.deepStrictEqual(yield* Ref.get(ref), { own: true, done: true })
      assert.deepStrictEqual(yield* Ref.get(other), { own: false })
    }))
})
