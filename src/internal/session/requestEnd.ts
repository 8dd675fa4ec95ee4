/**
 * What happens to a session when its request ends: the last commit, which never fails; and the request's scope, which sees
 * to it that nothing is lost in silence, however the response left.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Store from "../../Store.js"
import { isAnswered } from "../http/fiber.js"
import type { Running } from "../runtime/caller.js"
import { afterExit, andThen } from "../runtime/exit.js"
import * as Timeout from "../runtime/timeout.js"
import { automatic, dropChanges, planned, Run } from "./commit.js"
import { emitting, namedIn } from "./events.js"
import { readyAtEnd } from "./load.js"
import type { Planned } from "./model.js"
import { commit } from "./schedule.js"
import type { SessionState } from "./state.js"
import { report } from "./storeCalls.js"

/** What the platform answers for a client that went away. */
const clientClosedRequest = 499

/**
 * The commit at the end of the request. Never fails, and does its work once: the platform asks again when it has to answer
 * with another response than the first.
 *
 * @internal
 */
export const finish = (state: SessionState, caller: Running, status: number): Effect.Effect<void> => {
  if (state.lastCommitBegan) {
    return Exit.void
  }
  state.close()
  const request = automatic(state.response.ignoring || status >= 500 || status === clientClosedRequest)
  const run = new Run(state, caller, request)
  if (state.value._tag !== "Open" || state.isProvisional) {
    return carriedOut(run, undefined)
  }
  const plan = planned(run)
  if (plan.write._tag !== "Nothing") {
    return carriedOut(run, plan)
  }
  // A commit that the handler stopped waiting for may still land, with a token that the client has to be given.
  return afterExit(state.underway ?? Exit.void, () => sent(run))
}

const sent = (run: Run<void>): Effect.Effect<void> => {
  run.state.send()
  return run.state.dropsChanges ? dropChanges(run, run.state.open.base) : Exit.void
}

const carriedOut = (run: Run<void>, plan: Planned<void> | undefined): Effect.Effect<void> => {
  const { caller, state } = run
  return afterExit(
    attempted(() => andThen(readyAtEnd(state, caller), (isReady) => isReady ? commit(run, plan) : Exit.void)),
    (exit) => {
      state.send()
      return Exit.isSuccess(exit) ? Exit.void : failed(run, exit.cause)
    }
  )
}

/** An update of the app's own may throw when it is made again on another request's data. */
const attempted = <A, E>(f: () => Effect.Effect<A, E>): Effect.Effect<A, E> => {
  try {
    return f()
  } catch (defect) {
    return Exit.die(defect)
  }
}

const failed = ({ state, write }: Run<void>, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  // The next request extends the session as well: nothing of the client's is lost by a touch that failed.
  const isTouch = write._tag === "Touch"
  const message = isTouch ? "a session could not be touched" : "a session could not be committed"
  if (!isTouch) {
    state.fail(cause)
  }
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  return Store.isStoreError(error) ? report(error, message, state) : Effect.logError(message, cause)
}

/**
 * From the first touch on: a fiber that ends and did not commit leaves the session to the request's scope. So a request
 * that goes well pays for an observer, and not for a finalizer, which costs a tenth of a bare request.
 *
 * @internal
 */
export const watchFiber = (state: SessionState): void => {
  const { host } = state.environment
  host?.fiber.addObserver(() => {
    if (!state.lastCommitBegan) {
      Timeout.fork(host.fiber, watchScope(state))
    }
  })
}

/**
 * Lets the request's scope see to it that what is not saved is reported. Where there is no scope, or where it is closed,
 * that is now.
 *
 * @internal
 */
export const watchScope = (state: SessionState): Effect.Effect<void> => {
  const { host } = state.environment
  if (host === undefined || state.response.phase === "Over") {
    return warnIfUnsaved(state)
  }
  if (state.response.watched) {
    return Effect.void
  }
  state.watch()
  return Scope.addFinalizerExit(host.scope, () => over(state))
}

const over = (state: SessionState): Effect.Effect<void> => {
  if (!state.lastCommitBegan) {
    return Effect.withFiberRuntime((fiber) => isAnswered(fiber) ? responseLost(state, fiber) : Effect.void)
  }
  state.end()
  return warnIfUnsaved(state)
}

/**
 * The response left, and the session was not asked for what to say in it: something around the middleware put the fiber's
 * refs back, where the platform keeps its handlers before the response. A logout is carried out all the same.
 */
const responseLost = (state: SessionState, caller: Running): Effect.Effect<void> => {
  const { value } = state
  const removal = value._tag === "Open" && value.removing.length > 0
    ? Effect.catchAllCause(
      Effect.suspend(() => commit(new Run(state, caller, automatic(true)), undefined)),
      (cause) => Effect.logError("a session could not be removed", cause)
    )
    : Effect.void
  const told = unsaved(
    state,
    Effect.logError(
      "the response left without its session: changes were not saved and no cookie was set, because something around " +
        "HttpMiddleware.session took its handler away. Put the middleware outside of HttpApp.withPreResponseHandler, " +
        "timeouts, races and forks, and give an inner app the request that the server was given"
    )
  )
  return Effect.zipRight(told, removal)
}

const unsaved = (state: SessionState, log: Effect.Effect<void>): Effect.Effect<void> =>
  andThen(namedIn(state), (session) => emitting(state, { _tag: "Unsaved", ...session }, log))

const warnIfUnsaved = (state: SessionState): Effect.Effect<void> =>
  !state.unsaved ? Exit.void : unsaved(
    state,
    Effect.logWarning("a session was updated after the response head left, and not committed: run Session.commit")
  )
