/**
 * All that is asked of the HTTP platform and of its fibers beyond their plain use, in one place, so that a later platform
 * is met here.
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpApp from "@effect/platform/HttpApp"
import * as Respondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"

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

/** What a ref's stack of values becomes when a fiber sets it. */
const put = <A>(locals: Locals, fiber: FiberId.Single, ref: FiberRef.FiberRef<A>, value: A): void => {
  const key = ref as FiberRef.FiberRef<unknown>
  const stack = locals.get(key)
  const below = stack === undefined ? [] : stack[0][0] === fiber ? stack.slice(1) : stack
  locals.set(key, [[fiber, value], ...below])
}

const setFiberRefs = (fiber: Running, change: (locals: Locals, id: FiberId.Single) => void): void => {
  const locals: Locals = new Map()
  fiber.getFiberRefs().locals.forEach((stack, ref) => locals.set(ref, stack))
  change(locals, fiber.id())
  ;(fiber as unknown as Settable).setFiberRefs(FiberRefs.unsafeMake(locals))
}

/**
 * `HttpApp.appendPreResponseHandler` and `Effect.provideService` on the running fiber, the service taken back when the
 * effect ends.
 *
 * @internal
 */
export const provideDirectly = <A, E, R, I, S>(
  effect: Effect.Effect<A, E, R>,
  fiber: Running,
  tag: Context.Tag<I, S>,
  service: S,
  handler?: HttpApp.PreResponseHandler
): Effect.Effect<A, E, Exclude<R, I>> => {
  const outer = fiber.currentContext
  setFiberRefs(fiber, (locals, id) => {
    put(locals, id, FiberRef.currentContext, Context.add(outer, tag, service) as Context.Context<never>)
    if (handler !== undefined) {
      put(locals, id, HttpApp.currentPreResponseHandlers, appended(fiber, handler))
    }
  })
  const restore = (): void => setFiberRefs(fiber, (locals, id) => put(locals, id, FiberRef.currentContext, outer))
  return Effect.matchCauseEffect(effect, {
    onFailure: (cause) => {
      restore()
      return Effect.failCause(cause)
    },
    onSuccess: (value) => {
      restore()
      return Effect.succeed(value)
    }
  }) as Effect.Effect<A, E, Exclude<R, I>>
}

const appended = (fiber: Running, handler: HttpApp.PreResponseHandler): Option.Option<HttpApp.PreResponseHandler> => {
  const before = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
  return Option.some(
    before._tag === "None"
      ? handler
      : (request, response) => Effect.flatMap(before.value(request, response), (response) => handler(request, response))
  )
}

const listed = (value: string): ReadonlyArray<string> => value.split(",").map((item) => item.trim().toLowerCase())

/** Adds request headers to `Vary` (S56). @internal */
export const vary = (
  response: HttpServerResponse.HttpServerResponse,
  names: ReadonlyArray<string>
): HttpServerResponse.HttpServerResponse => {
  if (names.length === 0) {
    return response
  }
  const before = Option.getOrUndefined(Headers.get(response.headers, "vary"))
  if (before === undefined) {
    return HttpServerResponse.setHeader(response, "vary", names.join(", "))
  }
  const there = listed(before)
  const added = there.includes("*") ? [] : names.filter((name) => !there.includes(name.toLowerCase()))
  return added.length === 0
    ? response
    : HttpServerResponse.setHeader(response, "vary", [before, ...added].join(", "))
}

/** Keeps a response out of shared caches, unless the handler's own `Cache-Control` does (S57). @internal */
export const noStore = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const before = Option.getOrUndefined(Headers.get(response.headers, "cache-control"))
  const kept = before !== undefined &&
    listed(before).some((item) => item === "no-store" || item === "private")
  return kept ? response : HttpServerResponse.setHeader(response, "cache-control", "no-store")
}
