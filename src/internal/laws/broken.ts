/**
 * How a law says that it is broken. The module knows nothing of what the laws are of.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/** @internal */
export class LawBroken extends Data.TaggedError("LawBroken")<{ readonly law: string; readonly problem: string }> {
  override get message(): string {
    return `${this.law}: ${this.problem}`
  }
}

/** A value in a message, cut to a length that can be read. @internal */
export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 400 ? `${text.slice(0, 400)}...` : text
}

/** @internal */
export const expect = (condition: boolean, problem: () => string): Effect.Effect<void, string> =>
  condition ? Effect.void : Effect.suspend(() => Effect.fail(problem()))
