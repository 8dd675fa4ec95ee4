/**
 * The commit of a session: what `draft.ts` says is owed, carried out on a store, and what the store's answer means for
 * the session. Knows nothing of turns, of time limits, of how an app's transaction ends, or of the response.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { HeadSent, SessionGone } from "../SessionError.js"
import type { SessionRecord } from "../SessionRecord.js"
import * as SessionToken from "../SessionToken.js"
import * as Store from "../Store.js"
import * as bounded from "./bounded.js"
import { andThen } from "./chain.js"
import * as Draft from "./draft.js"
import type * as Lanes from "./lanes.js"
import * as metrics from "./metrics.js"
import type { Intent, Working } from "./working.js"
import { sameToken } from "./working.js"

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

/** @internal */
export const automatic = (discarding: boolean): Order<void> => ({
  explicit: false,
  keepEmpty: false,
  discarding,
  single: false,
  last: undefined
})

/** A store call of a commit: its defect is a failure, where one of the handler's own functions stays a defect. */
const ask = <A>(call: () => Effect.Effect<A, Store.StoreError>): Effect.Effect<A, Store.StoreError> => {
  try {
    return bounded.contained(call(), "commit")
  } catch (defect) {
    return Effect.fail(bounded.failureOf(Cause.die(defect), "commit"))
  }
}

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
  if (ahead !== undefined && base?._tag === "Live" && ahead.record.revision > base.record.revision) {
    working.rebase(base.token, ahead.record)
  }
  return attempt(working, order, lane)
}

/** Carries out what is owed, again after each conflict, until nothing is. @internal */
export const attempt = <B>(
  working: Working,
  order: Order<B>,
  lane: Lanes.Lane,
  tries = 1
): Effect.Effect<B, CommitError> =>
  Effect.clockWith((clock) => {
    const { policy, store } = working.environment
    const base = working.base ?? Draft.fresh
    const count = working.updates.length
    const [answer, draft] = order.last === undefined ? [undefined as B, working.draft] : order.last(working.draft)
    const now = clock.unsafeCurrentTimeMillis()
    const owed = working.owed(draft, order, now)
    const { ends } = working
    working.attempting = owed
    const again = Effect.suspend(() => attempt(working, order, lane, tries + 1))
    const landed = (token: SessionToken.Token, record: SessionRecord, sending: boolean) =>
      ends === working.ends
        ? andThen(land(working, token, record, { count, owed, sending, lane }), () => Effect.succeed(answer))
        : overtaken(working, token, again)

    switch (owed._tag) {
      case "Nothing": {
        if (base._tag === "Detached") {
          working.draft = draft
        } else if (base._tag === "Ended" && order.explicit) {
          return Effect.fail(new SessionGone())
        }
        return Effect.succeed(answer)
      }
      case "Remove": {
        const removals = Effect.forEach(working.removing, (token) => ask(() => store.remove(token, working.binding)), {
          discard: true
        })
        return Effect.zipRight(
          Effect.tap(removals, () => {
            working.removing = []
            working.did = owed
            return metrics.destroyed
          }),
          again
        )
      }
      case "Create": {
        if (working.headSent) {
          return Effect.fail(new HeadSent())
        }
        const token = working.nextToken()
        const record = Draft.toRecord(Draft.fresh, draft, now, policy, false)
        return Effect.flatMap(ask(() => store.create(token, record, working.binding)), (result) => {
          switch (result._tag) {
            case "Created":
              return Effect.zipRight(metrics.created, landed(result.token, record, true))
            case "Exists":
              working.next = undefined
              return tries < maximumDraws ? again : Effect.fail(repeating)
            case "NotKept":
              working.base = Draft.detached
              working.draft = draft
              return Effect.succeed(answer)
          }
        })
      }
      case "Update": {
        if (base._tag !== "Live") {
          return Effect.succeed(answer)
        }
        const record = Draft.toRecord(base, draft, now, policy, false)
        const moved = record.deadline - base.record.deadline >= policy.touchInterval || draft.bound !== undefined
        const call = ask(() => store.update(base.token, base.record.revision, record, working.binding))
        return Effect.flatMap(call, (result) => {
          switch (result._tag) {
            case "Updated":
              return landed(
                result.token,
                { ...record, revision: result.revision },
                moved && working.carriesExpiry(record)
              )
            case "Conflict":
              return order.single
                ? refused(working, ends, count, base.token, result.record)
                : replayed(working, ends, base.token, result.record, again)
            case "Gone":
              working.base = Draft.ended
              return order.explicit ? Effect.fail(new SessionGone()) : Effect.as(lost(working), answer)
          }
        })
      }
      case "Renew": {
        if (base._tag !== "Live") {
          return Effect.succeed(answer)
        }
        if (working.headSent) {
          return Effect.fail(new HeadSent())
        }
        const next = working.nextToken()
        const record = Draft.toRecord(base, draft, now, policy, true)
        const call = ask(() => store.renew(base.token, base.record.revision, next, record, working.binding))
        return Effect.flatMap(call, (result) => {
          switch (result._tag) {
            case "Updated":
              return Effect.zipRight(
                metrics.renewed,
                landed(result.token, { ...record, revision: result.revision }, true)
              )
            case "Conflict":
              return order.single
                ? refused(working, ends, count, base.token, result.record)
                : replayed(working, ends, base.token, result.record, again)
            case "Gone":
              // A login: it begins a session of this request's own updates, whatever became of the old one.
              working.beginAnew()
              return again
          }
        })
      }
      case "Touch": {
        if (base._tag !== "Live") {
          return Effect.succeed(answer)
        }
        const { deadline } = owed
        return Effect.flatMap(
          ask(() => store.touch(base.token, base.record.revision, deadline, working.binding)),
          (result) =>
            result._tag === "Touched"
              ? landed(result.token, { ...base.record, deadline, touchedAt: now }, working.carriesExpiry(base.record))
              : Effect.succeed(answer)
        )
      }
    }
  })

const replayed = <B>(
  working: Working,
  ends: number,
  token: SessionToken.Token,
  record: SessionRecord,
  again: Effect.Effect<B, CommitError>
): Effect.Effect<B, CommitError> => {
  working.conflicted = true
  if (ends === working.ends) {
    working.rebase(token, record)
  }
  return Effect.zipRight(metrics.conflict, again)
}

/**
 * A conflict inside a transaction of the app's own: what was to be committed fails as by a rollback, its updates with
 * it. Run anew, the transaction finds the fresh record and makes them again.
 */
const refused = (
  working: Working,
  ends: number,
  count: number,
  token: SessionToken.Token,
  record: SessionRecord
): Effect.Effect<never, Store.StoreError> => {
  if (ends === working.ends) {
    working.refuse(token, record, count)
  }
  return Effect.zipRight(metrics.conflict, Effect.fail(changedMeanwhile))
}

/** Destroyed while it was being written: what landed is removed as well. */
const overtaken = <B>(
  working: Working,
  token: SessionToken.Token,
  again: Effect.Effect<B, CommitError>
): Effect.Effect<B, CommitError> => {
  working.removing = [...working.removing, token]
  return again
}

/** What was written is now what the session rests on; updates made meanwhile stay ahead of it. */
const land = (
  working: Working,
  token: SessionToken.Token,
  record: SessionRecord,
  { count, lane, owed, sending }: {
    readonly count: number
    readonly owed: Draft.Owed
    readonly sending: boolean
    readonly lane: Lanes.Lane
  }
): Effect.Effect<void, HeadSent | Store.StoreError> => {
  const arrived = working.base?._tag === "Live" ? working.base.token : undefined
  const changedToken = arrived === undefined || !sameToken(arrived, token)
  if (changedToken && working.headSent) {
    return Effect.fail(new HeadSent())
  }
  if (Redacted.value(token).length > working.binding.limit) {
    return Effect.fail(
      new Store.StoreError({
        reason: "TooLarge",
        method: "commit",
        description: `the token takes ${Redacted.value(token).length} bytes, ${working.binding.limit} fit`
      })
    )
  }
  const drawn = working.next
  working.written(owed, count)
  const settle = (record: SessionRecord) => {
    working.rebase(token, record)
    if (owed._tag === "Update") {
      lane.landed = { record }
    }
    if (sending || changedToken) {
      working.delivery = { token, record }
    }
  }
  // A store whose token is the data names the session by the token that was drawn for it.
  if (drawn !== undefined && (owed._tag === "Create" || owed._tag === "Renew") && !sameToken(drawn, token)) {
    return Effect.map(SessionToken.toId(drawn), (id) => settle({ ...record, id }))
  }
  settle(record)
  return Effect.void
}

/** Changes to a session that is over: it stays gone. @internal */
export const lost = (working: Working): Effect.Effect<void> => {
  working.did = { _tag: "Gone" }
  return Effect.zipRight(
    metrics.gone,
    Effect.logDebug("changes to a session that is over were dropped: it was destroyed, renewed or expired")
  )
}
