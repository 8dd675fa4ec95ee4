/**
 * The text form of an entry, for stores whose backend keeps a single text under each key. The first line is the stamp,
 * so that revisions can be compared without reading the body, which follows. A text of a later version of this form is
 * read as a body of a later version, and is left as it is. A renewal's tombstone names the successor's id on a second
 * line, which earlier releases ignore. The module knows nothing of where the text is kept.
 */
import type * as SessionToken from "../../SessionToken.js"
import type * as Backend from "../../StoreBackend.js"

const version = 1

const anyVersion = /^[st](\d{1,9}) /
const head = /^([st])\d{1,9}((?: [\d.e+-]{1,32}){1,3})\n/

const id = /^[A-Za-z0-9_-]{43}$/

/** The text of an entry. The inverse of `fromText`. @internal */
export const toText = (entry: Backend.Entry): string =>
  entry._tag === "Entry"
    ? `s${version} ${entry.revision} ${entry.touchedAt} ${entry.deadline}\n${entry.body}`
    : `t${version} ${entry.until}\n${entry.successor ?? ""}`

/**
 * The entry of a text that can't be read. It never expires and no revision matches it, so that it keeps its key. The
 * record's decoder then says what is wrong with its body.
 */
const opaque = (body: string): Backend.LiveEntry => ({
  _tag: "Entry",
  revision: -1,
  touchedAt: 0,
  deadline: Number.POSITIVE_INFINITY,
  body
})

/** The entry of any text. The inverse of `toText`. @internal */
export const fromText = (text: string): Backend.Entry => {
  const written = Number(anyVersion.exec(text)?.[1])
  if (written > version) {
    return opaque(`{"v":${written}}`)
  }
  const found = head.exec(text)
  if (found === null) {
    return opaque("")
  }
  const [line, kind, rest = ""] = found
  const [first = Number.NaN, second = Number.NaN, third = Number.NaN] = rest.slice(1).split(" ").map(Number)
  if (kind === "t") {
    const successor = text.slice(line.length)
    return id.test(successor)
      ? { _tag: "Tombstone", until: first, successor: successor as SessionToken.SessionId }
      : { _tag: "Tombstone", until: first }
  }
  return Number.isFinite(first) && Number.isFinite(second) && Number.isFinite(third)
    ? { _tag: "Entry", revision: first, touchedAt: second, deadline: third, body: text.slice(line.length) }
    : opaque("")
}
