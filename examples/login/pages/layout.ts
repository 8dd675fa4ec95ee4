/**
 * What all pages have: the head, the links, the message of the last step, and the notice for a session that ends while the
 * page is open.
 */
import { Option } from "effect"
import { type Html, html } from "../html.js"
import type { User } from "../users.js"

export interface Page {
  readonly title: string
  readonly path: string
  readonly main: Html
}

/** What the session says. */
export interface Around {
  readonly user: Option.Option<User>
  readonly items: number
  readonly flash: Option.Option<string>
}

const link = (page: Page, path: string, label: Html): Html =>
  html`<a href="${path}" ${page.path === path && html`aria-current="page"`}>${label}</a>`

const cartLabel = (items: number): Html =>
  items === 0
    ? html`Cart`
    : html`Cart <span class="count">${items}<span class="hidden">${items === 1 ? " item" : " items"}</span></span>`

const personLinks = (page: Page): Html =>
  html`
        ${link(page, "/account", html`Account`)}
        <form method="post" action="/sign-out"><button class="link">Sign out</button></form>`

/** Says in a form whose page it is on: somebody else may log in to this browser while the page is open. */
export const whose = (user: User): Html => html`<input type="hidden" name="user" value="${user.id}">`

/** `live.js` shows it in the place of what was on the page, which may be private. */
const notice = (user: User): Html =>
  html`
    <template id="ended" data-user="${user.id}">
      <section class="card narrow notice" role="alert">
        <h1 tabindex="-1">You have been signed out</h1>
        <p data-reason="revoked">This session was ended from another device, or from another browser.</p>
        <p data-reason="destroyed">You signed out in another tab.</p>
        <p data-reason="other">Somebody else is signed in here now.</p>
        <p data-reason="expired">Your session has expired.</p>
        <p><a class="button" href="/sign-in">Sign in again</a></p>
      </section>
    </template>
    <script type="module" src="/static/live.js"></script>`

/** The message also leads the title, because that is what a screen reader reads first on a new page. */
const titleOf = ({ title }: Page, flash: Option.Option<string>): string =>
  Option.match(flash, { onNone: () => `${title} – Kettle`, onSome: (message) => `${message} ${title} – Kettle` })

export const document = (page: Page, { flash, items, user }: Around): Html =>
  html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>${titleOf(page, flash)}</title>
    <link rel="stylesheet" href="/static/style.css">
    <link rel="icon" href="/static/icon.svg" type="image/svg+xml">
  </head>
  <body>
    <a class="skip" href="#main">Skip to the content</a>
    <header>
      <a class="brand" href="/"><img src="/static/icon.svg" alt="" width="28" height="28">Kettle</a>
      <nav aria-label="Main">
        ${link(page, "/", html`Shop`)}
        ${link(page, "/cart", cartLabel(items))}
        ${Option.isSome(user) ? personLinks(page) : link(page, "/sign-in", html`Sign in`)}
      </nav>
    </header>
    <main id="main" tabindex="-1">
      ${Option.isSome(flash) && html`<p class="flash" role="status">${flash.value}</p>`}
      ${page.main}
    </main>
    <footer><p>An example of effect-session. Nothing is sold here.</p></footer>
    ${Option.isSome(user) && notice(user.value)}
  </body>
</html>
`
