/**
 * What can be a cache: the interface itself, and what makes one of a client of promises, of the platform's
 * `KeyValueStore`, of `@effect/experimental`'s `Persistence` and of Keyv. Knows nothing of sessions.
 */
import type * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { untilOver } from "../runtime/keyedMutex.js"

/**
 * What is asked of a cache. Keys are printable ASCII, at most 200 characters; values are text of any length.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cache {
  /** The text under a key, if it is still there. */
  readonly get: (key: string) => Effect.Effect<Option.Option<string>, unknown>
  /**
   * Keeps a text under a key, whatever was there. The cache may drop it after the time to live, and need not: the expiry
   * that counts is inside the text.
   */
  readonly set: (key: string, value: string, timeToLive: Duration.Duration) => Effect.Effect<unknown, unknown>
  /** Drops what is under a key. Not an error where nothing is. */
  readonly remove: (key: string) => Effect.Effect<unknown, unknown>
}

/**
 * The same by promises, with the time to live in whole milliseconds: the shape of most clients. See `fromPromises`.
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
 * What is used of a Keyv, of version 5 or newer.
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
 * What is used of `@effect/experimental`'s `BackingPersistence`. Its own type is not named, so that an app without that
 * package compiles.
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
 * The platform's KeyValueStore as a cache. It fails to remove a missing key when it is a folder, which is no failure here.
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
    set: (key, value, timeToLive) => untilOver(call(() => client.set(key, value, Duration.toMillis(timeToLive)))),
    remove: (key) => untilOver(call(() => client.remove(key)))
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
        () => "Keyv kept nothing: its set answered false"
      )
  }
}
