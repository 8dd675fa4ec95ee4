/**
 * How a client carries its session's token. A state is one or more transports, tried in order; each reads tokens from a
 * request and puts one into a response. A state knows nothing of stores, nor of what a session holds.
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
 * The attributes of a cookie. In those of one response, a key that is present but `undefined` takes the configured attribute
 * away.
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
  /** When the session ends, by its idle or its absolute bound, whichever is earlier. */
  readonly endsAt: number
  /** Whether the session is to outlive the browser's own session (`Session.expireIn`). */
  readonly persistent: boolean
  /** The attributes of this response, from `CookieState.attributes`. */
  readonly attributes: Attributes | undefined
}

/**
 * One way for a token to travel.
 *
 * A transport that can answer at once does its work when it is called and answers with an `Exit`: `Effect.succeed` makes
 * one, `Effect.sync` and `Effect.map` do not. The middleware then goes on without starting a fiber.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  /**
   * What a sealed token is bound to, so that it is accepted nowhere else: `cookie:` and the cookie's name, `header:` and
   * the header's name in lower case, or `param:` and the parameter's key.
   */
  readonly audience: string
  /** The bytes that a token may have here. */
  readonly limit: number
  /** The request headers that are read, for `Vary`. */
  readonly vary: ReadonlyArray<string>
  /** Whether every token goes out with an expiry, so that it has to be sent again when the session's end moves. */
  readonly persistent: boolean
  /** The tokens that a request carries, in order, malformed ones included. Never fails: what can't be read is left out. */
  readonly extract: (
    request: HttpServerRequest.HttpServerRequest
  ) => Effect.Effect<ReadonlyArray<SessionToken.Token>>
  /**
   * Whether a token that `extract` gave came in an older form, such as signed by an older secret. It is then put into the
   * response that next writes or touches its session. Asked with the object that `extract` gave. Default: none did.
   */
  readonly outdated?: ((token: SessionToken.Token) => boolean) | undefined
  /** Puts a token into a response. Doing it twice has the effect of doing it once. */
  readonly emit: (
    response: HttpServerResponse.HttpServerResponse,
    token: SessionToken.Token,
    emission: Emission
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse>
  /** Tells the client to forget its token. */
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
 * Joins two states: the first transport that carries a well-formed token is used, and answers. A new session is answered
 * through the first. So one app serves browsers and native clients, and each request still has one token of one transport.
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
