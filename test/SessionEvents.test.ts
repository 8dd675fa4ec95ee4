/**
 * The events of sessions: each by a request that causes it, what becomes of a handler that fails, hangs or is too slow,
 * and that none of them holds a token.
 */
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse, KeyValueStore } from "@effect/platform"
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import {
  Clock,
  Context,
  Deferred,
  Effect,
  Fiber,
  Layer,
  Option,
  Redacted,
  Ref,
  Schema,
  Stream,
  Supervisor,
  TestClock,
  Tracer
} from "effect"
import type { Exit } from "effect"
import {
  CacheStore,
  CookieState,
  Csrf,
  HttpMiddleware,
  MemoryStore,
  SealedStore,
  Session,
  SessionEvents,
  SessionField,
  SessionRouter,
  Sessions,
  SessionToken,
  Store
} from "effect-session"
import type { State } from "effect-session"
import * as SqlStore from "effect-session/SqlStore"
import * as testing from "effect-session/testing"
import { randomBytes } from "node:crypto"
import * as fixture from "./fixtures/http.js"
import * as sql from "./fixtures/sql.js"

const { answering, elsewhere, increment, tokenOf } = fixture

const hour = 3_600_000

const Name = SessionField.make("name", Schema.Int, { default: () => 0 })

/** Waits for the handlers of what has happened. */
const settled = Effect.repeatN(Effect.yieldNow(), 50)

const app = fixture.routes({
  "/read": answering(SessionField.get(fixture.Count)),
  "/name": answering(SessionField.get(Name)),
  "/add": answering(increment),
  "/committed": answering(Effect.zipRight(increment, Session.commit)),
  "/garbage": answering(Session.update(() => ({ name: "not a number" }))),
  "/login": answering(Session.login("ann", { label: "Firefox on Linux" })),
  "/unnamed": answering(Session.login("ann")),
  "/renew": answering(Session.renew),
  "/logout": answering(Session.destroy),
  "/late": Effect.zipRight(
    Session.load,
    Effect.map(Effect.context<Session.Session>(), (context) =>
      HttpServerResponse.stream(
        Stream.fromEffect(Effect.as(Effect.provide(increment, context), new TextEncoder().encode("late")))
      ))
  ),
  "/change": HttpServerResponse.text("changed")
})

const server = Csrf.protect()(HttpMiddleware.session(app))

type Services = State.State | Store.Store | Sessions.Sessions | testing.Controls

interface Recorded {
  readonly events: Array<SessionEvents.Event>
  readonly client: testing.Client
  readonly controls: testing.StoreControls
}

/** All texts that a value is made of, keys too. */
const textsIn = (value: unknown): ReadonlyArray<string> =>
  typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([key, inner]) => [key, ...textsIn(inner)])
    : [Redacted.isRedacted(value) ? "redacted" : String(value)]

/** The tokens of all calls of the store. */
const tokensOf = (controls: testing.StoreControls): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(
    controls.calls,
    (calls) => calls.flatMap(({ next, token }) => next === undefined ? [token] : [token, next]).map(Redacted.value)
  )

/** Runs requests, tells their events to a list, and looks for tokens in them. */
const recording = <A, E>(
  store: Layer.Layer<Store.Store | Sessions.Sessions>,
  run: (recorded: Recorded) => Effect.Effect<A, E, Services>
): Effect.Effect<void, E> => {
  const events: Array<SessionEvents.Event> = []
  const layers = Layer.mergeAll(
    Layer.orDie(CookieState.layer()),
    testing.controlled(store),
    SessionEvents.layer((event) => Effect.sync(() => events.push(event)))
  )
  return Effect.gen(function*() {
    const controls = yield* testing.Controls
    const client = yield* testing.client(server)
    yield* run({ events, client, controls })
    yield* settled
    const tokens = yield* tokensOf(controls)
    for (const event of events) {
      assert.isAtMost(event.at, yield* Clock.currentTimeMillis)
      for (const text of textsIn(event)) {
        assert.notStrictEqual(text, "redacted")
        tokens.forEach((token) => assert.notInclude(text, token))
      }
    }
  }).pipe(fixture.quietly, Effect.provide(layers))
}

/** A service for stores that have none. */
const noSessions = Layer.succeed(
  Sessions.Sessions,
  Sessions.make({ list: () => Stream.empty, end: () => Effect.succeed(Option.none()) })
)

const memory = Layer.orDie(MemoryStore.layer())

/** A store of text, in a map that the test can write to. */
const text = (kept: Map<string, string>): Layer.Layer<Store.Store | Sessions.Sessions> =>
  Layer.merge(
    noSessions,
    Layer.orDie(CacheStore.layerKeyValueStore()).pipe(
      Layer.provide(Layer.succeed(
        KeyValueStore.KeyValueStore,
        KeyValueStore.makeStringOnly({
          get: (key) => Effect.sync(() => Option.fromNullable(kept.get(key))),
          set: (key, value) => Effect.sync(() => void kept.set(key, value)),
          remove: (key) => Effect.sync(() => void kept.delete(key)),
          clear: Effect.sync(() => kept.clear()),
          size: Effect.sync(() => kept.size)
        })
      ))
    )
  )

const key = Redacted.make(randomBytes(32).toString("base64"))

const sealed = (keys = [key]): Layer.Layer<Store.Store | Sessions.Sessions> =>
  Layer.merge(noSessions, Layer.orDie(SealedStore.layer({ keys })))

const idOf = (client: testing.Client): Effect.Effect<SessionToken.SessionId> =>
  Effect.flatMap(tokenOf(client), (token) => SessionToken.toId(SessionToken.fromString(token)))

/** The events without their times. */
const told = (events: ReadonlyArray<SessionEvents.Event>): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  events.map(({ at: _, ...event }) => event)

const cookie = (token: string) => ({ cookies: `${fixture.cookieName}=${token}` })

describe("S69: every event, by a request that causes it", () => {
  it.effect("Created", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/read")
        yield* settled
        assert.deepStrictEqual(events, [])
        yield* client.get("/add")
        yield* client.get("/add")
        yield* settled
        assert.deepStrictEqual(told(events), [{ _tag: "Created", id: yield* idOf(client) }])
      })))

  it.effect("LoggedIn comes after the Created of a visitor", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/login")
        yield* settled
        const id = yield* idOf(client)
        assert.deepStrictEqual(told(events), [
          { _tag: "Created", id, subject: "ann" },
          { _tag: "LoggedIn", id, subject: "ann", label: "Firefox on Linux" }
        ])
      })))

  it.effect("LoggedIn comes after the Renewed of a session, which names both ids", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/add")
        const previous = yield* idOf(client)
        yield* client.get("/unnamed")
        const id = yield* idOf(client)
        yield* settled
        assert.deepStrictEqual(told(events), [
          { _tag: "Created", id: previous },
          { _tag: "Renewed", id, previous, subject: "ann" },
          { _tag: "LoggedIn", id, subject: "ann" }
        ])
      })))

  it.effect("a renewal alone is no login, nor is an update after one", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/login")
        const previous = yield* idOf(client)
        yield* client.get("/add")
        yield* client.get("/renew")
        yield* settled
        assert.deepStrictEqual(told(events).slice(2), [
          { _tag: "Renewed", id: yield* idOf(client), previous, subject: "ann" }
        ])
      })))

  for (const [name, store] of [["in memory", memory], ["of text", text(new Map())], ["sealed", sealed()]] as const) {
    it.effect(`Destroyed, in a store ${name}`, () =>
      recording(store, ({ client, events }) =>
        Effect.gen(function*() {
          yield* client.get("/login")
          yield* client.get("/logout")
          yield* settled
          const [created] = events
          assert.deepStrictEqual(told(events).slice(2), [{ _tag: "Destroyed", id: created?.id, subject: "ann" }])
        })))

    it.effect(`Expired, in a store ${name}, and then Rejected`, () =>
      recording(store, ({ client, controls, events }) =>
        Effect.gen(function*() {
          yield* client.get("/login")
          const token = yield* tokenOf(client)
          yield* settled
          const [created] = events.splice(0)
          yield* TestClock.adjust(hour + 1000)
          yield* client.get("/read", cookie(token))
          yield* settled
          const [expired, ...rejected] = told(events)
          assert.deepStrictEqual(
            name === "sealed" ? rejected[0] : expired,
            { _tag: "Expired", id: created?.id, subject: "ann", endedAt: hour }
          )
          assert.deepStrictEqual((yield* controls.methods).slice(-1), ["load"])
          assert.deepStrictEqual(
            name === "sealed" ? [expired, rejected[1]] : rejected,
            name === "sealed"
              ? [{ _tag: "Rejected", reason: "expired" }, { _tag: "Rejected", reason: "unknown" }]
              : [{ _tag: "Rejected", reason: "unknown", id: created?.id }]
          )
        })))
  }

  it.effect("Expired is told once where the session expires while a request has it", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/add")
        yield* settled
        const [created] = events.splice(0)
        const reloading = yield* testing.client(HttpMiddleware.session(
          answering(Session.get.pipe(
            Effect.zipRight(TestClock.adjust(hour + 1000)),
            Effect.zipRight(Effect.flip(Session.reload)),
            Effect.zipRight(Effect.flip(Session.reload))
          ))
        ))
        const answer = yield* reloading.get("/", cookie(yield* tokenOf(client)))
        assert.strictEqual(answer.status, 200)
        yield* settled
        assert.deepStrictEqual(told(events), [{ _tag: "Expired", id: created?.id, endedAt: hour }])
        assert.strictEqual(events[0]?.at, hour + 1000)
      })))

  it.effect("Expired is told once where the token is given by hand", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/add")
        yield* settled
        const [created] = events.splice(0)
        const token = SessionToken.fromString(yield* tokenOf(client))
        yield* TestClock.adjust(hour + 1000)
        yield* Effect.flip(Session.withToken(token)(Session.get))
        yield* settled
        assert.deepStrictEqual(told(events), [{ _tag: "Expired", id: created?.id, endedAt: hour }])
      })))

  it.effect("Revoked: one for each session that ended, with the subject where it is known", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        const clients = [client, yield* client.other(), yield* client.other()]
        const ids = yield* Effect.forEach(clients, (client) => Effect.zipRight(client.get("/login"), idOf(client)))
        yield* settled
        events.splice(0)
        assert.isTrue(yield* Sessions.revoke(ids[0]!))
        assert.isFalse(yield* Sessions.revoke(ids[0]!))
        assert.strictEqual(yield* Sessions.revokeAll("ann"), 2)
        yield* settled
        const [one, ...others] = told(events)
        assert.deepStrictEqual(one, { _tag: "Revoked", id: ids[0]! })
        assert.sameDeepMembers(others, [
          { _tag: "Revoked", id: ids[1]!, subject: "ann" },
          { _tag: "Revoked", id: ids[2]!, subject: "ann" }
        ])
      })))

  it.effect("Revoked names the session that ended, also where an old id was given", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/login")
        const old = yield* idOf(client)
        yield* client.get("/renew")
        yield* settled
        events.splice(0)
        assert.isTrue(yield* Sessions.revoke(old))
        yield* settled
        assert.deepStrictEqual(told(events), [{ _tag: "Revoked", id: yield* idOf(client) }])
      })))

  it.effect("Rejected: malformed, unknown, superseded", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/add")
        const old = yield* tokenOf(client)
        const id = yield* idOf(client)
        yield* client.get("/renew")
        yield* settled
        events.splice(0)
        const guess = "A".repeat(43)
        for (const token of ["none", guess, old]) {
          yield* client.get("/read", cookie(token))
        }
        yield* settled
        assert.deepStrictEqual(told(events), [
          { _tag: "Rejected", reason: "malformed" },
          { _tag: "Rejected", reason: "unknown", id: yield* SessionToken.toId(SessionToken.fromString(guess)) },
          { _tag: "Rejected", reason: "superseded", id }
        ])
      })))

  it.effect("Rejected: unknown key and tampered, without an id", () =>
    recording(sealed(), ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/add")
        const token = yield* tokenOf(client)
        yield* settled
        events.splice(0)
        const flipped = Buffer.from(token, "base64url")
        flipped[40]! ^= 1
        yield* client.get("/read", cookie(flipped.toString("base64url")))
        const other = yield* testing.client(HttpMiddleware.session(app)).pipe(
          Effect.provide(
            Layer.merge(Layer.orDie(CookieState.layer()), sealed([Redacted.make(randomBytes(32).toString("hex"))]))
          )
        )
        yield* other.get("/read", cookie(token))
        yield* settled
        assert.deepStrictEqual(told(events), [
          { _tag: "Rejected", reason: "tampered" },
          { _tag: "Rejected", reason: "unknown" },
          { _tag: "Rejected", reason: "unknown key" },
          { _tag: "Rejected", reason: "unknown" }
        ])
      })))

  it.effect("Rejected: undecodable", () => {
    const kept = new Map<string, string>()
    return recording(text(kept), ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/add")
        const id = yield* idOf(client)
        const [[name, value] = ["", ""]] = kept
        kept.set(name, value.replace("{", "["))
        yield* settled
        events.splice(0)
        yield* client.get("/read")
        yield* settled
        assert.deepStrictEqual(told(events), [
          { _tag: "Rejected", reason: "undecodable", id },
          { _tag: "Rejected", reason: "unknown", id }
        ])
      }))
  })

  it.effect("Rejected: invalid field, with its key", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/garbage")
        yield* settled
        events.splice(0)
        yield* client.get("/name")
        yield* settled
        assert.deepStrictEqual(told(events), [
          { _tag: "Rejected", reason: "invalid field", field: "name", id: yield* idOf(client) }
        ])
      })))

  it.effect("Rejected: cross-site", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        const answer = yield* client.post("/change", { headers: { "sec-fetch-site": "cross-site" } })
        assert.strictEqual(answer.status, 403)
        yield* settled
        assert.deepStrictEqual(told(events), [{ _tag: "Rejected", reason: "cross-site" }])
      })))

  it.effect("Conflict", () =>
    recording(memory, ({ client, controls, events }) =>
      Effect.gen(function*() {
        yield* client.get("/login")
        const slow = yield* elsewhere(server)
        const held = yield* controls.hold("update")
        const request = yield* Effect.fork(slow.get("/add", cookie(yield* tokenOf(client))))
        yield* held.arrived
        yield* client.get("/add")
        yield* held.release
        assert.strictEqual((yield* Fiber.join(request)).status, 200)
        yield* settled
        assert.deepStrictEqual(told(events).slice(2), [{ _tag: "Conflict", id: yield* idOf(client), subject: "ann" }])
      })))

  it.effect("Gone", () =>
    recording(memory, ({ client, controls, events }) =>
      Effect.gen(function*() {
        yield* client.get("/login")
        const id = yield* idOf(client)
        const slow = yield* elsewhere(server)
        const held = yield* controls.hold("update")
        const request = yield* Effect.fork(slow.get("/add", cookie(yield* tokenOf(client))))
        yield* held.arrived
        yield* client.get("/logout")
        yield* held.release
        assert.strictEqual((yield* Fiber.join(request)).status, 200)
        yield* settled
        assert.deepStrictEqual(told(events).slice(2), [
          { _tag: "Destroyed", id, subject: "ann" },
          { _tag: "Gone", id, subject: "ann" }
        ])
      })))

  it.effect("Gone, where the token was superseded before the request came", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/add")
        const token = yield* tokenOf(client)
        const id = yield* idOf(client)
        yield* client.get("/logout")
        yield* settled
        events.splice(0)
        yield* client.get("/add", cookie(token))
        yield* settled
        assert.deepStrictEqual(told(events), [
          { _tag: "Rejected", reason: "superseded", id },
          { _tag: "Gone", id }
        ])
      })))

  it.effect("Unsaved", () =>
    recording(memory, ({ client, events }) =>
      Effect.gen(function*() {
        yield* client.get("/login")
        const id = yield* idOf(client)
        yield* settled
        events.splice(0)
        yield* Effect.flatMap(client.get("/late"), ({ text }) => text)
        yield* settled
        assert.deepStrictEqual(told(events), [{ _tag: "Unsaved", id, subject: "ann" }])
      })))

  it.effect("StoreFailed: with the session where it was loaded, without where it could not be", () =>
    recording(memory, ({ client, controls, events }) =>
      Effect.gen(function*() {
        yield* client.get("/login")
        const id = yield* idOf(client)
        yield* settled
        events.splice(0)
        const error = new Store.StoreError({ reason: "Contention", method: "TestStore.update" })
        yield* controls.fail("load")
        yield* client.get("/add")
        yield* controls.fail("update", { error })
        yield* client.get("/add")
        yield* settled
        assert.deepStrictEqual(told(events), [
          { _tag: "StoreFailed", method: "testing.load", reason: "Unavailable" },
          { _tag: "StoreFailed", method: "TestStore.update", reason: "Contention", id, subject: "ann" }
        ])
      })))
})

describe("the metrics", () => {
  it.effect("count logged_in, revoked and expired as well", () =>
    recording(memory, ({ client }) =>
      Effect.gen(function*() {
        const rising = (event: string, effect: Effect.Effect<unknown, unknown, Services>) =>
          Effect.map(fixture.rising("events", event, Effect.orDie(effect)), ([_, by]) => by)
        assert.strictEqual(yield* rising("logged_in", client.get("/login")), 1)
        assert.strictEqual(yield* rising("renewed", client.get("/login")), 1)
        assert.strictEqual(yield* rising("revoked", Sessions.revokeAll("ann")), 1)
        yield* client.clear
        yield* client.get("/add")
        const token = yield* tokenOf(client)
        yield* TestClock.adjust(hour + 1000)
        assert.strictEqual(yield* rising("expired", client.get("/read", cookie(token))), 1)
      })))
})

/** A client whose events go to a handler. */
const handledBy = (handler: SessionEvents.Handler) =>
  Effect.provide(testing.client(server), SessionEvents.layer(handler))

const services = Layer.merge(Layer.orDie(CookieState.layer()), testing.controlled(memory))

const warnings = (lines: ReadonlyArray<fixture.Line>) => lines.filter(({ level }) => level === "WARN")

/** What a request is in, and what it sees otherwise than the layer of the handler. */
class Transaction extends Context.Tag("test/Transaction")<Transaction, string>() {}
class Audit extends Context.Tag("test/Audit")<Audit, string>() {}

class Admin extends Session.Tag<Admin>()("admin") {}

const refused = (client: testing.Client) => client.post("/change", { headers: { "sec-fetch-site": "cross-site" } })

describe("a handler", () => {
  const wrong: ReadonlyArray<readonly [string, SessionEvents.Handler]> = [
    ["fails", () => Effect.fail(new Error("the audit log is full"))],
    ["dies", () => Effect.die(new Error("the audit log is full"))],
    ["throws", () => {
      throw new Error("the audit log is full")
    }]
  ]

  for (const [name, handler] of wrong) {
    it.effect(`that ${name} holds up nothing, and is warned of once for each kind of event`, () =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const client = yield* handledBy(handler)
          for (const path of ["/login", "/login", "/add", "/login", "/logout"]) {
            assert.strictEqual((yield* client.get(path)).status, 200)
          }
          yield* settled
          const said = warnings(lines).map(({ message }) => message)
          assert.deepStrictEqual(
            said.map((line) => /event (\w+)/.exec(line)?.[1]),
            ["Created", "LoggedIn", "Renewed", "Destroyed"]
          )
          assert.match(said[0] ?? "", /^SessionEvents: The handler failed .*Error: the audit log is full/)
          const tokens = yield* tokensOf(yield* testing.Controls)
          tokens.forEach((token) => assert.notInclude(JSON.stringify(lines), token))
        }).pipe(Effect.provide(services))
      ))
  }

  it.effect("that hangs holds up nothing; events beyond its limit are dropped, and one warning says so", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        let gate = yield* Deferred.make<void>()
        let begun = 0
        const client = yield* handledBy(() =>
          Effect.suspend(() => {
            begun++
            return Deferred.await(gate)
          })
        )
        yield* Effect.forEach(Array.from({ length: 1100 }), () => refused(client), { concurrency: 50 })
        yield* settled
        assert.strictEqual(begun, 1000)
        const [warning, ...others] = warnings(lines)
        assert.match(
          warning?.message ?? "",
          /^SessionEvents: The handler has 1000 events under way. Further events are/
        )
        assert.deepStrictEqual(others, [])
        assert.strictEqual((yield* client.get("/login")).status, 200)

        yield* Deferred.succeed(gate, undefined)
        yield* settled
        yield* refused(client)
        yield* settled
        assert.strictEqual(begun, 1001)

        gate = yield* Deferred.make<void>()
        yield* Effect.forEach(Array.from({ length: 1001 }), () => refused(client), { concurrency: 50 })
        yield* settled
        assert.lengthOf(warnings(lines), 2)
        yield* Deferred.succeed(gate, undefined)
      }).pipe(Effect.provide(services))
    ))

  it.effect("is given the events in order", () =>
    Effect.gen(function*() {
      const tags: Array<string> = []
      const client = yield* handledBy((event) => Effect.sync(() => tags.push(event._tag)))
      yield* client.get("/login")
      yield* client.get("/login")
      yield* client.get("/logout")
      yield* settled
      assert.deepStrictEqual(tags, ["Created", "LoggedIn", "Renewed", "LoggedIn", "Destroyed"])
    }).pipe(Effect.provide(services)))

  it.effect("has the request, its sessions, its span and its fiber refs, and of services else its layer's alone", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const has = <I, S>(tag: Context.Tag<I, S>) => Effect.map(Effect.serviceOption(tag), Option.isSome)
        const client = yield* Effect.provide(
          testing.client(
            HttpMiddleware.session(
              app.pipe(
                Effect.annotateLogs("request", 7),
                Effect.provideService(Transaction, "the request's"),
                Effect.provideService(Audit, "the request's"),
                Effect.provideService(Admin, yield* Ref.make({})),
                Effect.withSpan("request")
              )
            )
          ),
          Layer.provide(
            SessionEvents.layer((event) =>
              Effect.gen(function*() {
                const request = yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest)
                yield* Effect.logWarning(event._tag, Option.map(request, ({ url }) => url), yield* Audit)
                assert.isTrue(yield* has(Session.Session))
                assert.isTrue(yield* has(Admin))
                assert.isTrue(yield* has(Tracer.ParentSpan))
                assert.isFalse(yield* has(Transaction))
              })
            ),
            Layer.succeed(Audit, "the layer's")
          )
        )
        yield* client.get("/committed")
        yield* settled
        const [line, ...others] = warnings(lines)
        assert.match(line?.message ?? "", /^Created .*\/committed.* the layer's/s)
        assert.deepStrictEqual(line?.annotations, { request: 7 })
        assert.deepStrictEqual(others, [])
      }).pipe(Effect.provide(services))
    ))

  it.effect("S71: counts unknown and malformed tokens for each client, by the address that the app trusts", () =>
    Effect.gen(function*() {
      const refused = new Map<string, number>()
      const counting = SessionEvents.layer((event) =>
        event._tag === "Rejected" && (event.reason === "unknown" || event.reason === "malformed")
          ? Effect.map(Effect.serviceOption(HttpServerRequest.HttpServerRequest), (request) => {
            const address = Option.match(request, {
              onNone: () => "unknown",
              onSome: ({ headers }) => headers["x-client-address"] ?? "unknown"
            })
            refused.set(address, (refused.get(address) ?? 0) + 1)
          })
          : Effect.void
      )
      const client = yield* Effect.provide(testing.client(HttpMiddleware.session(app)), counting)
      const from = (address: string, token: string) =>
        client.get("/committed", { cookies: `__Host-session=${token}`, headers: { "x-client-address": address } })
      yield* from("192.0.2.1", "A".repeat(43))
      yield* from("192.0.2.1", "made up")
      yield* from("192.0.2.2", "B".repeat(43))
      yield* client.get("/committed")
      yield* settled
      assert.deepStrictEqual([...refused], [["192.0.2.1", 2], ["192.0.2.2", 1]])
    }).pipe(Effect.provide(services)))

  it.effect("may use Sessions: a limit of parallel sessions", () =>
    Effect.gen(function*() {
      const tags: Array<string> = []
      const client = yield* Effect.provide(
        testing.client(server),
        SessionEvents.layer((event) => {
          tags.push(event._tag)
          return event._tag === "LoggedIn" ? Effect.asVoid(Sessions.keepNewest(event.subject, 1)) : Effect.void
        })
      )
      const clients = [client, yield* client.other(), yield* client.other()]
      for (const each of clients) {
        yield* TestClock.adjust("1 minute")
        yield* each.get("/login")
        yield* settled
      }
      const left = yield* Stream.runCollect(Sessions.list("ann"))
      assert.deepStrictEqual(Array.from(left, ({ id }) => id), [yield* idOf(clients[2]!)])
      assert.deepStrictEqual(tags, [
        "Created",
        "LoggedIn",
        "Created",
        "LoggedIn",
        "Revoked",
        "Created",
        "LoggedIn",
        "Revoked"
      ])
    }).pipe(Effect.provide(services)))

  it.effect("may use the request's own session, while a commit of it is under way", () => {
    const methods: Array<Store.Method> = []
    // it answers at once, so that nothing but the library itself comes between
    const store = Layer.map(memory, (context) =>
      Context.add(
        context,
        Store.Store,
        Store.around(Context.get(context, Store.Store), ({ method }, run) => {
          methods.push(method)
          return run()
        })
      ))
    return Effect.gen(function*() {
      const gate = yield* Deferred.make<Exit.Exit<void, unknown>>()
      const inHandler = Effect.flatMap(
        Effect.serviceOption(Session.Session),
        Option.match({
          onNone: () => Effect.dieMessage("there is no session"),
          onSome: (session) =>
            Effect.provideService(Effect.zipRight(increment, Session.commit), Session.Session, session)
        })
      )
      const client = yield* Effect.provide(
        testing.client(HttpMiddleware.session(answering(
          Effect.zipRight(Effect.zipRight(increment, Session.commit), Effect.zipRight(Deferred.await(gate), increment))
        ))),
        SessionEvents.layer((event) =>
          event._tag === "Created"
            ? Effect.asVoid(Effect.flatMap(Effect.exit(inHandler), (exit) => Deferred.succeed(gate, exit)))
            : Effect.void
        )
      )
      const answer = yield* client.get("/")
      assert.strictEqual(yield* answer.text, "3")
      assert.strictEqual((yield* Deferred.await(gate))._tag, "Success")
      assert.deepStrictEqual(methods, ["create", "update", "update"])
    }).pipe(Effect.provide(Layer.merge(Layer.orDie(CookieState.layer()), store)))
  })

  it.scoped("of a middleware that is a layer is that of the layer, for what the store tells as well", () =>
    Effect.gen(function*() {
      const kept = new Map<string, string>()
      const tags: Array<string> = []
      const routes = Layer.provide(
        HttpLayerRouter.add("GET", "/add", answering(increment)),
        SessionRouter.layer.pipe(
          Layer.provide(SessionEvents.layer((event) => Effect.sync(() => tags.push(event._tag)))),
          Layer.provide(Layer.merge(Layer.orDie(CookieState.layer()), text(kept)))
        )
      )
      const client = yield* testing.client(yield* HttpLayerRouter.toHttpEffect(routes))
      yield* client.get("/add")
      const [[name, value] = ["", ""]] = kept
      kept.set(name, value.replace("{", "["))
      yield* client.get("/add")
      yield* settled
      assert.deepStrictEqual(tags, ["Created", "Rejected", "Rejected", "Created"])
    }).pipe(fixture.quietly))
})

for (const database of [sql.sqlite, sql.postgres]) {
  describe.skipIf(database.missing !== undefined)(
    sql.title("S69: a handler of an event in a transaction of the app's own", database),
    () => {
      /** A login in a transaction, whose handler writes a line; what the app does with both, and the lines that are left. */
      const lines = (
        run: (told: {
          readonly client: SqlClient.SqlClient
          readonly login: Effect.Effect<void, unknown, Session.Session>
          readonly go: Effect.Effect<unknown>
        }) => Effect.Effect<void, unknown, Session.Session>
      ) =>
        Effect.gen(function*() {
          const gate = yield* Deferred.make<void>()
          const written = yield* Deferred.make<void>()
          const client = yield* SqlClient.SqlClient
          yield* client`CREATE TABLE audit (what TEXT)`
          const audit = SessionEvents.layer(({ _tag }) =>
            _tag === "LoggedIn"
              ? Deferred.await(gate).pipe(
                Effect.zipRight(client`INSERT INTO audit (what) VALUES (${_tag})`),
                Effect.ensuring(Deferred.succeed(written, undefined))
              )
              : Effect.void
          )
          const app = run({
            client,
            login: Effect.zipRight(Session.login("ann"), Session.commit),
            go: Deferred.succeed(gate, undefined)
          })
          const browser = yield* Effect.provide(
            testing.client(HttpMiddleware.session(Effect.as(Effect.orDie(app), fixture.done))),
            audit
          )
          assert.strictEqual((yield* browser.get("/")).status, 200)
          yield* Deferred.await(written)
          return yield* client<{ readonly what: string }>`SELECT what FROM audit`
        }).pipe(
          Effect.provide(
            Layer.merge(SqlStore.layer().pipe(Layer.provide(SqlStore.layerMigrations())), CookieState.layer()).pipe(
              Layer.provideMerge(database.client)
            )
          )
        )

      const failed = Effect.fail("rolled back")

      it.scopedLive("keeps what it wrote, though the transaction was rolled back", () =>
        Effect.gen(function*() {
          const found = yield* lines(({ client, go, login }) =>
            Effect.ignore(
              client.withTransaction(login.pipe(Effect.zipRight(go), Effect.zipRight(settled), Effect.zipRight(failed)))
            )
          )
          assert.deepStrictEqual(found, [{ what: "LoggedIn" }])
        }))

      it.scopedLive("does not write into the next transaction on the same connection", () =>
        Effect.gen(function*() {
          const found = yield* lines(({ client, go, login }) =>
            Effect.zipRight(
              client.withTransaction(login),
              Effect.ignore(client.withTransaction(go.pipe(Effect.zipRight(settled), Effect.zipRight(failed))))
            )
          )
          assert.deepStrictEqual(found, [{ what: "LoggedIn" }])
        }))
    }
  )
}

/** Counts the fibers that are started. */
class Fibers extends Supervisor.AbstractSupervisor<number> {
  count = 0
  override value = Effect.sync(() => this.count)
  override onStart(): void {
    this.count += 1
  }
}

describe("without a handler", () => {
  it.effect("no fiber is started", () =>
    Effect.gen(function*() {
      const fibersOf = (layer: Layer.Layer<never>) =>
        Effect.gen(function*() {
          const fibers = new Fibers()
          const client = yield* Effect.supervised(Effect.provide(testing.client(server), layer), fibers)
          yield* client.get("/login")
          yield* settled
          return fibers.count
        }).pipe(Effect.provide(services))
      const without = yield* fibersOf(Layer.empty)
      assert.isAtLeast(without, 1)
      // Created and LoggedIn
      assert.strictEqual(yield* fibersOf(SessionEvents.layer(() => Effect.void)), without + 2)
    }))
})

/** Compiles as long as every kind of event is named. */
const describeEvent = (event: SessionEvents.Event): string => {
  switch (event._tag) {
    case "Created":
    case "Destroyed":
    case "Revoked":
    case "Conflict":
      return event.id
    case "LoggedIn":
      return event.subject
    case "Renewed":
      return event.previous
    case "Expired":
      return String(event.endedAt)
    case "Rejected":
      return event.reason
    case "Gone":
    case "Unsaved":
      return event.id ?? ""
    case "StoreFailed":
      return event.method
    default:
      return event satisfies never
  }
}

it("a switch over _tag is exhaustive", () => {
  assert.strictEqual(describeEvent({ _tag: "Rejected", at: 0, reason: "malformed" }), "malformed")
})
