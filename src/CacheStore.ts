/**
 * Keeps sessions in a cache: anything that can get, set with a time to live, and remove. There are layers for such an
 * object, for the platform's `KeyValueStore`, for `@effect/experimental`'s `Persistence` and for Keyv. The module knows
 * nothing of HTTP, and imports none of those libraries but the platform.
 *
 * **What a cache can't do.** It has no compare-and-set and no create-if-absent. Within one process, a mutex for each
 * session keeps the whole contract of `Store`. Between processes, three races remain, each within about one round trip:
 *
 * - If two processes write one session, the earlier update can be lost.
 * - A write or touch that read before another process's logout and wrote after it can undo the logout.
 * - A renewal is two writes: first the new session, so that none is lost, then the old token's tombstone.
 *
 * A later request with a removed or renewed token gets an empty session, because tombstones are kept in the cache too.
 * If an app runs as several processes and must not have these races, use `RedisStore` or `SqlStore`.
 *
 * A cache may also evict, so a session can end before its time. The cache's keys hold the hash of a token, never a
 * token.
 *
 * @since 0.1.0
 */
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as backend from "./internal/cacheStore/backend.js"
import * as clients from "./internal/cacheStore/clients.js"
import type { Cache, Keyv, Persistence, PromiseCache } from "./internal/cacheStore/clients.js"
import * as checks from "./internal/options.js"
import * as Store from "./Store.js"
import { fromBackend } from "./StoreBackend.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Cache,
  /**
   * @since 0.1.0
   * @category models
   */
  Keyv,
  /**
   * @since 0.1.0
   * @category models
   */
  Persistence,
  /**
   * @since 0.1.0
   * @category models
   */
  PromiseCache
} from "./internal/cacheStore/clients.js"

/**
 * Options of every layer here. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * What every key begins with: printable ASCII, at most 128 characters. Default `session:`; none for
   * `layerPersistence`, whose `storeId` does the same.
   */
  readonly prefix?: string | undefined
}

/**
 * The options of `layerPersistence` that are data. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface PersistenceOptions extends Options {
  /** The store's name, which the persistence puts before every key: 1 to 128 characters. Default `sessions`. */
  readonly storeId?: string | undefined
}

const invalid = (option: string, advice: string) => checks.invalid(["CacheStore", option], advice)

const checkPrefix = (prefix = "session:"): checks.Checked<string> =>
  /^[\x21-\x7e]{0,128}$/.test(prefix)
    ? Either.right(prefix)
    : invalid("prefix", "write at most 128 printable ASCII characters without spaces, such as \"shop:session:\"")

const checkStoreId = (storeId = "sessions"): checks.Checked<string> =>
  /^[\x21-\x7e]{1,128}$/.test(storeId)
    ? Either.right(storeId)
    : invalid("storeId", "write 1 to 128 printable ASCII characters without spaces, such as \"sessions\"")

const methods = (object: unknown, names: ReadonlyArray<string>): boolean =>
  typeof object === "object" && object !== null &&
  names.every((name) => typeof (object as Record<string, unknown>)[name] === "function")

const given = <A, E, R>(value: A | Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.isEffect(value) ? value : Effect.succeed(value)

/** The service is found by its key, so that apps with another cache need not install the package. */
const BackingPersistence = Context.GenericTag<Persistence>("@effect/experimental/BackingPersistence")

const provided: Effect.Effect<Persistence, ConfigError.ConfigError> = Effect.flatMap(
  Effect.serviceOption(BackingPersistence),
  Option.match({
    onNone: (): checks.Checked<Persistence> =>
      invalid("persistence", "provide a BackingPersistence, such as Persistence.layerMemory"),
    onSome: Either.right
  })
)

/**
 * Makes a cache of three functions that return promises. If a promise rejects, the store fails with a `StoreError`.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { CacheStore } from "effect-session"
 *
 * declare const memcached: {
 *   get(key: string): Promise<string | undefined>
 *   set(key: string, value: string, options: { expires: number }): Promise<void>
 *   delete(key: string): Promise<void>
 * }
 *
 * const store = CacheStore.layer(CacheStore.fromPromises({
 *   get: (key) => memcached.get(key),
 *   // the time itself, because memcached takes more than 30 days for a time, and deletes the entry at once
 *   set: (key, value, millis) => memcached.set(key, value, { expires: Math.ceil((Date.now() + millis) / 1000) }),
 *   remove: (key) => memcached.delete(key)
 * }))
 * ```
 */
export const fromPromises: (cache: PromiseCache) => Cache = clients.ofPromises

/**
 * Keeps sessions in a cache. Give the object, or a scoped Effect of it, which runs when the layer is built and is
 * released with it. Each entry is set with a time to live that ends one minute after the session. So the reader's clock
 * decides what has expired, and the cache only deletes it. Fails with a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { CacheStore } from "effect-session"
 * import { Effect, Option } from "effect"
 *
 * const kept = new Map<string, string>()
 *
 * const store = CacheStore.layer({
 *   get: (key) => Effect.sync(() => Option.fromNullable(kept.get(key))),
 *   set: (key, value, _timeToLive) => Effect.sync(() => kept.set(key, value)),
 *   remove: (key) => Effect.sync(() => kept.delete(key))
 * }, { prefix: "shop:session:" })
 * ```
 */
export const layer = <E = never, R = never>(
  cache: Cache | Effect.Effect<Cache, E, R>,
  options: Options = {}
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, Exclude<R, Scope.Scope>> =>
  Layer.scoped(
    Store.Store,
    Effect.gen(function*() {
      const prefix = yield* checkPrefix(options.prefix)
      const found = yield* given(cache)
      if (!methods(found, ["get", "set", "remove"])) {
        return yield* invalid("cache", "give an object with the functions get, set and remove")
      }
      return yield* fromBackend(backend.make(found, { prefix }), { name: "CacheStore" })
    })
  )

/**
 * Keeps sessions in the platform's `KeyValueStore`: in memory, in a folder, in the browser's storage, or in one of your
 * own.
 *
 * A `KeyValueStore` has no time to live, so this module deletes what has expired. The process that wrote an entry
 * deletes it about two minutes after the session's end. An entry that an earlier process left is deleted only when a
 * client comes with its token. The platform's folder store writes in place, so a crash in the middle of a write costs
 * that one session. For sessions in a folder use `FileStore`, which has neither limit.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { KeyValueStore } from "@effect/platform"
 * import { CacheStore } from "effect-session"
 * import { Layer } from "effect"
 *
 * const store = CacheStore.layerKeyValueStore({ prefix: "shop:session:" }).pipe(
 *   Layer.provide(KeyValueStore.layerMemory)
 * )
 * ```
 */
export const layerKeyValueStore = (
  options: Options = {}
): Layer.Layer<Store.Store, ConfigError.ConfigError, KeyValueStore.KeyValueStore> =>
  Layer.scoped(
    Store.Store,
    Effect.gen(function*() {
      const prefix = yield* checkPrefix(options.prefix)
      const cache = clients.ofKeyValueStore(yield* KeyValueStore.KeyValueStore)
      return yield* fromBackend(backend.make(cache, { prefix, expiring: true }), { name: "CacheStore" })
    })
  )

/**
 * Keeps sessions in `@effect/experimental`'s `Persistence`: its Redis (`Persistence/Redis`), its LMDB
 * (`Persistence/Lmdb`), or any other `BackingPersistence`.
 *
 * Give the service's tag as `persistence`, as in the example: the layer's type then requires the service. You can also
 * give the service itself, or a scoped Effect of it. Without `persistence`, the layer uses the `BackingPersistence`
 * that it is provided with, and fails with a `ConfigError` if there is none. The compiler can't check that, because
 * naming the type here would make every app install the package.
 *
 * LMDB and the in-memory persistence delete an expired entry only when it is read.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Persistence } from "@effect/experimental"
 * import { CacheStore } from "effect-session"
 * import { Layer } from "effect"
 *
 * const store = CacheStore.layerPersistence({
 *   storeId: "shop-sessions",
 *   persistence: Persistence.BackingPersistence
 * }).pipe(Layer.provide(Persistence.layerMemory))
 * ```
 */
export const layerPersistence = <E = never, R = never>(
  options: PersistenceOptions & { readonly persistence?: Persistence | Effect.Effect<Persistence, E, R> | undefined } =
    {}
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, Exclude<R, Scope.Scope>> =>
  Layer.scoped(
    Store.Store,
    Effect.gen(function*() {
      const prefix = yield* checkPrefix(options.prefix ?? "")
      const storeId = yield* checkStoreId(options.storeId)
      const persistence = yield* given<Persistence, ConfigError.ConfigError | E, R>(options.persistence ?? provided)
      if (!methods(persistence, ["make"])) {
        return yield* invalid("persistence", "give a BackingPersistence of @effect/experimental, or leave it out")
      }
      const cache = clients.ofPersistence(yield* persistence.make(storeId))
      return yield* fromBackend(backend.make(cache, { prefix }), { name: "CacheStore" })
    })
  )

/**
 * Keeps sessions in a Keyv of version 5 or newer, and so in whatever Keyv has an adapter for. Give the Keyv, or a
 * scoped Effect of it.
 *
 * By default, Keyv answers a failed read as if nothing were there, which would log everybody out when the backend
 * fails. So `throwOnErrors` is switched on in the Keyv that you give. If the adapter has a switch of its own, such as
 * `throwOnErrors` of `@keyv/redis`, switch that on too.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { CacheStore } from "effect-session"
 * import Keyv from "keyv"
 *
 * const store = CacheStore.layerKeyv(new Keyv({ namespace: "shop" }))
 * ```
 */
export const layerKeyv = <E = never, R = never>(
  keyv: Keyv | Effect.Effect<Keyv, E, R>,
  options: Options = {}
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, Exclude<R, Scope.Scope>> =>
  layer<ConfigError.ConfigError | E, R>(
    Effect.flatMap(given(keyv), (keyv) => {
      if (!methods(keyv, ["get", "set", "delete"])) {
        return invalid("keyv", "give a Keyv of version 5 or newer: new Keyv(...)")
      }
      keyv.throwOnErrors = true
      return Effect.succeed(clients.ofKeyv(keyv))
    }),
    options
  )
