/**
 * Carries the session's token in a cookie, for browsers. The defaults are the strictest that a site of one host can
 * have. Options with which a browser would silently drop the cookie fail when the layer is built. The module knows
 * nothing of stores, nor of what a session holds.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as rules from "./internal/cookie/rules.js"
import * as internal from "./internal/cookie/transport.js"
import * as signature from "./internal/crypto/hmac.js"
import * as environment from "./internal/environment.js"
import * as check from "./internal/options.js"
import * as handle from "./internal/session/handle.js"
import * as Session from "./Session.js"
import * as State from "./State.js"

/**
 * How cookies are signed. The cookie's value is `s:<token>.<signature>`, where the signature is an HMAC-SHA256 in
 * base64 without padding. This is the form that express-session and cookie-signature read and write; use it to share
 * cookies with an Express app. A random token needs no signature, because nobody can guess it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Signing {
  /**
   * One secret or several. The first one signs, and all of them verify. A cookie that an older secret signed is set
   * again, signed by the first, when its session is next written or touched. No secret may be empty. Use the secrets of
   * an Express app as they are.
   */
  readonly secrets: Redacted.Redacted | ReadonlyArray<Redacted.Redacted>
}

/**
 * Options of `layer`. All have defaults. With the defaults alone, the cookie has the prefix `__Host-`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The cookie's name. Default `__Host-session`; `__Secure-session` if a domain or a path other than "/" is given;
   * `session` if `secure` is false. A name that begins with `__Host-`, `__Secure-`, `__Http-` or `__Host-Http-`, in
   * upper or lower case, must keep the rules of that prefix (RFC 6265bis section 4.1.3).
   */
  readonly name?: string | undefined
  /** The path below which the cookie is sent. Default "/". */
  readonly path?: string | undefined
  /**
   * The domain that the cookie is sent to, with all its subdomains: a host name such as "example.com", without scheme
   * or port. Default: only the host that sets the cookie.
   */
  readonly domain?: string | undefined
  /** Whether the cookie is sent over HTTPS only. Default true. Write false to develop over plain HTTP. */
  readonly secure?: boolean | undefined
  /** Whether the cookie is hidden from scripts. Default true. */
  readonly httpOnly?: boolean | undefined
  /** Whether requests from other sites carry the cookie. Default "lax", or "none" for a partitioned cookie. */
  readonly sameSite?: "lax" | "strict" | "none" | undefined
  /** Whether the browser keeps a separate cookie for each top-level site (CHIPS). Needs `secure`. Default false. */
  readonly partitioned?: boolean | undefined
  /** Chromium evicts cookies of lower priority first. Default: none is set, which Chromium takes as medium. */
  readonly priority?: "low" | "medium" | "high" | undefined
  /**
   * How long the browser keeps the cookie after it is closed, but never longer than the session lives. From 1 second to
   * 400 days. Default: the cookie ends with the browser's session. After `Session.expireIn` the cookie lasts until the
   * session ends, with or without this option.
   */
  readonly maxAge?: Duration.DurationInput | undefined
  /** Signs the cookie as express-session does. Default: unsigned. */
  readonly signed?: Signing | undefined
  /**
   * Whether a token that is too long for one cookie is split into up to four, named `<name>.0` to `<name>.3`, of 12 KB
   * together. It is meant for sealed sessions, whose tokens are authenticated as a whole. A response that sets the
   * cookie in one form expires the other form. It can't be combined with `signed`. Default false: a cookie whose name
   * and value together exceed 4096 bytes is an error.
   */
  readonly chunks?: boolean | undefined
}

const invalid = ({ message, option }: rules.Problem) => check.invalid(["CookieState", option], message)

const formOf = (options: Options): check.Checked<internal.Form> => {
  if (options.signed === undefined) {
    return Either.right({ _tag: options.chunks === true ? "Chunks" : "Plain" })
  }
  if (options.chunks === true) {
    return invalid({
      option: "chunks",
      message: "leave out chunks or signed: signed tokens are short, and long ones are sealed, not signed"
    })
  }
  const secrets = Redacted.isRedacted(options.signed.secrets) ? [options.signed.secrets] : options.signed.secrets
  const texts = secrets.map(Redacted.value)
  const [first, ...older] = texts.map(signature.sign)
  return first !== undefined && texts.every((text) => typeof text === "string" && text !== "")
    ? Either.right({ _tag: "Signed", signers: [first, ...older] })
    : invalid({
      option: "signed",
      message: "write one or more secrets, none of them empty, such as " +
        "{ secrets: Redacted.make(\"32 random bytes in base64\") }"
    })
}

/**
 * Checks options, fills in defaults and makes the state. Fails with a `ConfigError` that says what to write instead.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<State.State, ConfigError.ConfigError> =>
  Effect.map(cookieOf(options), (cookie) => State.make(internal.make(cookie)))

const cookieOf = (options: Options): check.Checked<internal.Cookie> =>
  Either.flatMap(formOf(options), (form) => {
    const attributes = rules.withDefaults(options)
    const cookie: internal.Cookie = { name: options.name ?? rules.defaultName(attributes), attributes, form }
    const problem = internal.check(cookie, attributes)
    return problem === undefined ? Either.right(cookie) : invalid(problem)
  })

/**
 * Carries the session in a cookie. Fails with a `ConfigError` that says what to write instead.
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

const variables: environment.Variables<Options> = {
  name: environment.optional("SESSION_NAME", Config.string),
  path: environment.optional("SESSION_PATH", Config.string),
  domain: environment.optional("SESSION_DOMAIN", Config.string),
  secure: environment.optional("SESSION_SECURE", Config.boolean),
  httpOnly: environment.optional("SESSION_HTTP_ONLY", Config.boolean),
  sameSite: environment.optional("SESSION_SAME_SITE", Config.literal("lax", "strict", "none")),
  partitioned: environment.optional("SESSION_PARTITIONED", Config.boolean),
  priority: environment.optional("SESSION_PRIORITY", Config.literal("low", "medium", "high")),
  maxAge: environment.optional("SESSION_MAX_AGE", Config.duration),
  signed: environment.optional(
    "SESSION_SECRET",
    (name) => Config.map(environment.secrets(name), (secrets) => ({ secrets }))
  ),
  chunks: environment.optional("SESSION_CHUNKS", Config.boolean)
}

/**
 * `layer` with options read from the environment: `SESSION_NAME`, `SESSION_PATH`, `SESSION_DOMAIN`, `SESSION_SECURE`,
 * `SESSION_HTTP_ONLY`, `SESSION_SAME_SITE`, `SESSION_PARTITIONED`, `SESSION_PRIORITY`, `SESSION_MAX_AGE`,
 * `SESSION_SECRET` (signs the cookie; one secret, or several separated by commas) and `SESSION_CHUNKS`. All may be
 * absent. An option that is given is read from its own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { CookieState } from "effect-session"
 *
 * // SESSION_NAME, SESSION_MAX_AGE and the others, but COOKIE_SECURE in the place of SESSION_SECURE
 * const state = CookieState.layerConfig({
 *   secure: Config.boolean("COOKIE_SECURE").pipe(Config.withDefault(true))
 * })
 * ```
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options> = {}
): Layer.Layer<State.State, ConfigError.ConfigError> =>
  environment.layerConfig("CookieState", variables, options, layer)

/**
 * Sets attributes of the session's cookie for this response alone, whether the response sets the cookie or removes it.
 * They replace those of the layer. A key that is present but `undefined` removes its attribute. `partitioned: true`
 * makes the cookie Secure and SameSite=None. An `expires` replaces the layer's `maxAge`. The cookie never outlives the
 * session. If it is called several times in one request, later calls add to the earlier ones.
 *
 * If a browser would drop the cookie, this fails with a `ConfigError` and changes nothing. It does not make the
 * response set a cookie, and it has no effect on a session that another state carries. A browser identifies a cookie by
 * name, domain and path. So a cookie that was set with another path or domain than the layer's is removed only with the
 * same attributes.
 *
 * For a named session, give its tag as second argument.
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
  Effect.flatMap(Effect.flatMap(tag, handle.fromRef), (session) =>
    Effect.suspend(() => {
      for (const transport of session.consulted.filter(internal.isCookieTransport)) {
        const cookie = transport[internal.CookieId]
        const asked = { ...session.emissionAttributes, ...options }
        const problem = internal.check(cookie, rules.merge(cookie.attributes, asked))
        if (problem !== undefined) {
          return check.invalid(["CookieState", "attributes", problem.option], problem.message)
        }
      }
      return session.setAttributes(options)
    }))
