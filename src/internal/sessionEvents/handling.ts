/**
 * Runs an app's handler of events beside whoever caused the event: nobody waits for it, and it can neither fail nor hold
 * up anything. Knows nothing of what the events are.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import type { Handler } from "../../SessionEvents.js"
import * as SessionEvents from "../../SessionEvents.js"
import type { Running } from "../runtime/caller.js"
import { forkLater } from "../runtime/timeout.js"

/** How many events are handled at a time, so that a handler that hangs does not fill the memory. */
const limit = 1000

/** What is known of one handler. */
interface Load {
  underWay: number
  /** Whether events were dropped since the last time that nothing was under way. */
  dropping: boolean
  /** The kinds of events that it failed for. Its next failures for them are not logged. */
  readonly failed: Set<SessionEvents.Event["_tag"]>
}

const loads = new WeakMap<Handler, Load>()

const loadOf = (handler: Handler): Load => {
  const known = loads.get(handler)
  if (known !== undefined) {
    return known
  }
  const load: Load = { underWay: 0, dropping: false, failed: new Set() }
  loads.set(handler, load)
  return load
}

/** The services of the caller that a handler gets, besides this library's own, such as its sessions. */
const lent: ReadonlySet<string> = new Set([HttpServerRequest.HttpServerRequest.key, Tracer.ParentSpan.key])

/**
 * What a handler has of its caller's services. It may outlive the caller, so it gets none that may end with the caller,
 * such as the connection of a transaction. Which those are only the app knows, so it gets the few that do not. What
 * it causes itself is told to the same handler.
 */
const contextFor = (caller: Running, handler: Handler): Context.Context<never> =>
  Context.unsafeMake<never>(
    new Map([...caller.currentContext.unsafeMap].filter(([key]) => lent.has(key) || key.startsWith("effect-session/")))
  ).pipe(Context.add(SessionEvents.SessionEvents, handler))

/**
 * Starts the handler for an event. It starts after the step that the caller is in, which may be in the midst of a change of
 * its session.
 *
 * @internal
 */
export const handle = (caller: Running, handler: Handler, event: SessionEvents.Event): void => {
  const load = loadOf(handler)
  if (load.underWay >= limit) {
    if (!load.dropping) {
      load.dropping = true
      forkLater(
        caller,
        Effect.logWarning(
          `SessionEvents: The handler has ${limit} events under way. Further events are dropped until it has caught up.`
        )
      )
    }
    return
  }
  load.underWay += 1
  const context = contextFor(caller, handler)
  const handling = Effect.mapInputContext(
    Effect.catchAllCause(
      Effect.suspend(() => handler(event)),
      (cause) => failed(load, event, cause)
    ),
    (_: Context.Context<never>) => context
  )
  forkLater(caller, handling).addObserver(() => {
    load.underWay -= 1
    if (load.underWay === 0) {
      load.dropping = false
    }
  })
}

const failed = (load: Load, { _tag }: SessionEvents.Event, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  if (load.failed.has(_tag)) {
    return Effect.void
  }
  load.failed.add(_tag)
  return Effect.logWarning(
    `SessionEvents: The handler failed for the event ${_tag}. Its further failures for such events are not logged.`,
    cause
  )
}
