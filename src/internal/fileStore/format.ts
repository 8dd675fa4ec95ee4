/**
 * The format of a session's file, and the names of all files in the folder. The module is pure, and knows nothing of
 * the file system.
 *
 * A file is one header line, then the body. The header has the length of the body, so that a torn file is recognized
 * whatever it holds. Names are made of the session's id (a hash), numbers and random parts of our own: nothing that a
 * client sent is ever part of a path.
 */
import type * as SessionToken from "../../SessionToken.js"
import type * as Backend from "../../StoreBackend.js"

/**
 * The file of a session. `touches` counts the touches since the last write; together with the revision, it identifies
 * this content (`baseOf`). `from` is the old id while a renewal is under way: the session is live only once the old
 * id's tombstone names it.
 */
interface LiveFile extends Backend.LiveEntry {
  readonly nonce: string
  readonly touches: number
  readonly from: string | undefined
}

/** The file of a session that has ended. */
interface TombstoneFile extends Backend.Tombstone {
  readonly nonce: string
}

/** A file that is not in this format. */
interface CorruptFile {
  readonly _tag: "Corrupt"
}

/** @internal */
export type Content = LiveFile | TombstoneFile

/** @internal */
export type Found = Content | CorruptFile | undefined

/** @internal */
export const corrupt: CorruptFile = { _tag: "Corrupt" }

const magic = "effect-session"
const version = 1

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** @internal */
export const encodeLive = (
  entry: Backend.LiveEntry,
  nonce: string,
  touches: number,
  from?: string
): Uint8Array =>
  encoder.encode(
    `${magic} ${version} L ${nonce} ${from ?? "-"} ${entry.revision} ${touches} ${entry.touchedAt} ${entry.deadline} ` +
      `${entry.body.length}\n${entry.body}`
  )

/** @internal */
export const encodeTombstone = (tombstone: Backend.Tombstone, nonce: string): Uint8Array =>
  encoder.encode(
    `${magic} ${version} T ${nonce} ${tombstone.successor ?? "-"} ${tombstone.until}\n` +
      (tombstone.revoked === true ? revoked : "")
  )

/** The body of a revoked session's tombstone. Any other has none, and an older release reads over it. */
const revoked = "revoked"

const optional = (text: string): string | undefined => text === "-" ? undefined : text

/**
 * Decodes a file. A file of a later release becomes an entry whose body is of a newer version, so that it is left as it
 * is.
 *
 * @internal
 */
export const decode = (bytes: Uint8Array): Content | CorruptFile => {
  const text = decoder.decode(bytes)
  const end = text.indexOf("\n")
  const header = text.slice(0, Math.max(end, 0)).split(" ")
  if (header[0] !== magic) {
    return corrupt
  }
  if (Number(header[1]) > version) {
    return newer(Number(header[1]))
  }
  const nonce = header[3] ?? ""
  const link = optional(header[4] ?? "-")
  if (header[2] === "L" && header.length === 10) {
    const numbers = header.slice(5).map(Number) as [number, number, number, number, number]
    const [revision, touches, touchedAt, deadline, length] = numbers
    const body = text.slice(end + 1)
    return numbers.some(Number.isNaN) || body.length !== length
      ? corrupt
      : { _tag: "Entry", nonce, revision, touches, touchedAt, deadline, body, from: link }
  }
  if (header[2] === "T" && header.length === 6) {
    const until = Number(header[5])
    return Number.isNaN(until) ? corrupt : {
      _tag: "Tombstone",
      nonce,
      until,
      successor: link as SessionToken.SessionId | undefined,
      ...(text.slice(end + 1) === revoked ? { revoked: true } : undefined)
    }
  }
  return corrupt
}

const newer = (version: number): LiveFile => ({
  _tag: "Entry",
  nonce: "",
  revision: -1,
  touches: 0,
  touchedAt: 0,
  deadline: Number.POSITIVE_INFINITY,
  body: JSON.stringify({ v: Number.MAX_SAFE_INTEGER, file: version }),
  from: undefined
})

/**
 * Identifies the content of a session's file. It changes with every write, because a write raises the revision and a
 * touch raises the count of touches.
 *
 * @internal
 */
export const baseOf = (found: Found): string => {
  if (found === undefined || found._tag === "Corrupt") {
    return "none"
  }
  return found._tag === "Tombstone" ? `t${found.until}` : base(found.revision, found.touches)
}

/** @internal */
export const base = (revision: number, touches: number): string => `${revision}-${touches}`

/** @internal */
export const temporary = (id: string, nonce: string): string => `${id}.${nonce}.tmp`

/** @internal */
export const lock = (id: string, base: string, broken?: string): string =>
  broken === undefined ? `${id}.${base}.lock` : `${id}.${base}.${broken}.lock`

/** @internal */
export const setAside = (id: string, nonce: string): string => `${id}.${nonce}.corrupt`

/** @internal */
export const trash = (nonce: string): string => `${nonce}.trash`

/** The folder of the lists of sessions by subject. It is made when the first session of a subject is. @internal */
export const lists = "subjects"

/**
 * The folder of a subject's list, given the subject's hash. A few subjects share it, so that there are 4096 of them at
 * most and none ever needs to be deleted: `FileSystem` can't delete a folder only if it is empty.
 *
 * @internal
 */
export const listFolder = (subject: string): string => `${lists}/${subject.slice(0, 2)}`

/** The empty file that lists a session under its subject, given the subject's hash. @internal */
export const listed = (subject: string, id: string): string => `${listFolder(subject)}/${subject}.${id}`

/** A part of a name that is used only once, made of the time, the process and a counter. @internal */
export const nonce = (now: number, process: string, count: number): string =>
  `${Math.max(0, Math.trunc(now)).toString(36)}-${process}-${count.toString(36)}`

/** When a nonce was made, in milliseconds since the epoch. @internal */
export const madeAt = (nonce: string): number => Number.parseInt(nonce.split("-", 1)[0] ?? "", 36)

/** The kinds of files in the folder, as their names tell. */
type Named =
  | { readonly _tag: "Session"; readonly id: string }
  | { readonly _tag: "Temporary"; readonly nonce: string }
  | { readonly _tag: "SetAside"; readonly nonce: string }
  | { readonly _tag: "Lock"; readonly id: string; readonly base: string }
  | { readonly _tag: "Trash" }
  | { readonly _tag: "ListFolder" }
  | { readonly _tag: "Listed"; readonly id: string }

const session = /^[A-Za-z0-9_-]{43}$/
const derived = /^([A-Za-z0-9_-]{43})\.([^.]+)(?:\.([^.]+))?\.(tmp|lock|corrupt)$/
const listFolders = /^subjects(?:\/[A-Za-z0-9_-]{2})?$/
const listedSession = /^subjects\/[A-Za-z0-9_-]{2}\/[A-Za-z0-9_-]{43}\.([A-Za-z0-9_-]{43})$/
const trashed = /^[0-9a-z]+-[0-9a-z]+-[0-9a-z]+\.trash$/

/** The kind of file that a name stands for; `undefined` for a file that is not ours. @internal */
export const parseName = (name: string): Named | undefined => {
  if (session.test(name)) {
    return { _tag: "Session", id: name }
  }
  if (trashed.test(name)) {
    return { _tag: "Trash" }
  }
  if (name.startsWith(lists)) {
    const id = listedSession.exec(name)?.[1]
    return id !== undefined ? { _tag: "Listed", id } : listFolders.test(name) ? { _tag: "ListFolder" } : undefined
  }
  const match = derived.exec(name)
  if (match === null) {
    return undefined
  }
  const [, id = "", part = "", , kind] = match
  switch (kind) {
    case "tmp":
      return { _tag: "Temporary", nonce: part }
    case "corrupt":
      return { _tag: "SetAside", nonce: part }
    default:
      return { _tag: "Lock", id, base: part }
  }
}
