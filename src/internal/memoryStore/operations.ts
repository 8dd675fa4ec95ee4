/**
 * The operations of a store in memory. If the runtime has a synchronous hash, each operation does its work when it is
 * called and returns an `Exit`. The module knows nothing of HTTP, and nothing of how sessions expire.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SessionRecord from "../../SessionRecord.js"
import * as PublicSessions from "../../Sessions.js"
import * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import { repeatedToken } from "../options.js"
import * as Json from "../record/json.js"
import type { Sessions } from "./sessions.js"

/** Fails a renewal whose new token is in use, so that no session ends for it (S05). */
const repeated = Exit.fail(
  new Store.StoreError({ reason: "Unavailable", method: "MemoryStore.renew", description: repeatedToken })
)

/** The store's own frozen record of this revision, which the caller can't change. */
const own = (record: SessionRecord.SessionRecord, revision: number): SessionRecord.SessionRecord =>
  record.revision === revision && isFrozen(record) ? record : SessionRecord.own(record, { revision })

/** Whether a record is deeply frozen, as those that the middleware writes. */
const isFrozen = (record: SessionRecord.SessionRecord): boolean =>
  Object.isFrozen(record) && Json.isAdopted(record.data) &&
  (record.dropOnRenew === undefined || Object.isFrozen(record.dropOnRenew))

/** Calls `f` with the token's id: at once, without an effect in between, if the runtime has a synchronous hash. */
const withId = <A>(
  token: SessionToken.Token,
  f: (id: SessionToken.SessionId) => Effect.Effect<A, Store.StoreError>
): Effect.Effect<A, Store.StoreError> => {
  const id = SessionToken.unsafeToId(token)
  return id === undefined ? Effect.flatMap(SessionToken.toId(token), f) : f(id)
}

/** The sessions by subject. @internal */
export const makeSessions = (sessions: Sessions): PublicSessions.Service =>
  PublicSessions.make({
    list: (subject, now) => Stream.suspend(() => Stream.fromIterable(sessions.ofSubject(subject, now))),
    end: (id, now) => Effect.sync(() => Option.fromNullable(sessions.end(id, now, true)))
  })

/** @internal */
export const make = (sessions: Sessions): Store.Store => {
  /** Runs a write on the live record, if it has the revision that the caller read. */
  const at = (
    id: SessionToken.SessionId,
    revision: number,
    now: number,
    write: (current: SessionRecord.SessionRecord) => Effect.Effect<Store.Updated, Store.StoreError>
  ): Effect.Effect<Store.Updated, Store.StoreError> => {
    const current = sessions.live(id, now)
    if (current === undefined) {
      return Effect.succeed(Store.gone)
    }
    return current.revision === revision ? write(current) : Effect.succeed(Store.conflict(current))
  }

  return Store.make({
    accepts: SessionToken.isDrawn,
    load: (token, { now }) =>
      withId(token, (id) => {
        const record = sessions.live(id, now)
        if (record !== undefined) {
          return Effect.succeed(Store.live(record))
        }
        const expired = sessions.peek(id)
        return Effect.succeed(
          sessions.isSuperseded(id, now)
            ? Store.superseded
            : expired === undefined
            ? Store.none
            : Store.expired(expired)
        )
      }),
    create: (token, record, { now }) =>
      withId(token, (id) => {
        if (sessions.isTaken(id, now)) {
          return Effect.succeed(Store.exists)
        }
        sessions.insert(id, own(record, record.revision))
        return Effect.succeed(Store.created(token))
      }),
    update: (token, revision, record, { now }) =>
      withId(token, (id) =>
        at(id, revision, now, (current) => {
          sessions.update(id, current, own(record, revision + 1))
          return Effect.succeed(Store.updated(token, revision + 1))
        })),
    renew: (token, revision, next, record, { now }) =>
      withId(token, (id) =>
        withId(next, (nextId) =>
          at(id, revision, now, () => {
            if (sessions.isTaken(nextId, now)) {
              return repeated
            }
            sessions.leaveTombstone(id, now, nextId)
            sessions.insert(nextId, own(record, revision + 1))
            return Effect.succeed(Store.updated(next, revision + 1))
          }))),
    touch: (token, revision, deadline, { now }) =>
      withId(token, (id): Effect.Effect<Store.Touched> => {
        const current = sessions.live(id, now)
        if (current === undefined) {
          return Effect.succeed(Store.gone)
        }
        if (current.revision === revision && deadline > current.deadline) {
          sessions.replace(id, current, SessionRecord.own(current, { touchedAt: now, deadline }))
        }
        return Effect.succeed(Store.touched(token))
      }),
    remove: (token, { now }) =>
      withId(token, (id) => {
        sessions.end(id, now)
        return Effect.void
      }),
    watching: {
      complete: true,
      changes: (token) => Stream.unwrap(Effect.map(SessionToken.toId(token), (id) => sessions.changes.stream(id))),
      ending: (token) => withId(token, (id) => Effect.succeed(Option.fromNullable(sessions.endingOf(id))))
    }
  })
}
