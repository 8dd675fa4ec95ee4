/**
 * The checker on histories written by hand: a good one passes, and each kind of violation is caught.
 */
import { assert, describe, it } from "@effect/vitest"
import { check, type Kind, type Waivers } from "./checker.js"
import type { Answer, Call, History } from "./history.js"

let count = 0

/** A call that takes one millisecond from `start` on. */
const call = (start: number, method: Call["method"], token: string, answer?: Answer, more?: Partial<Call>): Call => ({
  id: `c${count++}`,
  method,
  token,
  start,
  ...(answer === undefined ? undefined : { end: start + 1, answer }),
  ...more
})

const live = (revision: number, ...log: ReadonlyArray<string>): Answer => ({ _tag: "Live", revision, log })
const conflict = (revision: number, ...log: ReadonlyArray<string>): Answer => ({ _tag: "Conflict", revision, log })
const updated = (revision: number): Answer => ({ _tag: "Updated", revision })
const answer = (_tag: "Created" | "Exists" | "Gone" | "None" | "Removed" | "Superseded" | "Touched"): Answer => ({
  _tag
})
const failed: Answer = { _tag: "Failed", error: "Unavailable" }

const create = (start: number, token: string, write: string, answered: Answer | undefined = answer("Created")) =>
  call(start, "create", token, answered, { write, revision: 0 })
const load = (start: number, token: string, answered?: Answer) => call(start, "load", token, answered)
const update = (start: number, token: string, revision: number, write: string, answered?: Answer) =>
  call(start, "update", token, answered, { revision, write })
const renew = (start: number, token: string, revision: number, next: string, write: string, answered?: Answer) =>
  call(start, "renew", token, answered, { revision, next, write })
const touch = (start: number, token: string, revision: number, answered?: Answer) =>
  call(start, "touch", token, answered, { revision })
const remove = (start: number, token: string, answered: Answer | undefined = answer("Removed")) =>
  call(start, "remove", token, answered)

const kinds = (history: Partial<History>, waivers?: Waivers): ReadonlyArray<Kind> => [
  ...new Set(check({ calls: [], finals: [], losses: [], ...history }, waivers).map(({ kind }) => kind))
]

describe("the checker", () => {
  it("passes a history in which everything is kept", () => {
    const calls = [
      create(0, "t", "a#0"),
      load(10, "t", live(0, "a#0")),
      update(20, "t", 0, "b#0", updated(7)),
      update(20.5, "t", 0, "c#0", conflict(7, "a#0", "b#0")),
      update(30, "t", 7, "c#1", updated(11)),
      touch(40, "t", 11, answer("Touched")),
      renew(50, "t", 11, "u", "d#0", updated(29)),
      load(60, "t", answer("Superseded")),
      load(60, "u", live(29, "a#0", "b#0", "c#1", "d#0")),
      remove(70, "t"),
      load(80, "u", answer("Superseded")),
      update(80, "u", 29, "e#0", answer("Gone")),
      create(90, "v", "f#0")
    ]
    const finals = [
      load(100, "t", answer("None")),
      load(100, "u", answer("Superseded")),
      load(100, "v", live(0, "f#0"))
    ]
    assert.deepStrictEqual(kinds({ calls, finals }), [])
  })

  it("passes calls without an answer and calls that failed, whether they happened or not", () => {
    const calls = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0"),
      update(20, "t", 0, "c#0", failed),
      load(30, "t", live(0, "a#0")),
      // the one without an answer happened, and late
      load(40, "t", live(5, "a#0", "b#0")),
      renew(50, "t", 5, "u", "d#0", failed),
      load(60, "t", answer("Superseded")),
      create(70, "w", "x#0", failed),
      remove(80, "u", failed)
    ]
    const happened = [
      load(100, "t", answer("None")),
      load(100, "u", live(9, "a#0", "b#0", "d#0")),
      load(100, "w", live(0, "x#0"))
    ]
    const removed = [
      load(100, "t", answer("None")),
      load(100, "u", answer("Superseded")),
      load(100, "w", answer("None"))
    ]
    assert.deepStrictEqual(kinds({ calls, finals: happened }), [])
    assert.deepStrictEqual(kinds({ calls, finals: removed }), [])
  })

  it("catches two writes that were acknowledged at one revision", () => {
    const calls = [create(0, "t", "a#0"), update(10, "t", 0, "b#0", updated(1)), update(10, "t", 0, "c#0", updated(1))]
    assert.deepStrictEqual(kinds({ calls }), ["SameRevision"])
  })

  it("catches two contents of one revision", () => {
    const calls = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0"),
      update(10, "t", 0, "c#0"),
      load(20, "t", live(1, "a#0", "b#0")),
      load(30, "t", live(1, "a#0", "c#0"))
    ]
    assert.deepStrictEqual(kinds({ calls }), ["SameRevision"])
  })

  it("catches a write that was acknowledged and is not there later", () => {
    const calls = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0", updated(3)),
      update(20, "t", 0, "c#0", updated(4)),
      load(30, "t", live(4, "a#0", "c#0"))
    ]
    assert.deepStrictEqual(kinds({ calls }), ["Lost"])
  })

  it("catches a write that was seen and is not there later", () => {
    const calls = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0"),
      load(20, "t", live(3, "a#0", "b#0")),
      load(30, "t", live(4, "a#0", "c#0"))
    ]
    assert.deepStrictEqual(kinds({ calls }), ["Lost"])
  })

  it("catches a session that is not found though nobody ended it", () => {
    const found = [create(0, "t", "a#0"), load(10, "t", answer("None"))]
    assert.deepStrictEqual(kinds({ calls: found }), ["Lost"])
    const renewed = [create(0, "t", "a#0"), renew(10, "t", 0, "u", "b#0", updated(1)), load(20, "u", answer("None"))]
    assert.deepStrictEqual(kinds({ calls: renewed }), ["Lost"])
    // a removal that has begun may have happened
    const removing = [create(0, "t", "a#0"), remove(5, "t", failed), load(10, "t", answer("None"))]
    assert.deepStrictEqual(kinds({ calls: removing }), [])
  })

  it("catches a write that counts twice", () => {
    const calls = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0", conflict(1, "a#0", "b#0")),
      update(20, "t", 1, "b#1", updated(2)),
      load(30, "t", live(2, "a#0", "b#0", "b#1"))
    ]
    assert.deepStrictEqual(kinds({ calls }), ["Doubled", "Refused"])
  })

  it("catches a write that was refused and is there", () => {
    const calls = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0", answer("Gone")),
      load(30, "t", live(1, "a#0", "b#0"))
    ]
    assert.include(kinds({ calls }), "Refused")
    const created = [create(0, "t", "a#0", answer("Exists")), load(10, "t", live(0, "a#0"))]
    assert.deepStrictEqual(kinds({ calls: created }), ["Refused"])
  })

  it("passes a command that is sent again after more writes of others than the store bears, and no sooner", () => {
    const between = (count: number) => Array.from({ length: count }, (_, n) => `o${n}#0`)
    const history = (count: number) => [
      create(0, "t", "a#0"),
      call(10, "update", "t", conflict(count + 1, "a#0", "b#0", ...between(count)), {
        revision: 0,
        write: "b#0",
        end: 50
      }),
      ...between(count).map((write, n) => update(20 + n, "t", n + 1, write, updated(n + 2))),
      update(60, "t", count + 1, "b#1", updated(count + 2)),
      load(70, "t", live(count + 2, "a#0", "b#0", ...between(count), "b#1"))
    ]
    assert.deepStrictEqual(kinds({ calls: history(5) }, { others: 4 }), [])
    assert.deepStrictEqual(kinds({ calls: history(4) }, { others: 4 }), ["Doubled", "Refused"])
  })

  it("catches a read of what was there before", () => {
    const calls = [create(0, "t", "a#0"), update(10, "t", 0, "b#0", updated(4)), load(20, "t", live(0, "a#0"))]
    assert.deepStrictEqual(kinds({ calls }), ["Stale"])
    // not one that began while the write was under way
    const parallel = [create(0, "t", "a#0"), update(10, "t", 0, "b#0", updated(4)), load(10.5, "t", live(0, "a#0"))]
    assert.deepStrictEqual(kinds({ calls: parallel }), [])
    // nor after a read that showed it
    const read = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0"),
      load(20, "t", live(4, "a#0", "b#0")),
      load(30, "t", live(0, "a#0"))
    ]
    assert.deepStrictEqual(kinds({ calls: read }), ["Stale"])
  })

  it("allows a load, and nothing else, to be as old as a store says it may be", () => {
    const calls = [create(0, "t", "a#0"), update(10, "t", 0, "b#0", updated(4))]
    const old = [...calls, load(100, "t", live(0, "a#0"))]
    assert.deepStrictEqual(kinds({ calls: old }, { staleness: 200 }), [])
    assert.deepStrictEqual(kinds({ calls: old }, { staleness: 50 }), ["Stale"])
    const refused = [...calls, update(100, "t", 3, "c#0", conflict(0, "a#0"))]
    assert.deepStrictEqual(kinds({ calls: refused }, { staleness: 200 }), ["Stale"])
    const ended = [create(0, "t", "a#0"), remove(10, "t")]
    assert.deepStrictEqual(kinds({ calls: [...ended, load(100, "t", live(0, "a#0"))] }, { staleness: 200 }), [])
    assert.deepStrictEqual(
      kinds({ calls: ended, finals: [load(100, "t", live(0, "a#0"))] }, { staleness: 200 }),
      ["Revived"]
    )
  })

  it("catches a token that is live after its acknowledged end", () => {
    const created = create(0, "t", "a#0")
    const removed = [created, remove(10, "t")]
    assert.deepStrictEqual(kinds({ calls: [...removed, load(20, "t", live(0, "a#0"))] }), ["Revived"])
    assert.deepStrictEqual(kinds({ calls: [...removed, touch(20, "t", 0, answer("Touched"))] }), ["Revived"])
    assert.deepStrictEqual(kinds({ calls: [...removed, update(20, "t", 0, "b#0", updated(1))] }), ["Revived"])
    const renewed = [created, renew(10, "t", 0, "u", "b#0", updated(1))]
    assert.deepStrictEqual(kinds({ calls: [...renewed, touch(20, "t", 0, answer("Touched"))] }), ["Revived"])
  })

  it("catches a session that outlives the removal of the token that it was renewed from", () => {
    const calls = [
      create(0, "t", "a#0"),
      renew(10, "t", 0, "u", "b#0", updated(1)),
      remove(20, "t"),
      load(30, "u", live(1, "a#0", "b#0"))
    ]
    assert.deepStrictEqual(kinds({ calls }), ["Revived"])
    // a tombstone leads on for a minute
    const late = [calls[0]!, calls[1]!, remove(70_000, "t"), load(80_000, "u", live(1, "a#0", "b#0"))]
    assert.deepStrictEqual(kinds({ calls: late }), [])
  })

  it("passes a removal that came before the token was there", () => {
    const calls = [
      create(0, "t", "a#0"),
      renew(10, "t", 0, "u", "b#0", updated(1)),
      remove(10.2, "u", answer("Removed")),
      load(30, "u", live(1, "a#0", "b#0"))
    ]
    assert.deepStrictEqual(kinds({ calls }), [])
  })

  it("catches two live tokens, and none", () => {
    const calls = [create(0, "t", "a#0"), renew(10, "t", 0, "u", "b#0", failed)]
    const both = [load(20, "t", live(0, "a#0")), load(20, "u", live(1, "a#0", "b#0"))]
    assert.deepStrictEqual(kinds({ calls, finals: both }), ["TwoLive"])
    const none = [load(20, "t", answer("Superseded")), load(20, "u", answer("None"))]
    assert.deepStrictEqual(kinds({ calls, finals: none }), ["NoneLive"])
    assert.deepStrictEqual(kinds({ calls: [...calls, remove(15, "t", failed)], finals: none }), [])
    // who could not look knows nothing
    assert.deepStrictEqual(kinds({ calls, finals: [none[0]!, load(20, "u", failed)] }), [])
  })

  it("passes what a documented loss took, and nothing else", () => {
    const losses = [{ from: 15, to: 30 }]
    const calls = [
      create(0, "t", "a#0"),
      update(10, "t", 0, "b#0", updated(3)),
      update(20, "t", 3, "c#0", updated(6)),
      load(22, "t", live(6, "a#0", "b#0", "c#0")),
      renew(24, "t", 6, "u", "d#0", updated(9)),
      load(40, "t", live(3, "a#0", "b#0"))
    ]
    const finals = [load(50, "t", live(3, "a#0", "b#0")), load(50, "u", answer("None"))]
    assert.deepStrictEqual(kinds({ calls, finals, losses }), [])
    assert.includeMembers([...kinds({ calls, finals })], ["Stale", "Revived"])
    const before = [load(50, "t", live(0, "a#0")), load(50, "u", answer("None"))]
    assert.deepStrictEqual(kinds({ calls: calls.slice(0, 5), finals: before, losses }), ["Stale"])
  })
})
