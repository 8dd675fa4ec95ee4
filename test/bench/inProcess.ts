/**
 * What the middleware adds to a request, over the same app without a session: in one process, through the web handler,
 * no sockets, sessions in memory.
 */
import { HttpApp, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Logger, Schema } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, SessionField } from "effect-session"
import { type Candidate, interleave, table, times } from "./harness.js"
import { standalone } from "./standalone.js"

const Visits = SessionField.make("visits", Schema.Number, { default: () => 0 })

const bare = Effect.map(Effect.sync(() => 1), (n) => HttpServerResponse.text(`visit ${n}`))
const read = Effect.map(SessionField.get(Visits), (n) => HttpServerResponse.text(`visit ${n}`))
const write = Effect.map(SessionField.updateAndGet(Visits, (n) => n + 1), (n) => HttpServerResponse.text(`visit ${n}`))

const layers = Layer.mergeAll(CookieState.layer(), MemoryStore.layer(), Logger.remove(Logger.defaultLogger))

type Handler = (request: Request) => Promise<Response>

const withCookie = async (handler: Handler, seed: Handler): Promise<() => Promise<Response>> => {
  const cookie = (await seed(new Request("https://localhost/"))).headers.get("set-cookie")?.split(";")[0] ?? ""
  const headers = { cookie }
  return () => handler(new Request("https://localhost/", { headers }))
}

/** One store and state for all of them, so that a session begun by one handler is found by the others. */
export const candidates = async (): Promise<ReadonlyArray<Candidate>> => {
  const memoMap = await Effect.runPromise(Layer.makeMemoMap)
  const handler = (app: typeof bare | typeof read): Handler =>
    HttpApp.toWebHandlerLayer(HttpMiddleware.session(app), layers, { memoMap }).handler
  const writing = handler(write)
  // in a store of its own, where the many sessions that it begins burden nobody else
  const beginning: Handler = HttpApp.toWebHandlerLayer(HttpMiddleware.session(write), layers).handler
  return [
    {
      name: "no session",
      run: await withCookie(HttpApp.toWebHandlerLayer(bare, layers, { memoMap }).handler, writing)
    },
    { name: "untouched", run: await withCookie(handler(bare), writing) },
    { name: "read", run: await withCookie(handler(read), writing) },
    { name: "add 1", run: await withCookie(writing, writing) },
    { name: "new visitor", run: () => beginning(new Request("https://localhost/")) }
  ]
}

const goals: { readonly [name: string]: string } = {
  untouched: "x1.05",
  read: "x1.25",
  "add 1": "x1.30"
}

export const run = async (): Promise<string> => {
  const measured = await interleave(await candidates(), { rounds: 100, calls: 480 })
  return table(
    ["one request, in process", "us", "over no session", "goal"],
    measured.map(({ compared, micros, name }) => [name, micros.toFixed(1), times(compared.cpuRatio), goals[name] ?? ""])
  )
}

await standalone(import.meta.url, run)
