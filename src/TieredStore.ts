/**
 * Memory in front of any store, for services whose sessions are read far more often than written: a session that this
 * process read or wrote a moment ago is answered without a call. Writes go to the store behind, which alone decides, so
 * every promise of its writes holds; only reads may be old, and for no longer than `timeToLive`. Knows nothing of HTTP.
 *
 * **What reads may miss.** This process sees its own writes, renewals and removals at once, also when a slower read that
 * began before them ends after them. A write inside a transaction of the app's own is seen as soon as that has committed:
 * nothing of its session is remembered for one `timeToLive`. Another instance's writes are seen after one `timeToLive` at
 * the latest (5 seconds by default), or as soon as that instance tells of them where a `channel` joins the two. Until then
 * a session that was ended elsewhere can still be read here, though never written. A service that must not have that takes
 * the store alone.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as checks from "./internal/options.js"
import type { IoRedisPubSub, NodeRedisPubSub } from "./internal/redisStore/clients.js"
import * as pubSub from "./internal/redisStore/pubSub.js"
import { type Channel, join } from "./internal/tieredStore/channel.js"
import { Memory } from "./internal/tieredStore/memory.js"
import * as store from "./internal/tieredStore/store.js"
import * as Store from "./Store.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Channel
} from "./internal/tieredStore/channel.js"

/**
 * Options of `layer` that are data. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many sessions are remembered at most, and how many tokens that name none; the least recently used is forgotten
   * for a new one. Default 10000.
   */
  readonly capacity?: number | undefined
  /** How long a read is answered from memory before the store behind is asked again. Default 5 seconds. */
  readonly timeToLive?: Duration.DurationInput | undefined
}

/**
 * What is used of a Redis client of the package `redis` or `ioredis`, version 5 or newer, that is connected.
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
 * Puts memory in front of the store layer that is piped into it. Other services of that layer pass through.
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
    /** What joins instances: a channel, or an Effect of it in the layer's scope. */
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
      return Context.add(context, Store.Store, store.make(Context.get(context, Store.Store), memory, joined))
    })
  )

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<Options>) =>
<A = never, E = never, R = never>(
  self: Layer.Layer<A | Store.Store, E, R>
): Layer.Layer<A | Store.Store, ConfigError.ConfigError | E, R> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer(options)(self)))

/**
 * A channel by Redis pub/sub, for `layer`. The client that is given publishes; to listen, a connection of its own is
 * opened by the client's `duplicate` and closed with the layer. Publishing costs one command for each write.
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
