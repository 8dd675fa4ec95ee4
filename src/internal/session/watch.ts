/**
 * The session of a request as its store has it, now and whenever it changes. Decides which session is watched: this
 * request may begin, renew or destroy it meanwhile. What the store says of it is in `observation.ts`.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Ending } from "../../SessionError.js"
import { SessionGone } from "../../SessionError.js"
import type { Data, SessionRecord } from "../../SessionRecord.js"
import type { Token } from "../../SessionToken.js"
import type { StoreError } from "../../Store.js"
import type { Running } from "../runtime/caller.js"
import type { Incarnation, Open } from "./model.js"
import type { Observation, Target } from "./observation.js"
import { endingOf, observe, read } from "./observation.js"
import type { SessionState } from "./state.js"
import { callOf, sameToken } from "./state.js"
import { learnEndings } from "./transactions.js"

type Failure = SessionGone | StoreError

/** What is told next, or `undefined` while there is nothing to tell. */
type Next = Effect.Effect<Data, Failure> | undefined

/** The session that is watched. */
interface Followed {
  readonly token: Token
  /** Which of this request's sessions it is. */
  readonly incarnation: Incarnation
  /** The token that the request's session had when this one began to be watched. */
  readonly from: Token
  readonly observation: Observation
  readonly leave: () => void
}

/**
 * The data of a session that is loaded. It reads the store and changes nothing of what the request is to save.
 *
 * @internal
 */
export const watch = (state: SessionState): Stream.Stream<Data, Failure> =>
  Stream.unwrapScoped(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => new Watch(state)),
        (watch) => Effect.sync(() => watch.close())
      ),
      (watch) => Stream.repeatEffect(watch.next)
    )
  )

class Watch {
  private followed: Followed | undefined = undefined
  /** What was told last: a record, or that there is none. */
  private told: SessionRecord | "none" | undefined = undefined
  /** The record of this request that the observation was told of last. */
  private shared: SessionRecord | undefined = undefined
  private wake: () => void = () => {}
  private readonly notify = (): void => this.wake()
  private readonly leave: () => void

  constructor(private readonly state: SessionState) {
    this.leave = state.onChange(this.notify)
  }

  close(): void {
    this.leave()
    this.followed?.leave()
  }

  /**
   * Waits for what is not told yet. Each watcher waits by a promise that it makes itself: on Cloudflare Workers, a request
   * hangs if its fiber is resumed inside another request's continuation.
   */
  get next(): Effect.Effect<Data, Failure> {
    return Effect.withFiberRuntime<Data, Failure>((caller) => {
      // It is made before anything is looked at, so that nothing is missed in between.
      const woken = new Promise<void>((resolve) => {
        this.wake = resolve
      })
      return this.look(caller) ?? Effect.zipRight(Effect.promise(() => woken), this.next)
    })
  }

  private look(caller: Running): Next {
    const { value } = this.state
    switch (value._tag) {
      case "Open":
        return this.followed === undefined
          ? this.begin(caller, this.state.settled)
          : this.goOn(caller, this.state.settled, this.followed)
      case "Failed":
        return Effect.fail(value.failure)
      default:
        return undefined
    }
  }

  private begin(caller: Running, open: Open): Next {
    const { base, draft } = open
    switch (base._tag) {
      case "Live":
        return this.follow(caller, open, base.token, base.record)
      case "Ended":
        return Effect.flatMap(
          base.token === undefined
            ? Effect.succeed("destroyed" as const)
            : endingOf(this.target(base.token, base.record)),
          gone
        )
      case "Fresh":
        return this.tell("none", draft.data)
      case "Detached":
        return base.failure === undefined ? this.tell("none", draft.data) : Effect.fail(base.failure)
    }
  }

  private goOn(caller: Running, open: Open, followed: Followed): Next {
    const { base } = open
    const { from, incarnation, observation, token } = followed
    if (open.incarnation !== incarnation) {
      const isRemoved = !open.removing.some((removing) => sameToken(removing.token, token))
      return isRemoved ? gone("destroyed") : this.hear(followed)
    }
    if (base._tag === "Live") {
      if (!sameToken(base.token, token) && !sameToken(base.token, from)) {
        return this.follow(caller, open, base.token, base.record)
      }
      if (sameToken(base.token, token)) {
        this.share(observation, base.record)
      }
    } else if (base._tag === "Ended") {
      observation.ask()
    }
    return this.hear(followed)
  }

  /** Goes on with the session of a token, which is that of the request or the one that it is about to become. */
  private follow(caller: Running, { base, incarnation }: Open, token: Token, record: SessionRecord): Next {
    const observed = observe(this.target(token, record), caller, this.notify)
    this.followed?.leave()
    this.followed = { ...observed, token, incarnation, from: base._tag === "Live" ? base.token : token }
    this.share(observed.observation, record)
    return this.hear(this.followed)
  }

  /** Tells what this request read or wrote, once: the store may have gone back to an earlier revision since. */
  private share(observation: Observation, record: SessionRecord): void {
    if (this.shared !== record) {
      this.shared = record
      observation.learn(record)
    }
  }

  private hear(followed: Followed): Next {
    const { seen } = followed.observation
    switch (seen._tag) {
      case "Nothing":
        return undefined
      case "Live":
        return this.tell(seen.record, seen.record.data)
      case "Failed":
        return Effect.fail(seen.error)
      case "Ended":
        return this.end(followed, seen.reason)
    }
  }

  private tell(what: SessionRecord | "none", data: Data): Next {
    if (this.told === what) {
      return undefined
    }
    this.told = what
    return Effect.succeed(data)
  }

  /** The session ended, unless this request has given it another token, or is about to hear that it has. */
  private end({ from, incarnation, token }: Followed, reason: Ending): Effect.Effect<Data, Failure> {
    const { state } = this
    return Effect.flatMap(learnEndings(state), () => {
      const { open: { next }, settled: open } = state
      const { base } = open
      if (open.incarnation !== incarnation) {
        return gone(reason)
      }
      if (base._tag === "Live" && !sameToken(base.token, token) && !sameToken(base.token, from)) {
        return this.next
      }
      if (reason !== "renewed" || next === undefined || sameToken(next, token)) {
        return gone(reason)
      }
      return Effect.withFiberRuntime<Data, Failure>((caller) =>
        Effect.flatMap(read(this.target(next, undefined), caller), (found) =>
          found._tag === "Live"
            ? this.follow(caller, open, next, found.record) ?? this.next
            : gone(reason))
      )
    })
  }

  private target(token: Token, record: SessionRecord | undefined): Target {
    const { environment: { events, policy, store }, transport } = this.state
    return { store, policy, events, token, record, call: (now) => callOf(transport, now) }
  }
}

const gone = (reason: Ending): Effect.Effect<never, SessionGone> => Effect.fail(new SessionGone({ reason }))
