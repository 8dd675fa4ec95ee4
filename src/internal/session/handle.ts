/**
 * One session in one request, as handlers hold it: a `Ref`, and the verbs behind the functions of `Session`. What it
 * became is in `working.ts`, how it is loaded in `load.ts`, when it is committed in `order.ts`. Knows transports only to
 * name them: what becomes of the response is the middleware's.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Readable from "effect/Readable"
import * as Ref from "effect/Ref"
import { SessionDataError, SessionGone } from "../../SessionError.js"
import type { Data } from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import type * as Store from "../../Store.js"
import * as platform from "../http/fiber.js"
import * as Json from "../record/json.js"
import { andThen } from "../runtime/exit.js"
import * as metrics from "../runtime/metrics.js"
import * as bounded from "../runtime/timeout.js"
import type { CommitError } from "./commit.js"
import { automatic, explicitly } from "./commit.js"
import * as Draft from "./draft.js"
import { ready } from "./load.js"
import { finish, order, warnWhenUnsaved } from "./schedule.js"
import type { Delivery, Environment, Outcome } from "./state.js"
import { nothing, Working } from "./state.js"
import { settled } from "./transactions.js"

export type { Caller } from "../runtime/timeout.js"
export type { CommitError } from "./commit.js"
export type { Delivery, Environment, Outcome } from "./state.js"

/** What a response says of its session. @internal */
export interface Verdict {
  /** The transports that were read to find the session, for `Vary`. */
  readonly consulted: ReadonlyArray<State.Transport>
  /** The transport that answers. */
  readonly transport: State.Transport | undefined
  /** The token to put into the response. */
  readonly delivery: Delivery | undefined
  /** The client is to forget its token. */
  readonly expiring: boolean
  readonly attributes: State.Attributes | undefined
  /** The token was given to the handler, who may have put it into the body. */
  readonly disclosed: boolean
  /** Why the commit failed. */
  readonly failure: Cause.Cause<unknown> | undefined
}

const refVariance = { _A: (value: Data) => value } as unknown as Ref.Ref.Variance<Data>[Ref.RefTypeId]

/** @internal */
export class SessionRef extends Effectable.Class<Data> implements Ref.Ref<Data> {
  get [Ref.RefTypeId](): Ref.Ref.Variance<Data>[Ref.RefTypeId] {
    return refVariance
  }
  get [Readable.TypeId](): Readable.TypeId {
    return Readable.TypeId
  }

  private made: Working | undefined = undefined
  private over = false

  private disclosed = false

  /** Most requests to a site never touch their session: what one is made of is asked for when it is touched. */
  constructor(private readonly environment: () => Environment) {
    super()
  }

  private get working(): Working {
    if (this.made === undefined) {
      this.made = new Working(this.environment())
      if (this.over) {
        this.made.left()
      }
    }
    return this.made
  }

  // ---------------------------------------------------------------------------------------------------------- the Ref

  get get(): Effect.Effect<Data> {
    return this.entered(() => Exit.succeed(this.data))
  }

  /** The data as it is now, once the session is loaded. */
  get data(): Data {
    return this.working.draft.data
  }

  override commit(): Effect.Effect<Data> {
    return this.get
  }

  modify<B>(f: (data: Data) => readonly [B, Data]): Effect.Effect<B> {
    return Effect.withFiberRuntime((caller) =>
      this.change(caller, (draft) => {
        const [answer, data] = f(draft.data)
        return [answer, this.withData(draft, data)]
      })
    )
  }

  /** Updates the draft and remembers how. */
  change<B>(caller: bounded.Caller, f: (draft: Draft.Draft) => readonly [B, Draft.Draft]): Effect.Effect<B> {
    return this.within(caller, () => this.watched(this.working.update(f)))
  }

  /** After the last commit has begun, sees to it that what nothing saves is told. */
  private watched<A>(answer: A): Effect.Effect<A> {
    return this.working.finishing ? Effect.as(warnWhenUnsaved(this.working), answer) : Exit.succeed(answer)
  }

  /** The draft with other data: adopted, and within the policy's size. */
  withData(draft: Draft.Draft, data: unknown): Draft.Draft {
    if (data === draft.data) {
      return draft
    }
    const adopted = adopt(data)
    const { maxSize } = this.working.environment.policy
    if (Json.size(adopted) > maxSize) {
      throw new SessionDataError({
        reason: "TooLarge",
        path: "",
        problem: `larger than the ${maxSize} characters that SessionPolicy's maxSize allows`
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
    return this.made?.asked === true
  }

  /** The transports that were read to find the session, for `Vary`. */
  get consulted(): ReadonlyArray<State.Transport> {
    return this.working.consulted
  }

  /** What the response is to say of the session, once it was committed. */
  get verdict(): Verdict {
    const { attributes, commitFailure, consulted, delivery, expiring, transport } = this.working
    return { consulted, transport, delivery, expiring, attributes, disclosed: this.disclosed, failure: commitFailure }
  }

  /** Goes on from the loaded session, loading it first if nothing did; dies of a load that failed. */
  within<A, E>(caller: bounded.Caller, f: () => Effect.Effect<A, E>): Effect.Effect<A, E> {
    const { working } = this
    if (working.base !== undefined && working.loadFailure === undefined && working.provisional.length === 0) {
      return f()
    }
    const found = andThen(ready(working, caller), () => settled(working))
    return Exit.isExit(found) && Exit.isSuccess(found)
      ? f()
      : Effect.matchEffect(found, { onFailure: Effect.die, onSuccess: f })
  }

  private entered<A, E>(f: () => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.withFiberRuntime<A, E>((caller) => this.within(caller, f))
  }

  /** The load, its failure typed. */
  get load(): Effect.Effect<Data, Store.StoreError> {
    return Effect.withFiberRuntime<Data, Store.StoreError>((caller) =>
      Effect.map(ready(this.working, caller), () => this.working.draft.data)
    )
  }

  // -------------------------------------------------------------------------------------------------------- the verbs

  get id(): Effect.Effect<SessionToken.SessionId> {
    return this.entered(() => {
      const base = this.working.base
      if (base?._tag === "Live" && !this.working.renewing) {
        return base.record.id !== undefined ? Effect.succeed(base.record.id) : SessionToken.toId(base.token)
      }
      return SessionToken.toId(this.working.nextToken())
    })
  }

  get isNew(): Effect.Effect<boolean> {
    return this.entered(() => Exit.succeed(!this.working.arrivedLive))
  }

  get renew(): Effect.Effect<void> {
    return this.entered(() => this.watched(this.working.renew()))
  }

  get destroy(): Effect.Effect<void> {
    return this.entered(() => this.watched(this.working.destroy()))
  }

  get ignoreChanges(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.working.ignoring = true
    })
  }

  expireIn(duration: Duration.DurationInput): Effect.Effect<void> {
    return Effect.withFiberRuntime((caller) => {
      const idle = Math.min(Duration.toMillis(duration), longestBound)
      if (!(idle > 0)) {
        return Effect.dieMessage("Session.expireIn: write a duration above zero; Session.destroy ends a session now")
      }
      const bound = { at: platform.nowOf(caller) + idle, idle }
      return this.change(caller, (draft) => [undefined, { ...draft, bound }])
    })
  }

  get save(): Effect.Effect<void, CommitError> {
    return Effect.asVoid(order(this.working, { ...explicitly, keepEmpty: true }))
  }

  transaction<B>(
    f: (draft: Draft.Draft) => readonly [B, Draft.Draft]
  ): Effect.Effect<B, Store.StoreError | SessionGone> {
    return Effect.catchTag(
      order(this.working, { ...explicitly, last: f }),
      "HeadSent",
      () => Effect.fail(new SessionGone())
    )
  }

  get reload(): Effect.Effect<Data, Store.StoreError | SessionGone> {
    return Effect.withFiberRuntime<Data, Store.StoreError | SessionGone>((caller) => {
      const { policy, store } = this.working.environment
      this.working.forgetFailure()
      const again: Effect.Effect<Data, Store.StoreError | SessionGone> = Effect.suspend(
        (): Effect.Effect<Data, Store.StoreError | SessionGone> => {
          const base = this.working.base
          if (base?._tag === "Ended") {
            return Effect.fail(new SessionGone())
          }
          if (base?._tag !== "Live") {
            return Effect.succeed(this.working.draft.data)
          }
          const call = bounded.contained("reload", () => store.load(base.token, this.working.binding))
          return Effect.flatMap(
            bounded.outcome(bounded.start(caller, call, policy.storeTimeout, "reload")),
            (found): Effect.Effect<Data, Store.StoreError | SessionGone> => {
              // Destroyed, renewed or written meanwhile: what was found is of before.
              if (this.working.base !== base) {
                return again
              }
              if (found._tag !== "Live") {
                this.working.base = Draft.ended
                return Effect.fail(new SessionGone())
              }
              this.working.rebase(base.token, found.record)
              return Effect.succeed(this.working.draft.data)
            }
          )
        }
      )
      return Effect.zipRight(Effect.zipRight(ready(this.working, caller), settled(this.working)), again)
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
        Effect.ignore(settled(this.working)),
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

  /** This response's attributes so far. */
  get emissionAttributes(): State.Attributes | undefined {
    return this.working.attributes
  }

  // ------------------------------------------------------------------------------------------------------- the commit

  /** The commit at the end of the request. */
  finish(caller: bounded.Caller, status: number): Effect.Effect<void> {
    return finish(caller, this.working, status)
  }

  /** The connection is upgraded: what is written from here on is still saved, but no token reaches the client. */
  leaveUpgraded(): void {
    this.working.headSent = true
  }

  /** The head leaves, and nothing asked for the session by then. */
  leaveUntouched(): void {
    this.over = true
    this.made?.left()
  }
}

const noMisfits: ReadonlyArray<string> = []

/** The longest a cookie can be kept (RFC 6265bis), and so a session's bound. */
const longestBound = Duration.toMillis(Duration.days(400))

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
