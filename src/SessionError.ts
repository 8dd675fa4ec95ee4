/**
 * The errors of a session. Each says how it is answered when no handler does, and none holds a token or a value.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { logAndRespondWith, respondable, respondWith } from "./internal/http/respondable.js"

/**
 * The session this request came with is over: destroyed, renewed or expired by the time the change was to land. Nothing
 * was kept. Unhandled, it is answered with 401.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionGone extends Schema.TaggedError<SessionGone>("effect-session/SessionGone")("SessionGone", {}) {
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return respondWith(401)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return "the session is over: it was destroyed, renewed or expired while the request ran, or is kept nowhere"
  }
}

/**
 * What was asked needs a new token, and the response head, which would carry it, has left. Commit before the head leaves:
 * a session that exists can be updated from a stream.
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
    return "the response head has left, so a new session token can't reach the client; " +
      "run Session.commit before the response is returned"
  }
}

/**
 * A value that a session can't hold. `Ref` operations have no error channel, so they die with it, and the session is as
 * it was; the answer is 500.
 *
 * - `NotJson`: a function, a class instance, `NaN`, a cycle, a key named `__proto__`; `path` says where
 * - `Invalid`: the field's schema refused it; `path` is the field's key
 * - `TooLarge`: the data would exceed the policy's `maxSize`; answered with 413 (S62)
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
    return `session data at ${this.path === "" ? "the top" : this.path}: ${this.problem}`
  }
}

/**
 * A field that has no default was read and the session has no value for it, or one that its schema can't decode.
 * Unhandled, it is answered with 401.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionFieldMissing
  extends Schema.TaggedError<SessionFieldMissing>("effect-session/SessionFieldMissing")("SessionFieldMissing", {
    key: Schema.String,
    reason: Schema.Literal("Missing", "Invalid")
  })
{
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return respondWith(401)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return this.reason === "Missing"
      ? `the session has no ${JSON.stringify(this.key)}`
      : `the session's ${JSON.stringify(this.key)} does not fit its schema`
  }
}
