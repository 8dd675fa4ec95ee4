/**
 * The session for an app of `HttpLayerRouter`. Both layers do what `HttpMiddleware.session` does: `layer` for the routes
 * that it is provided to, `layerGlobal` for every request. A route that needs the session and has neither does not
 * compile.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { built } from "./internal/session/middleware.js"
import { sharedParts } from "./internal/session/parts.js"
import * as Session from "./Session.js"
import type * as State from "./State.js"
import type * as Store from "./Store.js"

type Routed = HttpApp.Default<HttpLayerRouter.unhandled, Session.Session>

/** The router infers the types of its middleware from this function, and infers `unknown` from a generic one. */
const middleware = Effect.map(
  built(Session.Session, sharedParts),
  ({ attach }) => (app: Routed): HttpApp.Default<HttpLayerRouter.unhandled> => attach(app)
)

/**
 * Gives the session to the routes that it is provided to. A request that none of them matches is not seen.
 *
 * The session's State and Store, and a `SessionPolicy` if you have your own, are provided to this layer.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer } from "effect"
 * import { CookieState, MemoryStore, Session, SessionRouter } from "effect-session"
 *
 * const routes = HttpLayerRouter.add("GET", "/me", Effect.map(Session.id, (id) => HttpServerResponse.text(id)))
 *
 * const app = routes.pipe(
 *   Layer.provide(SessionRouter.layer),
 *   Layer.provide([CookieState.layer(), MemoryStore.layer()])
 * )
 *
 * const { handler } = HttpLayerRouter.toWebHandler(app)
 * ```
 */
export const layer: Layer.Layer<
  HttpLayerRouter.Request<"Requires", Session.Session>,
  never,
  State.State | Store.Store
> = HttpLayerRouter.middleware<{ provides: Session.Session }>()(middleware).layer

/**
 * Gives the session to every request of the router, also to those that no route matches and to the endpoints of
 * `HttpLayerRouter.addHttpApi`. Global middleware that is added after it can use the session.
 *
 * The session's State and Store, and a `SessionPolicy` if you have your own, are provided to this layer.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer } from "effect"
 * import { CookieState, MemoryStore, Session, SessionRouter } from "effect-session"
 *
 * const routes = HttpLayerRouter.add("GET", "/me", Effect.map(Session.id, (id) => HttpServerResponse.text(id)))
 *
 * const app = routes.pipe(
 *   Layer.provide(SessionRouter.layerGlobal),
 *   Layer.provide([CookieState.layer(), MemoryStore.layer()])
 * )
 * ```
 */
export const layerGlobal: Layer.Layer<
  HttpLayerRouter.Request<"Requires", Session.Session> | HttpLayerRouter.Request<"GlobalRequires", Session.Session>,
  never,
  HttpLayerRouter.HttpRouter | State.State | Store.Store
> = HttpLayerRouter.middleware<{ provides: Session.Session }>()(middleware, { global: true })
