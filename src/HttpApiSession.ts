/**
 * The session for an app of `HttpApi`: a middleware tag to put on an api, a group or an endpoint. It provides the session
 * to the handlers and its security scheme to the OpenAPI document.
 *
 * @since 0.1.0
 */
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Record from "effect/Record"
import type * as Ref from "effect/Ref"
import type * as HttpMiddleware from "./HttpMiddleware.js"
import { built } from "./internal/session/middleware.js"
import { type Parts, partsOf, sharedParts } from "./internal/session/parts.js"
import * as Session from "./Session.js"
import type * as State from "./State.js"
import type * as Store from "./Store.js"

/**
 * What `Tag` is told of a session.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<S, Security extends Scheme | Schemes> {
  /**
   * How the OpenAPI document says that the client carries the session: one scheme, which the document then calls by the
   * tag's name, or several by name, as in `HttpApiMiddleware.Tag`. They have to name what the State reads:
   *
   * - `CookieState`: `HttpApiSecurity.apiKey({ in: "cookie", key: "__Host-session" })`
   * - `HeaderState`: `HttpApiSecurity.bearer`, or `HttpApiSecurity.apiKey({ in: "header", key: "X-Session" })`
   * - `ParamState`: `HttpApiSecurity.apiKey({ in: "query", key: "session" })`. Put it on groups or endpoints: the platform
   *   has no query to read for a middleware of the api itself, and answers every request with 500
   */
  readonly security: Security
  /** The tag of a named session (`Session.Tag`). Default: `Session.Session`. */
  readonly session?: Session.SessionTag<S> | undefined
}

/**
 * A security scheme of the platform.
 *
 * @since 0.1.0
 * @category models
 */
export type Scheme = HttpApiSecurity.HttpApiSecurity

/**
 * Security schemes by their names in the OpenAPI document.
 *
 * @since 0.1.0
 * @category models
 */
export interface Schemes {
  readonly [name: string]: Scheme
}

/**
 * The schemes of a tag by name. A single one has the name of the tag.
 *
 * @since 0.1.0
 * @category models
 */
export type Named<Name extends string, Security extends Scheme | Schemes> = Security extends Scheme
  ? { readonly [K in Name]: Security }
  : Security extends Schemes ? { readonly [K in keyof Security]: Security[K] }
  : never

/**
 * What the layer of a session's middleware needs: State and Store, or for a named session what
 * `HttpMiddleware.layerSession` builds.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<S> = [S] extends [Session.Session] ? State.State | Store.Store
  : HttpMiddleware.SessionMiddleware<S>

const partsFor = <S>(session: Session.SessionTag<S>) => (context: Context.Context<Requirements<S>>): Parts =>
  session.key === Session.Session.key
    ? sharedParts(context as Context.Context<State.State | Store.Store>)
    : Context.get(
      context as Context.Context<HttpMiddleware.SessionMiddleware<S>>,
      partsOf<HttpMiddleware.SessionMiddleware<S>>(session)
    )

/**
 * The class that `Tag` makes: a middleware tag of the platform that carries its `layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface TagClass<Self, Name extends string, S, Security extends Schemes>
  extends
    HttpApiMiddleware.TagClass.BaseSecurity<
      Self,
      `effect-session/HttpApiSession/${Name}`,
      { readonly provides: Session.SessionTag<S>; readonly security: Security },
      HttpApiMiddleware.HttpApiMiddlewareSecurity<Security, Ref.Ref<Session.Data>, never>,
      Security
    >
{
  /** The middleware's layer. It warns if a scheme does not name what the State reads. */
  readonly layer: Layer.Layer<Self, never, Requirements<S>>
}

/**
 * Makes the middleware tag of a session whose scheme is another than that of `HttpApiSession`: another cookie name, a
 * bearer header, or a named session. The class carries its `layer`. The name stands in the OpenAPI document, so it is of
 * letters, digits, `.`, `-` and `_`.
 *
 * @since 0.1.0
 * @category tags
 * @example
 * ```ts
 * import { HttpApiSecurity } from "@effect/platform"
 * import { Layer } from "effect"
 * import { CookieState, HeaderState, HttpApiSession, HttpMiddleware, MemoryStore, Session } from "effect-session"
 *
 * // Authorization: Bearer <token>
 * class BearerSession extends HttpApiSession.Tag<BearerSession>()("bearer", { security: HttpApiSecurity.bearer }) {}
 *
 * const bearer = BearerSession.layer.pipe(Layer.provide([HeaderState.layer(), MemoryStore.layer()]))
 *
 * // a named session
 * class Admin extends Session.Tag<Admin>()("admin") {}
 * class AdminSession extends HttpApiSession.Tag<AdminSession>()("admin", {
 *   security: HttpApiSecurity.apiKey({ in: "cookie", key: "__Host-admin" }),
 *   session: Admin
 * }) {}
 *
 * const admin = AdminSession.layer.pipe(
 *   Layer.provide(HttpMiddleware.layerSession(Admin, [
 *     CookieState.layer({ name: "__Host-admin" }),
 *     MemoryStore.layer()
 *   ]))
 * )
 * ```
 */
export const Tag =
  <Self>() =>
  <const Name extends string, const Security extends Scheme | Schemes, S = Session.Session>(
    name: Name,
    options: Options<S, Security>
  ): TagClass<Self, Name, S, Named<Name, Security>> => {
    const session = (options.session ?? Session.Session) as Session.SessionTag<S>
    const security: Schemes = isScheme(options.security) ? { [name]: options.security } : options.security
    const tag = HttpApiMiddleware.Tag<Self>()(`effect-session/HttpApiSession/${name}`, { provides: session, security })
    const layer = Layer.effect(
      tag,
      Effect.flatMap(built(session, partsFor(session)), ({ attach, parts }) => {
        // the State looks for the token itself, by its own rules: what the platform decoded is not used
        const attached = attach(session)
        return Effect.as(checkSchemes(security, parts.state), Record.map(security, () => () => attached))
      })
    )
    return Object.assign(tag, { layer }) as unknown as TagClass<Self, Name, S, Named<Name, Security>>
  }

const isScheme = (security: Scheme | Schemes): security is Scheme => HttpApiSecurity.TypeId in security

/** What a scheme reads, as a transport calls it. */
const audienceOf = (scheme: Scheme): string => {
  switch (scheme._tag) {
    case "ApiKey":
      return scheme.in === "cookie"
        ? `cookie:${scheme.key}`
        : scheme.in === "header"
        ? `header:${scheme.key.toLowerCase()}`
        : `param:${scheme.key}`
    case "Bearer":
      return "header:authorization"
    case "Basic":
      return "a name and a password"
  }
}

const checkSchemes = (schemes: Schemes, state: State.State): Effect.Effect<void> => {
  const read = state.transports.map(({ audience }) => audience)
  return Effect.forEach(Object.entries(schemes), ([name, scheme]) => {
    const said = audienceOf(scheme)
    return read.includes(said) ? Effect.void : Effect.logWarning(
      `HttpApiSession: The security scheme ${
        JSON.stringify(name)
      } of the OpenAPI document says ${said}, but the State ` +
        `reads ${read.join(", ")}. Name what the State reads with HttpApiSession.Tag, or change the State.`
    )
  }, { discard: true })
}

/**
 * The middleware of the default session, carried in the cookie `__Host-session`, which is what `CookieState.layer()` sets.
 * It provides `Session.Session` to the handlers of the api, group or endpoint that it is put on. An app that forgets
 * `HttpApiSession.layer` does not compile.
 *
 * @since 0.1.0
 * @category tags
 * @example
 * ```ts
 * import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
 * import { Layer, Schema } from "effect"
 * import { CookieState, HttpApiSession, MemoryStore, SessionField } from "effect-session"
 *
 * const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })
 *
 * class Api extends HttpApi.make("api").add(
 *   HttpApiGroup.make("pages").add(HttpApiEndpoint.get("visit", "/visit").addSuccess(Schema.Number))
 * ).middleware(HttpApiSession.HttpApiSession) {}
 *
 * const pages = HttpApiBuilder.group(
 *   Api,
 *   "pages",
 *   (handlers) => handlers.handle("visit", () => SessionField.updateAndGet(Visits, (n) => n + 1))
 * )
 *
 * const api = HttpApiBuilder.api(Api).pipe(
 *   Layer.provide(pages),
 *   Layer.provide(HttpApiSession.layer),
 *   Layer.provide([CookieState.layer(), MemoryStore.layer()])
 * )
 * ```
 */
export class HttpApiSession extends Tag<HttpApiSession>()("session", {
  security: HttpApiSecurity.apiKey({ in: "cookie", key: "__Host-session" })
}) {}

/**
 * The layer of `HttpApiSession`. A `SessionPolicy` of your own is provided to it as State and Store are. Warns if the State
 * reads no cookie `__Host-session`, because the OpenAPI document then names the wrong one: with
 * `CookieState.layer({ secure: false })`, which is for development, it does.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<HttpApiSession, never, State.State | Store.Store> = HttpApiSession.layer

/**
 * The layer of an `HttpApiMiddleware` of your own whose effect uses the session. It can stand in any order with
 * `HttpApiSession` and with others: all that a request passes share one session. What the effect fails with must be the
 * middleware's `failure`; what it gives is the service that the middleware `provides`, or is ignored if there is none.
 *
 * A guard of a named session is given the session's tag as third argument.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HttpApiMiddleware, HttpApiSchema } from "@effect/platform"
 * import { Effect, Schema } from "effect"
 * import { HttpApiSession, SessionField } from "effect-session"
 *
 * const User = SessionField.make("user", Schema.NonEmptyString)
 *
 * class Unauthorized
 *   extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}, HttpApiSchema.annotations({ status: 401 }))
 * {}
 *
 * class SignedIn extends HttpApiMiddleware.Tag<SignedIn>()("SignedIn", { failure: Unauthorized }) {}
 *
 * const signedIn = HttpApiSession.guard(SignedIn, Effect.mapError(User, () => new Unauthorized()))
 * ```
 */
export const guard: {
  <I, A, E, R>(
    middleware: Context.Tag<I, HttpApiMiddleware.HttpApiMiddleware<A, E>>,
    effect: Effect.Effect<Result<NoInfer<A>>, NoInfer<E>, R>
  ): Layer.Layer<
    I,
    never,
    State.State | Store.Store | Exclude<R, Session.Session | HttpRouter.HttpRouter.Provided>
  >
  <I, A, E, R, S>(
    middleware: Context.Tag<I, HttpApiMiddleware.HttpApiMiddleware<A, E>>,
    effect: Effect.Effect<Result<NoInfer<A>>, NoInfer<E>, R>,
    session: Session.SessionTag<S>
  ): Layer.Layer<I, never, Requirements<S> | Exclude<R, S | HttpRouter.HttpRouter.Provided>>
} = <I, A, E, R>(
  middleware: Context.Tag<I, HttpApiMiddleware.HttpApiMiddleware<A, E>>,
  effect: Effect.Effect<Result<NoInfer<A>>, NoInfer<E>, R>,
  session: Session.SessionTag<Session.Session> = Session.Session
): Layer.Layer<
  I,
  never,
  State.State | Store.Store | Exclude<R, Session.Session | HttpRouter.HttpRouter.Provided>
> =>
  Layer.effect(
    middleware,
    Effect.zipWith(
      built(session, partsFor(session)),
      Effect.context<Exclude<R, Session.Session | HttpRouter.HttpRouter.Provided>>(),
      ({ attach }, context) =>
        Effect.mapInputContext(
          attach(effect) as Effect.Effect<A, E>,
          (request: Context.Context<HttpRouter.HttpRouter.Provided>) => Context.merge(context, request)
        )
    )
  )

/**
 * What the effect of a guard gives: the service of its middleware, or anything if the middleware provides none.
 *
 * @since 0.1.0
 * @category models
 */
export type Result<A> = [A] extends [void] ? unknown : A
