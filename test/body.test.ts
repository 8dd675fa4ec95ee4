/**
 * The body of a form that the session reads as well as the handler, on a server of Node: what was read once is gone there,
 * and who reads it again by another request object, such as a router makes, waits for ever.
 */
import type { HttpApp } from "@effect/platform"
import {
  HttpClient,
  HttpClientRequest,
  HttpLayerRouter,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Chunk, Deferred, Effect, Exit, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import type { State, Store } from "effect-session"
import { Csrf, HttpMiddleware, MemoryStore, ParamState, Session, SessionField, SessionRouter } from "effect-session"
import type { IncomingMessage } from "node:http"
import { connect } from "node:net"

const Count = SessionField.make("count", Schema.Number, { default: () => 0 })

const reading = <A, E>(read: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<A, E>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, read)

const text = reading((request) => request.text)

/** The ways to read a form. Each gives its text. */
const readers = {
  text,
  parameters: Effect.map(
    reading((request) => request.urlParamsBody),
    (pairs) => new URLSearchParams(pairs.map(([key, value]): [string, string] => [key, value])).toString()
  ),
  json: Effect.zipRight(Effect.ignore(reading((request) => request.json)), text),
  schema: Effect.map(
    HttpServerRequest.schemaBodyUrlParams(Schema.Record({ key: Schema.String, value: Schema.String })),
    (fields) => new URLSearchParams(fields).toString()
  ),
  bytes: Effect.map(reading((request) => request.arrayBuffer), (bytes) => new TextDecoder().decode(bytes)),
  stream: Effect.map(
    reading((request) => Stream.runCollect(request.stream)),
    (chunks) => Buffer.concat(Chunk.toReadonlyArray(chunks)).toString()
  )
}

type Reader = keyof typeof readers

const touch = SessionField.updateAndGet(Count, (count) => count + 1)

const orders = {
  "the session first": (reader: Reader) => Effect.all([touch, readers[reader]]),
  "the handler first": (reader: Reader) =>
    Effect.map(Effect.all([readers[reader], touch]), ([text, count]) => [count, text] as const),
  "verify first": (reader: Reader) => Effect.zipRight(Csrf.verify, Effect.all([touch, readers[reader]]))
}

type Order = keyof typeof orders

const names = Object.keys(readers) as ReadonlyArray<Reader>

/** Who reads bytes leaves nothing to be read after it. */
const readersOf = (order: Order) =>
  order === "the handler first" ? names.filter((reader) => reader !== "bytes" && reader !== "stream") : names

const tokens = Effect.gen(function*() {
  const session = Redacted.value(yield* Session.token)
  return HttpServerResponse.text(JSON.stringify({ csrf: yield* Csrf.token, session }))
})

/** The page that reads, which its own headers tell how. */
const page = Effect.gen(function*() {
  const { headers } = yield* HttpServerRequest.HttpServerRequest
  const [count, text] = yield* orders[headers["x-order"] as Order](headers["x-reader"] as Reader)
  return HttpServerResponse.text(JSON.stringify({ count, text }))
})

const routes = HttpRouter.empty.pipe(HttpRouter.get("/tokens", tokens), HttpRouter.post("/page", page))
const mounted = HttpRouter.mount(HttpRouter.empty, "/inner", routes)

const layered = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/tokens", tokens),
  HttpLayerRouter.use((router) => {
    const prefixed = router.prefixed("/inner")
    return Effect.zipRight(prefixed.add("GET", "/tokens", tokens), prefixed.add("POST", "/page", page))
  })
).pipe(Layer.provide(SessionRouter.layerGlobal))

type Services = State.State | Store.Store | Scope.Scope

type App = Effect.Effect<HttpApp.Default<unknown, Services>, never, Services>

const apps: Readonly<Record<string, readonly [prefix: string, app: App]>> = {
  "no router around it": ["", Effect.succeed(HttpMiddleware.session(routes))],
  mount: ["/inner", Effect.succeed(HttpMiddleware.session(mounted))],
  mountApp: [
    "/inner",
    Effect.succeed(HttpMiddleware.session(HttpRouter.mountApp(HttpRouter.empty, "/inner", routes)))
  ],
  "mountApp, the session inside": [
    "/inner",
    Effect.succeed(HttpRouter.mountApp(HttpRouter.empty, "/inner", HttpMiddleware.session(routes)))
  ],
  prefixAll: ["/inner", Effect.succeed(HttpMiddleware.session(HttpRouter.prefixAll(routes, "/inner")))],
  "a mount in a mount": [
    "/outer/inner",
    Effect.succeed(HttpMiddleware.session(HttpRouter.mount(HttpRouter.empty, "/outer", mounted)))
  ],
  HttpLayerRouter: ["/inner", HttpLayerRouter.toHttpEffect(layered)]
}

/** Forms that come in one piece, and in many. */
const forms = [{ note: "a" }, { note: "ä ".repeat(100_000) }]

const contentType = "application/x-www-form-urlencoded"

const sending = (request: HttpClientRequest.HttpClientRequest, form: string) => [
  HttpClientRequest.bodyText(request, form, contentType),
  HttpClientRequest.bodyStream(request, Stream.encodeText(Stream.make(form)), { contentType })
]

describe("a form that the session reads from, on Node", () => {
  for (const [name, [prefix, making]] of Object.entries(apps)) {
    for (const order of Object.keys(orders) as ReadonlyArray<Order>) {
      it.scoped(`${name}: ${order}`, () =>
        Effect.gen(function*() {
          const app = yield* making
          yield* HttpServer.serveEffect(app)
          const client = yield* HttpClient.HttpClient
          const carried = (yield* Effect.flatMap(client.get(`${prefix}/tokens`), (answer) => answer.json)) as {
            readonly csrf: string
            readonly session: string
          }
          let count = 0
          for (const reader of readersOf(order)) {
            const request = HttpClientRequest.post(`${prefix}/page`, {
              headers: { "x-order": order, "x-reader": reader }
            })
            for (const fields of forms) {
              const text = new URLSearchParams({ ...carried, ...fields }).toString()
              for (const sent of sending(request, text)) {
                const answer = yield* client.execute(sent)
                assert.deepStrictEqual(yield* answer.json, { count: ++count, text }, reader)
              }
            }
          }
        }).pipe(Effect.provide([NodeHttpServer.layerTest, ParamState.layer({ body: true }), MemoryStore.layer()])))
    }
  }
})

describe("a form that is not UTF-8, on Node", () => {
  for (const reader of ["bytes", "stream"] as const) {
    it.scoped(`read as ${reader} after the session: fails, and is not given other bytes`, () =>
      Effect.gen(function*() {
        yield* HttpServer.serveEffect(HttpMiddleware.session(Effect.gen(function*() {
          yield* touch
          const read = yield* Effect.exit(readers[reader])
          return HttpServerResponse.text(Exit.isFailure(read) ? "failed" : read.value)
        })))
        const client = yield* HttpClient.HttpClient
        const latin1 = new Uint8Array([0x61, 0x3d, 0xe9])
        const answer = yield* client.execute(
          HttpClientRequest.bodyUint8Array(HttpClientRequest.post("/"), latin1, contentType)
        )
        assert.strictEqual(yield* answer.text, "failed")
      }).pipe(Effect.provide([NodeHttpServer.layerTest, ParamState.layer({ body: true }), MemoryStore.layer()])))
  }
})

/** Sends the beginning of a form, and what is left of it only when it is told to. */
const beginning = (
  handler: Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    unknown,
    Session.Session | HttpServerRequest.HttpServerRequest
  >
) =>
  Effect.gen(function*() {
    yield* HttpServer.serveEffect(HttpMiddleware.session(handler))
    const { address } = yield* HttpServer.HttpServer
    const port = address._tag === "TcpAddress" ? address.port : 0
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => connect(port, "127.0.0.1")),
      (socket) => Effect.sync(() => socket.destroy())
    )
    const answer = yield* Effect.fork(Effect.promise(() =>
      new Promise<string>((resolve) => {
        let received = ""
        socket.setEncoding("utf8").on("data", (chunk: string) => received += chunk).on("close", () => resolve(received))
      })
    ))
    const head =
      `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${contentType}\r\nContent-Length: 8\r\nConnection: close`
    socket.write(`${head}\r\n\r\na=1`)
    return {
      answer: Fiber.join(answer),
      rest: Effect.sync(() => socket.write("&b=22")),
      leave: Effect.sync(() => socket.destroy())
    }
  })

describe("a form that nothing more comes of, on Node", () => {
  const environment = [NodeHttpServer.layerTest, ParamState.layer({ body: true }), MemoryStore.layer()] as const

  for (const reader of ["bytes", "stream"] as const) {
    it.scoped(`read as ${reader} before: it carries no token, and the request is answered`, () =>
      Effect.gen(function*() {
        yield* HttpServer.serveEffect(HttpMiddleware.session(Effect.gen(function*() {
          yield* readers[reader]
          const again = yield* Effect.exit(text)
          return HttpServerResponse.text(`${yield* touch} ${Exit.isFailure(again)}`)
        })))
        const client = yield* HttpClient.HttpClient
        const [sent] = sending(HttpClientRequest.post("/"), "a=1")
        assert.strictEqual(yield* Effect.flatMap(client.execute(sent!), (answer) => answer.text), "1 true")
      }).pipe(Effect.provide(environment)))
  }

  for (const reader of ["bytes", "stream"] as const) {
    it.scoped(`read as ${reader} meanwhile: the handler has them, and it carries no token`, () =>
      Effect.gen(function*() {
        yield* HttpServer.serveEffect(HttpMiddleware.session(Effect.gen(function*() {
          const [text, count] = yield* Effect.all([readers[reader], touch], { concurrency: 2 })
          return HttpServerResponse.text(`${count} ${text}`)
        })))
        const client = yield* HttpClient.HttpClient
        const [sent] = sending(HttpClientRequest.post("/"), "a=1")
        assert.strictEqual(yield* Effect.flatMap(client.execute(sent!), (answer) => answer.text), "1 a=1")
      }).pipe(Effect.provide(environment)))
  }

  it.scoped("its client has left before anybody asks for it: the session's load ends", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const left = yield* Deferred.make<void>()
      const loaded = yield* Deferred.make<number>()
      const { leave } = yield* beginning(Effect.gen(function*() {
        const { source } = yield* HttpServerRequest.HttpServerRequest
        yield* Deferred.succeed(begun, undefined)
        yield* Effect.async<void>((resume) => {
          ;(source as IncomingMessage).once("close", () => resume(Effect.void))
        })
        yield* Deferred.succeed(left, undefined)
        yield* Effect.intoDeferred(touch, loaded)
        return HttpServerResponse.empty()
      }))
      yield* Deferred.await(begun)
      yield* leave
      yield* Deferred.await(left)
      assert.strictEqual(yield* Deferred.await(loaded), 1)
    }).pipe(Effect.provide(environment)))

  it.scoped("a reader that gives up leaves it to the others, and the connection to the answer", () =>
    Effect.gen(function*() {
      const gaveUp = yield* Deferred.make<void>()
      const { answer, rest } = yield* beginning(Effect.gen(function*() {
        const reading = yield* Effect.fork(Effect.interruptible(text))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(reading)
        yield* Deferred.succeed(gaveUp, undefined)
        return HttpServerResponse.text(`${yield* touch} ${yield* text}`)
      }))
      yield* Deferred.await(gaveUp)
      yield* rest
      assert.match(yield* answer, /^HTTP\/1.1 200 [^]*\r\n\r\n1 a=1&b=22$/)
    }).pipe(Effect.provide(environment)))
})
