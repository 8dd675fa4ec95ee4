/**
 * Puts memory in front of any store, for services that read sessions far more often than they write them. A session
 * that this process read or wrote a moment ago is answered without a call. Writes go to the store behind, so every
 * promise of its writes holds. Only reads may be old, and for no longer than `timeToLive`. The module knows nothing of
 * HTTP.
 *
 * **What reads may miss.** This process sees its own writes, renewals and removals at once, even if a slower read began
 * before them and ends after them. A write inside a transaction of the app's own is seen as soon as the transaction has
 * committed, because its session is not kept in memory for one `timeToLive`. Another instance's writes are seen after
 * one `timeToLive` at the latest (5 seconds by default), or as soon as they are announced, if a `channel` joins the
 * instances. Until then, a session that was ended elsewhere can still be read here, but never written. A service for
 * which that is too late must use the store alone.
 *
 * **Sessions.** If the store behind provides `Sessions`, so does this one. They are listed by the store behind. What is
 * revoked here is treated as a removal: this process sees it at once, and the other instances are told. Whoever watches a
 * session is told by the store behind, and reads it there, also where it has to ask at an interval.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as environment from "./internal/environment.js"
import * as checks from "./internal/options.js"
import type { IoRedisPubSub, NodeRedisPubSub } from "./internal/redisStore/clients.js"
import * as pubSub from "./internal/redisStore/pubSub.js"
import { type Channel, join } from "./internal/tieredStore/channel.js"
import { Memory } from "./internal/tieredStore/memory.js"
import * as store from "./internal/tieredStore/store.js"
import * as Sessions from "./Sessions.js"
import * as Store from "./Store.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Channel
} from "./internal/tieredStore/channel.js"

/**
 * The options of `layer` that are data. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many sessions are kept in memory at most, and as many tokens that name no session. Beyond that, the least
   * recently used one is forgotten. Default 10000.
   */
  readonly capacity?: number | undefined
  /** How long a session is answered from memory before it is read from the store again. Default 5 seconds. */
  readonly timeToLive?: Duration.DurationInput | undefined
}

/**
 * A connected Redis client of the package `redis`, version 6 or newer, or `ioredis`, version 5 or newer, as far as the
 * channel uses it.
 *
 * @since 0.1.0
 * @category models
 */
export type RedisClient = NodeRedisPubSub | IoRedisPubSub

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  IoRedisPubSub,
  /**
   * @since 0.1.0
   * @category models
   */
  NodeRedisPubSub
} from "./internal/redisStore/clients.js"

const silent = (): Effect.Effect<void> => Effect.void

/**
 * Puts memory in front of the store whose layer is piped into it. Other services of that layer pass through. Fails with
 * a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { MemoryStore } from "effect-session"
 * import * as TieredStore from "effect-session/TieredStore"
 *
 * // any store's layer in the place of MemoryStore's
 * const store = MemoryStore.layer().pipe(TieredStore.layer({ capacity: 10_000, timeToLive: "2 seconds" }))
 * ```
 */
export const layer = <CE = never, CR = never>(
  options: Options & {
    /** The channel by which instances announce their writes, or a scoped Effect of it. Default: none. */
    readonly channel?: Channel | Effect.Effect<Channel, CE, CR> | undefined
  } = {}
) =>
<A = never, E = never, R = never>(
  self: Layer.Layer<A | Store.Store, E, R>
): Layer.Layer<A | Store.Store, ConfigError.ConfigError | CE | E, Exclude<CR, Scope.Scope> | R> =>
  Layer.scopedContext(
    Effect.gen(function*() {
      const capacity = yield* checks.atLeastOne(
        ["TieredStore", "capacity"],
        options.capacity ?? 10_000,
        "a number of sessions, 1 or more, such as 10000"
      )
      const timeToLive = yield* checks.milliseconds(["TieredStore", "timeToLive"], options.timeToLive ?? 5000, {
        example: "5 seconds"
      })
      const context = yield* Layer.build(self)
      const memory = new Memory(capacity, timeToLive)
      const { channel } = options
      const joined = channel === undefined
        ? silent
        : yield* join(memory, Effect.isEffect(channel) ? yield* channel : channel)
      const origin = Context.get(context, Store.Store)
      const tiered = Context.add(context, Store.Store, store.make(origin, memory, joined))
      return Option.match(Context.getOption(context, Sessions.Sessions), {
        onNone: () => tiered,
        onSome: ({ lookup }) =>
          Context.add(tiered, Sessions.Sessions, store.makeSessions(origin, lookup, memory, joined))
      })
    })
  )

const variables: environment.Variables<Options> = {
  capacity: environment.optional("SESSION_CAPACITY", Config.integer),
  timeToLive: environment.optional("SESSION_TIME_TO_LIVE", Config.duration)
}

/**
 * `layer` with options read from the environment, without a channel: `SESSION_CAPACITY` and `SESSION_TIME_TO_LIVE`. Both
 * may be absent. An option that is given is read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<Options> = {}) =>
<A = never, E = never, R = never>(
  self: Layer.Layer<A | Store.Store, E, R>
): Layer.Layer<A | Store.Store, ConfigError.ConfigError | E, R> =>
  environment.layerConfig("TieredStore", variables, options, (options) => layer(options)(self))

/**
 * A channel for `layer` that uses Redis pub/sub. The given client publishes, which costs one command for each write. To
 * listen, the client's `duplicate` opens a connection of its own, which is closed with the layer.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import * as RedisStore from "effect-session/RedisStore"
 * import * as TieredStore from "effect-session/TieredStore"
 * import { Redis } from "ioredis"
 *
 * const client = new Redis("redis://127.0.0.1:6379")
 *
 * const store = RedisStore.layer({ client }).pipe(
 *   TieredStore.layer({ channel: TieredStore.channelRedis(client) })
 * )
 * ```
 */
export const channelRedis = <E = never, R = never>(
  client: RedisClient | Effect.Effect<RedisClient, E, R>,
  options: {
    /** The channel's name in Redis. Default `effect-session`. */
    readonly name?: string | undefined
  } = {}
): Effect.Effect<Channel, E, R> =>
  Effect.map(
    Effect.isEffect(client) ? client : Effect.succeed(client),
    (client) => pubSub.channel(client, options.name ?? "effect-session")
  )
