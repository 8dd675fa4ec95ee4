/**
 * The store laws of values: a record comes back as it was written, and nobody who holds it can change what is kept.
 * They know nothing of how a store keeps sessions.
 */
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Runtime from "effect/Runtime"
import type * as SessionRecord from "../../../SessionRecord.js"
import type * as Store from "../../../Store.js"
import * as testing from "../../../testing.js"
import * as law from "./law.js"

const text = fc.oneof(
  fc.fullUnicodeString(),
  // any UTF-16 code units, also lone surrogates
  fc.string16bits(),
  fc.constantFrom(
    "",
    "\u0000",
    "a\u0000b",
    "\ud800",
    "\udc00\ud800",
    "\u2028\u2029",
    "\ufeff",
    "\\u0000",
    "'; --",
    "constructor",
    "toString",
    "hasOwnProperty",
    "length",
    "0",
    "-1",
    "\u{1f36a}"
  )
)

const number = fc.oneof(
  fc.integer(),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
  fc.constantFrom(0, -0, 1, -1, 0.1, 5e-324, 1.7976931348623157e308, Number.MAX_SAFE_INTEGER, 2 ** 53, 1e21, 1e-7)
)

const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    text,
    number,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(text.filter((key) => key !== "__proto__"), tie("value"), { maxKeys: 5 })
  )
}))

/** Random data that a session can have. */
const data = fc.dictionary(text.filter((key) => key !== "__proto__"), value, { maxKeys: 5 }).map((entries) =>
  testing.record({ data: entries as SessionRecord.Data }).data
)

const nested = (depth: number): unknown =>
  depth === 0 ? "bottom" : depth % 2 === 0 ? [nested(depth - 1)] : {
    deeper: nested(depth - 1)
  }

/** Writes the data by create, by update and by renew, and reads it back. */
const roundTrip = (trial: law.Trial, content: SessionRecord.Data) =>
  Effect.gen(function*() {
    const first = yield* law.keep(trial, { data: content })
    yield* law.expectKept(trial, first, "after create")
    const second = yield* law.rewrite(trial, yield* law.keep(trial), content)
    yield* law.expectKept(trial, second, "after update")
    const third = yield* law.renew(trial, yield* law.keep(trial), content)
    yield* law.expectKept(trial, third, "of the new token after renew")
  })

/** Checks a property of effects. The failure has the shrunk counterexample and its seed. */
const holds = <A>(
  arbitrary: fc.Arbitrary<A>,
  runs: number,
  property: (value: A) => Effect.Effect<void, string | Store.StoreError>
): Effect.Effect<void, string> =>
  Effect.gen(function*() {
    const run = Runtime.runPromise(yield* Effect.runtime())
    const details = yield* Effect.promise(() =>
      fc.check(fc.asyncProperty(arbitrary, (value) => run(Effect.orDieWith(property(value), String))), {
        numRuns: runs
      })
    )
    if (details.failed) {
      return yield* Effect.fail(
        fc.defaultReportMessage(details) ?? "the property failed, and fast-check gave no report"
      )
    }
  })

const optionalFields: ReadonlyArray<Partial<SessionRecord.SessionRecord>> = [
  {
    subject: "ada",
    label: "Firefox on Linux",
    authenticatedAt: 1_600_000_000_000,
    persistent: true,
    dropOnRenew: ["csrf", "flash"]
  },
  { subject: "", label: "" },
  { subject: "\u0000 \u{1f36a} '" },
  { authenticatedAt: 0 },
  { persistent: true },
  { dropOnRenew: [] },
  { revision: 0 },
  { revision: 41, idle: 1, createdAt: 1 },
  {}
]

/** Tries to change everything that can be reached from a value. */
const vandalize = (target: unknown): void => {
  if (typeof target !== "object" || target === null) {
    return
  }
  for (const key of Object.keys(target)) {
    vandalize(Reflect.get(target, key))
    Reflect.set(target, key, "changed from outside")
  }
  Reflect.set(target, "added", "from outside")
  if (Array.isArray(target) && !Object.isFrozen(target)) {
    target.length = 0
  }
}

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  {
    name: "every JSON value comes back as it was",
    covers: ["S61"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        yield* roundTrip(trial, testing.record({ data: { deep: nested(90) } as SessionRecord.Data }).data)
        yield* holds(data, Math.max(1, Math.round(100 * trial.settings.thoroughness)), (content) =>
          roundTrip(trial, content))
      })
  },
  {
    name: "a session as large as they may be comes back as it was",
    covers: ["S61"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.suspend(() => {
        const limit = trial.settings.call?.limit
        const size = limit === undefined ? 262_000 : Math.floor(limit / 3)
        return roundTrip(
          trial,
          testing.record({ data: { first: "x".repeat(size - 1000), last: "\u20ac".repeat(300) } }).data
        )
      })
  },
  {
    name: "every field of a record comes back as it was",
    covers: ["S13", "S33"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (const fields of optionalFields) {
          const deadlines = { deadline: trial.now() + 1000, expiresAt: trial.now() + 2000, touchedAt: trial.now() - 5 }
          const kept = yield* law.keep(trial, { ...deadlines, ...fields })
          yield* law.expectKept(trial, kept, "after create")
          const updated = yield* law.rewrite(trial, kept, { n: 1 })
          yield* law.expectKept(trial, updated, "after update")
          const renewed = yield* law.renew(trial, updated, { n: 2 })
          yield* law.expectKept(trial, renewed, "of the new token after renew")
          const { authenticatedAt: _, dropOnRenew: __, label: ___, persistent: ____, subject: _____, ...bare } =
            renewed.record
          const stripped = yield* law.rewrite(trial, { ...renewed, record: bare }, { n: 3 })
          yield* law.expectKept(trial, stripped, "after an update without the optional fields")
          const idle = stripped.record.idle + 1
          const full = { ...stripped.record, ...fields, idle, revision: stripped.record.revision }
          const other = yield* law.rewrite(trial, { ...stripped, record: full }, { n: 4 })
          yield* law.expectKept(trial, other, "after an update with the optional fields")
        }
      })
  },
  {
    name: "what is put in or got out can't change what is kept",
    covers: ["X10"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const content = { list: [1, { two: [] }], map: { deep: { deeper: "x" } }, text: "y" }
        const expected = law.recordOf(trial, { data: content, dropOnRenew: ["csrf"] })
        const given = { ...expected, data: structuredClone(content), dropOnRenew: ["csrf"] }
        const created = yield* law.expectTag(yield* trial.store.create(trial.draw(), given), "Created", "create")
        vandalize(given)
        const { token } = created
        yield* law.expectKept(trial, { token, record: expected }, "after a change to the record given to create")
        vandalize(yield* trial.store.load(token))
        yield* law.expectKept(trial, { token, record: expected }, "after a change to the record that load answered")
        const rewritten = {
          ...law.written(trial, expected, content),
          data: structuredClone(content),
          dropOnRenew: ["csrf"]
        }
        const { revision, token: next } = yield* law.expectTag(
          yield* trial.store.update(token, expected.revision, rewritten),
          "Updated",
          "update"
        )
        const record = { ...rewritten, data: structuredClone(content), dropOnRenew: ["csrf"], revision }
        vandalize(rewritten)
        yield* law.expectKept(trial, { token: next, record }, "after a change to the record given to update")
        if (!trial.settings.waives.includes("revisions")) {
          vandalize(yield* trial.store.update(next, revision - 1, record))
          yield* law.expectKept(trial, { token: next, record }, "after a change to the record of a Conflict")
          vandalize(yield* trial.store.renew(next, revision - 1, trial.draw(next), record))
          yield* law.expectKept(trial, { token: next, record }, "after a change to the record of a renew's Conflict")
        }
        const kept = structuredClone(record)
        const renewed = yield* law.expectTag(
          yield* trial.store.renew(next, revision, trial.draw(next), record),
          "Updated",
          "renew"
        )
        vandalize(record)
        const last = { token: renewed.token, record: { ...kept, revision: renewed.revision } }
        yield* law.expectKept(trial, last, "after a change to the record given to renew")
      })
  }
]
