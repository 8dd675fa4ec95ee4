/**
 * The store's operations on an express-session store. Such a store can only overwrite, so within this process a mutex
 * for each session makes compare-and-set. The module knows nothing of HTTP.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SessionRecord from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import { repeatedToken } from "../options.js"
import { andThen } from "../runtime/exit.js"
import * as KeyedMutex from "../runtime/keyedMutex.js"
import { emitting } from "../sessionEvents/emit.js"
import * as ExpressRecord from "./record.js"
import * as ExpressCalls from "./storeCalls.js"

const name = "ExpressStore"

const tombstoneMillis = Duration.toMillis(Store.tombstoneTimeToLive)

interface Settings {
  readonly adoption: ExpressRecord.Adoption
  /** The cookie in sessions that begin here. */
  readonly cookie: ExpressRecord.Cookie
  readonly accepts: (sid: string) => boolean
}

/** The keys of a session: the token, by which Express finds it, and its tombstone's key, which no cookie can name. */
interface Place {
  readonly sid: string
  readonly id: SessionToken.SessionId
  readonly tombstone: string
}

const placeOf = (token: SessionToken.Token): Effect.Effect<Place> =>
  andThen(
    SessionToken.toId(token),
    (id) => Effect.succeed({ sid: Redacted.value(token), id, tombstone: `effect-session:ended:${id}` })
  )

/** @internal */
export const make = (calls: ExpressCalls.Calls, { accepts, adoption, cookie: newCookie }: Settings): Store.Store => {
  const mutex = KeyedMutex.make()
  const ended = ExpressCalls.makeEnded()
  /** The ids that a renewal is writing. Whoever has read one waits and reads again: two are never live. */
  const arriving = new Set<string>()

  const run = <A>(
    method: Store.Method,
    token: SessionToken.Token,
    f: (place: Place) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, Store.StoreError> =>
    Effect.mapError(
      andThen(placeOf(token), f),
      (cause) => new Store.StoreError({ reason: "Unavailable", method: `${name}.${method}`, cause })
    )

  /** The session of a place, expired or not. A session that can't be read is left to Express and counts as none. */
  const read = (place: Place, now: number): Effect.Effect<ExpressRecord.Found | undefined, unknown> =>
    Effect.flatMap(calls.get(place.sid), (value) => {
      const found = ExpressRecord.decode(value, now, adoption)
      if (found === undefined || !("_tag" in found)) {
        return Effect.succeed(found)
      }
      return Effect.as(
        emitting(
          { _tag: "Rejected", reason: "undecodable", id: place.id },
          Effect.annotateLogs(
            Effect.logWarning(
              `${name}: A session can't be decoded (${found.reason}). It is left as it is, and its client gets an empty one.`
            ),
            "session.id",
            place.id
          )
        ),
        undefined
      )
    })

  /** The session of a place, if it is live. */
  const find = (place: Place, now: number): Effect.Effect<ExpressRecord.Found | undefined, unknown> =>
    ended.get(place.id, now) !== undefined
      ? Effect.succeed(undefined)
      : Effect.map(
        read(place, now),
        (found) => found === undefined || SessionRecord.isExpired(found.record, now) ? undefined : found
      )

  const tombstoneOf = (place: Place, now: number): Effect.Effect<ExpressCalls.Tombstone | undefined, unknown> => {
    const own = ended.get(place.id, now)
    return own !== undefined
      ? Effect.succeed(own)
      : Effect.map(calls.get(place.tombstone), (value) => ExpressCalls.decodeTombstone(value, now))
  }

  /**
   * Ends a session and leaves a tombstone. The tombstone is written first, so that every other process finds one of the
   * two. If it can't be written, the session is ended all the same.
   */
  const end = (place: Place, now: number, successor?: string): Effect.Effect<void, unknown> => {
    const tombstone = { until: now + tombstoneMillis, successor }
    return Effect.zipRight(
      Effect.ignore(calls.set(place.tombstone, ExpressCalls.encodeTombstone(tombstone))),
      Effect.map(calls.destroy(place.sid), () => ended.add(place.id, tombstone, now))
    )
  }

  /** Ends the session of a place, and all sessions that renewals made of it. */
  const remove = (place: Place, now: number): Effect.Effect<void, unknown> =>
    Effect.flatMap(
      mutex.run([place.sid], () =>
        Effect.flatMap(tombstoneOf(place, now), (tombstone) =>
          tombstone !== undefined
            // Express may have saved the session back
            ? Effect.as(calls.destroy(place.sid), tombstone.successor)
            : Effect.flatMap(read(place, now), (found) =>
              // a session that can't be read here may be readable for Express
              Effect.as(found === undefined ? calls.destroy(place.sid) : end(place, now), undefined)))),
      (successor) =>
        successor === undefined
          ? Effect.void
          : Effect.flatMap(placeOf(SessionToken.fromString(successor)), (place) => remove(place, now))
    )

  const put = (
    place: Place,
    record: SessionRecord.SessionRecord,
    revision: number,
    cookie: ExpressRecord.Cookie
  ): Effect.Effect<void, unknown> =>
    calls.set(place.sid, ExpressRecord.encode({ ...record, revision }, cookie, adoption))

  /** Runs `f` on the live session of that revision, if there is one. */
  const compare = (
    place: Place,
    revision: number,
    now: number,
    f: (found: ExpressRecord.Found) => Effect.Effect<Store.Updated, unknown>
  ): Effect.Effect<Store.Updated, unknown> =>
    Effect.flatMap(find(place, now), (found) => {
      if (found === undefined) {
        return Effect.succeed(Store.gone)
      }
      return found.record.revision === revision ? f(found) : Effect.succeed(Store.conflict(found.record))
    })

  const isTaken = (place: Place, now: number): Effect.Effect<boolean, unknown> =>
    Effect.flatMap(find(place, now), (found) =>
      found === undefined
        ? Effect.map(tombstoneOf(place, now), (tombstone) => tombstone !== undefined)
        : Effect.succeed(true))

  const load = (place: Place, now: number): Effect.Effect<Store.Loaded, unknown> =>
    Effect.flatMap(find(place, now), (found): Effect.Effect<Store.Loaded, unknown> =>
      found === undefined
        ? Effect.map(
          tombstoneOf(place, now),
          (tombstone) => tombstone === undefined ? Store.none : Store.superseded
        )
        : Effect.succeed(Store.live(found.record)))

  return Store.make({
    accepts: (token) => SessionToken.isDrawn(token) || accepts(Redacted.value(token)),
    load: (token, { now }) =>
      run(
        "load",
        token,
        (place) =>
          Effect.flatMap(load(place, now), (loaded) =>
            arriving.has(place.sid) ? mutex.run([place.sid], () => load(place, now)) : Effect.succeed(loaded))
      ),
    create: (token, record, { now }) =>
      run("create", token, (place) =>
        mutex.run([place.sid], () =>
          Effect.flatMap(isTaken(place, now), (taken) =>
            taken
              ? Effect.succeed(Store.exists)
              : Effect.as(put(place, record, record.revision, newCookie), Store.created(token))))),
    update: (token, revision, record, { now }) =>
      run("update", token, (place) =>
        mutex.run([place.sid], () =>
          compare(place, revision, now, ({ cookie }) => {
            const next = ExpressRecord.raised(revision)
            return Effect.as(put(place, record, next, cookie), Store.updated(token, next))
          }))),
    renew: (token, revision, next, record, { now }) =>
      run(
        "renew",
        token,
        (place) =>
          Effect.flatMap(placeOf(next), (to) =>
            mutex.run([place.sid, to.sid], () =>
              compare(place, revision, now, ({ cookie }) =>
                Effect.flatMap(isTaken(to, now), (taken) => {
                  if (taken) {
                    return Effect.fail(new Error(repeatedToken))
                  }
                  const raised = ExpressRecord.raised(revision)
                  arriving.add(to.sid)
                  // The new session is written first: nobody has its token yet, so no session is lost if ending the old
                  // one fails.
                  return put(to, record, raised, cookie).pipe(
                    Effect.zipRight(Effect.onError(
                      end(place, now, to.sid),
                      () =>
                        Effect.asVoid(Effect.forkDaemon(Effect.ignore(calls.destroy(to.sid))))
                    )),
                    // taking back a half that was carried out, at an interruption, would lose the session
                    KeyedMutex.untilDone,
                    Effect.ensuring(Effect.sync(() =>
                      arriving.delete(to.sid)
                    )),
                    Effect.as(Store.updated(next, raised))
                  )
                }))))
      ),
    touch: (token, revision, deadline, { now }) =>
      run(
        "touch",
        token,
        (place) =>
          mutex.run([place.sid], () =>
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
                  : calls.touch(place.sid, ExpressRecord.encode(touched, cookie, adoption)),
                Store.touched(token)
              )
            }))
      ),
    remove: (token, { now }) => run("remove", token, (place) => remove(place, now))
  })
}
