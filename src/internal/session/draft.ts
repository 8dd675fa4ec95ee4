/**
 * What a request made of a session, as a value: a draft over the record that was read, the updates that led to it, and
 * the pure decision of what is owed to the store. Nothing here performs anything.
 */
import type * as SessionPolicy from "../../SessionPolicy.js"
import type { Data, SessionRecord } from "../../SessionRecord.js"
import type { Token } from "../../SessionToken.js"
import * as Json from "../record/json.js"
import * as Record from "../record/record.js"
import * as lifetime from "./lifetime.js"

/** @internal */
export interface Draft {
  readonly data: Data
  /** Keys that a renewal drops. */
  readonly dropOnRenew: ReadonlyArray<string>
  /** Both bounds, once `expireIn` set them. */
  readonly bound: { readonly at: number; readonly idle: number } | undefined
}

/** A remembered update, pure, so that it can be replayed on what another request left. @internal */
export type Update = (draft: Draft) => Draft

const noKeys: ReadonlyArray<string> = []

/** @internal */
export const empty: Draft = { data: Json.empty, dropOnRenew: noKeys, bound: undefined }

/** What a renewal leaves of a draft: the keys that must not survive it are gone (S16). @internal */
export const renewed: Update = (draft) => {
  if (draft.dropOnRenew.length === 0) {
    return draft
  }
  const data = Object.fromEntries(Object.entries(draft.data).filter(([key]) => !draft.dropOnRenew.includes(key)))
  return { ...draft, data: Json.adoptObject(data), dropOnRenew: noKeys }
}

/** @internal */
export const fromRecord = (record: SessionRecord): Draft => ({
  data: record.data,
  dropOnRenew: record.dropOnRenew ?? noKeys,
  bound: undefined
})

/** @internal */
export const replay = (updates: ReadonlyArray<Update>, draft: Draft): Draft =>
  updates.reduce((draft, update) => update(draft), draft)

/**
 * What the request's token turned out to be.
 *
 * - `Fresh`: no live session; one begins under a new token if there is something to keep
 * - `Live`: the session as the store has it
 * - `Ended`: superseded, or gone while the request ran; nothing is kept, and no cookie is set, unless it is renewed
 * - `Detached`: the store keeps nothing, or failed under a policy that goes on without it
 *
 * @internal
 */
export type Base =
  | { readonly _tag: "Fresh" }
  | Live
  | { readonly _tag: "Ended" }
  | { readonly _tag: "Detached" }

/** @internal */
export interface Live {
  readonly _tag: "Live"
  readonly token: Token
  readonly record: SessionRecord
}

/** @internal */
export const fresh: Base = { _tag: "Fresh" }
/** @internal */
export const ended: Base = { _tag: "Ended" }
/** @internal */
export const detached: Base = { _tag: "Detached" }

/** @internal */
export const draftOf = (base: Base): Draft => base._tag === "Live" ? fromRecord(base.record) : empty

/** Whether a draft holds anything that its base does not. @internal */
export const isChanged = (base: Base, draft: Draft): boolean =>
  base._tag === "Live"
    ? draft.data !== base.record.data || draft.bound !== undefined ||
      draft.dropOnRenew !== (base.record.dropOnRenew ?? noKeys)
    : draft.data !== Json.empty

/** What the store is owed. @internal */
export type Owed =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Touch"; readonly deadline: number }
  | { readonly _tag: "Create" }
  | { readonly _tag: "Update" }
  | { readonly _tag: "Renew" }
  | { readonly _tag: "Remove" }

const nothing: Owed = { _tag: "Nothing" }
const create: Owed = { _tag: "Create" }
const update: Owed = { _tag: "Update" }
const renew: Owed = { _tag: "Renew" }
const remove: Owed = { _tag: "Remove" }

/** All that the decision looks at. @internal */
export interface Situation {
  readonly base: Base
  readonly draft: Draft
  /** A session was destroyed, and its removal has not landed. */
  readonly removing: boolean
  readonly renewing: boolean
  /** The response is an error, the client is gone, or the handler said so: only a removal is carried out. */
  readonly discarding: boolean
  /** Asked for by the handler, not by the end of the request: a new session is kept even when empty. */
  readonly explicit: boolean
}

/** The first row that fits decides. @internal */
export const decide = (situation: Situation, now: number, policy: SessionPolicy.Policy): Owed => {
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
      return situation.explicit || isChanged(base, draft) ? create : nothing
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
 * it as it is. A renewed one takes its public id from the next token. A deadline is given where it is not to follow `now`.
 *
 * @internal
 */
export const toRecord = (
  base: Base,
  draft: Draft,
  now: number,
  policy: SessionPolicy.Policy,
  renewing: boolean,
  deadline?: number
): SessionRecord => {
  const before = base._tag === "Live" ? base.record : undefined
  const dropOnRenew = draft.dropOnRenew.length > 0 ? draft.dropOnRenew : undefined
  const record = before === undefined
    ? Record.make(
      { createdAt: now, expiresAt: now + policy.lifetime, idle: policy.idleTimeout },
      draft.data,
      dropOnRenew,
      {
        revision: 1,
        touchedAt: now,
        deadline: now + Math.min(policy.idleTimeout, policy.lifetime)
      }
    )
    : Record.make(before, draft.data, dropOnRenew, {
      revision: before.revision + 1,
      touchedAt: now,
      deadline: deadline ?? lifetime.nextDeadline(now, before)
    })
  if (before?.id !== undefined && !renewing) {
    record.id = before.id
  }
  if (draft.bound !== undefined) {
    record.deadline = draft.bound.at
    record.expiresAt = draft.bound.at
    record.idle = draft.bound.idle
    record.persistent = true
  }
  return Object.freeze(record)
}
