/**
 * One session in one request: the `Ref` that handlers hold, the load behind its first touch, and the commit. What is owed
 * is decided in `draft.ts`; here it is carried out. Knows transports only to ask them for tokens: what becomes of the
 * response is the middleware's.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Readable from "effect/Readable"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { HeadSent, SessionDataError, SessionGone } from "../SessionError.js"
import type { Data, SessionRecord } from "../SessionRecord.js"
import * as SessionToken from "../SessionToken.js"
import type * as State from "../State.js"
import * as Store from "../Store.js"
import * as bounded from "./bounded.js"
import * as Draft from "./draft.js"
import * as Json from "./json.js"
import * as Lanes from "./lanes.js"
import { ready, report } from "./load.js"
import * as metrics from "./metrics.js"
import type { Delivery, Environment, Intent, Outcome } from "./working.js"
import { nothing, sameToken, Working } from "./working.js"

export type { Delivery, Environment, Outcome } from "./working.js"

/** A commit as it was asked for. @internal */
interface Order<B> extends Intent {
  /** By the handler, so that what can't be done is its typed error. */
  readonly explicit: boolean
  /** Inside a transaction of the app's own, which holds what it read: a conflict is the app's to solve, by running it anew. */
  readonly single: boolean
  /** The last update, whose answer is the one that landed. */
  readonly last: ((draft: Draft.Draft) => readonly [B, Draft.Draft]) | undefined
}

/** @internal */
export type CommitError = Store.StoreError | SessionGone | HeadSent

const refVariance = { _A: (value: Data) => value }

/** @internal */
export class SessionRef extends Effectable.Class<Data> implements Ref.Ref<Data> {
  readonly [Ref.RefTypeId] = refVariance as unknown as Ref.Ref.Variance<Data>[Ref.RefTypeId]
  readonly [Readable.TypeId]: Readable.TypeId = Readable.TypeId

  private readonly working: Working
  private warning = false

  /** The token was given to the handler, who may have put it into the body. */
  disclosed = false

  constructor(environment: Environment) {
    super()
    this.working = new Working(environment)
  }

  // ---------------------------------------------------------------------------------------------------------- the Ref

  get get(): Effect.Effect<Data> {
    return this.use(() => this.working.draft.data)
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
    return this.watched(this.use(() => this.working.update(f)))
  }

  /** After the last commit has begun, sees to it that what nothing saves is told. */
  private watched<A>(change: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.flatMap(
      change,
      (answer) => this.working.finishing ? Effect.as(this.warnWhenUnsaved, answer) : Exit.succeed(answer)
    )
  }

  /** The draft with other data: adopted, and within the policy's size. */
  withData(draft: Draft.Draft, data: unknown): Draft.Draft {
    if (data === draft.data) {
      return draft
    }
    const adopted = adopt(data)
    if (Json.size(adopted) > this.working.environment.policy.maxSize) {
      throw new SessionDataError({
        reason: "TooLarge",
        path: "",
        problem:
          `larger than the ${this.working.environment.policy.maxSize} characters that SessionPolicy's maxSize allows`
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
    return this.working.base?._tag === "Live" ? this.working.knownId ?? "" : "none"
  }

  // --------------------------------------------------------------------------------------------------------- the load

  /** Whether anything asked for the session, so that the response depends on it. */
  get touched(): boolean {
    return this.working.asked
  }

  /** The transports that were read to find the session, for `Vary`. */
  get consulted(): ReadonlyArray<State.Transport> {
    return this.working.consulted
  }

  /** The transport that answers. */
  get transport(): State.Transport | undefined {
    return this.working.transport
  }

  /** The token to put into the response. */
  get delivery(): Delivery | undefined {
    return this.working.delivery
  }

  /** The client is to forget its token. */
  get expiring(): boolean {
    return this.working.expiring
  }

  /** Why the commit failed. */
  get commitFailure(): Cause.Cause<unknown> | undefined {
    return this.working.commitFailure
  }

  /** Runs on the loaded session, loading it first if nothing did; dies of a load that failed. */
  use<A>(f: () => A): Effect.Effect<A> {
    return Effect.withFiberRuntime<A>((caller) =>
      this.working.base === undefined || this.working.loadFailure !== undefined || this.working.provisional.length > 0
        ? Effect.map(Effect.orDie(Effect.zipRight(ready(this.working, caller), this.settled)), f)
        : Exit.succeed(f())
    )
  }

  /** The load, its failure typed. */
  get load(): Effect.Effect<Data, Store.StoreError> {
    return Effect.withFiberRuntime<Data, Store.StoreError>((caller) =>
      Effect.map(ready(this.working, caller), () => this.working.draft.data)
    )
  }

  // -------------------------------------------------------------------------------------------------------- the verbs

  get id(): Effect.Effect<SessionToken.SessionId> {
    return Effect.flatten(this.use(() => {
      const base = this.working.base
      if (base?._tag === "Live" && !this.working.renewing) {
        return base.record.id !== undefined ? Effect.succeed(base.record.id) : SessionToken.toId(base.token)
      }
      return SessionToken.toId(this.working.nextToken())
    }))
  }

  get isNew(): Effect.Effect<boolean> {
    return this.use(() => !this.working.arrivedLive)
  }

  get renew(): Effect.Effect<void> {
    return this.watched(this.use(() => this.working.renew()))
  }

  get destroy(): Effect.Effect<void> {
    return this.watched(this.use(() => this.working.destroy()))
  }

  get ignoreChanges(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.working.ignoring = true
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
      const { policy, store } = this.working.environment
      this.working.forgetFailure()
      const again = Effect.suspend((): Effect.Effect<Data, Store.StoreError | SessionGone> => {
        const base = this.working.base
        if (base?._tag === "Ended") {
          return Effect.fail(new SessionGone())
        }
        if (base?._tag !== "Live") {
          return Effect.succeed(this.working.draft.data)
        }
        const call = bounded.contained(store.load(base.token, this.working.binding), "reload")
        return Effect.flatMap(
          bounded.outcome(bounded.start(caller, call, policy.storeTimeout, "reload")),
          (found): Effect.Effect<Data, SessionGone> => {
            if (found._tag !== "Live") {
              this.working.base = Draft.ended
              return Effect.fail(new SessionGone())
            }
            this.working.rebase(base.token, found.record)
            return Effect.succeed(this.working.draft.data)
          }
        )
      })
      return Effect.zipRight(Effect.zipRight(ready(this.working, caller), this.settled), again)
    })
  }

  get token(): Effect.Effect<SessionToken.Token, CommitError> {
    return Effect.flatMap(this.save, () => {
      if (this.working.base?._tag !== "Live") {
        return Effect.fail(new SessionGone())
      }
      this.disclosed = true
      return Effect.succeed(this.working.base.token)
    })
  }

  get outcome(): Effect.Effect<Outcome> {
    return Effect.clockWith((clock) =>
      Effect.map(
        Effect.ignore(this.settled),
        () => {
          const owed = this.working.base === undefined || this.working.finishing
            ? nothing
            : this.working.owed(this.working.draft, automatic(this.working.ignoring), clock.unsafeCurrentTimeMillis())
          return owed._tag === "Nothing" ? this.working.did ?? owed : owed
        }
      )
    )
  }

  /** Makes a session that was seeded for a test one that the request came with. */
  get forgetSeed(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.working.arrivedLive = true
      this.working.did = undefined
    })
  }

  setAttributes(attributes: State.Attributes): Effect.Effect<void> {
    return Effect.sync(() => {
      this.working.attributes = { ...this.working.attributes, ...attributes }
    })
  }

  /** What a transport is told of the session it delivers. */
  emission(record: SessionRecord, now: number): State.Emission {
    return {
      now,
      endsAt: Math.min(record.deadline, record.expiresAt),
      persistent: record.persistent === true,
      attributes: this.working.attributes
    }
  }

  get emissionAttributes(): State.Attributes | undefined {
    return this.working.attributes
  }

  // ------------------------------------------------------------------------------------------------------- the commit

  /**
   * The commit at the end of the request. Never fails and does its work once: the platform may call for it again after a
   * response of its own could not be written.
   */
  finish(status: number): Effect.Effect<void> {
    if (this.working.finishing) {
      return Effect.void
    }
    this.working.finishing = true
    const discarding = this.working.ignoring || status >= 500 || status === clientClosedRequest
    return Effect.clockWith((clock) => {
      if (
        this.working.base !== undefined && this.working.provisional.length === 0 &&
        this.working.owed(this.working.draft, automatic(discarding), clock.unsafeCurrentTimeMillis())._tag === "Nothing"
      ) {
        this.working.headSent = true
        return this.working.lostNothing ? Effect.void : this.lost
      }
      return this.order(automatic(discarding)).pipe(
        Effect.catchAllCause((cause) => this.failed(cause)),
        Effect.zipRight(Effect.sync(() => {
          this.working.headSent = true
        }))
      )
    })
  }

  /** The head leaves, and nothing asked for the session by then. */
  leaveUntouched(): void {
    this.working.finishing = true
    this.working.headSent = true
  }

  private failed(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    const reported = error !== undefined && error === this.working.loadFailure
    // Nothing of the client's is lost by it: the next request extends the session as well.
    if (this.working.attempting._tag === "Touch" && !reported) {
      return Store.isStoreError(error)
        ? report(error, "a session could not be touched")
        : Effect.logError("a session could not be touched", cause)
    }
    this.working.commitFailure = cause
    this.working.did = { _tag: "Failed", cause }
    // While the record may be there, the client needs its token to try again.
    this.working.expiring = this.working.expiring && this.working.removing.length === 0
    if (reported) {
      return Effect.void
    }
    return Store.isStoreError(error)
      ? report(error, "a session could not be committed")
      : Effect.logError("a session could not be committed", cause)
  }

  /**
   * Queues a commit behind those of the same session in this process, and waits for it. One inside a transaction of the
   * app's own does not queue: it holds the record until that transaction ends, and may have to wait for it itself.
   */
  private order<B>(order: Order<B>): Effect.Effect<B, CommitError> {
    return Effect.withFiberRuntime<B, CommitError>((caller) => {
      const { policy, store } = this.working.environment
      const queued = Effect.suspend(() => {
        this.working.lane ??= this.working.knownId ?? this
        const commit = Lanes.inTurn(store, this.working.lane, (lane) => this.carryOut(order, lane))
        return this.working.atOnce
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
      return this.working.base !== undefined && this.working.loadFailure === undefined
        ? run
        : Effect.zipRight(ready(this.working, caller), run)
    })
  }

  private carryOutWithin<B>(
    order: Order<B>,
    transaction: Store.Transaction<Store.StoreError>
  ): Effect.Effect<B, CommitError> {
    return Effect.zipRight(
      this.settled,
      Effect.suspend(() => {
        const before = { base: this.working.base, removing: this.working.removing, delivery: this.working.delivery }
        return Effect.tap(
          this.attempt({ ...order, single: true }, { landed: undefined }),
          () =>
            this.working.base === before.base && this.working.removing === before.removing
              ? Effect.void
              : Effect.map(transaction.mark, (landed) => {
                this.working.provisional = [...this.working.provisional, { key: transaction.key, landed, before }]
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
    const { policy, store } = this.working.environment
    if (this.working.provisional.length === 0 || store.transaction === undefined) {
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
    const newest = this.working.provisional.at(-1)
    if (newest === undefined || newest.key === open) {
      return Effect.void
    }
    return Effect.flatMap(newest.landed, (landed) => {
      if (landed) {
        this.working.provisional = open === undefined ? [] : this.working.provisional
        return Effect.void
      }
      this.working.takeBack(newest.before)
      return this.settleWithin(open)
    })
  }

  private carryOut<B>(order: Order<B>, lane: Lanes.Lane): Effect.Effect<B, CommitError> {
    const base = this.working.base
    const ahead = lane.landed
    if (ahead !== undefined && base?._tag === "Live" && ahead.record.revision > base.record.revision) {
      this.working.rebase(base.token, ahead.record)
    }
    return this.attempt(order, lane)
  }

  private get contended(): "Contention" | "Timeout" {
    return this.working.conflicted ? "Contention" : "Timeout"
  }

  private attempt<B>(order: Order<B>, lane: Lanes.Lane, tries = 1): Effect.Effect<B, CommitError> {
    return Effect.clockWith((clock) => {
      const { policy, store } = this.working.environment
      const base = this.working.base ?? Draft.fresh
      const count = this.working.updates.length
      const [answer, draft] = order.last === undefined
        ? [undefined as B, this.working.draft]
        : order.last(this.working.draft)
      const now = clock.unsafeCurrentTimeMillis()
      const owed = this.working.owed(draft, order, now)
      const { ends } = this.working
      this.working.attempting = owed
      const again = Effect.suspend(() => this.attempt(order, lane, tries + 1))
      const landed = (token: SessionToken.Token, record: SessionRecord, sending: boolean) =>
        ends === this.working.ends
          ? Effect.map(this.land(token, record, { count, owed, sending, lane }), () => answer)
          : this.overtaken(token, again)

      switch (owed._tag) {
        case "Nothing": {
          if (base._tag === "Detached") {
            this.working.draft = draft
          } else if (base._tag === "Ended" && order.explicit) {
            return Effect.fail(new SessionGone())
          }
          return Effect.succeed(answer)
        }
        case "Remove": {
          const removals = Effect.forEach(
            this.working.removing,
            (token) => ask(() => store.remove(token, this.working.binding)),
            {
              discard: true
            }
          )
          return Effect.zipRight(
            Effect.tap(removals, () => {
              this.working.removing = []
              this.working.did = owed
              return metrics.destroyed
            }),
            again
          )
        }
        case "Create": {
          if (this.working.headSent) {
            return Effect.fail(new HeadSent())
          }
          const token = this.working.nextToken()
          const record = Draft.toRecord(Draft.fresh, draft, now, policy, false)
          return Effect.flatMap(ask(() => store.create(token, record, this.working.binding)), (result) => {
            switch (result._tag) {
              case "Created":
                return Effect.zipRight(metrics.created, landed(result.token, record, true))
              case "Exists":
                this.working.next = undefined
                return tries < maximumDraws ? again : Effect.fail(repeating)
              case "NotKept":
                this.working.base = Draft.detached
                this.working.draft = draft
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
          const call = ask(() => store.update(base.token, base.record.revision, record, this.working.binding))
          return Effect.flatMap(call, (result) => {
            switch (result._tag) {
              case "Updated":
                return landed(
                  result.token,
                  { ...record, revision: result.revision },
                  moved && this.working.carriesExpiry(record)
                )
              case "Conflict":
                return order.single
                  ? this.refused(ends, count, base.token, result.record)
                  : this.replayed(ends, base.token, result.record, again)
              case "Gone":
                this.working.base = Draft.ended
                return order.explicit ? Effect.fail(new SessionGone()) : Effect.as(this.lost, answer)
            }
          })
        }
        case "Renew": {
          if (base._tag !== "Live") {
            return Effect.succeed(answer)
          }
          if (this.working.headSent) {
            return Effect.fail(new HeadSent())
          }
          const next = this.working.nextToken()
          const record = Draft.toRecord(base, draft, now, policy, true)
          const call = ask(() => store.renew(base.token, base.record.revision, next, record, this.working.binding))
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
                this.working.beginAnew()
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
            ask(() => store.touch(base.token, base.record.revision, deadline, this.working.binding)),
            (result) =>
              result._tag === "Touched"
                ? landed(
                  result.token,
                  { ...base.record, deadline, touchedAt: now },
                  this.working.carriesExpiry(base.record)
                )
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
    this.working.conflicted = true
    if (ends === this.working.ends) {
      this.working.rebase(token, record)
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
    if (ends === this.working.ends) {
      this.working.refuse(token, record, count)
    }
    return Effect.zipRight(metrics.conflict, Effect.fail(changedMeanwhile))
  }

  /** Destroyed while it was being written: what landed is removed as well. */
  private overtaken<B>(token: SessionToken.Token, again: Effect.Effect<B, CommitError>): Effect.Effect<B, CommitError> {
    this.working.removing = [...this.working.removing, token]
    return again
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
    const arrived = this.working.base?._tag === "Live" ? this.working.base.token : undefined
    const changedToken = arrived === undefined || !sameToken(arrived, token)
    if (changedToken && this.working.headSent) {
      return Effect.fail(new HeadSent())
    }
    if (Redacted.value(token).length > this.working.binding.limit) {
      return Effect.fail(
        new Store.StoreError({
          reason: "TooLarge",
          method: "commit",
          description: `the token takes ${Redacted.value(token).length} bytes, ${this.working.binding.limit} fit`
        })
      )
    }
    const drawn = this.working.next
    this.working.written(owed, count)
    const settle = (record: SessionRecord) => {
      this.working.rebase(token, record)
      if (owed._tag === "Update") {
        lane.landed = { record }
      }
      if (sending || changedToken) {
        this.working.delivery = { token, record }
      }
    }
    // A store whose token is the data names the session by the token that was drawn for it.
    if (drawn !== undefined && (owed._tag === "Create" || owed._tag === "Renew") && !sameToken(drawn, token)) {
      return Effect.map(SessionToken.toId(drawn), (id) => settle({ ...record, id }))
    }
    settle(record)
    return Effect.void
  }

  /** Changes to a session that is over: it stays gone. */
  private get lost(): Effect.Effect<void> {
    this.working.did = { _tag: "Gone" }
    return Effect.zipRight(
      metrics.gone,
      Effect.logDebug("changes to a session that is over were dropped: it was destroyed, renewed or expired")
    )
  }

  /** An update made after the response head left is saved by an explicit commit, or by nothing. */
  private get warnWhenUnsaved(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { scope } = this.working.environment
      if (this.warning) {
        return Effect.void
      }
      this.warning = true
      const warn = Effect.suspend(() => {
        this.warning = false
        return this.working.unsaved
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
