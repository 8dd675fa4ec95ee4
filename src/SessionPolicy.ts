/**
 * How long a session lives and what a failing store does. A policy is read by the middleware alone; what a record was
 * given of it is stamped into the record. Knows nothing of HTTP, states or stores.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * What a store failure does to a request that touches its session. `fail` answers 503. `anonymous` goes on with an empty
 * session that is never saved and sets no cookie, and counts it (S66).
 *
 * @since 0.1.0
 * @category models
 */
export type OnStoreFailure = "fail" | "anonymous"

/**
 * The limits in force, in milliseconds (S23).
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy {
  readonly idleTimeout: number
  readonly lifetime: number
  readonly touchInterval: number
  readonly storeTimeout: number
  readonly onStoreFailure: OnStoreFailure
  readonly maxSize: number
}

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A session unused for this long is over. Default 1 hour (NIST SP 800-63B-4, AAL2; S17). */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** A session this old is over, used or not. Default 24 hours (NIST SP 800-63B-4, AAL2; S18). */
  readonly lifetime?: Duration.DurationInput | undefined
  /**
   * A read extends the idle timeout only when it can move by this much. Default: a tenth of the idle timeout. Of a session
   * whose own idle timeout is shorter, the same part of that.
   */
  readonly touchInterval?: Duration.DurationInput | undefined
  /** How long a store may take to load, and again to commit. Default 5 seconds. */
  readonly storeTimeout?: Duration.DurationInput | undefined
  /** Default `fail`. */
  readonly onStoreFailure?: OnStoreFailure | undefined
  /** What a session's data may measure, in characters of its JSON text. Default 262144 (S62). */
  readonly maxSize?: number | undefined
}

const hour = 3_600_000

const defaults: Policy = {
  idleTimeout: hour,
  lifetime: 24 * hour,
  touchInterval: hour / 10,
  storeTimeout: 5000,
  onStoreFailure: "fail",
  maxSize: 262_144
}

/**
 * The policy in force; the defaults of `Options` where no layer sets one.
 *
 * @since 0.1.0
 * @category references
 */
export class SessionPolicy extends Context.Reference<SessionPolicy>()("effect-session/SessionPolicy", {
  defaultValue: (): Policy => defaults
}) {}

const invalid = (option: string, problem: string): Effect.Effect<never, ConfigError.ConfigError> =>
  Effect.fail(ConfigError.InvalidData(["SessionPolicy", option], problem))

/** The longest a browser keeps a cookie (RFC 6265bis), and so the longest a session can be of use. */
const longest = Duration.toMillis(Duration.days(400))

const duration = (
  option: string,
  input: Duration.DurationInput | undefined,
  fallback: number,
  example: string
): Effect.Effect<number, ConfigError.ConfigError> => {
  if (input === undefined) {
    return Effect.succeed(fallback)
  }
  const decoded = Duration.decodeUnknown(input)
  const millis = decoded._tag === "Some" ? Duration.toMillis(decoded.value) : Number.NaN
  return millis > 0 && millis <= longest
    ? Effect.succeed(millis)
    : invalid(option, `write a duration above zero and of at most 400 days, such as "${example}"`)
}

/**
 * Checks options and fills in defaults. Fails with a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Policy, ConfigError.ConfigError> =>
  Effect.gen(function*() {
    const idleTimeout = yield* duration("idleTimeout", options.idleTimeout, defaults.idleTimeout, "30 minutes")
    const lifetime = yield* duration("lifetime", options.lifetime, defaults.lifetime, "12 hours")
    const touchInterval = yield* duration("touchInterval", options.touchInterval, idleTimeout / 10, "5 minutes")
    const storeTimeout = yield* duration("storeTimeout", options.storeTimeout, defaults.storeTimeout, "2 seconds")
    const onStoreFailure = options.onStoreFailure ?? defaults.onStoreFailure
    const maxSize = options.maxSize ?? defaults.maxSize
    if (touchInterval >= idleTimeout) {
      return yield* invalid(
        "touchInterval",
        "write a duration shorter than idleTimeout, or leave it out: a session read all the time would end"
      )
    }
    if (onStoreFailure !== "fail" && onStoreFailure !== "anonymous") {
      return yield* invalid("onStoreFailure", "write \"fail\" or \"anonymous\"")
    }
    if (!(maxSize > 0)) {
      return yield* invalid("maxSize", "write a number of characters above zero, such as 65536")
    }
    return { idleTimeout, lifetime, touchInterval, storeTimeout, onStoreFailure, maxSize }
  })

/**
 * Sets the policy.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { SessionPolicy } from "effect-session"
 *
 * const policy = SessionPolicy.layer({ idleTimeout: "30 minutes", lifetime: "12 hours" })
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<never, ConfigError.ConfigError> =>
  Layer.effectContext(Effect.map(make(options), (policy) => Context.make(SessionPolicy, policy)))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<Options>): Layer.Layer<never, ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))
