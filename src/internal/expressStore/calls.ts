/**
 * The calls of an express-session store as Effects, and what is kept in one that is no session: tombstones.
 */
import * as Effect from "effect/Effect"
import type { ExpressSessionStore } from "../../ExpressStore.js"
import type { SessionId } from "../../SessionToken.js"
import { untilOver } from "../runtime/keyedMutex.js"
import { withExpiry } from "./record.js"

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
    const failed = (error: unknown): void =>
      resume(isMissing(error) ? Effect.succeed(undefined) : Effect.fail(error ?? new Error("the store rejected")))
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

const write = (f: (callback: (error: unknown) => void) => unknown): Effect.Effect<void, unknown> =>
  untilOver(Effect.asVoid(call(f)))

/** @internal */
export const make = (store: ExpressSessionStore): Calls => ({
  get: (sid) => call<unknown>((callback) => store.get(sid, callback)),
  set: (sid, session) => write((callback) => store.set(sid, session, callback)),
  destroy: (sid) => write((callback) => store.destroy(sid, callback)),
  touch: store.touch === undefined
    ? undefined
    : (sid, session) => write((callback) => store.touch?.(sid, session, callback))
})

/** How long past its end a tombstone is left with the store, whose clock may differ. */
const margin = 60_000

/** A tombstone in the form of a session, since the store takes nothing else. @internal */
export const tombstone = (until: number): object => ({
  cookie: withExpiry({ originalMaxAge: margin, httpOnly: true, path: "/" }, until + margin),
  endedUntil: until
})

/** Whether what was found under a tombstone's name still counts. @internal */
export const tombstoneCounts = (value: unknown, now: number): boolean => {
  const until = (value as { readonly endedUntil?: unknown } | null | undefined)?.endedUntil
  return typeof until === "number" && now < until
}

/** The sessions that this process ended itself, for as long as their tombstones count. @internal */
export interface Ended {
  readonly has: (id: SessionId, now: number) => boolean
  readonly add: (id: SessionId, until: number, now: number) => void
}

/** @internal */
export const makeEnded = (): Ended => {
  const ended = new Map<SessionId, number>()
  return {
    has: (id, now) => now < (ended.get(id) ?? 0),
    add: (id, until, now) => {
      for (const [eldest, over] of ended) {
        if (now < over) {
          break
        }
        ended.delete(eldest)
      }
      ended.delete(id)
      ended.set(id, until)
    }
  }
}
