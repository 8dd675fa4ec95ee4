/**
 * Checks of the options that layers take. Each gives the value, or a `ConfigError` that names the module and the option
 * and says what to write. An `Either` is an Effect, so a check can be yielded anywhere. The module knows nothing of
 * sessions.
 */
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"

/** @internal */
export type Checked<A> = Either.Either<A, ConfigError.ConfigError>

/** The longest time that a browser keeps a cookie, in milliseconds (RFC 6265bis section 5.5). @internal */
export const longestLife = Duration.toMillis(Duration.days(400))

const day = Duration.toMillis(Duration.days(1))

/** The error for a wrong option. `advice` says what to write instead. @internal */
export const invalid = (path: ReadonlyArray<string>, advice: string): Checked<never> =>
  Either.left(ConfigError.InvalidData([...path], advice))

/** A duration in milliseconds, above zero and at most `longest`, which must be a number of whole days. @internal */
export const milliseconds = (
  path: ReadonlyArray<string>,
  input: Duration.DurationInput,
  bounds: { readonly example: string; readonly longest?: number }
): Checked<number> => {
  const decoded = Duration.decodeUnknown(input)
  const millis = decoded._tag === "Some" ? Duration.toMillis(decoded.value) : Number.NaN
  const longest = bounds.longest ?? Number.MAX_VALUE
  if (millis > 0 && millis <= longest) {
    return Either.right(millis)
  }
  const limit = longest === Number.MAX_VALUE
    ? "finite duration above zero"
    : `duration above zero and of at most ${longest / day} days`
  return invalid(path, `write a ${limit}, such as "${bounds.example}"`)
}

/** A number that is 1 or more. @internal */
export const atLeastOne = (
  path: ReadonlyArray<string>,
  value: number,
  what: string
): Checked<number> => value >= 1 ? Either.right(value) : invalid(path, `write ${what}`)

/** One of several words. @internal */
export const oneOf = <const A extends string>(
  path: ReadonlyArray<string>,
  value: A,
  choices: ReadonlyArray<A>
): Checked<A> =>
  choices.includes(value)
    ? Either.right(value)
    : invalid(path, `write ${choices.map((choice) => JSON.stringify(choice)).join(" or ")}`)

/** The message of a store when the new token of a renewal is in use. @internal */
export const repeatedToken =
  "The new token of the renewal is already in use, because the token generator repeats itself. " +
  "Provide a SessionToken.Generator with random bytes, or leave it out."
