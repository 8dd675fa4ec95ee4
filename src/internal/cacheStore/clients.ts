/**
 * The interface of a cache, and the functions that make one of a client of promises, of the platform's `KeyValueStore`,
 * of `@effect/experimental`'s `Persistence` and of Keyv. The module knows nothing of sessions.
 */
import type * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { untilDone } from "../runtime/keyedMutex.js"

/**
 * A cache of texts. Keys are printable ASCII of at most 200 characters, and values are texts of any length.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cache {
  /** The text under a key, if there is one. */
  readonly get: (key: string) => Effect.Effect<Option.Option<string>, unknown>
  /**
   * Sets the text under a key, whatever was there. The cache may delete it after the time to live, but need not: the
   * expiry that counts is inside the text.
   */
  readonly set: (key: string, value: string, timeToLive: Duration.Duration) => Effect.Effect<unknown, unknown>
  /** Deletes the text under a key. It must not fail if there is none. */
  readonly remove: (key: string) => Effect.Effect<unknown, unknown>
}

/**
 * A cache by promises, as most clients have it, for `fromPromises`. The time to live is in whole milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface PromiseCache {
  readonly get: (key: string) => Promise<string | null | undefined>
  readonly set: (key: string, value: string, timeToLive: number) => Promise<unknown>
  readonly remove: (key: string) => Promise<unknown>
}

/**
 * A Keyv of version 5 or newer, as far as the store uses it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Keyv {
  readonly get: (key: string) => Promise<unknown>
  readonly set: (key: string, value: string, timeToLive: number) => Promise<unknown>
  readonly delete: (key: string) => Promise<unknown>
  throwOnErrors: boolean
}

/**
 * `@effect/experimental`'s `BackingPersistence`, as far as the store uses it. Its own type is not named here, so that
 * apps without that package compile.
 *
 * @since 0.1.0
 * @category models
 */
export interface Persistence {
  readonly make: (storeId: string) => Effect.Effect<
    {
      readonly get: (key: string) => Effect.Effect<Option.Option<unknown>, unknown>
      readonly set: (
        key: string,
        value: unknown,
        timeToLive: Option.Option<Duration.Duration>
      ) => Effect.Effect<void, unknown>
      readonly remove: (key: string) => Effect.Effect<void, unknown>
    },
    never,
    Scope.Scope
  >
}

/**
 * The platform's KeyValueStore as a cache. Its folder store fails to remove a missing key, which is not a failure here.
 *
 * @internal
 */
export const ofKeyValueStore = (store: KeyValueStore.KeyValueStore): Cache => ({
  get: store.get,
  set: (key, value) => store.set(key, value),
  remove: (key) =>
    Effect.catchAll(
      store.remove(key),
      (error) => Effect.flatMap(store.has(key), (there) => there ? Effect.fail(error) : Effect.void)
    )
})

/** A store of `@effect/experimental`'s persistence as a cache. @internal */
export const ofPersistence = (store: Effect.Effect.Success<ReturnType<Persistence["make"]>>): Cache => ({
  get: (key) =>
    Effect.map(store.get(key), Option.map((value) => typeof value === "string" ? value : JSON.stringify(value))),
  set: (key, value, timeToLive) => store.set(key, value, Option.some(timeToLive)),
  remove: store.remove
})

/** A client of promises as a cache. @internal */
export const ofPromises = (client: PromiseCache): Cache => {
  const call = <A>(f: () => Promise<A>): Effect.Effect<A, unknown> =>
    Effect.tryPromise({ try: f, catch: (cause) => cause })
  return {
    get: (key) => Effect.map(call(() => client.get(key)), Option.fromNullable),
    set: (key, value, timeToLive) => untilDone(call(() => client.set(key, value, Duration.toMillis(timeToLive)))),
    remove: (key) => untilDone(call(() => client.remove(key)))
  }
}

/** A Keyv as a cache. @internal */
export const ofKeyv = (keyv: Keyv): Cache => {
  const cache = ofPromises({
    get: async (key) => {
      const value = await keyv.get(key)
      return value === undefined || value === null || typeof value === "string" ? value : JSON.stringify(value)
    },
    set: (key, value, timeToLive) => keyv.set(key, value, timeToLive),
    remove: (key) => keyv.delete(key)
  })
  return {
    ...cache,
    set: (key, value, timeToLive) =>
      Effect.filterOrFail(
        cache.set(key, value, timeToLive),
        (done) => done !== false,
        () => "Keyv did not keep the session: its set returned false. Check the Keyv's adapter."
      )
  }
}
