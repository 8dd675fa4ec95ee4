/**
 * Keeps sessions in the memory of one process: for development, tests, and services of one instance that may lose their
 * sessions at a restart. Records are frozen and shared, so that nothing is encoded or copied. A sweep deletes expired
 * sessions about two minutes after their end, and visits only those that are due. `Session.watch` is told of every change at
 * once. The module knows nothing of HTTP.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as environment from "./internal/environment.js"
import * as operations from "./internal/memoryStore/operations.js"
import * as kept from "./internal/memoryStore/sessions.js"
import { atLeastOne } from "./internal/options.js"
import { Alarm } from "./internal/runtime/deadlineIndex.js"
import * as sweeping from "./internal/store/sweeping.js"
import * as Sessions from "./Sessions.js"
import * as Store from "./Store.js"

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many sessions are kept at most. A new session beyond that ends the least recently used one. Default: no limit.
   * Sessions of visitors who aren't logged in count as well. So whoever may begin as many as they like can end those of
   * others: limit how often a client begins one.
   */
  readonly capacity?: number | undefined
}

/** The sessions in memory, with their sweep: what both services are made of. */
const open = (options: Options = {}): Effect.Effect<kept.Sessions, ConfigError.ConfigError, Scope.Scope> =>
  Effect.gen(function*() {
    const capacity = yield* atLeastOne(
      ["MemoryStore", "capacity"],
      options.capacity ?? Number.POSITIVE_INFINITY,
      "a number of sessions, 1 or more, such as 100000"
    )
    const sessions = new kept.Sessions(capacity, () => alarm.ring())
    const alarm = new Alarm(() => sessions.next, Duration.toMillis(sweeping.interval))
    yield* sweeping.sweeping(
      "MemoryStore",
      (limit, now) => Effect.sync(() => sessions.sweep(limit, now)),
      { untilDue: alarm.untilDue }
    )
    return sessions
  })

/**
 * Makes a memory store. Its sweep stops with the scope. Fails with a `ConfigError` that says what to write instead. To
 * look sessions up by subject, use `layer`, which provides `Sessions` too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options?: Options): Effect.Effect<Store.Store, ConfigError.ConfigError, Scope.Scope> =>
  Effect.map(open(options), operations.make)

/**
 * Keeps sessions in memory. With a `capacity`, a new session beyond it ends the least recently used one. Tombstones,
 * which mark the old tokens of ended and renewed sessions, do not count.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { MemoryStore } from "effect-session"
 *
 * const store = MemoryStore.layer({ capacity: 100_000 })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError> =>
  Layer.scopedContext(
    Effect.map(open(options), (sessions) =>
      Context.make(Store.Store, operations.make(sessions)).pipe(
        Context.add(Sessions.Sessions, operations.makeSessions(sessions))
      ))
  )

const variables: environment.Variables<Options> = {
  capacity: environment.optional("SESSION_CAPACITY", Config.integer)
}

/**
 * `layer` with options read from the environment: `SESSION_CAPACITY`, which may be absent. An option that is given is
 * read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options> = {}
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError> =>
  environment.layerConfig("MemoryStore", variables, options, layer)
