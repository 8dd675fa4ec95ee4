/**
 * The one check of the values that enter a session. It throws `NotJson` with the path for a value that is not JSON, and
 * returns a frozen copy of any other value. Values that were checked before are recognized and shared, so that an
 * update costs only what is new in it. The module knows nothing of sessions.
 */

/** @internal */
export type Json = string | number | boolean | null | ReadonlyArray<Json> | JsonObject

/** @internal */
export interface JsonObject {
  readonly [key: string]: Json
}

/** Thrown for a value that is not JSON, or that is nested too deep. @internal */
export class NotJson {
  constructor(readonly path: string, readonly problem: string) {}
}

class Itself {
  constructor(value: object) {
    return value
  }
}

/** More than the levels that a value may have. */
const levelsLimit = 128

/**
 * Marks a value as adopted, with its approximate size in characters of JSON text and how many levels of objects and
 * arrays it has. The mark is a private field of the value itself: nobody else can see it or make it, no copy has it, and
 * it takes far less time than an entry in a WeakMap. It is one number, because a second field takes 40 bytes a session.
 */
class Adopted extends Itself {
  readonly #measure: number
  private constructor(value: object, size: number, levels: number) {
    super(value)
    this.#measure = size * levelsLimit + levels
  }
  static mark(value: object, size: number, levels: number): void {
    new Adopted(value, size, levels)
  }
  static sizeOf(value: object): number {
    return #measure in value ? Math.floor(value.#measure / levelsLimit) : 0
  }
  static levelsOf(value: object): number {
    return #measure in value ? value.#measure % levelsLimit : 0
  }
  static has(value: object): boolean {
    return #measure in value
  }
}

const maximumDepth = 100

const member = (path: string, key: string): string =>
  /^[A-Za-z_$][\w$]*$/.test(key)
    ? path === "" ? key : `${path}.${key}`
    : `${path}[${JSON.stringify(key)}]`

const describe = (value: unknown): string => {
  switch (typeof value) {
    case "function":
      return "a function"
    case "symbol":
      return "a symbol"
    case "bigint":
      return "a bigint, which JSON can't hold; keep it as a string"
    case "undefined":
      return "undefined, which JSON can't hold; remove the key, or keep null"
    case "number":
      return String(value)
    default:
      return "an unknown value"
  }
}

/** The size of an adopted value in characters of JSON text. @internal */
export const size = (value: Json): number => {
  switch (typeof value) {
    case "string":
      return value.length + 2
    case "number":
      return 8
    case "boolean":
      return 5
    default:
      return value === null ? 4 : Adopted.sizeOf(value)
  }
}

const levels = (value: Json): number => typeof value === "object" && value !== null ? Adopted.levelsOf(value) : 0

const tooDeep = (path: string): NotJson => new NotJson(path, `nested deeper than ${maximumDepth} levels`)

const walk = (value: unknown, path: string, ancestors: ReadonlyArray<object>): Json => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value
    case "number":
      if (!Number.isFinite(value)) {
        throw new NotJson(path, describe(value))
      }
      return value === 0 ? 0 : value
    case "object":
      break
    default:
      throw new NotJson(path, describe(value))
  }
  if (value === null) {
    return value
  }
  if (Adopted.has(value)) {
    // It was not too deep where it was before, but here it may be, and then no store could read it again.
    if (ancestors.length + Adopted.levelsOf(value) > maximumDepth) {
      throw tooDeep(path)
    }
    return value as Json
  }
  if (ancestors.includes(value)) {
    throw new NotJson(path, "a cycle")
  }
  if (ancestors.length >= maximumDepth) {
    throw tooDeep(path)
  }
  return Array.isArray(value)
    ? walkArray(value, path, [...ancestors, value])
    : walkObject(value, path, [...ancestors, value])
}

const walkArray = (value: ReadonlyArray<unknown>, path: string, ancestors: ReadonlyArray<object>): Json => {
  const copy: Array<Json> = []
  let total = 2
  let deepest = 0
  for (let index = 0; index < value.length; index++) {
    const item = walk(value[index], `${path}[${index}]`, ancestors)
    total += size(item) + 1
    deepest = Math.max(deepest, levels(item))
    copy.push(item)
  }
  Adopted.mark(copy, total, deepest + 1)
  Object.freeze(copy)
  return copy
}

const walkObject = (value: object, path: string, ancestors: ReadonlyArray<object>): JsonObject => {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    const name = (value.constructor as { readonly name?: unknown } | undefined)?.name
    throw new NotJson(path, `an instance of ${typeof name === "string" && name !== "" ? name : "a class"}`)
  }
  const copy: Record<string, Json> = {}
  let total = 2
  let deepest = 0
  for (const key of Object.keys(value)) {
    if (key === "__proto__") {
      throw new NotJson(member(path, key), "a key named __proto__")
    }
    const field = (value as Record<string, unknown>)[key]
    if (field === undefined) {
      continue
    }
    const item = walk(field, path === "" && ancestors.length === 1 ? key : member(path, key), ancestors)
    total += key.length + 4 + size(item)
    deepest = Math.max(deepest, levels(item))
    copy[key] = item
  }
  Adopted.mark(copy, total, deepest + 1)
  Object.freeze(copy)
  return copy
}

/** Whether a value was adopted, and so is deeply frozen. @internal */
export const isAdopted = (value: JsonObject): boolean => Adopted.has(value)

/** A frozen copy of a value, or the value itself if it was adopted before. Throws `NotJson`. @internal */
export const adopt = (value: unknown): Json => walk(value, "", [])

/** The same for a value that must be an object. Throws `NotJson`. @internal */
export const adoptObject = (value: unknown): JsonObject => {
  const json = adopt(value)
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new NotJson("", "not an object")
  }
  return json as JsonObject
}

/** @internal */
export const empty: JsonObject = adoptObject({})
