import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigError,
  ConfigProvider,
  Context,
  Effect,
  Exit,
  FastCheck as fc,
  Layer,
  Logger,
  Metric,
  MetricState,
  Redacted,
  TestClock
} from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import * as NullStore from "effect-session/NullStore"
import * as SealedStore from "effect-session/SealedStore"
import type * as SessionRecord from "effect-session/SessionRecord"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import { createCipheriv, createHash, randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { node } from "../src/internal/crypto/node.js"
import * as Json from "../src/internal/record/json.js"
import * as Content from "../src/internal/sealedStore/content.js"
import * as SealKeys from "../src/internal/sealedStore/masterKeys.js"
import * as Seal from "../src/internal/sealedStore/seal.js"
import * as Xaes from "../src/internal/sealedStore/xaes.js"
import { clocked } from "./support/clocked.js"
import type { Clocked, To } from "./support/clocked.js"
import * as Reference from "./vectors/webcrypto.js"

const start = 1_700_000_000_000
const hour = 3_600_000
const day = 24 * hour

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()
const keyA = digest("key a")
const keyB = digest("key b")
const redacted = (key: Buffer): Redacted.Redacted<string> => Redacted.make(key.toString("base64"))

const binding = { audience: "__Host-session", limit: 4000 }

const make = (options: SealedStore.Options, revocations?: Store.Store) =>
  Effect.map(SealedStore.make(options, revocations), clocked)

const sealed = (...keys: ReadonlyArray<Buffer>) => make({ keys: keys.map(redacted) })

const revocable = Effect.gen(function*() {
  const context = yield* Layer.build(SealedStore.layer({ keys: [redacted(keyA)], revocations: MemoryStore.layer() }))
  return clocked(Context.get(context, Store.Store))
})

const draw = Effect.map(SessionToken.Generator, (generator) => SessionToken.draw(generator))

const recordOf = (data: unknown, more: Partial<SessionRecord.SessionRecord> = {}): SessionRecord.SessionRecord => ({
  data: Json.adoptObject(data),
  revision: 0,
  createdAt: start,
  touchedAt: start,
  deadline: start + hour,
  expiresAt: start + day,
  idle: hour,
  ...more
})

/** As a browser sends it back: the same text in another object. */
const sent = (token: SessionToken.Token, change: (text: string) => string = (text) => text): SessionToken.Token =>
  SessionToken.fromString(change(Redacted.value(token)))

const create = (store: Clocked, data: unknown, more?: Partial<SessionRecord.SessionRecord>) =>
  Effect.gen(function*() {
    const drawn = yield* draw
    const answer = yield* store.create(drawn, recordOf(data, more), binding)
    assert.strictEqual(answer._tag, "Created")
    return { drawn, token: answer._tag === "Created" ? answer.token : drawn, id: yield* SessionToken.toId(drawn) }
  })

const live = (store: Clocked, token: SessionToken.Token, to: To = binding) =>
  Effect.flatMap(
    store.load(sent(token), to),
    (loaded) => loaded._tag === "Live" ? Effect.succeed(loaded.record) : Effect.dieMessage(`not live: ${loaded._tag}`)
  )

const tagOf = (store: Clocked, token: SessionToken.Token, to: To = binding) =>
  Effect.map(store.load(sent(token), to), (loaded) => loaded._tag)

const tokenOf = (answer: Store.Updated | Store.Touched): SessionToken.Token => {
  if (answer._tag === "Updated" || answer._tag === "Touched") {
    return answer.token
  }
  throw new Error(`no token: ${answer._tag}`)
}

const rejections = (reason: string) =>
  Effect.map(Metric.snapshot, (pairs) => {
    const found = pairs.find(({ metricKey }) =>
      metricKey.name === "effect_session_rejected" && metricKey.tags.some((tag) => tag.value === reason)
    )
    return found !== undefined && MetricState.isCounterState(found.metricState) ? Number(found.metricState.count) : 0
  })

/** What is counted while an effect runs. */
const counting = <A, E, R>(reason: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* rejections(reason)
    const value = yield* effect
    return { value, counted: (yield* rejections(reason)) - before }
  })

const atStart = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.zipRight(TestClock.setTime(start), effect)

/** Times and counts of every kind: usual, fractional, negative, huge, not finite. */
const numbers = fc.oneof(
  fc.nat(),
  fc.integer({ min: start - day, max: start + day }),
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(127, 128, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2)
).map((value) => value === 0 ? 0 : value)

const records: fc.Arbitrary<SessionRecord.SessionRecord> = fc.record({
  data: fc.dictionary(fc.constantFrom("a", "日", "🙂"), fc.string({ unit: "binary" })).map(Json.adoptObject),
  revision: numbers,
  createdAt: numbers,
  touchedAt: numbers,
  deadline: numbers,
  expiresAt: numbers,
  idle: numbers,
  persistent: fc.constant(true as const),
  dropOnRenew: fc.array(fc.string()),
  subject: fc.string({ unit: "grapheme" }),
  label: fc.string(),
  authenticatedAt: fc.integer()
}, { requiredKeys: ["data", "revision", "createdAt", "touchedAt", "deadline", "expiresAt", "idle"] })

describe("SealedStore", () => {
  describe("operations", () => {
    it.effect("a session comes back whole, under the id of the token that was drawn", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const record = recordOf({ name: "Zoë 東京 🙂", list: [1, 0.5, null, { a: true }] }, {
          revision: 3,
          persistent: true,
          dropOnRenew: ["csrf"],
          subject: "ann",
          authenticatedAt: start - 5
        })
        const drawn = yield* draw
        const answer = yield* store.create(drawn, record, binding)
        assert.strictEqual(answer._tag, "Created")
        const token = answer._tag === "Created" ? answer.token : drawn
        assert.isTrue(store.accepts(sent(token)))
        assert.deepStrictEqual(yield* live(store, token), { ...record, id: yield* SessionToken.toId(drawn) })
      })))

    it.effect("S06 S07: neither the drawn token nor a word of the data shows in the sealed one", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { drawn, token } = yield* create(store, { secret: "correct horse" })
        const bytes = Buffer.from(Redacted.value(token), "base64url")
        assert.isFalse(bytes.includes("correct horse"))
        assert.isFalse(bytes.includes(Buffer.from(Redacted.value(drawn), "base64url")))
        assert.isFalse(bytes.includes(digest(Redacted.value(drawn))))
        assert.strictEqual(String(token), "<redacted>")
      })))

    it.effect("two tokens of one record share nothing but version and key id", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const drawn = yield* draw
        const tokens: Array<Buffer> = []
        for (let n = 0; n < 2; n++) {
          const answer = yield* store.create(drawn, recordOf({ n: 1 }), binding)
          tokens.push(Buffer.from(Redacted.value(answer._tag === "Created" ? answer.token : drawn), "base64url"))
        }
        const [a, b] = tokens as [Buffer, Buffer]
        assert.isTrue(a.subarray(0, 5).equals(b.subarray(0, 5)))
        const same = a.subarray(5).filter((byte, index) => byte === b[index + 5]).length
        assert.isBelow(same, 12)
      })))

    it.effect("X26: the id stays through update and touch, and is that of the next token after renew", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { id, token } = yield* create(store, { n: 0 })
        const second = tokenOf(yield* store.update(sent(token), 0, recordOf({ n: 1 }), binding))
        assert.strictEqual((yield* live(store, second)).id, id)
        const third = tokenOf(yield* store.touch(sent(second), 1, start + 2 * hour, binding))
        assert.strictEqual((yield* live(store, third)).id, id)
        const next = yield* draw
        const fourth = tokenOf(yield* store.renew(sent(third), 1, next, recordOf({ n: 1, user: "ann" }), binding))
        const after = yield* live(store, fourth)
        assert.strictEqual(after.id, yield* SessionToken.toId(next))
        assert.deepStrictEqual(after.data, { n: 1, user: "ann" })
        assert.strictEqual(after.revision, 2)
      })))

    it.effect("an update raises the revision, and one at another revision gets the token's own record", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { id, token } = yield* create(store, { n: 0 })
        const updated = yield* store.update(sent(token), 0, recordOf({ n: 1 }), binding)
        assert.strictEqual(updated._tag, "Updated")
        assert.strictEqual(updated._tag === "Updated" && updated.revision, 1)
        const conflict = yield* store.update(tokenOf(updated), 0, recordOf({ n: 9 }), binding)
        assert.deepStrictEqual(conflict, Store.conflict(recordOf({ n: 1 }, { revision: 1, id })))
        assert.deepStrictEqual(
          yield* store.renew(tokenOf(updated), 0, yield* draw, recordOf({}), binding),
          conflict
        )
      })))

    it.effect("S21: a touch moves the idle deadline forward, never back, never past the absolute bound, and no data", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { n: 4 })
        yield* TestClock.setTime(start + 10)
        const forward = tokenOf(yield* store.touch(sent(token), 0, start + 2 * hour, binding))
        const record = yield* live(store, forward)
        assert.strictEqual(record.deadline, start + 2 * hour)
        assert.strictEqual(record.touchedAt, start + 10)
        assert.strictEqual(record.revision, 0)
        assert.deepStrictEqual(record.data, { n: 4 })
        const same = sent(forward)
        assert.strictEqual(tokenOf(yield* store.touch(same, 0, start + hour, binding)), same)
        assert.strictEqual(tokenOf(yield* store.touch(same, 7, start + 3 * hour, binding)), same)
        const bound = tokenOf(yield* store.touch(same, 0, start + 3 * day, binding))
        assert.strictEqual((yield* live(store, bound)).deadline, start + day)
      })))

    it.effect("S20: at its deadline a token is over for every operation", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { n: 0 })
        yield* TestClock.setTime(start + hour - 1)
        assert.strictEqual(yield* tagOf(store, token), "Live")
        yield* TestClock.setTime(start + hour)
        for (const one of [token, sent(token)]) {
          const { counted, value } = yield* counting("expired", store.load(one, binding))
          assert.deepStrictEqual([value._tag, counted], ["None", 1])
          assert.strictEqual((yield* store.update(one, 0, recordOf({}), binding))._tag, "Gone")
          assert.strictEqual((yield* store.renew(one, 0, yield* draw, recordOf({}), binding))._tag, "Gone")
          assert.strictEqual((yield* store.touch(one, 0, start + day, binding))._tag, "Gone")
          yield* store.remove(one, binding)
        }
      })))

    it.effect("S18: the absolute bound ends a session that is touched all the time", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        let { token } = yield* create(store, { n: 0 }, { expiresAt: start + 90 * 60_000 })
        yield* TestClock.setTime(start + hour - 1)
        token = tokenOf(yield* store.touch(sent(token), 0, start + 2 * hour, binding))
        yield* TestClock.setTime(start + 90 * 60_000 - 1)
        assert.strictEqual(yield* tagOf(store, token), "Live")
        yield* TestClock.setTime(start + 90 * 60_000)
        assert.strictEqual(yield* tagOf(store, token), "None")
      })))
  })

  describe("size", () => {
    it.effect("S46 X27: over the limit every write fails, naming size, limit and largest key; at it, none does", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { cart: "x".repeat(2000), name: "y".repeat(100) })
        // with the 16 bytes that a touch may add
        const length = Math.ceil((Buffer.from(Redacted.value(token), "base64url").length + 16) * 4 / 3)
        const data = { cart: "x".repeat(2000), name: "y".repeat(100) }
        const tight = (limit: number) => ({ audience: "__Host-session", limit })
        for (const limit of [length, 4096]) {
          assert.strictEqual((yield* store.create(yield* draw, recordOf(data), tight(limit)))._tag, "Created")
        }
        const under = tight(length - 1)
        const writes: { readonly [method: string]: Effect.Effect<unknown, Store.StoreError> } = {
          create: store.create(yield* draw, recordOf(data), under),
          update: store.update(sent(token), 0, recordOf(data), under),
          renew: store.renew(sent(token), 0, yield* draw, recordOf(data), under)
        }
        for (const [method, write] of Object.entries(writes)) {
          const error = yield* Effect.flip(write)
          assert.strictEqual(error.reason, "TooLarge")
          assert.strictEqual(error.method, `SealedStore.${method}`)
          assert.include(error.message, `${length} bytes, but its cookie or header carries only ${length - 1}`)
          assert.include(error.message, "\"cart\", with 2002 characters")
          assert.notInclude(error.message, "xxx")
        }
      })))

    it.effect("S46: a session that was written within the limit is never too large to be touched", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const year = 365 * day
        const tries = (limit: number) =>
          Effect.flatMap(draw, (drawn) =>
            store.create(
              drawn,
              recordOf({ blob: "x".repeat(500) }, { deadline: start + 1, expiresAt: start + 10 * year }),
              { ...binding, limit }
            ))
        let limit = 700
        while ((yield* Effect.exit(tries(limit)))._tag === "Failure") {
          limit++
        }
        const created = yield* tries(limit)
        const token = created._tag === "Created" ? created.token : yield* draw
        assert.isBelow(Redacted.value(token).length, limit)
        const touched = yield* store.touch(sent(token), 0, start + 3 * year, { ...binding, limit })
        const later = { ...binding, limit, now: start + 3 * year - 1 }
        assert.strictEqual((yield* store.touch(tokenOf(touched), 0, start + 9 * year, later))._tag, "Touched")
      })))

    it.effect("S46: a touch over the limit fails as a write does", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { n: 0 })
        const tight = { ...binding, limit: 100 }
        const error = yield* Effect.flip(store.touch(sent(token), 0, start + 2 * hour, tight))
        assert.deepStrictEqual([error.reason, error.method], ["TooLarge", "SealedStore.touch"])
      })))

    it.effect("X27: a value of 3000 or 9000 bytes is refused where a cookie carries 4096", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        for (const size of [3000, 9000]) {
          const error = yield* Effect.flip(
            store.create(yield* draw, recordOf({ blob: "x".repeat(size) }), { audience: "s", limit: 4096 - 1 })
          )
          assert.strictEqual(error.reason, "TooLarge")
        }
      })))

    it.effect("without a limit, what is sealed is never longer than what is accepted", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const unbound = (size: number) =>
          Effect.flatMap(
            draw,
            (drawn) => store.create(drawn, recordOf({ blob: "x".repeat(size) }), { limit: Infinity })
          )
        const created = yield* unbound(12_000)
        assert.isTrue(created._tag === "Created" && store.accepts(sent(created.token)))
        assert.strictEqual((yield* Effect.flip(unbound(12_300))).reason, "TooLarge")
        const empty = yield* Effect.flip(store.create(yield* draw, recordOf({}), { audience: "", limit: 10 }))
        assert.notInclude(empty.message, "largest key")
      })))
  })

  describe("bad tokens", () => {
    it.effect("S60 X23 X24: a token with any one bit flipped, issue time included, is refused", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { user: "ann" })
        const bytes = Buffer.from(Redacted.value(token), "base64url")
        for (let bit = 0; bit < bytes.length * 8; bit++) {
          const flipped = Buffer.from(bytes)
          flipped[bit >> 3]! ^= 1 << (bit & 7)
          const loaded = yield* store.load(SessionToken.fromString(flipped.toString("base64url")), binding)
          assert.deepStrictEqual(loaded, Store.none, `bit ${bit}`)
        }
      })))

    it.effect.prop(
      "S03 S60 X23: a token with any character changed, cut or added is refused without an exception",
      [fc.nat(), fc.constantFrom("change", "cut", "add", "truncate"), fc.string({ minLength: 1, maxLength: 3 })],
      ([at, how, text]) =>
        atStart(Effect.gen(function*() {
          const store = yield* sealed(keyA)
          const { token } = yield* create(store, { user: "ann" })
          const good = Redacted.value(token)
          const index = at % good.length
          const bad = {
            change: good.slice(0, index) + text + good.slice(index + text.length),
            cut: good.slice(0, index) + good.slice(index + 1),
            add: good.slice(0, index) + text + good.slice(index),
            truncate: good.slice(0, index)
          }[how]!
          if (bad !== good) {
            assert.deepStrictEqual(yield* store.load(SessionToken.fromString(bad), binding), Store.none)
          }
        }))
    )

    it.effect.prop(
      "X23: any text at all is refused without an exception",
      [fc.string({ unit: "binary" })],
      ([text]) =>
        atStart(Effect.gen(function*() {
          const store = yield* sealed(keyA)
          const token = SessionToken.fromString(text)
          assert.isFalse(store.accepts(token))
          assert.deepStrictEqual(yield* counting("malformed", store.load(token, binding)), {
            value: Store.none,
            counted: 1
          })
          assert.strictEqual((yield* store.update(token, 0, recordOf({}), binding))._tag, "Gone")
          assert.strictEqual((yield* store.touch(token, 0, start + day, binding))._tag, "Gone")
          yield* store.remove(token, binding)
        }))
    )

    it.effect("S03: the form is checked in full: alphabet, length, canonical end, no newline, no drawn token", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { drawn, token } = yield* create(store, { n: 12 })
        const good = Redacted.value(token)
        assert.isTrue(store.accepts(sent(token)))
        const bad = [
          `${good}\n`,
          `\n${good}`,
          ` ${good}`,
          `${good}=`,
          good.slice(0, 100),
          `${good.slice(0, 60)}\r\n${good.slice(60)}`,
          good.replace(/^A/, "B"),
          Buffer.from(good, "base64url").toString("base64"),
          Redacted.value(drawn),
          `${good}${"A".repeat(20_000)}`,
          "garbage",
          "a:b",
          ""
        ]
        for (const text of bad.filter((text) => text !== good)) {
          assert.isFalse(store.accepts(SessionToken.fromString(text)), JSON.stringify(text.slice(0, 80)))
        }
        // spare bits of the last character
        const loose = Buffer.concat([Buffer.from(good, "base64url"), Buffer.alloc(2)]).subarray(0, -1)
        const text = loose.toString("base64url")
        const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        const accepted = [...alphabet].filter((last) =>
          store.accepts(SessionToken.fromString(text.slice(0, -1) + last))
        ).length
        assert.strictEqual(accepted, { 0: 64, 1: 4, 2: 16 }[loose.length % 3])
      })))

    it.effect("the reason is counted: malformed, unknown key, tampered, expired", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const other = yield* sealed(keyB)
        const { token } = yield* create(store, { n: 0 })
        const { token: foreign } = yield* create(other, { n: 0 })
        const flipAt = (index: number) =>
          sent(token, (text) => {
            const bytes = Buffer.from(text, "base64url")
            bytes[(index + bytes.length) % bytes.length]! ^= 1
            return bytes.toString("base64url")
          })
        const cases: ReadonlyArray<readonly [string, SessionToken.Token, To?]> = [
          ["malformed", flipAt(0)],
          ["malformed", SessionToken.fromString("garbage")],
          ["unknown key", foreign],
          ["unknown key", flipAt(1)],
          ["tampered", flipAt(5)],
          ["tampered", flipAt(40)],
          ["tampered", flipAt(-1)],
          ["tampered", token, { ...binding, audience: "session" }]
        ]
        for (const [reason, bad, to = binding] of cases) {
          assert.deepStrictEqual(
            yield* counting(reason, store.load(sent(bad), to)),
            { value: Store.none, counted: 1 },
            reason
          )
        }
        assert.strictEqual((yield* counting("tampered", live(store, token))).counted, 0)
      })))

    it.effect("S58: a token is good under one cookie name alone, also in the request that opened it", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { n: 0 })
        const elsewhere = { ...binding, audience: "admin" }
        assert.strictEqual((yield* store.load(token, binding))._tag, "Live")
        for (const one of [token, sent(token)]) {
          assert.deepStrictEqual(yield* store.load(one, elsewhere), Store.none)
          assert.strictEqual((yield* store.update(one, 0, recordOf({}), elsewhere))._tag, "Gone")
          assert.strictEqual((yield* store.touch(one, 0, start + day, elsewhere))._tag, "Gone")
        }
        assert.strictEqual(yield* tagOf(store, token), "Live")
      })))

    it.effect("S58: what a key sealed for another purpose is refused", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { n: 0 })
        const content = yield* Effect.promise(() => Reference.openBytes(keyA, binding.audience, Redacted.value(token)))
        const forPurpose = (purpose: string) =>
          Effect.promise(async () =>
            SessionToken.fromString(
              await Reference.sealBytes(keyA, binding.audience, randomBytes(16), content, purpose)
            )
          )
        assert.strictEqual(yield* tagOf(store, yield* forPurpose("effect-session/sealed")), "Live")
        assert.strictEqual(yield* tagOf(store, yield* forPurpose("effect-session/other")), "None")
      })))

    it.effect("X25 S61: rightly sealed but undecodable is a fresh session, counted, each time", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const bodies = [
          "",
          "not json",
          "[]",
          JSON.stringify({ v: 2, data: {} }),
          JSON.stringify({ v: 1, data: [], createdAt: start, expiresAt: start + day, idle: hour }),
          `{"v":1,"data":{"__proto__":1},"createdAt":1,"expiresAt":${start + day},"idle":1}`
        ]
        for (const body of bodies) {
          const content = { id: digest("id").toString("base64url"), revision: 0, issuedAt: start, body }
          const text = yield* Effect.promise(() =>
            Reference.sealFirst(keyA, binding.audience, randomBytes(24), {
              ...content,
              deadline: start + hour,
              latest: start + day
            })
          )
          for (let time = 0; time < 2; time++) {
            assert.deepStrictEqual(
              yield* counting("undecodable", store.load(SessionToken.fromString(text), binding)),
              { value: Store.none, counted: 1 }
            )
          }
        }
      })).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))

    it.effect("X25 S61: so is a content of version 2, cut anywhere or with what a later release might write", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const content: Reference.Content = {
          id: digest("id").toString("base64url"),
          persistent: false,
          createdAt: start,
          touchedAt: start,
          deadline: start + hour,
          expiresAt: start + day,
          revision: 1,
          idle: 1,
          latest: start + 2 * day,
          rare: "{\"subject\":\"ann\"}",
          data: "{\"a\":[1,2]}"
        }
        const load = (plain: Uint8Array) =>
          Effect.flatMap(
            Effect.promise(() => Reference.sealBytes(keyA, binding.audience, randomBytes(16), plain)),
            (text) => tagOf(store, SessionToken.fromString(text))
          )
        const whole = Reference.write(content)
        assert.strictEqual(yield* load(whole), "Live")
        for (let length = 0; length < whole.length; length++) {
          assert.strictEqual(yield* load(whole.subarray(0, length)), "None", `${length} bytes`)
        }
        const flagged = Uint8Array.from(whole, (byte, at) => at === 32 ? byte | 32 : byte)
        const bad: ReadonlyArray<Uint8Array> = [
          flagged,
          Buffer.concat([whole, Buffer.from("x")]),
          Reference.write({ ...content, data: "" }),
          Reference.write({ ...content, data: "[]" }),
          Reference.write({ ...content, data: "{\"__proto__\":1}" }),
          Reference.write({ ...content, rare: "{\"subject\":1}" }),
          Reference.write({ ...content, rare: "null" }),
          Reference.write({ ...content, createdAt: Number.NaN }),
          Reference.write({ ...content, expiresAt: Infinity }),
          Reference.write({ ...content, idle: Infinity })
        ]
        for (const plain of bad) {
          assert.deepStrictEqual(yield* counting("undecodable", load(plain)), { value: "None", counted: 1 })
        }
        assert.strictEqual(yield* load(Reference.write({ ...content, rare: "{\"later\":[]}" })), "Live")
      })).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))

    it.effect("a bad token costs at most one key derivation and one open for each key it could be of", () =>
      Effect.gen(function*() {
        const { keys, runtime } = yield* SealKeys.make("test", [redacted(keyA), redacted(keyB)])
        const calls = { hmac: 0, decipher: 0 }
        const sealer = Seal.make({
          Buffer: runtime.Buffer,
          crypto: {
            ...runtime.crypto,
            createHmac: (...args) => {
              calls.hmac++
              return runtime.crypto.createHmac(...args)
            },
            createDecipheriv: (...args) => {
              calls.decipher++
              return runtime.crypto.createDecipheriv(...args)
            }
          }
        }, keys)
        const good = latestVectors.valid[0]!
        const cost = (token: string) => {
          calls.hmac = calls.decipher = 0
          const bytes = sealer.parse(token)
          const opened = bytes === undefined ? "malformed" : sealer.open("__Host-session", bytes)
          return [typeof opened === "string" ? opened : "opened", calls.hmac, calls.decipher]
        }
        const mine = sealer.seal("__Host-session", node!.Buffer.alloc(60))
        const first = yield* Effect.promise(() =>
          Reference.sealFirst(keyB, "__Host-session", randomBytes(24), firstVectors.valid[0]!.content)
        )
        const flipped = Buffer.from(mine, "base64url")
        flipped[60]! ^= 1
        assert.deepStrictEqual(cost(mine), ["opened", 0, 1])
        assert.deepStrictEqual(cost(first), ["opened", 1, 1])
        assert.deepStrictEqual(cost(flipped.toString("base64url")), ["tampered", 0, 1])
        assert.deepStrictEqual(cost(good.token), ["unknown key", 0, 0])
        assert.deepStrictEqual(cost("A".repeat(16_384)), ["malformed", 0, 0])
        assert.deepStrictEqual(cost("A".repeat(1_000_000)), ["malformed", 0, 0])
      }))
  })

  describe("keys", () => {
    it.effect("S59: the first key seals, all open, and a write or touch moves a session to the first", () =>
      atStart(Effect.gen(function*() {
        const before = yield* sealed(keyA)
        const during = yield* sealed(keyB, keyA)
        const after = yield* sealed(keyB)
        const { id, token } = yield* create(before, { n: 0 })
        assert.strictEqual(yield* tagOf(during, token), "Live")
        assert.deepStrictEqual(yield* counting("unknown key", tagOf(after, token)), { value: "None", counted: 1 })

        const written = tokenOf(yield* during.update(sent(token), 0, recordOf({ n: 1 }), binding))
        assert.strictEqual((yield* live(after, written)).id, id)
        assert.strictEqual(yield* tagOf(before, written), "None")

        // also by a touch that moves nothing else
        const touched = tokenOf(yield* during.touch(sent(token), 0, start + hour, binding))
        assert.deepStrictEqual(yield* live(after, touched), { ...(yield* live(before, token)) })
        const renewed = tokenOf(yield* during.renew(sent(token), 0, yield* draw, recordOf({}), binding))
        assert.strictEqual(yield* tagOf(after, renewed), "Live")
      })))

    it.effect("32 bytes are taken in base64, base64url and hex alike", () =>
      atStart(Effect.gen(function*() {
        const { token } = yield* create(yield* sealed(keyA), { n: 0 })
        const forms = [
          keyA.toString("base64"),
          keyA.toString("base64").replace("=", ""),
          keyA.toString("base64url"),
          keyA.toString("hex"),
          keyA.toString("hex").toUpperCase(),
          `${keyA.toString("base64")}\n`
        ]
        for (const form of forms) {
          assert.strictEqual(yield* tagOf(yield* make({ keys: [Redacted.make(form)] }), token), "Live")
        }
      })))

    it.effect("what is not 32 bytes is refused when the layer is built, with the command for a good key", () =>
      Effect.gen(function*() {
        const bad = {
          empty: "",
          short: randomBytes(31).toString("base64"),
          "16 bytes": randomBytes(16).toString("hex"),
          long: randomBytes(33).toString("base64"),
          "48 bytes": randomBytes(48).toString("base64"),
          "a password": "password",
          "not base64": `${"!".repeat(43)}=`
        }
        for (const [name, key] of Object.entries(bad)) {
          const error = yield* Effect.flip(
            Effect.scoped(Layer.build(SealedStore.layer({ keys: [redacted(keyA), Redacted.make(key)] })))
          )
          const message = String(error)
          assert.include(message, "openssl rand -base64 32", name)
          assert.include(message, "keys.1", name)
          if (key !== "") {
            assert.notInclude(message, key, name)
          }
        }
        const none = yield* Effect.flip(SealedStore.make({ keys: [] }))
        assert.include(String(none), "openssl rand -base64 32")
      }))

    it.effect("random keys are taken", () =>
      Effect.gen(function*() {
        for (let n = 0; n < 500; n++) {
          const bytes = randomBytes(32)
          for (const form of ["base64", "base64url", "hex"] as const) {
            yield* make({ keys: [Redacted.make(bytes.toString(form))] })
          }
        }
      }))

    it.effect("layerConfig reads the list of keys, and says which option is wrong", () =>
      atStart(Effect.gen(function*() {
        const { token } = yield* create(yield* sealed(keyA), { n: 0 })
        const layer = SealedStore.layerConfig({ keys: Config.array(Config.redacted(), "SESSION_KEYS") })
        const build = (keys: string) =>
          Effect.exit(Effect.map(Layer.build(layer), (context) => clocked(Context.get(context, Store.Store)))).pipe(
            Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["SESSION_KEYS", keys]])))
          )
        const store = yield* Effect.flatten(build(`${keyB.toString("base64")},${keyA.toString("base64")}`))
        assert.strictEqual(yield* tagOf(store, token), "Live")
        assert.isTrue(Exit.isFailure(yield* build("secret")))
        const revocable = SealedStore.layerConfig({ keys: Config.succeed([redacted(keyA)]) }, {
          revocations: MemoryStore.layer()
        })
        const list = clocked(Context.get(yield* Layer.build(revocable), Store.Store))
        yield* list.remove(sent(token), binding)
        assert.strictEqual(yield* tagOf(list, token), "Superseded")
      })).pipe(Effect.scoped))
  })

  describe("the format", () => {
    it("vectors: our sealer makes the very tokens of version 2, and opens them", () => {
      for (const { audience, content, key, salt, token } of latestVectors.valid) {
        const sealer = Seal.make(node!, [Buffer.from(key, "base64") as never])
        const { data, id, latest, persistent, rare = "{}", ...numbers } = content
        const record = recordOf(JSON.parse(data), {
          ...numbers,
          ...JSON.parse(rare),
          ...(persistent ? { persistent } : {})
        })
        const plain = Content.write(node!, id as SessionToken.SessionId, record, latest)
        assert.strictEqual(sealer.lengthOf(plain.length), token.length)
        assert.strictEqual(sealer.seal(audience, plain, Buffer.from(salt, "hex")), token)
        const opened = sealer.open(audience, sealer.parse(token)!)
        assert.deepStrictEqual(opened, { version: 2, content: plain, current: true })
        const found = Content.read(2, plain)
        assert.deepStrictEqual({ ...found, record: found.record() }, {
          id: id as SessionToken.SessionId,
          deadline: record.deadline,
          latest,
          record: { ...record, id: id as SessionToken.SessionId }
        })
      }
    })

    it("the key of a token is that of XAES-256-GCM, by its published test vectors", () => {
      const nonce = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWX")
      const published = [
        [1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"],
        [3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"]
      ] as const
      for (const [byte, associated, expected] of published) {
        const key = Xaes.make(node!, Buffer.alloc(32, byte))(nonce, 0)
        const cipher = createCipheriv("aes-256-gcm", key, nonce.subarray(12))
        cipher.setAAD(Buffer.from(associated))
        const parts = [cipher.update("XAES-256-GCM"), cipher.final(), cipher.getAuthTag()]
        assert.strictEqual(Buffer.concat(parts).toString("hex"), expected)
      }
    })

    it.effect("vectors: the store loads them, of both versions", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(start)
        for (const { audience, content, key, token } of [...firstVectors.valid, ...latestVectors.valid]) {
          const store = yield* make({ keys: [Redacted.make(key)] })
          const record = yield* live(store, SessionToken.fromString(token), { audience, limit: 4000 })
          assert.strictEqual(record.id as string, content.id)
          assert.strictEqual(record.revision, content.revision)
          const data = "data" in content ? JSON.parse(content.data) : JSON.parse(content.body).data
          assert.deepStrictEqual(record.data, data)
        }
      }))

    it.effect("vectors: the store refuses the others, for the reason given", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(start)
        for (const { audience, key, name, reason, token } of [...firstVectors.refused, ...latestVectors.refused]) {
          const store = yield* make({ keys: [Redacted.make(key)] })
          const load = store.load(SessionToken.fromString(token), { audience, limit: 4000 })
          assert.deepStrictEqual(yield* counting(reason, load), { value: Store.none, counted: 1 }, name)
        }
      }))

    it.effect("a token of version 1 goes on working, and is of version 2 after its next write or touch", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(start)
        const versionOf = (token: SessionToken.Token) => Buffer.from(Redacted.value(token), "base64url")[0]
        for (const { audience, content, key, token: text } of firstVectors.valid) {
          const to = { audience, limit: 4000 }
          const store = yield* make({ keys: [Redacted.make(key)] })
          const token = SessionToken.fromString(text)
          assert.strictEqual(versionOf(token), 1)
          const before = yield* live(store, token, to)
          // also by a touch that moves nothing
          const touched = tokenOf(yield* store.touch(sent(token), before.revision, before.deadline, to))
          assert.strictEqual(versionOf(touched), 2)
          assert.deepStrictEqual(yield* live(store, touched, to), before)
          const updated = tokenOf(yield* store.update(sent(token), before.revision, before, to))
          assert.strictEqual(versionOf(updated), 2)
          assert.deepStrictEqual(yield* live(store, updated, to), { ...before, revision: before.revision + 1 })
          const { latest } = Reference.read(
            yield* Effect.promise(() =>
              Reference.openBytes(Buffer.from(key, "base64"), audience, Redacted.value(updated))
            )
          )
          assert.strictEqual(latest, content.latest)
        }
      }))

    it.effect.prop(
      "every record comes back as it was, or is refused as undecodable if a bound is not finite",
      [records, fc.oneof(numbers, fc.constant(0))],
      ([record, latest]) =>
        Effect.sync(() => {
          const id = digest("id").toString("base64url") as SessionToken.SessionId
          const found = Content.read(2, Content.write(node!, id, record, latest))
          const deadline = Math.min(record.deadline, record.expiresAt)
          assert.deepStrictEqual([found.id, found.deadline, found.latest], [id, deadline, latest])
          const finite = [record.createdAt, record.expiresAt, record.idle].every(Number.isFinite)
          assert.deepStrictEqual(found.record(), finite ? { ...record, deadline, id } : undefined)
        }),
      { fastCheck: { numRuns: 300 } }
    )

    it.effect("100 B of data make a token of at most 260 characters, 1 KB one of 1500, also after months of use", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const month = 30 * day
        for (const [size, most] of [[100, 260], [1024, 1500]] as const) {
          const data = { text: "x".repeat(size - 11) }
          assert.strictEqual(JSON.stringify(data).length, size)
          for (
            const more of [
              { revision: 1 },
              { createdAt: start - 11 * month, expiresAt: start + month, deadline: start + month, revision: 1_000_000 }
            ]
          ) {
            const { token } = yield* create(store, data, { idle: (more.deadline ?? start + hour) - start, ...more })
            assert.isAtMost(Redacted.value(token).length, most)
          }
        }
      })))

    it.effect("a second implementation, by WebCrypto, opens our tokens and seals tokens that we open", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        for (const touchedAt of [start, start + 0.5, start - 1]) {
          const record = recordOf({ name: "Zoë 東京 🙂", n: 5 }, { revision: 600, touchedAt, subject: "ann" })
          const drawn = yield* draw
          const created = yield* store.create(drawn, record, binding)
          const text = created._tag === "Created" ? Redacted.value(created.token) : ""
          const plain = yield* Effect.promise(() => Reference.openBytes(keyA, binding.audience, text))
          const content = Reference.read(plain)
          assert.deepStrictEqual(content, {
            id: yield* SessionToken.toId(drawn),
            persistent: false,
            createdAt: start,
            touchedAt,
            deadline: start + hour,
            expiresAt: start + day,
            revision: 600,
            idle: hour,
            latest: start + day,
            rare: "{\"subject\":\"ann\"}",
            data: JSON.stringify(record.data)
          })
          assert.deepStrictEqual(Reference.write(content), plain)
          const theirs = yield* Effect.promise(() =>
            Reference.sealBytes(keyA, binding.audience, randomBytes(16), plain)
          )
          assert.deepStrictEqual(
            yield* live(store, SessionToken.fromString(theirs)),
            yield* live(store, SessionToken.fromString(text))
          )
        }
      })))
  })

  describe("without revocations", () => {
    it.effect("S36 X24: as documented, removing ends nothing: a copy stays good until its deadline", () =>
      atStart(Effect.gen(function*() {
        const store = yield* sealed(keyA)
        const { token } = yield* create(store, { n: 0 })
        yield* store.remove(sent(token), binding)
        assert.strictEqual(yield* tagOf(store, token), "Live")
        yield* TestClock.setTime(start + hour)
        assert.strictEqual(yield* tagOf(store, token), "None")
      })))

    it("S36: the docstring says so", () => {
      const text = readFileSync(new URL("../src/SealedStore.ts", import.meta.url), "utf8")
      assert.match(text, /nothing can be revoked, counted or listed/)
    })

    it("S36: the layer's type gives a Store and nothing else", () => {
      const layer: Layer.Layer<Store.Store, unknown> = SealedStore.layer({ keys: [redacted(keyA)] })
      // @ts-expect-error a layer that gave more would be assignable
      const more: Layer.Layer<Store.Store | "Sessions", unknown> = layer
      assert.isDefined(more)
    })
  })

  describe("with revocations", () => {
    it.scoped("S25 S36 X24: after a logout every token of the session is refused, to its last bound", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 })
        const second = tokenOf(yield* store.update(sent(token), 0, recordOf({ n: 1 }), binding))
        const third = tokenOf(yield* store.touch(sent(second), 1, start + 2 * hour, binding))
        yield* store.remove(sent(second), binding)
        yield* store.remove(sent(second), binding)
        for (const one of [token, second, third]) {
          assert.strictEqual(yield* tagOf(store, one), "Superseded")
          assert.strictEqual((yield* store.touch(sent(one), 1, start + 3 * hour, binding))._tag, "Gone")
        }
        yield* TestClock.setTime(start + 60_000)
        assert.strictEqual(yield* tagOf(store, third), "None")
        yield* TestClock.setTime(start + 2 * hour - 1)
        assert.strictEqual(yield* tagOf(store, third), "None")
      })))

    it.scoped("S25 S36: a copy from before the bound was brought forward stays refused to its own bound", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 }, { deadline: start + 2 * hour })
        const shorter = tokenOf(
          yield* store.update(sent(token), 0, recordOf({ n: 1 }, { expiresAt: start + hour / 2 }), binding)
        )
        yield* store.remove(sent(shorter), binding)
        yield* TestClock.setTime(start + 2 * hour - 1)
        assert.strictEqual(yield* tagOf(store, token), "None")
      })))

    it.scoped("S26: a request in flight across a logout ends Gone, and what it sealed before is refused", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 })
        const inFlight = sent(token)
        yield* store.load(inFlight, binding)
        const early = tokenOf(yield* store.update(inFlight, 0, recordOf({ n: 1 }), binding))
        yield* store.remove(sent(token), binding)
        assert.strictEqual((yield* store.update(inFlight, 0, recordOf({ n: 2 }), binding))._tag, "Gone")
        assert.strictEqual((yield* store.update(early, 1, recordOf({ n: 2 }), binding))._tag, "Gone")
        assert.strictEqual(yield* tagOf(store, early), "Superseded")
      })))

    it.scoped("S11 S13 S15: a renewal ends the old id, and of several at once one alone lands", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 })
        const answers = yield* Effect.forEach(
          [1, 2, 3, 4],
          () => Effect.flatMap(draw, (next) => store.renew(sent(token), 0, next, recordOf({ user: "ann" }), binding)),
          { concurrency: "unbounded" }
        )
        const landed = answers.filter((answer) => answer._tag === "Updated")
        assert.strictEqual(landed.length, 1)
        assert.strictEqual(answers.filter((answer) => answer._tag === "Gone").length, 3)
        assert.strictEqual(yield* tagOf(store, tokenOf(landed[0]!)), "Live")
        assert.strictEqual(yield* tagOf(store, token), "Superseded")
      })))

    it.scoped("a renewal that is too large ends nothing", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 })
        const error = yield* Effect.flip(
          store.renew(sent(token), 0, yield* draw, recordOf({ blob: "x".repeat(5000) }), binding)
        )
        assert.strictEqual(error.reason, "TooLarge")
        assert.strictEqual(yield* tagOf(store, token), "Live")
      })))

    it.scoped("S06: the list holds no token, and nothing of the session", () =>
      atStart(Effect.gen(function*() {
        const created: Array<readonly [string, SessionRecord.SessionRecord]> = []
        const memory = Context.get(yield* Layer.build(MemoryStore.layer()), Store.Store)
        const list = Store.make({
          ...memory,
          create: (token, record, call) => {
            created.push([Redacted.value(token), record])
            return memory.create(token, record, call)
          }
        })
        const store = yield* make({ keys: [redacted(keyA)] }, list)
        const { id, token } = yield* create(store, { user: "ann" })
        yield* store.remove(sent(token), binding)
        assert.deepStrictEqual(created.map(([text]) => text), [id])
        assert.deepStrictEqual(created[0]![1].data, {})
        assert.strictEqual(created[0]![1].expiresAt, start + day)
      })))

    it.effect("S66: a list that fails fails the session; one that turns out to keep nothing says so", () =>
      atStart(Effect.gen(function*() {
        const down = Effect.fail(new Store.StoreError({ reason: "Unavailable", method: "list" }))
        const list = Store.make({
          accepts: () => true,
          load: () => down,
          create: () => down,
          update: () => down,
          renew: () => down,
          touch: () => down,
          remove: () => down
        })
        const store = yield* make({ keys: [redacted(keyA)] }, list)
        const { token } = yield* create(store, { n: 0 })
        const calls: ReadonlyArray<Effect.Effect<unknown, Store.StoreError>> = [
          store.load(sent(token), binding),
          store.update(sent(token), 0, recordOf({}), binding),
          store.touch(sent(token), 0, start + 2 * hour, binding),
          store.remove(sent(token), binding)
        ]
        for (const call of calls) {
          assert.strictEqual((yield* Effect.flip(call)).reason, "Unavailable")
        }
        const forgetful = Store.make({
          ...list,
          load: () => Effect.succeed(Store.none),
          create: () => Effect.succeed(Store.notKept)
        })
        const careless = yield* make({ keys: [redacted(keyA)] }, forgetful)
        assert.strictEqual((yield* Effect.flip(careless.remove(sent(token), binding))).reason, "Misused")
        const renewal = careless.renew(sent(token), 0, yield* draw, recordOf({}), binding)
        assert.strictEqual((yield* Effect.flip(renewal)).reason, "Misused")
      })))

    it.scoped("C13: a list that could not find what is put into it is refused when built", () =>
      Effect.gen(function*() {
        for (const revocations of [SealedStore.layer({ keys: [redacted(keyB)] }), NullStore.layer]) {
          const refused = yield* Effect.flip(Layer.build(SealedStore.layer({ keys: [redacted(keyA)], revocations })))
          assert.isTrue(ConfigError.isConfigError(refused))
          assert.include(String(refused), "revocations")
          assert.include(String(refused), "write a store that keeps sessions under drawn tokens")
        }
      }))

    it.scoped("C7: a logout with the old token ends the session that renewals made of it", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 })
        const second = tokenOf(yield* store.renew(sent(token), 0, yield* draw, recordOf({ n: 1 }), binding))
        const later = recordOf({ n: 2 }, { expiresAt: start + 30 * day })
        const third = tokenOf(yield* store.renew(sent(second), 1, yield* draw, later, binding))
        const written = tokenOf(
          yield* store.update(
            sent(third),
            2,
            { ...later, deadline: start + 60 * day, expiresAt: start + 90 * day },
            binding
          )
        )
        assert.strictEqual(yield* tagOf(store, written), "Live")
        yield* store.remove(sent(token), binding)
        for (const one of [token, second, third, written]) {
          assert.strictEqual(yield* tagOf(store, one), "Superseded")
        }
        // to the last bound that the new session was given after the renewal
        yield* TestClock.setTime(start + 60 * day - 1)
        assert.strictEqual(yield* tagOf(store, written), "None")
      })))

    it.scoped("C7: a logout comes to an end where the generator of tokens repeats itself", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { drawn, token } = yield* create(store, { n: 0 })
        const second = yield* draw
        const renewed = tokenOf(yield* store.renew(sent(token), 0, second, recordOf({ n: 1 }), binding))
        yield* store.renew(sent(renewed), 1, drawn, recordOf({ n: 2 }), binding)
        yield* store.remove(sent(token), binding)
        assert.strictEqual(yield* tagOf(store, renewed), "Superseded")
      })))

    it.scoped("C7: a renewal shortly before the old session's bound is followed for a minute as well", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 }, { deadline: start + 2000, expiresAt: start + 2000 })
        const renewed = tokenOf(yield* store.renew(sent(token), 0, yield* draw, recordOf({ n: 1 }), binding))
        yield* TestClock.setTime(start + 5000)
        yield* store.remove(sent(token), binding)
        assert.strictEqual(yield* tagOf(store, renewed), "Superseded")
      })))

    it.scoped("D10: a logout ends a session that has expired by its clock for a clock that is behind, too", () =>
      atStart(Effect.gen(function*() {
        const store = yield* revocable
        const { token } = yield* create(store, { n: 0 })
        yield* store.remove(sent(token), { ...binding, now: start + hour + 1 })
        const behind = { ...binding, now: start + hour - 3000 }
        assert.strictEqual(yield* tagOf(store, token, behind), "Superseded")
        assert.deepStrictEqual(yield* store.touch(sent(token), 0, start + 2 * hour, behind), Store.gone)
      })))

    it.effect("what a store in memory revokes is answered at once", () =>
      Effect.gen(function*() {
        const call = { ...binding, now: start }
        const list = Context.get(yield* Layer.build(MemoryStore.layer()), Store.Store)
        for (
          const store of [
            yield* SealedStore.make({ keys: [redacted(keyA)] }, list),
            yield* SealedStore.make({ keys: [redacted(keyA)] })
          ]
        ) {
          const created = store.create(yield* draw, recordOf({ n: 0 }), call)
          assert.isTrue(Exit.isExit(created))
          const answer = yield* created
          const token = answer._tag === "Created" ? answer.token : yield* draw
          for (
            const operation of [
              store.load(sent(token), call),
              store.update(sent(token), 0, recordOf({ n: 1 }), call),
              store.touch(sent(token), 0, start + 2 * hour, call),
              store.renew(sent(token), 0, yield* draw, recordOf({ n: 1 }), call),
              store.remove(sent(token), call)
            ]
          ) {
            assert.isTrue(Exit.isExit(operation))
          }
        }
      }).pipe(Effect.scoped))
  })
})

interface Vectors<Content> {
  readonly valid: ReadonlyArray<{
    readonly name: string
    readonly key: string
    readonly audience: string
    readonly salt: string
    readonly content: Content
    readonly token: string
  }>
  readonly refused: ReadonlyArray<{
    readonly name: string
    readonly reason: string
    readonly key: string
    readonly audience: string
    readonly token: string
  }>
}

const vectorsOf = <Content>(version: number): Vectors<Content> =>
  JSON.parse(readFileSync(new URL(`./vectors/sealed-v${version}.json`, import.meta.url), "utf8"))

const firstVectors = vectorsOf<Reference.First>(1)
const latestVectors = vectorsOf<Reference.Content>(2)
