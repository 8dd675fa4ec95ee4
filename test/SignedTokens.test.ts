import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, FastCheck as fc, Layer, Redacted } from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import type * as SessionRecord from "effect-session/SessionRecord"
import * as SessionToken from "effect-session/SessionToken"
import * as SignedTokens from "effect-session/SignedTokens"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import { createHash, createHmac } from "node:crypto"
import { node } from "../src/internal/crypto/node.js"

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()
const keyA = digest("key a")
const keyB = digest("key b")
const redacted = (key: Buffer): Redacted.Redacted<string> => Redacted.make(key.toString("base64"))

const draw = Effect.map(SessionToken.Generator, (generator) => SessionToken.draw(generator))
const sent = (token: SessionToken.Token, change: (text: string) => string = (text) => text): SessionToken.Token =>
  SessionToken.fromString(change(Redacted.value(token)))

/** A store in memory that writes down the tokens it was asked for. */
const watched = Effect.gen(function*() {
  const memory = Context.get(yield* Layer.build(MemoryStore.layer()), Store.Store)
  const asked: Array<string> = []
  const note = <A>(token: SessionToken.Token, call: A): A => {
    asked.push(Redacted.value(token))
    return call
  }
  const store = Store.make({
    accepts: memory.accepts,
    load: (token) => note(token, memory.load(token)),
    create: (token, record) => note(token, memory.create(token, record)),
    update: (token, revision, record) => note(token, memory.update(token, revision, record)),
    renew: (token, revision, next, record) => note(token, memory.renew(token, revision, next, record)),
    touch: (token, revision, deadline) => note(token, memory.touch(token, revision, deadline)),
    remove: (token) => note(token, memory.remove(token))
  })
  const signed = (...keys: ReadonlyArray<Buffer>) => SignedTokens.make(store, { keys: keys.map(redacted) })
  return { asked, memory, signed }
})

const create = (store: Store.Store, fields: Partial<SessionRecord.SessionRecord> = {}) =>
  Effect.gen(function*() {
    const drawn = yield* draw
    const answer = yield* store.create(drawn, testing.record(fields))
    assert.strictEqual(answer._tag, "Created")
    return { drawn, token: answer._tag === "Created" ? answer.token : drawn }
  })

const tokenOf = (answer: Store.Updated | Store.Touched): SessionToken.Token => {
  if ("token" in answer) {
    return answer.token
  }
  throw new Error(`no token: ${answer._tag}`)
}

describe("SignedTokens", () => {
  it.scoped("a token is the drawn one, a dot and 192 bits of HMAC-SHA256 over a label and it", () =>
    Effect.gen(function*() {
      const { signed } = yield* watched
      const { drawn, token } = yield* create(yield* signed(keyA))
      const text = Redacted.value(drawn)
      const mac = createHmac("sha256", keyA).update(`effect-session/signed/1\0${text}`).digest().subarray(0, 24)
      assert.strictEqual(Redacted.value(token), `${text}.${mac.toString("base64url")}`)
    }))

  it.scoped("S06: the store keys by the drawn token, and the public id is its hash, in every answer", () =>
    Effect.gen(function*() {
      const { asked, signed } = yield* watched
      const store = yield* signed(keyA)
      const { drawn, token } = yield* create(store, { data: { n: 1 } })
      const id = yield* SessionToken.toId(drawn)
      const loaded = yield* store.load(sent(token))
      assert.strictEqual(loaded._tag === "Live" && loaded.record.id, id)
      const revision = loaded._tag === "Live" ? loaded.record.revision : 0
      const conflict = yield* store.update(sent(token), revision + 5, testing.record())
      assert.strictEqual(conflict._tag === "Conflict" && conflict.record.id, id)
      assert.deepStrictEqual(new Set(asked), new Set([Redacted.value(drawn)]))
    }))

  it.scoped("S03: what a client made up, or changed in one bit, costs the store no call", () =>
    Effect.gen(function*() {
      const { asked, memory, signed } = yield* watched
      const store = yield* signed(keyA)
      const { drawn, token } = yield* create(store)
      const other = yield* create(yield* signed(keyB))
      asked.length = 0
      const good = Redacted.value(token)
      const text = Redacted.value(drawn)
      const made = Redacted.value(yield* draw)
      const bad = [
        text,
        `${text}.`,
        `.${good}`,
        `${good}A`,
        `${good}\n`,
        good.slice(0, -1),
        good.slice(0, -10),
        `${made}${good.slice(43)}`,
        `${text}.${Buffer.alloc(24).toString("base64url")}`,
        `${good.slice(0, -1)}\u0141`,
        `${good.slice(0, 44)}${"\u0101".repeat(32)}`,
        `${good.slice(0, 44)}${"\u0101".repeat(16)}`,
        Redacted.value(other.token),
        "garbage",
        "a.b",
        "."
      ]
      for (let bit = 0; bit < good.length * 8; bit++) {
        const bytes = Buffer.from(good)
        bytes[bit >> 3]! ^= 1 << (bit & 7)
        bad.push(bytes.toString("latin1"))
      }
      for (const text of bad) {
        const forged = SessionToken.fromString(text)
        assert.isFalse(store.accepts(forged), JSON.stringify(text))
        assert.deepStrictEqual(yield* store.load(forged), Store.none)
        assert.strictEqual((yield* store.update(forged, 1, testing.record()))._tag, "Gone")
        assert.strictEqual((yield* store.renew(forged, 1, yield* draw, testing.record()))._tag, "Gone")
        assert.strictEqual((yield* store.touch(forged, 1, 9e12))._tag, "Gone")
        yield* store.remove(forged)
      }
      assert.deepStrictEqual(asked, [])
      assert.strictEqual((yield* memory.load(drawn))._tag, "Live")
      assert.isTrue(store.accepts(sent(token)))
    }))

  it.scoped.prop(
    "S03: any text at all is refused without an exception",
    [fc.string({ unit: "binary" })],
    ([text]) =>
      Effect.gen(function*() {
        const { signed } = yield* watched
        const store = yield* signed(keyA, keyB)
        assert.isFalse(store.accepts(SessionToken.fromString(text)))
      })
  )

  it.scoped("S58: one constant-time comparison decides, unequal lengths included", () =>
    Effect.gen(function*() {
      const { signed } = yield* watched
      const compared: Array<readonly [number, number]> = []
      const crypto = node!.crypto as { timingSafeEqual: (a: Uint8Array, b: Uint8Array) => boolean }
      const original = crypto.timingSafeEqual
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          crypto.timingSafeEqual = (a, b) => {
            compared.push([a.length, b.length])
            return original(a, b)
          }
        }),
        () => Effect.sync(() => void (crypto.timingSafeEqual = original))
      )
      const store = yield* signed(keyA)
      const { token } = yield* create(store)
      const last = (text: string) => text.slice(0, -1) + (text.endsWith("A") ? "B" : "A")
      const first = (text: string) => text.slice(0, 44) + (text[44] === "A" ? "B" : "A") + text.slice(45)
      const wider = (text: string) => text.slice(0, -1) + "\u0141"
      for (const change of [(text: string) => text, last, first, wider]) {
        store.accepts(sent(token, change))
      }
      assert.deepStrictEqual(compared, [[32, 32], [32, 32], [32, 32], [32, 32]])
    }))

  it.scoped("S59: the first key signs, all verify, and a write or touch signs anew", () =>
    Effect.gen(function*() {
      const { signed } = yield* watched
      const before = yield* signed(keyA)
      const during = yield* signed(keyB, keyA)
      const after = yield* signed(keyB)
      const { token } = yield* create(before, { revision: 1 })
      assert.isTrue(during.accepts(sent(token)))
      assert.isFalse(after.accepts(sent(token)))

      const touched = tokenOf(yield* during.touch(sent(token), 1, 7_200_000))
      assert.isTrue(after.accepts(sent(touched)))
      const updated = tokenOf(yield* during.update(sent(token), 1, testing.record()))
      assert.isTrue(after.accepts(sent(updated)))

      // what is signed by the first key already stays the very token
      const same = sent(updated)
      assert.strictEqual(tokenOf(yield* during.touch(same, 2, 7_300_000)), same)
      assert.strictEqual(tokenOf(yield* during.update(same, 2, testing.record())), same)
    }))

  it.scoped("S11: a renewal is signed, and ends the old token", () =>
    Effect.gen(function*() {
      const { signed } = yield* watched
      const store = yield* signed(keyA)
      const { token } = yield* create(store, { revision: 1 })
      const next = yield* draw
      const renewed = tokenOf(yield* store.renew(sent(token), 1, next, testing.record({ data: { user: "ann" } })))
      assert.strictEqual(Redacted.value(renewed).slice(0, 43), Redacted.value(next))
      const loaded = yield* store.load(sent(renewed))
      assert.strictEqual(loaded._tag === "Live" && loaded.record.id, yield* SessionToken.toId(next))
      assert.deepStrictEqual(yield* store.load(sent(token)), Store.superseded)
    }))

  it.effect("a short or guessable key is refused when the layer is built, with the command for a good one", () =>
    Effect.gen(function*() {
      for (const key of ["", "secret", "deadbeef".repeat(8)]) {
        const layer = MemoryStore.layer().pipe(SignedTokens.layer({ keys: [Redacted.make(key)] }))
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.include(String(error), "SignedTokens")
        assert.include(String(error), "openssl rand -base64 32")
      }
    }))

  it.scoped("layer keeps what else the wrapped layer gives; layerConfig reads the keys", () =>
    Effect.gen(function*() {
      class Other extends Context.Tag("Other")<Other, number>() {}
      const layer = Layer.merge(MemoryStore.layer(), Layer.succeed(Other, 7)).pipe(
        SignedTokens.layerConfig({ keys: Config.array(Config.redacted(), "SESSION_KEYS") }),
        Layer.provide(Layer.setConfigProvider(
          ConfigProvider.fromMap(new Map([["SESSION_KEYS", keyA.toString("hex")]]))
        ))
      )
      const context = yield* Layer.build(layer)
      assert.strictEqual(Context.get(context, Other), 7)
      const { token } = yield* create(Context.get(context, Store.Store))
      assert.strictEqual(Redacted.value(token).length, 76)
    }))
})
