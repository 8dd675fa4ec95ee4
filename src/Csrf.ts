/**
 * Protection of requests that change state from being sent by other sites (cross-site request forgery). `protect` is a
 * middleware that goes by what every browser since 2023 says of a request, and needs no session and no change to forms.
 * `token` and `verify` are for apps that must serve older browsers too: a secret in the session, which the app's own
 * pages send along. The module knows nothing of states or stores.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as masks from "./internal/csrf/mask.js"
import * as origins from "./internal/csrf/origin.js"
import { bodyText, hasForm } from "./internal/http/body.js"
import { declaredAs, respondable, respondWith } from "./internal/http/respondable.js"
import { emitting } from "./internal/sessionEvents/emit.js"
import * as Session from "./Session.js"
import * as SessionField from "./SessionField.js"

// ------------------------------------------------------------------------------------------------------ by the headers

/**
 * Options of `protect`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The other origins whose pages may send any request, each a scheme, a host and the port if it is not the default one,
   * such as `https://admin.example.com`. There are no wildcards. Default: none.
   */
  readonly trustedOrigins?: ReadonlyArray<string> | undefined
}

/**
 * The host that a request was sent to. A request of the web platform may have it in its URL alone. `X-Forwarded-Host` is
 * not asked, because anybody can send it.
 */
const hostOf = (request: HttpServerRequest.HttpServerRequest): string | undefined =>
  request.headers["host"] || /^https?:\/\/([^/?#]*)/i.exec(request.originalUrl)?.[1]

const checked = (origin: string): string => {
  const canonical = origins.canonical(origin)
  if (canonical === undefined) {
    throw new TypeError(
      `Csrf.protect can't trust the origin ${JSON.stringify(origin)}. Write a scheme, a host and a port if it is not ` +
        "the default one, without a path, a slash at the end or a wildcard, such as \"https://admin.example.com\"."
    )
  }
  return canonical
}

/**
 * Makes a middleware that refuses, with 403, requests that a browser sends for a page of another site and that may change
 * state. Use it with `HttpServer.serve`, with `HttpRouter.use` or with `app.pipe`, inside or outside of the session's
 * middleware. It never touches the session. A refused request is counted in the metric `effect_session_rejected`, by the
 * reason `cross-site`, and told to `SessionEvents`.
 *
 * The first row that fits decides, as in Go's `net/http.CrossOriginProtection`:
 *
 * | the request | |
 * | --- | --- |
 * | GET, HEAD or OPTIONS | passes, so these must not change anything |
 * | `Origin` is one of `trustedOrigins` | passes |
 * | `Sec-Fetch-Site: same-origin` or `none` (the user's own doing) | passes |
 * | any other `Sec-Fetch-Site` | is refused, `same-site` too: a subdomain may be another's |
 * | `Origin` has the host and port of the request's `Host` | passes, whatever the scheme |
 * | any other `Origin`, such as `null` | is refused |
 * | neither header | passes: it was not sent by a browser, or not for another site |
 *
 * `X-Forwarded-Host` is not trusted. A proxy that changes `Host` makes old browsers, which send no `Sec-Fetch-Site`, seem
 * to come from elsewhere: let it keep `Host`, or list the app's public origin. No browser sends `Sec-Fetch-Site` over
 * plain HTTP, other than to localhost, so there `Origin` decides, and a page with `Referrer-Policy: no-referrer` sends
 * `Origin: null` with its own forms: write `same-origin` instead. The upgrade to a WebSocket is a GET, so it passes.
 *
 * Throws a `TypeError` that says what to write if a trusted origin is not valid, so that an app with a wrong one does not
 * start.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
 * import { Csrf } from "effect-session"
 *
 * const server = HttpRouter.empty.pipe(
 *   HttpRouter.post("/transfer", HttpServerResponse.text("done")),
 *   Csrf.protect({ trustedOrigins: ["https://admin.example.com"] }),
 *   HttpServer.serve()
 * )
 * ```
 */
export const protect = (
  options: Options = {}
): <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, R> => {
  const trusted: ReadonlySet<string> = new Set((options.trustedOrigins ?? []).map(checked))
  return <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request): HttpApp.Default<E, R> =>
      origins.isAllowed({
          method: request.method,
          fetchSite: request.headers["sec-fetch-site"],
          origin: request.headers["origin"],
          host: hostOf(request)
        }, trusted)
        ? app
        : Effect.as(emitting({ _tag: "Rejected", reason: "cross-site" }), HttpServerResponse.empty({ status: 403 })))
}

// ------------------------------------------------------------------------------------------------------ by the session

/**
 * The request did not prove that a page of the app itself sent it. If nobody handles it, the answer is 403, also where an
 * `HttpApi` declares it.
 *
 * - `Missing`: there is no token in the header `x-csrf-token` nor in the form field `csrf`.
 * - `Invalid`: there is one, but it is not of this session, or not of the time since its last login.
 *
 * @since 0.1.0
 * @category errors
 */
export class CsrfError extends Schema.TaggedError<CsrfError>("effect-session/CsrfError")("CsrfError", {
  reason: Schema.Literal("Missing", "Invalid")
}, declaredAs(403)) {
  /** @since 0.1.0 */
  [respondable](): ReturnType<typeof respondWith> {
    return respondWith(403)
  }

  /** @since 0.1.0 */
  override get message(): string {
    return this.reason === "Missing"
      ? "The request has no CSRF token. Send the value of Csrf.token in the header x-csrf-token, or in the field csrf " +
        "of an application/x-www-form-urlencoded form."
      : "The request's CSRF token is not one of its session. Load the page again: a login makes new tokens."
  }
}

/**
 * `token` and `verify` for the session of the tag `S`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Verbs<S> {
  readonly token: Effect.Effect<string, never, S>
  readonly verify: Effect.Effect<void, CsrfError, S | HttpServerRequest.HttpServerRequest>
}

const Secret = Schema.String.pipe(Schema.pattern(masks.secretForm))

/** What the request gives for a token: the header if it has one, else the field. */
const given = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<string> => {
  const header = request.headers["x-csrf-token"]
  if (header !== undefined && header !== "") {
    return Effect.succeed(header)
  }
  // What can't be read gives no token.
  return hasForm(request)
    ? Effect.match(bodyText(request), {
      onFailure: () => "",
      onSuccess: (text) => new URLSearchParams(text).get("csrf") ?? ""
    })
    : Effect.succeed("")
}

/**
 * `token` and `verify` for a named session (see `Session.Tag`). Those of this module are `verbs(Session.Session)`.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Csrf, Session } from "effect-session"
 *
 * class Admin extends Session.Tag<Admin>()("admin") {}
 *
 * const verify = Csrf.verbs(Admin).verify
 * ```
 */
export const verbs = <S>(tag: Session.SessionTag<S>): Verbs<S> => {
  const secret = SessionField.make("effect-session/csrf", Secret, { onRenew: "remove", session: tag })
  const present = SessionField.option(secret)
  return {
    token: Effect.map(
      SessionField.getOrCreate(secret, Effect.sync(masks.draw)).pipe(
        // The page can still be shown, but what it sends will be refused.
        Effect.catchTag("SessionGone", () => Effect.sync(masks.draw)),
        Effect.orDie
      ),
      masks.mask
    ),
    verify: Effect.flatMap(Effect.flatMap(HttpServerRequest.HttpServerRequest, given), (token) => {
      if (!masks.isToken(token)) {
        return Effect.fail(new CsrfError({ reason: token === "" ? "Missing" : "Invalid" }))
      }
      return Effect.flatMap(present, (secret) =>
        Option.isSome(secret) && masks.isMaskOf(token, secret.value)
          ? Effect.void
          : Effect.fail(new CsrfError({ reason: "Invalid" })))
    })
  }
}

const own = verbs(Session.Session)

/**
 * A token for the forms and scripts of the app's own pages: 64 characters, to be sent back in the header `x-csrf-token` or
 * in the form field `csrf`. It is masked anew each time it is asked for, and all tokens of a session are good until its
 * next `Session.renew` or its end.
 *
 * The first token of a session makes the secret behind it, and saves it at once: of pages that load at the same time, all
 * get good tokens. So a page that asks for a token begins a session. Where the store keeps nothing, or the session has
 * ended meanwhile, the token is of no use and `verify` will refuse it. Dies with a `StoreError`, answered with 503, if the
 * secret can't be loaded or saved.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Effect } from "effect"
 * import { Csrf } from "effect-session"
 *
 * const page = Effect.map(Csrf.token, (token) =>
 *   HttpServerResponse.html(`<form method="post"><input type="hidden" name="csrf" value="${token}"></form>`))
 * ```
 */
export const token: Effect.Effect<string, never, Session.Session> = own.token

/**
 * Goes on only if the request carries a token of its session, in the header `x-csrf-token`, or without that header in the
 * field `csrf` of a body of `application/x-www-form-urlencoded`. Fails with a `CsrfError` otherwise, answered with 403.
 * Tokens are compared in constant time. It looks at every request that it is run for, whatever the method.
 *
 * A handler can read the form before or afterwards as text or parameters. It can read it as bytes or as a stream only
 * afterwards, because the platform reads a body once, and only if it is UTF-8. Multipart bodies are not read: send the
 * header with them.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect } from "effect"
 * import { Csrf } from "effect-session"
 *
 * const transfer = Effect.zipRight(Csrf.verify, HttpServerResponse.text("done"))
 *
 * const router = HttpRouter.empty.pipe(HttpRouter.post("/transfer", transfer))
 * ```
 */
export const verify: Effect.Effect<void, CsrfError, Session.Session | HttpServerRequest.HttpServerRequest> = own.verify
