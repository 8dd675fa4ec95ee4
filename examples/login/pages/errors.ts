import { html } from "../html.js"
import type { Page } from "./layout.js"

export const notFound: Page = {
  title: "Not found",
  path: "",
  main: html`
      <section class="card narrow">
        <h1>There is nothing here</h1>
        <p>The link may be old, or have a typing error in it.</p>
        <p><a class="button" href="/">Back to the shop</a></p>
      </section>`
}
