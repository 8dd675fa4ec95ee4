/**
 * How a client carries its session's token. A state is one or more transports, which are tried in order. Each transport
 * reads tokens from a request and puts one into a response. A state knows nothing of stores, nor of what a session
 * holds.
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
 * The attributes of a cookie. In the attributes of one response, a key that is present but `undefined` removes the
 * configured attribute.
 *
 * @since 0.1.0
 * @category models
 */
export type Attributes = {
  readonly [K in keyof NonNullable<Cookies.Cookie["options"]>]?: NonNullable<Cookies.Cookie["options"]>[K] | undefined
}

/**
 * What a transport has to know about the session whose token it puts into a response.
 *
 * @since 0.1.0
 * @category models
 */
export interface Emission {
  /** The time, in milliseconds since the epoch. */
  readonly now: number
  /**
   * When the session ends, in milliseconds since the epoch: its idle deadline or its absolute bound, whichever is
   * earlier.
   */
  readonly endsAt: number
  /** Whether the token has to outlive the browser's own session (`Session.expireIn`). */
  readonly persistent: boolean
  /** The cookie attributes for this response alone, from `CookieState.attributes`. */
  readonly attributes: Attributes | undefined
}

/**
 * One way to carry a token.
 *
 * A transport that need not wait should do its work when it is called and return an `Exit`: the middleware then goes on
 * without starting a fiber. `Effect.succeed` returns an `Exit`; `Effect.sync` and `Effect.map` do not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  /**
   * The place that a sealed token is bound to, so that it is accepted nowhere else: `cookie:` and the cookie's name,
   * `header:` and the header's name in lower case, or `param:` and the parameter's key.
   */
  readonly audience: string
  /** How many bytes a token may have. */
  readonly limit: number
  /** The request headers that are read. The middleware adds them to `Vary`. */
  readonly vary: ReadonlyArray<string>
  /** Whether every token is sent with an expiry. It then has to be sent again when the session's end moves. */
  readonly persistent: boolean
  /**
   * How long the client keeps a token, if the session lives as long: a number of milliseconds, or `"browser"` for until
   * the browser is closed. The middleware logs a warning if this does not fit the policy. Default: not known, as with a
   * header, which a client keeps as long as it likes.
   */
  readonly clientKeeps?: number | "browser" | undefined
  /** The tokens that a request carries, in order, malformed ones included. What can't be read is left out. */
  readonly extract: (
    request: HttpServerRequest.HttpServerRequest
  ) => Effect.Effect<ReadonlyArray<SessionToken.Token>>
  /**
   * Whether a token came in an older form, such as one signed by an older secret. The token is then put into the next
   * response that writes or touches its session. The argument is the object that `extract` returned. Default: no token
   * is outdated.
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
 * The state service. A new session's token is sent by the first of its transports.
 *
 * @since 0.1.0
 * @category models
 */
export interface State {
  readonly [TypeId]: TypeId
  readonly transports: readonly [Transport, ...Array<Transport>]
}

/**
 * The tag of the state service.
 *
 * @since 0.1.0
 * @category tags
 */
export const State: Context.Tag<State, State> = Context.GenericTag<State>("effect-session/State")

/**
 * Makes a state of one or more transports, which are tried in this order.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (...transports: readonly [Transport, ...Array<Transport>]): State => ({
  [TypeId]: TypeId,
  transports
})

/**
 * Joins two states, so that one app serves browsers and native clients. The first transport in which a request carries
 * a well-formed token is used, and the response's token is sent by it too. A new session's token is sent by the first
 * transport.
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
