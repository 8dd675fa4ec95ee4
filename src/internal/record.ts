/**
 * Records made property by property: a rest or a spread takes longer than all else there is to decoding one, and of a
 * spread whose data is another V8 makes an object of three times the size.
 */
import type { Mutable } from "effect/Types"
import type { Data, SessionRecord, Stamp } from "../SessionRecord.js"
import type { SessionId } from "../SessionToken.js"
import * as Json from "./json.js"

/** What of a record its stamp leaves as it is. */
type Lasting = Omit<SessionRecord, "data" | "id" | keyof Stamp>

/** @internal */
export const make = (from: Lasting, data: Data, stamp: Stamp): Mutable<SessionRecord> => {
  const record: Mutable<SessionRecord> = {
    data,
    revision: stamp.revision,
    createdAt: from.createdAt,
    touchedAt: stamp.touchedAt,
    deadline: stamp.deadline,
    expiresAt: from.expiresAt,
    idle: from.idle
  }
  if (from.persistent !== undefined) {
    record.persistent = from.persistent
  }
  if (from.dropOnRenew !== undefined) {
    record.dropOnRenew = from.dropOnRenew
  }
  if (from.subject !== undefined) {
    record.subject = from.subject
  }
  if (from.authenticatedAt !== undefined) {
    record.authenticatedAt = from.authenticatedAt
  }
  return record
}

/**
 * The record, with changes, as who keeps it holds it: frozen throughout, so that what is handed out can be changed by
 * nobody.
 *
 * @internal
 */
export const own = (
  record: SessionRecord,
  changes: Partial<Stamp & { readonly id: SessionId }> = {}
): SessionRecord => {
  const owned = make(record, Json.adoptObject(record.data), {
    revision: changes.revision ?? record.revision,
    touchedAt: changes.touchedAt ?? record.touchedAt,
    deadline: changes.deadline ?? record.deadline
  })
  const id = changes.id ?? record.id
  if (id !== undefined) {
    owned.id = id
  }
  if (owned.dropOnRenew !== undefined && !Object.isFrozen(owned.dropOnRenew)) {
    owned.dropOnRenew = Object.freeze([...owned.dropOnRenew])
  }
  return Object.freeze(owned)
}
