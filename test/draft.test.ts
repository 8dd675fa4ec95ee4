/**
 * The decision and the lifetimes as functions of values: no HTTP, no store, no clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { SessionRecord, SessionToken } from "effect-session"
import type { SessionPolicy } from "effect-session"
import * as testing from "effect-session/testing"
import * as Json from "../src/internal/record/json.js"
import * as Draft from "../src/internal/session/draft.js"
import * as lifetime from "../src/internal/session/lifetime.js"
import * as Plan from "../src/internal/session/plan.js"

const hour = 3_600_000

const policy: SessionPolicy.Policy = {
  idleTimeout: hour,
  lifetime: 24 * hour,
  touchInterval: 360_000,
  storeTimeout: 5000,
  onStoreFailure: "fail",
  maxSize: 1000,
  watchInterval: 5000
}

const token = SessionToken.fromString("A".repeat(43))
const record = testing.record({ data: { n: 1 } })
const live: Draft.Base = { _tag: "Live", token, record }
const read = Draft.fromRecord(record)
const changed = { ...read, data: Json.adoptObject({ n: 2 }) }
const filled = { ...Draft.empty, data: Json.adoptObject({ n: 1 }) }

const still: Plan.Situation = {
  base: live,
  draft: read,
  removing: false,
  renewing: false,
  discarding: false,
  keepEmpty: false
}

describe("plan: the first row that fits", () => {
  const at = 1000
  const touchable = 360_000
  for (
    const [title, situation, now, owed] of [
      ["read", {}, at, "Nothing"],
      ["read, one millisecond before a touch is owed", {}, touchable - 1, "Nothing"],
      ["read, a touch owed", {}, touchable, "Touch"],
      ["read, expired by now", {}, hour, "Nothing"],
      ["changed", { draft: changed }, at, "Update"],
      [
        "expireIn alone",
        { draft: { ...read, bounds: { deadline: 5, expiresAt: 5, idle: 5, persistent: true } } },
        at,
        "Update"
      ],
      ["a field marked alone", { draft: { ...read, dropOnRenew: ["x"] } }, at, "Update"],
      ["renewed", { renewing: true }, at, "Renew"],
      ["renewed and changed", { renewing: true, draft: changed }, at, "Renew"],
      ["renewed, nothing kept", { renewing: true, base: Draft.fresh, draft: Draft.empty }, at, "Create"],
      ["renewed, session over", { renewing: true, base: Draft.ended, draft: Draft.empty }, at, "Create"],
      ["renewed, kept nowhere", { renewing: true, base: Draft.detached, draft: filled }, at, "Nothing"],
      ["new, nothing changed", { base: Draft.fresh, draft: Draft.empty }, at, "Nothing"],
      [
        "new, expireIn alone",
        {
          base: Draft.fresh,
          draft: { ...Draft.empty, bounds: { deadline: 5, expiresAt: 5, idle: 5, persistent: true } }
        },
        at,
        "Nothing"
      ],
      ["new, changed", { base: Draft.fresh, draft: filled }, at, "Create"],
      ["new, explicit", { base: Draft.fresh, draft: Draft.empty, keepEmpty: true }, at, "Create"],
      ["read, explicit", { keepEmpty: true }, at, "Nothing"],
      ["over, changed", { base: Draft.ended, draft: filled }, at, "Nothing"],
      ["over, explicit", { base: Draft.ended, draft: filled, keepEmpty: true }, at, "Nothing"],
      ["kept nowhere, changed", { base: Draft.detached, draft: filled }, at, "Nothing"],
      ["discarding, read", { discarding: true }, touchable, "Nothing"],
      ["discarding, changed", { discarding: true, draft: changed }, at, "Nothing"],
      ["discarding, renewed", { discarding: true, renewing: true }, at, "Nothing"],
      ["discarding, new", { discarding: true, base: Draft.fresh, draft: filled }, at, "Nothing"],
      ["removing", { removing: true }, at, "Remove"],
      ["removing, discarding", { removing: true, discarding: true }, at, "Remove"],
      ["removing, renewed", { removing: true, renewing: true, base: Draft.fresh }, at, "Remove"],
      ["removing, new and changed", { removing: true, base: Draft.fresh, draft: filled }, at, "Remove"],
      ["removing, kept nowhere", { removing: true, base: Draft.detached }, at, "Remove"]
    ] as ReadonlyArray<readonly [string, Partial<Plan.Situation>, number, Plan.Write["_tag"]]>
  ) {
    it(`${title}: ${owed}`, () => {
      assert.strictEqual(Plan.plan({ ...still, ...situation }, now, policy)._tag, owed)
    })
  }

  it("a touch says where the deadline goes", () => {
    assert.deepStrictEqual(Plan.plan(still, touchable, policy), { _tag: "Touch", deadline: hour + touchable })
  })
})

describe("isChanged", () => {
  it("goes by reference, so that a look at every key is spared", () => {
    assert.isFalse(Draft.isChanged(live, read))
    assert.isTrue(Draft.isChanged(live, { ...read, data: Json.adoptObject({ n: 1 }) }))
    assert.isFalse(Draft.isChanged(Draft.fresh, Draft.empty))
    assert.isTrue(Draft.isChanged(Draft.fresh, filled))
  })
})

describe("replay", () => {
  it("puts every update on other data, in order", () => {
    const add = (key: string): Draft.Update => (draft) => ({
      ...draft,
      data: Json.adoptObject({ ...draft.data, [key]: Object.keys(draft.data).length })
    })
    const pending = Draft.append(Draft.append(undefined, add("b")), add("a"))
    assert.deepStrictEqual(Draft.replay(pending, filled).data, { n: 1, b: 1, a: 2 })
    assert.strictEqual(Draft.replay(undefined, filled), filled)
  })

  it("what was made since a save leaves out what was saved, in order", () => {
    const add = (key: string): Draft.Update => (draft) => ({
      ...draft,
      data: Json.adoptObject({ ...draft.data, [key]: Object.keys(draft.data).length })
    })
    const saved = Draft.append(undefined, add("saved"))
    const pending = Draft.append(Draft.append(saved, add("b")), add("a"))
    assert.deepStrictEqual(Draft.replay(Draft.since(pending, saved), filled).data, { n: 1, b: 1, a: 2 })
    assert.isUndefined(Draft.since(saved, saved))
    assert.strictEqual(Draft.since(saved, undefined), saved)
  })

  it("an expireIn that was taken back leaves a record that it never bound as it is", () => {
    assert.isFalse(Draft.isChanged(live, { ...read, bounds: undefined }))
  })

  it("S16: a renewal drops what must not survive it, once", () => {
    const draft = { ...Draft.empty, data: Json.adoptObject({ csrf: "x", user: "ann" }), dropOnRenew: ["csrf", "gone"] }
    assert.deepStrictEqual(Draft.renewed(draft), {
      data: { user: "ann" },
      dropOnRenew: [],
      persistent: false,
      bounds: undefined,
      login: undefined
    })
    assert.strictEqual(Draft.renewed(filled), filled)
  })
})

describe("toRecord", () => {
  it("S17 S18 S19: a new one gets both bounds from now", () => {
    assert.deepStrictEqual(Plan.toRecord(Draft.fresh, filled, 500, policy, false), {
      data: { n: 1 },
      revision: 1,
      createdAt: 500,
      touchedAt: 500,
      deadline: 500 + hour,
      expiresAt: 500 + 24 * hour,
      idle: hour
    })
    assert.strictEqual(
      Plan.toRecord(Draft.fresh, filled, 0, { ...policy, lifetime: 10 }, false).deadline,
      10
    )
  })

  it("S13 S18: a changed or renewed one keeps its absolute bound, its birth and whose it is", () => {
    const owned = testing.record({ data: { n: 1 }, subject: "ann", authenticatedAt: 5 })
    const base: Draft.Base = { _tag: "Live", token, record: owned }
    for (const renewing of [true, false]) {
      assert.deepStrictEqual(Plan.toRecord(base, changed, 1000, policy, renewing), {
        ...owned,
        data: { n: 2 },
        revision: owned.revision + 1,
        touchedAt: 1000,
        deadline: hour + 1000
      })
    }
  })

  it("S22: expireIn sets both bounds and makes it persistent", () => {
    const draft = { ...changed, bounds: { deadline: 5000, expiresAt: 5000, idle: 4000, persistent: true } }
    assert.deepInclude(Plan.toRecord(live, draft, 1000, policy, false), {
      deadline: 5000,
      expiresAt: 5000,
      idle: 4000,
      persistent: true
    })
  })

  it("a renewed one takes its public id from its next token, a changed one keeps it", () => {
    const named = { ...record, id: "id" as SessionToken.SessionId }
    const base: Draft.Base = { _tag: "Live", token, record: named }
    assert.isUndefined(Plan.toRecord(base, changed, 0, policy, true).id)
    assert.strictEqual(Plan.toRecord(base, changed, 0, policy, false).id, named.id)
  })

  it("S16: keeps which fields a renewal drops, and forgets them when none is left", () => {
    const marked = { ...record, dropOnRenew: ["csrf"] }
    const base: Draft.Base = { _tag: "Live", token, record: marked }
    assert.deepStrictEqual(Plan.toRecord(base, Draft.fromRecord(marked), 0, policy, false).dropOnRenew, ["csrf"])
    assert.notProperty(Plan.toRecord(base, Draft.renewed(Draft.fromRecord(marked)), 0, policy, true), "dropOnRenew")
  })
})

describe("lifetimes", () => {
  for (
    const [title, fields, now, age] of [
      ["young", {}, 0, "Fresh"],
      ["before the touch interval", {}, 359_999, "Fresh"],
      ["at the touch interval", {}, 360_000, "Touch"],
      ["one millisecond before the deadline", {}, hour - 1, "Touch"],
      ["at the deadline", {}, hour, "Expired"],
      ["at the absolute bound", { deadline: 24 * hour, expiresAt: hour }, hour, "Expired"],
      ["the bound too near to move", { expiresAt: hour + 359_999 }, hour - 1, "Fresh"],
      ["the bound just far enough", { expiresAt: hour + 360_000 }, hour - 1, "Touch"],
      ["a clock set back", { createdAt: hour }, 0, "Fresh"]
    ] as ReadonlyArray<readonly [string, Partial<SessionRecord.SessionRecord>, number, lifetime.Age["_tag"]]>
  ) {
    it(`S20: ${title}: ${age}`, () => {
      assert.strictEqual(lifetime.ageOf(now, testing.record(fields), policy)._tag, age)
    })
  }

  const time = FastCheck.integer({ min: 0, max: 48 * hour })
  const records = FastCheck.record({ createdAt: time, deadline: time, expiresAt: time, idle: time }).map(testing.record)

  it("S19 S21: a use never moves the end back, and never past the absolute bound", () => {
    FastCheck.assert(FastCheck.property(records, time, (record, now) => {
      const next = lifetime.nextDeadline(now, record)
      const end = SessionRecord.endsAt(record)
      assert.isAtLeast(next, end)
      assert.isAtMost(next, Math.max(end, record.expiresAt))
    }))
  })

  it("S20: expired is decided by the earlier bound alone, equality included", () => {
    FastCheck.assert(FastCheck.property(records, time, (record, now) => {
      assert.strictEqual(
        lifetime.ageOf(now, record, policy)._tag === "Expired",
        now >= record.deadline || now >= record.expiresAt
      )
    }))
  })
})
