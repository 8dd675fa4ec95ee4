/**
 * Tells the watchers of each channel, in this process, of what is published there. All share one connection, which is
 * open while at least one channel is watched, and one subscription a channel. The module knows nothing of Redis
 * clients, nor of what the channels stand for.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Open } from "./subscriber.js"

/** @internal */
export interface Listener {
  /**
   * Emits once when the subscription stands, at each message, and once more when the subscription stands again after
   * the connection was lost. While there is no connection, it emits after each attempt, so that whoever watches asks
   * instead.
   */
  readonly changes: (channel: string) => Stream.Stream<void>
}

/** How long to wait, in milliseconds, before a connection is opened again: each time twice as long, up to the longest. */
const firstPause = 100
const longestPause = 5000

/** How many channels one command names. */
const atOnce = 1000

/** How long to wait for a connection, and for a subscription on it. */
const patience = Duration.seconds(10)

/** A connection's fiber, and what it has to do. */
interface Listening {
  /** The channels that began or ceased to be watched, and the latch that is open when there are some. */
  readonly changed: Set<string>
  readonly work: Effect.Latch
  /** The channels whose subscription stands. */
  readonly standing: Set<string>
  fiber?: Fiber.RuntimeFiber<void>
}

const signal = (queue: Queue.Enqueue<void>): void => {
  queue.unsafeOffer(undefined)
}

const change = ({ changed, work }: Listening, channel: string): void => {
  changed.add(channel)
  work.unsafeOpen()
}

/** Connections are opened by `open`, and closed with the scope at the latest. @internal */
export const make = (open: Open): Effect.Effect<Listener, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const runtime = yield* Effect.runtime()
    const watchers = new Map<string, Set<Queue.Enqueue<void>>>()
    let current: Listening | undefined

    const notify = (channel: string): void => watchers.get(channel)?.forEach(signal)

    /** Subscribes to what began to be watched, and no more to what ceased to be. */
    const reconcile = (
      { changed, standing, work }: Listening,
      subscriber: Effect.Effect.Success<ReturnType<Open>>
    ): Effect.Effect<void, Error> =>
      Effect.suspend(() => {
        work.unsafeClose()
        const [ceased, began] = Arr.partition(changed, (channel) => watchers.has(channel))
        const idle = ceased.filter((channel) => standing.delete(channel))
        const missing = began.filter((channel) => !standing.has(channel))
        changed.clear()
        return Effect.zipRight(
          Effect.forEach(Arr.chunksOf(idle, atOnce), subscriber.unsubscribe, { discard: true }),
          Effect.forEach(Arr.chunksOf(missing, atOnce), (channels) =>
            Effect.map(subscriber.subscribe(channels), () =>
              channels.forEach((channel) => {
                standing.add(channel)
                notify(channel)
              })), { discard: true })
        )
      }).pipe(waiting("subscribe"))

    /** Whether the failure of an attempt was logged, until a subscription stands again. */
    let told = false
    let failures = 0

    const listen = (listening: Listening): Effect.Effect<never, Error> =>
      Effect.gen(function*() {
        const subscriber = yield* waiting("connect")(open(notify))
        watchers.forEach((_, channel) => listening.changed.add(channel))
        const serve = reconcile(listening, subscriber).pipe(
          Effect.zipRight(Effect.suspend(() => {
            failures = 0
            if (!told) {
              return Effect.void
            }
            told = false
            return Effect.logInfo("RedisStore: changes of sessions are heard again")
          })),
          Effect.zipRight(listening.work.await),
          Effect.forever
        )
        return yield* Effect.raceFirst(serve, subscriber.lost)
      }).pipe(Effect.scoped)

    const keepListening = (listening: Listening): Effect.Effect<never> =>
      listen(listening).pipe(
        Effect.catchAllCause((cause) =>
          Effect.suspend(() => {
            listening.standing.clear()
            watchers.forEach((queues) => queues.forEach(signal))
            const pause = Math.min(firstPause * 2 ** failures++, longestPause)
            const warning = told
              ? Effect.void
              : Effect.logWarning(
                "RedisStore: changes of sessions are not heard, whoever watches one asks instead",
                cause
              )
            told = true
            return Effect.zipRight(warning, Effect.sleep(pause))
          })
        ),
        Effect.forever
      )

    /** In one step, so that nobody else finds that nothing listens yet, and starts too. */
    const start = (): void => {
      current = { changed: new Set(), work: Effect.unsafeMakeLatch(), standing: new Set() }
      // in the store's own context: the fiber outlives the request that watched first
      current.fiber = Runtime.runFork(runtime)(keepListening(current), { scope })
    }

    const watch = (channel: string, queue: Queue.Enqueue<void>): Effect.Effect<void> =>
      Effect.sync(() => {
        const watching = watchers.get(channel)
        if (watching === undefined) {
          watchers.set(channel, new Set([queue]))
        } else {
          watching.add(queue)
        }
        if (current === undefined) {
          start()
        } else if (current.standing.has(channel)) {
          signal(queue)
        } else {
          change(current, channel)
        }
      })

    const unwatch = (channel: string, queue: Queue.Enqueue<void>): Effect.Effect<void> =>
      Effect.suspend(() => {
        const watching = watchers.get(channel)
        if (watching?.delete(queue) !== true || watching.size > 0) {
          return Effect.void
        }
        watchers.delete(channel)
        if (current === undefined) {
          return Effect.void
        }
        if (watchers.size > 0) {
          change(current, channel)
          return Effect.void
        }
        const { fiber } = current
        current = undefined
        return fiber === undefined ? Effect.void : Fiber.interruptFork(fiber)
      })

    return {
      changes: (channel) =>
        Stream.unwrapScoped(
          Effect.map(
            Effect.acquireRelease(
              Effect.tap(Queue.sliding<void>(1), (queue) => watch(channel, queue)),
              (queue) => unwatch(channel, queue)
            ),
            (queue) => Stream.fromQueue(queue)
          )
        )
    }
  })

const waiting = (what: string) => <A, R>(effect: Effect.Effect<A, Error, R>): Effect.Effect<A, Error, R> =>
  Effect.timeoutFail(effect, {
    duration: patience,
    onTimeout: () => new Error(`the server did not answer within ${Duration.format(patience)} (${what})`)
  })
