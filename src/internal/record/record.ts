/**
 * Records made property by property: a rest or a spread takes longer than all else there is to decoding one, and of a
 * spread whose data is another V8 makes an object of three times the size.
 */
import type { Mutable } from "effect/Types"
import type { Data, SessionRecord, Stamp } from "../../SessionRecord.js"
import type { SessionId } from "../../SessionToken.js"
import * as Json from "./json.js"

/** What of a record every write leaves as it is. */
type Lasting = Omit<SessionRecord, "data" | "dropOnRenew" | "id" | keyof Stamp>

/** @internal */
export const make = (
  from: Lasting,
  data: Data,
  dropOnRenew: SessionRecord["dropOnRenew"],
  stamp: Stamp
): Mutable<SessionRecord> => {
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
  if (dropOnRenew !== undefined) {
    record.dropOnRenew = dropOnRenew
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
  const { dropOnRenew } = record
  const frozen = dropOnRenew === undefined || Object.isFrozen(dropOnRenew)
    ? dropOnRenew
    : Object.freeze([...dropOnRenew])
  const owned = make(record, Json.adoptObject(record.data), frozen, {
    revision: changes.revision ?? record.revision,
    touchedAt: changes.touchedAt ?? record.touchedAt,
    deadline: changes.deadline ?? record.deadline
  })
  const id = changes.id ?? record.id
  if (id !== undefined) {
    owned.id = id
  }
  return Object.freeze(owned)
}
