/**
 * Every change of what a request knows of its session (one tagged value, see `model.ts`) and of what its response will say
 * of it (a second value). Each change computes the next value first and assigns it last, so that one that throws (an update
 * of the app's own may) leaves everything as it was.
 *
 * Nothing here performs anything: stores are called in `load.ts` and `commit.ts`.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { SessionRecord } from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import type * as Store from "../../Store.js"
import type { Started } from "../runtime/timeout.js"
import * as Draft from "./draft.js"
import type {
  Carried,
  Environment,
  Incarnation,
  Open,
  Planned,
  Provisional,
  Removal,
  Response,
  Value
} from "./model.js"
import type { Write } from "./plan.js"
import * as Plan from "./plan.js"

/** @internal */
export const nothingCarried: Carried = { transport: 0, candidates: [], any: false }

let incarnations = 0

const incarnationOf = (origin: Incarnation["origin"]): Incarnation => ({ origin, name: `new ${++incarnations}` })

const untouched: Value = { _tag: "Untouched" }

const silent: Response = {
  phase: "Handling",
  ignoring: false,
  attributes: undefined,
  delivery: undefined,
  expiring: false,
  disclosed: false,
  failure: undefined,
  closed: undefined,
  watched: false,
  outcome: undefined
}

const none: ReadonlyArray<never> = []

const opened = (base: Draft.Base, pending: Draft.Pending, origin: Incarnation["origin"]): Open => ({
  _tag: "Open",
  incarnation: incarnationOf(origin),
  base,
  draft: Draft.replay(pending, Draft.draftOf(base)),
  pending,
  renewal: undefined,
  next: undefined,
  removing: none,
  provisional: none
})

/** The same session on another base, with the updates that are not saved made again on top. */
const rebased = (open: Open, base: Draft.Base, pending: Draft.Pending): Open => ({
  ...open,
  base,
  pending,
  draft: Draft.replay(pending, Draft.draftOf(base))
})

/** @internal */
export const sameToken = (a: SessionToken.Token, b: SessionToken.Token): boolean =>
  a === b || Redacted.value(a) === Redacted.value(b)

/** @internal */
export class SessionState {
  private current: Value = untouched
  private carried: Carried = nothingCarried
  private said: Response = silent
  /** Most sessions are never watched. */
  private watchers: Set<() => void> | undefined = undefined
  /** The newest commit that was started for the handler, who may have stopped waiting for it. */
  private started: Effect.Effect<unknown, unknown> | undefined = undefined

  /** The session before the commit that is under way inside a transaction of the app's own. */
  private committingFrom: Open | undefined = undefined

  constructor(readonly environment: Environment) {}

  private get state(): Value {
    return this.current
  }

  private set state(state: Value) {
    this.current = state
    this.watchers?.forEach((notify) => notify())
  }

  /** Calls `notify` whenever more is known of the session. The answer ends that. */
  onChange(notify: () => void): () => void {
    this.watchers ??= new Set()
    this.watchers.add(notify)
    return () => this.watchers?.delete(notify)
  }

  // ------------------------------------------------------------------------------------------------------ what it is

  get value(): Value {
    return this.state
  }

  get response(): Response {
    return this.said
  }

  get underway(): Effect.Effect<unknown, unknown> | undefined {
    return this.started
  }

  /** The loaded session. Only where one has waited for the load. */
  get open(): Open {
    if (this.state._tag !== "Open") {
      throw new Error("effect-session: the session was used before it was loaded")
    }
    return this.state
  }

  /** The same without commits inside transactions of the app's own whose end is not known. */
  get settled(): Open {
    const { open } = this
    return open.provisional[0]?.before.open ?? this.committingFrom ?? open
  }

  /** The transport that answers. */
  get transport(): State.Transport | undefined {
    return this.environment.transports[this.carried.transport]
  }

  /** The token that the request came with, if there was one that the store may have made. */
  get carriedToken(): SessionToken.Token | undefined {
    return this.carried.candidates[0]
  }

  /** The transports that were read to find the session: all of them, where none carried a token. */
  get consulted(): ReadonlyArray<State.Transport> {
    const { transports } = this.environment
    const found = this.state._tag === "Open" && this.carried.candidates.length > 0
    return found ? transports.slice(0, this.carried.transport + 1) : transports
  }

  /** What a store is told of a call for this session. */
  call(now: number): Store.Call {
    return callOf(this.transport, now)
  }

  /** Whether the response head has left, so that no new token reaches the client. */
  get cannotDeliver(): boolean {
    const { phase } = this.said
    return phase === "Upgraded" || phase === "Sent" || phase === "Over"
  }

  /** Whether the commit at the end of the request has begun. */
  get lastCommitBegan(): boolean {
    const { phase } = this.said
    return phase === "Committing" || phase === "Sent" || phase === "Over"
  }

  /** Whether commits were made inside transactions of the app's own whose end is not known. */
  get isProvisional(): boolean {
    return this.state._tag === "Open" && this.state.provisional.length > 0
  }

  /** Whether the handler's changes would be lost if the request ended now. */
  get unsaved(): boolean {
    const { state } = this
    return state._tag === "Open" && !this.said.ignoring && state !== this.said.closed &&
      state.base._tag !== "Detached" &&
      (state.removing.length > 0 || state.renewal !== undefined || Draft.isChanged(state.base, state.draft))
  }

  /** Whether changes were made to a session that has ended, and are dropped. */
  get dropsChanges(): boolean {
    const { state } = this
    return state._tag === "Open" && !this.said.ignoring && state.base._tag === "Ended" &&
      Draft.isChanged(Draft.ended, state.draft)
  }

  /** Whether the client is told how long the session lives, so that a longer life has to be told to it. */
  carriesExpiry(record: SessionRecord): boolean {
    const { attributes } = this.said
    return this.transport?.persistent === true || record.persistent === true ||
      attributes?.maxAge !== undefined || attributes?.expires !== undefined
  }

  /** What a commit would write now. */
  plan(
    draft: Draft.Draft,
    intent: { readonly keepEmpty: boolean; readonly discarding: boolean },
    now: number
  ): Write {
    const { base, incarnation, removing, renewal } = this.open
    return Plan.plan(
      {
        base,
        draft,
        removing: removing.length > 0,
        renewing: renewal !== undefined,
        discarding: intent.discarding,
        keepEmpty: intent.keepEmpty && incarnation.origin !== "AfterDestroy"
      },
      now,
      this.environment.policy
    )
  }

  // -------------------------------------------------------------------------------------------------------- the load

  looksAt(carried: Carried): void {
    this.carried = carried
  }

  loads(load: Started<Draft.Base, Store.StoreError>, arrival: Started<void, never>): void {
    this.state = { _tag: "Loading", load, arrival, before: this.before }
  }

  /** The load found what the session rests on. If an update throws when it is made on it, all is as before the load. */
  found(base: Draft.Base): void {
    const { before } = this
    const origin = base._tag === "Live" ? "Arrived" : "Begun"
    if (before === undefined) {
      this.state = opened(base, undefined, origin)
      return
    }
    this.state = before
    this.state = { ...rebased(before, base, before.pending), incarnation: incarnationOf(origin) }
  }

  loadFailed(failure: Store.StoreError): void {
    if (this.environment.policy.onStoreFailure === "fail") {
      this.state = { _tag: "Failed", failure }
      return
    }
    const base: Draft.Base = { _tag: "Detached", failure }
    this.state = this.before === undefined ? opened(base, undefined, "Begun") : { ...this.before, base }
  }

  /** Whether the store failed, so that another load may find the session. One that was destroyed is not loaded again. */
  get canLoadAgain(): boolean {
    const { state } = this
    return state._tag === "Failed" ||
      state._tag === "Open" && state.base._tag === "Detached" && state.incarnation.origin !== "AfterDestroy"
  }

  private get before(): Open | undefined {
    const { state } = this
    return state._tag === "Loading" ? state.before : state._tag === "Open" ? state : undefined
  }

  // ------------------------------------------------------------------------------------------------------- the verbs

  /** `within` is the app's own transaction that is open. */
  update<B>(f: (draft: Draft.Draft) => readonly [B, Draft.Draft], within: object | undefined): B {
    const { open } = this
    const [answer, draft] = f(open.draft)
    this.state = { ...open, draft, pending: Draft.append(open.pending, (draft) => f(draft)[1], within) }
    return answer
  }

  /** `update` is what the renewal changes. */
  renew(update: Draft.Update, within: object | undefined): void {
    const { open } = this
    this.state = {
      ...open,
      draft: update(open.draft),
      pending: Draft.append(open.pending, update, within),
      renewal: open.renewal ?? { within },
      next: open.renewal === undefined ? undefined : open.next
    }
  }

  destroy(): void {
    const { open } = this
    const { base } = open
    const removing = base._tag === "Live"
      ? [...open.removing, base]
      : base._tag === "Detached" && base.failure !== undefined
      ? this.carried.candidates.map((token) => ({ token }))
      : open.removing
    // A request without a token must not remove the cookie of a login that arrives meanwhile, nor must a superseded one.
    const expiring = this.said.expiring || (this.carried.any && base._tag !== "Ended")
    this.state = {
      ...opened(base._tag === "Live" ? Draft.fresh : base, undefined, "AfterDestroy"),
      removing,
      provisional: open.provisional
    }
    this.said = { ...this.said, expiring, delivery: undefined }
  }

  /** The token of the session that will begin: the same until it did. */
  nextToken(): SessionToken.Token {
    const { open } = this
    if (open.next !== undefined) {
      return open.next
    }
    const predecessor = open.base._tag === "Live" ? open.base.token : undefined
    const next = SessionToken.draw(this.environment.generator, predecessor)
    this.state = { ...open, next }
    return next
  }

  ignoreChanges(): void {
    this.said = { ...this.said, ignoring: true }
  }

  disclose(): void {
    this.said = { ...this.said, disclosed: true }
  }

  setAttributes(attributes: State.Attributes): void {
    this.said = { ...this.said, attributes: { ...this.said.attributes, ...attributes } }
  }

  /** Makes a session that was seeded for a test one that the request came with. */
  arrive(): void {
    this.state = { ...this.open, incarnation: incarnationOf("Arrived") }
    this.said = { ...this.said, outcome: undefined }
  }

  // ------------------------------------------------------------------------------------------------------ the commit

  starts(commit: Effect.Effect<unknown, unknown>): void {
    this.started = commit
  }

  /** What was written is what the session rests on; updates made meanwhile stay on top of it. */
  committed<B>(
    { open: began, write }: Planned<B>,
    token: SessionToken.Token,
    record: SessionRecord,
    deliver: boolean
  ): void {
    const { open } = this
    const begun = write._tag === "Create" || write._tag === "Renew"
    this.state = {
      ...rebased(open, { _tag: "Live", token, record }, Draft.since(open.pending, began.pending)),
      renewal: begun && open.renewal === began.renewal ? undefined : open.renewal,
      next: begun ? undefined : open.next
    }
    this.said = { ...this.said, outcome: write, delivery: deliver ? { token, record } : this.said.delivery }
  }

  /** Whether the session that a commit began with was destroyed meanwhile. */
  overtook<B>({ open }: Planned<B>): boolean {
    return this.open.incarnation !== open.incarnation
  }

  /** Another request saved first: all that is not saved is made again on what it left. */
  rebase(token: SessionToken.Token, record: SessionRecord): void {
    const { open } = this
    this.state = rebased(open, { _tag: "Live", token, record }, open.pending)
  }

  /** Nothing was to be written: updates that came to nothing are forgotten. */
  forgetNoOps<B>({ open: began }: Planned<B>): void {
    const { open } = this
    this.state = { ...open, pending: Draft.since(open.pending, began.pending) }
  }

  /** The store keeps nothing: the data lives as long as the request. */
  detached<B>({ draft, open: { base, pending } }: Planned<B>): void {
    const { open } = this
    this.state = {
      ...open,
      base: base._tag === "Detached" ? base : Draft.detached,
      draft: Draft.replay(Draft.since(open.pending, pending), draft)
    }
  }

  /** The token that was drawn is taken. */
  taken(): void {
    this.state = { ...this.open, next: undefined }
  }

  /**
   * The session ended while the request ran. Nothing of its data stays; what this request changed is there for a renewal,
   * which begins a session of those changes. `expired` is its record, if the store has it still.
   */
  ended(expired?: SessionRecord): void {
    const { open } = this
    const { base } = open
    const { record, token } = base._tag === "Live" || base._tag === "Ended" ? base : Draft.ended
    this.state = rebased(open, { _tag: "Ended", token, record: expired ?? record }, open.pending)
  }

  /** These sessions were removed. */
  removed(removals: ReadonlyArray<Removal>): void {
    const { open } = this
    this.state = { ...open, removing: open.removing.filter((removal) => !removals.includes(removal)) }
    this.said = { ...this.said, outcome: { _tag: "Remove" } }
  }

  /** A session that was destroyed while it was being written is removed as well. */
  alsoRemove(removal: Removal): void {
    const { open } = this
    this.state = { ...open, removing: [...open.removing, removal] }
  }

  // ------------------------------------------------------------------------------------------------ app transactions

  /** Such a commit begins, or is over: what it wrote is provisional by then, if it wrote anything. */
  commitsWithin(transaction: object | undefined): void {
    this.committingFrom = transaction === undefined ? undefined : this.open
  }

  provisional(provisional: Provisional): void {
    const { open } = this
    this.state = { ...open, provisional: [...open.provisional, provisional] }
  }

  /** The transactions were committed. */
  confirm(): void {
    this.state = { ...this.open, provisional: none }
  }

  /** Another request saved first: what the transaction changed fails as by a rollback, and is not made again. */
  drop(token: SessionToken.Token, record: SessionRecord, transaction: object): void {
    const { open } = this
    this.state = {
      ...rebased(open, { _tag: "Live", token, record }, Draft.outside(open.pending, undefined, transaction)),
      renewal: open.renewal?.within === transaction ? undefined : open.renewal
    }
    this.said = { ...this.said, outcome: { _tag: "RolledBack" } }
  }

  /** Takes the newest provisional commit back. What was changed outside of its transaction is to be saved again. */
  rollBack({ before, key }: Provisional): void {
    const { open } = this
    const provisional = open.provisional.slice(0, -1)
    const { base, incarnation, removing, renewal } = before.open
    this.state = open.incarnation === incarnation
      ? {
        ...rebased(before.open, base, Draft.outside(before.open.pending, open.pending, key)),
        renewal: renewal?.within === key ? undefined : renewal,
        next: undefined,
        provisional
      }
      // Destroyed since: that stands, and it is the session of before that has to go.
      : {
        ...rebased(
          open,
          open.base._tag === "Live" ? Draft.fresh : open.base,
          Draft.outside(undefined, open.pending, key)
        ),
        removing: base._tag === "Live" ? [...removing, base] : removing,
        renewal: open.renewal?.within === key ? undefined : open.renewal,
        next: undefined,
        provisional
      }
    this.said = { ...this.said, outcome: { _tag: "RolledBack" }, delivery: before.delivery }
  }

  // ------------------------------------------------------------------------------------------------- the request's end

  /** The connection was upgraded: that answer is not the app's, and no token gets into it. */
  upgrade(): void {
    if (this.said.phase === "Handling") {
      this.said = { ...this.said, phase: "Upgraded" }
    }
  }

  /** The last commit begins. */
  close(): void {
    const { phase } = this.said
    const closed = this.state._tag === "Open" ? this.state : undefined
    this.said = { ...this.said, phase: phase === "Upgraded" ? "Sent" : "Committing", closed }
  }

  /** The head leaves. */
  send(): void {
    this.said = { ...this.said, phase: "Sent" }
  }

  watch(): void {
    this.said = { ...this.said, watched: true }
  }

  /** The request is over: nothing comes after that could save what is changed now. */
  end(): void {
    this.said = { ...this.said, phase: "Over" }
  }

  /** Changes to a session that has ended were dropped. */
  noteGone(): void {
    this.said = { ...this.said, outcome: { _tag: "Gone" } }
  }

  /** The last commit failed. While the record may be there, the client needs its token to try again. */
  fail(cause: Cause.Cause<unknown>): void {
    const removing = this.state._tag === "Open" && this.state.removing.length > 0
    this.said = {
      ...this.said,
      failure: cause,
      outcome: { _tag: "Failed", cause },
      expiring: this.said.expiring && !removing
    }
  }
}

/** What a store is told of a call for a token that a transport carries. @internal */
export const callOf = (transport: State.Transport | undefined, now: number): Store.Call => ({
  now,
  audience: transport?.audience ?? "",
  limit: transport?.limit ?? Number.POSITIVE_INFINITY
})
