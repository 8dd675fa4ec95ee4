/**
 * Memory in front of any store, for services whose sessions are read far more often than written: a session that this
 * process read or wrote a moment ago is answered without a call. Writes go to the store behind, which alone decides, so
 * every promise of its writes holds; only reads may be old, and for no longer than `timeToLive`. Knows nothing of HTTP.
 *
 * **What reads may miss.** This process sees its own writes, renewals and removals at once, also when a slower read that
 * began before them ends after them. Another instance's are seen when the remembered entry's time to live is over at the
 * latest (5 seconds by default), or as soon as it says so where a `channel` joins them. Until then a session that was
 * ended elsewhere can still be read here, though never written; a service that must not have that takes the store alone.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Record from "./internal/record/record.js"
import * as tieredRedis from "./internal/redisStore/pubSub.js"
import * as metrics from "./internal/runtime/metrics.js"
import { Memory, type Ticket } from "./internal/tieredStore/memory.js"
import * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"
import * as Store from "./Store.js"

/**
 * What joins instances, so that each hears of the others' writes: text that one publishes reaches all, itself included,
 * late or not at all at worst. It makes news faster; the bound stays `timeToLive`. What is published holds public ids,
 * never a token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Channel {
  readonly publish: (message: string) => Effect.Effect<unknown, unknown>
  /** Run once in the layer's scope. When it ends or fails, all that is remembered is dropped and it is run again. */
  readonly messages: Stream.Stream<string, unknown>
}

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
  /** For how long a session is answered from memory without asking again. Default 5 seconds. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** The same for a token that names no session, counted apart. Default: `timeToLive`. */
  readonly unknownTimeToLive?: Duration.DurationInput | undefined
}

/**
 * What is used of a Redis client of the package `redis` or `ioredis`, version 5 or newer, that is connected.
 *
 * @since 0.1.0
 * @category models
 */
export type RedisClient = tieredRedis.NodeRedis | tieredRedis.IoRedis

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  IoRedis,
  /**
   * @since 0.1.0
   * @category models
   */
  NodeRedis
} from "./internal/redisStore/pubSub.js"

const invalid = (option: string, problem: string): Effect.Effect<never, ConfigError.ConfigError> =>
  Effect.fail(ConfigError.InvalidData(["TieredStore", option], problem))

const milliseconds = (
  option: string,
  input: Duration.DurationInput,
  unit: string
): Effect.Effect<number, ConfigError.ConfigError> => {
  const decoded = Duration.decodeUnknown(input)
  const millis = decoded._tag === "Some" ? Duration.toMillis(decoded.value) : Number.NaN
  return millis > 0 && Number.isFinite(millis)
    ? Effect.succeed(millis)
    : invalid(option, `write a finite duration above zero, such as "${unit}"`)
}

const make = (
  origin: Store.Store,
  memory: Memory,
  announce: (id: SessionToken.SessionId) => Effect.Effect<void>
): Store.Store => {
  /** Runs a call of the origin with a ticket, and drops what is known when the call fails: it may have landed. */
  const call = <A, E>(
    token: SessionToken.Token,
    binding: Store.Binding | undefined,
    effect: Effect.Effect<A, E>,
    settle: (answer: A, ticket: Ticket) => Effect.Effect<void> | void
  ): Effect.Effect<A, E> =>
    Effect.zipWith(SessionToken.toId(token), Clock.currentTimeMillis, (id, now) =>
      Effect.acquireUseRelease(
        Effect.sync(() => memory.begin(id, binding?.audience, now)),
        (ticket) =>
          effect.pipe(
            Effect.tap((answer) => settle(answer, ticket) ?? Effect.void),
            Effect.onError(() => Effect.sync(() => memory.forget(id)))
          ),
        (ticket) => Effect.sync(() => memory.end(ticket))
      )).pipe(Effect.flatten)

  /** Takes in what a write answered, under the token that the session has from then on. */
  const settled = (
    next: SessionToken.Token,
    record: SessionRecord.SessionRecord
  ) =>
  (answer: Store.Updated, ticket: Ticket): Effect.Effect<void> | void => {
    switch (answer._tag) {
      case "Conflict":
        return memory.keep(ticket, Record.own(answer.record))
      case "Gone":
        return memory.forget(ticket.id)
      case "Updated":
        return Effect.flatMap(
          Effect.zip(SessionToken.toId(next), SessionToken.toId(answer.token)),
          ([asked, given]) => {
            if (given !== ticket.id) {
              memory.forget(ticket.id)
            }
            // a store that answers with a token of its own also gives the record an id of its own: left for a load
            if (given === asked) {
              const under = given === ticket.id ? ticket : memory.begin(given, ticket.audience, ticket.startedAt)
              memory.keep(under, Record.own(record, { revision: answer.revision }))
              memory.end(under)
            }
            return announce(ticket.id)
          }
        )
    }
  }

  const tiered = Store.make({
    accepts: origin.accepts,
    load: (token, binding) =>
      Effect.flatMap(SessionToken.toId(token), (id) =>
        Effect.clockWith((clock) => {
          const now = clock.unsafeCurrentTimeMillis()
          const found = memory.find(id, binding?.audience, now)
          // one that is over here may have been touched elsewhere: the origin knows
          return found !== undefined && !(found._tag === "Live" && SessionRecord.isExpired(found.record, now))
            ? Effect.succeed(found)
            : call(token, binding, origin.load(token, binding), (loaded, ticket) =>
              loaded._tag === "Live"
                ? memory.keep(ticket, Record.own(loaded.record))
                : memory.keepAbsent(ticket, loaded._tag))
        })),
    create: (token, record, binding) =>
      call(token, binding, origin.create(token, record, binding), (answer, ticket) =>
        answer._tag === "Created"
          ? Effect.map(SessionToken.toId(answer.token), (id) =>
            id === ticket.id ? memory.keepNew(ticket, Record.own(record)) : memory.forget(ticket.id))
          : undefined),
    update: (token, revision, record, binding) =>
      call(token, binding, origin.update(token, revision, record, binding), settled(token, record)),
    renew: (token, revision, next, record, binding) =>
      call(token, binding, origin.renew(token, revision, next, record, binding), settled(next, record)),
    touch: (token, revision, deadline, binding) =>
      call(token, binding, origin.touch(token, revision, deadline, binding), (answer, ticket) => {
        if (answer._tag === "Gone") {
          return memory.forget(ticket.id)
        }
        return Effect.map(
          SessionToken.toId(answer.token),
          (id) => id === ticket.id ? memory.extend(ticket, revision, deadline) : memory.forget(ticket.id)
        )
      }),
    remove: (token, binding) =>
      call(token, binding, origin.remove(token, binding), (_, ticket) => {
        memory.forget(ticket.id)
        return announce(ticket.id)
      })
  })
  return origin.transaction === undefined ? tiered : besideTransactions(origin, tiered, origin.transaction, memory)
}

/**
 * Inside a transaction of the app's own the origin alone is asked: what is seen there may never land, and nobody else
 * sees it yet. What the memory had is dropped.
 */
const besideTransactions = (
  origin: Store.Store,
  tiered: Store.Store,
  transaction: NonNullable<Store.Store["transaction"]>,
  memory: Memory
): Store.Store => {
  const choose = <A, E>(
    token: SessionToken.Token,
    inside: Effect.Effect<A, E>,
    outside: Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    Effect.flatMap(
      transaction,
      Option.match({
        onNone: () => outside,
        onSome: () => Effect.ensuring(inside, Effect.map(SessionToken.toId(token), (id) => memory.forget(id)))
      })
    )
  return Store.make({
    accepts: origin.accepts,
    transaction,
    load: (token, binding) => choose(token, origin.load(token, binding), tiered.load(token, binding)),
    create: (token, record, binding) =>
      choose(token, origin.create(token, record, binding), tiered.create(token, record, binding)),
    update: (token, revision, record, binding) =>
      choose(
        token,
        origin.update(token, revision, record, binding),
        tiered.update(token, revision, record, binding)
      ),
    renew: (token, revision, next, record, binding) =>
      choose(
        token,
        origin.renew(token, revision, next, record, binding),
        tiered.renew(token, revision, next, record, binding)
      ),
    touch: (token, revision, deadline, binding) =>
      choose(token, origin.touch(token, revision, deadline, binding), tiered.touch(token, revision, deadline, binding)),
    remove: (token, binding) => choose(token, origin.remove(token, binding), tiered.remove(token, binding))
  })
}

/** Listens for the others until the scope closes, and tells them of this instance's writes without waiting for it. */
const join = (
  memory: Memory,
  channel: Channel
): Effect.Effect<(id: SessionToken.SessionId) => Effect.Effect<void>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const self = Encoding.encodeBase64Url((yield* SessionToken.Generator)(9))
    const receive = (message: string): Effect.Effect<void> =>
      Effect.sync(() => {
        const [from, id] = message.split(" ")
        if (from !== self && id !== undefined) {
          memory.forget(id as SessionToken.SessionId)
        }
      })
    yield* Stream.runForEach(channel.messages, receive).pipe(
      Effect.catchAllCause((cause) =>
        Effect.zipRight(
          metrics.storeFailed("TieredStore.channel"),
          Effect.logWarning("TieredStore: the channel failed, listening again", cause)
        )
      ),
      Effect.zipRight(Effect.sync(() => memory.forgetAll())),
      Effect.repeat(Schedule.spaced("1 second")),
      Effect.interruptible,
      Effect.forkScoped
    )
    return (id) =>
      channel.publish(`${self} ${id}`).pipe(
        Effect.catchAllCause((cause) =>
          Effect.zipRight(
            metrics.storeFailed("TieredStore.channel"),
            Effect.logWarning("TieredStore: the channel failed, others will see it late", cause)
          )
        ),
        Effect.forkIn(scope),
        Effect.asVoid
      )
  })

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
      const capacity = options.capacity ?? 10_000
      if (!(capacity >= 1)) {
        return yield* invalid("capacity", "write a number of sessions, 1 or more, such as 10000")
      }
      const timeToLive = yield* milliseconds("timeToLive", options.timeToLive ?? 5000, "5 seconds")
      const unknown = yield* milliseconds("unknownTimeToLive", options.unknownTimeToLive ?? timeToLive, "5 seconds")
      const context = yield* Layer.build(self)
      const memory = new Memory(capacity, timeToLive, unknown)
      const { channel } = options
      const joined = channel === undefined
        ? silent
        : yield* join(memory, Effect.isEffect(channel) ? yield* channel : channel)
      return Context.add(context, Store.Store, make(Context.get(context, Store.Store), memory, joined))
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
    (client) => tieredRedis.channel(client, options.name ?? "effect-session")
  )
