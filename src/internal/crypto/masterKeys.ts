/**
 * Master keys as an operator writes them: 32 bytes of text in base64, base64url or hex. What is shorter, or could have
 * been thought up, is refused where the layer is built, with the command that makes a good one. No message holds a key.
 */
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Bytes, Node } from "./node.js"
import { node } from "./node.js"

/** A master key's bytes. @internal */
export type MasterKey = Bytes

const size = 32
const hexForm = /^[0-9a-fA-F]{64}$/
const base64Form = /^(?:[A-Za-z0-9+/]{43}=?|[A-Za-z0-9_-]{43})$/

const advice = "write 32 random bytes in base64, base64url or hex, as this command prints them: openssl rand -base64 32"

/**
 * How many different values 32 bytes must have, and how many different steps from byte to byte. Of random keys, one in
 * ten million million has fewer; a repeated, counted or patterned one has them all the time.
 */
const leastVariety = 18

const variety = (bytes: Uint8Array, step: number): number => {
  const seen = new Set<number>()
  for (let index = step; index < bytes.length; index++) {
    seen.add(step === 0 ? bytes[index]! : (bytes[index]! - bytes[index - step]! + 256) % 256)
  }
  return seen.size
}

const isText = (bytes: Uint8Array): boolean => bytes.every((byte) => byte < 0x7f && (byte >= 0x20 || byte === 0x0a))

/** Words written in the alphabet of base64 keep to one case; of random keys, one in three thousand million does. */
const isOneCase = (text: string): boolean => text.toLowerCase() === text || text.toUpperCase() === text

const problemOf = (text: string, bytes: Bytes, isHex: boolean): string | undefined => {
  if (isText(bytes)) {
    return "it is readable text and can be guessed"
  }
  if (variety(bytes, 0) < leastVariety || variety(bytes, 1) < leastVariety) {
    return "its bytes follow a pattern and can be guessed"
  }
  return !isHex && isOneCase(text) ? "it looks like words and can be guessed" : undefined
}

const decode = (runtime: Node, key: string): Bytes | string => {
  const text = key.trim()
  const isHex = hexForm.test(text)
  if (!isHex && !base64Form.test(text)) {
    return "it is not 32 bytes in base64, base64url or hex"
  }
  const bytes = runtime.Buffer.from(text, isHex ? "hex" : "base64url")
  return bytes.length !== size ? "it is not 32 bytes" : problemOf(text, bytes, isHex) ?? bytes
}

/** Reads the keys of a module's options, or says which is no good and why. @internal */
export const make = (
  module: string,
  keys: ReadonlyArray<Redacted.Redacted<string>>
): Effect.Effect<
  { readonly runtime: Node; readonly keys: readonly [MasterKey, ...Array<MasterKey>] },
  ConfigError.ConfigError
> => {
  if (node === undefined) {
    return Effect.fail(ConfigError.Unsupported(
      [module],
      "this runtime has no node:crypto by process.getBuiltinModule: run it on Node 20.16 or later, Bun or Deno"
    ))
  }
  const found: Array<MasterKey> = []
  for (const [index, key] of keys.entries()) {
    const bytes = decode(node, Redacted.value(key))
    if (typeof bytes === "string") {
      return Effect.fail(ConfigError.InvalidData([module, "keys", String(index)], `${bytes}: ${advice}`))
    }
    found.push(bytes)
  }
  const [first, ...rest] = found
  return first === undefined
    ? Effect.fail(ConfigError.InvalidData([module, "keys"], `at least one key is needed: ${advice}`))
    : Effect.succeed({ runtime: node, keys: [first, ...rest] })
}
