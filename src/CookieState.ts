/**
 * The session's token in a cookie, which is what a browser wants. The defaults are the strictest that a site of one host
 * can have, and what browsers would silently drop is refused when the layer is built. Knows nothing of stores, nor of
 * what a session holds.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as chunks from "./internal/cookie/chunks.js"
import * as cookie from "./internal/cookie/rules.js"
import * as signature from "./internal/crypto/hmac.js"
import * as platform from "./internal/http/response.js"
import * as internal from "./internal/session/handle.js"
import * as Session from "./Session.js"
import * as SessionToken from "./SessionToken.js"
import * as State from "./State.js"

/**
 * How cookies are signed: `s:<token>.<signature>`, the signature an HMAC-SHA256 in base64 without padding, which is what
 * express-session and cookie-signature write and read. A drawn token needs no signature to be safe, for it can't be
 * guessed; this form is for reading and writing the cookies of an Express app.
 *
 * @since 0.1.0
 * @category models
 */
export interface Signing {
  /** One secret or several: the first signs, all verify. None may be empty; an Express app's are used as they are. */
  readonly secrets: Redacted.Redacted | ReadonlyArray<Redacted.Redacted>
}

/**
 * Options of `layer`. All have defaults, and the defaults together are a `__Host-` cookie.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Default `__Host-session`; `__Secure-session` where a domain or a path other than "/" is given (S39); `session` where
   * `secure` is false. The prefixes `__Host-`, `__Secure-`, `__Http-` and `__Host-Http-` are held to their rules in any
   * case (RFC 6265bis section 4.1.3; S40, S41, S42).
   */
  readonly name?: string | undefined
  /** The path below which the cookie is sent. Default "/". */
  readonly path?: string | undefined
  /** A domain whose subdomains get the cookie too. Default: this host alone (S45). */
  readonly domain?: string | undefined
  /** Whether the cookie travels over HTTPS alone. Default true; false is for plain-HTTP development (S38). */
  readonly secure?: boolean | undefined
  /** Whether scripts are kept from the cookie. Default true (S37). */
  readonly httpOnly?: boolean | undefined
  /** Whether other sites' requests carry the cookie. Default "lax", or "none" for a partitioned cookie (S43, S44). */
  readonly sameSite?: "lax" | "strict" | "none" | undefined
  /** Whether the cookie is kept apart for each top-level site (CHIPS). Needs `secure`. Default false (S44). */
  readonly partitioned?: boolean | undefined
  /** Which cookies Chromium evicts first. Default: unsaid, which it takes for medium. */
  readonly priority?: "low" | "medium" | "high" | undefined
  /**
   * Keeps the cookie when the browser is closed, for so long and never longer than the session lives (S22). From 1 second
   * to 400 days (S48). Default: the cookie ends with the browser's session (S52).
   */
  readonly maxAge?: Duration.DurationInput | undefined
  /** Signs the cookie as express-session does. Default: unsigned. */
  readonly signed?: Signing | undefined
  /**
   * Lets a token that is too long for one cookie go into up to four, named `<name>.0` to `<name>.3`, of 12 KB together:
   * for sealed sessions, whose tokens are authenticated as a whole (S55). Every response that sets one form of the cookie
   * expires the others. Not together with `signed`. Default false: a token over 4096 bytes is an error (S46).
   */
  readonly chunks?: boolean | undefined
}

interface Jar {
  readonly name: string
  readonly attributes: cookie.Attributes
  readonly room: number
  /** Whether a long token goes into several cookies. */
  readonly chunks: boolean
}

/** What the cookie of each transport made here is, for `attributes`. */
const jars = new WeakMap<State.Transport, Jar>()

const invalid = (problem: cookie.Problem): ConfigError.ConfigError =>
  ConfigError.InvalidData(["CookieState", problem.option], problem.message)

const drawnLength = 43
const signedPrefix = "s:"
/** What `s:`, the dot and a signature add to a token, each of the characters + / : taking three bytes. */
const signedOverhead = 4 + 1 + 3 * signature.length

const signers = (
  signed: Signing | undefined
): Effect.Effect<ReadonlyArray<signature.Sign>, ConfigError.ConfigError> => {
  if (signed === undefined) {
    return Effect.succeed([])
  }
  const secrets = (Redacted.isRedacted(signed.secrets) ? [signed.secrets] : signed.secrets).map(Redacted.value)
  return secrets.length > 0 && secrets.every((secret) => typeof secret === "string" && secret !== "")
    ? Effect.succeed(secrets.map(signature.sign))
    : Effect.fail(invalid({
      option: "signed",
      message: "write one or more secrets, none of them empty, such as " +
        "{ secrets: Redacted.make(\"32 random bytes in base64\") }"
    }))
}

const verified = (all: ReadonlyArray<signature.Sign>) => (value: string): Effect.Effect<string | undefined> => {
  const dot = value.lastIndexOf(".")
  if (dot === -1 || !value.startsWith(signedPrefix)) {
    return Effect.succeed(undefined)
  }
  const text = value.slice(signedPrefix.length, dot)
  return Effect.map(signature.verify(all, text, value.slice(dot + 1)), (valid) => valid ? text : undefined)
}

const none: Effect.Effect<ReadonlyArray<SessionToken.Token>> = Effect.succeed([])

/** The tokens of a request where a token may be in pieces: those of the cookie itself, then what the pieces make. */
const extractorOfPieces = (name: string) => (request: HttpServerRequest.HttpServerRequest) =>
  Effect.sync((): ReadonlyArray<SessionToken.Token> => {
    const header = request.headers["cookie"]
    if (header === undefined) {
      return []
    }
    const whole = chunks.join(header, name)
    return [...cookie.values(header, name), ...(whole === undefined ? [] : [whole])].map(SessionToken.fromString)
  })

const extractor = (name: string, all: ReadonlyArray<signature.Sign>) => {
  const verify = verified(all)
  return (request: HttpServerRequest.HttpServerRequest): Effect.Effect<ReadonlyArray<SessionToken.Token>> => {
    const header = request.headers["cookie"]
    if (header === undefined) {
      return none
    }
    const values = cookie.values(header, name)
    if (all.length === 0 || values.length === 0) {
      return Effect.succeed(values.map(SessionToken.fromString))
    }
    return Effect.map(
      Effect.forEach(values, verify),
      (tokens) => tokens.filter((token) => token !== undefined).map(SessionToken.fromString)
    )
  }
}

const expireAll = (
  response: HttpServerResponse.HttpServerResponse,
  names: ReadonlyArray<string>,
  attributes: cookie.Attributes
): HttpServerResponse.HttpServerResponse => {
  const removal = cookie.removal(attributes)
  return names.reduce((response, name) => platform.setCookie(response, name, "", "", removal), response)
}

const emitter = (jar: Jar, signer: signature.Sign | undefined): State.Transport["emit"] => {
  const put = (response: HttpServerResponse.HttpServerResponse, value: string, emission: State.Emission) => {
    const encoded = cookie.encode(value)
    const pieces = jar.chunks && encoded === value ? chunks.split(jar.name, value) : undefined
    if (encoded === undefined || pieces === undefined && encoded.length + jar.name.length > cookie.maximumSize) {
      return Effect.as(
        Effect.logError(`effect-session: a token of the store doesn't fit the cookie ${jar.name} and was not sent`),
        response
      )
    }
    const removed = emission.attributes !== undefined && "maxAge" in emission.attributes &&
      emission.attributes.maxAge === undefined
    const attributes = cookie.setting(
      cookie.merge(jar.attributes, emission.attributes),
      emission.now,
      emission.endsAt,
      emission.persistent && !removed
    )
    if (pieces === undefined) {
      return Effect.succeed(platform.setCookie(response, jar.name, value, encoded, attributes))
    }
    const clean = expireAll(response, pieces.expire, cookie.merge(jar.attributes, emission.attributes))
    return Effect.succeed(
      pieces.set.reduce((response, [name, part]) => platform.setCookie(response, name, part, part, attributes), clean)
    )
  }
  return (response, token, emission) => {
    const text = Redacted.value(token)
    return Effect.suspend(() =>
      signer === undefined
        ? put(response, text, emission)
        : Effect.flatMap(signer(text), (made) => put(response, `${signedPrefix}${text}.${made}`, emission))
    )
  }
}

/**
 * Checks options, fills in defaults and makes the state. Fails with a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<State.State, ConfigError.ConfigError> =>
  Effect.gen(function*() {
    const all = yield* signers(options.signed)
    const attributes = cookie.withDefaults(options)
    const name = options.name ?? cookie.defaultName(attributes)
    const overhead = all.length === 0 ? 0 : signedOverhead
    const inPieces = options.chunks === true
    if (inPieces && all.length > 0) {
      return yield* Effect.fail(invalid({
        option: "chunks",
        message: "leave out chunks or signed: signed tokens are short, and long ones are sealed, not signed"
      }))
    }
    const jar: Jar = { name, attributes, room: drawnLength + overhead, chunks: inPieces }
    const problem = cookie.check(name, attributes, jar.room)
    if (problem !== undefined) {
      return yield* Effect.fail(invalid(problem))
    }
    const transport: State.Transport = {
      audience: name,
      limit: inPieces ? chunks.limitOf(name) : cookie.maximumSize - name.length - overhead,
      vary: ["Cookie"],
      persistent: attributes.maxAge !== undefined,
      synchronous: all.length === 0,
      extract: inPieces ? extractorOfPieces(name) : extractor(name, all),
      emit: emitter(jar, all[0]),
      expire: (response, override) =>
        expireAll(response, inPieces ? chunks.allNames(name) : [name], cookie.merge(attributes, override))
    }
    jars.set(transport, jar)
    return State.make(transport)
  })

/**
 * Carries the session in a cookie.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { CookieState } from "effect-session"
 *
 * // __Host-session; Path=/; HttpOnly; Secure; SameSite=Lax
 * const production = CookieState.layer()
 *
 * // plain HTTP on the developer's machine
 * const development = CookieState.layer({ secure: false })
 *
 * // one login for all hosts of a domain, kept for two weeks
 * const shared = CookieState.layer({ domain: "example.com", maxAge: "14 days" })
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<State.State, ConfigError.ConfigError> =>
  Layer.effect(State.State, make(options))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { CookieState } from "effect-session"
 *
 * const state = CookieState.layerConfig({
 *   secure: Config.boolean("COOKIE_SECURE").pipe(Config.withDefault(true))
 * })
 * ```
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<State.State, ConfigError.ConfigError> =>
  Layer.effect(State.State, Effect.flatMap(Config.unwrap(options), make))

/**
 * Gives attributes to the session's cookie in this response, whether it is set or removed: they take the place of the
 * layer's, and a key that is present but `undefined` takes its attribute away. `partitioned: true` makes the cookie Secure
 * and SameSite=None. An `expires` takes the place of the layer's `maxAge`; neither lets the cookie outlive the session. Of
 * several calls in one request the later ones add to the earlier.
 *
 * Fails with a `ConfigError`, and changes nothing, where the cookie would break a rule that a browser drops it for. It
 * does not make the response set a cookie, and has no effect on a session that another state carries. A browser tells
 * cookies apart by name, domain and path: one that was set with others than the layer's is removed by the same call alone.
 *
 * Give the tag of a named session as second argument.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { CookieState, Session } from "effect-session"
 *
 * const remember = Effect.gen(function*() {
 *   yield* Session.renew
 *   yield* CookieState.attributes({ maxAge: "14 days" })
 * })
 * ```
 */
export const attributes: {
  (options: State.Attributes): Effect.Effect<void, ConfigError.ConfigError, Session.Session>
  <S>(options: State.Attributes, tag: Session.SessionTag<S>): Effect.Effect<void, ConfigError.ConfigError, S>
} = (
  options: State.Attributes,
  tag: Session.SessionTag<Session.Session> = Session.Session
): Effect.Effect<void, ConfigError.ConfigError, Session.Session> =>
  Effect.flatMap(Effect.flatMap(tag, internal.fromRef), (session) =>
    Effect.suspend(() => {
      for (const transport of session.consulted) {
        const jar = jars.get(transport)
        const problem = jar === undefined
          ? undefined
          : cookie.check(
            jar.name,
            cookie.merge(jar.attributes, { ...session.emissionAttributes, ...options }),
            jar.room
          )
        if (problem !== undefined) {
          return Effect.fail(ConfigError.InvalidData(["CookieState", "attributes", problem.option], problem.message))
        }
      }
      return session.setAttributes(options)
    }))
