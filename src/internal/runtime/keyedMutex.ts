/**
 * A mutual exclusion by key: what is run under one key runs one at a time, in the order of asking, within this process.
 * Knows nothing of sessions.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** @internal */
export interface KeyedMutex {
  /**
   * Runs the effect that `f` answers when nobody else holds any of the keys; `f` is told whether it had to wait. A key
   * that is free is taken without a suspension, so that what can end at once does.
   */
  readonly run: <A, E, R>(
    keys: ReadonlyArray<string>,
    f: (waited: boolean) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  /** Whether somebody holds the key, so that who wants it now has to wait. */
  readonly isHeld: (key: string) => boolean
  /** How many keys are held. */
  readonly size: () => number
}

/** One who waits for a key. The key is given to it before it runs again, so that nobody overtakes it. */
interface Waiter {
  given: boolean
  resume: () => void
}

/**
 * Waits until the one ahead calls `waiter.resume`. The promise is made in the waiter's own run and continues there: some
 * runtimes (Cloudflare Workers) hang a request whose fiber is resumed inside another request's continuation, as an Effect
 * semaphore or `Deferred` does it (W1).
 */
const turnOf = (waiter: Waiter): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    // the fiber may have had to yield since it began to wait
    if (waiter.given) {
      return resume(Effect.void)
    }
    void new Promise<void>((resolve) => {
      waiter.resume = resolve
    }).then(() => resume(Effect.void))
  })

/** @internal */
export const make = (): KeyedMutex => {
  /** The keys that are held, each with those who wait for it in their order. */
  const held = new Map<string, Array<Waiter>>()

  const release = (key: string, waiting: Array<Waiter>): void => {
    const next = waiting.shift()
    if (next === undefined) {
      held.delete(key)
    } else {
      next.given = true
      next.resume()
    }
  }

  const hold = <A, E, R>(key: string, waiting: Array<Waiter>, body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.matchCauseEffect(body, {
      onFailure: (cause) => {
        release(key, waiting)
        return Exit.failCause(cause)
      },
      onSuccess: (value) => {
        release(key, waiting)
        return Exit.succeed(value)
      }
    })

  const under = <A, E, R>(
    key: string,
    f: (waited: boolean) => Effect.Effect<A, E, R>
  ) =>
  (waited: boolean): Effect.Effect<A, E, R> =>
    // nothing can interrupt between the taking of a key and the handler that gives it back
    Effect.uninterruptibleMask((restore) => {
      const waiting = held.get(key)
      if (waiting === undefined) {
        const none: Array<Waiter> = []
        held.set(key, none)
        return hold(key, none, restore(Effect.suspend(() => f(waited))))
      }
      const waiter: Waiter = { given: false, resume: () => {} }
      waiting.push(waiter)
      return Effect.matchCauseEffect(restore(turnOf(waiter)), {
        onFailure: (cause) => {
          if (waiter.given) {
            release(key, waiting)
          } else {
            waiting.splice(waiting.indexOf(waiter), 1)
          }
          return Exit.failCause(cause)
        },
        onSuccess: () => hold(key, waiting, restore(Effect.suspend(() => f(true))))
      })
    })

  return {
    // always taken in the same order, so that two that want the same keys can't wait for each other
    run: (keys, f) =>
      (keys.length < 2 ? keys : [...new Set(keys)].sort()).reduceRight((inner, key) => under(key, inner), f)(false),
    isHeld: (key) => held.has(key),
    size: () => held.size
  }
}

/** How long a write that nobody waits for any more keeps its turn: its client may never answer. */
const longestHold = Duration.minutes(1)

/**
 * A write that can't be called back. Who is interrupted while waiting for it is let go when it has ended, for it may still
 * land, and what comes behind it in the queue must not be overwritten by it.
 *
 * @internal
 */
export const untilOver = <A, E>(write: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(write), (fiber) =>
      Effect.onInterrupt(
        restore(Fiber.join(fiber)),
        // in a fiber of its own, for this one is interrupted wherever it may be
        () =>
          Effect.flatMap(
            Effect.forkDaemon(Effect.interruptible(Effect.timeoutOption(Fiber.await(fiber), longestHold))),
            Fiber.await
          )
      ))
  )
