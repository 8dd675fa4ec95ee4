/**
 * Sessions on workerd, where a request that is resumed inside another's I/O context never sees its own I/O come back: a
 * worker as it would be deployed, its sessions in a KV namespace, in Miniflare.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as esbuild from "esbuild"
import { Miniflare } from "miniflare"
import { fileURLToPath } from "node:url"

const pathOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

const bundled = Effect.promise(async () => {
  const { outputFiles } = await esbuild.build({
    entryPoints: [pathOf("./fixtures/worker.ts")],
    // where `effect-session` is `src`
    tsconfig: pathOf("../tsconfig.json"),
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    platform: "browser",
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*"],
    logLevel: "silent"
  })
  return outputFiles[0]?.text ?? ""
})

const worker = Effect.flatMap(bundled, (script) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      new Miniflare({
        modules: true,
        script,
        compatibilityDate: "2025-01-01",
        compatibilityFlags: ["nodejs_compat"],
        kvNamespaces: ["SESSIONS"],
        cf: false
      })
    ),
    (miniflare) => Effect.promise(() => miniflare.dispose())
  ))

interface Answer {
  readonly status: number
  readonly text: string
  readonly cookie: string | undefined
}

const visit = async (miniflare: Miniflare, cookie: string): Promise<Answer> => {
  const response = await miniflare.dispatchFetch("https://example.com/", { headers: { cookie } })
  return {
    status: response.status,
    text: await response.text(),
    cookie: response.headers.getSetCookie()[0]?.split(";")[0]
  }
}

describe("a Cloudflare worker, sessions in KV", () => {
  it.scopedLive("W1: 20 parallel requests of one session are all answered, and each counts", () =>
    Effect.gen(function*() {
      const miniflare = yield* worker
      const first = yield* Effect.promise(() => visit(miniflare, ""))
      assert.deepStrictEqual([first.status, first.text], [200, "1"])
      const cookie = first.cookie ?? ""
      const answers = yield* Effect.promise(() =>
        Promise.all(Array.from({ length: 20 }, () => visit(miniflare, cookie)))
      )
      assert.deepStrictEqual(answers.map(({ status }) => status), answers.map(() => 200))
      const last = yield* Effect.promise(() => visit(miniflare, cookie))
      assert.deepStrictEqual([last.status, last.text], [200, "22"])
    }))
})
