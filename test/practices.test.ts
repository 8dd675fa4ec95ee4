/**
 * What `docs/login.md` says that an app does for itself with a few lines, tried as it is written there.
 */
import type { HttpApp } from "@effect/platform"
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Option, Schema, TestClock } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionField, Sessions } from "effect-session"
import * as testing from "effect-session/testing"
import { logged } from "./fixtures/http.js"

const layers = Layer.orDie(Layer.merge(CookieState.layer(), MemoryStore.layer()))

const text = (client: testing.Client, path: string) => Effect.flatMap(client.get(path), ({ text }) => text)

const who = Effect.map(Session.subject, (subject) => HttpServerResponse.text(Option.getOrElse(subject, () => "nobody")))

describe("renewal on a schedule", () => {
  const RenewedAt = SessionField.make("renewedAt", Schema.Number)

  /** Gives a session that is a quarter of an hour old, or was not renewed for as long, a new token. */
  const renewing = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R | Session.Session> =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const { createdAt } = yield* Session.info
      const since = Option.orElse(yield* SessionField.option(RenewedAt), () => createdAt)
      if (Option.isSome(since) && now - since.value >= 900_000) {
        yield* SessionField.set(RenewedAt, now)
        yield* Session.renew
      }
      return yield* app
    })

  it.scoped("S14: the token changes after its time, the old one ends at once, and the session goes on", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(renewing(who)))
      yield* client.login("ann")
      const first = yield* client.cookie("__Host-session")
      yield* TestClock.adjust("14 minutes")
      assert.strictEqual(yield* text(client, "/"), "ann")
      assert.deepStrictEqual(yield* client.cookie("__Host-session"), first)
      const thief = yield* client.other({ jar: "copy" })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* text(client, "/"), "ann")
      assert.notDeepEqual(yield* client.cookie("__Host-session"), first)
      assert.strictEqual(yield* text(thief, "/"), "nobody")
      const second = yield* client.cookie("__Host-session")
      yield* TestClock.adjust("14 minutes")
      assert.strictEqual(yield* text(client, "/"), "ann")
      assert.deepStrictEqual(yield* client.cookie("__Host-session"), second)
    }).pipe(Effect.provide(layers)))
})

describe("single sign-on", () => {
  /** The sessions of one session at the identity provider are those of a subject of its own. */
  const subjectOf = (issuer: string, sid: string) => JSON.stringify([issuer, sid])
  const issuer = "https://id.example"

  it.scoped("S34: a back-channel logout ends the sessions of one session at the provider, on all devices, and no other", () =>
    Effect.gen(function*() {
      const [phone, laptop, other] = yield* Effect.all([1, 2, 3].map(() => testing.client(HttpMiddleware.session(who))))
      if (phone === undefined || laptop === undefined || other === undefined) return assert.fail()
      yield* phone.login(subjectOf(issuer, "sid-1"))
      yield* laptop.login(subjectOf(issuer, "sid-1"))
      yield* other.login(subjectOf(issuer, "sid-2"))
      assert.strictEqual(yield* Sessions.revokeAll(subjectOf(issuer, "sid-1")), 2)
      assert.strictEqual(yield* text(phone, "/"), "nobody")
      assert.strictEqual(yield* text(laptop, "/"), "nobody")
      assert.strictEqual(yield* text(other, "/"), subjectOf(issuer, "sid-2"))
    }).pipe(Effect.provide(layers)))
})

describe("a session that is bound to its client", () => {
  const Agent = SessionField.make("agent", Schema.String)

  /** Ends a session that comes with another user agent than it began with, and says so. */
  const bound = <E, R>(app: HttpApp.Default<E, R>) =>
    Effect.gen(function*() {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const agent = headers["user-agent"] ?? ""
      const known = yield* SessionField.option(Agent)
      if (Option.isSome(known) && known.value !== agent) {
        yield* Effect.logWarning("a session came from another client")
        yield* Session.destroy
        return HttpServerResponse.empty({ status: 401 })
      }
      if (Option.isNone(known)) {
        yield* SessionField.set(Agent, agent)
      }
      return yield* app
    })

  it.scoped("S70: a change of the client is reported, and ends the session for both", () =>
    logged((lines) =>
      Effect.gen(function*() {
        const client = yield* testing.client(HttpMiddleware.session(bound(who)))
        const from = (client: testing.Client, agent: string) => client.get("/", { headers: { "user-agent": agent } })
        yield* client.login("ann")
        assert.strictEqual((yield* from(client, "Firefox")).status, 200)
        assert.strictEqual((yield* from(client, "Firefox")).status, 200)
        const thief = yield* client.other({ jar: "copy" })
        assert.strictEqual((yield* from(thief, "curl")).status, 401)
        const warnings = lines.filter(({ level }) => level === "WARN")
        assert.lengthOf(warnings, 1)
        assert.include(warnings[0]?.message, "a session came from another client")
        assert.strictEqual(yield* Effect.flatMap(from(client, "Firefox"), ({ text }) => text), "nobody")
      })
    ).pipe(Effect.provide(layers)))
})
