/**
 * Keeps sessions in any store written for `express-session`: connect-redis, connect-pg-simple, connect-mongo and many
 * more. It is for moving an Express app over route by route: with `CookieState`'s `signed` form, both apps read the
 * same cookie, find the same session and see each other's changes, and nobody is logged out. The module knows nothing
 * of HTTP and does not import Express.
 *
 * **What is kept.** A session is kept in Express's own form: its data at the top and its `cookie` beside it. What
 * Express has no place for, such as the revision and the bounds, is in one further key, `effect-session`. Express keeps
 * it like any other key.
 *
 * **What is given up.** The session id in the cookie is the key in the store, because Express finds the session by it.
 * So a dump of the store is a list of live sessions, while other stores keep only a hash. An express-session store can
 * only overwrite: of `StoreLaws` it waives `compareAndSet` and `createIfAbsent`. Within this process, a mutex for each
 * session keeps those promises too. Between processes, and beside Express, two writers within one round trip of each
 * other can lose the earlier update. A request of Express that loaded a session before it was ended here can save it
 * back, as Express processes do to each other. Even then, the process that ended a session does not accept it for a
 * minute.
 *
 * **When a session has expired.** Express extends a session by the store's `touch`, which in many stores does not
 * change the session itself. So by default (`expiry: "backend"`) a session that the store still has is live until its
 * absolute bound, and the store deletes idle sessions, by `cookie.expires`. When no Express app is left, use `expiry:
 * "record"`: then the deadline in the record decides, to the millisecond, as in every other store here, and the store
 * keeps a session for one minute longer.
 *
 * @since 0.1.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as express from "./internal/expressStore/store.js"
import type { ExpressSessionStore } from "./internal/expressStore/storeCalls.js"
import * as calls from "./internal/expressStore/storeCalls.js"
import * as check from "./internal/options.js"
import * as Store from "./Store.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  ExpressSessionStore
}

/**
 * The cookie attributes in a session that begins here. Express sets its cookie again with the session's attributes, not
 * with those of its options, so write the same as in the Express app's `cookie` option.
 *
 * @since 0.1.0
 * @category models
 */
export interface CookieAttributes {
  /** Default `/`. */
  readonly path?: string | undefined
  /** Default: none. */
  readonly domain?: string | undefined
  /** Default true. */
  readonly httpOnly?: boolean | undefined
  /** Default: none. */
  readonly secure?: boolean | undefined
  /** Default: none. */
  readonly sameSite?: boolean | "lax" | "none" | "strict" | undefined
  /** Default: none. */
  readonly partitioned?: boolean | undefined
  /** Default: none. */
  readonly priority?: "low" | "medium" | "high" | undefined
}

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The cookie attributes in sessions that begin here. Default: those of express-session, `{ path: "/", httpOnly: true
   * }`.
   */
  readonly cookie?: CookieAttributes | undefined
  /**
   * What decides that a session was idle for too long: the store behind (`backend`) or the record. Default `backend`.
   * If the store has no `touch`, it is always `record`.
   */
  readonly expiry?: "backend" | "record" | undefined
  /** The idle timeout of a session that Express began without a `maxAge`. Default 1 day, as in most of its stores. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /**
   * The absolute lifetime of a session that Express began, counted from the first write here, because Express does not
   * record when it began. Default 30 days.
   */
  readonly lifetime?: Duration.DurationInput | undefined
  /**
   * Whether an id has the form of the Express app's ids, for an app with a `genid` of its own. Default: the 32
   * characters of express-session's ids. Tokens that are drawn here are always accepted.
   */
  readonly accepts?: ((sid: string) => boolean) | undefined
}

const milliseconds = (option: string, input: Duration.DurationInput) =>
  check.milliseconds(["ExpressStore", option], input, { example: "14 days" })

const isStore = (store: unknown): store is ExpressSessionStore =>
  typeof store === "object" && store !== null &&
  ["get", "set", "destroy"].every((method) => typeof (store as Record<string, unknown>)[method] === "function")

const expressForm = /^[A-Za-z0-9_-]{32}$/

const isExpressId = (sid: string): boolean => expressForm.test(sid)

/**
 * Keeps sessions in an express-session store. Give the store, or a scoped Effect of it. Fails with a `ConfigError` that
 * says what to write instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { RedisStore } from "connect-redis"
 * import { Redacted } from "effect"
 * import { CookieState } from "effect-session"
 * import * as ExpressStore from "effect-session/ExpressStore"
 * import { createClient } from "redis"
 *
 * // the same two that the Express app gives to session({ store, secret, name })
 * const store = ExpressStore.layer(new RedisStore({ client: createClient() }), { cookie: { sameSite: "lax" } })
 * const state = CookieState.layer({ name: "connect.sid", signed: { secrets: Redacted.make("keyboard cat") } })
 * ```
 */
export const layer = <E = never, R = never>(
  store: ExpressSessionStore | Effect.Effect<ExpressSessionStore, E, R>,
  options: Options = {}
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, Exclude<R, Scope.Scope>> =>
  Layer.scoped(
    Store.Store,
    Effect.gen(function*() {
      const found = yield* (Effect.isEffect(store) ? store : Effect.succeed(store))
      if (!isStore(found)) {
        return yield* check.invalid(
          ["ExpressStore", "store"],
          "give an express-session store: an object with get, set and destroy"
        )
      }
      const expiry = yield* check.oneOf(["ExpressStore", "expiry"], options.expiry ?? "backend", ["backend", "record"])
      const idle = yield* milliseconds("idleTimeout", options.idleTimeout ?? Duration.days(1))
      const lifetime = yield* milliseconds("lifetime", options.lifetime ?? Duration.days(30))
      return express.make(calls.make(found), {
        adoption: { idle, lifetime, trusting: expiry === "backend" && found.touch !== undefined },
        cookie: { path: "/", httpOnly: true, ...options.cookie },
        accepts: options.accepts ?? isExpressId
      })
    })
  )
