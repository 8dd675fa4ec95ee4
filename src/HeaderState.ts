/**
 * The session's token in a request header, for APIs and native clients: `Authorization: Bearer …`, or a header of the
 * app's own. A new token goes out in the response header of the same name and form, for the client to send back as it
 * is. Knows nothing of stores, nor of what a session holds.
 *
 * A script in a browser sees that response header of another origin only if it is named in
 * `Access-Control-Expose-Headers`. While the layer is in force, the platform's tracer prints the header as `<redacted>`.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as internal from "./internal/http/response.js"
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
  /** The word before the token, read in any case. Default "Bearer" for Authorization (RFC 6750), none for another. */
  readonly scheme?: string | undefined
}

const authorization = "Authorization"

/** A token of RFC 9110 section 5.6.2, which names of headers and schemes are. */
const nameForm = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** What may follow a scheme: token68 of RFC 9110 section 11.2. */
const tokenForm = /^[A-Za-z0-9\-._~+/]+=*$/

/** The header line that common servers and proxies grant at the least, in bytes. */
const maximumLine = 4096

/** Headers that frame the message, that proxies take away, or that the session itself is answered with. */
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

const invalid = (option: string, message: string): Effect.Effect<never, ConfigError.ConfigError> =>
  Effect.fail(ConfigError.InvalidData(["HeaderState", option], message))

const check = (header: string, scheme: string | undefined): Effect.Effect<void, ConfigError.ConfigError> => {
  const name = header.toLowerCase()
  if (!nameForm.test(header)) {
    return invalid("header", `${JSON.stringify(header)} is no header name: write one such as "X-Session"`)
  }
  if (name === "cookie" || name === "set-cookie") {
    return invalid("header", "cookies have rules of their own: write CookieState.layer() instead")
  }
  if (taken.has(name)) {
    return invalid("header", `${header} has a meaning of its own: write another, such as "X-Session"`)
  }
  if (scheme !== undefined && !nameForm.test(scheme)) {
    return invalid("scheme", `${JSON.stringify(scheme)} is no scheme: write one word such as "Bearer", or leave it out`)
  }
  return header.length + (scheme ?? "").length > maximumLine / 2
    ? invalid("header", `it leaves no room for a token: write at most ${maximumLine / 2} characters with the scheme`)
    : Effect.void
}

const none: Effect.Effect<ReadonlyArray<SessionToken.Token>> = Effect.succeed([])

/** Takes the scheme off: one or more spaces after it (RFC 9110 section 11.4). Without one, the value is the token. */
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
    const name = header.toLowerCase()
    const scheme = options.scheme ?? (name === authorization.toLowerCase() ? "Bearer" : undefined)
    const before = scheme === undefined ? "" : `${scheme} `
    const limit = maximumLine - header.length - before.length
    const read = credentials(scheme)
    return Effect.as(
      check(header, scheme),
      State.make({
        audience: header,
        limit,
        vary: [header],
        persistent: false,
        synchronous: true,
        extract: (request) => {
          const value = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined
          const text = value === undefined ? undefined : read(value)
          return text === undefined || !tokenForm.test(text) ? none : Effect.succeed([SessionToken.fromString(text)])
        },
        emit: (response, token) => {
          const text = Redacted.value(token)
          return tokenForm.test(text) && text.length <= limit
            ? Effect.sync(() => internal.setHeader(response, name, `${before}${text}`))
            : Effect.as(
              Effect.logError(`effect-session: a token of the store doesn't fit the header ${header} and was not sent`),
              response
            )
        },
        expire: (response) => internal.setHeader(response, name, "")
      })
    )
  })

/** Keeps the header out of spans and logs, as long as the layer is in force (S07). */
const redact = (state: State.State): Effect.Effect<void, never, Scope.Scope> =>
  Effect.locallyScopedWith(
    Headers.currentRedactedNames,
    (names) => [...names, state.transports[0].audience.toLowerCase()]
  )

const scoped = (made: Effect.Effect<State.State, ConfigError.ConfigError>) =>
  Layer.scoped(State.State, Effect.tap(made, redact))

/**
 * Carries the session in a header. What the client holds is sent as it came: the whole value of the response header. An
 * empty value says that the session is over and the token to be forgotten.
 *
 * A request has one token here: two headers of the name, or a list in one, are none (S51).
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
export const layer = (options: Options = {}): Layer.Layer<State.State, ConfigError.ConfigError> => scoped(make(options))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<Options>): Layer.Layer<State.State, ConfigError.ConfigError> =>
  scoped(Effect.flatMap(Config.unwrap(options), make))
