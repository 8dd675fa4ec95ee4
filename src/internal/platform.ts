/**
 * All that is asked of the HTTP platform beyond its plain types, in one place, so that a later platform is met here.
 */
import * as Respondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"

/** The key under which an error says how it is answered. @internal */
export const respondable: typeof Respondable.symbol = Respondable.symbol

/** The answer of an error that nobody handled: a bare status, so that nothing of the inside leaks. @internal */
export const respondWith = (status: number): () => Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  const response = Effect.succeed(HttpServerResponse.empty({ status }))
  return () => response
}
