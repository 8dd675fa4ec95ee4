/**
 * The forms that ask for a password. A form that is shown again has what was typed, but for the password, and its errors
 * are tied to the fields.
 */
import { type Html, html } from "../html.js"
import type { Page } from "./layout.js"

/** What was typed and what is wrong with it. */
export interface Form {
  /** Where to go after it. */
  readonly to: string
  readonly email: string
  readonly remember: boolean
  readonly errors: Errors
}

/** By field; `form` is what is wrong as a whole. */
export interface Errors {
  readonly form?: string | undefined
  readonly email?: string | undefined
  readonly password?: string | undefined
}

export const blank = (to: string): Form => ({ to, email: "", remember: false, errors: {} })

const hasErrors = ({ email, form, password }: Errors): boolean =>
  form !== undefined || email !== undefined || password !== undefined

/** The error leads the title, because that is what a screen reader reads first on a new page. */
const titled = (title: string, errors: Errors): string => hasErrors(errors) ? `Error: ${title}` : title

interface Field {
  readonly id: "email" | "password"
  readonly type: "email" | "password"
  readonly label: string
  readonly autocomplete: "username" | "current-password" | "new-password"
  readonly value?: string | undefined
  readonly hint?: string | undefined
  /** Whether the keyboard begins here. */
  readonly first: boolean
}

const field = (it: Field, errors: Errors): Html => {
  const error = errors[it.id]
  const described = [
    ...(it.hint === undefined ? [] : [`${it.id}-hint`]),
    ...(error === undefined ? [] : [`${it.id}-error`]),
    ...(errors.form === undefined ? [] : ["form-error"])
  ]
  return html`
          <div class="field">
            <label for="${it.id}">${it.label}</label>
            ${it.hint !== undefined && html`<p class="hint" id="${it.id}-hint">${it.hint}</p>`}
            ${error !== undefined && html`<p class="error" id="${it.id}-error">${error}</p>`}
            <input id="${it.id}" name="${it.id}" type="${it.type}" autocomplete="${it.autocomplete}" required
              ${it.value !== undefined && html`value="${it.value}"`}
              ${described.length > 0 && html`aria-describedby="${described.join(" ")}"`}
              ${(error !== undefined || errors.form !== undefined) && html`aria-invalid="true"`}
              ${it.first && html`autofocus`}>
          </div>`
}

const formError = ({ form }: Errors): Html | false =>
  form !== undefined && html`<p class="error box" id="form-error" role="alert">${form}</p>`

const email = ({ email, errors }: Form): Html =>
  field({
    id: "email",
    type: "email",
    label: "Email address",
    autocomplete: "username",
    value: email,
    first: errors.password === undefined
  }, errors)

export const signIn = (form: Form): Page => ({
  title: titled("Sign in", form.errors),
  path: "/sign-in",
  main: html`
      <section class="card narrow">
        <h1>Sign in</h1>
        ${formError(form.errors)}
        <form method="post" action="/sign-in" novalidate>
          <input type="hidden" name="to" value="${form.to}">${email(form)}${
    field({
      id: "password",
      type: "password",
      label: "Password",
      autocomplete: "current-password",
      first: form.errors.password !== undefined && form.errors.email === undefined
    }, form.errors)
  }
          <div class="check">
            <input id="remember" name="remember" type="checkbox" value="yes" aria-describedby="remember-hint"
              ${form.remember && html`checked`}>
            <label for="remember">Remember me for 30 days</label>
            <p class="hint" id="remember-hint">Not on a computer that others use.</p>
          </div>
          <button>Sign in</button>
        </form>
        <p>New here? <a href="/sign-up?to=${encodeURIComponent(form.to)}">Open an account</a></p>
      </section>`
})

export const signUp = (form: Form): Page => ({
  title: titled("Open an account", form.errors),
  path: "/sign-up",
  main: html`
      <section class="card narrow">
        <h1>Open an account</h1>
        ${formError(form.errors)}
        <form method="post" action="/sign-up" novalidate>
          <input type="hidden" name="to" value="${form.to}">${email(form)}${
    field({
      id: "password",
      type: "password",
      label: "Password",
      autocomplete: "new-password",
      hint: "At least 15 characters. A few words are easy to keep in mind.",
      first: form.errors.password !== undefined && form.errors.email === undefined
    }, form.errors)
  }
          <button>Open the account</button>
        </form>
        <p>Have one already? <a href="/sign-in?to=${encodeURIComponent(form.to)}">Sign in</a></p>
      </section>`
})

/** For who is logged in, but too long ago for what they want to do. */
export const confirm = (form: Form): Page => ({
  title: titled("Confirm that it is you", form.errors),
  path: "/confirm",
  main: html`
      <section class="card narrow">
        <h1>Confirm that it is you</h1>
        <p>It is a while since you signed in as <strong>${form.email}</strong>. For what comes next, your password is
          needed once more.</p>
        ${formError(form.errors)}
        <form method="post" action="/confirm" novalidate>
          <input type="hidden" name="to" value="${form.to}">
          <input type="hidden" name="email" value="${form.email}" autocomplete="username">${
    field({
      id: "password",
      type: "password",
      label: "Password",
      autocomplete: "current-password",
      first: true
    }, form.errors)
  }
          <div class="actions"><button>Confirm</button><a href="/account">Cancel</a></div>
        </form>
      </section>`
})
