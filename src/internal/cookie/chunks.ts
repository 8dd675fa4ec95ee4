/**
 * Splits one value into several cookies and joins them again. A request does not say how many cookies there are, so the
 * value is joined from the first cookie up to the first missing one. The maker of the value has to authenticate it as a
 * whole (S55). The module knows nothing of the HTTP platform.
 */
import * as cookie from "./rules.js"

/** The most cookies that one value is split into. */
const maximumCount = 4

/**
 * The longest name and value of one piece together, in bytes. Four of them are 12 KB. By Node's default, a server
 * accepts 16 KB of a request's head, and other cookies and headers need the rest.
 */
const maximumPiece = 3072

const nameOf = (name: string, index: number): string => `${name}.${index}`

const names = (name: string): ReadonlyArray<string> =>
  Array.from({ length: maximumCount }, (_, index) => nameOf(name, index))

const capacityOf = (name: string): number => maximumPiece - nameOf(name, 0).length

/** The longest value, in bytes. Of a very long name one cookie holds more than the pieces do. @internal */
export const limitOf = (name: string): number =>
  Math.max(maximumCount * capacityOf(name), cookie.maximumSize - name.length)

/** The cookies of a value, and the names of unused cookies, which have to be expired. */
interface Pieces {
  readonly set: ReadonlyArray<readonly [name: string, value: string]>
  readonly expire: ReadonlyArray<string>
}

/** Puts a value into the cookie itself if it fits, else into pieces; `undefined` if it is too long. @internal */
export const split = (name: string, value: string): Pieces | undefined => {
  if (name.length + value.length <= cookie.maximumSize) {
    return { set: [[name, value]], expire: names(name) }
  }
  if (value.length > limitOf(name)) {
    return undefined
  }
  const capacity = capacityOf(name)
  const set = names(name).flatMap((piece, index): ReadonlyArray<readonly [string, string]> => {
    const part = value.slice(index * capacity, (index + 1) * capacity)
    return part === "" ? [] : [[piece, part]]
  })
  return { set, expire: [name, ...names(name).slice(set.length)] }
}

/** All names that a value can be under: the cookie itself, then its pieces. @internal */
export const allNames = (name: string): ReadonlyArray<string> => [name, ...names(name)]

/**
 * Joins the pieces of a request, up to the first missing one. Of each name, the first cookie counts. `undefined` if
 * there is no first piece.
 *
 * @internal
 */
export const join = (pieces: ReadonlyArray<ReadonlyArray<string>>): string | undefined => {
  let whole: string | undefined
  for (const [part] of pieces) {
    if (part === undefined) {
      break
    }
    whole = (whole ?? "") + part
  }
  return whole
}
