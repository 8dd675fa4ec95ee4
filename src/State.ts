/**
 * How a client carries its session's token. A State is one or more transports, tried in order; each takes tokens out of
 * a request and puts one into a response. A state knows nothing of stores, nor of what a session holds.
 *
 * @since 0.1.0
 */
import type * as Cookies from "@effect/platform/Cookies"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as SessionToken from "./SessionToken.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("effect-session/State")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * Attributes of a cookie for one response; a key that is present but `undefined` takes the configured attribute away.
 *
 * @since 0.1.0
 * @category models
 */
export type Attributes = {
  readonly [K in keyof NonNullable<Cookies.Cookie["options"]>]?: NonNullable<Cookies.Cookie["options"]>[K] | undefined
}

/**
 * What a transport is told of the session whose token it puts into a response.
 *
 * @since 0.1.0
 * @category models
 */
export interface Emission {
  /** The time, in milliseconds since the epoch. */
  readonly now: number
  /** When the session ends, idle or absolute bound, whichever is earlier. */
  readonly endsAt: number
  /** Whether the session asked to outlive the browser's own (`Session.expireIn`). */
  readonly persistent: boolean
  /** This response's attributes, by `CookieState.attributes`. */
  readonly attributes: Attributes | undefined
}

/**
 * One way for a token to travel.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  /** What a token is bound to: the cookie's name, the header's, the parameter's. */
  readonly audience: string
  /** The bytes a token may have here. */
  readonly limit: number
  /** The request headers read, for `Vary` (S56). */
  readonly vary: ReadonlyArray<string>
  /** Whether what is put into a response carries an expiry by itself, and so has to follow one that slides (S22). */
  readonly persistent: boolean
  /** Whether `extract` answers without suspending, as for what stands in the head of the request. Default: no. */
  readonly synchronous?: boolean
  /** The tokens a request carries, in order, malformed ones included. Never fails: what can't be read is not there. */
  readonly extract: (
    request: HttpServerRequest.HttpServerRequest
  ) => Effect.Effect<ReadonlyArray<SessionToken.Token>>
  /** Puts a token into a response. Doing it twice is doing it once. */
  readonly emit: (
    response: HttpServerResponse.HttpServerResponse,
    token: SessionToken.Token,
    emission: Emission
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse>
  /** Tells the client to forget its token (S27). */
  readonly expire: (
    response: HttpServerResponse.HttpServerResponse,
    attributes: Attributes | undefined
  ) => HttpServerResponse.HttpServerResponse
}

/**
 * The state service: its transports, the first of which answers for a new session.
 *
 * @since 0.1.0
 * @category models
 */
export interface State {
  readonly [TypeId]: TypeId
  readonly transports: readonly [Transport, ...Array<Transport>]
}

/**
 * The state service.
 *
 * @since 0.1.0
 * @category tags
 */
export const State: Context.Tag<State, State> = Context.GenericTag<State>("effect-session/State")

/**
 * Makes a state of transports.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (...transports: readonly [Transport, ...Array<Transport>]): State => ({
  [TypeId]: TypeId,
  transports
})

/**
 * Joins two states: the first that carries a well-formed token is used and answers, and a new session answers through
 * the first. So one app serves browsers and native clients, and still takes one token of one transport a request (S10).
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { CookieState, HeaderState, State } from "effect-session"
 *
 * const both = State.orElse(CookieState.layer(), HeaderState.layer())
 * ```
 */
export const orElse = <E, R, E2, R2>(
  first: Layer.Layer<State, E, R>,
  second: Layer.Layer<State, E2, R2>
): Layer.Layer<State, E | E2, R | R2> =>
  Layer.scoped(
    State,
    Effect.zipWith(
      Layer.build(first),
      Layer.build(second),
      (a, b) => make(...Context.get(a, State).transports, ...Context.get(b, State).transports)
    )
  )
