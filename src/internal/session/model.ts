/**
 * What one request knows of its session, and what its response will say of it: the types of the values that `state.ts`
 * changes.
 *
 *     Untouched ──▶ Loading ──▶ Open        the handler and its commits change it
 *         │            └──────▶ Failed      the store failed, and the policy is to fail
 *         └───────────────────▶ Open        the store answered at once
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as SessionEvents from "../../SessionEvents.js"
import type * as SessionPolicy from "../../SessionPolicy.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import type * as Store from "../../Store.js"
import type { Running } from "../runtime/caller.js"
import type { Started } from "../runtime/timeout.js"
import type * as Draft from "./draft.js"
import type { Write } from "./plan.js"

/** What a session is given of its surroundings. @internal */
export interface Environment {
  readonly store: Store.Store
  readonly policy: SessionPolicy.Policy
  readonly generator: (size: number) => Uint8Array
  /** What the app does with events. */
  readonly events: SessionEvents.Handler
  readonly transports: ReadonlyArray<State.Transport>
  /** Where the token comes from: a request, or the caller, or nowhere. */
  readonly source: HttpServerRequest.HttpServerRequest | SessionToken.Token | undefined
  /** The fiber that runs the middleware, and the scope of its request. */
  readonly host: { readonly fiber: Running; readonly scope: Scope.Scope } | undefined
}

/** What the load found out about the request. @internal */
export interface Carried {
  /** The transport that carried the token, and that answers. */
  readonly transport: number
  /** The tokens of the request that this store may have made. */
  readonly candidates: ReadonlyArray<SessionToken.Token>
  /** Whether the request carried anything where a token travels, well-formed or not. */
  readonly any: boolean
}

/** What is known of the session. @internal */
export type Value =
  | { readonly _tag: "Untouched" }
  | {
    readonly _tag: "Loading"
    readonly load: Started<Draft.Base, Store.StoreError>
    /** Of the tokens that the request carries, which a form's client sends as slowly as it likes. */
    readonly arrival: Started<void, never>
    /** The session without a store that a load which failed left, while the load is tried again. */
    readonly before: Open | undefined
  }
  | { readonly _tag: "Failed"; readonly failure: Store.StoreError }
  | Open

/** One session, from its load or its beginning until it is destroyed. A commit holds the one it began with. @internal */
export interface Incarnation {
  /**
   * - `Arrived`: the request came with it
   * - `Begun`: it begins in this request
   * - `AfterDestroy`: it begins in this request after another was destroyed, and only if something is put into it
   */
  readonly origin: "Arrived" | "Begun" | "AfterDestroy"
  /** Its name in this process while it has no token. */
  readonly name: string
}

/** A session that is loaded. @internal */
export interface Open {
  readonly _tag: "Open"
  readonly incarnation: Incarnation
  readonly base: Draft.Base
  readonly draft: Draft.Draft
  /** What led from the base to the draft. */
  readonly pending: Draft.Pending
  /**
   * The renewal that was asked for and is not carried out, with the app's own transaction that was open then. Another
   * renewal is another object.
   */
  readonly renewal: { readonly within: object | undefined } | undefined
  /** The token of the session that will begin. */
  readonly next: SessionToken.Token | undefined
  /** Destroyed sessions whose removal is not carried out. */
  readonly removing: ReadonlyArray<Removal>
  /** Commits inside transactions of the app's own, the newest last. */
  readonly provisional: ReadonlyArray<Provisional>
}

/** A session that is to be removed. Its record is unknown where it was destroyed without having been loaded. @internal */
export interface Removal {
  readonly token: SessionToken.Token
  readonly record?: SessionRecord | undefined
}

/** A commit inside a transaction of the app's own that was open when it was made. @internal */
export interface Provisional {
  readonly key: object
  /** Whether the transaction was committed. */
  readonly committed: Effect.Effect<boolean, Store.StoreError>
  /** What to go back to if it was rolled back. */
  readonly before: { readonly open: Open; readonly delivery: Delivery | undefined }
}

/** What the client is to be told. @internal */
export interface Delivery {
  readonly token: SessionToken.Token
  readonly record: SessionRecord
}

/** What a commit will do, or did. @internal */
export type Outcome =
  | Write
  | { readonly _tag: "Gone" }
  | { readonly _tag: "RolledBack" }
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<unknown> }

/** @internal */
export interface Response {
  /**
   * - `Handling`: the handler runs
   * - `Upgraded`: it runs, and no token can reach the client any more
   * - `Committing`: the commit at the end of the request has begun; what is written from here on is saved by an explicit
   *   commit alone
   * - `Sent`: the head has left
   * - `Over`: the request's scope is closed
   */
  readonly phase: "Handling" | "Upgraded" | "Committing" | "Sent" | "Over"
  /** The handler asked that its changes be dropped. */
  readonly ignoring: boolean
  readonly attributes: State.Attributes | undefined
  /** The token to put into the response. */
  readonly delivery: Delivery | undefined
  /** The client is to forget its token. */
  readonly expiring: boolean
  /** The token was given to the handler, who may have put it into the body. */
  readonly disclosed: boolean
  /** Why the commit failed. */
  readonly failure: Cause.Cause<unknown> | undefined
  /** What the last commit began with: what it did not save of that, it dropped on purpose. */
  readonly closed: Open | undefined
  /** The request's scope sees to it that nothing is lost in silence. */
  readonly watched: boolean
  /** What the last commit did. */
  readonly outcome: Outcome | undefined
}

/** A commit's write as it was planned, and what it was planned from. @internal */
export interface Planned<B> {
  readonly open: Open
  readonly write: Write
  readonly draft: Draft.Draft
  readonly answer: B
  readonly now: number
}

/** What `Session.info` answers. @internal */
export interface Info {
  /** The public id: safe to log, never the token. */
  readonly id: SessionToken.SessionId
  /** Whether the request came without a live session. */
  readonly isNew: boolean
  /** Whether the cookie outlives the browser's own session (`expireIn`). */
  readonly persistent: boolean
  /** Whose session it is. */
  readonly subject: Option.Option<string>
  /** What its owner is shown of it, such as "Firefox on Linux". */
  readonly label: Option.Option<string>
  /** When the subject last proved who they are. */
  readonly authenticatedAt: Option.Option<number>
  readonly createdAt: Option.Option<number>
  /** When it was last written or touched. */
  readonly touchedAt: Option.Option<number>
  /** When it ends if it is not used any more: the idle deadline or the absolute bound, whichever is earlier. */
  readonly endsAt: Option.Option<number>
  /** The absolute bound. */
  readonly expiresAt: Option.Option<number>
}
