/**
 * The errors of a session. Each one knows the HTTP status that it is answered with if the app does not handle it. No
 * error holds a token or a value of the session. The module knows nothing of stores or states.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { declaredAs, logAndRespondWith, respondable, respondWith } from "./internal/http/respondable.js"

/**
 * How a session ended:
 *
 * - `destroyed`: by `Session.destroy`, or by somebody who is not known
 * - `renewed`: it goes on under a new token, which its own client has
 * - `revoked`: beside its requests, by `Sessions.revoke`, `revokeAll` or `keepNewest`
 * - `expired`: its time was over
 *
 * @since 0.1.0
 * @category models
 */
export type Ending = "destroyed" | "renewed" | "revoked" | "expired"

/**
 * The session that the request came with has ended: it was destroyed, renewed or has expired. A change that was not saved
 * yet was dropped. If nobody handles it, the answer is 401. `reason` says how it ended; `Session.watch` always gives it,
 * and a commit, which only finds the session gone, does not.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionGone extends Schema.TaggedError<SessionGone>("effect-session/SessionGone")(
  "SessionGone",
  { reason: Schema.optionalWith(Schema.Literal("destroyed", "renewed", "revoked", "expired"), { exact: true }) },
  declaredAs(401)
) {
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return respondWith(401)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return this.reason === undefined
      ? "The session has ended: it was destroyed, renewed or has expired while the request ran, or the store keeps " +
        "nothing. The change was not saved. Ask the client to log in again."
      : `The session has ended: it ${this.reason === "expired" ? "has" : "was"} ${this.reason}.`
  }
}

/**
 * The session needs a new token, but the response head that would carry it has already been sent. Run `Session.commit`
 * before the response is returned. A session that exists by then can be updated from a stream. If nobody handles it,
 * the answer is 500.
 *
 * @since 0.1.0
 * @category errors
 */
export class HeadSent extends Schema.TaggedError<HeadSent>("effect-session/HeadSent")("HeadSent", {}) {
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return logAndRespondWith(this, 500)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return "The response head has been sent, so a new session token can't reach the client. " +
      "Run Session.commit before the response is returned."
  }
}

/**
 * The user has to log in again before they may do this: nobody logged in to the session, or too long ago
 * (`Session.requireRecentLogin`). If nobody handles it, the answer is 401.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReauthenticationRequired
  extends Schema.TaggedError<ReauthenticationRequired>("effect-session/ReauthenticationRequired")(
    "ReauthenticationRequired",
    {},
    declaredAs(401)
  )
{
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return respondWith(401)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return "This needs a recent login. Ask the user to log in again."
  }
}

/**
 * A value that a session can't hold. `Ref` operations have no error channel, so they die with this error. The session
 * stays as it was. If nobody handles the defect, the answer is 500, or 413 for `TooLarge`.
 *
 * - `NotJson`: the value is not JSON, such as a function, a class instance, `NaN`, a cycle or a key named `__proto__`.
 *   The `path` says where it is.
 * - `Invalid`: the field's schema does not allow the value. The `path` is the field's key.
 * - `TooLarge`: the data would be larger than the policy's `maxSize`.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionDataError extends Schema.TaggedError<SessionDataError>("effect-session/SessionDataError")(
  "SessionDataError",
  {
    reason: Schema.Literal("NotJson", "Invalid", "TooLarge"),
    path: Schema.String,
    problem: Schema.String
  }
) {
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return logAndRespondWith(this, this.reason === "TooLarge" ? 413 : 500)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return `The session can't hold the data at ${this.path === "" ? "the top" : this.path}: ${this.problem}`
  }
}

/**
 * A field without a default was read, but the session has no value for it, or a value that the field's schema can't
 * decode. If nobody handles it, the answer is 401.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionFieldMissing
  extends Schema.TaggedError<SessionFieldMissing>("effect-session/SessionFieldMissing")("SessionFieldMissing", {
    key: Schema.String,
    reason: Schema.Literal("Missing", "Invalid")
  }, declaredAs(401))
{
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return respondWith(401)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return this.reason === "Missing"
      ? `The session has no value for the field ${JSON.stringify(this.key)}. Set it, or give the field a default.`
      : `The session's value for the field ${JSON.stringify(this.key)} does not fit the field's schema. Set it again.`
  }
}
