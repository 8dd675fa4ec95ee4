/**
 * Sessions in any store written for `express-session`: connect-redis, connect-pg-simple, connect-mongo and the many more.
 * For moving an Express app over route by route: with `CookieState`'s `signed` form both apps read the same cookie, find
 * the same session and see each other's changes, and nobody is logged out. Knows nothing of HTTP, and does not import
 * Express.
 *
 * **What is kept.** Express's own form: its data at the top, its `cookie` beside it, and in one further key,
 * `effect-session`, what Express has no place for (revision, bounds). Express carries that key along.
 *
 * **What is waived.** The session id that the cookie holds is the key in the store, because Express looks it up by that:
 * so S06 (only a hash at rest) is waived, and a dump of the store is a list of live sessions. An express-session store
 * knows only how to overwrite: of `StoreLaws` it waives `compareAndSet` and `createIfAbsent`. Within this process a queue
 * for each session keeps those too; beside another process, or beside Express, two writers within one round trip of each
 * other can lose the earlier update, and a request of Express that loaded a session before it was ended here can save it
 * back, as it can among Express processes. A process that ended a session itself does not accept it again for a minute,
 * even then.
 *
 * **Who says when a session is over.** Express extends a session by the store's `touch`, which in many stores leaves no
 * trace in the session itself. So by default (`expiry: "backend"`) a session that the store still has is live until its
 * absolute bound; the store is what forgets idle ones, which it does by `cookie.expires`. When no Express app is left,
 * `expiry: "record"` goes by the deadline in the record alone, to the millisecond, as every other store here does, and
 * the store keeps a session for a minute longer.
 *
 * @since 0.1.0
 */
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as expressCalls from "./internal/expressStore/calls.js"
import * as expressRecord from "./internal/expressStore/record.js"
import * as platform from "./internal/http/fiber.js"
import * as Queue from "./internal/runtime/keyedMutex.js"
import * as metrics from "./internal/runtime/metrics.js"
import * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"
import * as Store from "./Store.js"

/**
 * What is used of a store written for `express-session`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ExpressSessionStore {
  get(sid: string, callback: (error: unknown, session?: unknown) => void): unknown
  set(sid: string, session: object, callback?: (error?: unknown) => void): unknown
  destroy(sid: string, callback?: (error?: unknown) => void): unknown
  touch?(sid: string, session: object, callback?: (error?: unknown) => void): unknown
}

/**
 * The cookie attributes that Express is to find in a session that was begun here. It sets its own cookie again with
 * those of the session, not with those of its options: write what the Express app has in its `cookie` option.
 *
 * @since 0.1.0
 * @category models
 */
export interface CookieAttributes {
  /** Default `/`. */
  readonly path?: string | undefined
  readonly domain?: string | undefined
  /** Default true. */
  readonly httpOnly?: boolean | undefined
  readonly secure?: boolean | undefined
  readonly sameSite?: boolean | "lax" | "none" | "strict" | undefined
  readonly partitioned?: boolean | undefined
  readonly priority?: "low" | "medium" | "high" | undefined
}

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Attributes in sessions that are begun here. Default: those of express-session, `{ path: "/", httpOnly: true }`. */
  readonly cookie?: CookieAttributes | undefined
  /**
   * Who says when a session is idle for too long: the store behind, or the record. Default `backend`; always `record`
   * where the store has no `touch`.
   */
  readonly expiry?: "backend" | "record" | undefined
  /** The idle timeout of a session that Express began without a `maxAge`. Default 1 day, as most of its stores have. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /**
   * The absolute lifetime of a session that Express began, counted from the first write here, since Express notes no
   * beginning. Default 30 days.
   */
  readonly lifetime?: Duration.DurationInput | undefined
  /**
   * Whether a session id has the full form of the Express app's, where it has a `genid` of its own. Default: the 32
   * characters of express-session. Ids that are drawn here are accepted in any case.
   */
  readonly accepts?: ((sid: string) => boolean) | undefined
}

const name = "ExpressStore"

const invalid = (option: string, problem: string): Effect.Effect<never, ConfigError.ConfigError> =>
  Effect.fail(ConfigError.InvalidData([name, option], problem))

const milliseconds = (
  option: string,
  input: Duration.DurationInput
): Effect.Effect<number, ConfigError.ConfigError> => {
  const decoded = Duration.decodeUnknown(input)
  const millis = decoded._tag === "Some" ? Duration.toMillis(decoded.value) : Number.NaN
  return millis > 0 && Number.isFinite(millis)
    ? Effect.succeed(millis)
    : invalid(option, "write a finite duration above zero, such as \"14 days\"")
}

const isStore = (store: unknown): store is ExpressSessionStore =>
  typeof store === "object" && store !== null &&
  ["get", "set", "destroy"].every((method) => typeof (store as Record<string, unknown>)[method] === "function")

const expressForm = /^[A-Za-z0-9_-]{32}$/

const isExpressId = (sid: string): boolean => expressForm.test(sid)

interface Settings {
  readonly adoption: expressRecord.Adoption
  readonly cookie: expressRecord.Cookie
  readonly accepts: (sid: string) => boolean
}

/** A session's place: by its token, as Express finds it, and the name of its tombstone, which no cookie can ask for. */
interface Place {
  readonly sid: string
  readonly id: SessionToken.SessionId
  readonly grave: string
}

type Slot = expressRecord.Found | undefined

const make = (calls: expressCalls.Calls, settings: Settings): Store.Store => {
  const { adoption } = settings
  const queue = Queue.make()
  const ended = expressCalls.makeEnded()

  const run = <A>(
    method: string,
    token: SessionToken.Token,
    f: (place: Place, now: number) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, Store.StoreError> =>
    SessionToken.toId(token).pipe(
      Effect.flatMap((id) => platform.storeCall(`${name}.${method}`, id, (now) => f(placeOf(token, id), now))),
      Effect.mapError((cause) => new Store.StoreError({ reason: "Unavailable", method: `${name}.${method}`, cause }))
    )

  /** The live session of a place; one that can't be read counts as none, and is left to Express. */
  const find = (place: Place, now: number): Effect.Effect<Slot, unknown> =>
    ended.has(place.id, now) ? Effect.succeed(undefined) : Effect.flatMap(calls.get(place.sid), (value) => {
      const found = expressRecord.decode(value, now, adoption)
      if (found === undefined || !("_tag" in found)) {
        return Effect.succeed(found !== undefined && SessionRecord.isExpired(found.record, now) ? undefined : found)
      }
      return metrics.rejected("undecodable").pipe(
        Effect.zipRight(Effect.logWarning(`${name}: a session can't be decoded (${found.reason})`)),
        Effect.annotateLogs("session.id", place.id),
        Effect.as(undefined)
      )
    })

  const isBuried = (place: Place, now: number): Effect.Effect<boolean, unknown> =>
    ended.has(place.id, now)
      ? Effect.succeed(true)
      : Effect.map(calls.get(place.grave), (value) => expressCalls.tombstoneCounts(value, now))

  /** Ends a session. The tombstone only tells late comers why, so a failure to leave one is no failure to end. */
  const bury = (place: Place, now: number): Effect.Effect<void, unknown> => {
    const until = now + Duration.toMillis(Store.tombstoneTimeToLive)
    return Effect.zipRight(
      calls.destroy(place.sid),
      Effect.suspend(() => {
        ended.add(place.id, until, now)
        return Effect.ignore(calls.set(place.grave, expressCalls.tombstone(until)))
      })
    )
  }

  const put = (
    place: Place,
    record: SessionRecord.SessionRecord,
    revision: number,
    cookie: expressRecord.Cookie
  ): Effect.Effect<void, unknown> =>
    calls.set(place.sid, expressRecord.encode({ ...record, revision }, cookie, adoption))

  /** Runs `f` on the live session of that revision. */
  const compare = (
    place: Place,
    revision: number,
    now: number,
    f: (found: expressRecord.Found) => Effect.Effect<Store.Updated, unknown>
  ): Effect.Effect<Store.Updated, unknown> =>
    Effect.flatMap(find(place, now), (found) => {
      if (found === undefined) {
        return Effect.succeed(Store.gone)
      }
      return found.record.revision === revision ? f(found) : Effect.succeed(Store.conflict(found.record))
    })

  const isTaken = (place: Place, now: number): Effect.Effect<boolean, unknown> =>
    Effect.flatMap(find(place, now), (found) => found === undefined ? isBuried(place, now) : Effect.succeed(true))

  return Store.make({
    accepts: (token) => SessionToken.isDrawn(token) || settings.accepts(Redacted.value(token)),
    load: (token) =>
      run(
        "load",
        token,
        (place, now) =>
          Effect.flatMap(find(place, now), (found): Effect.Effect<Store.Loaded, unknown> =>
            found === undefined
              ? Effect.map(isBuried(place, now), (buried) => buried ? Store.superseded : Store.none)
              : Effect.succeed(Store.live(found.record)))
      ),
    create: (token, record) =>
      run("create", token, (place, now) =>
        queue.run(
          [place.sid],
          Effect.flatMap(isTaken(place, now), (taken) =>
            taken
              ? Effect.succeed(Store.exists)
              : Effect.as(put(place, record, record.revision, settings.cookie), Store.created(token)))
        )),
    update: (token, revision, record) =>
      run("update", token, (place, now) =>
        queue.run(
          [place.sid],
          compare(place, revision, now, ({ cookie }) => {
            const next = Math.floor(revision) + 1
            return Effect.as(put(place, record, next, cookie), Store.updated(token, next))
          })
        )),
    renew: (token, revision, next, record) =>
      run("renew", token, (place, now) =>
        Effect.flatMap(SessionToken.toId(next), (id) => {
          const to = placeOf(next, id)
          return queue.run(
            [place.sid, to.sid],
            compare(place, revision, now, ({ cookie }) =>
              Effect.flatMap(isTaken(to, now), (taken) => {
                if (taken) {
                  return Effect.fail(
                    new Error("the token to renew to is in use: the generator of tokens repeats itself")
                  )
                }
                const raised = Math.floor(revision) + 1
                // the new one first: nobody has its token yet, so a failure between the two costs nobody their session
                return put(to, record, raised, cookie).pipe(
                  Effect.zipRight(Effect.onError(
                    bury(place, now),
                    () => Effect.asVoid(Effect.forkDaemon(Effect.ignore(calls.destroy(to.sid))))
                  )),
                  Effect.as(Store.updated(next, raised))
                )
              }))
          )
        })),
    touch: (token, revision, deadline) =>
      run("touch", token, (place, now) =>
        queue.run(
          [place.sid],
          Effect.flatMap(find(place, now), (found): Effect.Effect<Store.Touched, unknown> => {
            if (found === undefined) {
              return Effect.succeed(Store.gone)
            }
            const { cookie, record } = found
            if (record.revision !== revision || deadline <= record.deadline) {
              return Effect.succeed(Store.touched(token))
            }
            const touched = { ...record, deadline, touchedAt: now }
            return Effect.as(
              calls.touch === undefined || !adoption.trusting
                ? put(place, touched, revision, cookie)
                : calls.touch(place.sid, expressRecord.encode(touched, cookie, adoption)),
              Store.touched(token)
            )
          })
        )),
    remove: (token) =>
      run("remove", token, (place, now) =>
        queue.run(
          [place.sid],
          // one that is over by our clock, or that we ended before, may be there for Express: it goes in any case
          Effect.flatMap(find(place, now), (found) => found === undefined ? calls.destroy(place.sid) : bury(place, now))
        ))
  })
}

const placeOf = (token: SessionToken.Token, id: SessionToken.SessionId): Place => ({
  sid: Redacted.value(token),
  id,
  grave: `effect-session:ended:${id}`
})

/**
 * Sessions in an express-session store. Give the store, or a scoped Effect of it.
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
        return yield* invalid("store", "give an express-session store: an object with get, set and destroy")
      }
      const expiry = options.expiry ?? "backend"
      if (expiry !== "backend" && expiry !== "record") {
        return yield* invalid("expiry", "write \"backend\" or \"record\"")
      }
      const idle = yield* milliseconds("idleTimeout", options.idleTimeout ?? Duration.days(1))
      const lifetime = yield* milliseconds("lifetime", options.lifetime ?? Duration.days(30))
      const calls = expressCalls.make(found)
      return make(calls, {
        adoption: { idle, lifetime, trusting: expiry === "backend" && calls.touch !== undefined },
        cookie: { path: "/", httpOnly: true, ...options.cookie },
        accepts: options.accepts ?? isExpressId
      })
    })
  )
