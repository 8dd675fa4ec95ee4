/**
 * The carrying-out of a commit: the planned write becomes one store call, and the store's answer becomes the next state.
 * Knows nothing of turns, of time limits, of how an app's transaction ends, or of the response.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import { HeadSent, SessionGone } from "../../SessionError.js"
import * as SessionRecord from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import type { Running } from "../runtime/caller.js"
import { nowOf } from "../runtime/caller.js"
import { andThen } from "../runtime/exit.js"
import * as Draft from "./draft.js"
import { emit, emitting, named, namedIn } from "./events.js"
import * as lifetime from "./lifetime.js"
import type { Planned, Removal } from "./model.js"
import type { Write } from "./plan.js"
import { nothing, toRecord } from "./plan.js"
import type { SessionState } from "./state.js"
import { sameToken } from "./state.js"
import type { Method } from "./storeCalls.js"
import { contained, timed } from "./storeCalls.js"

/** A commit as it was asked for. @internal */
export interface Request<B> {
  /** By the handler, so that what can't be done is its typed error. */
  readonly explicit: boolean
  /** Keep a new session even if nothing is in it. */
  readonly keepEmpty: boolean
  /** Carry out a removal alone. */
  readonly discarding: boolean
  /** The last update, whose answer is the one that is saved. */
  readonly last: ((draft: Draft.Draft) => readonly [B, Draft.Draft]) | undefined
}

/** @internal */
export type CommitError = Store.StoreError | SessionGone | HeadSent

/** By the handler. @internal */
export const explicit = {
  explicit: true,
  keepEmpty: false,
  discarding: false,
  last: undefined
} as const

/** At the end of the request. @internal */
export const automatic = (discarding: boolean): Request<void> => discarding ? discardingRequest : keepingRequest

const keepingRequest: Request<void> = { ...explicit, explicit: false }
const discardingRequest: Request<void> = { ...keepingRequest, discarding: true }

/** One commit under way. @internal */
export class Run<B> {
  /** The write that was tried last. */
  write: Write = nothing
  conflicted = false
  /** How many drawn tokens were taken. */
  draws = 0
  /** The app's own transaction that it is part of, which holds what it read: the app solves a conflict by running it again. */
  transaction: object | undefined = undefined
  /** What the commits that wait behind this one go on from. */
  left: SessionRecord.SessionRecord | undefined = undefined

  constructor(readonly state: SessionState, readonly caller: Running, readonly request: Request<B>) {}
}

type Committing<B> = Effect.Effect<B, CommitError>

/** How often a token is drawn for a session, when the drawn one is taken. */
const maximumDraws = 3

const repeating = () =>
  new Store.StoreError({
    reason: "Unavailable",
    method: "create",
    description: "every token that was drawn is taken: the generator of tokens repeats itself"
  })

const changedMeanwhile = () =>
  new Store.StoreError({
    reason: "Contention",
    method: "commit",
    description: "another request changed the session first: run the transaction that this commit is part of again"
  })

/** What is to be written, as things are now. @internal */
export const planned = <B>({ caller, request, state }: Run<B>): Planned<B> => {
  const now = nowOf(caller)
  const { open } = state
  const [answer, draft] = request.last === undefined ? [undefined as B, open.draft] : request.last(open.draft)
  return { open, draft, answer, now, write: state.plan(draft, request, now) }
}

/** Carries out what is planned, and plans again after each conflict, until nothing is left to write. @internal */
export const carryOut = <B>(run: Run<B>, plan: Planned<B>): Committing<B> => {
  const { base } = plan.open
  run.write = plan.write
  switch (plan.write._tag) {
    case "Nothing":
      return keepNothing(run, plan)
    case "Remove":
      return remove(run, plan)
    case "Create":
      return create(run, plan)
    default:
      if (base._tag !== "Live") {
        return Exit.succeed(plan.answer)
      }
      switch (plan.write._tag) {
        case "Update":
          return update(run, plan, base)
        case "Renew":
          return renew(run, plan, base)
        case "Touch":
          return touch(run, plan, base, plan.write.deadline)
      }
  }
}

const retry = <B>(run: Run<B>): Committing<B> => carryOut(run, planned(run))

const call = <B, A extends { readonly _tag: string } | void>(
  { caller, state }: Run<B>,
  { now }: Planned<B>,
  method: Method,
  f: (store: Store.Store, call: Store.Call) => Effect.Effect<A, Store.StoreError>
): Effect.Effect<A, Store.StoreError> =>
  contained("commit", () => timed(caller, method, f(state.environment.store, state.call(now))))

const keepNothing = <B>({ request, state }: Run<B>, plan: Planned<B>): Committing<B> => {
  const { answer, open: { base } } = plan
  switch (base._tag) {
    case "Detached":
      if (request.explicit && base.failure !== undefined && !isDone(plan)) {
        return Effect.fail(base.failure)
      }
      state.detached(plan)
      return Exit.succeed(answer)
    case "Ended":
      return request.explicit ? Effect.fail(new SessionGone()) : Exit.succeed(answer)
    case "Live":
      // An update that changed nothing is over with: a socket may make one for each message.
      if (request.explicit && plan.open.pending !== undefined) {
        state.forgetNoOps(plan)
      }
      return Exit.succeed(answer)
    case "Fresh":
      return Exit.succeed(answer)
  }
}

/** Whether a session was destroyed and nothing has been put into a new one, so that nothing is left to be saved. */
const isDone = <B>({ draft, open: { base, incarnation } }: Planned<B>): boolean =>
  incarnation.origin === "AfterDestroy" && !Draft.isChanged(base, draft)

const remove = <B>(run: Run<B>, plan: Planned<B>): Committing<B> => {
  const { removing } = plan.open
  const removals = removing.reduce<Effect.Effect<void, Store.StoreError>>(
    (before, { token }) => andThen(before, () => call(run, plan, "remove", (store, call) => store.remove(token, call))),
    Exit.void
  )
  return andThen(removals, () => {
    run.state.removed(removing)
    return andThen(destroyed(run, removing), () => retry(run))
  })
}

const destroyed = <B>({ caller, state }: Run<B>, removals: ReadonlyArray<Removal>): Effect.Effect<void> =>
  removals.reduce<Effect.Effect<void>>(
    (before, removal) =>
      andThen(before, () =>
        andThen(named(removal), (session) => {
          emit(state, caller, { _tag: "Destroyed", ...session })
          return Exit.void
        })),
    Exit.void
  )

const create = <B>(run: Run<B>, plan: Planned<B>): Committing<B> => {
  const { state } = run
  const { draft, now } = plan
  if (state.cannotDeliver) {
    return Effect.fail(new HeadSent())
  }
  const next = state.nextToken()
  const record = toRecord(Draft.fresh, draft, now, state.environment.policy, false)
  return andThen(
    call(run, plan, "create", (store, call) => store.create(next, record, call)),
    (result): Committing<B> => {
      switch (result._tag) {
        case "Created":
          return committedUnder(run, plan, next, result.token, asWritten(record, record.revision), undefined)
        case "Exists":
          state.taken()
          run.draws += 1
          return run.draws < maximumDraws ? retry(run) : Effect.fail(repeating())
        case "NotKept":
          state.detached(plan)
          return Exit.succeed(plan.answer)
      }
    }
  )
}

const update = <B>(run: Run<B>, plan: Planned<B>, base: Draft.Live): Committing<B> => {
  const { state } = run
  const { draft, now } = plan
  const { policy } = state.environment
  const { revision } = base.record
  const age = lifetime.ageOf(now, base.record, policy)
  const moved = age._tag === "Touch" || draft.bounds !== undefined
  // Where the client is told how long the session lives, the record does not outlive what the client was told.
  const deadline = moved || !state.carriesExpiry(base.record) ? undefined : SessionRecord.endsAt(base.record)
  const record = toRecord(base, draft, now, policy, false, deadline)
  const updating = call(run, plan, "update", (store, call) => store.update(base.token, revision, record, call))
  return andThen(updating, (result): Committing<B> => {
    switch (result._tag) {
      case "Updated": {
        const written = asWritten(record, result.revision)
        run.left = written
        // A client that was told how long the session lives is told as well that it no longer is.
        const told = state.carriesExpiry(base.record) || state.carriesExpiry(record)
        return committed(run, plan, result.token, written, moved && told)
      }
      case "Conflict":
        return conflicted(run, plan, base.token, result.record)
      case "Gone":
        return gone(run, plan)
    }
  })
}

const renew = <B>(run: Run<B>, plan: Planned<B>, base: Draft.Live): Committing<B> => {
  const { state } = run
  const { draft, now } = plan
  if (state.cannotDeliver) {
    return Effect.fail(new HeadSent())
  }
  const next = state.nextToken()
  const record = toRecord(base, draft, now, state.environment.policy, true)
  const renewing = call(
    run,
    plan,
    "renew",
    (store, call) => store.renew(base.token, base.record.revision, next, record, call)
  )
  return andThen(renewing, (result): Committing<B> => {
    switch (result._tag) {
      case "Updated":
        return andThen(
          named(base),
          ({ id }) => committedUnder(run, plan, next, result.token, asWritten(record, result.revision), id)
        )
      case "Conflict":
        return conflicted(run, plan, base.token, result.record)
      case "Gone":
        // A login: it begins a session of this request's own updates, whatever became of the old one.
        if (!state.overtook(plan)) {
          state.ended()
        }
        return retry(run)
    }
  })
}

const touch = <B>(run: Run<B>, plan: Planned<B>, base: Draft.Live, deadline: number): Committing<B> => {
  const { state } = run
  const touching = call(
    run,
    plan,
    "touch",
    (store, call) => store.touch(base.token, base.record.revision, deadline, call)
  )
  return andThen(touching, (result): Committing<B> => {
    if (result._tag === "Gone") {
      return run.request.explicit ? gone(run, plan) : Exit.succeed(plan.answer)
    }
    // A longer life that another token would carry can't reach the client any more. Its own token is as good as it was.
    if (state.cannotDeliver && !sameToken(base.token, result.token)) {
      return Exit.succeed(plan.answer)
    }
    const record = SessionRecord.own(base.record, { deadline, touchedAt: plan.now })
    return committed(run, plan, result.token, record, state.carriesExpiry(base.record))
  })
}

/** The record as the store has it now. One of no subject differs from what was given to the store by its revision alone. */
const asWritten = (record: SessionRecord.SessionRecord, revision: number): SessionRecord.SessionRecord =>
  record.revision === revision && record.subject === undefined ? record : SessionRecord.written(record, revision)

/** Another request saved first. */
const conflicted = <B>(
  run: Run<B>,
  plan: Planned<B>,
  token: SessionToken.Token,
  record: SessionRecord.SessionRecord
): Committing<B> => {
  run.conflicted = true
  return andThen(named({ token, record }), (session) => {
    emit(run.state, run.caller, { _tag: "Conflict", ...session })
    return onWhatIsThere(run, plan, token, record)
  })
}

/** Makes the updates again on what another request saved, unless they are part of a transaction of the app's own. */
const onWhatIsThere = <B>(
  run: Run<B>,
  plan: Planned<B>,
  token: SessionToken.Token,
  record: SessionRecord.SessionRecord
): Committing<B> => {
  const { state } = run
  const overtaken = state.overtook(plan)
  if (run.transaction !== undefined) {
    if (!overtaken) {
      state.drop(token, record, run.transaction)
    }
    return Effect.fail(changedMeanwhile())
  }
  if (!overtaken) {
    state.rebase(token, record)
  }
  return retry(run)
}

const gone = <B>(run: Run<B>, plan: Planned<B>): Committing<B> => {
  const { request, state } = run
  if (!state.overtook(plan)) {
    state.ended()
  }
  return request.explicit ? Effect.fail(new SessionGone()) : Effect.as(dropChanges(run, plan.open.base), plan.answer)
}

/** Changes to a session that has ended are dropped: it stays ended. `base` is what they were made on. @internal */
export const dropChanges = <B>({ state }: Run<B>, base: Draft.Base): Effect.Effect<void> => {
  state.noteGone()
  return andThen(base._tag === "Live" ? named(base) : namedIn(state), (session) =>
    emitting(
      state,
      { _tag: "Gone", ...session },
      Effect.logDebug("changes to a session that has ended were dropped: it was destroyed, renewed or expired")
    ))
}

/**
 * The session is there under the token that was drawn for it. A store whose token is the data names the session by the
 * drawn one.
 */
const committedUnder = <B>(
  run: Run<B>,
  plan: Planned<B>,
  drawn: SessionToken.Token,
  token: SessionToken.Token,
  record: SessionRecord.SessionRecord,
  previous: SessionToken.SessionId | undefined
): Committing<B> =>
  andThen(SessionToken.toId(drawn), (id) => {
    begun(run, plan, id, record.subject, previous)
    return committed(run, plan, token, sameToken(drawn, token) ? record : SessionRecord.own(record, { id }), false)
  })

/** Tells of a session under a new token, and of the login that gave it the token, if it was one. */
const begun = <B>(
  { caller, state }: Run<B>,
  { draft: { login } }: Planned<B>,
  id: SessionToken.SessionId,
  subject: string | undefined,
  previous: SessionToken.SessionId | undefined
): void => {
  const session = subject === undefined ? { id } : { id, subject }
  emit(
    state,
    caller,
    previous === undefined ? { _tag: "Created", ...session } : { _tag: "Renewed", ...session, previous }
  )
  if (login !== undefined) {
    const { label, subject } = login
    emit(state, caller, { _tag: "LoggedIn", id, subject, ...(label === undefined ? {} : { label }) })
  }
}

/** What was written is now what the session rests on; a token that the client does not have is delivered. */
const committed = <B>(
  run: Run<B>,
  plan: Planned<B>,
  token: SessionToken.Token,
  record: SessionRecord.SessionRecord,
  expiryMoves: boolean
): Committing<B> => {
  const { state } = run
  if (state.overtook(plan)) {
    state.alsoRemove({ token, record })
    return retry(run)
  }
  const { base } = state.open
  const isNew = base._tag !== "Live" || !sameToken(base.token, token)
  const problem = isNew ? undeliverable(state, token) : undefined
  if (problem !== undefined) {
    return Effect.fail(problem)
  }
  const outdated = base._tag === "Live" && state.transport?.outdated?.(base.token) === true
  state.committed(plan, token, record, isNew || expiryMoves || outdated)
  return Exit.succeed(plan.answer)
}

const undeliverable = (state: SessionState, token: SessionToken.Token): CommitError | undefined => {
  if (state.cannotDeliver) {
    return new HeadSent()
  }
  const { limit } = state.call(0)
  const { length } = Redacted.value(token)
  return length <= limit ? undefined : new Store.StoreError({
    reason: "TooLarge",
    method: "commit",
    description: `the token takes ${length} bytes, ${limit} fit`
  })
}
