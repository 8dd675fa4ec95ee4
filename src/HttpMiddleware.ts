/**
 * The way of a session through a request. `session` puts a `Session` where handlers find it, and commits it when the
 * response is known and before its head leaves. Everything else here is the platform's own `HttpMiddleware`.
 *
 * What happens in a request, and where:
 *
 * 1. `session` makes the session object (`internal/session/middleware.ts`). Nothing is read yet.
 * 2. The first touch loads it (`internal/session/load.ts`). A request that never touches it costs no I/O.
 * 3. The handler updates it (`internal/session/state.ts`): every update is remembered as a function.
 * 4. When the response is known, `finish` (`internal/session/requestEnd.ts`) plans the write (`plan.ts`), carries it out
 *    (`commit.ts`) when its turn has come (`schedule.ts`), and notes what the response has to say.
 * 5. `say` (`internal/session/middleware.ts`) puts that into the response.
 *
 * | the session was | the store is asked to | the response gets |
 * | --- | --- | --- |
 * | not touched | nothing | nothing |
 * | destroyed, whatever the status | `remove`; 503 if that fails | the cookie expired, if the request carried one |
 * | in a 5xx, an abort, `ignoreChanges` | nothing more | nothing, but a token that an earlier `commit` saved |
 * | renewed | `renew` | a new cookie |
 * | new, nothing changed | nothing | nothing |
 * | new, changed | `create` | a cookie |
 * | changed | `update`, by the revision that was read | a cookie if its expiry moves |
 * | changed, and another request saved first | `update` again, with the updates made again on its data | as above |
 * | changed, but it has ended meanwhile | nothing: it stays ended | nothing |
 * | read, the deadline moves by the touch interval or more | `touch` | a cookie if it carries an expiry |
 * | read | nothing | nothing |
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { withSession } from "./internal/session/middleware.js"
import { partsOf, sharedParts } from "./internal/session/parts.js"
import * as Session from "./Session.js"
import * as State from "./State.js"
import * as Store from "./Store.js"

/**
 * @since 0.1.0
 */
export * from "@effect/platform/HttpMiddleware"

/**
 * Gives an app its session. Use it with `HttpServer.serve`, with `HttpRouter.use`, with `app.pipe`, or under
 * `HttpApp.toWebHandlerLayer`. It removes `Session.Session` from the app's requirements and adds `State.State` and
 * `Store.Store`; errors are the app's own. A request that never touches the session costs no I/O and sets no header.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { HttpServer, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer, Schema } from "effect"
 * import { CookieState, HttpMiddleware, MemoryStore, SessionField } from "effect-session"
 *
 * const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })
 *
 * const app = Effect.map(
 *   SessionField.updateAndGet(Visits, (n) => n + 1),
 *   (n) => HttpServerResponse.text(`visit ${n}`)
 * )
 *
 * const server = app.pipe(
 *   HttpServer.serve(HttpMiddleware.session),
 *   Layer.provide([CookieState.layer(), MemoryStore.layer()])
 * )
 * ```
 */
export const session = <E, R>(
  app: HttpApp.Default<E, R>
): HttpApp.Default<E, Exclude<R, Session.Session> | State.State | Store.Store> =>
  withSession(app, Session.Session, sharedParts)

/**
 * The State and Store of a named session, built by `layerSession` for the life of the app. `sessionOf` requires it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionMiddleware<in out S> {
  readonly _: (session: S) => S
}

/**
 * Builds the State and Store of a second, named session (see `Session.Tag`) for the life of the app. They are the session's
 * own: they do not meet those of `session`. Where both stores are on one server, give each a place of its own, such as
 * another prefix or table, or each session accepts the other's tokens.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HttpServer, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer } from "effect"
 * import { CookieState, HttpMiddleware, MemoryStore, Session } from "effect-session"
 *
 * class Admin extends Session.Tag<Admin>()("admin") {}
 *
 * const app = Effect.map(Session.verbs(Admin).id, (id) => HttpServerResponse.text(id))
 *
 * const server = app.pipe(
 *   HttpMiddleware.sessionOf(Admin),
 *   HttpServer.serve(),
 *   Layer.provide(HttpMiddleware.layerSession(Admin, [
 *     CookieState.layer({ name: "__Host-admin" }),
 *     MemoryStore.layer()
 *   ]))
 * )
 * ```
 */
export const layerSession = <S, E1, R1, E2 = never, R2 = never>(
  tag: Session.SessionTag<S>,
  layers:
    | Layer.Layer<State.State | Store.Store, E1, R1>
    | readonly [Layer.Layer<State.State, E1, R1>, Layer.Layer<Store.Store, E2, R2>]
    | readonly [Layer.Layer<Store.Store, E1, R1>, Layer.Layer<State.State, E2, R2>]
): Layer.Layer<SessionMiddleware<S>, E1 | E2, R1 | R2> =>
  Layer.provide(
    Layer.effect(partsOf<SessionMiddleware<S>>(tag), Effect.all({ state: State.State, store: Store.Store })),
    (isPair(layers) ? Layer.merge(layers[0], layers[1]) : layers) as Layer.Layer<
      State.State | Store.Store,
      E1 | E2,
      R1 | R2
    >
  )

const isPair = <E, R>(
  layers: object
): layers is readonly [Layer.Layer<State.State, E, R>, Layer.Layer<Store.Store, E, R>] => Array.isArray(layers)

/**
 * The middleware of a named session. It removes the session from the app's requirements and adds the
 * `SessionMiddleware` that `layerSession` builds.
 *
 * @since 0.1.0
 * @category constructors
 */
export const sessionOf =
  <S>(tag: Session.SessionTag<S>) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, Exclude<R, S> | SessionMiddleware<S>> =>
    withSession(
      app,
      tag,
      (context: Context.Context<SessionMiddleware<S>>) => Context.get(context, partsOf<SessionMiddleware<S>>(tag))
    )
