/**
 * What one request has made of its session by now, and how that changes: the record it rests on, the draft and the
 * updates ahead of it, what is to be removed, renewed and delivered. Every change is made at once, and nothing here
 * performs anything. Knows nothing of when a store is called, or of what becomes of the response.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as SessionPolicy from "../../SessionPolicy.js"
import type { SessionRecord } from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import type * as Store from "../../Store.js"
import type { Started } from "../runtime/timeout.js"
import { operationsOf } from "../store/synchronous.js"
import * as Draft from "./draft.js"

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

/** What the client is to be told. @internal */
export interface Delivery {
  readonly token: SessionToken.Token
  readonly record: SessionRecord
}

/** What the load found. @internal */
export interface Found {
  readonly base: Draft.Base
  /** The transport that carried the token, and that answers. */
  readonly carrier: number
}

/** What of an asked commit bears on what is owed. @internal */
export interface Intent {
  /** Keep a new session even when nothing is in it. */
  readonly keepEmpty: boolean
  /** Carry out a removal alone. */
  readonly discarding: boolean
}

/** What a commit took with it. @internal */
interface Before {
  readonly base: Draft.Base | undefined
  readonly removing: ReadonlyArray<SessionToken.Token>
  readonly delivery: Delivery | undefined
}

/** A commit inside a transaction of the app's own that was open when it was made. @internal */
export interface Provisional {
  readonly key: object
  /** Whether it landed with the transaction. */
  readonly landed: Effect.Effect<boolean, Store.StoreError>
  /** What the session rested on before. */
  readonly before: Before
}

const unbound: Store.Binding = { audience: "", limit: Number.POSITIVE_INFINITY }

/** @internal */
export const nothing: Draft.Owed = { _tag: "Nothing" }

/** @internal */
export const sameToken = (a: SessionToken.Token, b: SessionToken.Token): boolean =>
  a === b || Redacted.value(a) === Redacted.value(b)

/** @internal */
export class Working {
  /** Whether anything asked for the session, so that the response depends on it. */
  asked = false
  loader: Started<Found, Store.StoreError> | undefined = undefined
  loadFailure: Store.StoreError | undefined = undefined
  failureReported = false
  carrier = 0
  /** The tokens of the request that this store may have made. */
  candidates: ReadonlyArray<SessionToken.Token> = []
  arrivedLive = false

  /** What the session rests on, once it is known. */
  base: Draft.Base | undefined = undefined
  draft: Draft.Draft = Draft.empty
  /** What led from the base to the draft. */
  updates: Array<Draft.Update> = []
  /** The token of the session that will begin. */
  next: SessionToken.Token | undefined = undefined
  renewing = false
  removing: ReadonlyArray<SessionToken.Token> = []
  ignoring = false
  provisional: ReadonlyArray<Provisional> = []

  attributes: State.Attributes | undefined = undefined
  did: Outcome | undefined = undefined
  /** The last commit has begun: what is written from here on is saved by an explicit one alone. */
  finishing = false
  headSent = false
  /** A warning of what is unsaved is due when the request ends. */
  warning = false
  /** Raised by every `destroy`, so that a commit under way can tell that it was overtaken. */
  ends = 0
  /** Where the commits of this request queue, the same for all of them. */
  lane: unknown = undefined
  attempting: Draft.Owed = nothing
  /** The newest commit that was started for the handler, who may have stopped waiting for it. */
  underway: Effect.Effect<unknown, unknown> | undefined = undefined
  conflicted = false

  /** The token to put into the response. */
  delivery: Delivery | undefined = undefined
  /** The client is to forget its token. */
  expiring = false
  /** Why the commit failed. */
  commitFailure: Cause.Cause<unknown> | undefined = undefined

  /** The store's operations, where it answers at once. */
  readonly synchronous: Store.Synchronous | undefined

  constructor(readonly environment: Environment) {
    this.synchronous = operationsOf(environment.store)
  }

  // ------------------------------------------------------------------------------------------------------ what it is

  /** The transport that answers. */
  get transport(): State.Transport | undefined {
    return this.environment.transports[this.carrier]
  }

  /** The transports that were read to find the session. */
  get consulted(): ReadonlyArray<State.Transport> {
    // Where none carried a token, all of them were asked for one.
    const found = this.base !== undefined && this.candidates.length > 0
    return this.environment.transports.slice(0, found ? this.carrier + 1 : undefined)
  }

  get binding(): Store.Binding {
    return this.transport ?? unbound
  }

  /** Whether neither store nor transports suspend: then a fiber and a timer of their own are spared. */
  get atOnce(): boolean {
    return this.synchronous !== undefined &&
      this.environment.transports.every((transport) => transport.synchronous === true)
  }

  /** The public id, where it is known without hashing anything. */
  get knownId(): string | undefined {
    return this.base?._tag === "Live" ? this.base.record.id ?? SessionToken.unsafeToId(this.base.token) : undefined
  }

  owed(draft: Draft.Draft, intent: Intent, now: number): Draft.Owed {
    return Draft.decide(
      {
        base: this.base ?? Draft.fresh,
        draft,
        removing: this.removing.length > 0,
        renewing: this.renewing,
        discarding: intent.discarding,
        explicit: intent.keepEmpty && !this.expiring
      },
      now,
      this.environment.policy
    )
  }

  get unsaved(): boolean {
    return this.base !== undefined && !this.ignoring &&
      (this.removing.length > 0 || this.renewing || Draft.isChanged(this.base, this.draft))
  }

  get lostNothing(): boolean {
    return this.ignoring || this.base?._tag !== "Ended" || !Draft.isChanged(Draft.ended, this.draft)
  }

  /** Whether a longer life is to be told to the client. */
  carriesExpiry(record: SessionRecord): boolean {
    return this.transport?.persistent === true || record.persistent === true ||
      this.attributes?.maxAge !== undefined || this.attributes?.expires !== undefined
  }

  // -------------------------------------------------------------------------------------------------------- the load

  found({ base, carrier }: Found): void {
    this.carrier = carrier
    this.arrivedLive = base._tag === "Live"
    this.base = base
    this.draft = Draft.replay(this.updates, Draft.draftOf(base))
  }

  notFound(failure: Store.StoreError): void {
    this.loadFailure = failure
    if (this.environment.policy.onStoreFailure === "anonymous") {
      this.base = Draft.detached
    }
  }

  /** Lets a load that failed be tried again. */
  forgetFailure(): void {
    if (this.loadFailure !== undefined) {
      this.loader = undefined
      this.base = undefined
      this.loadFailure = undefined
      this.failureReported = false
    }
  }

  // ------------------------------------------------------------------------------------------------------- the verbs

  update<B>(f: (draft: Draft.Draft) => readonly [B, Draft.Draft]): B {
    const [answer, draft] = f(this.draft)
    this.draft = draft
    this.updates.push((draft) => f(draft)[1])
    return answer
  }

  renew(): void {
    if (!this.renewing) {
      this.renewing = true
      this.next = undefined
    }
    this.draft = Draft.renewed(this.draft)
    this.updates.push(Draft.renewed)
  }

  destroy(): void {
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
  }

  /** The token of the session that will begin: the same until it did. */
  nextToken(): SessionToken.Token {
    if (this.next === undefined) {
      const kin = this.base?._tag === "Live" ? this.base.token : undefined
      this.next = SessionToken.draw(this.environment.generator, kin)
    }
    return this.next
  }

  // ------------------------------------------------------------------------------------------------------ the commit

  /** The head left. */
  left(): void {
    this.finishing = true
    this.headSent = true
  }

  /** Puts all that was not written on top of what another request left, or of what was written. */
  rebase(token: SessionToken.Token, record: SessionRecord): void {
    this.base = { _tag: "Live", token, record }
    this.draft = Draft.replay(this.updates, Draft.fromRecord(record))
  }

  /** A login on a session that ended: it begins one of this request's own updates, whatever became of the old one. */
  beginAnew(): void {
    this.base = Draft.ended
    this.draft = Draft.replay(this.updates, Draft.empty)
  }

  /** The first `count` updates were written. */
  written(owed: Draft.Owed, count: number): void {
    this.updates = this.updates.slice(count)
    if (owed._tag === "Create" || owed._tag === "Renew") {
      this.renewing = false
      this.next = undefined
    }
    this.did = owed
  }

  /** The first `count` updates fail as by a rollback, and are not made again on what another request left. */
  refuse(token: SessionToken.Token, record: SessionRecord, count: number): void {
    this.updates = this.updates.slice(count)
    this.renewing = false
    this.rebase(token, record)
    this.did = { _tag: "RolledBack" }
  }

  /** Takes the newest provisional commit back. */
  takeBack(before: Before): void {
    this.provisional = this.provisional.slice(0, -1)
    this.base = before.base
    this.removing = before.removing
    this.delivery = before.delivery
    this.renewing = false
    this.next = undefined
    this.draft = Draft.replay(this.updates, Draft.draftOf(this.base ?? Draft.fresh))
    this.did = { _tag: "RolledBack" }
  }
}
