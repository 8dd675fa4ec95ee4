/**
 * The same routes in Effect, one by one as they are moved over: the same cookie, the same sessions.
 */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { CookieState, HttpMiddleware, Session, SessionField } from "effect-session"
import * as ExpressStore from "effect-session/ExpressStore"
import type { Shared } from "./shared.js"

const User = SessionField.make("user", Schema.String)
const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

export const effectApp = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    Effect.gen(function*() {
      const user = yield* SessionField.option(User)
      if (Option.isNone(user)) {
        return HttpServerResponse.text("Effect: who are you?\n")
      }
      const visits = yield* SessionField.updateAndGet(Visits, (visits) => visits + 1)
      return HttpServerResponse.text(`Effect: hello ${user.value}, visit ${visits}\n`)
    })
  ),
  HttpRouter.post(
    "/login/:user",
    Effect.gen(function*() {
      const { user = "" } = yield* HttpRouter.params
      yield* Session.renew
      yield* SessionField.set(User, user)
      yield* SessionField.remove(Visits)
      return HttpServerResponse.text("Effect: welcome\n")
    })
  ),
  HttpRouter.post("/logout", Effect.as(Session.destroy, HttpServerResponse.text("Effect: bye\n"))),
  HttpRouter.use(HttpMiddleware.session)
)

/** What the Express app gives to `session({ ... })`, in two layers. */
export const sessions = ({ cookie, maxAge, name, secrets, store }: Shared) =>
  Layer.merge(
    CookieState.layer({ ...cookie, name, maxAge, signed: { secrets: secrets.map((secret) => Redacted.make(secret)) } }),
    ExpressStore.layer(store, { cookie })
  )
