/**
 * The two kinds of answer: a page, and a redirect with a message for the page that it leads to.
 */
import { HttpServerResponse } from "@effect/platform"
import { Effect, type Option } from "effect"
import { SessionField } from "effect-session"
import { notFound } from "../pages/errors.js"
import { document, type Page } from "../pages/layout.js"
import { Cart, countOf, Flash, visitor } from "../visitor.js"

/** The message is shown once, so showing it takes it out of the session. */
const message = SessionField.take(SessionField.option(Flash))

const shown = <E, R>(page: Page, status: number, flash: Effect.Effect<Option.Option<string>, E, R>) =>
  Effect.gen(function*() {
    const around = {
      user: yield* visitor,
      items: countOf(yield* Cart),
      flash: yield* flash
    }
    return HttpServerResponse.text(document(page, around).toString(), {
      status,
      contentType: "text/html; charset=utf-8"
    })
  })

export const show = (page: Page, status = 200) => shown(page, status, message)

/** Takes no message: what is not found is often a picture or a script, which nobody sees. */
export const showNotFound = shown(notFound, 404, Effect.succeedNone)

/** 303, so that the browser asks for the page by GET, and a reload sends no form again. */
export const goTo = (path: string) => HttpServerResponse.redirect(path, { status: 303 })

export const goToWith = (path: string, message: string) => Effect.as(SessionField.set(Flash, message), goTo(path))

/** A path of this site, or the start page: what a link says must not lead elsewhere. */
export const localPath = (to: string): string => /^\/(?![/\\])[!-~]*$/.test(to) ? to : "/"
