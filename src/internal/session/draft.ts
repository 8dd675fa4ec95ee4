/**
 * What a request has made of a session's data, as values: a draft over the record that was read, and the updates that led
 * from one to the other. Everything here is pure.
 */
import { SessionDataError } from "../../SessionError.js"
import type { Data, SessionRecord } from "../../SessionRecord.js"
import type { Token } from "../../SessionToken.js"
import type { StoreError } from "../../Store.js"
import * as Json from "../record/json.js"

/** The two bounds of a session, once the handler sets them itself. @internal */
export interface Bounds {
  readonly deadline: number
  readonly expiresAt: number
  readonly idle: number
  readonly persistent: boolean
}

/** Who logged in, under which label, and when. Times are in milliseconds since the epoch. @internal */
export interface Login {
  readonly subject: string
  readonly label: string | undefined
  readonly authenticatedAt: number
}

/** @internal */
export interface Draft {
  readonly data: Data
  /** Keys that a renewal drops. */
  readonly dropOnRenew: ReadonlyArray<string>
  /** Whether the record was kept by `expireIn`. */
  readonly persistent: boolean
  readonly bounds: Bounds | undefined
  /** A login that is not in the base. */
  readonly login: Login | undefined
}

/** An update, remembered so that it can be replayed on what another request saved. Pure. @internal */
export type Update = (draft: Draft) => Draft

const noKeys: ReadonlyArray<string> = []

/** @internal */
export const empty: Draft = {
  data: Json.empty,
  dropOnRenew: noKeys,
  persistent: false,
  bounds: undefined,
  login: undefined
}

/** @internal */
export const fromRecord = (record: SessionRecord): Draft => ({
  data: record.data,
  dropOnRenew: record.dropOnRenew ?? noKeys,
  persistent: record.persistent === true,
  bounds: undefined,
  login: undefined
})

/**
 * The draft with other data. Throws a `SessionDataError` for data that is not JSON, or whose JSON text is longer than
 * `maxSize` characters.
 *
 * @internal
 */
export const withData = (draft: Draft, data: unknown, maxSize: number): Draft => {
  if (data === draft.data) {
    return draft
  }
  const adopted = adopt(data)
  if (Json.size(adopted) > maxSize) {
    throw new SessionDataError({
      reason: "TooLarge",
      path: "",
      problem: `larger than the ${maxSize} characters that SessionPolicy's maxSize allows`
    })
  }
  return { ...draft, data: adopted }
}

const adopt = (data: unknown): Data => {
  try {
    return Json.adoptObject(data)
  } catch (error) {
    if (error instanceof Json.NotJson) {
      throw new SessionDataError({ reason: "NotJson", path: error.path, problem: `${error.problem} is not JSON` })
    }
    throw error
  }
}

/** The update that every renewal makes: it drops the keys that must not survive one. @internal */
export const renewed: Update = (draft) => {
  if (draft.dropOnRenew.length === 0) {
    return draft
  }
  const data = Object.fromEntries(Object.entries(draft.data).filter(([key]) => !draft.dropOnRenew.includes(key)))
  return { ...draft, data: Json.adoptObject(data), dropOnRenew: noKeys }
}

/** An update that is not saved yet, and the app's own transaction that was open when it was made. */
interface Unsaved {
  readonly update: Update
  readonly within: object | undefined
  readonly before: Pending
}

/** Updates that are not saved yet, the newest first: appending shares what is there. @internal */
export type Pending = Unsaved | undefined

/** @internal */
export const append = (pending: Pending, update: Update, within?: object): Pending => ({
  update,
  within,
  before: pending
})

const toArray = (pending: Pending, upTo: Pending): Array<Unsaved> => {
  const updates: Array<Unsaved> = []
  for (let each = pending; each !== undefined && each !== upTo; each = each.before) {
    updates.push(each)
  }
  return updates.reverse()
}

const fromArray = (updates: ReadonlyArray<Unsaved>): Pending =>
  updates.reduce<Pending>((pending, { update, within }) => append(pending, update, within), undefined)

/** The updates of both, but for those that were made in a transaction that was rolled back. @internal */
export const outside = (earlier: Pending, later: Pending, transaction: object): Pending =>
  fromArray(
    [...toArray(earlier, undefined), ...toArray(later, undefined)].filter(({ within }) => within !== transaction)
  )

/** The updates that were made after `saved` was all there was. @internal */
export const since = (pending: Pending, saved: Pending): Pending => {
  if (pending === saved) {
    return undefined
  }
  return saved === undefined ? pending : fromArray(toArray(pending, saved))
}

/** Makes the pending updates again on another draft. @internal */
export const replay = (pending: Pending, draft: Draft): Draft =>
  pending === undefined ? draft : toArray(pending, undefined).reduce((draft, { update }) => update(draft), draft)

/**
 * What a session rests on.
 *
 * - `Fresh`: no live session; one begins under a new token if there is something to keep
 * - `Live`: the session as the store has it
 * - `Ended`: superseded, or gone while the request ran (`token` is the one that named it, and `record` what was last known
 *   of it); nothing is kept and no cookie is set, unless it is renewed
 * - `Detached`: the store keeps nothing, or failed (`failure`) under a policy that goes on without it
 *
 * @internal
 */
export type Base =
  | { readonly _tag: "Fresh" }
  | Live
  | Ended
  | { readonly _tag: "Detached"; readonly failure: StoreError | undefined }

/** @internal */
export interface Live {
  readonly _tag: "Live"
  readonly token: Token
  readonly record: SessionRecord
}

/** @internal */
export interface Ended {
  readonly _tag: "Ended"
  readonly token: Token | undefined
  readonly record: SessionRecord | undefined
}

/** @internal */
export const fresh: Base = { _tag: "Fresh" }
/** @internal */
export const ended: Ended = { _tag: "Ended", token: undefined, record: undefined }
/** @internal */
export const detached: Base = { _tag: "Detached", failure: undefined }

/** @internal */
export const draftOf = (base: Base): Draft => base._tag === "Live" ? fromRecord(base.record) : empty

/** Whether a draft holds anything that its base does not. @internal */
export const isChanged = (base: Base, draft: Draft): boolean =>
  base._tag === "Live"
    ? draft.data !== base.record.data || draft.bounds !== undefined ||
      draft.dropOnRenew !== (base.record.dropOnRenew ?? noKeys)
    : draft.data !== Json.empty
