/**
 * The calls of an express-session store as Effects, and the tombstones that are kept in it. The module knows nothing of
 * records or revisions.
 */
import * as Effect from "effect/Effect"
import type { SessionId } from "../../SessionToken.js"
import { untilDone } from "../runtime/keyedMutex.js"
import { withExpiry } from "./record.js"

/**
 * A store written for `express-session`, as far as it is used here.
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

/** @internal */
export interface Calls {
  readonly get: (sid: string) => Effect.Effect<unknown, unknown>
  readonly set: (sid: string, session: object) => Effect.Effect<void, unknown>
  readonly destroy: (sid: string) => Effect.Effect<void, unknown>
  readonly touch: ((sid: string, session: object) => Effect.Effect<void, unknown>) | undefined
}

/** Whether an error means that there is no such session: express-session lets file stores say it by this code. */
const isMissing = (error: unknown): boolean =>
  typeof error === "object" && error !== null && (error as { readonly code?: unknown }).code === "ENOENT"

/** Runs a call. Stores answer by callback, but some throw instead, and async functions reject. */
const call = <A>(
  f: (callback: (error: unknown, value?: A) => void) => unknown
): Effect.Effect<A | undefined, unknown> =>
  Effect.async((resume) => {
    const failed = (error: unknown): void =>
      resume(Effect.fail(error ?? new Error("The store failed without an error.")))
    try {
      // express-session takes an error that is false, zero or empty for none
      const returned = f((error, value) => Boolean(error) ? failed(error) : resume(Effect.succeed(value)))
      if (returned instanceof Promise) {
        returned.catch(failed)
      }
    } catch (error) {
      failed(error)
    }
  })

/** A call for which a session that is not there is no failure. A write to one that is not there fails (D1). */
const orMissing = <A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A | undefined, unknown> =>
  Effect.catchIf(effect, isMissing, () => Effect.succeed(undefined))

const write = (f: (callback: (error: unknown) => void) => unknown): Effect.Effect<void, unknown> =>
  untilDone(Effect.asVoid(call(f)))

/** @internal */
export const make = (store: ExpressSessionStore): Calls => ({
  get: (sid) => orMissing(call<unknown>((callback) => store.get(sid, callback))),
  set: (sid, session) => write((callback) => store.set(sid, session, callback)),
  destroy: (sid) => orMissing(write((callback) => store.destroy(sid, callback))),
  touch: store.touch === undefined
    ? undefined
    : (sid, session) => write((callback) => store.touch?.(sid, session, callback))
})

/** How long after its end the store keeps a tombstone, in milliseconds, because its clock may differ. */
const margin = 60_000

/** The tombstone of a session that ended here. The successor is the session id that a renewal gave it. @internal */
export interface Tombstone {
  readonly until: number
  readonly successor?: string | undefined
}

/** The tombstone in the form of a session, because the store accepts nothing else. @internal */
export const encodeTombstone = ({ successor, until }: Tombstone): object => ({
  cookie: withExpiry({ originalMaxAge: margin, httpOnly: true, path: "/" }, until + margin),
  endedUntil: until,
  ...(successor === undefined ? undefined : { successor })
})

/** The tombstone in a value of the store, if it still counts. @internal */
export const decodeTombstone = (value: unknown, now: number): Tombstone | undefined => {
  const { endedUntil: until, successor } = (value ?? {}) as {
    readonly endedUntil?: unknown
    readonly successor?: unknown
  }
  return typeof until === "number" && now < until
    ? { until, successor: typeof successor === "string" ? successor : undefined }
    : undefined
}

/** The tombstones of the sessions that this process ended itself. */
interface Ended {
  readonly get: (id: SessionId, now: number) => Tombstone | undefined
  readonly add: (id: SessionId, tombstone: Tombstone, now: number) => void
}

/** @internal */
export const makeEnded = (): Ended => {
  const ended = new Map<SessionId, Tombstone>()
  return {
    get: (id, now) => {
      const found = ended.get(id)
      return found !== undefined && now < found.until ? found : undefined
    },
    add: (id, tombstone, now) => {
      for (const [eldest, { until }] of ended) {
        if (now < until) {
          break
        }
        ended.delete(eldest)
      }
      ended.delete(id)
      ended.set(id, tombstone)
    }
  }
}
