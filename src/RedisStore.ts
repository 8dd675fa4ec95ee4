/**
 * Keeps sessions in Redis 6 or newer, Valkey, or a cluster of either, through a client of the package `redis`, version 6
 * or newer, or `ioredis`, version 5 or newer: one that the store makes from a URL, or one that the app has already. The
 * module knows nothing of HTTP.
 *
 * **Promises.** Every operation is one round trip, a `GET` to read or a script to write; some of a session with a
 * subject take one more. Scripts are atomic on the server and compare revisions. So parallel updates are all kept, a
 * session that was removed or renewed stays ended, and a renewal leaves exactly one live token at every moment. A lost
 * race costs no second trip, because the script answers with the winner's record. A call that a client sends again
 * after a cut connection is carried out once, also if up to four others wrote the session in between. Removing the old
 * token of a renewed session also ends the session that the renewal made, which takes one trip more.
 *
 * **Time.** The clock of the process that makes the call decides what has expired. The server deletes keys 60 seconds
 * or more after a session's end, so its own clock may be wrong by that much. It alone says how long ago a session was
 * listed under its subject. A record of a later release is neither served nor changed.
 *
 * **Keys.** A key is `prefix{shard}id`. The `id` is the token's SHA-256, so a dump holds nothing that a client could
 * send. The `shard` is two bytes of the token that a renewal keeps. It is the key's hash tag: in a cluster it puts the
 * old and the new key in one slot, which a renewal in one step needs, and it spreads sessions over all slots. A renewal
 * to a token with another shard fails, so draw the new token with the old one as its predecessor, as the middleware
 * does.
 *
 * **Limits.** Version 5 of the package `redis` must not be used. If a connection is lost between a command and its
 * sending, that version gives later replies to the wrong commands, and so a session to somebody else's request.
 *
 * What Redis loses is lost: with `appendfsync everysec` a crash loses up to a second of writes, and a
 * failover loses what was not replicated yet. Set `maxmemory-policy noeviction`; otherwise a full server evicts
 * sessions. When it is full, writes fail with a `StoreError` and nothing is half written; removals still succeed. If
 * the client reads from replicas (`useReplicas`, `scaleReads`) or caches on its side, a session that was just removed
 * may be seen for a moment, and a watcher that is told of a change may read what was there before. A user restricted by
 * ACL needs `eval`, `evalsha`, `get`, `set`, `getrange`, `setrange`, `pexpire`, `pttl`, `del`, `exists`, `rename`,
 * `zadd`, `zscore`, `zrem`, `zremrangebyscore`, `zrevrange` and `zscan` on keys with the prefix (`~session:*`), and for
 * `Session.watch` also `publish`, `subscribe` and `unsubscribe` on channels with the prefix (`&session:*`). `KEYS`,
 * `SCAN` and `SCRIPT` are never sent.
 *
 * **Sessions by subject.** `layer` provides `Sessions` too. A subject has a sorted set, `prefix` and `subject:` with
 * the subject's SHA-256, and each of its sessions a key `prefix` and `id:` with the session's public id. No key's name
 * shows a subject. A session is listed before it is written and taken off after it has ended, so after a crash it may
 * be listed and dead, but not alive and unlisted; a reader leaves out what is dead. The old id of a renewed session is
 * taken off with the next session that the process lists; if the renewal gave the session to another subject, the next
 * reader of the first subject's list does it, or its bound. `Sessions.revoke` finds only sessions that have a subject. A
 * list reads all sessions of its subject, by one `GET` each, or by two where they are more than 1000.
 *
 * A single server that loses writes loses the session's before that of its list. In a cluster the two lie on different
 * nodes: if a failover or a crash loses what was listed last, and not the session, that is alive and unlisted until it
 * is renewed or its absolute bound is prolonged, and `Sessions` does not end it. There is one more such case in
 * a cluster: a login fails after it was listed, the same request tries it again more than ten minutes later, and a
 * reader takes the first try off the list in that moment.
 *
 * **Changes.** A store tells `Session.watch` of a write by publishing on the channel of the key's name. It listens on a
 * connection of its own, which it opens, with the client's settings, while somebody watches: one for all watchers, and
 * one subscription a session. It asks for an answer there every 5 seconds, and a connection that does not give it within
 * 10 seconds is lost. If the connection is lost, another is opened, after at most 5 seconds. Until one stands,
 * watchers are told to ask after each attempt, and all of them once when it does. The first failure is logged as a
 * warning, and the return at level info. A user who may not subscribe is treated like that too. If the user of a
 * process may not publish, its writes are not told. `createSentinel` of the package `redis` gives no such connection,
 * so its watchers ask at an interval.
 *
 * **Costs.** A read is one `GET`, a write is one `EVALSHA`. A write that begins or renews a session with a subject, or
 * prolongs its absolute bound, takes one more before it, and its logout one more after it. In a cluster each of these
 * is two, one after the other, since the subject's list lies in another slot, and what lists a session takes old ids of
 * earlier renewals off beside it, by two commands each. The first use of each script after a
 * server's start, a failover or `SCRIPT FLUSH` takes one trip more. A session takes the bytes of its JSON text and 250
 * to 450 more, and 200 to 300 more again with a subject.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as environment from "./internal/environment.js"
import { invalid } from "./internal/options.js"
import * as Backend from "./internal/redisStore/backend.js"
import type { IoRedis, NodeRedis } from "./internal/redisStore/clients.js"
import * as Commands from "./internal/redisStore/commands.js"
import { connect } from "./internal/redisStore/connect.js"
import * as Listener from "./internal/redisStore/listener.js"
import * as Subscriber from "./internal/redisStore/subscriber.js"
import * as Sessions from "./Sessions.js"
import * as Store from "./Store.js"
import * as StoreBackend from "./StoreBackend.js"

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
} from "./internal/redisStore/clients.js"

/**
 * A connected client of either package: single, pooled, Sentinel or cluster. The store uses it and never closes it.
 *
 * @since 0.1.0
 * @category models
 */
export type Client = IoRedis | NodeRedis

/**
 * Options that are the same however the server is reached.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommonOptions {
  /** What every key begins with. It must not contain braces, which would move the hash tag. Default `session:`. */
  readonly prefix?: string | undefined
}

/**
 * Options of a store that uses a client of the app's own. `Sentinel`, clusters, pools and `ioredis` are reached by it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions<E = never, R = never> extends CommonOptions {
  /** The client, or a scoped Effect of it, which is released with the layer. */
  readonly client: Client | Effect.Effect<Client, E, R>
}

/**
 * Options of a store that makes its own client, with the package `redis`. They are data, so `layerConfig` takes them
 * too.
 *
 * @since 0.1.0
 * @category models
 */
export interface UrlOptions extends CommonOptions {
  /**
   * Where a single server is, as `redis://user:password@host:6379/0`, or `rediss://…` for TLS. User, password, port
   * (6379) and database (0) can be left out. It is never logged, only its host and port are.
   */
  readonly url: Redacted.Redacted | string
}

/**
 * Options of `layer`: either a `url` or a `client`.
 *
 * @since 0.1.0
 * @category models
 */
export type Options<E = never, R = never> =
  | (ClientOptions<E, R> & { readonly url?: never })
  | (UrlOptions & { readonly client?: never })

const clientOf = <E, R>(
  options: Options<E, R>
): Effect.Effect<Client, ConfigError.ConfigError | E, R | Scope.Scope> =>
  options.url !== undefined
    ? connect(options.url)
    : Effect.isEffect(options.client)
    ? options.client
    : Effect.succeed(options.client)

/** The store, and the sessions by subject on the same client. */
const open = <E, R>(
  options: Options<E, R>
): Effect.Effect<readonly [Store.Store, Sessions.Service], ConfigError.ConfigError | E, R | Scope.Scope> =>
  Effect.gen(function*() {
    const prefix = options.prefix ?? "session:"
    if (typeof prefix !== "string" || /[{}]/.test(prefix)) {
      return yield* invalid(["RedisStore", "prefix"], "write a text without braces, such as \"shop:session:\"")
    }
    const client = yield* clientOf(options)
    const commands = Commands.fromClient(client)
    if (commands === undefined) {
      return yield* invalid(
        ["RedisStore", "client"],
        "pass a client of the package \"redis\" 6 or newer (await createClient({ url }).connect()) or \"ioredis\" 5 or "
          + "newer (new Redis(url)), or an Effect of one, or pass a `url`"
      )
    }
    const subscriber = Subscriber.fromClient(client)
    const listener = subscriber === undefined ? undefined : yield* Listener.make(subscriber)
    const kept = yield* Backend.make(commands, prefix, listener)
    const store = yield* StoreBackend.fromBackend(kept, { name: "RedisStore" })
    return [store, StoreBackend.sessions(kept.subjects, "RedisStore")]
  })

/**
 * Makes a Redis store. Fails with a `ConfigError` for a wrong option, or if a `url` is given and the package `redis` is
 * not installed, and with the error of the client's Effect. A server that can't be reached is no failure here. To look
 * sessions up by subject, use `layer`, which provides `Sessions` too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E = never, R = never>(
  options: Options<E, R>
): Effect.Effect<Store.Store, ConfigError.ConfigError | E, R | Scope.Scope> =>
  Effect.map(open(options), ([store]) => store)

/**
 * Keeps sessions in Redis. If two apps share one server, give each a prefix of its own.
 *
 * **With a `url`** the store makes the client, with the package `redis`, and closes it with the layer. It connects in
 * the background: the layer is built also while the server is down, and works once the server is there. The client
 * connects again by itself, after at most about two seconds. Each kind of failure is logged as a warning, once until
 * the connection is back, and the return at level info.
 *
 * **With a `client`** the app decides how it connects. A client of `redis` needs a listener for `error`; without one,
 * Node ends the process when the connection is lost. Release it by `destroy` (`disconnect` for `ioredis`): `close` and
 * `quit` wait for a server that may be down. Connect without waiting for it, or outside of the acquisition, which can't
 * be interrupted. A client that was never connected, or is closed, fails every call with a `StoreError`.
 *
 * **While the server is down** calls wait until the client is connected again, unless the client is set up otherwise.
 * The middleware gives up after the policy's store timeout and answers 503. A write that it gave up on is then removed
 * from the queue of a single `redis` client. With `ioredis` it can't be removed, so it may still be carried out later,
 * unless somebody wrote the session meanwhile.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as RedisStore from "effect-session/RedisStore"
 * import { Redis } from "ioredis"
 *
 * const store = RedisStore.layer({ url: "redis://127.0.0.1:6379", prefix: "shop:session:" })
 *
 * const client = Effect.acquireRelease(
 *   Effect.sync(() => new Redis("redis://127.0.0.1:6379").on("error", () => {})),
 *   (client) => Effect.sync(() => client.disconnect())
 * )
 * const byClient = RedisStore.layer({ client, prefix: "shop:session:" })
 * ```
 */
export const layer = <E = never, R = never>(
  options: Options<E, R>
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError | E, Exclude<R, Scope.Scope>> =>
  Layer.scopedContext(
    Effect.map(
      open(options),
      ([store, sessions]) => Context.make(Store.Store, store).pipe(Context.add(Sessions.Sessions, sessions))
    )
  )

const variables: environment.Variables<UrlOptions> = {
  url: environment.required("SESSION_STORE_URL", environment.secret),
  prefix: environment.optional("SESSION_PREFIX", Config.string)
}

/**
 * `layer` with options read from the environment: `SESSION_STORE_URL`, which is required, and `SESSION_PREFIX`. An
 * option that is given is read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import * as RedisStore from "effect-session/RedisStore"
 *
 * const store = RedisStore.layerConfig({ url: Config.redacted("REDIS_URL") })
 * ```
 */
export const layerConfig = (
  options: Config.Config.Wrap<Partial<UrlOptions>> = {}
): Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError> =>
  environment.layerConfig("RedisStore", variables, options, (data) => layer(data))
