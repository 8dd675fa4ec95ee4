/**
 * The calls of an express-session store as Effects, and the tombstones in it, which are no sessions.
 */
import * as Effect from "effect/Effect"
import type { SessionId } from "../../SessionToken.js"
import { untilOver } from "../runtime/keyedMutex.js"
import { withExpiry } from "./record.js"

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

/** @internal */
export interface Calls {
  readonly get: (sid: string) => Effect.Effect<unknown, unknown>
  readonly set: (sid: string, session: object) => Effect.Effect<void, unknown>
  readonly destroy: (sid: string) => Effect.Effect<void, unknown>
  readonly touch: ((sid: string, session: object) => Effect.Effect<void, unknown>) | undefined
}

/** How express-session has stores on files say that there is no such session. */
const isMissing = (error: unknown): boolean =>
  typeof error === "object" && error !== null && (error as { readonly code?: unknown }).code === "ENOENT"

/** Stores answer by callback; some throw instead, and some that are async functions reject. */
const call = <A>(
  f: (callback: (error: unknown, value?: A) => void) => unknown
): Effect.Effect<A | undefined, unknown> =>
  Effect.async((resume) => {
    const failed = (error: unknown): void => resume(Effect.fail(error ?? new Error("the store rejected")))
    try {
      const returned = f((error, value) =>
        error === undefined || error === null ? resume(Effect.succeed(value)) : failed(error)
      )
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
  untilOver(Effect.asVoid(call(f)))

/** @internal */
export const make = (store: ExpressSessionStore): Calls => ({
  get: (sid) => orMissing(call<unknown>((callback) => store.get(sid, callback))),
  set: (sid, session) => write((callback) => store.set(sid, session, callback)),
  destroy: (sid) => orMissing(write((callback) => store.destroy(sid, callback))),
  touch: store.touch === undefined
    ? undefined
    : (sid, session) => write((callback) => store.touch?.(sid, session, callback))
})

/** How long past its end a tombstone is left with the store, whose clock may differ. */
const margin = 60_000

/** What is remembered of a session that was ended here: until when, and the session id that a renewal gave it. @internal */
export interface Tombstone {
  readonly until: number
  readonly successor?: string | undefined
}

/** A tombstone in the form of a session, since the store takes nothing else. @internal */
export const encodeTombstone = ({ successor, until }: Tombstone): object => ({
  cookie: withExpiry({ originalMaxAge: margin, httpOnly: true, path: "/" }, until + margin),
  endedUntil: until,
  ...(successor === undefined ? undefined : { successor })
})

/** The tombstone that was found under its name, if it still counts. @internal */
export const decodeTombstone = (value: unknown, now: number): Tombstone | undefined => {
  const { endedUntil: until, successor } = (value ?? {}) as {
    readonly endedUntil?: unknown
    readonly successor?: unknown
  }
  return typeof until === "number" && now < until
    ? { until, successor: typeof successor === "string" ? successor : undefined }
    : undefined
}

/** The sessions that this process ended itself, for as long as their tombstones count. @internal */
export interface Ended {
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
