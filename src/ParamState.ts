/**
 * The session's token in a parameter of the URL, or of a form, for clients that keep neither cookies nor headers. It
 * never puts a token into a response: `Session.token` gives it to the app, which writes it into its links and forms.
 * Knows nothing of stores, nor of what a session holds.
 *
 * A URL is written down in many places that a cookie is not: histories, bookmarks, proxies' logs, the `Referer` of the
 * next request (send `Referrer-Policy: no-referrer`). When this state reads a token of the URL, it takes the token out of
 * the spans around it, the platform's own server span included. What it can't reach: the span of a request that never
 * touches its session, the `http.url` that `HttpMiddleware.logger` prints, and spans of other tracers than Effect's. Pass
 * what you log through `redact`.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import * as cookie from "./internal/cookie/rules.js"
import * as SessionToken from "./SessionToken.js"
import * as State from "./State.js"

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The parameter's name. Default "session". */
  readonly key?: string | undefined
  /**
   * Whether the parameter is also looked for in a body of `application/x-www-form-urlencoded`, before the query. Default
   * false: the platform reads a body once, so that a handler that takes it as a stream, or as bytes, finds it empty after
   * the session was touched. Handlers that take it as text, JSON or parameters are not disturbed.
   */
  readonly body?: boolean | undefined
}

const defaultKey = "session"

/** What a token may measure: every browser, server and proxy takes a URL of some 2000 characters. */
const maximumLength = 2048

const control = /[\x00-\x1f\x7f]/

const formType = /^\s*application\/x-www-form-urlencoded\s*(?:;|$)/i

/** The values of a key, the last first; what is no valid percent-encoding passes as it is. */
const values = (parameters: string, key: string): ReadonlyArray<SessionToken.Token> =>
  parameters === "" ? [] : new URLSearchParams(parameters).getAll(key).reverse().map(SessionToken.fromString)

const query = (url: string): string => {
  const hash = url.indexOf("#")
  const end = hash === -1 ? url.length : hash
  const start = url.indexOf("?")
  return start === -1 || start > end ? "" : url.slice(start + 1, end)
}

const nameBefore = /(?:^|[?&])([^=&?#\s]*)=/g

const valueEnd = /[&#\s]|$/g

/**
 * A URL, or its query alone, with the value of a parameter taken out, for what is logged.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { ParamState } from "effect-session"
 *
 * ParamState.redact("/cart?page=2&session=secret") // "/cart?page=2&session=<redacted>"
 * ```
 */
export const redact = (text: string, key: string = defaultKey): string => {
  let redacted = ""
  let copied = 0
  nameBefore.lastIndex = 0
  for (let found = nameBefore.exec(text); found !== null; found = nameBefore.exec(text)) {
    if (new URLSearchParams(`${found[1]}=`).has(key)) {
      redacted += `${text.slice(copied, nameBefore.lastIndex)}<redacted>`
      valueEnd.lastIndex = nameBefore.lastIndex
      copied = valueEnd.exec(text)?.index ?? text.length
      nameBefore.lastIndex = copied
    }
  }
  return redacted + text.slice(copied)
}

/** Takes the token out of the attributes of the spans around (S07). */
const scrub = (key: string): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    let span: Tracer.AnySpan | undefined = Context.getOrElse(
      fiber.currentContext,
      Tracer.ParentSpan,
      () => undefined as Tracer.AnySpan | undefined
    )
    while (span !== undefined && span._tag === "Span") {
      for (const [name, value] of span.attributes) {
        const redacted = typeof value === "string" ? redact(value, key) : value
        if (redacted !== value) {
          span.attribute(name, redacted)
        }
      }
      span = span.parent._tag === "Some" ? span.parent.value : undefined
    }
    return Effect.void
  })

const none: Effect.Effect<ReadonlyArray<SessionToken.Token>> = Effect.succeed([])

const ofBody = (
  request: HttpServerRequest.HttpServerRequest,
  key: string
): Effect.Effect<ReadonlyArray<SessionToken.Token>> =>
  request.method !== "GET" && request.method !== "HEAD" && formType.test(request.headers["content-type"] ?? "")
    ? Effect.matchEffect(request.text, {
      onFailure: () => none,
      onSuccess: (text) => Effect.succeed(values(text, key))
    })
    : none

const ofQuery = (
  request: HttpServerRequest.HttpServerRequest,
  key: string
): Effect.Effect<ReadonlyArray<SessionToken.Token>> => {
  const found = values(query(request.url), key)
  return found.length === 0 ? none : Effect.as(scrub(key), found)
}

/**
 * Checks options, fills in defaults and makes the state. Fails with a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<State.State, ConfigError.ConfigError> =>
  Effect.suspend(() => {
    const { body = false, key = defaultKey } = options
    if (key === "" || control.test(key) || cookie.encode(key) === undefined) {
      return Effect.fail(ConfigError.InvalidData(
        ["ParamState", "key"],
        "write a name of one or more characters, no control characters among them, such as \"session\""
      ))
    }
    return Effect.succeed(State.make({
      audience: key,
      limit: maximumLength,
      vary: [],
      persistent: false,
      synchronous: !body,
      extract: body
        ? (request) => Effect.zipWith(ofBody(request, key), ofQuery(request, key), (first, then) => [...first, ...then])
        : (request) => ofQuery(request, key),
      emit: (response) => Effect.succeed(response),
      expire: (response) => response
    }))
  })

/**
 * Carries the session in a parameter of the query, and of forms if asked. Of several the last comes first, and those of a
 * form come before those of the query. A response says nothing of the session: an app that renews or ends it has to write
 * new links.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { ParamState } from "effect-session"
 *
 * // /cart?sid=<token>, or a hidden field named sid
 * const state = ParamState.layer({ key: "sid", body: true })
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<State.State, ConfigError.ConfigError> =>
  Layer.effect(State.State, make(options))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<Options>): Layer.Layer<State.State, ConfigError.ConfigError> =>
  Layer.effect(State.State, Effect.flatMap(Config.unwrap(options), make))
