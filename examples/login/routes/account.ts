/**
 * What a user does with their account: look at its devices, end them, delete it all.
 */
import { HttpRouter, HttpServerRequest } from "@effect/platform"
import { Array, Clock, Effect, Schema, Stream } from "effect"
import { Session, Sessions } from "effect-session"
import * as pages from "../pages/account.js"
import { Users } from "../users.js"
import { user, userOfForm } from "../visitor.js"
import { goTo, goToWith, show } from "./respond.js"

const account = Effect.gen(function*() {
  const found = yield* user
  const current = yield* Session.id
  const [here, elsewhere] = yield* Stream.runCollect(Sessions.list(found.id)).pipe(
    Effect.map(Array.partition(({ id }) => id !== current))
  )
  return yield* show(pages.account(found, { here, elsewhere, now: yield* Clock.currentTimeMillis }))
})

/** The form says which session. It is looked up among the user's own, so that nobody ends another's. */
const endOne = Effect.gen(function*() {
  const found = yield* user
  const { id } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ id: Schema.String }))
  const ended = yield* Sessions.list(found.id).pipe(
    Stream.filter((session) => session.id === id),
    Stream.mapEffect((session) => Sessions.revoke(session.id)),
    Stream.runCount
  )
  return yield* goToWith("/account", ended === 0 ? "That device was signed out already." : "The device is signed out.")
})

const endOthers = Effect.gen(function*() {
  const found = yield* userOfForm
  const ended = yield* Sessions.revokeAll(found.id, { except: yield* Session.id })
  return yield* goToWith("/account", ended === 1 ? "One device is signed out." : `${ended} devices are signed out.`)
})

/** What a stolen session must not be able to do: it takes a login of the last ten minutes. */
const recently = Session.requireRecentLogin("10 minutes")

const deletionPage = Effect.gen(function*() {
  const found = yield* user
  yield* recently
  return yield* show(pages.deletion(found))
})

const remove = Effect.gen(function*() {
  const found = yield* userOfForm
  yield* recently
  // the account first: a session whose account is gone is nobody's, should the process end in between
  yield* (yield* Users).remove(found.id)
  yield* Sessions.revokeAll(found.id, { except: yield* Session.id })
  yield* Session.destroy
  return yield* goToWith("/", "Your account is deleted.")
})

export const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/account", account),
  HttpRouter.post("/devices/end", endOne),
  HttpRouter.post("/devices/end-others", endOthers),
  HttpRouter.get("/account/delete", deletionPage),
  HttpRouter.post("/account/delete", remove)
)

/** Where somebody goes whose login is too long ago. */
export const confirmFirst = Effect.succeed(goTo("/confirm?to=/account/delete"))

/** Where somebody goes who sends a form from another's page. */
export const ofAnother = goToWith("/account", "That page was of another account, so nothing was done.")
