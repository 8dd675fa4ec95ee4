/**
 * The rounds of `inProcess.ts`, in a process of their own that ends with the one that asked.
 */
import { Cookies, HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Context, Effect, Layer, Logger, Redacted, Ref, Schema } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, SessionField } from "effect-session"
import * as SealedStore from "effect-session/SealedStore"
import { createHash, randomBytes } from "node:crypto"
import { type Candidate, inTurn, sample } from "./harness.js"
import { serve } from "./processes.js"

const answer = (n: number): HttpServerResponse.HttpServerResponse => HttpServerResponse.text(`visit ${n}`)

const Visits = SessionField.make("visits", Schema.Number, { default: () => 0 })

const bare = Effect.map(Effect.sync(() => 1), answer)
const read = Effect.map(SessionField.get(Visits), answer)
const write = Effect.map(SessionField.updateAndGet(Visits, (n) => n + 1), answer)

const layers = Layer.mergeAll(CookieState.layer(), MemoryStore.layer(), Logger.remove(Logger.defaultLogger))

const sealedLayers = Layer.mergeAll(
  CookieState.layer(),
  SealedStore.layer({ keys: [Redacted.make(randomBytes(32).toString("base64"))] }),
  Logger.remove(Logger.defaultLogger)
)

type Handler = (request: Request) => Promise<Response>

const withCookie = async (handler: Handler, seed: Handler): Promise<() => Promise<Response>> => {
  const cookie = (await seed(new Request("https://localhost/"))).headers.get("set-cookie")?.split(";")[0] ?? ""
  const headers = { cookie }
  return () => handler(new Request("https://localhost/", { headers }))
}

interface ByHand {
  readonly visits: number
}

const ByHand = Context.GenericTag<Ref.Ref<ByHand>>("bench/ByHand")

/** What one would write without a library: a map by hashed token, a cookie, and nothing kept of what the library promises. */
const byHand = (): <E>(app: HttpApp.Default<E, Ref.Ref<ByHand>>) => HttpApp.Default<E> => {
  const sessions = new Map<string, ByHand>()
  const hash = (token: string) => createHash("sha256").update(token).digest("base64url")
  return (app) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const token = request.cookies["sid"]
      const id = token === undefined ? undefined : hash(token)
      const before = id === undefined ? undefined : sessions.get(id)
      const ref = Ref.unsafeMake(before ?? { visits: 0 })
      const respond: HttpApp.PreResponseHandler = (_, response) =>
        Effect.flatMap(ref, (after) => {
          if (after === before) {
            return Effect.succeed(response)
          }
          if (id !== undefined && before !== undefined) {
            sessions.set(id, after)
            return Effect.succeed(response)
          }
          const drawn = randomBytes(32).toString("base64url")
          sessions.set(hash(drawn), after)
          const cookies = Cookies.unsafeSet(response.cookies, "sid", drawn, { httpOnly: true, sameSite: "lax" })
          return Effect.succeed(HttpServerResponse.replaceCookies(response, cookies))
        })
      return Effect.zipRight(HttpApp.appendPreResponseHandler(respond), Effect.provideService(app, ByHand, ref))
    })
}

const readByHand = Effect.map(Effect.flatMap(ByHand, Ref.get), ({ visits }) => answer(visits))
const writeByHand = Effect.map(
  Effect.flatMap(ByHand, Ref.updateAndGet(({ visits }) => ({ visits: visits + 1 }))),
  ({ visits }) => answer(visits)
)

/** One store for all that read, so that a session begun by one handler is found by the others. */
const candidates = async (): Promise<ReadonlyArray<Candidate>> => {
  const memoMap = await Effect.runPromise(Layer.makeMemoMap)
  const handler = (app: typeof bare | typeof read): Handler =>
    HttpApp.toWebHandlerLayer(HttpMiddleware.session(app), layers, { memoMap }).handler
  const writing = handler(write)
  // in a store of its own, where the many sessions that it begins burden nobody else
  const beginning: Handler = HttpApp.toWebHandlerLayer(HttpMiddleware.session(write), layers).handler
  const sealing = (app: typeof read): Handler =>
    HttpApp.toWebHandlerLayer(HttpMiddleware.session(app), sealedLayers, { memoMap }).handler
  const writingSealed = sealing(write)
  const hand = byHand()
  const writingByHand = HttpApp.toWebHandler(hand(writeByHand))
  return [
    {
      name: "no session",
      run: await withCookie(HttpApp.toWebHandlerLayer(bare, layers, { memoMap }).handler, writing)
    },
    { name: "untouched", run: await withCookie(handler(bare), writing) },
    { name: "read", run: await withCookie(handler(read), writing) },
    { name: "add 1", run: await withCookie(writing, writing) },
    { name: "new visitor", run: () => beginning(new Request("https://localhost/")) },
    { name: "read, sealed", run: await withCookie(sealing(read), writingSealed) },
    { name: "add 1, sealed", run: await withCookie(writingSealed, writingSealed) },
    { name: "read, by hand", run: await withCookie(HttpApp.toWebHandler(hand(readByHand)), writingByHand) },
    { name: "add 1, by hand", run: await withCookie(writingByHand, writingByHand) }
  ]
}

const all = inTurn(await candidates())

serve(all.map(({ name }) => name), () => sample(all, { rounds: 20, calls: 480, warmup: 12 }))
