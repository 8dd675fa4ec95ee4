/**
 * The shop's pages: what it sells, and the cart.
 */
import { Option } from "effect"
import { type Html, html } from "../html.js"
import { type Tea, teas } from "../teas.js"
import type { User } from "../users.js"
import type { Items } from "../visitor.js"
import { type Page, whose } from "./layout.js"

const price = (cents: number): string => `€ ${(cents / 100).toFixed(2)}`

const leaf = (tea: Tea): Html =>
  html`<svg class="leaf ${tea.kind}" viewBox="0 0 48 48" aria-hidden="true">
          <path d="M8 40C6 20 18 8 42 6c0 24-12 36-30 34"/><path class="vein" d="M8 42C14 30 22 22 32 16"/>
        </svg>`

const card = (tea: Tea): Html =>
  html`
      <li class="card tea">
        ${leaf(tea)}
        <h2 id="${tea.id}">${tea.name}</h2>
        <p>${tea.taste}</p>
        <p class="muted">${tea.origin}, 100 g</p>
        <form method="post" action="/cart/add">
          <strong>${price(tea.cents)}</strong>
          <button name="tea" value="${tea.id}">Add<span class="hidden"> ${tea.name} to the cart</span></button>
        </form>
      </li>`

export const shop: Page = {
  title: "Shop",
  path: "/",
  main: html`
      <h1>Six teas, no more</h1>
      <p class="lead">Fill the cart first and sign in later: it comes along.</p>
      <ul class="teas">${teas.map(card)}
      </ul>`
}

const step = (tea: Tea, action: "add" | "take", label: string, sign: string): Html =>
  html`<form method="post" action="/cart/${action}">
            <button class="quiet square" name="tea" value="${tea.id}" aria-label="${label} ${tea.name}">${sign}</button>
          </form>`

const line = (tea: Tea, quantity: number): Html =>
  html`
        <li class="line">
          ${leaf(tea)}
          <div><h2>${tea.name}</h2><p class="muted">${price(tea.cents)} for 100 g</p></div>
          ${step(tea, "take", "One less of", "−")}
          <span class="quantity"><span class="hidden">Quantity: </span>${quantity}</span>
          ${step(tea, "add", "One more of", "+")}
          <strong>${price(tea.cents * quantity)}</strong>
        </li>`

const empty = html`
      <div class="card empty">
        <p>There is nothing in it yet.</p>
        <p><a class="button" href="/">Look at the teas</a></p>
      </div>`

const filled = (lines: ReadonlyArray<readonly [tea: Tea, quantity: number]>, user: Option.Option<User>): Html =>
  html`
      <ul class="card lines">${lines.map(([tea, quantity]) => line(tea, quantity))}
      </ul>
      <div class="total">
        <p>Total <strong>${price(lines.reduce((sum, [tea, quantity]) => sum + tea.cents * quantity, 0))}</strong></p>
        ${
    Option.isSome(user)
      ? html`<form method="post" action="/cart/order">${whose(user.value)}<button>Place the order</button></form>`
      : html`<a class="button" href="/sign-in?to=/cart">Sign in to order</a>`
  }
      </div>`

export const cart = (items: Items, user: Option.Option<User>): Page => {
  const lines = teas.flatMap((tea) => {
    const quantity = items[tea.id]
    return quantity === undefined ? [] : [[tea, quantity] as const]
  })
  return {
    title: "Cart",
    path: "/cart",
    main: html`
      <h1>Your cart</h1>${lines.length === 0 ? empty : filled(lines, user)}`
  }
}
