/**
 * The planned write: what a commit has to write, decided from values alone. The table at the head of `HttpMiddleware.ts`
 * says the same in words; the first row that fits decides.
 */
import type { Policy } from "../../SessionPolicy.js"
import * as SessionRecord from "../../SessionRecord.js"
import type { Base, Draft } from "./draft.js"
import { isChanged } from "./draft.js"
import * as lifetime from "./lifetime.js"

/** @internal */
export type Write =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Touch"; readonly deadline: number }
  | { readonly _tag: "Create" }
  | { readonly _tag: "Update" }
  | { readonly _tag: "Renew" }
  | { readonly _tag: "Remove" }

/** @internal */
export const nothing: Write = { _tag: "Nothing" }
const create: Write = { _tag: "Create" }
const update: Write = { _tag: "Update" }
const renew: Write = { _tag: "Renew" }
const remove: Write = { _tag: "Remove" }

/** All that the plan looks at. @internal */
export interface Situation {
  readonly base: Base
  readonly draft: Draft
  /** A session was destroyed, and its removal has not been carried out. */
  readonly removing: boolean
  readonly renewing: boolean
  /** The response is an error, the client is gone, or the handler said so: only a removal is carried out. */
  readonly discarding: boolean
  /** A new session is kept even if nothing is in it. */
  readonly keepEmpty: boolean
}

/** @internal */
export const plan = (situation: Situation, now: number, policy: Policy): Write => {
  const { base, draft } = situation
  if (situation.removing) {
    return remove
  }
  if (situation.discarding || base._tag === "Detached") {
    return nothing
  }
  if (situation.renewing) {
    return base._tag === "Live" ? renew : create
  }
  switch (base._tag) {
    case "Ended":
      return nothing
    case "Fresh":
      return situation.keepEmpty || isChanged(base, draft) ? create : nothing
    case "Live": {
      if (isChanged(base, draft)) {
        return update
      }
      const age = lifetime.ageOf(now, base.record, policy)
      return age._tag === "Touch" ? age : nothing
    }
  }
}

/**
 * The record that a draft becomes, frozen and with the revision that its write makes, so that a store in memory can keep
 * it as it is. A renewed session takes its public id from the next token. A deadline is given where it is not to follow
 * `now`.
 *
 * @internal
 */
export const toRecord = (
  base: Base,
  draft: Draft,
  now: number,
  policy: Policy,
  renewing: boolean,
  deadline?: number
): SessionRecord.SessionRecord => {
  const before = base._tag === "Live" ? base.record : undefined
  const dropOnRenew = draft.dropOnRenew.length > 0 ? draft.dropOnRenew : undefined
  const record = before === undefined
    ? SessionRecord.make(
      { createdAt: now, expiresAt: now + policy.lifetime, idle: policy.idleTimeout },
      draft.data,
      dropOnRenew,
      { revision: 1, touchedAt: now, deadline: now + Math.min(policy.idleTimeout, policy.lifetime) }
    )
    : SessionRecord.make(before, draft.data, dropOnRenew, {
      revision: before.revision + 1,
      touchedAt: now,
      deadline: deadline ?? lifetime.nextDeadline(now, before)
    })
  if (before?.id !== undefined && !renewing) {
    record.id = before.id
  }
  if (draft.login !== undefined) {
    const { authenticatedAt, label, subject } = draft.login
    record.subject = subject
    record.authenticatedAt = authenticatedAt
    if (label === undefined) {
      delete record.label
    } else {
      record.label = label
    }
  }
  if (draft.bounds !== undefined) {
    record.deadline = draft.bounds.deadline
    record.expiresAt = draft.bounds.expiresAt
    record.idle = draft.bounds.idle
    if (draft.bounds.persistent) {
      record.persistent = true
    } else {
      delete record.persistent
    }
  }
  return Object.freeze(record)
}
