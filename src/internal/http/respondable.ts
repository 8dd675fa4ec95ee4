/**
 * How an error of this library is answered when nobody handles it.
 */
import * as Respondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"

/** The key under which an error says how it is answered. @internal */
export const respondable: typeof Respondable.symbol = Respondable.symbol

/** Set on an error once it is in the log, so that the same failure is logged once, whoever meets it next. */
const logged: unique symbol = Symbol.for("effect-session/logged")

/** Logs an error of this library at error level, and does what comes with it, unless that was done before. @internal */
export const logOnce = (
  error: object,
  message: string,
  besides: Effect.Effect<void> = Effect.void
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const marked: { [logged]?: true } = error
    if (marked[logged] === true) {
      return Effect.void
    }
    marked[logged] = true
    return Effect.zipRight(besides, Effect.logError(message, Cause.fail(error)))
  })

/**
 * The answer to an error that nobody handled: a bare status, so that nothing internal reaches the client.
 *
 * @internal
 */
export const respondWith = (status: number): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.succeed(HttpServerResponse.empty({ status }))

/** The same for an error of the app's or of the store, which is logged: the platform logs nothing by itself. @internal */
export const logAndRespondWith = (
  error: object,
  status: number
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.zipRight(logOnce(error, `a request is answered with ${status}`), respondWith(status))
