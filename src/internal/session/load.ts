/**
 * The load behind the first touch of a session: which token the request carries, and what the store knows of it. Every
 * fiber of the request shares one load, and its failure is remembered. Knows nothing of handlers, updates or commits.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { SessionGone } from "../../SessionError.js"
import * as SessionRecord from "../../SessionRecord.js"
import type * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import * as Store from "../../Store.js"
import type { Running } from "../runtime/caller.js"
import { nowOf } from "../runtime/caller.js"
import { afterExit, andThen } from "../runtime/exit.js"
import * as Timeout from "../runtime/timeout.js"
import * as Draft from "./draft.js"
import { emit, emitting, named, namedByToken } from "./events.js"
import { spanned } from "./spans.js"
import type { SessionState } from "./state.js"
import { callOf, nothingCarried, sameToken } from "./state.js"
import { contained, gaveUp, late, report, timed } from "./storeCalls.js"

/** The most tokens of one request that are looked up, and the most that are looked at. */
const maximumCandidates = 4
const maximumLookedAt = 16

type Loading = Effect.Effect<void, Store.StoreError>

/** Waits until the session is loaded, loading it if nothing did. @internal */
export const ready = (state: SessionState, caller: Running): Loading => {
  const { value } = state
  switch (value._tag) {
    case "Open":
    case "Failed":
      return answer(state)
    case "Loading":
      return awaited(state, value.load)
    case "Untouched":
      return load(state, caller)
  }
}

/** Of tokens that are there at once. */
const arrived = new Timeout.Started<void, never>(Exit.void)

/** Loads the session, whatever was known of it. @internal */
export const load = (state: SessionState, caller: Running): Loading => {
  const { storeTimeout } = state.environment.policy
  const start = (from: Running, call: Finding, limit: number) =>
    Timeout.start(from, call, limit, () => tooLate(state, caller, "load"))
  const look = (carried: Carried | undefined): Finding => contained("load", () => find(state, caller, carried))
  const carrying = contained("load", () => carried(state))
  const isHere: boolean = Exit.isExit(carrying)
  const arrival = isHere ? arrived : new Timeout.Started<void, never>(undefined)
  // A form comes as fast as its client sends it, which says nothing of the store.
  const finding = spanned(
    caller,
    "session.load",
    (): Finding =>
      isHere
        ? andThen(carrying, look)
        : Effect.flatMap(carrying, (carried) => {
          arrival.complete(Exit.void)
          // From the fiber that is in the span.
          return Effect.withFiberRuntime((waiting) => Timeout.outcome(start(waiting, look(carried), storeTimeout)))
        }),
    (base) => base
  )
  if (Exit.isExit(finding)) {
    complete(state, finding as Exit.Exit<Draft.Base, Store.StoreError>)
    return answer(state)
  }
  const started = start(caller, finding, isHere ? storeTimeout : Infinity)
  let thrown: Exit.Exit<never> | undefined = undefined
  state.loads(started, arrival)
  started.whenDone(() => {
    arrival.complete(Exit.void)
    try {
      complete(state, started.exit!)
    } catch (defect) {
      thrown = Exit.die(defect)
    }
  })
  return afterExit(Timeout.outcome(started), () => thrown ?? answer(state))
}

const tooLate = (state: SessionState, caller: Running, method: "load" | "reload"): Store.StoreError => {
  gaveUp(caller, "load", state.environment.policy.storeTimeout)
  return late(method)
}

/** An update of the app's own may throw when it is made again on what was found. */
const complete = (state: SessionState, exit: Exit.Exit<Draft.Base, Store.StoreError>): void => {
  if (Exit.isSuccess(exit)) {
    state.found(exit.value)
  } else {
    state.loadFailed(Option.getOrElse(Cause.failureOption(exit.cause), () => late("load")))
  }
}

/**
 * `ready` for the end of a request, which does not wait for a form longer than for a store: its handler gave up waiting, and
 * the client may never send it. The load goes on then. Answers whether the session is loaded.
 *
 * @internal
 */
export const readyAtEnd = (state: SessionState, caller: Running): Effect.Effect<boolean, Store.StoreError> => {
  const { value } = state
  const loaded = () => andThen(ready(state, caller), () => Exit.succeed(true))
  return value._tag !== "Loading" || value.arrival.exit !== undefined ? loaded() : Effect.timeoutOption(
    Effect.interruptible(Timeout.outcome(value.arrival)),
    state.environment.policy.storeTimeout
  ).pipe(Effect.flatMap((arrival) => Option.isSome(arrival) ? loaded() : Exit.succeed(false)))
}

const awaited = (state: SessionState, load: Timeout.Started<Draft.Base, Store.StoreError>): Loading =>
  afterExit(Timeout.outcome(load), () => answer(state))

const answer = (state: SessionState): Loading => {
  const { value } = state
  if (value._tag === "Failed") {
    return Effect.zipRight(report(value.failure, "the session could not be loaded", state), Effect.fail(value.failure))
  }
  return value._tag === "Open" && value.base._tag === "Detached" && value.base.failure !== undefined
    ? report(value.base.failure, "the session could not be loaded, and the request goes on without it", state)
    : Exit.void
}

/**
 * Reads the session anew and makes the unsaved updates on top, and reads again if the session changed meanwhile: what was
 * found is then of before.
 *
 * @internal
 */
export const reload = (state: SessionState, caller: Running): Effect.Effect<void, Store.StoreError | SessionGone> =>
  Effect.suspend((): Effect.Effect<void, Store.StoreError | SessionGone> => {
    const { policy, store } = state.environment
    const { base } = state.open
    if (base._tag !== "Live") {
      return base._tag === "Ended" ? Effect.fail(new SessionGone()) : Effect.void
    }
    const call = contained("reload", () => timed(caller, "load", store.load(base.token, state.call(nowOf(caller)))))
    const found = Timeout.outcome(
      Timeout.start(caller, call, policy.storeTimeout, () => tooLate(state, caller, "reload"))
    )
    return Effect.flatMap(found, (found) => {
      if (state.open.base !== base) {
        return reload(state, caller)
      }
      if (found._tag !== "Live") {
        state.ended(expiredOf(found))
        return andThen(expired(state, caller, base.token, found), () => Effect.fail(new SessionGone()))
      }
      state.rebase(base.token, found.record)
      return Effect.void
    })
  })

type Finding = Effect.Effect<Draft.Base, Store.StoreError>

/** What the request's token turns out to be. */
const find = (state: SessionState, caller: Running, carried: Carried | undefined): Finding => {
  const { source } = state.environment
  if (Redacted.isRedacted(source)) {
    return findGiven(state, source, caller, 0, Store.none)
  }
  return carried === undefined
    ? Exit.succeed(Draft.fresh)
    : lookUp(state, caller, carried.candidates, carried.transport, 0, undefined)
}

/** The record of a session that has expired, if the store has it still. */
const expiredOf = (found: Store.Loaded): SessionRecord.SessionRecord | undefined =>
  found._tag === "None" ? found.expired : undefined

/** The tokens of a request that may be its session's, and what they came by. */
interface Carried {
  readonly transport: State.Transport
  readonly candidates: ReadonlyArray<SessionToken.Token>
}

type Carrying = Effect.Effect<Carried | undefined>

const carried = (state: SessionState): Carrying => {
  const { source } = state.environment
  return source === undefined || Redacted.isRedacted(source)
    ? Exit.succeed(undefined)
    : carriedFrom(state, source, 0)
}

type Request = Parameters<State.Transport["extract"]>[0]

/** The first transport that carries a token of this store's form decides. */
const carriedFrom = (state: SessionState, request: Request, index: number): Carrying => {
  const { store, transports } = state.environment
  const transport = transports[index]
  if (transport === undefined) {
    return Exit.succeed(undefined)
  }
  return andThen(transport.extract(request), (tokens): Carrying => {
    const next = (): Carrying => carriedFrom(state, request, index + 1)
    if (tokens.length === 0) {
      return next()
    }
    const candidates = candidatesOf(tokens, store)
    state.looksAt({ transport: candidates.length === 0 ? 0 : index, candidates, any: true })
    return candidates.length === 0
      ? Effect.zipRight(emitting(state, { _tag: "Rejected", reason: "malformed" }), Effect.suspend(next))
      : Exit.succeed({ transport, candidates })
  })
}

/** A token that was given by hand may have come by any of the transports. */
const findGiven = (
  state: SessionState,
  token: SessionToken.Token,
  caller: Running,
  index: number,
  before: Store.Loaded
): Finding => {
  const { store, transports } = state.environment
  const transport = transports[index]
  if (transport === undefined || !store.accepts(token)) {
    state.looksAt(nothingCarried)
    return andThen(
      expired(state, caller, token, before),
      () => Exit.succeed<Draft.Base>({ _tag: "Ended", token, record: expiredOf(before) })
    )
  }
  state.looksAt({ transport: index, candidates: [token], any: true })
  return andThen(
    timed(caller, "load", store.load(token, callOf(transport, nowOf(caller)))),
    (found) =>
      found._tag === "Live"
        ? Exit.succeed<Draft.Base>({ _tag: "Live", token, record: found.record })
        : findGiven(state, token, caller, index + 1, expiredOf(before) === undefined ? found : before)
  )
}

const lookUp = (
  state: SessionState,
  caller: Running,
  tokens: ReadonlyArray<SessionToken.Token>,
  transport: State.Transport,
  index: number,
  superseded: SessionToken.Token | undefined
): Finding => {
  const token = tokens[index]
  if (token === undefined) {
    const reason = superseded === undefined ? "unknown" : "superseded"
    return andThen(
      namedByToken(superseded ?? tokens[0]),
      (session) =>
        Effect.as(
          emitting(state, { _tag: "Rejected", ...session, reason }),
          superseded === undefined ? Draft.fresh : { _tag: "Ended", token: superseded, record: undefined }
        )
    )
  }
  // The time is asked for here, because a token may have taken its time to arrive.
  const loading = state.environment.store.load(token, callOf(transport, nowOf(caller)))
  return andThen(timed(caller, "load", loading), (found): Finding => {
    switch (found._tag) {
      case "Live":
        return Exit.succeed<Draft.Base>({ _tag: "Live", token, record: found.record })
      case "Superseded":
        return lookUp(state, caller, tokens, transport, index + 1, superseded ?? token)
      case "None":
        return andThen(
          expired(state, caller, token, found),
          () => lookUp(state, caller, tokens, transport, index + 1, superseded)
        )
    }
  })
}

/** Tells of a session that has expired, if the store has it still. */
const expired = (
  state: SessionState,
  caller: Running,
  token: SessionToken.Token,
  found: Store.Loaded
): Effect.Effect<void> => {
  const record = expiredOf(found)
  return record === undefined ? Exit.void : andThen(named({ token, record }), (session) => {
    emit(state, caller, { _tag: "Expired", ...session, endedAt: SessionRecord.endsAt(record) })
    return Exit.void
  })
}

/** A form can carry tens of thousands of tokens, and a store may take its time to look at one. */
const candidatesOf = (
  tokens: ReadonlyArray<SessionToken.Token>,
  store: Store.Store
): ReadonlyArray<SessionToken.Token> => {
  const candidates: Array<SessionToken.Token> = []
  for (let index = 0; index < tokens.length && index < maximumLookedAt; index++) {
    const token = tokens[index]!
    if (store.accepts(token) && !candidates.some((other) => sameToken(other, token))) {
      candidates.push(token)
      if (candidates.length === maximumCandidates) {
        break
      }
    }
  }
  return candidates
}
