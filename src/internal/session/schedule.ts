/**
 * When a session is committed, and what becomes of a commit that failed: each waits for its turn and no longer than the
 * policy says, and the one at the end of the request never fails. Knows nothing of how a commit is carried out.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Store from "../../Store.js"
import * as platform from "../http/fiber.js"
import { afterwards, andThen } from "../runtime/exit.js"
import * as metrics from "../runtime/metrics.js"
import * as bounded from "../runtime/timeout.js"
import type { CommitError, Order } from "./commit.js"
import { attemptAt, automatic, carryOut, lost } from "./commit.js"
import * as Lanes from "./commitQueue.js"
import { ready, report } from "./load.js"
import type { Working } from "./state.js"
import { carryOutWithin, settled } from "./transactions.js"

/** What the platform answers for a client that went away. */
const clientClosedRequest = 499

/**
 * Queues a commit behind those of the same session in this process, and waits for it. One inside a transaction of the
 * app's own does not queue: it holds the record until that transaction ends, and may have to wait for it itself. Where
 * the store answers at once nothing can come between, and nothing queues.
 *
 * @internal
 */
export const order = <B>(working: Working, asked: Order<B>): Effect.Effect<B, CommitError> =>
  Effect.withFiberRuntime<B, CommitError>((caller) => orderBy(caller, working, asked))

const orderBy = <B>(caller: bounded.Caller, working: Working, asked: Order<B>): Effect.Effect<B, CommitError> =>
  working.base !== undefined && working.loadFailure === undefined
    ? orderLoaded(caller, working, asked)
    : andThen(ready(working, caller), () => orderLoaded(caller, working, asked))

const orderLoaded = <B>(caller: bounded.Caller, working: Working, asked: Order<B>): Effect.Effect<B, CommitError> => {
  const { policy: { storeTimeout }, store } = working.environment
  if (working.synchronous !== undefined) {
    const carried = attemptAt(working, asked, undefined, platform.nowOf(caller))
    return Exit.isExit(carried) ? carried : Effect.uninterruptible(carried)
  }
  const queue = (): Effect.Effect<B, CommitError> => {
    working.lane ??= working.knownId ?? working
    const commit = Lanes.inTurn(store, working.lane, (lane) => carryOut(working, asked, lane))
    return awaited(working, asked, bounded.start(caller, commit, storeTimeout, "commit", () => contended(working)))
  }
  return store.transaction === undefined ? queue() : Effect.flatMap(
    store.transaction,
    Option.match({
      onNone: () => Effect.flatMap(settled(working), queue),
      onSome: (transaction) =>
        awaited(
          working,
          asked,
          bounded.start(caller, carryOutWithin(working, asked, transaction), storeTimeout, "commit")
        )
    })
  )
}

const awaited = <B>(
  working: Working,
  asked: Order<B>,
  started: bounded.Started<B, CommitError>
): Effect.Effect<B, CommitError> => {
  const outcome = bounded.outcome(started)
  if (asked.explicit) {
    working.underway = outcome
  }
  return outcome
}

const contended = (working: Working): "Contention" | "Timeout" => working.conflicted ? "Contention" : "Timeout"

/**
 * The commit at the end of the request. Never fails and does its work once: the platform may call for it again after a
 * response of its own could not be written.
 *
 * @internal
 */
export const finish = (caller: bounded.Caller, working: Working, status: number): Effect.Effect<void> => {
  if (working.finishing) {
    return Exit.void
  }
  working.finishing = true
  const asked = automatic(working.ignoring || status >= 500 || status === clientClosedRequest)
  if (
    working.base !== undefined && working.provisional.length === 0 &&
    working.owed(working.draft, asked, platform.nowOf(caller))._tag === "Nothing"
  ) {
    // What the handler no longer waits for may yet land, with a token that the client then has to be given.
    return afterwards(working.underway ?? Exit.void, () => {
      working.headSent = true
      return working.lostNothing ? Exit.void : lost(working)
    })
  }
  return afterwards(attempted(() => orderBy(caller, working, asked)), (exit) => {
    working.headSent = true
    return Exit.isSuccess(exit) ? Exit.void : failed(working, exit.cause)
  })
}

/** An update that is replayed may throw, where it goes past a limit together with another request's. */
const attempted = <A, E>(commit: () => Effect.Effect<A, E>): Effect.Effect<A, E> => {
  try {
    return commit()
  } catch (defect) {
    return Exit.die(defect)
  }
}

const failed = (working: Working, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  const reported = error !== undefined && error === working.loadFailure
  // Nothing of the client's is lost by it: the next request extends the session as well.
  if (working.attempting._tag === "Touch" && !reported) {
    return Store.isStoreError(error)
      ? report(error, "a session could not be touched")
      : Effect.logError("a session could not be touched", cause)
  }
  working.commitFailure = cause
  working.did = { _tag: "Failed", cause }
  // While the record may be there, the client needs its token to try again.
  working.expiring = working.expiring && working.removing.length === 0
  if (reported) {
    return Effect.void
  }
  return Store.isStoreError(error)
    ? report(error, "a session could not be committed")
    : Effect.logError("a session could not be committed", cause)
}

/** An update made after the response head left is saved by an explicit commit, or by nothing. @internal */
export const warnWhenUnsaved = (working: Working): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { scope } = working.environment
    if (working.warning) {
      return Effect.void
    }
    working.warning = true
    const warn = Effect.suspend(() => {
      working.warning = false
      return working.unsaved
        ? Effect.zipRight(
          metrics.unsaved,
          Effect.logWarning("a session was updated after the response head left, and not committed: run Session.commit")
        )
        : Effect.void
    })
    return scope === undefined ? warn : Scope.addFinalizer(scope, warn)
  })
