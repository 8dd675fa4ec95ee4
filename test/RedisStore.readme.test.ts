/**
 * The README's own Redis snippets, word for word, each as a process of its own beside a redis-server that comes and goes.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Scope } from "effect"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Fixture from "./fixtures/redis.js"

const root = fileURLToPath(new URL("../", import.meta.url))

const readme = await fs.readFile(path.join(root, "README.md"), "utf8")

/** The one snippet of the README that contains a text. */
const snippetWith = (text: string): string => {
  const found = Array.from(readme.matchAll(/^```ts\n([\s\S]*?)^```$/gm), ([, body]) => body!)
    .filter((body) => body.includes(text))
  assert.strictEqual(found.length, 1, `snippets with ${text}`)
  return found[0]!
}

/** Each way to Redis that the README shows: the snippet, and how an app is provided with what it declares. */
const shown = [
  { name: "a url", snippet: snippetWith("const redis ="), uses: "redis", state: true },
  { name: "a client of ioredis", snippet: snippetWith("const byIoRedis ="), uses: "byIoRedis", state: true },
  { name: "Express's store", snippet: snippetWith("const shared ="), uses: "shared", state: false }
]

const app = ({ state, uses }: (typeof shown)[number]): string => `
import { HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Schema } from "effect"
import { CookieState, HttpMiddleware, SessionField, SessionPolicy } from "effect-session"
import { createServer } from "node:http"
import { ${uses} } from "./snippet.js"

const Visits = SessionField.make("visits", Schema.Number, { default: () => 0 })

Effect.map(SessionField.updateAndGet(Visits, (n) => n + 1), (n) => HttpServerResponse.text(String(n))).pipe(
  HttpServer.serve(HttpMiddleware.session),
  HttpServer.withLogAddress,
  Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
  Layer.provide([${state ? "CookieState.layer({ secure: false }), " : ""}${uses}]),
  Layer.provide(SessionPolicy.layer({ storeTimeout: "1 second" })),
  Layer.launch,
  NodeRuntime.runMain
)
`

const directory = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(path.join(os.tmpdir(), "effect-session-readme-"))),
  (directory) => Effect.promise(() => fs.rm(directory, { recursive: true, force: true }))
)

interface Running {
  readonly url: string
  readonly child: ChildProcess
  readonly exited: Promise<ReadonlyArray<unknown>>
}

const run = (way: (typeof shown)[number], redis: string): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function*() {
    const dir = yield* directory
    yield* Effect.promise(async () => {
      await fs.symlink(path.join(root, "node_modules"), path.join(dir, "node_modules"), "junction")
      await fs.writeFile(path.join(dir, "package.json"), JSON.stringify({ type: "module" }))
      await fs.writeFile(path.join(dir, "snippet.ts"), `${way.snippet}\nexport { ${way.uses} }\n`)
      await fs.writeFile(path.join(dir, "main.ts"), app(way))
    })
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--import", "tsx", "main.ts"], {
          cwd: dir,
          env: {
            ...process.env,
            REDIS_URL: redis,
            SESSION_SECRET: "a secret of the test",
            TSX_TSCONFIG_PATH: path.join(root, "tsconfig.json")
          },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const exited = once(child, "exit")
    const output: Array<string> = []
    child.stderr.on("data", (chunk) => output.push(String(chunk)))
    const url = yield* Effect.promise(async () => {
      for await (const line of createInterface({ input: child.stdout })) {
        output.push(line)
        const found = /Listening on (http:\S+?)"?$/.exec(line)
        if (found !== null) {
          child.stdout.resume()
          return found[1]!
        }
      }
      throw new Error(`the process did not listen:\n${output.join("\n")}`)
    })
    return { child, exited, url }
  })

const isInstalled = await Fixture.isInstalled()

describe.skipIf(!isInstalled)(isInstalled ? "the README's Redis snippets" : "skipped: no redis-server here", () => {
  for (const way of shown) {
    it.scopedLive(
      `N1 N2: ${way.name}: starts while Redis is down, survives its restart, and ends while it is down`,
      () =>
        Effect.gen(function*() {
          const redis = yield* Fixture.server("--appendonly", "yes", "--appendfsync", "always")
          yield* redis.kill
          const { child, exited, url } = yield* run(way, redis.url)
          let cookie = ""
          const visit = Effect.promise(async () => {
            const response = await fetch(url, { headers: { cookie } })
            cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie
            return { status: response.status, body: await response.text() }
          })
          // a request that waits while Redis comes back may be answered with 503 as well
          const served = Effect.repeat(visit, { until: ({ status }) => status === 200 })
          assert.strictEqual((yield* visit).status, 503, "down at start")
          yield* redis.start
          const first = Number((yield* served).body)
          assert.strictEqual(Number((yield* served).body), first + 1)

          yield* redis.kill
          assert.strictEqual((yield* visit).status, 503, "died in use")
          yield* redis.start
          // what was given up on may still be carried out: nothing is lost
          assert.isAtLeast(Number((yield* served).body), first + 2)

          yield* redis.kill
          assert.strictEqual((yield* visit).status, 503, "died again")
          child.kill("SIGTERM")
          yield* Effect.promise(() => exited)
          assert.isNull(child.signalCode)
        }),
      180_000
    )
  }
})
