/**
 * How `fromBackend` raises a revision, up to the end of the exact integers.
 */
import { assert, describe, it } from "@effect/vitest"
import { raised } from "../src/internal/store/revision.js"

const { MAX_SAFE_INTEGER: most } = Number

describe("the revision of the next write", () => {
  it("D5: is higher by 1 to 2^20, and not the same twice", () => {
    for (const revision of [0, 1, 2 ** 40, most - 2 ** 20]) {
      const drawn = new Set(Array.from({ length: 100 }, () => raised(revision)))
      assert.isAbove(drawn.size, 90)
      for (const next of drawn) {
        assert.isTrue(Number.isSafeInteger(next) && next > revision && next <= revision + 2 ** 20)
      }
    }
  })

  it("D5: starts over where it would be higher than the exact integers", () => {
    for (const next of Array.from({ length: 100 }, () => raised(most))) {
      assert.isTrue(Number.isSafeInteger(next) && next >= 1 && next <= 2 ** 20)
    }
  })
})
