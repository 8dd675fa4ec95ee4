/**
 * How long a session lives, how large it may be, and what happens when the store fails. Only the middleware reads the
 * policy. The lifetimes that a session was given are kept in its record. The module knows nothing of HTTP, states or
 * stores.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as environment from "./internal/environment.js"
import * as check from "./internal/options.js"

/**
 * What happens to a request that touches its session when the store fails. With `fail` the request is answered with
 * 503. With `anonymous` the request goes on with an empty session, which is never saved and sets no cookie; the failure
 * is counted.
 *
 * @since 0.1.0
 * @category models
 */
export type OnStoreFailure = "fail" | "anonymous"

/**
 * The policy with all defaults filled in. Times are in milliseconds. `Options` says what each member means.
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
  readonly watchInterval: number
}

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A session that is not used for this long ends. Default 1 hour (NIST SP 800-63B-4, AAL2). */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** A session this old ends, used or not. Default 24 hours (NIST SP 800-63B-4, AAL2). */
  readonly lifetime?: Duration.DurationInput | undefined
  /**
   * A read extends the session only when that moves its end by at least this much. Default: a tenth of the idle
   * timeout. For a session with a shorter idle timeout of its own, it is the same fraction of that one.
   */
  readonly touchInterval?: Duration.DurationInput | undefined
  /**
   * How long the store may take to load a session, and again to commit it. A form that carries the token has to arrive
   * before, which is not counted; the end of a request waits for it no longer than this. Default 5 seconds.
   */
  readonly storeTimeout?: Duration.DurationInput | undefined
  /** What happens when the store fails. Default `fail`. */
  readonly onStoreFailure?: OnStoreFailure | undefined
  /**
   * How large a session's data may be, in characters of its JSON text. A number counts as 8 characters, and a character
   * that JSON has to escape as one. Default 262144.
   */
  readonly maxSize?: number | undefined
  /**
   * How often `Session.watch` asks a store that does not tell of every change, once for all watchers of a session. Default
   * 5 seconds.
   */
  readonly watchInterval?: Duration.DurationInput | undefined
}

const hour = 3_600_000

const defaults: Policy = {
  idleTimeout: hour,
  lifetime: 24 * hour,
  touchInterval: hour / 10,
  storeTimeout: 5000,
  onStoreFailure: "fail",
  maxSize: 262_144,
  watchInterval: 5000
}

/**
 * The policy in force. Without a layer, it has the defaults that `Options` names.
 *
 * @since 0.1.0
 * @category references
 */
export class SessionPolicy extends Context.Reference<SessionPolicy>()("effect-session/SessionPolicy", {
  defaultValue: (): Policy => defaults
}) {}

const duration = (
  option: keyof Options,
  input: Duration.DurationInput | undefined,
  fallback: number,
  example: string
): check.Checked<number> =>
  input === undefined
    ? Either.right(fallback)
    : check.milliseconds(["SessionPolicy", option], input, { example, longest: check.longestLife })

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
    if (touchInterval >= idleTimeout) {
      return yield* check.invalid(
        ["SessionPolicy", "touchInterval"],
        "write a duration shorter than idleTimeout, or leave it out: a session that is read all the time would end"
      )
    }
    const onStoreFailure = yield* check.oneOf(
      ["SessionPolicy", "onStoreFailure"],
      options.onStoreFailure ?? defaults.onStoreFailure,
      ["fail", "anonymous"]
    )
    const maxSize = yield* check.atLeastOne(
      ["SessionPolicy", "maxSize"],
      options.maxSize ?? defaults.maxSize,
      "a number of characters above zero, such as 65536"
    )
    const watchInterval = yield* duration("watchInterval", options.watchInterval, defaults.watchInterval, "5 seconds")
    return { idleTimeout, lifetime, touchInterval, storeTimeout, onStoreFailure, maxSize, watchInterval }
  })

/**
 * Sets the policy for the app. Fails with a `ConfigError` that says what to write instead.
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

const variables: environment.Variables<Options> = {
  idleTimeout: environment.optional("SESSION_IDLE_TIMEOUT", Config.duration),
  lifetime: environment.optional("SESSION_LIFETIME", Config.duration),
  touchInterval: environment.optional("SESSION_TOUCH_INTERVAL", Config.duration),
  storeTimeout: environment.optional("SESSION_STORE_TIMEOUT", Config.duration),
  onStoreFailure: environment.optional("SESSION_ON_STORE_FAILURE", Config.literal("fail", "anonymous")),
  maxSize: environment.optional("SESSION_MAX_SIZE", Config.integer),
  watchInterval: environment.optional("SESSION_WATCH_INTERVAL", Config.duration)
}

/**
 * `layer` with options read from the environment: `SESSION_IDLE_TIMEOUT`, `SESSION_LIFETIME`, `SESSION_TOUCH_INTERVAL`,
 * `SESSION_STORE_TIMEOUT` and `SESSION_WATCH_INTERVAL` (durations such as "30 minutes"), `SESSION_ON_STORE_FAILURE` and
 * `SESSION_MAX_SIZE`. All may be absent. An option that is given is read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options> = {}
): Layer.Layer<never, ConfigError.ConfigError> => environment.layerConfig("SessionPolicy", variables, options, layer)
