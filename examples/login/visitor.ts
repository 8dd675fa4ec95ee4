/**
 * What a session holds, and who it belongs to.
 */
import { HttpServerRequest } from "@effect/platform"
import { Data, Effect, Option, Schema } from "effect"
import { Session, SessionField } from "effect-session"
import { type User, Users } from "./users.js"

/** How many of which tea. */
const Items = Schema.Record({ key: Schema.String, value: Schema.Int.pipe(Schema.between(1, 99)) })
export type Items = typeof Items.Type

/** A visitor has it before they log in, and keeps it when they do. */
export const Cart = SessionField.make("cart", Items, { default: () => ({}) })

export const countOf = (cart: Items): number => Object.values(cart).reduce((sum, quantity) => sum + quantity, 0)

/** A message for the page after a redirect. */
export const Flash = SessionField.make("flash", Schema.NonEmptyString)

/** Nobody is logged in here, or somebody whose account is gone. */
export class SignInFirst extends Data.TaggedError("SignInFirst") {}

/** Who is logged in, if anybody is. */
export const visitor = Effect.gen(function*() {
  const users = yield* Users
  const subject = yield* Session.subject
  return Option.isNone(subject) ? Option.none<User>() : yield* users.byId(subject.value)
})

/** The guard of the pages that need a login. */
export const user = Effect.flatMap(visitor, (found) => Effect.mapError(found, () => new SignInFirst()))

/** A page was made for somebody who has left since, and another is logged in. */
export class SomebodyElse extends Data.TaggedError("SomebodyElse") {}

/** The guard of forms that act without a question: the form says whose page it is on. */
export const userOfForm = Effect.gen(function*() {
  const found = yield* user
  const form = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ user: Schema.String }))
  return form.user === found.id ? found : yield* new SomebodyElse()
})
