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
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"

/** The key under which an error says how it is answered. @internal */
export const respondable: typeof Respondable.symbol = Respondable.symbol

/** The answer of an error that nobody handled: a bare status, so that nothing of the inside leaks. @internal */
export const respondWith = (status: number): () => Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  const response = Effect.succeed(HttpServerResponse.empty({ status }))
  return () => response
}

/**
 * A fiber's refs can be set from inside the fiber's own run; the interface leaves the method out. `Effect.locally` does
 * the same at several times the cost, which every request would pay.
 */
interface Settable {
  readonly setFiberRef: <A>(ref: FiberRef.FiberRef<A>, value: A) => void
}

type Running = Fiber.RuntimeFiber<unknown, unknown>

const setFiberRef = <A>(fiber: Running, ref: FiberRef.FiberRef<A>, value: A): void =>
  (fiber as unknown as Settable).setFiberRef(ref, value)

/** `HttpApp.appendPreResponseHandler` on the running fiber. @internal */
export const appendPreResponseHandler = (fiber: Running, handler: HttpApp.PreResponseHandler): void => {
  const before = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
  setFiberRef(
    fiber,
    HttpApp.currentPreResponseHandlers,
    Option.some(
      before._tag === "None"
        ? handler
        : (request, response) =>
          Effect.flatMap(before.value(request, response), (response) => handler(request, response))
    )
  )
}

/** `Effect.provideService` on the running fiber, undone when the effect ends. @internal */
export const provideDirectly = <A, E, R, I, S>(
  effect: Effect.Effect<A, E, R>,
  fiber: Running,
  tag: Context.Tag<I, S>,
  service: S
): Effect.Effect<A, E, Exclude<R, I>> => {
  const outer = fiber.currentContext
  setFiberRef(fiber, FiberRef.currentContext, Context.add(outer, tag, service) as Context.Context<never>)
  const restore = Effect.withFiberRuntime<void>((fiber) => {
    setFiberRef(fiber as Running, FiberRef.currentContext, outer)
    return Effect.void
  })
  return Effect.matchCauseEffect(effect, {
    onFailure: (cause) => Effect.zipRight(restore, Effect.failCause(cause)),
    onSuccess: (value) => Effect.as(restore, value)
  }) as Effect.Effect<A, E, Exclude<R, I>>
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
