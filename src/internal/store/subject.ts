/**
 * The name of a subject where others can see it, such as a column or a key. The module knows nothing of stores.
 */
import * as Effect from "effect/Effect"
import { sha256Sync, sha256Web } from "../crypto/hash.js"

/**
 * The SHA-256 of a subject in base64url. JSON text escapes what UTF-8 has no bytes for, half a surrogate pair, so that two
 * subjects never have one hash; any usual text is itself in JSON.
 *
 * @internal
 */
export const subjectHash = (subject: string): Effect.Effect<string> => {
  const text = JSON.stringify(subject).slice(1, -1)
  return sha256Sync === undefined ? sha256Web(text) : Effect.succeed(sha256Sync(text))
}
