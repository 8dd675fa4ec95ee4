/**
 * The response headers that the middleware adds to those of the handler, `Vary` and `Cache-Control`, and the headers that
 * nobody writes down. The module knows nothing of sessions.
 */
import * as Headers from "@effect/platform/Headers"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { setHeader } from "./response.js"

const listed = (value: string): ReadonlyArray<string> => value.split(",").map((item) => item.trim().toLowerCase())

/** Adds the request headers that transports read to `Vary`, unless it has them or says `*` (S56). @internal */
export const vary = (
  response: HttpServerResponse.HttpServerResponse,
  transports: ReadonlyArray<{ readonly vary: ReadonlyArray<string> }>
): HttpServerResponse.HttpServerResponse => {
  const names = transports.length === 1 ? transports[0]?.vary ?? [] : transports.flatMap((transport) => transport.vary)
  const before = response.headers["vary"]
  const there = before === undefined ? [] : listed(before)
  const added = there.includes("*") ? [] : names.filter((name) => !there.includes(name.toLowerCase()))
  return added.length === 0
    ? response
    : setHeader(response, "vary", before === undefined ? added.join(", ") : [before, ...added].join(", "))
}

/** Sets `Cache-Control: no-store`, unless the handler's own value says `no-store` or `private` (S57). @internal */
export const noStore = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const before = response.headers["cache-control"]
  const kept = before !== undefined &&
    listed(before).some((item) => item === "no-store" || item === "private")
  return kept ? response : setHeader(response, "cache-control", "no-store")
}

/** Keeps headers, named in lower case, out of spans and logs as long as the scope is open (S07). @internal */
export const redactHeaders = (names: ReadonlyArray<string>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.locallyScopedWith(Headers.currentRedactedNames, (others) => [...others, ...names])
