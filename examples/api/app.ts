/**
 * The handlers. A visitor's basket survives the login: `Session.login` keeps the data under a new token.
 */
import { HttpApiBuilder } from "@effect/platform"
import { Effect, Layer, Schema } from "effect"
import { HttpApiSession, Session, SessionField } from "effect-session"
import { Api, AppSession, CurrentUser, LoggedIn, Unauthorized, User } from "./api.js"

const Basket = SessionField.make("basket", Schema.Array(Schema.String), { default: () => [] })

/** A real app compares the hash of a password. */
const passwords = new Map([["ada", "analytical engine"], ["grace", "nanosecond"]])

const account = HttpApiBuilder.group(Api, "account", (handlers) =>
  handlers
    .handle("login", ({ payload: { name, password } }) =>
      Effect.gen(function*() {
        if (passwords.get(name) !== password) {
          return yield* new Unauthorized()
        }
        yield* Session.login(name)
        return new User({ name })
      }))
    .handle("logout", () => Session.destroy)
    .handle("me", () => CurrentUser))

const basket = HttpApiBuilder.group(Api, "basket", (handlers) =>
  handlers
    .handle("read", () => SessionField.get(Basket))
    .handle("add", ({ payload }) => SessionField.updateAndGet(Basket, (items) => [...items, payload.item])))

const loggedIn = HttpApiSession.guard(
  LoggedIn,
  Effect.map(Session.subjectOrFail(() => new Unauthorized()), (name) => new User({ name }))
)

/** The whole app. It needs a State and a Store. */
export const app = HttpApiBuilder.api(Api).pipe(
  Layer.provide([account, basket]),
  Layer.provide([loggedIn, AppSession.layer])
)
