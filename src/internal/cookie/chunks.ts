/**
 * One value in several cookies. A client never says how many there are: the value is made of the pieces from the first to
 * the first that is missing, and whoever made the value has to authenticate it as a whole (S55).
 */
import * as cookie from "./rules.js"

/** The most cookies that one value is split into. @internal */
export const maximumCount = 4

/**
 * What name and value of one piece may take together. Four of them are 12 KB: a server takes 16 KB of a request's head
 * by Node's default, and other cookies and headers need the rest.
 */
const maximumPiece = 3072

/** @internal */
export const nameOf = (name: string, index: number): string => `${name}.${index}`

const names = (name: string): ReadonlyArray<string> =>
  Array.from({ length: maximumCount }, (_, index) => nameOf(name, index))

const capacityOf = (name: string): number => maximumPiece - nameOf(name, 0).length

/** The bytes that a value can have. @internal */
export const limitOf = (name: string): number => maximumCount * capacityOf(name)

/** The cookies of a value, and the names of those that it leaves unused. @internal */
export interface Pieces {
  readonly set: ReadonlyArray<readonly [name: string, value: string]>
  readonly expire: ReadonlyArray<string>
}

/** A value that fits goes into the cookie itself, a longer one into pieces; `undefined` when it is too long. @internal */
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

/** All names that a value may have been put under: the cookie itself, then its pieces. @internal */
export const allNames = (name: string): ReadonlyArray<string> => [name, ...names(name)]

/**
 * What the pieces of a request make together: those from the first to the first that is missing, of each name the first
 * cookie. `undefined` where there is no first piece.
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
