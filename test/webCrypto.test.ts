/**
 * What the core does on a runtime without Node's crypto, such as a browser's or a bare edge worker: WebCrypto hashes and
 * signs by promise, and nothing else changes.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, Session, SessionToken } from "effect-session"
import * as StateLawsSuite from "effect-session/StateLawsSuite"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import * as testing from "effect-session/testing"
import { createHash } from "node:crypto"
import { vi } from "vitest"
import * as fixture from "./fixtures/http.js"

vi.hoisted(() => {
  Object.defineProperty(process, "getBuiltinModule", { value: undefined })
})

StoreLawsSuite.suite("MemoryStore", { layer: MemoryStore.layer(), clock: "test", thoroughness: 0.2 })

StateLawsSuite.suite("CookieState, signed", {
  layer: CookieState.layer({ name: "connect.sid", signed: { secrets: Redacted.make("secret") } })
})

describe("without Node's crypto", () => {
  it.effect("the id is the same SHA-256, known once it was asked for", () =>
    Effect.gen(function*() {
      const token = SessionToken.fromString("A".repeat(43))
      assert.isUndefined(SessionToken.unsafeToId(token))
      const id = yield* SessionToken.toId(token)
      assert.strictEqual(id, createHash("sha256").update("A".repeat(43)).digest("base64url"))
      assert.strictEqual(SessionToken.unsafeToId(token), id)
    }))

  it.effect("S13 S15: a session is begun, read, renewed and destroyed", () =>
    Effect.gen(function*() {
      const client = yield* testing.client(HttpMiddleware.session(fixture.routes({
        "/add": fixture.answering(fixture.increment),
        "/renew": Effect.zipRight(Session.renew, fixture.done),
        "/destroy": Effect.zipRight(Session.destroy, fixture.done)
      })))
      const texts = Effect.forEach(["/add", "/add", "/renew", "/add", "/destroy", "/add"], (path) =>
        Effect.flatMap(client.get(path), ({ text }) => text))
      assert.deepStrictEqual(yield* texts, ["1", "2", "done", "3", "done", "1"])
    }).pipe(Effect.provide(Layer.merge(CookieState.layer(), MemoryStore.layer()))))
})
