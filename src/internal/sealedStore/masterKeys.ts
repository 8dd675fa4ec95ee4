/**
 * Reads master keys as an operator writes them: 32 random bytes in base64, base64url or hex. A key of another form
 * fails the layer, with a message that names the command that makes a good key. No message holds a key. The module
 * knows nothing of tokens.
 */
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Bytes, Node } from "../crypto/node.js"
import { node } from "../crypto/node.js"
import * as options from "../options.js"

/** A master key's bytes. @internal */
export type MasterKey = Bytes

const hexForm = /^[0-9a-fA-F]{64}$/
const base64Form = /^(?:[A-Za-z0-9+/]{43}=?|[A-Za-z0-9_-]{43})$/

const advice = "write 32 random bytes in base64, base64url or hex, as this command prints them: openssl rand -base64 32"

const decode = (runtime: Node, text: string): Bytes | undefined =>
  hexForm.test(text)
    ? runtime.Buffer.from(text, "hex")
    : base64Form.test(text)
    ? runtime.Buffer.from(text, "base64url")
    : undefined

/** Reads the keys of a module's options. Fails with a `ConfigError` that says which key is wrong and why. @internal */
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
      "this runtime does not give node:crypto by process.getBuiltinModule: " +
        "run the app on Node 20.16 or later, Bun or Deno"
    ))
  }
  const found: Array<MasterKey> = []
  for (const [index, key] of keys.entries()) {
    const bytes = decode(node, Redacted.value(key).trim())
    if (bytes === undefined) {
      return options.invalid(
        [module, "keys", String(index)],
        `this key is not 32 bytes in base64, base64url or hex: ${advice}`
      )
    }
    found.push(bytes)
  }
  const [first, ...rest] = found
  return first === undefined
    ? options.invalid([module, "keys"], `at least one key is needed: ${advice}`)
    : Effect.succeed({ runtime: node, keys: [first, ...rest] })
}
