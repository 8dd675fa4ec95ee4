/**
 * Sessions in the memory of one process: for development, tests, and services of one instance that may forget on a
 * restart. Records are frozen and shared, so nothing is encoded or copied on the way. Knows nothing of HTTP.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { sha256Sync } from "./internal/crypto/hash.js"
import { Sessions } from "./internal/memoryStore/sessions.js"
import * as Json from "./internal/record/json.js"
import * as Record from "./internal/record/record.js"
import type * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"
import * as Store from "./Store.js"

/**
 * Options of `layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How many sessions are kept at most; the least recently used is evicted for a new one. Default: no bound. */
  readonly capacity?: number | undefined
}

/** A renewal to a token that is taken: no session may end for it (S05). */
const repeated = new Store.StoreError({
  reason: "Unavailable",
  method: "MemoryStore.renew",
  description: "the token to renew to is in use: the generator of tokens repeats itself"
})

/** The store's own: what the caller holds can't change it, and what is handed out can't be changed. */
const own = (record: SessionRecord.SessionRecord, revision: number): SessionRecord.SessionRecord =>
  record.revision === revision && isFrozen(record) ? record : Record.own(record, { revision })

/** Whether a record can't change any more, as those that the middleware commits. */
const isFrozen = (record: SessionRecord.SessionRecord): boolean =>
  Object.isFrozen(record) && Json.isAdopted(record.data) &&
  (record.dropOnRenew === undefined || Object.isFrozen(record.dropOnRenew))

/**
 * Makes a memory store whose sweep runs in the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options?: Options): Effect.Effect<Store.Store, ConfigError.ConfigError, Scope.Scope> =>
  Effect.suspend(() => build(options))

const build = (options: Options | undefined): Effect.Effect<Store.Store, ConfigError.ConfigError, Scope.Scope> => {
  const capacity = options?.capacity ?? Number.POSITIVE_INFINITY
  if (!(capacity >= 1)) {
    return Effect.fail(
      ConfigError.InvalidData(["MemoryStore", "capacity"], "write a number of sessions, 1 or more, such as 100000")
    )
  }
  const sessions = new Sessions(capacity)

  /** Why the record of that revision can't be replaced, if it can't. */
  const deny = (id: SessionToken.SessionId, revision: number, now: number): Store.Updated | undefined => {
    const current = sessions.live(id, now)
    if (current === undefined) {
      return Store.gone
    }
    return current.revision === revision ? undefined : Store.conflict(current)
  }

  const operations: Store.Synchronous = {
    accepts: SessionToken.isDrawn,
    load: (token, now) => {
      const id = idOf(token)
      const record = sessions.live(id, now)
      return record !== undefined
        ? Store.live(record)
        : sessions.isSuperseded(id, now)
        ? Store.superseded
        : Store.none
    },
    create: (token, record, now) => {
      const id = idOf(token)
      if (sessions.isTaken(id, now)) {
        return Store.exists
      }
      sessions.insert(id, own(record, record.revision))
      return Store.created(token)
    },
    update: (token, revision, record, now) => {
      const id = idOf(token)
      const denied = deny(id, revision, now)
      if (denied !== undefined) {
        return denied
      }
      sessions.replace(id, own(record, revision + 1))
      return Store.updated(token, revision + 1)
    },
    renew: (token, revision, next, record, now) => {
      const id = idOf(token)
      const nextId = idOf(next)
      const denied = deny(id, revision, now)
      if (denied !== undefined) {
        return denied
      }
      if (sessions.isTaken(nextId, now)) {
        throw repeated
      }
      sessions.bury(id, now)
      sessions.insert(nextId, own(record, revision + 1))
      return Store.updated(next, revision + 1)
    },
    touch: (token, revision, deadline, now) => {
      const id = idOf(token)
      const current = sessions.live(id, now)
      if (current === undefined) {
        return Store.gone
      }
      if (current.revision === revision && deadline > current.deadline) {
        sessions.replace(id, Record.own(current, { touchedAt: now, deadline }))
      }
      return Store.touched(token)
    },
    remove: (token, now) => {
      const id = idOf(token)
      if (sessions.live(id, now) !== undefined) {
        sessions.bury(id, now)
      }
    }
  }

  const store = Store.fromSynchronous(operations)
  return Effect.as(
    Store.sweeping("MemoryStore", (limit, now) => Effect.sync(() => sessions.sweep(limit, now))),
    sha256Sync === undefined ? hashedFirst(store) : store
  )
}

/** The id of a token, where it can be had at once or was asked for before. */
const idOf = (token: SessionToken.Token): SessionToken.SessionId =>
  SessionToken.unsafeToId(token) as SessionToken.SessionId

/** The same store where hashes come by promise: each token is hashed before its operation, which then finds the id. */
const hashedFirst = (store: Store.Store): Store.Store =>
  Store.make({
    accepts: store.accepts,
    load: (token) => Effect.zipRight(SessionToken.toId(token), store.load(token)),
    create: (token, record) => Effect.zipRight(SessionToken.toId(token), store.create(token, record)),
    update: (token, revision, record) =>
      Effect.zipRight(SessionToken.toId(token), store.update(token, revision, record)),
    renew: (token, revision, next, record) =>
      Effect.all([SessionToken.toId(token), SessionToken.toId(next)]).pipe(
        Effect.zipRight(store.renew(token, revision, next, record))
      ),
    touch: (token, revision, deadline) =>
      Effect.zipRight(SessionToken.toId(token), store.touch(token, revision, deadline)),
    remove: (token) => Effect.zipRight(SessionToken.toId(token), store.remove(token))
  })

/**
 * Keeps sessions in memory. A session beyond `capacity` ends early; tombstones do not count.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { MemoryStore } from "effect-session"
 *
 * const store = MemoryStore.layer({ capacity: 100_000 })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Store.Store, ConfigError.ConfigError> =>
  Layer.scoped(Store.Store, make(options))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<Options>): Layer.Layer<Store.Store, ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))
