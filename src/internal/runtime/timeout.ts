/**
 * Calls with a time limit, in a fiber of their own. Interrupting a fiber that waits for a call does not interrupt the
 * call. The module knows nothing of sessions or stores.
 *
 * `outcome(start(caller, call, limit, late))` does the same as `Effect.timeoutFail(Effect.disconnect(call), { duration:
 * limit, onTimeout: late })`, but with one fiber and a timer instead of three fibers, and with none for a call that ends
 * at once or that a promise answers.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { Running } from "./caller.js"
import { clockOf, liveClock } from "./caller.js"
import { attempt, Pending } from "./pending.js"

/** A call that was started, and its outcome as soon as there is one. @internal */
export class Started<A, E> {
  private waiting: Array<() => void> = []

  constructor(public exit: Exit.Exit<A, E> | undefined) {}

  /** Sets the outcome. Only the first one counts. */
  complete(exit: Exit.Exit<A, E>): void {
    if (this.exit === undefined) {
      this.exit = exit
      this.waiting.forEach((notify) => notify())
      this.waiting = []
    }
  }

  /** Calls `notify` when there is an outcome: at once if there is one already, otherwise in the order of asking. */
  whenDone(notify: () => void): void {
    if (this.exit === undefined) {
      this.waiting.push(notify)
    } else {
      notify()
    }
  }
}

/**
 * Those of any fiber but for the runtime's own metrics, which cost a read over Redis 6 % of its processor time (in process,
 * medians of 25 rounds side by side: 297 and 278 us).
 */
const runtimeFlags = RuntimeFlags.disable(Runtime.defaultRuntimeFlags, RuntimeFlags.RuntimeMetrics)

/** The longest delay of a timer, in milliseconds. A longer one would be over at once. */
const longestTimer = 2 ** 31 - 1

/** Runs effects in fibers of their own, with the services and fiber refs of the caller. @internal */
export const forkFrom = (caller: Running) =>
  Runtime.runFork(Runtime.make({
    context: caller.currentContext,
    fiberRefs: caller.getFiberRefs(),
    runtimeFlags
  }))

/** Runs an effect that nobody waits for. @internal */
export const fork = (caller: Running, effect: Effect.Effect<unknown>): void => {
  forkFrom(caller)(effect)
}

/** The same, but not before the caller's fiber has yielded. @internal */
export const forkLater = (caller: Running, effect: Effect.Effect<void>): Fiber.RuntimeFiber<void> =>
  forkFrom(caller)(effect, { immediate: false })

/**
 * Calls `late` after so many milliseconds, unless it is cancelled before. A clock of the app's own, such as a test's, is
 * asked by a fiber; the runtime's is a timer, because a fiber for it costs a read over Redis a tenth of its time.
 */
const after = (caller: Running, millis: number, late: () => void): () => void => {
  if (clockOf(caller) === liveClock) {
    const timer = setTimeout(late, Math.min(millis, longestTimer))
    return () => clearTimeout(timer)
  }
  const sleeping = forkFrom(caller)(Effect.map(Effect.sleep(millis), late))
  return () => sleeping.unsafeInterruptAsFork(caller.id())
}

/**
 * Takes the steps of a call as its answers come, without a fiber. What is left, an `Exit` or an effect that needs a fiber,
 * is handed to `rest`. Once the call has an outcome, it goes no further.
 *
 * @internal
 */
export const takeSteps = <A, E, E2>(
  started: Started<A, E | E2>,
  call: Effect.Effect<A, E>,
  rest: (left: Effect.Effect<A, E>) => void
): void => {
  if (call instanceof Pending) {
    const pending = call as Pending<A, E>
    void pending.ask().then((answer) => {
      if (started.exit === undefined) {
        takeSteps(started, attempt(() => pending.resume(answer)), rest)
      }
    })
  } else {
    rest(call)
  }
}

/**
 * Starts a call, in a fiber of its own as soon as it needs one. If it takes longer than `limit` milliseconds, its outcome
 * is the error of `late`, and the call goes no further. `Infinity` is no limit.
 *
 * @internal
 */
export const start = <A, E, E2>(
  caller: Running,
  call: Effect.Effect<A, E>,
  limit: number,
  late: () => E2
): Started<A, E | E2> => {
  const started = new Started<A, E | E2>(undefined)
  let cancel: (() => void) | undefined = undefined
  let running: Running | undefined = undefined

  const complete = (exit: Exit.Exit<A, E>): void => {
    cancel?.()
    started.complete(exit)
  }

  takeSteps(started, call, (left) => {
    if (Exit.isExit(left)) {
      complete(left as Exit.Exit<A, E>)
    } else {
      const fiber = forkFrom(caller)(left)
      running = fiber
      fiber.addObserver(complete)
    }
  })
  if (started.exit === undefined && limit !== Infinity) {
    cancel = after(caller, limit, () => {
      // The error has to fail inside the runtime, which adds the caller's span to it.
      forkFrom(caller)(Effect.suspend(() => Effect.fail(late()))).addObserver((exit) => started.complete(exit))
      running?.unsafeInterruptAsFork(caller.id())
    })
  }
  return started
}

/**
 * Waits for the outcome, by a promise that the waiter makes itself: on Cloudflare Workers, a request hangs if its fiber
 * is resumed inside another request's continuation.
 *
 * @internal
 */
export const outcome = <A, E>(started: Started<A, E>): Effect.Effect<A, E> =>
  started.exit ?? Effect.async<A, E>((resume) => {
    void new Promise<void>((resolve) => started.whenDone(resolve)).then(() => {
      resume(started.exit!)
    })
  })
