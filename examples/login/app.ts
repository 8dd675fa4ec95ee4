/**
 * The app. It needs a State, a Store that lists sessions, the users and a rate limiter.
 */
import { FileSystem, HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Option } from "effect"
import { Csrf } from "effect-session"
import * as account from "./routes/account.js"
import * as files from "./routes/files.js"
import * as live from "./routes/live.js"
import { showNotFound } from "./routes/respond.js"
import * as shop from "./routes/shop.js"
import * as signIn from "./routes/signIn.js"

const pages = HttpRouter.concatAll(shop.routes, signIn.routes, account.routes, live.routes, files.routes).pipe(
  HttpRouter.catchTags({
    SignInFirst: () => signIn.signInFirst,
    SomebodyElse: () => account.ofAnother,
    ReauthenticationRequired: () => account.confirmFirst
  }),
  // not as a route, which would take the HEAD of pages that only have a GET
  Effect.catchTag("RouteNotFound", () => showNotFound),
  // more than any form has; who sends more is cut off
  HttpServerRequest.withMaxBodySize(Option.some(FileSystem.KiB(64)))
)

/** Nothing from elsewhere, nothing inline, no frame around it. */
const policy = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'"
].join("; ")

const headers = {
  "content-security-policy": policy,
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff"
}

/** Every answer has them, errors too. A page that says who is logged in is for no cache, nor for the back button. */
const withHeaders = HttpApp.appendPreResponseHandler((_request, response) =>
  Effect.succeed(HttpServerResponse.setHeaders(response, {
    "cache-control": "no-store",
    ...response.headers,
    ...headers
  }))
)

export const app = Effect.zipRight(withHeaders, Csrf.protect()(pages))
