/**
 * The model of a store: a pure description of the contract. It says what may be answered to an operation, and what that
 * leaves, and knows nothing of who asks.
 */
import * as Duration from "effect/Duration"
import * as SessionRecord from "../../../SessionRecord.js"
import type * as SessionToken from "../../../SessionToken.js"
import * as Store from "../../../Store.js"
import * as law from "./law.js"

/** What the model has under a token. @internal */
export type Held =
  | { readonly _tag: "Live"; readonly record: SessionRecord.SessionRecord }
  | { readonly _tag: "Tombstone"; readonly until: number; readonly successor?: SessionToken.Token }

/** What the model has, by the text of the token. @internal */
export type Model = ReadonlyMap<string, Held>

/** @internal */
export type Operation =
  | { readonly _tag: "load"; readonly token: SessionToken.Token }
  | { readonly _tag: "create"; readonly token: SessionToken.Token; readonly record: SessionRecord.SessionRecord }
  | {
    readonly _tag: "update"
    readonly token: SessionToken.Token
    readonly revision: number
    readonly record: SessionRecord.SessionRecord
  }
  | {
    readonly _tag: "renew"
    readonly token: SessionToken.Token
    readonly revision: number
    readonly next: SessionToken.Token
    readonly record: SessionRecord.SessionRecord
  }
  | {
    readonly _tag: "touch"
    readonly token: SessionToken.Token
    readonly revision: number
    readonly deadline: number
  }
  | { readonly _tag: "remove"; readonly token: SessionToken.Token }

/** @internal */
export type Answer = Store.Loaded | Store.Created | Store.Updated | Store.Touched | { readonly _tag: "Removed" }

/** What the contract allows an operation to answer, and what it then leaves. @internal */
export interface Outcome {
  readonly answer: Answer["_tag"]
  /** The record that comes with the answer. */
  readonly record?: SessionRecord.SessionRecord
  readonly model: Model
}

/** @internal */
export interface Promises {
  readonly tombstones: boolean
  /** Whether the calls' time alone ends tombstones, so that their end is exact. */
  readonly exact: boolean
}

/** @internal */
export const tombstoneMillis = Duration.toMillis(Store.tombstoneTimeToLive)

const put = (model: Model, token: SessionToken.Token, held: Held | undefined): Model => {
  const copy = new Map(model)
  if (held === undefined) {
    copy.delete(law.textOf(token))
  } else {
    copy.set(law.textOf(token), held)
  }
  return copy
}

/**
 * The model: what may be answered to an operation at a time. Mostly one answer is allowed. There are two for a
 * tombstone past its minute if another clock ends it, and for the tombstone of an expired session, which may have been
 * swept before it was removed. `raised` is the revision that the store answered with.
 *
 * @internal
 */
export const outcomes = (
  model: Model,
  operation: Operation,
  now: number,
  raised: number,
  { exact, tombstones }: Promises
): ReadonlyArray<Outcome> => {
  const { token } = operation
  const held = model.get(law.textOf(token))
  const record = held?._tag === "Live" && !SessionRecord.isExpired(held.record, now) ? held.record : undefined
  const hasEnded = held?._tag === "Tombstone" && now >= held.until
  const isSuperseded = held?._tag === "Tombstone" && (!hasEnded || !exact)
  const isFree = record === undefined && (!isSuperseded || hasEnded)
  const tombstone = tombstones ? { _tag: "Tombstone", until: now + tombstoneMillis } as const : undefined

  switch (operation._tag) {
    case "load": {
      if (record !== undefined) {
        return [{ answer: "Live", record, model }]
      }
      return [
        ...(isSuperseded ? [{ answer: "Superseded", model } as const] : []),
        ...(isFree ? [{ answer: "None", model } as const] : [])
      ]
    }
    case "create": {
      const created = put(model, token, { _tag: "Live", record: operation.record })
      return [
        ...(isFree ? [{ answer: "Created", model: created } as const] : []),
        ...(record !== undefined || isSuperseded ? [{ answer: "Exists", model } as const] : [])
      ]
    }
    case "update":
    case "renew": {
      if (record === undefined) {
        return [{ answer: "Gone", model }]
      }
      if (record.revision !== operation.revision) {
        return [{ answer: "Conflict", record, model }]
      }
      const written: Held = { _tag: "Live", record: { ...operation.record, revision: raised } }
      return [{
        answer: "Updated",
        model: operation._tag === "update"
          ? put(model, token, written)
          : put(
            put(model, token, tombstone && { ...tombstone, successor: operation.next }),
            operation.next,
            written
          )
      }]
    }
    case "touch": {
      if (record === undefined) {
        return [{ answer: "Gone", model }]
      }
      const deadline = Math.max(record.deadline, operation.deadline)
      return [{
        answer: "Touched",
        model: record.revision === operation.revision
          ? put(model, token, { _tag: "Live", record: { ...record, deadline } })
          : model
      }]
    }
    case "remove": {
      if (held?._tag === "Tombstone" && held.successor !== undefined && (!hasEnded || !exact)) {
        const next = { ...operation, token: held.successor }
        const followed = outcomes(model, next, now, raised, { exact, tombstones })
        return hasEnded ? [...followed, { answer: "Removed", model }] : followed
      }
      const removed = held?._tag === "Live" ? [{ answer: "Removed", model: put(model, token, tombstone) } as const] : []
      return record === undefined ? [...removed, { answer: "Removed", model }] : removed
    }
  }
}

/** `touchedAt` is not compared, because a touch that moves nothing may set it or not. */
const differs = (actual: SessionRecord.SessionRecord, expected: SessionRecord.SessionRecord): string | undefined =>
  law.difference(law.comparable({ ...actual, touchedAt: 0 }), law.comparable({ ...expected, touchedAt: 0 }))

/** What an answer is instead of an outcome that is allowed; `undefined` if it is that. @internal */
export const mismatch = (answer: Answer, outcome: Outcome): string | undefined => {
  if (answer._tag !== outcome.answer) {
    return `answered ${answer._tag}, but the model answers ${outcome.answer}`
  }
  return outcome.record !== undefined && "record" in answer ? differs(answer.record, outcome.record) : undefined
}
