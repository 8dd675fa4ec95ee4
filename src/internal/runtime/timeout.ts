/**
 * Calls with a time limit, in a fiber of their own. Interrupting who waits for a call does not interrupt the call.
 *
 * `outcome(start(caller, call, limit, late))` is
 * `Effect.timeoutFail(Effect.disconnect(call), { duration: limit, onTimeout: late })`, which makes three fibers a call where
 * this makes two, and none that outlives a call that ends at once.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { Running } from "./caller.js"

/** A call that was started: its outcome, as soon as there is one. @internal */
export class Started<A, E> {
  private waiting: Array<() => void> = []

  constructor(public exit: Exit.Exit<A, E> | undefined) {}

  /** The first outcome counts. */
  complete(exit: Exit.Exit<A, E>): void {
    if (this.exit === undefined) {
      this.exit = exit
      this.waiting.forEach((tell) => tell())
      this.waiting = []
    }
  }

  /** Told at once where the outcome is there, and in the order of asking otherwise. */
  whenDone(tell: () => void): void {
    if (this.exit === undefined) {
      this.waiting.push(tell)
    } else {
      tell()
    }
  }
}

/**
 * Those of any fiber but for the runtime's own metrics, which cost a read over Redis 6 % of its processor time (in process,
 * medians of 25 rounds side by side: 297 and 278 us).
 */
const runtimeFlags = RuntimeFlags.disable(Runtime.defaultRuntimeFlags, RuntimeFlags.RuntimeMetrics)

/** Runs effects in fibers of their own, with the services and fiber refs of the caller. */
const forkFrom = (caller: Running) =>
  Runtime.runFork(Runtime.make({
    context: caller.currentContext,
    fiberRefs: caller.getFiberRefs(),
    runtimeFlags
  }))

/** Runs an effect that nobody waits for. @internal */
export const fork = (caller: Running, effect: Effect.Effect<unknown>): void => {
  forkFrom(caller)(effect)
}

/**
 * Starts a call. After `limit` milliseconds its outcome is what `late` fails with, and the call is interrupted.
 *
 * @internal
 */
export const start = <A, E, E2>(
  caller: Running,
  call: Effect.Effect<A, E>,
  limit: number,
  late: () => E2
): Started<A, E | E2> => {
  const fork = forkFrom(caller)
  const fiber = fork(call)
  const started = new Started<A, E | E2>(fiber.unsafePoll() ?? undefined)
  if (started.exit !== undefined) {
    return started
  }
  // Failed by the runtime, which puts its own copy in the place of an error that knows no span yet.
  const failed = Effect.suspend(() => Effect.fail(late()))
  const timer = fork(Effect.map(Effect.zipRight(Effect.sleep(limit), Effect.exit(failed)), (exit) => {
    started.complete(exit)
    fiber.unsafeInterruptAsFork(caller.id())
  }))
  fiber.addObserver((exit) => {
    timer.unsafeInterruptAsFork(caller.id())
    started.complete(exit)
  })
  return started
}

/**
 * Waits for the outcome, by a promise that is made in the waiter's own run: on Cloudflare Workers a request hangs if its
 * fiber is resumed from within another request's.
 *
 * @internal
 */
export const outcome = <A, E>(started: Started<A, E>): Effect.Effect<A, E> =>
  started.exit ?? Effect.async<A, E>((resume) => {
    void new Promise<void>((resolve) => started.whenDone(resolve)).then(() => {
      resume(started.exit!)
    })
  })
