/**
 * The commit of a session: what `draft.ts` says is owed, carried out on a store, and what the store's answer means for
 * the session. Knows nothing of turns, of time limits, of how an app's transaction ends, or of the response.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import { HeadSent, SessionGone } from "../../SessionError.js"
import { endsAt, type SessionRecord } from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import * as platform from "../http/fiber.js"
import { own } from "../record/record.js"
import { andThen } from "../runtime/exit.js"
import * as metrics from "../runtime/metrics.js"
import type * as Lanes from "./commitQueue.js"
import * as Draft from "./draft.js"
import * as lifetime from "./lifetime.js"
import type { Intent, Working } from "./state.js"
import { sameToken } from "./state.js"
import * as calls from "./storeCalls.js"

/** A commit as it was asked for. @internal */
export interface Order<B> extends Intent {
  /** By the handler, so that what can't be done is its typed error. */
  readonly explicit: boolean
  /** Inside an app's own transaction, which holds what it read: a conflict is the app's to solve, by running it anew. */
  readonly single: boolean
  /** The last update, whose answer is the one that landed. */
  readonly last: ((draft: Draft.Draft) => readonly [B, Draft.Draft]) | undefined
}

/** @internal */
export type CommitError = Store.StoreError | SessionGone | HeadSent

/** @internal */
export const explicitly = {
  explicit: true,
  keepEmpty: false,
  discarding: false,
  single: false,
  last: undefined
} as const

/** At the end of a request. @internal */
export const automatic = (discarding: boolean): Order<void> => discarding ? discardingOrder : keepingOrder

const keepingOrder: Order<void> = { ...explicitly, explicit: false }
const discardingOrder: Order<void> = { ...keepingOrder, discarding: true }

/** How often a token is drawn for a session, when the drawn one is taken. */
const maximumDraws = 3

const repeating = new Store.StoreError({
  reason: "Unavailable",
  method: "create",
  description: "every token that was drawn is taken: the generator of tokens repeats itself"
})

const changedMeanwhile = new Store.StoreError({
  reason: "Contention",
  method: "commit",
  description: "another request changed the session first: run the transaction that this commit is part of again"
})

/** A commit whose turn has come: it begins from what the one ahead left. @internal */
export const carryOut = <B>(working: Working, order: Order<B>, lane: Lanes.Lane): Effect.Effect<B, CommitError> => {
  const base = working.base
  const ahead = lane.landed
  // After a `destroy` what was left is of the session that ended.
  const same = ahead !== undefined && base?._tag === "Live" && working.ends === 0
  if (same && ahead.record.revision > base.record.revision) {
    working.rebase(base.token, ahead.record)
  }
  return attempt(working, order, lane)
}

/** Carries out what is owed, again after each conflict, until nothing is. @internal */
export const attempt = <B>(
  working: Working,
  order: Order<B>,
  lane: Lanes.Lane | undefined,
  tries = 1
): Effect.Effect<B, CommitError> =>
  Effect.withFiberRuntime<B, CommitError>((fiber) => attemptAt(working, order, lane, platform.nowOf(fiber), tries))

/** One attempt, and what it looks at. */
interface Attempt<B> {
  readonly working: Working
  readonly order: Order<B>
  readonly lane: Lanes.Lane | undefined
  readonly now: number
  readonly tries: number
  readonly owed: Draft.Owed
  /** What is written, and how many of the updates led to it. */
  readonly draft: Draft.Draft
  readonly count: number
  /** How often the session was destroyed when it began. */
  readonly ends: number
  readonly answer: B
}

type Carried<B> = Effect.Effect<B, CommitError>

/** The same at a time that is known: at once, as far as the store answers at once. @internal */
export const attemptAt = <B>(
  working: Working,
  order: Order<B>,
  lane: Lanes.Lane | undefined,
  now: number,
  tries = 1
): Carried<B> => {
  const [answer, draft] = order.last === undefined ? [undefined as B, working.draft] : order.last(working.draft)
  const owed = working.owed(draft, order, now)
  working.attempting = owed
  const attempt: Attempt<B> = {
    working,
    order,
    lane,
    now,
    tries,
    owed,
    draft,
    count: working.updates.length,
    ends: working.ends,
    answer
  }
  const base = working.base ?? Draft.fresh
  switch (owed._tag) {
    case "Nothing":
      return nothing(attempt, base)
    case "Remove":
      return remove(attempt)
    case "Create":
      return create(attempt)
    default:
      if (base._tag !== "Live") {
        return Exit.succeed(answer)
      }
      switch (owed._tag) {
        case "Update":
          return update(attempt, base)
        case "Renew":
          return renew(attempt, base)
        case "Touch":
          return touch(attempt, base, owed.deadline)
      }
  }
}

const again = <B>({ lane, order, tries, working }: Attempt<B>): Carried<B> => attempt(working, order, lane, tries + 1)

const nothing = <B>({ answer, draft, order, working }: Attempt<B>, base: Draft.Base): Carried<B> => {
  if (base._tag === "Detached") {
    working.draft = draft
  } else if (base._tag === "Ended" && order.explicit) {
    return Effect.fail(new SessionGone())
  }
  return Exit.succeed(answer)
}

const remove = <B>(attempt: Attempt<B>): Carried<B> => {
  const { now, owed, working } = attempt
  const removals = Effect.forEach(working.removing, (token) => calls.remove(working, token, now), { discard: true })
  return Effect.flatMap(removals, () => {
    working.removing = []
    working.did = owed
    return Effect.zipRight(metrics.destroyed, again(attempt))
  })
}

const create = <B>(attempt: Attempt<B>): Carried<B> => {
  const { answer, draft, now, tries, working } = attempt
  if (working.headSent) {
    return Effect.fail(new HeadSent())
  }
  const record = Draft.toRecord(Draft.fresh, draft, now, working.environment.policy, false)
  return andThen(calls.create(working, working.nextToken(), record, now), (result): Carried<B> => {
    switch (result._tag) {
      case "Created":
        return counted(metrics.created, landed(attempt, result.token, record))
      case "Exists":
        working.next = undefined
        return tries < maximumDraws ? again(attempt) : Effect.fail(repeating)
      case "NotKept":
        working.base = Draft.detached
        working.draft = draft
        return Exit.succeed(answer)
    }
  })
}

const update = <B>(attempt: Attempt<B>, base: Draft.Live): Carried<B> => {
  const { answer, draft, now, order, working } = attempt
  const { policy } = working.environment
  const { revision } = base.record
  const age = lifetime.ageOf(now, base.record, policy)
  const moved = age._tag === "Touch" || draft.bound !== undefined
  // Where the client is told how long it lives (S22), the record does not run ahead of what the client was told.
  const deadline = moved || !working.carriesExpiry(base.record) ? undefined : endsAt(base.record)
  const record = Draft.toRecord(base, draft, now, policy, false, deadline)
  return andThen(calls.update(working, base.token, revision, record, now), (result): Carried<B> => {
    switch (result._tag) {
      case "Updated":
        return landed(
          attempt,
          result.token,
          withRevision(record, result.revision),
          moved && working.carriesExpiry(record)
        )
      case "Conflict":
        return conflicted(attempt, base.token, result.record)
      case "Gone":
        working.base = Draft.ended
        return order.explicit ? Effect.fail(new SessionGone()) : Effect.as(lost(working), answer)
    }
  })
}

const renew = <B>(attempt: Attempt<B>, base: Draft.Live): Carried<B> => {
  const { draft, now, working } = attempt
  if (working.headSent) {
    return Effect.fail(new HeadSent())
  }
  const next = working.nextToken()
  const record = Draft.toRecord(base, draft, now, working.environment.policy, true)
  const call = calls.renew(working, base.token, base.record.revision, next, record, now)
  return andThen(call, (result): Carried<B> => {
    switch (result._tag) {
      case "Updated":
        return counted(metrics.renewed, landed(attempt, result.token, withRevision(record, result.revision)))
      case "Conflict":
        return conflicted(attempt, base.token, result.record)
      case "Gone":
        // A login: it begins a session of this request's own updates, whatever became of the old one.
        working.beginAnew()
        return again(attempt)
    }
  })
}

const touch = <B>(attempt: Attempt<B>, base: Draft.Live, deadline: number): Carried<B> => {
  const { answer, now, working } = attempt
  return andThen(
    calls.touch(working, base.token, base.record.revision, deadline, now),
    (result): Carried<B> =>
      result._tag === "Touched"
        ? landed(
          attempt,
          result.token,
          own(base.record, { deadline, touchedAt: now }),
          working.carriesExpiry(base.record)
        )
        : Exit.succeed(answer)
  )
}

const withRevision = (record: SessionRecord, revision: number): SessionRecord =>
  record.revision === revision ? record : own(record, { revision })

/** What was done is noted before it is counted, so that nothing comes between the store's answer and the note. */
const counted = <B>(count: Effect.Effect<void>, carried: Carried<B>): Carried<B> => Effect.zipRight(count, carried)

const conflicted = <B>(attempt: Attempt<B>, token: SessionToken.Token, record: SessionRecord): Carried<B> =>
  attempt.order.single ? refused(attempt, token, record) : replayed(attempt, token, record)

const replayed = <B>(attempt: Attempt<B>, token: SessionToken.Token, record: SessionRecord): Carried<B> => {
  const { ends, working } = attempt
  working.conflicted = true
  if (ends === working.ends) {
    working.rebase(token, record)
  }
  return Effect.zipRight(metrics.conflict, again(attempt))
}

/**
 * A conflict inside a transaction of the app's own: what was to be committed fails as by a rollback, its updates with
 * it. Run anew, the transaction finds the fresh record and makes them again.
 */
const refused = <B>(
  { count, ends, working }: Attempt<B>,
  token: SessionToken.Token,
  record: SessionRecord
): Carried<B> => {
  if (ends === working.ends) {
    working.refuse(token, record, count)
  }
  return Effect.zipRight(metrics.conflict, Effect.fail(changedMeanwhile))
}

/**
 * What was written is now what the session rests on; updates made meanwhile stay ahead of it. A token that is new to the
 * client is delivered, and one that it has where `following` says that its expiry moves.
 */
const landed = <B>(
  attempt: Attempt<B>,
  token: SessionToken.Token,
  record: SessionRecord,
  following = false
): Carried<B> => {
  const { answer, count, ends, lane, owed, working } = attempt
  if (ends !== working.ends) {
    // Destroyed while it was being written: what landed is removed as well.
    working.removing = [...working.removing, token]
    return again(attempt)
  }
  const arrived = working.base?._tag === "Live" ? working.base.token : undefined
  const changedToken = arrived === undefined || !sameToken(arrived, token)
  if (changedToken && working.headSent) {
    return Effect.fail(new HeadSent())
  }
  if (changedToken && Redacted.value(token).length > working.binding.limit) {
    return Effect.fail(
      new Store.StoreError({
        reason: "TooLarge",
        method: "commit",
        description: `the token takes ${Redacted.value(token).length} bytes, ${working.binding.limit} fit`
      })
    )
  }
  const drawn = working.next
  const settle = (record: SessionRecord): Carried<B> => {
    working.written(owed, count)
    working.rebase(token, record)
    if (owed._tag === "Update" && lane !== undefined) {
      lane.landed = { record }
    }
    if (following || changedToken) {
      working.delivery = { token, record }
    }
    return Exit.succeed(answer)
  }
  // A store whose token is the data names the session by the token that was drawn for it.
  return drawn !== undefined && (owed._tag === "Create" || owed._tag === "Renew") && !sameToken(drawn, token)
    ? andThen(SessionToken.toId(drawn), (id) => settle(own(record, { id })))
    : settle(record)
}

/** Changes to a session that is over: it stays gone. @internal */
export const lost = (working: Working): Effect.Effect<void> => {
  working.did = { _tag: "Gone" }
  return Effect.zipRight(
    metrics.gone,
    Effect.logDebug("changes to a session that is over were dropped: it was destroyed, renewed or expired")
  )
}
