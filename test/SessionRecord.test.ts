import { assert, describe, it } from "@effect/vitest"
import { Either, Schema } from "effect"
import * as SessionRecord from "effect-session/SessionRecord"
import { readFileSync } from "node:fs"

const Golden = Schema.parseJson(Schema.Array(Schema.Struct({
  name: Schema.String,
  body: Schema.String,
  stamp: Schema.Struct({ revision: Schema.Number, touchedAt: Schema.Number, deadline: Schema.Number }),
  record: Schema.Struct({ data: Schema.Unknown }, { key: Schema.String, value: Schema.Unknown })
})))

const golden = Schema.decodeUnknownSync(Golden)(
  readFileSync(new URL("./vectors/records-v1.json", import.meta.url), "utf8")
)

const stamp = { revision: 1, touchedAt: 0, deadline: 1 }

describe("SessionRecord", () => {
  for (const { body, name, record, stamp } of golden) {
    it(`S61: a record of version 1 loads, and is written as it was: ${name}`, () => {
      const decoded = Either.getOrThrow(SessionRecord.decode(body, stamp))
      assert.deepStrictEqual<unknown>(decoded, record)
      assert.deepStrictEqual(JSON.parse(SessionRecord.encode(decoded)), JSON.parse(body))
    })
  }

  it("the note of a store that has listed a session is on the copy of what it wrote, and encoded by that store alone", () => {
    const least = { v: 1, data: {}, createdAt: 0, expiresAt: 9, idle: 1 }
    const [anonymous, hers] = [least, { ...least, subject: "ann" }].map((body) =>
      Either.getOrThrow(SessionRecord.decode(body, stamp))
    )
    assert.isDefined(anonymous)
    assert.isDefined(hers)
    const written = SessionRecord.written(hers, 7)
    assert.isFrozen(written)
    assert.deepStrictEqual(written, { ...hers, revision: 7 })
    assert.deepStrictEqual([written.listedUntil, written.listedFor], [9, "ann"])
    assert.isUndefined(SessionRecord.written(anonymous).listedUntil)
    assert.strictEqual(SessionRecord.encode(written), SessionRecord.encode(hers))
    const read = Either.getOrThrow(SessionRecord.decode(SessionRecord.encode(hers, 9), stamp))
    assert.deepStrictEqual([read.listedUntil, read.listedFor], [9, "ann"])
    // a shorter life after it, and another login, are noted as they are
    const later = SessionRecord.written({ ...read, listedUntil: 9, listedFor: "ann", subject: "bob", expiresAt: 5 })
    assert.deepStrictEqual([later.listedUntil, later.listedFor], [5, "bob"])
  })

  it("S61: a newer version is told apart, whatever else it holds", () => {
    for (const body of ["{\"v\":2}", "{\"v\":3,\"data\":\"sealed\"}", { v: 2, data: {} }]) {
      assert.deepStrictEqual(
        SessionRecord.decode(body, stamp),
        Either.left({ _tag: "Undecodable" as const, reason: "NewerVersion" as const })
      )
    }
  })

  it("S61: anything else is malformed, and never throws", () => {
    const least = { v: 1, data: {}, createdAt: 0, expiresAt: 1, idle: 1 }
    const bodies: ReadonlyArray<unknown> = [
      "",
      "{",
      "null",
      "[]",
      "{}",
      undefined,
      null,
      7,
      { ...least, v: 0 },
      { ...least, v: "1" },
      { ...least, data: [] },
      { ...least, data: { n: Number.NaN } },
      { ...least, idle: null },
      { ...least, subject: 7 },
      "{\"v\":1,\"data\":{\"__proto__\":{}},\"createdAt\":0,\"expiresAt\":1,\"idle\":1}"
    ]
    for (const body of bodies) {
      assert.deepStrictEqual(
        SessionRecord.decode(body, stamp),
        Either.left({ _tag: "Undecodable" as const, reason: "Malformed" as const })
      )
    }
  })

  it("S19 S20: the earlier bound rules, and at exactly the bound it is over", () => {
    const record = Either.getOrThrow(
      SessionRecord.decode("{\"v\":1,\"data\":{},\"createdAt\":0,\"expiresAt\":50,\"idle\":10}", {
        ...stamp,
        deadline: 90
      })
    )
    assert.strictEqual(SessionRecord.endsAt(record), 50)
    assert.isFalse(SessionRecord.isExpired(record, 49))
    assert.isTrue(SessionRecord.isExpired(record, 50))
  })
})
