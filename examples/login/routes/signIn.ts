/**
 * In and out: a new account, a login, a logout, and the password once more.
 */
import { RateLimiter } from "@effect/experimental"
import { HttpRouter, HttpServerRequest, type HttpServerResponse } from "@effect/platform"
import { Data, Effect, Option, Redacted, Schema } from "effect"
import { Session } from "effect-session"
import { deviceOf } from "../device.js"
import * as pages from "../pages/signIn.js"
import type { Password } from "../passwords.js"
import { type User, Users } from "../users.js"
import { user, visitor } from "../visitor.js"
import { goTo, goToWith, localPath, show } from "./respond.js"

const remembered = "30 days"

const text = Schema.optionalWith(Schema.String, { default: () => "" })

const typed = Effect.map(
  HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ to: text, email: text, password: text, remember: text })),
  ({ email, password, remember, to }) => ({
    to: localPath(to),
    email: email.trim(),
    password: Redacted.make(password),
    remember: remember === "yes"
  })
)

type Typed = Effect.Effect.Success<typeof typed>

const shownAgain = ({ email, remember, to }: Typed, errors: pages.Errors): pages.Form => ({
  to,
  email,
  remember,
  errors
})

const destination = Effect.map(
  HttpServerRequest.schemaSearchParams(Schema.Struct({ to: text })),
  ({ to }) => localPath(to)
)

// ------------------------------------------------------------------------------------------------------- the checks

const emailError = (email: string): string | undefined =>
  /^[^@\s]+@[^@\s]+$/.test(email) && email.length <= 254
    ? undefined
    : "Write an email address, such as ada@example.com."

const lengthOf = (password: Password): number => Redacted.value(password).length

/** NIST SP 800-63B-4 asks for 15 characters where nothing but the password is asked for, and for no rules besides. */
const newPasswordError = (password: Password): string | undefined =>
  lengthOf(password) < 15
    ? "Write at least 15 characters."
    : lengthOf(password) > 1000
    ? "Write at most 1000 characters."
    : undefined

const passwordError = (password: Password): string | undefined =>
  lengthOf(password) === 0 ? "Write your password." : undefined

const hasErrors = (errors: pages.Errors): boolean => Object.values(errors).some((error) => error !== undefined)

// ------------------------------------------------------------------------------------------------------- the session

/** The session has a new token, and a name in the list of devices. */
const logIn = (user: User, remember: boolean) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
    Session.login(user.id, {
      label: deviceOf(headers["user-agent"] ?? ""),
      remember: remember ? remembered : undefined
    }))

class Refused extends Data.TaggedError("Refused")<{ readonly status: number; readonly reason: string }> {}

/**
 * The user, if it is their password. Refuses the eleventh guess in a quarter of an hour before it looks at the password.
 * Only accounts that exist are counted, so that guesses at others fill no memory.
 */
const authenticated = (user: Option.Option<User>, password: Password, wrong: string) =>
  Effect.gen(function*() {
    const limiter = yield* RateLimiter.RateLimiter
    const users = yield* Users
    if (Option.isSome(user)) {
      yield* limiter.consume({ key: user.value.id, limit: 10, window: "15 minutes" })
    }
    const right = yield* users.isPassword(user, password)
    return right && Option.isSome(user) ? user.value : yield* new Refused({ status: 422, reason: wrong })
  }).pipe(Effect.catchTag("RateLimiterError", () =>
    new Refused({
      status: 429,
      reason: "There were too many tries. Wait a quarter of an hour, then try again."
    })))

// ------------------------------------------------------------------------------------------------------- the handlers

/** Who is logged in already has nothing to do here. */
const unlessSignedIn = <E, R>(form: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.gen(function*() {
    return Option.isSome(yield* visitor) ? goTo("/account") : yield* form
  })

const signUp = Effect.gen(function*() {
  const form = yield* typed
  const users = yield* Users
  const again = (errors: pages.Errors) => show(pages.signUp(shownAgain(form, errors)), 422)
  const errors = { email: emailError(form.email), password: newPasswordError(form.password) }
  if (hasErrors(errors)) return yield* again(errors)
  return yield* users.add(form.email, form.password).pipe(
    Effect.flatMap((user) => logIn(user, false)),
    Effect.zipRight(goToWith(form.to, "Welcome! Your account is open.")),
    Effect.catchTag("EmailTaken", () => again({ email: "This address has an account already. Sign in instead." }))
  )
})

const signIn = Effect.gen(function*() {
  const form = yield* typed
  const users = yield* Users
  const again = (errors: pages.Errors, status = 422) => show(pages.signIn(shownAgain(form, errors)), status)
  const errors = { email: emailError(form.email), password: passwordError(form.password) }
  if (hasErrors(errors)) return yield* again(errors)
  const found = yield* users.byEmail(form.email)
  return yield* authenticated(found, form.password, "The email address or the password is wrong.").pipe(
    Effect.flatMap((user) => logIn(user, form.remember)),
    Effect.zipRight(goToWith(form.to, "You are signed in.")),
    Effect.catchTag("Refused", ({ reason, status }) => again({ form: reason }, status))
  )
})

const confirmPage = Effect.gen(function*() {
  const { email } = yield* user
  return yield* show(pages.confirm({ ...pages.blank(yield* destination), email }))
})

/** A login like any other. One that is remembered stays so. */
const confirm = Effect.gen(function*() {
  const form = yield* typed
  const found = yield* user
  const { persistent } = yield* Session.info
  const again = (errors: pages.Errors, status = 422) =>
    show(pages.confirm({ ...shownAgain(form, errors), email: found.email }), status)
  const password = passwordError(form.password)
  if (password !== undefined) return yield* again({ password })
  return yield* authenticated(Option.some(found), form.password, "The password is wrong.").pipe(
    Effect.flatMap((user) => logIn(user, persistent)),
    Effect.as(goTo(form.to)),
    Effect.catchTag("Refused", ({ reason, status }) => again({ password: reason }, status))
  )
})

/** What is set after `destroy` begins a session of its own: it has the message and nothing else. */
const signOut = Effect.zipRight(Session.destroy, goToWith("/", "You are signed out."))

export const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/sign-up", unlessSignedIn(Effect.flatMap(destination, (to) => show(pages.signUp(pages.blank(to)))))),
  HttpRouter.post("/sign-up", unlessSignedIn(signUp)),
  HttpRouter.get("/sign-in", unlessSignedIn(Effect.flatMap(destination, (to) => show(pages.signIn(pages.blank(to)))))),
  HttpRouter.post("/sign-in", unlessSignedIn(signIn)),
  HttpRouter.get("/confirm", confirmPage),
  HttpRouter.post("/confirm", confirm),
  HttpRouter.post("/sign-out", signOut)
)

/** Where somebody goes who must sign in before they see a page. */
export const signInFirst = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ method, url }) => goTo(`/sign-in?to=${encodeURIComponent(method === "GET" ? localPath(url) : "/account")}`)
)
