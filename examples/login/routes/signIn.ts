/**
 * In and out: a new account, a login, a logout, and the password once more.
 */
import { RateLimiter } from "@effect/experimental"
import { HttpRouter, HttpServerRequest, type HttpServerResponse } from "@effect/platform"
import { Data, Effect, Hash, Option, Redacted, Schema } from "effect"
import { Session } from "effect-session"
import { deviceOf } from "../device.js"
import * as pages from "../pages/signIn.js"
import type { Password } from "../passwords.js"
import { canonical, type User, Users } from "../users.js"
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

/** Where to go after it, by the page's URL, which may say it twice. */
const destination = Effect.map(
  HttpServerRequest.ParsedSearchParams,
  ({ to }) => typeof to === "string" ? localPath(to) : "/"
)

// ------------------------------------------------------------------------------------------------------- the checks

const emailError = (email: string): string | undefined =>
  /^[^@\s]+@[^@\s]+$/.test(email) && email.length <= 254
    ? undefined
    : "Write an email address, such as ada@example.com."

/** In characters as NIST counts them: an emoji is one or a few, never its bytes. */
const lengthOf = (password: Password): number => Array.from(Redacted.value(password)).length

const passwordError = (password: Password): string | undefined =>
  lengthOf(password) === 0
    ? "Write your password."
    : lengthOf(password) > 1000
    ? "Write at most 1000 characters."
    : undefined

/**
 * NIST SP 800-63B-4 asks for 15 characters where nothing but the password is asked for. It also asks for a list of
 * passwords that are known to be bad, which an app has to add here.
 */
const newPasswordError = (password: Password): string | undefined =>
  lengthOf(password) < 15 ? "Write at least 15 characters." : passwordError(password)

const hasErrors = (errors: pages.Errors): boolean => Object.values(errors).some((error) => error !== undefined)

// ------------------------------------------------------------------------------------------------------- the session

/**
 * The session has a new token, and a name in the list of devices. If it was of somebody else, whose account is gone, what
 * is in it goes as well.
 */
const logIn = (user: User, remember: boolean) =>
  Effect.gen(function*() {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const before = yield* Session.subject
    if (Option.isSome(before) && before.value !== user.id) yield* Session.set({})
    yield* Session.login(user.id, {
      label: deviceOf(headers["user-agent"] ?? ""),
      remember: remember ? remembered : undefined
    })
  })

class Refused extends Data.TaggedError("Refused")<{ readonly status: number; readonly reason: string }> {}

/**
 * What guesses are counted by. An address is counted whether it has an account or not, or else the limit would tell. The
 * key is one of 65,536, so that guesses at invented addresses fill no memory: a few addresses may share one.
 */
const keyOf = (email: string): string => `sign-in:${Hash.string(canonical(email)) & 0xffff}`

/**
 * The user, if it is their password. Refuses the eleventh wrong guess in a quarter of an hour before it looks at the
 * password. A guess is counted before it is looked at, so that many at once are no way around, and a right one is given
 * back.
 */
const authenticated = (key: string, user: Option.Option<User>, password: Password, wrong: string) =>
  Effect.gen(function*() {
    const limiter = yield* RateLimiter.RateLimiter
    const users = yield* Users
    const count = (tokens: number) => limiter.consume({ key, limit: 10, window: "15 minutes", tokens })
    yield* count(1)
    const right = yield* users.isPassword(user, password)
    if (!right || Option.isNone(user)) return yield* new Refused({ status: 422, reason: wrong })
    yield* count(-1)
    return user.value
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
  const wrong = "The email address or the password is wrong."
  return yield* authenticated(keyOf(form.email), found, form.password, wrong).pipe(
    Effect.flatMap((user) => logIn(user, form.remember)),
    Effect.zipRight(goToWith(form.to, "You are signed in.")),
    Effect.catchTag("Refused", ({ reason, status }) => again({ form: reason }, status))
  )
})

const confirmPage = Effect.gen(function*() {
  const { email } = yield* user
  return yield* show(pages.confirm({ ...pages.blank(yield* destination), email }))
})

/**
 * A login like any other. One that is remembered stays so. Its guesses are counted apart: those that somebody makes from
 * elsewhere do not lock out who is in already.
 */
const confirm = Effect.gen(function*() {
  const form = yield* typed
  const found = yield* user
  const { persistent } = yield* Session.info
  const again = (errors: pages.Errors, status = 422) =>
    show(pages.confirm({ ...shownAgain(form, errors), email: found.email }), status)
  const password = passwordError(form.password)
  if (password !== undefined) return yield* again({ password })
  return yield* authenticated(`confirm:${found.id}`, Option.some(found), form.password, "The password is wrong.").pipe(
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

/** The page that a form was sent from, since the form's own URL is no page. */
const sentFrom = (referer: string): string => {
  const page = URL.canParse(referer) ? new URL(referer) : undefined
  return page === undefined ? "/account" : localPath(page.pathname + page.search)
}

/** Where somebody goes who must sign in before they see a page. */
export const signInFirst = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers, method, url }) => {
  const to = method === "POST" ? sentFrom(headers["referer"] ?? "") : localPath(url)
  return goTo(`/sign-in?to=${encodeURIComponent(to)}`)
})
