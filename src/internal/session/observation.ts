/**
 * What a store says of one session, for all that watch it in this process: one subscription, and one read a change. Knows
 * nothing of requests; `watch.ts` decides which session a request watches.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Ending } from "../../SessionError.js"
import type { Handler } from "../../SessionEvents.js"
import { SessionEvents } from "../../SessionEvents.js"
import type { Policy } from "../../SessionPolicy.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { endsAt } from "../../SessionRecord.js"
import type { Token } from "../../SessionToken.js"
import * as Store from "../../Store.js"
import { forkApart } from "../runtime/apart.js"
import type { Running } from "../runtime/caller.js"
import { nowOf } from "../runtime/caller.js"
import * as Timeout from "../runtime/timeout.js"
import { contained, gaveUp, late, timed } from "./storeCalls.js"

/** A session that is watched, by its token, and how its store is asked. @internal */
export interface Target {
  readonly store: Store.Store
  readonly policy: Policy
  /** What is told of what the store finds. */
  readonly events: Handler
  readonly token: Token
  /** What the store is told of a call at a time. */
  readonly call: (now: number) => Store.Call
  /** The record as it was last known, if it was. */
  readonly record: SessionRecord | undefined
}

/** What is known of a session by now. @internal */
export type Seen =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Live"; readonly record: SessionRecord }
  | { readonly _tag: "Ended"; readonly reason: Ending }
  | { readonly _tag: "Failed"; readonly error: Store.StoreError }

/** The longest delay of a timer, in milliseconds. */
const longestTimer = 2 ** 31 - 1

/**
 * It is over when the session has ended or the store has failed: who watches then begins another one.
 *
 * @internal
 */
export class Observation {
  private state: Seen = { _tag: "Nothing" }
  private readonly watchers = new Set<() => void>()
  private readonly told = Effect.runSync(Queue.sliding<void>(1))
  private fibers: ReadonlyArray<Fiber.RuntimeFiber<void>> = []
  private closed = false
  /** The newest revision that was learned since the store was asked last; -1 if none was. */
  private floor = -1
  /** The record as it was last known: a touch changes it as well, and is not told. */
  private record: SessionRecord | undefined

  constructor(private readonly target: Target, private readonly onClose: () => void) {
    this.record = target.record
  }

  get seen(): Seen {
    return this.state
  }

  /**
   * Starts asking. That outlives the watcher whose fiber is given, so it holds nothing of that request. Of its services it
   * keeps the app's handler of events alone: others may be a transaction or a span.
   */
  start(caller: Running): void {
    const fork = forkApart(caller, Context.make(SessionEvents, this.target.events))
    this.fibers = [this.telling, this.asking].map((effect) => fork(effect))
    if (this.closed) {
      this.interrupt()
    }
  }

  /** Calls `notify` whenever more is known. The answer ends that; when nobody is left, the store is not asked any more. */
  join(notify: () => void): () => void {
    this.watchers.add(notify)
    return () => {
      this.watchers.delete(notify)
      if (this.watchers.size === 0) {
        this.close()
      }
    }
  }

  /** Somebody in this process has read or written the session, later than the store was asked if the revision is higher. */
  learn(record: SessionRecord): void {
    this.floor = Math.max(this.floor, record.revision)
    if (this.state._tag === "Live" && record.revision > this.state.record.revision) {
      this.record = record
      this.become({ _tag: "Live", record })
    }
  }

  /** Asks now, because the session is said to have ended. */
  ask(): void {
    this.told.unsafeOffer(undefined)
  }

  private become(state: Seen): void {
    if (this.closed) {
      return
    }
    this.state = state
    if (state._tag === "Ended" || state._tag === "Failed") {
      this.close()
    }
    this.watchers.forEach((notify) => notify())
  }

  /** Nobody waits until the subscription is gone: a server that is down may take its time. */
  private close(): void {
    if (!this.closed) {
      this.closed = true
      this.onClose()
      this.interrupt()
    }
  }

  private interrupt(): void {
    this.fibers.forEach((fiber) => fiber.unsafeInterruptAsFork(fiber.id()))
  }

  /** The store's own word that something has changed. */
  private get telling(): Effect.Effect<void> {
    const { store: { watching }, token } = this.target
    const told = Effect.sync(() => this.ask())
    return watching === undefined ? told : this.orFail(() =>
      Effect.zipRight(
        Stream.runForEach(watching.changes(token), () => told),
        // An error holds on to whoever is on the stack when it is made, here the first watcher.
        Effect.failSync(() =>
          new Store.StoreError({
            reason: "Unavailable",
            method: "watch",
            description: "the store tells of no more changes"
          })
        )
      )
    )
  }

  /** Reads the session when its store tells of a change, and when it is time to. */
  private get asking(): Effect.Effect<void> {
    const { policy } = this.target
    const subscribed = Effect.timeoutFail(Queue.take(this.told), {
      duration: policy.storeTimeout,
      onTimeout: () => late("watch")
    })
    return this.orFail(() => Effect.zipRight(subscribed, this.again))
  }

  private get again(): Effect.Effect<void, Store.StoreError> {
    return Effect.withFiberRuntime((caller) => {
      this.floor = -1
      return Effect.flatMap(read(this.target, caller), (found) => {
        // It was on its way while something newer was learned: what is told must not go back.
        if ((found._tag === "Live" ? found.record.revision : -1) < this.floor) {
          return this.again
        }
        if (found._tag !== "Live") {
          // Another process may have shortened its life unseen.
          const expired = found._tag === "None" ? found.expired : undefined
          return Effect.map(
            endingOf({ ...this.target, record: expired ?? this.record }),
            (reason) => this.become({ _tag: "Ended", reason })
          )
        }
        const { record } = found
        this.record = record
        if (this.state._tag !== "Live" || this.state.record.revision !== record.revision) {
          this.become({ _tag: "Live", record })
        }
        return Effect.zipRight(
          Effect.timeoutOption(Queue.take(this.told), this.pause(record, nowOf(caller))),
          this.again
        )
      })
    })
  }

  /** How long the store need not be asked unless it tells. A touch moves the end of a session, and is not told. */
  private pause(record: SessionRecord, now: number): Duration.Duration {
    const { policy, store } = this.target
    const interval = store.watching?.complete === true ? longestTimer : policy.watchInterval
    return Duration.millis(Math.max(1, Math.min(interval, endsAt(record) - now)))
  }

  /** A failure is what the watchers are told. */
  private orFail(effect: () => Effect.Effect<void, Store.StoreError>): Effect.Effect<void> {
    return Effect.catchAll(
      contained("watch", effect),
      (error) => Effect.sync(() => this.become({ _tag: "Failed", error }))
    )
  }
}

/** Reads a session within the policy's time limit. It is no use of the session, which ends when it would have. @internal */
export const read = (
  { call, policy, store, token }: Target,
  caller: Running
): Effect.Effect<Store.Loaded, Store.StoreError> => {
  const loading = contained(
    "watch",
    () => timed(caller, "load", store.load(token, { ...call(nowOf(caller)), fresh: true }))
  )
  return Timeout.outcome(Timeout.start(caller, loading, policy.storeTimeout, () => {
    gaveUp(caller, "load", policy.storeTimeout)
    return late("watch")
  }))
}

/** How a session ended that its store no longer has. @internal */
export const endingOf = ({ call, policy, record, store, token }: Target): Effect.Effect<Ending> =>
  Effect.withFiberRuntime((caller) => {
    const { watching } = store
    const now = nowOf(caller)
    const unknown: Ending = record !== undefined && endsAt(record) <= now ? "expired" : "destroyed"
    return watching === undefined ?
      Effect.succeed(unknown) :
      contained("watch", () => watching.ending(token, call(now))).pipe(
        Effect.timeoutFail({ duration: policy.storeTimeout, onTimeout: () => late("watch") }),
        // It has ended, whether or not the store can say how.
        Effect.match({ onFailure: () => unknown, onSuccess: Option.getOrElse(() => unknown) })
      )
  })

/**
 * The observations of a store: two stores may give out the same tokens. Their keys are a token, its audience, and what a
 * policy says of asking, which may differ from route to route.
 */
const observations = new WeakMap<Store.Store, Map<string, Observation>>()

/** The observation of a session that is under way, or a new one. `notify` is called whenever more is known. @internal */
export const observe = (
  target: Target,
  caller: Running,
  notify: () => void
): { readonly observation: Observation; readonly leave: () => void } => {
  const { call, policy: { storeTimeout, watchInterval }, store, token } = target
  const known = observations.get(store) ?? new Map<string, Observation>()
  observations.set(store, known)
  const key = `${storeTimeout} ${watchInterval} ${call(0).audience} ${Redacted.value(token)}`
  const underway = known.get(key)
  if (underway !== undefined) {
    return { observation: underway, leave: underway.join(notify) }
  }
  const observation = new Observation(target, () => known.delete(key))
  known.set(key, observation)
  const leave = observation.join(notify)
  observation.start(caller)
  return { observation, leave }
}
