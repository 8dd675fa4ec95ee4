/**
 * What the compiler says of an `HttpApi` or an `HttpLayerRouter` with a session: read by `npm run check`, never run.
 */
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSecurity,
  HttpLayerRouter,
  HttpServerResponse
} from "@effect/platform"
import { Context, Effect, Layer, Schema } from "effect"
import type { ConfigError } from "effect"
import {
  CookieState,
  HttpApiSession,
  HttpMiddleware,
  MemoryStore,
  Session,
  SessionField,
  SessionRouter
} from "effect-session"
import type { State, Store } from "effect-session"

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

declare const equal: <A, B>(same: Same<A, B>) => void

/** The same for the type of a value. */
declare const of: <A>(value: A) => <B>(same: Same<A, B>) => void

class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}
class Other extends Schema.TaggedError<Other>()("Other", {}) {}
class Database extends Effect.Service<Database>()("types/api/Database", { succeed: { name: "db" } }) {}
class CurrentUser extends Context.Tag("types/api/CurrentUser")<CurrentUser, { readonly name: string }>() {}

const User = SessionField.make("user", Schema.NonEmptyString)

const services = Layer.orDie(Layer.merge(CookieState.layer(), MemoryStore.layer()))

const me = HttpApiEndpoint.get("me", "/me").addSuccess(Schema.String)

// ------------------------------------------------------------------------------------------------------------- the tag

equal<typeof HttpApiSession.layer, Layer.Layer<HttpApiSession.HttpApiSession, never, State.State | Store.Store>>(true)
equal<
  typeof HttpApiSession.HttpApiSession.layer,
  Layer.Layer<HttpApiSession.HttpApiSession, never, State.State | Store.Store>
>(true)

class Admin extends Session.Tag<Admin>()("admin") {}
class AdminSession extends HttpApiSession.Tag<AdminSession>()("admin", {
  security: HttpApiSecurity.apiKey({ in: "cookie", key: "__Host-admin" }),
  session: Admin
}) {}
equal<typeof AdminSession.layer, Layer.Layer<AdminSession, never, HttpMiddleware.SessionMiddleware<Admin>>>(true)

class BearerSession extends HttpApiSession.Tag<BearerSession>()("bearer", {
  security: { token: HttpApiSecurity.bearer, cookie: HttpApiSecurity.apiKey({ in: "cookie", key: "session" }) }
}) {}
equal<typeof BearerSession.layer, Layer.Layer<BearerSession, never, State.State | Store.Store>>(true)
equal<keyof typeof BearerSession.security, "token" | "cookie">(true)

// @ts-expect-error that is no scheme
HttpApiSession.Tag<never>()("wrong", { security: "cookie" })

// ----------------------------------------------------------------------------------- at the api, the group, the endpoint

{
  const group = HttpApiGroup.make("users").add(me)
  class Api extends HttpApi.make("api").add(group).middleware(HttpApiSession.HttpApiSession) {}
  const users = HttpApiBuilder.group(Api, "users", (handlers) => handlers.handle("me", () => Session.id))
  const api = HttpApiBuilder.api(Api).pipe(Layer.provide(users))
  equal<typeof api, Layer.Layer<HttpApi.Api, never, HttpApiSession.HttpApiSession>>(true)
  const whole = api.pipe(Layer.provide(HttpApiSession.layer), Layer.provide(services))
  of(whole)<Layer.Layer<HttpApi.Api, never, never>>(true)
}
{
  const group = HttpApiGroup.make("users").add(me).middleware(HttpApiSession.HttpApiSession)
  class Api extends HttpApi.make("api").add(group) {}
  const users = HttpApiBuilder.group(Api, "users", (handlers) => handlers.handle("me", () => Session.id))
  of(users)<Layer.Layer<HttpApiGroup.ApiGroup<"api", "users">, never, HttpApiSession.HttpApiSession>>(true)
  const whole = HttpApiBuilder.api(Api).pipe(
    Layer.provide(users),
    Layer.provide(HttpApiSession.layer),
    Layer.provide(services)
  )
  of(whole)<Layer.Layer<HttpApi.Api, never, never>>(true)
}
{
  const group = HttpApiGroup.make("users").add(me.middleware(HttpApiSession.HttpApiSession))
  class Api extends HttpApi.make("api").add(group) {}
  const users = HttpApiBuilder.group(Api, "users", (handlers) => handlers.handle("me", () => Session.id))
  const whole = HttpApiBuilder.api(Api).pipe(
    Layer.provide(users),
    Layer.provide(HttpApiSession.layer),
    Layer.provide(services)
  )
  of(whole)<Layer.Layer<HttpApi.Api, never, never>>(true)
}
{
  // without the middleware the handler's need stays
  class Api extends HttpApi.make("api").add(HttpApiGroup.make("users").add(me)) {}
  const users = HttpApiBuilder.group(Api, "users", (handlers) => handlers.handle("me", () => Session.id))
  of(users)<Layer.Layer<HttpApiGroup.ApiGroup<"api", "users">, never, Session.Session>>(true)
}
{
  // a named session
  const group = HttpApiGroup.make("users").add(me).middleware(AdminSession)
  class Api extends HttpApi.make("api").add(group) {}
  const users = HttpApiBuilder.group(
    Api,
    "users",
    (handlers) => handlers.handle("me", () => Session.verbs(Admin).id)
  )
  const whole = HttpApiBuilder.api(Api).pipe(
    Layer.provide(users),
    Layer.provide(AdminSession.layer),
    Layer.provide(
      HttpMiddleware.layerSession(Admin, [CookieState.layer({ name: "__Host-admin" }), MemoryStore.layer()])
    )
  )
  of(whole)<Layer.Layer<HttpApi.Api, ConfigError.ConfigError, never>>(true)
}

// ---------------------------------------------------------------------------------------------------------- the guard

class SignedIn extends HttpApiMiddleware.Tag<SignedIn>()("types/SignedIn", { failure: Boom, provides: CurrentUser }) {}
class Checked extends HttpApiMiddleware.Tag<Checked>()("types/Checked", { failure: Boom }) {}
class Noted extends HttpApiMiddleware.Tag<Noted>()("types/Noted") {}
class Tried extends HttpApiMiddleware.Tag<Tried>()("types/Tried", { optional: true, failure: Boom }) {}
class Credentials
  extends HttpApiMiddleware.Tag<Credentials>()("types/Credentials", { security: { bearer: HttpApiSecurity.bearer } })
{}

const user = User.pipe(Effect.map((name) => ({ name })), Effect.mapError(() => new Boom()))

const signedIn = HttpApiSession.guard(SignedIn, user)
equal<typeof signedIn, Layer.Layer<SignedIn, never, State.State | Store.Store>>(true)

const reading = HttpApiSession.guard(SignedIn, Effect.zipRight(Database, user))
of(reading)<Layer.Layer<SignedIn, never, State.State | Store.Store | Database>>(true)

// what it gives is ignored where the middleware provides nothing
const checked = HttpApiSession.guard(Checked, user)
of(checked)<Layer.Layer<Checked, never, State.State | Store.Store>>(true)
HttpApiSession.guard(Noted, Session.id)
HttpApiSession.guard(Tried, user)

const named = HttpApiSession.guard(Checked, Session.verbs(Admin).isNew, Admin)
of(named)<Layer.Layer<Checked, never, HttpMiddleware.SessionMiddleware<Admin>>>(true)

// @ts-expect-error the failure is not declared
HttpApiSession.guard(Checked, Effect.fail(new Other()))
// @ts-expect-error no failure is declared
HttpApiSession.guard(Noted, user)
// @ts-expect-error it does not give what the middleware provides
HttpApiSession.guard(SignedIn, Session.id)
// @ts-expect-error a middleware with security of its own is no effect
HttpApiSession.guard(Credentials, Session.id)

{
  const group = HttpApiGroup.make("users").add(me).middleware(SignedIn).middleware(HttpApiSession.HttpApiSession)
  class Api extends HttpApi.make("api").add(group) {}
  const users = HttpApiBuilder.group(
    Api,
    "users",
    (handlers) => handlers.handle("me", () => Effect.zipRight(Session.id, Effect.map(CurrentUser, ({ name }) => name)))
  )
  const forgotten = HttpApiBuilder.api(Api).pipe(
    Layer.provide(users),
    Layer.provide(signedIn),
    Layer.provide(services)
  )
  equal<typeof forgotten, Layer.Layer<HttpApi.Api, never, HttpApiSession.HttpApiSession>>(true)
  // @ts-expect-error the session's layer is still needed
  HttpApiBuilder.toWebHandler(Layer.mergeAll(forgotten, {} as Layer.Layer<never>))
  const whole = HttpApiBuilder.api(Api).pipe(
    Layer.provide(users),
    Layer.provide([signedIn, HttpApiSession.layer]),
    Layer.provide(services)
  )
  of(whole)<Layer.Layer<HttpApi.Api, never, never>>(true)
}

// ----------------------------------------------------------------------------------------------------- HttpLayerRouter

{
  const routes = HttpLayerRouter.add("GET", "/", Effect.map(Session.id, (id) => HttpServerResponse.text(id)))
  equal<
    typeof routes,
    Layer.Layer<never, never, HttpLayerRouter.HttpRouter | HttpLayerRouter.Request<"Requires", Session.Session>>
  >(true)
  const some = routes.pipe(Layer.provide(SessionRouter.layer))
  equal<typeof some, Layer.Layer<never, never, HttpLayerRouter.HttpRouter | State.State | Store.Store>>(true)
  const all = routes.pipe(Layer.provide(SessionRouter.layerGlobal), Layer.provide(services))
  equal<typeof all, Layer.Layer<never, never, HttpLayerRouter.HttpRouter>>(true)
  HttpLayerRouter.toWebHandler(all)
  // @ts-expect-error State and Store are still needed
  HttpLayerRouter.toWebHandler(some)

  const counted = HttpLayerRouter.middleware(
    (app) => Effect.zipRight(Session.id, app),
    { global: true }
  )
  const global = routes.pipe(
    Layer.provide(counted),
    Layer.provide(SessionRouter.layerGlobal),
    Layer.provide(services)
  )
  of(global)<Layer.Layer<never, never, HttpLayerRouter.HttpRouter>>(true)
}
