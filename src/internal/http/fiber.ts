/**
 * Everything that depends on internals of @effect/platform or of the fiber runtime. Porting to Effect 4 starts here.
 * The module knows nothing of sessions.
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
 * The method that sets a fiber's refs from inside its own run, which the fiber's public type leaves out.
 * `Effect.locally` and `HttpApp.appendPreResponseHandler` do the same, but would cost every request x0.1 to x0.18 of a
 * bare request more.
 */
interface Settable {
  readonly setFiberRef: <A>(ref: FiberRef.FiberRef<A>, value: A) => void
}

const settable = (fiber: Running): Settable => fiber as unknown as Settable

/**
 * Provides a service to a request's fiber from here on. The service is not removed when the app ends: whoever gave the
 * fiber its request also restores the context from before, and no type names the service any more.
 *
 * @internal
 */
export const provide = <I, S>(fiber: Running, tag: Context.Tag<I, S>, service: S): void =>
  settable(fiber).setFiberRef(FiberRef.currentContext, Context.add(fiber.currentContext, tag, service))

/** Adds a handler after those that the platform runs before it sends a response. @internal */
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
 * The answer of a handler before the response, which must not fail, because the platform would leave the client
 * waiting. Failures and defects are answered by `otherwise`.
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
 * Calls `notify` when the app upgrades the request's connection. The answer to an upgrade is not the app's: no cookie
 * gets into it, and the handlers before the response run only when the socket is closed. The request must stay the same
 * object, because the platform marks the object in the fiber as answered, and would answer an object without the mark
 * once more.
 *
 * @internal
 */
export const onUpgrade = (request: HttpServerRequest.HttpServerRequest, notify: () => void): void => {
  if (!Object.isExtensible(request)) {
    return
  }
  const upgrade = Effect.tap(request.upgrade, () => Effect.sync(notify))
  const { modify } = request
  Object.defineProperties(request, {
    upgrade: { configurable: true, get: () => upgrade },
    modify: {
      configurable: true,
      value: (options: Parameters<typeof modify>[0]) => {
        const modified = modify.call(request, options)
        onUpgrade(modified, notify)
        return modified
      }
    }
  })
}

/** The server's own request object, which stays the same when a router modifies the request. @internal */
export const sourceOf = (request: HttpServerRequest.HttpServerRequest): object =>
  typeof request.source === "object" && request.source !== null ? request.source : request

/** The mark that the platform sets on a request when it begins to send the response. */
const handled: unique symbol = Symbol.for("@effect/platform/HttpApp/handled")

/**
 * Whether the fiber's request was answered. The request's scope can close before that, if the app wraps a part of
 * itself in `Effect.scoped`.
 *
 * @internal
 */
export const isAnswered = (fiber: Running): boolean => {
  const context = fiber.currentContext as Context.Context<never>
  const request = Context.getOption(context, HttpServerRequest.HttpServerRequest)
  return request._tag === "None" || handled in request.value
}
