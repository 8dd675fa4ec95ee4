/**
 * The shop. Everybody has a cart; it takes an account to order.
 */
import { HttpRouter, HttpServerRequest } from "@effect/platform"
import { Effect, Schema } from "effect"
import { SessionField } from "effect-session"
import * as pages from "../pages/shop.js"
import { teaOf } from "../teas.js"
import { Cart, countOf, type Items, userOfForm, visitor } from "../visitor.js"
import { goTo, goToWith, show } from "./respond.js"

const chosen = Effect.map(
  HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ tea: Schema.String })),
  ({ tea }) => teaOf(tea)
)

const most = 99

const changed = (cart: Items, id: string, by: number): Items => {
  const { [id]: quantity = 0, ...others } = cart
  const next = Math.min(quantity + by, most)
  return next > 0 ? { ...others, [id]: next } : others
}

const add = Effect.flatMap(chosen, (tea) =>
  tea === undefined ? Effect.succeed(goTo("/")) : Effect.zipRight(
    SessionField.update(Cart, (cart) => changed(cart, tea.id, 1)),
    goToWith("/cart", `${tea.name} is in your cart.`)
  ))

const take = Effect.flatMap(chosen, (tea) =>
  tea === undefined ? Effect.succeed(goTo("/")) : Effect.zipRight(
    SessionField.update(Cart, (cart) => changed(cart, tea.id, -1)),
    goToWith("/cart", `One ${tea.name} less.`)
  ))

const order = Effect.gen(function*() {
  yield* userOfForm
  // in a transaction, so that of two clicks one orders
  const ordered = yield* SessionField.transaction(Cart, (cart) => [countOf(cart), {}])
  return yield* ordered === 0
    ? goToWith("/cart", "There was nothing to order.")
    : goToWith("/", "Thank you! Your order is on its way.")
})

const cart = Effect.gen(function*() {
  return yield* show(pages.cart(yield* Cart, yield* visitor))
})

export const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", show(pages.shop)),
  HttpRouter.get("/cart", cart),
  HttpRouter.post("/cart/add", add),
  HttpRouter.post("/cart/take", take),
  HttpRouter.post("/cart/order", order)
)
