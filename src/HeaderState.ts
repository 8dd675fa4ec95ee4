/**
 * Carries the session's token in a request header, for APIs and native clients: `Authorization: Bearer …`, or a header
 * of the app's own. A new token is sent in the response header of the same name and form; the client sends it back
 * unchanged. The module knows nothing of stores, nor of what a session holds.
 *
 * In a browser, a script can read that header of another origin's response only if `Access-Control-Expose-Headers`
 * names it. A response that carries a token prints the header as `<redacted>`. The platform's tracer does the same as
 * long as the layer is in scope.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as environment from "./internal/environment.js"
import { redactHeaders } from "./internal/http/headers.js"
import * as http from "./internal/http/response.js"
import * as check from "./internal/options.js"
import * as SessionToken from "./SessionToken.js"
import * as State from "./State.js"

/**
 * Options of `layer`. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The header's name, in any case. Default "Authorization". */
  readonly header?: string | undefined
  /**
   * The word before the token, read in any case. Default: "Bearer" for Authorization (RFC 6750), none for other
   * headers.
   */
  readonly scheme?: string | undefined
}

const authorization = "Authorization"

/** The form of header names and schemes: a token of RFC 9110 section 5.6.2. */
const nameForm = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** The form of what may follow a scheme: token68 of RFC 9110 section 11.2. */
const tokenForm = /^[A-Za-z0-9\-._~+/]+=*$/

/** The longest header line, in bytes, that all common servers and proxies accept. */
const maximumLine = 4096

/** Headers that frame the message, that proxies remove, or that the middleware sets. */
const taken: ReadonlySet<string> = new Set([
  "cache-control",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "date",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "vary"
])

const invalid = (option: keyof Options, advice: string) => check.invalid(["HeaderState", option], advice)

const checkOptions = (header: string, scheme: string | undefined): check.Checked<void> => {
  const name = header.toLowerCase()
  if (!nameForm.test(header)) {
    return invalid("header", `${JSON.stringify(header)} is not a header name: write one such as "X-Session"`)
  }
  if (name === "cookie" || name === "set-cookie") {
    return invalid("header", "this header carries cookies: use CookieState.layer() instead")
  }
  if (taken.has(name)) {
    return invalid("header", `HTTP uses the header ${header} for something else: write another, such as "X-Session"`)
  }
  if (scheme !== undefined && !nameForm.test(scheme)) {
    return invalid(
      "scheme",
      `${JSON.stringify(scheme)} is not a scheme: write one word such as "Bearer", or leave it out`
    )
  }
  return header.length + (scheme ?? "").length > maximumLine / 2
    ? invalid("header", `it leaves no room for a token: write at most ${maximumLine / 2} characters, scheme included`)
    : Either.void
}

const none: Effect.Effect<ReadonlyArray<SessionToken.Token>> = Effect.succeed([])

/**
 * Removes the scheme and the spaces after it (RFC 9110 section 11.4). Without a scheme, the whole value is the token.
 */
const credentials = (scheme: string | undefined): (value: string) => string | undefined => {
  if (scheme === undefined) {
    return (value) => value
  }
  const lower = `${scheme.toLowerCase()} `
  return (value) =>
    value.slice(0, lower.length).toLowerCase() === lower ? value.slice(lower.length).replace(/^ +/, "") : undefined
}

/**
 * Checks options, fills in defaults and makes the state. Fails with a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<State.State, ConfigError.ConfigError> =>
  Effect.suspend(() => {
    const header = options.header ?? authorization
    const scheme = options.scheme ?? (header.toLowerCase() === authorization.toLowerCase() ? "Bearer" : undefined)
    return Either.map(checkOptions(header, scheme), () => State.make(transport(header, scheme)))
  })

const transport = (header: string, scheme: string | undefined): State.Transport => {
  const name = header.toLowerCase()
  const before = scheme === undefined ? "" : `${scheme} `
  const limit = maximumLine - header.length - before.length
  const read = credentials(scheme)
  return {
    audience: `header:${name}`,
    limit,
    vary: [header],
    persistent: false,
    extract: (request) => {
      const value = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined
      const text = value === undefined ? undefined : read(value)
      return text === undefined || !tokenForm.test(text) ? none : Effect.succeed([SessionToken.fromString(text)])
    },
    emit: (response, token) => {
      const text = Redacted.value(token)
      return tokenForm.test(text) && text.length <= limit
        ? Effect.succeed(http.setSecretHeader(response, name, `${before}${text}`))
        : Effect.as(
          Effect.logError(
            `HeaderState: The store's token is too long for the header ${header} and was not sent, so the client gets ` +
              "no session. Keep less in the session, or use a store that keeps it on the server."
          ),
          response
        )
    },
    expire: (response) => http.setHeader(response, name, "")
  }
}

/**
 * Carries the session in a header. The client keeps the whole value of the response header and sends it back unchanged.
 * An empty value means that the session has ended and that the client has to forget its token. Fails with a
 * `ConfigError` that says what to write instead.
 *
 * Exactly one token per request: a comma-separated list is ignored. So are repeated headers, of which servers make such a
 * list; but Node takes the first `Authorization` and drops the others.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HeaderState } from "effect-session"
 *
 * // Authorization: Bearer <token>
 * const bearer = HeaderState.layer()
 *
 * // X-Session: <token>
 * const own = HeaderState.layer({ header: "X-Session" })
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<State.State, ConfigError.ConfigError> =>
  Layer.scoped(
    State.State,
    Effect.tap(make(options), ({ transports: [{ vary }] }) => redactHeaders(vary.map((name) => name.toLowerCase())))
  )

const variables: environment.Variables<Options> = {
  header: environment.optional("SESSION_HEADER", Config.string),
  scheme: environment.optional("SESSION_SCHEME", Config.string)
}

/**
 * `layer` with options read from the environment: `SESSION_HEADER` and `SESSION_SCHEME`. Both may be absent. An option
 * that is given is read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options> = {}
): Layer.Layer<State.State, ConfigError.ConfigError> =>
  environment.layerConfig("HeaderState", variables, options, layer)
