/**
 * The contract: what the server implements, what the OpenAPI document says, what the client is generated from.
 */
import {
  HttpApi,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpApiSecurity
} from "@effect/platform"
import { Context, Schema } from "effect"
import { HttpApiSession } from "effect-session"

export class User extends Schema.Class<User>("User")({ name: Schema.NonEmptyString }) {}

export class Unauthorized
  extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}, HttpApiSchema.annotations({ status: 401 }))
{}

/**
 * The session in the cookie `session`, for plain HTTP on this machine. Behind TLS, use `HttpApiSession.HttpApiSession`,
 * whose cookie is `__Host-session`.
 */
export class AppSession extends HttpApiSession.Tag<AppSession>()("session", {
  security: HttpApiSecurity.apiKey({ in: "cookie", key: "session" })
}) {}

export class CurrentUser extends Context.Tag("examples/api/CurrentUser")<CurrentUser, User>() {}

/** The guard: its endpoints get the user who is logged in, and nobody else gets in. */
export class LoggedIn extends HttpApiMiddleware.Tag<LoggedIn>()("examples/api/LoggedIn", {
  failure: Unauthorized,
  provides: CurrentUser
}) {}

const account = HttpApiGroup.make("account")
  .add(
    HttpApiEndpoint.post("login", "/login")
      .setPayload(Schema.Struct({ name: Schema.NonEmptyString, password: Schema.String }))
      .addSuccess(User)
      .addError(Unauthorized)
  )
  .add(HttpApiEndpoint.post("logout", "/logout"))
  .add(HttpApiEndpoint.get("me", "/me").addSuccess(User).middleware(LoggedIn))

const basket = HttpApiGroup.make("basket")
  .add(HttpApiEndpoint.get("read", "/basket").addSuccess(Schema.Array(Schema.String)))
  .add(
    HttpApiEndpoint.post("add", "/basket")
      .setPayload(Schema.Struct({ item: Schema.NonEmptyString }))
      .addSuccess(Schema.Array(Schema.String))
  )

export class Api extends HttpApi.make("shop").add(account).add(basket).middleware(AppSession) {}
