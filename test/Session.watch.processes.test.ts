/**
 * A stream of server-sent events in this process, and "log out everywhere" in another one.
 */
import { HttpApp, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Stream } from "effect"
import { CookieState, HttpMiddleware, Session, SessionPolicy } from "effect-session"
import * as StoreConfig from "effect-session/StoreConfig"
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as fixture from "./fixtures/http.js"
import * as redis from "./fixtures/redis.js"
import * as sql from "./fixtures/sql.js"

const worker = fileURLToPath(new URL("./fixtures/revoke.worker.ts", import.meta.url))

type Variables = Record<string, string>

/** Logs a subject out in a process of its own. */
const elsewhere = (subject: string, variables: Variables) =>
  Effect.promise(() =>
    promisify(execFile)(process.execPath, ["--import", "tsx", worker, subject], {
      env: { ...process.env, ...variables }
    })
  )

const events = Effect.map(Effect.context<Session.Session>(), (context) =>
  HttpServerResponse.stream(
    Session.watch.pipe(
      Stream.map(() => "data: here\n\n"),
      Stream.catchTag("SessionGone", ({ reason }) => Stream.make(`event: ${reason}\ndata:\n\n`)),
      Stream.encodeText,
      Stream.provideContext(context)
    ),
    { contentType: "text/event-stream" }
  ))

const app = (subject: string) =>
  HttpMiddleware.session(fixture.routes({
    "/events": events,
    "/login": fixture.answering(Session.login(subject))
  }))

const journey = (variables: Variables) =>
  Effect.gen(function*() {
    const subject = `ann ${randomBytes(6).toString("hex")}`
    const layers = Layer.merge(CookieState.layer(), StoreConfig.layerConfig()).pipe(
      Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables)))))
    )
    const { dispose, handler } = HttpApp.toWebHandlerLayer(
      app(subject),
      Layer.mergeAll(layers, fixture.quiet, SessionPolicy.layer({ watchInterval: "500 millis" }))
    )
    yield* Effect.addFinalizer(() => Effect.promise(dispose))
    const fetching = (path: string, cookie = "") =>
      Effect.promise(() => handler(new Request(`https://app.test${path}`, { headers: { cookie } })))
    const cookie = (yield* fetching("/login")).headers.getSetCookie()[0]?.split(";")[0] ?? ""
    const reader = (yield* fetching("/events", cookie)).body!.pipeThrough(new TextDecoderStream()).getReader()
    const read = Effect.promise(() => reader.read())
    assert.strictEqual((yield* read).value, "data: here\n\n")
    const { stdout } = yield* elsewhere(subject, variables)
    assert.strictEqual(stdout, "1\n")
    // what was saved at the login may be told a second time
    const last = yield* Effect.repeat(read, { until: ({ value }) => value !== "data: here\n\n" })
    assert.strictEqual(last.value, "event: revoked\ndata:\n\n")
    assert.isTrue((yield* read).done)
  }).pipe(Effect.timeout("30 seconds"))

describe("S72: a stream ends when its session is ended by another process", () => {
  const title = "a process that shares the store"

  it.scopedLive(`on files, by ${title}`, () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-watch-"))),
        (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
      )
      yield* journey({ SESSION_STORE_URL: `file:${folder}` })
    }), 60_000)

  it.scopedLive(`on Redis, by ${title}`, (context) =>
    Effect.gen(function*() {
      if (!(yield* Effect.promise(redis.isShared))) {
        return context.skip(`skipped: no Redis at ${redis.url}`)
      }
      const prefix = `effect-session-watch-${process.pid}:`
      yield* Effect.addFinalizer(() => redis.clear(prefix))
      yield* journey({ SESSION_STORE_URL: redis.url, SESSION_PREFIX: prefix })
    }), 60_000)

  it.scopedLive.skipIf(sql.postgres.missing !== undefined)(
    sql.title(`on PostgreSQL, by ${title}`, sql.postgres),
    () =>
      Effect.gen(function*() {
        const schema = yield* sql.postgres.schema
        const url = sql.server(sql.postgres)
        url?.searchParams.set("options", `-c search_path=${schema.name}`)
        yield* journey({ SESSION_STORE_URL: url?.href ?? "" })
      }),
    60_000
  )
})
