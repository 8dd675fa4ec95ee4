/**
 * The one place that all events go through: each updates its metric, is logged if it has a line, and is given to the app's
 * handler. The module knows nothing of where events come from.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Event, Handler } from "../../SessionEvents.js"
import { SessionEvents } from "../../SessionEvents.js"
import type { Running } from "../runtime/caller.js"
import { nowOf } from "../runtime/caller.js"
import * as metrics from "../runtime/metrics.js"
import { handle } from "./handling.js"

type Timeless<E> = E extends Event ? Omit<E, "at"> : never

/** An event as its cause knows it: the time is that of the emission. @internal */
export type Emission = Timeless<Event>

const ignore: Handler = Context.get(Context.empty(), SessionEvents)

/** The handler that is in a fiber's context. */
const handlerOf = (fiber: Running): Handler =>
  Context.get(fiber.currentContext as Context.Context<never>, SessionEvents)

/** Whether the app wants to know of events. @internal */
export const isHandled = (handler: Handler): boolean => handler !== ignore

/** The events that are counted by their kind alone, and how the metric names them. */
const names = {
  Created: "created",
  LoggedIn: "logged_in",
  Renewed: "renewed",
  Destroyed: "destroyed",
  Revoked: "revoked",
  Expired: "expired",
  Conflict: "conflict",
  Gone: "gone",
  Unsaved: "unsaved"
} as const

const count = (fiber: Running, event: Emission): void => {
  switch (event._tag) {
    case "Rejected":
      return metrics.rejected(fiber, event.reason)
    case "StoreFailed":
      return metrics.storeFailed(fiber, event.method)
    default:
      return metrics.event(fiber, names[event._tag])
  }
}

/** Emits an event that has no log line, from a running fiber. @internal */
export const emit = (fiber: Running, handler: Handler, event: Emission): void => {
  count(fiber, event)
  if (isHandled(handler)) {
    handle(fiber, handler, { ...event, at: nowOf(fiber) })
  }
}

/**
 * Emits an event, and logs it if it has a line. The handler is that of the fiber's context, unless it is given.
 *
 * @internal
 */
export const emitting = (
  event: Emission,
  log: Effect.Effect<void> = Exit.void,
  handler?: Handler
): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    emit(fiber, handler ?? handlerOf(fiber), event)
    return log
  })
