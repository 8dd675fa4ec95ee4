/**
 * Sessions in Redis 6 or newer, Valkey, or a cluster of either, through the client that the application already has:
 * `redis` or `ioredis`, version 5 or newer. Knows nothing of HTTP, nor of how the client came to be connected.
 *
 * **Promises.** Compare-and-set by revision, in scripts that are atomic on the server: parallel updates are all kept, a
 * session that was removed or renewed stays so, and renewing leaves one live token at every moment. Every operation is one
 * round trip, a lost race included, because the script answers it with the winner's record. A call that a client sends
 * again after a cut connection is carried out once, unless somebody else wrote in between. The server expires keys 60
 * seconds or more after a session's end, counted from the writer's clock, so that the server's own may be wrong; whether
 * a session is over is judged by the reader's. A record of a later release is neither served nor touched.
 *
 * **Keys.** `prefix{shard}id`: `id` is the token's SHA-256, so a dump holds nothing a client could send. `shard` is two
 * bytes of the token that a renewal keeps. It is the key's hash tag, so in a cluster old and new key share a slot, which
 * renewing in one step needs, and sessions spread over all slots.
 *
 * **Limits.** What Redis loses is lost: with `appendfsync everysec` a crash takes up to a second of writes, and a failover
 * takes what was not replicated yet. Use a server with `maxmemory-policy noeviction`, or the server ends sessions as it
 * sees fit; when it is full, writes fail with `StoreError` and nothing is half written, while removing still succeeds.
 * Reads follow the client: with reads from replicas (`useReplicas`, `scaleReads`) or client-side caching, a session just
 * removed may still be seen for a moment. A user restricted by ACL needs `eval`, `evalsha`, `get`, `set`, `getrange`,
 * `setrange`, `pexpire`, `del`, `exists` and `rename` on keys with the prefix; `KEYS`, `SCAN` and `SCRIPT` are never sent.
 *
 * **Costs.** A read is one `GET`, a write one `EVALSHA`; the first use of each script after a server's start, a failover
 * or `SCRIPT FLUSH` is one trip more. A session takes its JSON text and 200 to 400 bytes.
 *
 * @since 0.1.0
 */
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as RedisCommands from "./internal/redisStore/commands.js"
import * as RedisEntry from "./internal/redisStore/scripts.js"
import * as Store from "./Store.js"

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
} from "./internal/redisStore/commands.js"

/**
 * A connected client of either package, single, pooled, Sentinel or cluster. It is used, never closed.
 *
 * @since 0.1.0
 * @category models
 */
export type Client = RedisCommands.IoRedis | RedisCommands.NodeRedis

/**
 * Options of `layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> {
  /** The client, or an Effect of it in the layer's scope: what that acquires is released with the store. */
  readonly client: Client | Effect.Effect<Client, E, R>
  /** What keys begin with; no braces, which would move the hash tag. Default: `session:`. */
  readonly prefix?: string | undefined
}

/** How much longer than a session the server keeps its key, for readers whose clock is behind, in milliseconds. */
const grace = 60_000

/** The longest time to live asked of a server, in milliseconds: a hundred years. Far longer ones overflow in Redis. */
const longest = 3_155_760_000_000

/** How long what can't be decoded is kept for inspection, in milliseconds: a week. */
const asideTimeToLive = 604_800_000

const timeToLive = (bound: number, now: number): string =>
  String(Math.min(Math.max(Math.ceil(bound - now), 0) + grace, longest))

const invalid = (option: string, problem: string): Effect.Effect<never, ConfigError.ConfigError> =>
  Effect.fail(ConfigError.InvalidData(["RedisStore", option], problem))

const prepare = Effect.all({
  insert: RedisCommands.script(RedisEntry.insert),
  replace: RedisCommands.script(RedisEntry.replace),
  rename: RedisCommands.script(RedisEntry.rename),
  extend: RedisCommands.script(RedisEntry.extend),
  remove: RedisCommands.script(RedisEntry.remove),
  setAside: RedisCommands.script(RedisEntry.setAside)
})

type Scripts = Effect.Effect.Success<typeof prepare>

const replaced = (reply: RedisCommands.Reply): Effect.Effect<Store.Replaced, Error> => {
  switch (reply) {
    case RedisEntry.done:
      return Effect.succeed(Store.replaced)
    case RedisEntry.absent:
    case undefined:
      return Effect.succeed(Store.absent)
    case RedisEntry.taken:
      return Effect.fail(new Error("the token to renew to is in use: the generator of tokens repeats itself"))
  }
  const entry = RedisEntry.decode(reply)
  return Effect.succeed(entry._tag === "Entry" ? Store.changed(entry) : Store.absent)
}

const backend = (commands: RedisCommands.Commands, scripts: Scripts, prefix: string): Store.Backend => {
  const nameOf = (key: Store.Key): string => `${prefix}{${key.shard}}${key.id}`
  return {
    get: (key) =>
      commands.get(nameOf(key)).pipe(
        Effect.map((reply) => reply === undefined ? Option.none() : Option.some(RedisEntry.decode(reply))),
        Effect.catchIf(RedisCommands.startsWith("WRONGTYPE"), () => Effect.succeedSome(RedisEntry.unreadable))
      ),
    insert: (key, entry, now) =>
      Effect.map(
        commands.run(scripts.insert, [nameOf(key)], [
          RedisEntry.digits(now),
          RedisEntry.encode(entry),
          timeToLive(entry.deadline, now)
        ]),
        (reply) => reply === RedisEntry.done
      ),
    replace: (key, revision, entry, now) =>
      Effect.flatMap(
        commands.run(scripts.replace, [nameOf(key)], [
          RedisEntry.digits(now),
          RedisEntry.digits(revision),
          RedisEntry.encode(entry),
          timeToLive(entry.deadline, now)
        ]),
        replaced
      ),
    rename: (key, revision, next, entry, tombstone, now) =>
      Effect.flatMap(
        commands.run(scripts.rename, [nameOf(key), nameOf(next)], [
          RedisEntry.digits(now),
          RedisEntry.digits(revision),
          RedisEntry.encode(entry),
          timeToLive(entry.deadline, now),
          RedisEntry.encodeTombstone(tombstone),
          timeToLive(tombstone.until, now)
        ]),
        replaced
      ),
    extend: (key, revision, deadline, now) =>
      Effect.map(
        commands.run(scripts.extend, [nameOf(key)], [
          RedisEntry.digits(now),
          RedisEntry.digits(revision),
          `${RedisEntry.digits(now)} ${RedisEntry.digits(deadline)}`,
          timeToLive(deadline, now)
        ]),
        (reply) => reply === RedisEntry.done
      ),
    remove: (key, tombstone, now) =>
      commands.run(scripts.remove, [nameOf(key)], [
        RedisEntry.digits(now),
        RedisEntry.encodeTombstone(tombstone),
        timeToLive(tombstone.until, now)
      ]),
    setAside: (key) =>
      commands.run(scripts.setAside, [nameOf(key), `${nameOf(key)}:undecodable`], [String(asideTimeToLive)])
  }
}

/**
 * Makes a Redis store. Fails with a `ConfigError` for a wrong option, and with what the Effect of a client fails with.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E = never, R = never>(
  options: Options<E, R>
): Effect.Effect<Store.Store, ConfigError.ConfigError | E, R | Scope.Scope> =>
  Effect.gen(function*() {
    const prefix = options.prefix ?? "session:"
    if (typeof prefix !== "string" || /[{}]/.test(prefix)) {
      return yield* invalid("prefix", "write a text without braces, such as \"shop:session:\"")
    }
    const client = Effect.isEffect(options.client) ? yield* options.client : options.client
    const commands = RedisCommands.fromClient(client)
    if (commands === undefined) {
      return yield* invalid(
        "client",
        "pass a client of the package \"redis\" (await createClient({ url }).connect()) or \"ioredis\" (new Redis(url)), "
          + "version 5 or newer, or an Effect of one"
      )
    }
    return yield* Store.fromBackend(backend(commands, yield* prepare, prefix), { name: "RedisStore" })
  })

/**
 * Keeps sessions in Redis. Two applications on one server take two prefixes.
 *
 * How long a call waits for a server that is down is the client's to say: by default both packages queue calls until
 * they are connected again. The middleware gives up after the policy's store timeout. A single `redis` client is then
 * told not to send what is still queued; `ioredis` has no such way, and a write given up on may still be carried out, if
 * nobody wrote the session meanwhile. Clients of `redis` need a listener for `error`, or Node ends the process on a lost
 * connection.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as RedisStore from "effect-session/RedisStore"
 * import { createClient } from "redis"
 *
 * const client = Effect.acquireRelease(
 *   Effect.promise(() => createClient({ url: "redis://127.0.0.1:6379" }).on("error", () => {}).connect()),
 *   (client) => Effect.promise(() => client.close())
 * )
 *
 * const store = RedisStore.layer({ client, prefix: "shop:session:" })
 * ```
 */
export const layer = <E = never, R = never>(
  options: Options<E, R>
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, Exclude<R, Scope.Scope>> =>
  Layer.scoped(Store.Store, make(options))
