/**
 * All that is asked of the HTTP platform and of its fibers beyond their plain use, in one place, so that a later platform
 * is met here.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Respondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

/** The key under which an error says how it is answered. @internal */
export const respondable: typeof Respondable.symbol = Respondable.symbol

/** The answer of an error that nobody handled: a bare status, so that nothing of the inside leaks. @internal */
export const respondWith = (status: number): () => Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  const response = Effect.succeed(HttpServerResponse.empty({ status }))
  return () => response
}

/**
 * A fiber's refs can be set from inside the fiber's own run; the interface leaves the method out. `Effect.locally` and
 * `FiberRef.update` do the same at several times the cost, which every request would pay: they compare the old context
 * with the new one, by hashes that both then carry.
 */
interface Settable {
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}

type Running = Fiber.RuntimeFiber<unknown, unknown>

type Locals = Map<FiberRef.FiberRef<unknown>, readonly [Entry, ...ReadonlyArray<Entry>]>
type Entry = readonly [FiberId.Single, unknown]

/** Whether a fiber hands out a copy of its refs, as Effect does to this day, and so one that nobody else holds. */
let copies: boolean | undefined = undefined

const ownRefs = (fiber: Running): FiberRefs.FiberRefs => {
  const refs = fiber.getFiberRefs()
  copies ??= fiber.getFiberRefs().locals !== refs.locals
  return copies ? refs : FiberRefs.unsafeMake(new Map(refs.locals))
}

/** What a ref's stack of values becomes when a fiber sets it. */
const put = <A>(refs: FiberRefs.FiberRefs, fiber: Running, ref: FiberRef.FiberRef<A>, value: A): void => {
  const locals = refs.locals as Locals
  const key = ref as FiberRef.FiberRef<unknown>
  const id = fiber.id()
  const stack = locals.get(key)
  const below = stack === undefined ? [] : stack[0][0] === id ? stack.slice(1) : stack
  locals.set(key, [[id, value], ...below])
}

/**
 * Gives a request's fiber a service from here on, and a handler before its response. They are not taken back when the app
 * ends: whoever gave the fiber its request takes the context back that it stands in, and no type names the service by then.
 *
 * @internal
 */
export const provideDirectly = <I, S>(
  fiber: Running,
  tag: Context.Tag<I, S>,
  service: S,
  handler?: HttpApp.PreResponseHandler
): void => {
  const refs = ownRefs(fiber)
  const context = Context.add(fiber.currentContext, tag, service) as Context.Context<never>
  put(refs, fiber, FiberRef.currentContext, context)
  if (handler !== undefined) {
    put(refs, fiber, HttpApp.currentPreResponseHandlers, appended(fiber, handler))
  }
  ;(fiber as unknown as Settable).setFiberRefs(refs)
}

/**
 * The same request, which tells when its connection is asked to be upgraded: that answer is not the app's, no cookie gets
 * into it, and the handlers before the response run when the socket is closed.
 *
 * @internal
 */
export const tellingUpgrade = (
  request: HttpServerRequest.HttpServerRequest,
  tell: () => void
): HttpServerRequest.HttpServerRequest =>
  Object.create(request, {
    upgrade: { get: () => Effect.tap(request.upgrade, () => Effect.sync(tell)) },
    modify: {
      value: (options: Parameters<typeof request.modify>[0]) => tellingUpgrade(request.modify(options), tell)
    }
  }) as HttpServerRequest.HttpServerRequest

/** The time by the clock of a running fiber, in milliseconds: `Clock.currentTimeMillis` without a step of the runtime. */
export const nowOf = (fiber: Running): number =>
  Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock).unsafeCurrentTimeMillis()

const untraced = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * A store call at the time it is made, in a span where a tracer of the app's own takes spans: with the tracer that Effect
 * falls back on nobody ever sees one, and every call would pay for it.
 *
 * @internal
 */
export const storeCall = <A, E, R>(
  name: string,
  id: string,
  call: (now: number) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) => {
    const called = call(nowOf(fiber))
    return Context.get(fiber.getFiberRef(DefaultServices.currentServices), Tracer.Tracer) === untraced
      ? called
      : Effect.withSpan(called, name, { attributes: { "session.id": id }, captureStackTrace: false })
  })

const appended = (fiber: Running, handler: HttpApp.PreResponseHandler): Option.Option<HttpApp.PreResponseHandler> => {
  const before = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
  return Option.some(
    before._tag === "None"
      ? handler
      : (request, response) => Effect.flatMap(before.value(request, response), (response) => handler(request, response))
  )
}

const listed = (value: string): ReadonlyArray<string> => value.split(",").map((item) => item.trim().toLowerCase())

/** Adds to `Vary` the request headers that transports read (S56). @internal */
export const vary = (
  response: HttpServerResponse.HttpServerResponse,
  transports: ReadonlyArray<{ readonly vary: ReadonlyArray<string> }>
): HttpServerResponse.HttpServerResponse => {
  const names = transports.length === 1 ? transports[0]?.vary ?? [] : transports.flatMap((transport) => transport.vary)
  const before = response.headers["vary"]
  const there = before === undefined ? [] : listed(before)
  const added = there.includes("*") ? [] : names.filter((name) => !there.includes(name.toLowerCase()))
  return added.length === 0
    ? response
    : HttpServerResponse.setHeader(
      response,
      "vary",
      before === undefined ? added.join(", ") : [before, ...added].join(", ")
    )
}

/** Keeps a response out of shared caches, unless the handler's own `Cache-Control` does (S57). @internal */
export const noStore = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const before = response.headers["cache-control"]
  const kept = before !== undefined &&
    listed(before).some((item) => item === "no-store" || item === "private")
  return kept ? response : HttpServerResponse.setHeader(response, "cache-control", "no-store")
}
