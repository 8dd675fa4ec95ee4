/**
 * One session in one request, as handlers hold it: a `Ref` over its data, and the verbs behind the functions of `Session`.
 * What it is by now is in `state.ts`; how it is loaded, committed and finished is in the files of those names.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Readable from "effect/Readable"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import { ReauthenticationRequired, SessionGone } from "../../SessionError.js"
import type { Data } from "../../SessionRecord.js"
import * as SessionRecord from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import type * as Store from "../../Store.js"
import type { Running } from "../runtime/caller.js"
import { nowOf } from "../runtime/caller.js"
import { andThen } from "../runtime/exit.js"
import type { CommitError } from "./commit.js"
import { automatic, explicit, Run } from "./commit.js"
import * as Draft from "./draft.js"
import { FieldNotes } from "./fieldNotes.js"
import { policyBounds, untilIdle } from "./lifetime.js"
import { load, ready, reload } from "./load.js"
import type { Environment, Info, Outcome, Response } from "./model.js"
import { nothing } from "./plan.js"
import { finish, watchFiber, watchScope } from "./requestEnd.js"
import { commit } from "./schedule.js"
import { idOf } from "./spans.js"
import { SessionState } from "./state.js"
import { learnEndings } from "./transactions.js"
import { watch } from "./watch.js"

export type { Environment } from "./model.js"

/** What a response says of its session. @internal */
export interface Verdict extends Pick<Response, "attributes" | "delivery" | "disclosed" | "expiring" | "failure"> {
  /** The transports that were read to find the session, for `Vary`. */
  readonly consulted: ReadonlyArray<State.Transport>
  /** The transport that answers. */
  readonly transport: State.Transport | undefined
}

const refVariance = { _A: (value: Data) => value } as unknown as Ref.Ref.Variance<Data>[Ref.RefTypeId]

/** @internal */
export class SessionHandle extends Effectable.Class<Data> implements Ref.Ref<Data> {
  get [Ref.RefTypeId](): Ref.Ref.Variance<Data>[Ref.RefTypeId] {
    return refVariance
  }
  get [Readable.TypeId](): Readable.TypeId {
    return Readable.TypeId
  }

  private made: SessionState | undefined = undefined
  private untouchedUntilSent = false
  private notes: FieldNotes | undefined = undefined

  /** Most requests never touch their session: what one needs is asked for at the first touch. */
  constructor(private readonly environment: () => Environment) {
    super()
  }

  get state(): SessionState {
    if (this.made === undefined) {
      this.made = new SessionState(this.environment())
      if (this.untouchedUntilSent) {
        this.made.send()
      }
    }
    return this.made
  }

  /** Notes that a field can't decode the value under its key. */
  undecodable(key: string): void {
    this.notes ??= new FieldNotes(this.state)
    this.notes.undecodable(key)
  }

  /** What is noted and not reported, if anything is. */
  get unreported(): FieldNotes | undefined {
    return this.notes?.isEmpty === false ? this.notes : undefined
  }

  // ---------------------------------------------------------------------------------------------------------- loading

  /** Goes on from the loaded session, loading it if nothing did. Dies if it can't be loaded. */
  within<A, E>(caller: Running, f: () => Effect.Effect<A, E>): Effect.Effect<A, E> {
    const { value } = this.state
    if (value._tag === "Open" && value.base._tag !== "Detached" && value.provisional.length === 0) {
      return f()
    }
    const { state } = this
    const opening = andThen(this.loaded(caller), () => state.isProvisional ? learnEndings(state) : Exit.void)
    return Exit.isExit(opening) && Exit.isSuccess(opening)
      ? f()
      : Effect.matchEffect(opening, { onFailure: Effect.die, onSuccess: f })
  }

  /** Loads the session if nothing did. */
  private loaded(caller: Running): Effect.Effect<void, Store.StoreError> {
    const { state } = this
    if (state.value._tag === "Untouched") {
      watchFiber(state)
    }
    return ready(state, caller)
  }

  private entered<A, E>(f: (caller: Running) => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.withFiberRuntime<A, E>((caller) => this.within(caller, () => f(caller)))
  }

  get load(): Effect.Effect<Data, Store.StoreError> {
    return Effect.withFiberRuntime<Data, Store.StoreError>((caller) => Effect.map(this.loaded(caller), () => this.data))
  }

  // ---------------------------------------------------------------------------------------------------------- the Ref

  get get(): Effect.Effect<Data> {
    return this.entered(() => Exit.succeed(this.data))
  }

  /** The data as it is now, once the session is loaded. */
  get data(): Data {
    return this.state.open.draft.data
  }

  /** An effect of the session is its data, as of any `Ref`. */
  override commit(): Effect.Effect<Data> {
    return this.get
  }

  modify<B>(f: (data: Data) => readonly [B, Data]): Effect.Effect<B> {
    return Effect.withFiberRuntime((caller) => this.change(caller, this.overData(f)))
  }

  updateAndGet(f: (data: Data) => Data): Effect.Effect<Data> {
    return Effect.withFiberRuntime((caller) =>
      this.change(caller, (draft) => {
        const updated = Draft.withData(draft, f(draft.data), this.maxSize)
        return [updated.data, updated]
      })
    )
  }

  /** A change of the data as one of the draft. */
  overData<B>(f: (data: Data) => readonly [B, Data]): (draft: Draft.Draft) => readonly [B, Draft.Draft] {
    return (draft) => {
      const [answer, data] = f(draft.data)
      return [answer, Draft.withData(draft, data, this.maxSize)]
    }
  }

  get maxSize(): number {
    return this.state.environment.policy.maxSize
  }

  /** Updates the draft and remembers how. */
  change<B>(caller: Running, f: (draft: Draft.Draft) => readonly [B, Draft.Draft]): Effect.Effect<B> {
    return this.within(caller, () => this.inTransaction((key) => this.changed(this.state.update(f, key))))
  }

  /** Tells a change of the app's own transaction that is open, whose rollback is to take it back. */
  private inTransaction<A>(change: (key: object | undefined) => Effect.Effect<A>): Effect.Effect<A> {
    const { transaction } = this.state.environment.store
    return transaction === undefined
      ? change(undefined)
      : Effect.flatMap(transaction, (open) => change(Option.getOrUndefined(open)?.key))
  }

  /** What is changed after the last commit is saved by an explicit one, or by nothing, which is then said. */
  private changed<A>(answer: A): Effect.Effect<A> {
    return this.state.lastCommitBegan ? Effect.as(watchScope(this.state), answer) : Exit.succeed(answer)
  }

  // -------------------------------------------------------------------------------------------------------- the verbs

  get id(): Effect.Effect<SessionToken.SessionId> {
    return this.entered(() => {
      const { base, renewal } = this.state.open
      return base._tag === "Live" && renewal === undefined
        ? idOf(base)
        : SessionToken.toId(this.state.nextToken())
    })
  }

  get isNew(): Effect.Effect<boolean> {
    return this.entered(() => Exit.succeed(this.state.open.incarnation.origin !== "Arrived"))
  }

  get info(): Effect.Effect<Info> {
    return this.entered(() =>
      andThen(this.id, (id) => {
        const { person } = this
        const { base, incarnation } = this.state.open
        const record: Partial<SessionRecord.SessionRecord> = base._tag === "Live" ? base.record : {}
        return Exit.succeed({
          id,
          isNew: incarnation.origin !== "Arrived",
          persistent: record.persistent === true,
          subject: Option.fromNullable(person.subject),
          label: Option.fromNullable(person.label),
          authenticatedAt: Option.fromNullable(person.authenticatedAt),
          createdAt: Option.fromNullable(record.createdAt),
          touchedAt: Option.fromNullable(record.touchedAt),
          endsAt: base._tag === "Live" ? Option.some(SessionRecord.endsAt(base.record)) : Option.none(),
          expiresAt: Option.fromNullable(record.expiresAt)
        })
      })
    )
  }

  get renew(): Effect.Effect<void> {
    return this.entered(() => this.inTransaction((key) => this.changed(this.state.renew(Draft.renewed, key))))
  }

  login(
    subject: string,
    { label, remember }: { readonly label?: string | undefined; readonly remember?: Duration.DurationInput | undefined }
  ): Effect.Effect<void> {
    if (subject === "") {
      return Effect.dieMessage("Session.login: write who logged in, such as a user's id; the subject is empty")
    }
    return this.entered((caller) => {
      const { base } = this.state.open
      if (base._tag === "Detached" && base.failure !== undefined) {
        return Effect.die(base.failure)
      }
      const now = nowOf(caller)
      const remembered = remember === undefined ? undefined : untilIdle(now, remember)
      if (remember !== undefined && remembered === undefined) {
        return notAbove("Session.login's remember")
      }
      const byPolicy = policyBounds(now, this.state.environment.policy)
      const login = { subject, label, authenticatedAt: now }
      const update: Draft.Update = (draft) => ({
        ...Draft.renewed(draft),
        login,
        // what `expireIn` said before in this request holds
        bounds: remembered ?? (draft.bounds?.persistent === true ? draft.bounds : byPolicy)
      })
      return this.inTransaction((key) => this.changed(this.state.renew(update, key)))
    })
  }

  get subject(): Effect.Effect<Option.Option<string>> {
    return this.entered(() => Exit.succeed(Option.fromNullable(this.person.subject)))
  }

  requireRecentLogin(within: Duration.DurationInput): Effect.Effect<void, ReauthenticationRequired> {
    return this.entered((caller) => {
      const { authenticatedAt } = this.person
      return authenticatedAt !== undefined && nowOf(caller) - authenticatedAt <= Duration.toMillis(within)
        ? Exit.void
        : Effect.fail(new ReauthenticationRequired())
    })
  }

  /** Who this request takes the session's owner for. */
  private get person(): Partial<Draft.Login> {
    const { base, draft } = this.state.open
    return draft.login ?? (base._tag === "Live" ? base.record : {})
  }

  get destroy(): Effect.Effect<void> {
    return this.entered(() => this.changed(this.state.destroy()))
  }

  get ignoreChanges(): Effect.Effect<void> {
    return Effect.sync(() => this.state.ignoreChanges())
  }

  expireIn(duration: Duration.DurationInput): Effect.Effect<void> {
    return Effect.withFiberRuntime((caller) => {
      const bounds = untilIdle(nowOf(caller), duration)
      return bounds === undefined
        ? notAbove("Session.expireIn")
        : this.change(caller, (draft) => [undefined, { ...draft, bounds }])
    })
  }

  get expireByPolicy(): Effect.Effect<void> {
    return Effect.withFiberRuntime((caller) => {
      const bounds = policyBounds(nowOf(caller), this.state.environment.policy)
      return this.change(caller, (draft) => [undefined, { ...draft, bounds: draft.persistent ? bounds : undefined }])
    })
  }

  get save(): Effect.Effect<void, CommitError> {
    return this.committing({ ...explicit, keepEmpty: true })
  }

  transaction<B>(
    f: (draft: Draft.Draft) => readonly [B, Draft.Draft]
  ): Effect.Effect<B, Store.StoreError | SessionGone> {
    return Effect.catchTag(
      this.committing({ ...explicit, last: f }),
      "HeadSent",
      () => Effect.fail(new SessionGone())
    )
  }

  /** Commits now, as it is asked for. */
  committing<B>(request: Run<B>["request"]): Effect.Effect<B, CommitError> {
    return Effect.withFiberRuntime<B, CommitError>((caller) =>
      andThen(this.loaded(caller), () => commit(new Run(this.state, caller, request), undefined))
    )
  }

  get reload(): Effect.Effect<Data, Store.StoreError | SessionGone> {
    return Effect.withFiberRuntime<Data, Store.StoreError | SessionGone>((caller) => {
      const { state } = this
      const loaded = state.canLoadAgain ? load(state, caller) : this.loaded(caller)
      return andThen(loaded, () => learnEndings(state)).pipe(
        Effect.zipRight(reload(state, caller)),
        Effect.map(() => this.data)
      )
    })
  }

  /** What its store has, now and whenever it changes. */
  get watch(): Stream.Stream<Data, Store.StoreError | SessionGone> {
    return Stream.unwrap(
      Effect.withFiberRuntime<Stream.Stream<Data, Store.StoreError | SessionGone>, Store.StoreError>((caller) =>
        Effect.map(this.loaded(caller), () => watch(this.state))
      )
    )
  }

  get token(): Effect.Effect<SessionToken.Token, CommitError> {
    return Effect.flatMap(this.save, () => {
      const { base } = this.state.open
      if (base._tag !== "Live") {
        return Effect.fail(new SessionGone())
      }
      this.state.disclose()
      return Effect.succeed(base.token)
    })
  }

  get outcome(): Effect.Effect<Outcome> {
    return Effect.withFiberRuntime((caller) =>
      Effect.map(Effect.ignore(learnEndings(this.state)), () => this.outcomeAt(caller))
    )
  }

  private outcomeAt(caller: Running): Outcome {
    const { state } = this
    const { ignoring, outcome } = state.response
    const write = state.value._tag !== "Open" || state.lastCommitBegan
      ? nothing
      : state.plan(state.value.draft, automatic(ignoring), nowOf(caller))
    return write._tag === "Nothing" ? outcome ?? write : write
  }

  setAttributes(attributes: State.Attributes): Effect.Effect<void> {
    return Effect.sync(() => this.state.setAttributes(attributes))
  }

  /** This response's attributes so far. */
  get emissionAttributes(): State.Attributes | undefined {
    return this.state.response.attributes
  }

  /** The transports that were read to find the session. */
  get consulted(): ReadonlyArray<State.Transport> {
    return this.state.consulted
  }

  // -------------------------------------------------------------------------------------------------- outside a request

  /** Makes a session that was seeded for a test one that the request came with. */
  get arrive(): Effect.Effect<void> {
    return Effect.sync(() => this.state.arrive())
  }

  // -------------------------------------------------------------------------------------------------- the request's end

  /** Whether anything asked for the session, so that the response depends on it. */
  get touched(): boolean {
    return this.made !== undefined && this.made.value._tag !== "Untouched"
  }

  /** The commit at the end of the request. */
  finish(caller: Running, status: number): Effect.Effect<void> {
    return finish(this.state, caller, status)
  }

  /** What the response is to say of the session, once it was committed. */
  get verdict(): Verdict {
    const { consulted, response: { attributes, delivery, disclosed, expiring, failure }, transport } = this.state
    return { consulted, transport, attributes, delivery, disclosed, expiring, failure }
  }

  /** The connection is upgraded: what is changed from here on is still saved, but no token reaches the client. */
  leaveUpgraded(): void {
    this.state.upgrade()
  }

  /** The head leaves, and nothing asked for the session by then. */
  leaveUntouched(): void {
    this.untouchedUntilSent = true
    this.made?.send()
  }

  // ---------------------------------------------------------------------------------------------------------- printing

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
    const { value } = this.state
    return value._tag === "Open" && value.base._tag === "Live"
      ? value.base.record.id ?? SessionToken.unsafeToId(value.base.token) ?? ""
      : "none"
  }
}

const notAbove = (what: string) =>
  Effect.dieMessage(`${what}: write a duration above zero; Session.destroy ends a session now`)

/** The session behind the `Ref` of a tag. @internal */
export const fromRef = (ref: Ref.Ref<Data>): Effect.Effect<SessionHandle> =>
  ref instanceof SessionHandle
    ? Effect.succeed(ref)
    : Effect.dieMessage(
      "this Ref is not a session: provide one by HttpMiddleware.session, or by Session.layerTest in a test"
    )
