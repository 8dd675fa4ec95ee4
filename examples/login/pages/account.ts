/**
 * The account: its devices, and its end.
 */
import { Option } from "effect"
import type { Sessions } from "effect-session"
import { type Html, html } from "../html.js"
import type { User } from "../users.js"
import { type Page, whose } from "./layout.js"

const relative = new Intl.RelativeTimeFormat("en")
const units = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000]] as const

const ago = (then: number, now: number): string => {
  const unit = units.find(([, size]) => now - then >= size)
  return unit === undefined ? "just now" : relative.format(-Math.floor((now - then) / unit[1]), unit[0])
}

const time = (then: number, now: number): Html =>
  html`<time datetime="${new Date(then).toISOString()}">${ago(then, now)}</time>`

const times = ({ authenticatedAt, touchedAt }: Sessions.Summary, now: number): Html =>
  ago(authenticatedAt, now) === ago(touchedAt, now)
    ? html`Signed in ${time(authenticatedAt, now)}`
    : html`Signed in ${time(authenticatedAt, now)}, last used ${time(touchedAt, now)}`

/** The sessions of the user: the one that asks, and the others. */
export interface Devices {
  readonly here: ReadonlyArray<Sessions.Summary>
  readonly elsewhere: ReadonlyArray<Sessions.Summary>
  readonly now: number
}

const isPhone = (label: string): boolean => /iPhone|iPad|Android/.test(label)

const picture = (label: string): Html =>
  html`<svg class="device" viewBox="0 0 24 24" aria-hidden="true">${
    isPhone(label)
      ? html`<rect x="7" y="3" width="10" height="18" rx="2"/><path d="M11 18h2"/>`
      : html`<rect x="4" y="5" width="16" height="11" rx="2"/><path d="M2 19h20"/>`
  }</svg>`

const device = (session: Sessions.Summary, now: number, aside: (label: string) => Html): Html => {
  const label = Option.getOrElse(session.label, () => "Unknown device")
  return html`
          <li class="line">
            ${picture(label)}
            <div>
              <h3>${label}</h3>
              <p class="muted">${times(session, now)}</p>
            </div>
            ${aside(label)}
          </li>`
}

const badge = (): Html => html`<span class="badge">This device</span>`

const end = (session: Sessions.Summary, now: number) => (label: string): Html => {
  const name = html`<span class="hidden"> ${label}, signed in ${ago(session.authenticatedAt, now)}</span>`
  return html`<form method="post" action="/devices/end">
              <button class="quiet" name="id" value="${session.id}">Sign out${name}</button>
            </form>`
}

const endOthers = (user: User): Html =>
  html`
        <form method="post" action="/devices/end-others">${whose(user)}
          <button class="quiet">Sign out everywhere else</button>
        </form>`

export const account = (user: User, { elsewhere, here, now }: Devices): Page => ({
  title: "Account",
  path: "/account",
  main: html`
      <h1>Your account</h1>
      <p class="lead">${user.email}</p>
      <section class="card" aria-labelledby="devices">
        <h2 id="devices">Your devices</h2>
        <p>Each place where you are signed in. If you don’t know one of them, sign it out.</p>
        <ul class="lines">${here.map((session) => device(session, now, badge))}${
    elsewhere.map((session) => device(session, now, end(session, now)))
  }
        </ul>${elsewhere.length > 0 ? endOthers(user) : html`<p class="muted">You are signed in nowhere else.</p>`}
      </section>
      <section class="card" aria-labelledby="delete">
        <h2 id="delete">Delete the account</h2>
        <p>Your account and all its sessions end, and there is no way back.</p>
        <p><a class="button danger" href="/account/delete">Delete the account…</a></p>
      </section>`
})

export const deletion = (user: User): Page => ({
  title: "Delete the account",
  path: "/account/delete",
  main: html`
      <section class="card narrow">
        <h1>Delete the account?</h1>
        <p>You are about to delete <strong>${user.email}</strong>. This can’t be undone.</p>
        <form method="post" action="/account/delete">${whose(user)}
          <div class="actions">
            <button class="danger">Delete it for good</button>
            <a href="/account">Keep it</a>
          </div>
        </form>
      </section>`
})
