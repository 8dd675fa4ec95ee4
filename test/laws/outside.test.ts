import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const script = fileURLToPath(new URL("./fixtures/outside.ts", import.meta.url))

describe("the laws outside of a test runner", () => {
  it.effect(
    "D9: a plain process imports StoreLaws and StateLaws, and MemoryStore keeps every law",
    () =>
      Effect.gen(function*() {
        const { stdout } = yield* Effect.promise(() =>
          promisify(execFile)(process.execPath, ["--import", "tsx", script], { encoding: "utf8" })
        )
        const { broken, states, tried } = JSON.parse(stdout) as {
          readonly broken: ReadonlyArray<string>
          readonly states: number
          readonly tried: number
        }
        assert.deepStrictEqual(broken, [])
        assert.isAbove(tried, 0)
        assert.isAbove(states, 0)
      }),
    60_000
  )
})
