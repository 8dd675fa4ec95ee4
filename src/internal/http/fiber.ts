/**
 * Everything that depends on internals of @effect/platform or of the fiber runtime. Porting to Effect 4 starts here.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import type { Running } from "../runtime/caller.js"

/**
 * A fiber's refs can be set from inside the fiber's own run; its public type leaves the method out. `Effect.locally` and
 * `HttpApp.appendPreResponseHandler` do the same at x0.1 to x0.18 of a bare request more, which every request would pay.
 */
interface Settable {
  readonly setFiberRef: <A>(ref: FiberRef.FiberRef<A>, value: A) => void
}

const settable = (fiber: Running): Settable => fiber as unknown as Settable

/**
 * Gives a request's fiber a service from here on. It is not taken back when the app ends: whoever gave the fiber its
 * request takes the context back that it stands in, and no type names the service by then.
 *
 * @internal
 */
export const provide = <I, S>(fiber: Running, tag: Context.Tag<I, S>, service: S): void =>
  settable(fiber).setFiberRef(FiberRef.currentContext, Context.add(fiber.currentContext, tag, service))

/** Puts a handler behind those that the platform runs before it sends a response. @internal */
export const beforeResponse = (fiber: Running, handler: HttpApp.PreResponseHandler): void => {
  const before = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
  settable(fiber).setFiberRef(
    HttpApp.currentPreResponseHandlers,
    Option.some(before._tag === "None" ? handler : inOrder(before.value, handler))
  )
}

const inOrder =
  (first: HttpApp.PreResponseHandler, second: HttpApp.PreResponseHandler): HttpApp.PreResponseHandler =>
  (request, response) => Effect.flatMap(first(request, response), (response) => second(request, response))

/**
 * An answer before the response, which must not fail: the platform would hang the client. What goes wrong is logged and
 * answered with `otherwise`.
 *
 * @internal
 */
export const total = (
  answer: (fiber: Running) => Effect.Effect<HttpServerResponse.HttpServerResponse>,
  otherwise: (cause: Cause.Cause<unknown>) => Effect.Effect<HttpServerResponse.HttpServerResponse>
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.withFiberRuntime((fiber) => {
    try {
      const answered = answer(fiber)
      return Exit.isExit(answered) && Exit.isSuccess(answered) ? answered : Effect.catchAllCause(answered, otherwise)
    } catch (defect) {
      return otherwise(Cause.die(defect))
    }
  })

/**
 * Tells when a request's connection is asked to be upgraded: that answer is not the app's, no cookie gets into it, and the
 * handlers before the response run when the socket is closed. The request stays the same object, because the platform marks
 * the object it finds in the fiber as answered, and answers one that is not marked once more.
 *
 * @internal
 */
export const onUpgrade = (request: HttpServerRequest.HttpServerRequest, tell: () => void): void => {
  if (!Object.isExtensible(request)) {
    return
  }
  const upgrade = Effect.tap(request.upgrade, () => Effect.sync(tell))
  const { modify } = request
  Object.defineProperties(request, {
    upgrade: { configurable: true, get: () => upgrade },
    modify: {
      configurable: true,
      value: (options: Parameters<typeof modify>[0]) => {
        const modified = modify.call(request, options)
        onUpgrade(modified, tell)
        return modified
      }
    }
  })
}

/** The request that the server was given, which stays the same when a router modifies it. @internal */
export const sourceOf = (request: HttpServerRequest.HttpServerRequest): object =>
  typeof request.source === "object" && request.source !== null ? request.source : request

/** Set by the platform on a request when it begins to send the response. */
const handled: unique symbol = Symbol.for("@effect/platform/HttpApp/handled")

/**
 * Whether the request that a fiber stands in was answered. A scope can close before that, if the app wraps a part of
 * itself in `Effect.scoped`.
 *
 * @internal
 */
export const isAnswered = (fiber: Running): boolean => {
  const context = fiber.currentContext as Context.Context<never>
  const request = Context.getOption(context, HttpServerRequest.HttpServerRequest)
  return request._tag === "None" || handled in request.value
}
