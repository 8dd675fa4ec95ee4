/**
 * The load behind the first touch of a session: which token the request carries, what the store knows of it, and the
 * one report of a load that failed. Knows nothing of handlers, updates or commits.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import { afterwards, andThen } from "../runtime/exit.js"
import * as metrics from "../runtime/metrics.js"
import * as bounded from "../runtime/timeout.js"
import * as Draft from "./draft.js"
import type { Found, Working } from "./state.js"
import { sameToken } from "./state.js"
import * as calls from "./storeCalls.js"

/** The most tokens of one request that are looked up. */
const maximumCandidates = 4

/** Loads the session, if nothing did, and waits for it. @internal */
export const ready = (working: Working, caller: bounded.Caller): Effect.Effect<void, Store.StoreError> => {
  if (working.loader !== undefined || working.base !== undefined || working.loadFailure !== undefined) {
    return loaded(working)
  }
  working.asked = true
  if (working.atOnce) {
    return afterwards(bounded.contained("load", () => find(working, caller)), (exit) => {
      settle(working, exit)
      return loaded(working)
    })
  }
  const loader = bounded.start(
    caller,
    bounded.contained("load", () => find(working, caller)),
    working.environment.policy.storeTimeout,
    "load"
  )
  working.loader = loader
  loader.whenDone((exit) => settle(working, exit))
  return loaded(working)
}

const settle = (working: Working, exit: Exit.Exit<Found, Store.StoreError>): void => {
  if (working.base !== undefined || working.loadFailure !== undefined) {
    return
  }
  if (Exit.isSuccess(exit)) {
    working.found(exit.value)
    return
  }
  working.notFound(Option.getOrElse(
    Cause.failureOption(exit.cause),
    () => new Store.StoreError({ reason: "Unavailable", method: "load" })
  ))
}

/** Counts and logs a store's failure. @internal */
export const report = (error: Store.StoreError, what: string): Effect.Effect<void> =>
  Effect.zipRight(metrics.storeFailed(error.method), Effect.logError(what, Cause.fail(error)))

/** Waits for the load; its failure is reported once, however many wait. */
const loaded = (working: Working): Effect.Effect<void, Store.StoreError> => {
  const { loader } = working
  return loader === undefined || loader.exit !== undefined
    ? answer(working)
    : Effect.flatMap(Effect.exit(bounded.outcome(loader)), () => answer(working))
}

const answer = (working: Working): Effect.Effect<void, Store.StoreError> => {
  const failure = working.loadFailure
  if (failure === undefined) {
    return Exit.void
  }
  const told = working.base === undefined ? Effect.fail(failure) : Effect.void
  return Effect.suspend(() => {
    if (working.failureReported) {
      return told
    }
    working.failureReported = true
    return Effect.zipRight(report(failure, "the session could not be loaded"), told)
  })
}

/** The first transport that carries a token of this store's form, and what its tokens name. */
const find = (working: Working, caller: bounded.Caller, carrier = 0): Effect.Effect<Found, Store.StoreError> => {
  const { request, store, transports } = working.environment
  const transport = transports[carrier]
  if (transport === undefined || request === undefined) {
    return Exit.succeed({ base: Draft.fresh, carrier: 0 })
  }
  return andThen(transport.extract(request), (tokens) => {
    if (tokens.length === 0) {
      return find(working, caller, carrier + 1)
    }
    const accepted = candidatesOf(tokens, store)
    working.candidates = accepted
    working.carrier = carrier
    return accepted.length === 0
      ? Effect.zipRight(metrics.rejected("malformed"), find(working, caller, carrier + 1))
      : lookUp(working, caller, accepted, carrier, 0, false)
  })
}

const lookUp = (
  working: Working,
  caller: bounded.Caller,
  tokens: ReadonlyArray<SessionToken.Token>,
  carrier: number,
  index: number,
  superseded: boolean
): Effect.Effect<Found, Store.StoreError> => {
  const token = tokens[index]
  if (token === undefined) {
    return Effect.as(
      metrics.rejected(superseded ? "superseded" : "unknown"),
      { base: superseded ? Draft.ended : Draft.fresh, carrier }
    )
  }
  return andThen(calls.load(working, token, carrier, caller), (found) =>
    found._tag === "Live"
      ? Exit.succeed({ base: { _tag: "Live", token, record: found.record }, carrier })
      : lookUp(working, caller, tokens, carrier, index + 1, superseded || found._tag === "Superseded"))
}

/** A form of a megabyte can carry tens of thousands: no more are compared than are looked up. */
const candidatesOf = (
  tokens: ReadonlyArray<SessionToken.Token>,
  store: Store.Store
): ReadonlyArray<SessionToken.Token> => {
  const candidates: Array<SessionToken.Token> = []
  for (const token of tokens) {
    if (store.accepts(token) && !candidates.some((other) => sameToken(other, token))) {
      candidates.push(token)
      if (candidates.length === maximumCandidates) {
        break
      }
    }
  }
  return candidates
}
