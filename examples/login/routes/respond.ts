/**
 * The two kinds of answer: a page, and a redirect with a message for the page that it leads to.
 */
import { HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { SessionField } from "effect-session"
import { document, type Page } from "../pages/layout.js"
import { Cart, countOf, Flash, visitor } from "../visitor.js"

export const show = (page: Page, status = 200) =>
  Effect.gen(function*() {
    const around = {
      user: yield* visitor,
      items: countOf(yield* Cart),
      flash: yield* SessionField.take(SessionField.option(Flash))
    }
    return HttpServerResponse.text(document(page, around).toString(), {
      status,
      contentType: "text/html; charset=utf-8"
    })
  })

/** 303, so that the browser asks for the page by GET, and a reload sends no form again. */
export const goTo = (path: string) => HttpServerResponse.redirect(path, { status: 303 })

export const goToWith = (path: string, message: string) => Effect.as(SessionField.set(Flash, message), goTo(path))

/** A path of this site, or the start page: what a link says must not lead elsewhere. */
export const localPath = (to: string): string => /^\/(?![/\\])[!-~]*$/.test(to) ? to : "/"
