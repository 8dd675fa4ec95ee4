/**
 * A mutex for each key: effects that run under one key run one at a time, in the order in which they asked, within this
 * process. The module knows nothing of sessions.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** @internal */
export interface KeyedMutex {
  /**
   * Runs the effect that `f` returns while nobody else holds any of the keys. The argument of `f` says whether it had
   * to wait. A free key is taken without suspending the fiber.
   */
  readonly run: <A, E, R>(
    keys: ReadonlyArray<string>,
    f: (waited: boolean) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  /** Takes a key that nobody holds, without an effect. The answer releases it. */
  readonly take: (key: string) => () => void
  /** Whether somebody holds the key. */
  readonly isHeld: (key: string) => boolean
  /** How many keys are held. */
  readonly size: () => number
}

/** A fiber that waits for a key. The key is given to it before the fiber runs again, so that nobody overtakes it. */
interface Waiter {
  given: boolean
  resume: () => void
}

/**
 * Waits until the fiber ahead calls `waiter.resume`. The waiter makes the promise itself and continues by it. On
 * Cloudflare Workers, a request hangs if its fiber is resumed inside another request's continuation, as an Effect
 * semaphore or `Deferred` would do (W1).
 */
const turnOf = (waiter: Waiter): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    // the key may have been given while the fiber yielded, after it was queued
    if (waiter.given) {
      return resume(Effect.void)
    }
    void new Promise<void>((resolve) => {
      waiter.resume = resolve
    }).then(() => resume(Effect.void))
  })

/** @internal */
export const make = (): KeyedMutex => {
  /** The keys that are held, each with the fibers that wait for it, in order. */
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
    // no interruption may come between taking a key and installing the handler that releases it
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
    // keys are always taken in the same order, so that two callers can't wait for each other
    run: (keys, f) =>
      (keys.length < 2 ? keys : [...new Set(keys)].sort()).reduceRight((inner, key) => under(key, inner), f)(false),
    take: (key) => {
      const waiting: Array<Waiter> = []
      held.set(key, waiting)
      return () => release(key, waiting)
    },
    isHeld: (key) => held.has(key),
    size: () => held.size
  }
}

/** How long an interrupted write keeps its turn at most, because its client may never answer. */
const longestHold = Duration.minutes(1)

/**
 * Runs a write that can't be cancelled once its client has sent it. If the caller is interrupted, this waits until the
 * write has ended, so that the write can't overwrite what comes next in the queue.
 *
 * @internal
 */
export const untilDone = <A, E>(write: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(write), (fiber) =>
      Effect.onInterrupt(
        restore(Fiber.join(fiber)),
        // the wait needs a fiber of its own, because this one is interrupted at its next interruptible step
        () =>
          Effect.flatMap(
            Effect.forkDaemon(Effect.interruptible(Effect.timeoutOption(Fiber.await(fiber), longestHold))),
            Fiber.await
          )
      ))
  )
