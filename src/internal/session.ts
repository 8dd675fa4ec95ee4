/**
 * One session in one request: the `Ref` that handlers hold, the load behind its first touch, and the commit. What is owed
 * is decided in `draft.ts`; here it is carried out. Knows transports only to ask them for tokens: what becomes of the
 * response is the middleware's.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Readable from "effect/Readable"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { HeadSent, SessionDataError, SessionGone } from "../SessionError.js"
import type * as SessionPolicy from "../SessionPolicy.js"
import type { Data, SessionRecord } from "../SessionRecord.js"
import * as SessionToken from "../SessionToken.js"
import type * as State from "../State.js"
import * as Store from "../Store.js"
import * as bounded from "./bounded.js"
import * as Draft from "./draft.js"
import * as Json from "./json.js"
import * as Lanes from "./lanes.js"
import * as metrics from "./metrics.js"

/** What a session is given of its surroundings. @internal */
export interface Environment {
  readonly store: Store.Store
  readonly policy: SessionPolicy.Policy
  readonly generator: (size: number) => Uint8Array
  readonly transports: ReadonlyArray<State.Transport>
  readonly request: HttpServerRequest.HttpServerRequest | undefined
  readonly scope: Scope.Scope | undefined
}

/** What the commit will do, or did. @internal */
export type Outcome =
  | Draft.Owed
  | { readonly _tag: "Gone" }
  | { readonly _tag: "RolledBack" }
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<unknown> }

/** A commit as it was asked for. @internal */
interface Order<B> {
  /** By the handler, so that what can't be done is its typed error. */
  readonly explicit: boolean
  /** Keep a new session even when nothing is in it. */
  readonly keepEmpty: boolean
  /** Carry out a removal alone. */
  readonly discarding: boolean
  /** Inside a transaction of the app's own, which holds what it read: a conflict is the app's to solve, by running it anew. */
  readonly single: boolean
  /** The last update, whose answer is the one that landed. */
  readonly last: ((draft: Draft.Draft) => readonly [B, Draft.Draft]) | undefined
}

/** What the client is to be told. @internal */
export interface Delivery {
  readonly token: SessionToken.Token
  readonly record: SessionRecord
}

/** A commit inside a transaction of the app's own that was open when it was made. */
interface Provisional {
  readonly key: object
  /** Whether it landed with the transaction. */
  readonly landed: Effect.Effect<boolean, Store.StoreError>
  /** What the session rested on before. */
  readonly before: {
    readonly base: Draft.Base | undefined
    readonly removing: ReadonlyArray<SessionToken.Token>
    readonly delivery: Delivery | undefined
  }
}

interface Found {
  readonly base: Draft.Base
  /** The transport that carried the token, and that answers. */
  readonly carrier: number
}

/** The most tokens of one request that are looked up. */
const maximumCandidates = 4

const unbound: Store.Binding = { audience: "", limit: Number.POSITIVE_INFINITY }

/** @internal */
export type CommitError = Store.StoreError | SessionGone | HeadSent

const refVariance = { _A: (value: Data) => value }

/** @internal */
export class SessionRef extends Effectable.Class<Data> implements Ref.Ref<Data> {
  readonly [Ref.RefTypeId] = refVariance as unknown as Ref.Ref.Variance<Data>[Ref.RefTypeId]
  readonly [Readable.TypeId]: Readable.TypeId = Readable.TypeId

  private asked = false
  private loader: Fiber.RuntimeFiber<Found, Store.StoreError> | undefined = undefined
  private base: Draft.Base | undefined = undefined
  private carrier = 0
  private candidates: ReadonlyArray<SessionToken.Token> = []
  private loadFailure: Store.StoreError | undefined = undefined
  private failureReported = false
  private arrivedLive = false

  private draft: Draft.Draft = Draft.empty
  private updates: Array<Draft.Update> = []
  private next: SessionToken.Token | undefined = undefined
  private renewing = false
  private removing: ReadonlyArray<SessionToken.Token> = []
  private ignoring = false
  private provisional: ReadonlyArray<Provisional> = []

  private attributes: State.Attributes | undefined = undefined
  private did: Outcome | undefined = undefined
  /** The last commit has begun: what is written from here on is saved by an explicit one alone. */
  private finishing = false
  private headSent = false
  private warning = false
  /** Raised by every `destroy`, so that a commit under way can tell that it was overtaken. */
  private ends = 0
  /** Where the commits of this request queue, the same for all of them. */
  private lane: unknown = undefined
  private attempting: Draft.Owed = nothing
  private conflicted = false

  /** The token to put into the response. */
  delivery: Delivery | undefined = undefined
  /** The client is to forget its token. */
  expiring = false
  /** The token was given to the handler, who may have put it into the body. */
  disclosed = false
  /** Why the commit failed. */
  commitFailure: Cause.Cause<unknown> | undefined = undefined

  constructor(private readonly environment: Environment) {
    super()
  }

  // ---------------------------------------------------------------------------------------------------------- the Ref

  get get(): Effect.Effect<Data> {
    return this.use(() => this.draft.data)
  }

  override commit(): Effect.Effect<Data> {
    return this.get
  }

  modify<B>(f: (data: Data) => readonly [B, Data]): Effect.Effect<B> {
    return this.change((draft) => {
      const [answer, data] = f(draft.data)
      return [answer, this.withData(draft, data)]
    })
  }

  /** Updates the draft and remembers how. */
  change<B>(f: (draft: Draft.Draft) => readonly [B, Draft.Draft]): Effect.Effect<B> {
    return this.watched(this.use(() => {
      const [answer, draft] = f(this.draft)
      this.draft = draft
      this.updates.push((draft) => f(draft)[1])
      return answer
    }))
  }

  /** After the last commit has begun, sees to it that what nothing saves is told. */
  private watched<A>(change: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.flatMap(
      change,
      (answer) => this.finishing ? Effect.as(this.warnWhenUnsaved, answer) : Exit.succeed(answer)
    )
  }

  /** The draft with other data: adopted, and within the policy's size. */
  withData(draft: Draft.Draft, data: unknown): Draft.Draft {
    if (data === draft.data) {
      return draft
    }
    const adopted = adopt(data)
    if (Json.size(adopted) > this.environment.policy.maxSize) {
      throw new SessionDataError({
        reason: "TooLarge",
        path: "",
        problem: `larger than the ${this.environment.policy.maxSize} characters that SessionPolicy's maxSize allows`
      })
    }
    return { ...draft, data: adopted }
  }

  /** Keys of values that their fields can't decode, not told yet. */
  misfits: ReadonlyArray<string> = noMisfits
  private knownMisfits: ReadonlyArray<string> = noMisfits

  noteMisfit(key: string): void {
    if (!this.knownMisfits.includes(key)) {
      this.knownMisfits = [...this.knownMisfits, key]
      this.misfits = [...this.misfits, key]
    }
  }

  /** Once a request and key, however often it is read. */
  get tellMisfits(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { misfits } = this
      this.misfits = noMisfits
      return Effect.forEach(misfits, (key) =>
        Effect.zipRight(
          metrics.rejected("invalid field"),
          Effect.annotateLogs(
            Effect.logWarning("a session's value does not fit its field's schema, and counts as missing"),
            "session.field",
            key
          )
        ), { discard: true })
    })
  }

  override toString(): string {
    return `Session(${this.printableId})`
  }

  toJSON(): unknown {
    return { _id: "Session", id: this.printableId }
  }

  [NodeInspectSymbol](): unknown {
    return this.toJSON()
  }

  private get printableId(): string {
    return this.base?._tag === "Live" ? this.base.record.id ?? SessionToken.unsafeToId(this.base.token) ?? "" : "none"
  }

  // --------------------------------------------------------------------------------------------------------- the load

  /** Whether anything asked for the session, so that the response depends on it. */
  get touched(): boolean {
    return this.asked
  }

  /** The transports that were read to find the session, for `Vary`. */
  get consulted(): ReadonlyArray<State.Transport> {
    // Where none carried a token, all of them were asked for one.
    const found = this.base !== undefined && this.candidates.length > 0
    return this.environment.transports.slice(0, found ? this.carrier + 1 : undefined)
  }

  /** The transport that answers. */
  get transport(): State.Transport | undefined {
    return this.environment.transports[this.carrier]
  }

  /** Runs on the loaded session, loading it first if nothing did; dies of a load that failed. */
  use<A>(f: () => A): Effect.Effect<A> {
    return Effect.withFiberRuntime<A>((caller) =>
      this.base === undefined || this.loadFailure !== undefined || this.provisional.length > 0
        ? Effect.map(Effect.orDie(Effect.zipRight(this.ready(caller), this.settled)), f)
        : Exit.succeed(f())
    )
  }

  /** The load, its failure typed. */
  get load(): Effect.Effect<Data, Store.StoreError> {
    return Effect.withFiberRuntime<Data, Store.StoreError>((caller) =>
      Effect.map(this.ready(caller), () => this.draft.data)
    )
  }

  /** Loads the session, if nothing did, and waits for it. */
  private ready(caller: bounded.Caller): Effect.Effect<void, Store.StoreError> {
    if (this.loader !== undefined || this.base !== undefined || this.loadFailure !== undefined) {
      return this.loaded
    }
    this.asked = true
    const find = bounded.contained(this.find, "load")
    if (this.atOnce) {
      const found = Effect.matchCause(find, {
        onFailure: (cause) => this.settle(Exit.failCause(cause)),
        onSuccess: (found) => this.settle(Exit.succeed(found))
      })
      return Effect.zipRight(Effect.uninterruptible(found), this.loaded)
    }
    const loader = bounded.start(caller, find, this.environment.policy.storeTimeout, "load")
    this.loader = loader
    const exit = loader.unsafePoll()
    if (exit !== null) {
      this.settle(exit)
    } else {
      loader.addObserver((exit) => this.settle(exit))
    }
    return this.loaded
  }

  /** Whether neither the store nor what carries the token suspends: then a fiber and a timer of their own are spared. */
  private get atOnce(): boolean {
    const { store, transports } = this.environment
    return store.synchronous === true && transports.every((transport) => transport.synchronous === true)
  }

  private settle(exit: Exit.Exit<Found, Store.StoreError>): void {
    if (this.base !== undefined || this.loadFailure !== undefined) {
      return
    }
    if (Exit.isSuccess(exit)) {
      const { base, carrier } = exit.value
      this.carrier = carrier
      this.arrivedLive = base._tag === "Live"
      this.base = base
      this.draft = Draft.replay(this.updates, Draft.draftOf(base))
      return
    }
    this.loadFailure = Option.getOrElse(
      Cause.failureOption(exit.cause),
      () => new Store.StoreError({ reason: "Unavailable", method: "load" })
    )
    if (this.environment.policy.onStoreFailure === "anonymous") {
      this.base = Draft.detached
    }
  }

  /** Waits for the load; its failure is reported once, however many wait. */
  private get loaded(): Effect.Effect<void, Store.StoreError> {
    const settled = Effect.suspend((): Effect.Effect<void, Store.StoreError> => {
      const failure = this.loadFailure
      if (failure === undefined) {
        return Effect.void
      }
      const answer = this.base === undefined ? Effect.fail(failure) : Effect.void
      if (this.failureReported) {
        return answer
      }
      this.failureReported = true
      return Effect.zipRight(report(failure, "the session could not be loaded"), answer)
    })
    return this.loader === undefined || bounded.isDone(this.loader)
      ? settled
      : Effect.zipRight(Effect.exit(bounded.outcome(this.loader)), settled)
  }

  /** The first transport that carries a token of this store's form, and what its tokens name. */
  private get find(): Effect.Effect<Found, Store.StoreError> {
    const { request, transports } = this.environment
    const from = (carrier: number): Effect.Effect<Found, Store.StoreError> => {
      const transport = transports[carrier]
      if (transport === undefined || request === undefined) {
        return Effect.succeed({ base: Draft.fresh, carrier: 0 })
      }
      return Effect.flatMap(transport.extract(request), (tokens) => {
        if (tokens.length === 0) {
          return from(carrier + 1)
        }
        const accepted = distinct(tokens.filter(this.environment.store.accepts))
        this.candidates = accepted
        return accepted.length === 0
          ? Effect.zipRight(metrics.rejected("malformed"), from(carrier + 1))
          : Effect.map(this.lookUp(accepted, transport, 0, false), (base) => ({ base, carrier }))
      })
    }
    return Effect.suspend(() => from(0))
  }

  private lookUp(
    tokens: ReadonlyArray<SessionToken.Token>,
    binding: Store.Binding,
    index: number,
    superseded: boolean
  ): Effect.Effect<Draft.Base, Store.StoreError> {
    const token = tokens[index]
    if (token === undefined) {
      return Effect.as(
        metrics.rejected(superseded ? "superseded" : "unknown"),
        superseded ? Draft.ended : Draft.fresh
      )
    }
    return Effect.flatMap(this.environment.store.load(token, binding), (found) =>
      found._tag === "Live"
        ? Effect.succeed<Draft.Base>({ _tag: "Live", token, record: found.record })
        : this.lookUp(tokens, binding, index + 1, superseded || found._tag === "Superseded"))
  }

  // -------------------------------------------------------------------------------------------------------- the verbs

  get id(): Effect.Effect<SessionToken.SessionId> {
    return Effect.flatten(this.use(() => {
      const base = this.base
      if (base?._tag === "Live" && !this.renewing) {
        return base.record.id !== undefined ? Effect.succeed(base.record.id) : SessionToken.toId(base.token)
      }
      return SessionToken.toId(this.nextToken())
    }))
  }

  get isNew(): Effect.Effect<boolean> {
    return this.use(() => !this.arrivedLive)
  }

  get renew(): Effect.Effect<void> {
    return this.watched(this.use(() => {
      if (!this.renewing) {
        this.renewing = true
        this.next = undefined
      }
      this.draft = Draft.renewed(this.draft)
      this.updates.push(Draft.renewed)
    }))
  }

  get destroy(): Effect.Effect<void> {
    return this.watched(this.use(() => {
      this.ends += 1
      if (this.base?._tag === "Live") {
        this.removing = [...this.removing, this.base.token]
      } else if (this.loadFailure !== undefined) {
        this.removing = this.candidates
      }
      if (this.base?._tag !== "Ended") {
        this.expiring = true
      }
      if (this.base?._tag === "Live") {
        this.base = Draft.fresh
      }
      this.arrivedLive = false
      this.delivery = undefined
      this.draft = Draft.empty
      this.updates = []
      this.renewing = false
      this.next = undefined
    }))
  }

  get ignoreChanges(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.ignoring = true
    })
  }

  expireIn(duration: Duration.DurationInput): Effect.Effect<void> {
    return Effect.clockWith((clock) => {
      const idle = Math.min(Duration.toMillis(duration), longestBound)
      if (!(idle > 0)) {
        return Effect.dieMessage("Session.expireIn: write a duration above zero; Session.destroy ends a session now")
      }
      const bound = { at: clock.unsafeCurrentTimeMillis() + idle, idle }
      return this.change((draft) => [undefined, { ...draft, bound }])
    })
  }

  get save(): Effect.Effect<void, CommitError> {
    return Effect.asVoid(this.order({ ...explicitly, keepEmpty: true }))
  }

  transaction<B>(
    f: (draft: Draft.Draft) => readonly [B, Draft.Draft]
  ): Effect.Effect<B, Store.StoreError | SessionGone> {
    return Effect.catchTag(this.order({ ...explicitly, last: f }), "HeadSent", () => Effect.fail(new SessionGone()))
  }

  get reload(): Effect.Effect<Data, Store.StoreError | SessionGone> {
    return Effect.withFiberRuntime<Data, Store.StoreError | SessionGone>((caller) => {
      const { policy, store } = this.environment
      if (this.loadFailure !== undefined) {
        this.loader = undefined
        this.base = undefined
        this.loadFailure = undefined
        this.failureReported = false
      }
      const again = Effect.suspend((): Effect.Effect<Data, Store.StoreError | SessionGone> => {
        const base = this.base
        if (base?._tag === "Ended") {
          return Effect.fail(new SessionGone())
        }
        if (base?._tag !== "Live") {
          return Effect.succeed(this.draft.data)
        }
        const call = bounded.contained(store.load(base.token, this.binding), "reload")
        return Effect.flatMap(
          bounded.outcome(bounded.start(caller, call, policy.storeTimeout, "reload")),
          (found): Effect.Effect<Data, SessionGone> => {
            if (found._tag !== "Live") {
              this.base = Draft.ended
              return Effect.fail(new SessionGone())
            }
            this.rebase(base.token, found.record)
            return Effect.succeed(this.draft.data)
          }
        )
      })
      return Effect.zipRight(Effect.zipRight(this.ready(caller), this.settled), again)
    })
  }

  get token(): Effect.Effect<SessionToken.Token, CommitError> {
    return Effect.flatMap(this.save, () => {
      if (this.base?._tag !== "Live") {
        return Effect.fail(new SessionGone())
      }
      this.disclosed = true
      return Effect.succeed(this.base.token)
    })
  }

  get outcome(): Effect.Effect<Outcome> {
    return Effect.clockWith((clock) =>
      Effect.map(
        Effect.ignore(this.settled),
        () => {
          const owed = this.base === undefined || this.finishing
            ? nothing
            : this.owed(this.draft, automatic(this.ignoring), clock)
          return owed._tag === "Nothing" ? this.did ?? owed : owed
        }
      )
    )
  }

  /** Makes a session that was seeded for a test one that the request came with. */
  get forgetSeed(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.arrivedLive = true
      this.did = undefined
    })
  }

  setAttributes(attributes: State.Attributes): Effect.Effect<void> {
    return Effect.sync(() => {
      this.attributes = { ...this.attributes, ...attributes }
    })
  }

  /** What a transport is told of the session it delivers. */
  emission(record: SessionRecord, now: number): State.Emission {
    return {
      now,
      endsAt: Math.min(record.deadline, record.expiresAt),
      persistent: record.persistent === true,
      attributes: this.attributes
    }
  }

  get emissionAttributes(): State.Attributes | undefined {
    return this.attributes
  }

  // ------------------------------------------------------------------------------------------------------- the commit

  /**
   * The commit at the end of the request. Never fails and does its work once: the platform may call for it again after a
   * response of its own could not be written.
   */
  finish(status: number): Effect.Effect<void> {
    if (this.finishing) {
      return Effect.void
    }
    this.finishing = true
    const discarding = this.ignoring || status >= 500 || status === clientClosedRequest
    return Effect.clockWith((clock) => {
      if (
        this.base !== undefined && this.provisional.length === 0 &&
        this.owed(this.draft, automatic(discarding), clock)._tag === "Nothing"
      ) {
        this.headSent = true
        return this.lostNothing ? Effect.void : this.lost
      }
      return this.order(automatic(discarding)).pipe(
        Effect.catchAllCause((cause) => this.failed(cause)),
        Effect.zipRight(Effect.sync(() => {
          this.headSent = true
        }))
      )
    })
  }

  /** The head leaves, and nothing asked for the session by then. */
  leaveUntouched(): void {
    this.finishing = true
    this.headSent = true
  }

  private failed(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    const reported = error !== undefined && error === this.loadFailure
    // Nothing of the client's is lost by it: the next request extends the session as well.
    if (this.attempting._tag === "Touch" && !reported) {
      return Store.isStoreError(error)
        ? report(error, "a session could not be touched")
        : Effect.logError("a session could not be touched", cause)
    }
    this.commitFailure = cause
    this.did = { _tag: "Failed", cause }
    // While the record may be there, the client needs its token to try again.
    this.expiring = this.expiring && this.removing.length === 0
    if (reported) {
      return Effect.void
    }
    return Store.isStoreError(error)
      ? report(error, "a session could not be committed")
      : Effect.logError("a session could not be committed", cause)
  }

  private get binding(): Store.Binding {
    return this.transport ?? unbound
  }

  private nextToken(): SessionToken.Token {
    if (this.next === undefined) {
      const kin = this.base?._tag === "Live" ? this.base.token : undefined
      this.next = SessionToken.draw(this.environment.generator, kin)
    }
    return this.next
  }

  private owed(draft: Draft.Draft, order: Order<unknown>, clock: Clock.Clock): Draft.Owed {
    return Draft.decide(
      {
        base: this.base ?? Draft.fresh,
        draft,
        removing: this.removing.length > 0,
        renewing: this.renewing,
        discarding: order.discarding,
        explicit: order.keepEmpty && !this.expiring
      },
      clock.unsafeCurrentTimeMillis(),
      this.environment.policy
    )
  }

  /**
   * Queues a commit behind those of the same session in this process, and waits for it. One inside a transaction of the
   * app's own does not queue: it holds the record until that transaction ends, and may have to wait for it itself.
   */
  private order<B>(order: Order<B>): Effect.Effect<B, CommitError> {
    return Effect.withFiberRuntime<B, CommitError>((caller) => {
      const { policy, store } = this.environment
      const queued = Effect.suspend(() => {
        this.lane ??= this.base?._tag === "Live"
          ? this.base.record.id ?? SessionToken.unsafeToId(this.base.token) ?? this
          : this
        const commit = Lanes.inTurn(store, this.lane, (lane) => this.carryOut(order, lane))
        return this.atOnce
          ? Effect.uninterruptible(commit)
          : bounded.outcome(bounded.start(caller, commit, policy.storeTimeout, "commit", () => this.contended))
      })
      const run = store.transaction === undefined ? queued : Effect.flatMap(
        store.transaction,
        Option.match({
          onNone: () => Effect.zipRight(this.settled, queued),
          onSome: (transaction) =>
            bounded.outcome(
              bounded.start(
                caller,
                this.carryOutWithin(order, transaction),
                policy.storeTimeout,
                "commit"
              )
            )
        })
      )
      return this.base !== undefined && this.loadFailure === undefined ? run : Effect.zipRight(this.ready(caller), run)
    })
  }

  private carryOutWithin<B>(
    order: Order<B>,
    transaction: Store.Transaction<Store.StoreError>
  ): Effect.Effect<B, CommitError> {
    return Effect.zipRight(
      this.settled,
      Effect.suspend(() => {
        const before = { base: this.base, removing: this.removing, delivery: this.delivery }
        return Effect.tap(
          this.attempt({ ...order, single: true }, { landed: undefined }),
          () =>
            this.base === before.base && this.removing === before.removing
              ? Effect.void
              : Effect.map(transaction.mark, (landed) => {
                this.provisional = [...this.provisional, { key: transaction.key, landed, before }]
              })
        )
      })
    )
  }

  /**
   * Learns how transactions ended that commits were made in: what one took back is taken back here, its updates with it.
   * Inside a transaction nothing that stands is final yet, since one around it may still be taken back.
   */
  private get settled(): Effect.Effect<void, Store.StoreError> {
    const { policy, store } = this.environment
    if (this.provisional.length === 0 || store.transaction === undefined) {
      return Effect.void
    }
    return Effect.flatMap(store.transaction, (open) => this.settleWithin(Option.getOrUndefined(open)?.key)).pipe(
      Effect.timeoutFail({
        duration: policy.storeTimeout,
        onTimeout: () => new Store.StoreError({ reason: "Timeout", method: "transaction" })
      })
    )
  }

  private settleWithin(open: object | undefined): Effect.Effect<void, Store.StoreError> {
    const newest = this.provisional.at(-1)
    if (newest === undefined || newest.key === open) {
      return Effect.void
    }
    return Effect.flatMap(newest.landed, (landed) => {
      if (landed) {
        this.provisional = open === undefined ? [] : this.provisional
        return Effect.void
      }
      this.provisional = this.provisional.slice(0, -1)
      this.base = newest.before.base
      this.removing = newest.before.removing
      this.delivery = newest.before.delivery
      this.renewing = false
      this.next = undefined
      this.draft = Draft.replay(this.updates, Draft.draftOf(this.base ?? Draft.fresh))
      this.did = { _tag: "RolledBack" }
      return this.settleWithin(open)
    })
  }

  private carryOut<B>(order: Order<B>, lane: Lanes.Lane): Effect.Effect<B, CommitError> {
    const base = this.base
    const ahead = lane.landed
    if (ahead !== undefined && base?._tag === "Live" && ahead.record.revision > base.record.revision) {
      this.rebase(base.token, ahead.record)
    }
    return this.attempt(order, lane)
  }

  private get contended(): "Contention" | "Timeout" {
    return this.conflicted ? "Contention" : "Timeout"
  }

  private attempt<B>(order: Order<B>, lane: Lanes.Lane, tries = 1): Effect.Effect<B, CommitError> {
    return Effect.clockWith((clock) => {
      const { policy, store } = this.environment
      const base = this.base ?? Draft.fresh
      const count = this.updates.length
      const [answer, draft] = order.last === undefined ? [undefined as B, this.draft] : order.last(this.draft)
      const owed = this.owed(draft, order, clock)
      const { ends } = this
      this.attempting = owed
      const now = clock.unsafeCurrentTimeMillis()
      const again = Effect.suspend(() => this.attempt(order, lane, tries + 1))
      const landed = (token: SessionToken.Token, record: SessionRecord, sending: boolean) =>
        ends === this.ends
          ? Effect.map(this.land(token, record, { count, owed, sending, lane }), () => answer)
          : this.overtaken(token, again)

      switch (owed._tag) {
        case "Nothing": {
          if (base._tag === "Detached") {
            this.draft = draft
          } else if (base._tag === "Ended" && order.explicit) {
            return Effect.fail(new SessionGone())
          }
          return Effect.succeed(answer)
        }
        case "Remove": {
          const removals = Effect.forEach(this.removing, (token) => ask(() => store.remove(token, this.binding)), {
            discard: true
          })
          return Effect.zipRight(
            Effect.tap(removals, () => {
              this.removing = []
              this.did = owed
              return metrics.destroyed
            }),
            again
          )
        }
        case "Create": {
          if (this.headSent) {
            return Effect.fail(new HeadSent())
          }
          const token = this.nextToken()
          const record = Draft.toRecord(Draft.fresh, draft, now, policy, false)
          return Effect.flatMap(ask(() => store.create(token, record, this.binding)), (result) => {
            switch (result._tag) {
              case "Created":
                return Effect.zipRight(metrics.created, landed(result.token, record, true))
              case "Exists":
                this.next = undefined
                return tries < maximumDraws ? again : Effect.fail(repeating)
              case "NotKept":
                this.base = Draft.detached
                this.draft = draft
                return Effect.succeed(answer)
            }
          })
        }
        case "Update": {
          if (base._tag !== "Live") {
            return Effect.succeed(answer)
          }
          const record = Draft.toRecord(base, draft, now, policy, false)
          const moved = record.deadline - base.record.deadline >= policy.touchInterval || draft.bound !== undefined
          const call = ask(() => store.update(base.token, base.record.revision, record, this.binding))
          return Effect.flatMap(call, (result) => {
            switch (result._tag) {
              case "Updated":
                return landed(
                  result.token,
                  { ...record, revision: result.revision },
                  moved && this.carriesExpiry(record)
                )
              case "Conflict":
                return order.single
                  ? this.refused(ends, count, base.token, result.record)
                  : this.replayed(ends, base.token, result.record, again)
              case "Gone":
                this.base = Draft.ended
                return order.explicit ? Effect.fail(new SessionGone()) : Effect.as(this.lost, answer)
            }
          })
        }
        case "Renew": {
          if (base._tag !== "Live") {
            return Effect.succeed(answer)
          }
          if (this.headSent) {
            return Effect.fail(new HeadSent())
          }
          const next = this.nextToken()
          const record = Draft.toRecord(base, draft, now, policy, true)
          const call = ask(() => store.renew(base.token, base.record.revision, next, record, this.binding))
          return Effect.flatMap(call, (result) => {
            switch (result._tag) {
              case "Updated":
                return Effect.zipRight(
                  metrics.renewed,
                  landed(result.token, { ...record, revision: result.revision }, true)
                )
              case "Conflict":
                return order.single
                  ? this.refused(ends, count, base.token, result.record)
                  : this.replayed(ends, base.token, result.record, again)
              case "Gone":
                // A login: it begins a session of this request's own updates, whatever became of the old one.
                this.base = Draft.ended
                this.draft = Draft.replay(this.updates, Draft.empty)
                return again
            }
          })
        }
        case "Touch": {
          if (base._tag !== "Live") {
            return Effect.succeed(answer)
          }
          const { deadline } = owed
          return Effect.flatMap(
            ask(() => store.touch(base.token, base.record.revision, deadline, this.binding)),
            (result) =>
              result._tag === "Touched"
                ? landed(result.token, { ...base.record, deadline, touchedAt: now }, this.carriesExpiry(base.record))
                : Effect.succeed(answer)
          )
        }
      }
    })
  }

  private replayed<B>(
    ends: number,
    token: SessionToken.Token,
    record: SessionRecord,
    again: Effect.Effect<B, CommitError>
  ): Effect.Effect<B, CommitError> {
    this.conflicted = true
    if (ends === this.ends) {
      this.rebase(token, record)
    }
    return Effect.zipRight(metrics.conflict, again)
  }

  /**
   * A conflict inside a transaction of the app's own: what was to be committed fails as by a rollback, its updates with it.
   * Run anew, the transaction finds the fresh record and makes them again.
   */
  private refused(
    ends: number,
    count: number,
    token: SessionToken.Token,
    record: SessionRecord
  ): Effect.Effect<never, Store.StoreError> {
    if (ends === this.ends) {
      this.updates = this.updates.slice(count)
      this.renewing = false
      this.rebase(token, record)
      this.did = { _tag: "RolledBack" }
    }
    return Effect.zipRight(metrics.conflict, Effect.fail(changedMeanwhile))
  }

  /** Destroyed while it was being written: what landed is removed as well. */
  private overtaken<B>(token: SessionToken.Token, again: Effect.Effect<B, CommitError>): Effect.Effect<B, CommitError> {
    this.removing = [...this.removing, token]
    return again
  }

  private carriesExpiry(record: SessionRecord): boolean {
    return this.transport?.persistent === true || record.persistent === true ||
      this.attributes?.maxAge !== undefined || this.attributes?.expires !== undefined
  }

  /** What was written is now what the session rests on; updates made meanwhile stay ahead of it. */
  private land(
    token: SessionToken.Token,
    record: SessionRecord,
    { count, lane, owed, sending }: {
      readonly count: number
      readonly owed: Draft.Owed
      readonly sending: boolean
      readonly lane: Lanes.Lane
    }
  ): Effect.Effect<void, HeadSent | Store.StoreError> {
    const arrived = this.base?._tag === "Live" ? this.base.token : undefined
    const changedToken = arrived === undefined || !sameToken(arrived, token)
    if (changedToken && this.headSent) {
      return Effect.fail(new HeadSent())
    }
    if (Redacted.value(token).length > this.binding.limit) {
      return Effect.fail(
        new Store.StoreError({
          reason: "TooLarge",
          method: "commit",
          description: `the token takes ${Redacted.value(token).length} bytes, ${this.binding.limit} fit`
        })
      )
    }
    const drawn = this.next
    this.updates = this.updates.slice(count)
    if (owed._tag === "Create" || owed._tag === "Renew") {
      this.renewing = false
      this.next = undefined
    }
    this.did = owed
    const settle = (record: SessionRecord) => {
      this.base = { _tag: "Live", token, record }
      this.draft = Draft.replay(this.updates, Draft.fromRecord(record))
      if (owed._tag === "Update") {
        lane.landed = { record }
      }
      if (sending || changedToken) {
        this.delivery = { token, record }
      }
    }
    // A store whose token is the data names the session by the token that was drawn for it.
    if (drawn !== undefined && (owed._tag === "Create" || owed._tag === "Renew") && !sameToken(drawn, token)) {
      return Effect.map(SessionToken.toId(drawn), (id) => settle({ ...record, id }))
    }
    settle(record)
    return Effect.void
  }

  /** Puts all that was not written on top of what another request left. */
  private rebase(token: SessionToken.Token, record: SessionRecord): void {
    this.base = { _tag: "Live", token, record }
    this.draft = Draft.replay(this.updates, Draft.fromRecord(record))
  }

  private get lostNothing(): boolean {
    return this.ignoring || this.base?._tag !== "Ended" || !Draft.isChanged(Draft.ended, this.draft)
  }

  /** Changes to a session that is over: it stays gone. */
  private get lost(): Effect.Effect<void> {
    this.did = { _tag: "Gone" }
    return Effect.zipRight(
      metrics.gone,
      Effect.logDebug("changes to a session that is over were dropped: it was destroyed, renewed or expired")
    )
  }

  private get unsaved(): boolean {
    return this.base !== undefined && !this.ignoring &&
      (this.removing.length > 0 || this.renewing || Draft.isChanged(this.base, this.draft))
  }

  /** An update made after the response head left is saved by an explicit commit, or by nothing. */
  private get warnWhenUnsaved(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { scope } = this.environment
      if (this.warning) {
        return Effect.void
      }
      this.warning = true
      const warn = Effect.suspend(() => {
        this.warning = false
        return this.unsaved
          ? Effect.zipRight(
            metrics.unsaved,
            Effect.logWarning(
              "a session was updated after the response head left, and not committed: run Session.commit"
            )
          )
          : Effect.void
      })
      return scope === undefined ? warn : Scope.addFinalizer(scope, warn)
    })
  }
}

const nothing: Draft.Owed = { _tag: "Nothing" }

const noMisfits: ReadonlyArray<string> = []

/** The longest a cookie can be kept (RFC 6265bis), and so a session's bound. */
const longestBound = Duration.toMillis(Duration.days(400))

/** What the platform answers for a client that went away. */
const clientClosedRequest = 499

/** A store call of a commit: its defect is a failure, where one of the handler's own functions stays a defect. */
const ask = <A>(call: () => Effect.Effect<A, Store.StoreError>): Effect.Effect<A, Store.StoreError> =>
  bounded.contained(Effect.suspend(call), "commit")

/** How often a token is drawn for a session, when the drawn one is taken. */
const maximumDraws = 3

const repeating = new Store.StoreError({
  reason: "Unavailable",
  method: "create",
  description: "every token that was drawn is taken: the generator of tokens repeats itself"
})

const changedMeanwhile = new Store.StoreError({
  reason: "Contention",
  method: "commit",
  description: "another request changed the session first: run the transaction that this commit is part of again"
})

const explicitly = { explicit: true, keepEmpty: false, discarding: false, single: false, last: undefined } as const

const automatic = (discarding: boolean): Order<void> => ({
  explicit: false,
  keepEmpty: false,
  discarding,
  single: false,
  last: undefined
})

const sameToken = (a: SessionToken.Token, b: SessionToken.Token): boolean =>
  a === b || Redacted.value(a) === Redacted.value(b)

const distinct = (tokens: ReadonlyArray<SessionToken.Token>): ReadonlyArray<SessionToken.Token> =>
  tokens.length === 1
    ? tokens
    : tokens.filter((token, index) => tokens.findIndex((other) => sameToken(other, token)) === index)
      .slice(0, maximumCandidates)

const report = (error: Store.StoreError, what: string): Effect.Effect<void> =>
  Effect.zipRight(metrics.storeFailed(error.method), Effect.logError(what, Cause.fail(error)))

const adopt = (data: unknown): Data => {
  try {
    return Json.adoptObject(data)
  } catch (error) {
    if (error instanceof Json.NotJson) {
      throw new SessionDataError({ reason: "NotJson", path: error.path, problem: `${error.problem} is not JSON` })
    }
    throw error
  }
}

/** The session behind the `Ref` of a tag. @internal */
export const fromRef = (ref: Ref.Ref<Data>): Effect.Effect<SessionRef> =>
  ref instanceof SessionRef
    ? Effect.succeed(ref)
    : Effect.dieMessage(
      "this Ref is not a session: provide one by HttpMiddleware.session, or by Session.layerTest in a test"
    )

/** @internal */
export const setAttributes = (ref: Ref.Ref<Data>, attributes: State.Attributes): Effect.Effect<void> =>
  Effect.flatMap(fromRef(ref), (session) => session.setAttributes(attributes))

/** @internal */
export const transport = (ref: Ref.Ref<Data>): Effect.Effect<State.Transport | undefined> =>
  Effect.map(fromRef(ref), (session) => session.transport)
