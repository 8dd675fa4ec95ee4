/**
 * Carries the session's token in a parameter of the URL or of a form, for clients that keep neither cookies nor
 * headers. It never puts a token into a response: the app takes the token from `Session.token` and writes it into its
 * links and forms. The module knows nothing of stores, nor of what a session holds.
 *
 * A URL is recorded in many places where a cookie is not: histories, bookmarks, logs of proxies, and the `Referer` of
 * the next request (send `Referrer-Policy: same-origin`). When this state reads a token from the URL, it removes the
 * token from the surrounding spans, including the platform's own server span. As long as the layer is in scope, the
 * platform's spans show the headers `Referer` and `Location` as `<redacted>`. The state can't remove a token from the
 * span of a request that never touches its session, or whose session an earlier state of `State.orElse` carries, from the
 * `http.url` that `HttpMiddleware.logger` prints, or from spans of tracers other than Effect's. Pass what you log through
 * `redact`.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as cookie from "./internal/cookie/rules.js"
import * as environment from "./internal/environment.js"
import { bodyText, hasForm } from "./internal/http/body.js"
import { redactHeaders } from "./internal/http/headers.js"
import * as check from "./internal/options.js"
import { andThen } from "./internal/runtime/exit.js"
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
   * Whether the parameter is also looked for in a body of `application/x-www-form-urlencoded`, before the query.
   * Default false, because the platform reads a body once: a handler that reads a form's bytes or stream before it
   * touches the session leaves nothing to read the token from, and gets a new session. Handlers that read it as text,
   * JSON or parameters are not affected.
   */
  readonly body?: boolean | undefined
}

const defaultKey = "session"

/** The longest token, in bytes: every browser, server and proxy accepts a URL of about 2000 characters. */
const maximumLength = 2048

const control = /[\x00-\x1f\x7f]/

/** How many values of the parameter are looked at in one form, and in one query. */
const maximumValues = 16

const escape = (byte: number): string =>
  `%${byte.toString(16).padStart(2, "0").replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)}`

const encoder = new TextEncoder()

const unicode = (text: string): string =>
  text.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")

/** The regular expressions for the ways to write a character in a name, besides its percent-encoded form. */
const literal = (character: string): ReadonlyArray<string> => {
  switch (character) {
    case " ":
      return [" ", "\\+"]
    case "%":
      return ["%(?![0-9a-fA-F]{2})"]
    case "&":
    case "=":
    case "+":
      return []
    default:
      return [unicode(character)]
  }
}

/** Matches a name that `URLSearchParams` would read as this key, at `lastIndex`. */
const nameForm = (key: string): RegExp =>
  new RegExp(
    `${
      Array.from(
        key,
        (character) =>
          `(?:${[...literal(character), Array.from(encoder.encode(character), escape).join("")].join("|")})`
      ).join("")
    }(?=[=&]|$)`,
    "y"
  )

/** Decodes a value as `URLSearchParams` does: an invalid percent-encoding stays as it is. */
const decode = (value: string): string => new URLSearchParams(`?v=${value}`).get("v") ?? ""

/**
 * The last distinct values of a key, the last one first. The search goes backward and stops when there are enough
 * values, so that a form with very many values costs no more than a search for its separators.
 */
const values = (parameters: string, name: RegExp): ReadonlyArray<SessionToken.Token> => {
  const found = new Set<string>()
  let end = parameters.length
  while (end > 0 && found.size < maximumValues) {
    const start = parameters.lastIndexOf("&", end - 1) + 1
    name.lastIndex = start
    if (start < end && name.test(parameters)) {
      found.add(parameters.slice(name.lastIndex + 1, end))
    }
    end = start - 1
  }
  return Array.from(found, (value) => SessionToken.fromString(decode(value)))
}

const query = (url: string): string => {
  const hash = url.indexOf("#")
  const end = hash === -1 ? url.length : hash
  const start = url.indexOf("?")
  return start === -1 || start > end ? "" : url.slice(start + 1, end)
}

const nameBefore = /(?:^|[?&])([^=&?#\s]*)=/g

const valueEnd = /[&#\s]|$/g

/**
 * Replaces the value of a parameter by `<redacted>`, in a URL or in a query alone, before it is logged. The key is
 * "session" unless another is given.
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

/** The headers that hold a URL of the app: of the page that a request comes from, and of the one that it is sent to. */
const urlHeaders = ["referer", "location"]

/** Removes the token from the attributes of the spans around the running fiber (S07). */
const scrub = (key: string): void => {
  let span: Tracer.AnySpan | undefined = Option.getOrUndefined(
    Option.flatMap(Fiber.getCurrentFiber(), (fiber) => Context.getOption(fiber.currentContext, Tracer.ParentSpan))
  )
  while (span !== undefined && span._tag === "Span") {
    for (const [name, value] of span.attributes) {
      const redacted = typeof value === "string" ? redact(value, key) : value
      if (redacted !== value) {
        span.attribute(name, redacted)
      }
    }
    span = Option.getOrUndefined(span.parent)
  }
}

type Tokens = ReadonlyArray<SessionToken.Token>

const none: Effect.Effect<Tokens> = Effect.succeed([])

const ofBody = (request: HttpServerRequest.HttpServerRequest, name: RegExp): Effect.Effect<Tokens> =>
  hasForm(request)
    ? Effect.matchEffect(bodyText(request), {
      onFailure: () => none,
      onSuccess: (text) => Effect.succeed(values(text, name))
    })
    : none

const ofQuery = (request: HttpServerRequest.HttpServerRequest, name: RegExp, key: string): Tokens => {
  const found = values(query(request.url), name)
  if (found.length > 0) {
    scrub(key)
  }
  return found
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
      return check.invalid(
        ["ParamState", "key"],
        "write a name of one or more characters, without control characters, such as \"session\""
      )
    }
    const name = nameForm(key)
    return Effect.succeed(State.make({
      audience: `param:${key}`,
      limit: maximumLength,
      vary: [],
      persistent: false,
      extract: body
        // a request without a form is answered at once
        ? (request) =>
          andThen(ofBody(request, name), (ofForm) => Exit.succeed([...ofForm, ...ofQuery(request, name, key)]))
        : (request) => Effect.succeed(ofQuery(request, name, key)),
      emit: (response) => Effect.succeed(response),
      expire: (response) => response
    }))
  })

/**
 * Carries the session in a parameter of the query, and with `body: true` also of forms. If there are several values,
 * the last is tried first, and those of a form are tried before those of the query. Responses do not carry the token:
 * an app that renews or ends the session has to write new links. Fails with a `ConfigError` that says what to write
 * instead.
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
  Layer.scoped(State.State, Effect.zipLeft(make(options), redactHeaders(urlHeaders)))

const variables: environment.Variables<Options> = {
  key: environment.optional("SESSION_KEY", Config.string),
  body: environment.optional("SESSION_BODY", Config.boolean)
}

/**
 * `layer` with options read from the environment: `SESSION_KEY` and `SESSION_BODY`. Both may be absent. An option that
 * is given is read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options> = {}
): Layer.Layer<State.State, ConfigError.ConfigError> => environment.layerConfig("ParamState", variables, options, layer)
