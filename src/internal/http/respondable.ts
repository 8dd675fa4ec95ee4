/**
 * How an error of this library is answered if the app does not handle it. The module knows nothing of sessions.
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Respondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"

/** The key under which an error says how it is answered. @internal */
export const respondable: typeof Respondable.symbol = Respondable.symbol

/**
 * The status of an error that an `HttpApi` declares. `HttpApi` encodes such an error wherever it meets one, also where it
 * would have answered by `respondable`, so both have to say the same.
 *
 * @internal
 */
export const declaredAs = <A>(status: number): Schema.Annotations.Schema<A> => HttpApiSchema.annotations({ status })

/** The mark of an error that was logged, so that one failure is logged only once. */
const logged: unique symbol = Symbol.for("effect-session/logged")

/** Logs an error of this library and runs `besides`, unless the same error was logged before. @internal */
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
 * Answers an error with a bare status, so that nothing internal reaches the client.
 *
 * @internal
 */
export const respondWith = (status: number): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.succeed(HttpServerResponse.empty({ status }))

/** Logs an error, because the platform does not, and answers it with a bare status. @internal */
export const logAndRespondWith = (
  error: object,
  status: number
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.zipRight(
    logOnce(error, `effect-session: The app did not handle this error. The request is answered with ${status}.`),
    respondWith(status)
  )
