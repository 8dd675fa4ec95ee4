/**
 * Tells the watchers of each channel, in this process, of what is published there. All share one connection, which is
 * open while at least one channel is watched, and one subscription a channel. The module knows nothing of Redis
 * clients, nor of what the channels stand for.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { Signals } from "../runtime/signals.js"
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

/**
 * How often the connection has to answer, in milliseconds. One that is cut on its way stays open, and nothing is heard on it.
 */
const askedEvery = 5000

/** A channel that nobody subscribes to. To unsubscribe from it takes no other permission. */
const unheard = ""

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

const change = ({ changed, work }: Listening, channel: string): void => {
  changed.add(channel)
  work.unsafeOpen()
}

/** Connections are opened by `open`, and closed with the scope at the latest. @internal */
export const make = (open: Open): Effect.Effect<Listener, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const runtime = yield* Effect.runtime()
    const signals = new Signals<string>()
    let current: Listening | undefined

    const notify = (channel: string): void => void signals.notify(channel)

    /** Subscribes to what began to be watched, and no more to what ceased to be. Waits for an answer in any case. */
    const reconcile = (
      { changed, standing, work }: Listening,
      subscriber: Effect.Effect.Success<ReturnType<Open>>
    ): Effect.Effect<void, Error> =>
      Effect.suspend(() => {
        work.unsafeClose()
        const [ceased, began] = Arr.partition(changed, (channel) => signals.isWatched(channel))
        const idle = ceased.filter((channel) => standing.delete(channel))
        const missing = began.filter((channel) => !standing.has(channel))
        changed.clear()
        const asked = idle.length + missing.length === 0 ? [unheard] : idle
        return Effect.zipRight(
          Effect.forEach(Arr.chunksOf(asked, atOnce), subscriber.unsubscribe, { discard: true }),
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
        // one that is lost sooner is not replaced at once, again and again
        yield* Effect.forkScoped(Effect.delay(Effect.sync(() => failures = 0), longestPause))
        Arr.forEach(signals.keys, (channel) => listening.changed.add(channel))
        const serve = reconcile(listening, subscriber).pipe(
          Effect.zipRight(Effect.suspend(() => {
            if (!told) {
              return Effect.void
            }
            told = false
            return Effect.logInfo("RedisStore: changes of sessions are heard again")
          })),
          Effect.zipRight(Effect.timeoutOption(listening.work.await, askedEvery)),
          Effect.forever
        )
        return yield* Effect.raceFirst(serve, subscriber.lost)
      }).pipe(Effect.scoped)

    const keepListening = (listening: Listening): Effect.Effect<never> =>
      listen(listening).pipe(
        Effect.catchAllCause((cause) =>
          Effect.suspend(() => {
            listening.standing.clear()
            signals.notifyAll()
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

    const began = (channel: string) => (notify: () => void): void => {
      if (current === undefined) {
        start()
      } else if (current.standing.has(channel)) {
        notify()
      } else {
        change(current, channel)
      }
    }

    const left = (channel: string) => (): void => {
      if (signals.size > 0 && current !== undefined) {
        change(current, channel)
        return
      }
      const fiber = current?.fiber
      current = undefined
      fiber?.unsafeInterruptAsFork(FiberId.none)
    }

    yield* Effect.addFinalizer(() => signals.end)
    return { changes: (channel) => signals.stream(channel, began(channel), left(channel)) }
  })

const waiting = (what: string) => <A, R>(effect: Effect.Effect<A, Error, R>): Effect.Effect<A, Error, R> =>
  Effect.timeoutFail(effect, {
    duration: patience,
    onTimeout: () => new Error(`the server did not answer within ${Duration.format(patience)} (${what})`)
  })
