/**
 * A store under a test's control: its calls are noted, and can be held, failed and delayed. The module knows nothing of
 * requests.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Store from "../../Store.js"

/**
 * When in a call something happens: `before` the store runs it, or `after` the store has run it and before the caller
 * gets the answer.
 *
 * @since 0.1.0
 * @category models
 */
export type Moment = "before" | "after"

/**
 * A call that is held. Its waits end at once if what they wait for has happened already.
 *
 * @since 0.1.0
 * @category models
 */
export interface Held {
  /** Waits until the call has arrived and is held. */
  readonly arrived: Effect.Effect<Store.Operation>
  /** Lets the call go on. If it has not arrived yet, it is not held when it does. */
  readonly release: Effect.Effect<void>
  /** Fails the call with this error. */
  readonly fail: (error: Store.StoreError) => Effect.Effect<void>
  /** Waits until the caller has given up, because it was interrupted or timed out. */
  readonly interrupted: Effect.Effect<void>
}

/**
 * What a test can do to a controlled store. What is set for a method waits in a queue, and each call of that method
 * takes the first one. A call for which nothing is set goes straight through. `"any"` is for the next call of any
 * method. Where a moment can be given as `at`, the default is `before`.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreControls {
  /** The calls so far, in the order in which they arrived. */
  readonly calls: Effect.Effect<ReadonlyArray<Store.Operation>>
  /** The methods of the calls so far, in the same order. */
  readonly methods: Effect.Effect<ReadonlyArray<Store.Method>>
  /** Forgets the calls so far, everything that is set, and all latencies, and releases the calls that are held. */
  readonly reset: Effect.Effect<void>
  /** Waits until that many calls of a method have arrived since the start or the last `reset`. Default 1. */
  readonly arrived: (method: Store.Method, count?: number) => Effect.Effect<Store.Operation>
  /** Holds the next call. */
  readonly hold: (method: Store.Method | "any", options?: { readonly at?: Moment | undefined }) => Effect.Effect<Held>
  /** Fails the next calls. Default: one call, with a `StoreError` of reason `Unavailable`. */
  readonly fail: (method: Store.Method | "any", options?: {
    readonly at?: Moment | undefined
    readonly times?: number | undefined
    readonly error?: Store.StoreError | undefined
  }) => Effect.Effect<void>
  /** Makes the next calls die of a defect. Default: one call, of an `Error`. */
  readonly die: (method: Store.Method | "any", options?: {
    readonly at?: Moment | undefined
    readonly times?: number | undefined
    readonly defect?: unknown
  }) => Effect.Effect<void>
  /** Makes the next calls hang until their caller gives up. Default: one call. */
  readonly hang: (method: Store.Method | "any", options?: {
    readonly at?: Moment | undefined
    readonly times?: number | undefined
  }) => Effect.Effect<void>
  /** Makes every call from now on take this much longer, by the caller's `Clock`. Zero ends it. */
  readonly latency: (method: Store.Method | "any", duration: Duration.DurationInput) => Effect.Effect<void>
}

/** What a test has set for the next calls of a method. */
interface Interception {
  readonly method: Store.Method | "any"
  readonly at: Moment
  left: number
  readonly step: (call: Store.Operation) => Effect.Effect<void, Store.StoreError>
}

interface Waiter {
  readonly method: Store.Method
  readonly count: number
  readonly deferred: Deferred.Deferred<Store.Operation>
}

/** The store under control, and its controls. @internal */
export const control = (store: Store.Store): readonly [Store.Store, StoreControls] => {
  let calls: Array<Store.Operation> = []
  let queue: Array<Interception> = []
  let waiters: Array<Waiter> = []
  const gates = new Set<Deferred.Deferred<void, Store.StoreError>>()
  const latencies = new Map<Store.Method | "any", Duration.Duration>()

  const nth = (method: Store.Method, count: number): Store.Operation | undefined =>
    calls.filter((call) => call.method === method)[count - 1]

  const arrive = (call: Store.Operation): Effect.Effect<void> => {
    calls.push(call)
    const due = waiters.filter(({ count, method }) => nth(method, count) !== undefined)
    waiters = waiters.filter((waiter) => !due.includes(waiter))
    return Effect.forEach(due, ({ deferred }) => Deferred.succeed(deferred, call), { discard: true })
  }

  const take = (method: Store.Method): Interception | undefined => {
    const found = queue.find((each) => each.method === method || each.method === "any")
    if (found !== undefined && --found.left <= 0) {
      queue = queue.filter((each) => each !== found)
    }
    return found
  }

  const controlledStore = Store.around(store, (call, run) =>
    Effect.suspend(() => {
      const found = take(call.method)
      const latency = latencies.get(call.method) ?? latencies.get("any")
      const at = (moment: Moment) => found?.at === moment ? found.step(call) : Effect.void
      return arrive(call).pipe(
        Effect.zipRight(latency === undefined ? Effect.void : Effect.sleep(latency)),
        Effect.zipRight(at("before")),
        Effect.zipRight(Effect.suspend(run)),
        Effect.zipLeft(Effect.suspend(() => at("after")))
      )
    }))

  const intercept = (
    method: Store.Method | "any",
    options: { readonly at?: Moment | undefined; readonly times?: number | undefined } | undefined,
    step: Interception["step"]
  ): Effect.Effect<void> =>
    Effect.sync(() => {
      queue.push({ method, at: options?.at ?? "before", left: options?.times ?? 1, step })
    })

  return [controlledStore, {
    calls: Effect.sync(() => calls.slice()),
    methods: Effect.sync(() => calls.map(({ method }) => method)),
    reset: Effect.suspend(() => {
      calls = []
      queue = []
      latencies.clear()
      return Effect.forEach(gates, (gate) => Deferred.succeed(gate, undefined), { discard: true })
    }),
    arrived: (method, count = 1) =>
      Effect.suspend(() => {
        const call = nth(method, count)
        if (call !== undefined) {
          return Effect.succeed(call)
        }
        return Effect.flatMap(Deferred.make<Store.Operation>(), (deferred) => {
          waiters.push({ method, count, deferred })
          return Deferred.await(deferred)
        })
      }),
    hold: (method, options) =>
      Effect.gen(function*() {
        const arrived = yield* Deferred.make<Store.Operation>()
        const gate = yield* Deferred.make<void, Store.StoreError>()
        const interrupted = yield* Deferred.make<void>()
        gates.add(gate)
        yield* intercept(method, options, (call) =>
          Deferred.succeed(arrived, call).pipe(
            Effect.zipRight(Deferred.await(gate)),
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)),
            Effect.ensuring(Effect.sync(() => gates.delete(gate)))
          ))
        return {
          arrived: Deferred.await(arrived),
          release: Effect.asVoid(Deferred.succeed(gate, undefined)),
          fail: (error) => Effect.asVoid(Deferred.fail(gate, error)),
          interrupted: Deferred.await(interrupted)
        }
      }),
    fail: (method, options) =>
      intercept(
        method,
        options,
        (call) => options?.error ?? new Store.StoreError({ reason: "Unavailable", method: `testing.${call.method}` })
      ),
    die: (method, options) =>
      intercept(
        method,
        options,
        (call) => Effect.die(options?.defect ?? new Error(`The test made the call ${call.method} die.`))
      ),
    hang: (method, options) => intercept(method, options, () => Effect.never),
    latency: (method, duration) =>
      Effect.sync(() => {
        latencies.set(method, Duration.decode(duration))
      })
  }]
}
