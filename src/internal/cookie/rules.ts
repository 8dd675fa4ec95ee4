/**
 * The rules of cookies, as pure functions: which attributes may be combined, how long a cookie lasts, and which values
 * in a request's `Cookie` header have a given name. The module knows nothing of the HTTP platform or of sessions.
 */
import * as Duration from "effect/Duration"
import type { Attributes, Emission } from "../../State.js"
import * as options from "../options.js"

/** A broken rule: the option, and what to write instead. @internal */
export interface Problem {
  readonly option: string
  readonly message: string
}

/** The longest name and encoded value together, in bytes (RFC 6265bis section 5.6; S46). @internal */
export const maximumSize = 4096

/** The longest value of an attribute, in bytes. A browser ignores a longer one (RFC 6265bis section 5.6; S47). */
const maximumAttributeSize = 1024

/** How many cookies of one name are read from one request. @internal */
export const maximumValues = 16

const nameForm = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const valueForm = /^[\x20-\x3a\x3c-\x7e]+$/

const problem = (option: string, message: string): Problem => ({ option, message })

const quote = (value: unknown): string => JSON.stringify(value) ?? String(value)

const checkName = (name: string, room: number): Problem | undefined => {
  if (!nameForm.test(name)) {
    return problem(
      "name",
      `${quote(name)} is not a cookie name: write letters, digits and any of !#$%&'*+-.^_\`|~, such as "session"`
    )
  }
  if (name.length + room > maximumSize) {
    return problem(
      "name",
      `a name of ${name.length} bytes leaves no room for a token: write one of at most ${maximumSize - room} bytes`
    )
  }
  return undefined
}

/** The prefixes and what they demand. If two of them fit a name, the longer one is first. */
const prefixes: ReadonlyArray<{ readonly prefix: string; readonly host: boolean; readonly http: boolean }> = [
  { prefix: "__Host-Http-", host: true, http: true },
  { prefix: "__Host-", host: true, http: false },
  { prefix: "__Http-", host: false, http: true },
  { prefix: "__Secure-", host: false, http: false }
]

/** Checks the rules of a name's prefix. As in browsers, upper and lower case are the same (S41). */
const checkPrefix = (name: string, attributes: Attributes): Problem | undefined => {
  const rule = prefixes.find(({ prefix }) => name.toLowerCase().startsWith(prefix.toLowerCase()))
  if (rule === undefined) {
    return undefined
  }
  const because = `a browser drops a cookie named ${rule.prefix}… otherwise`
  if (attributes.secure !== true) {
    return problem("secure", `write secure: true, or a name without the prefix; ${because}`)
  }
  if (rule.http && attributes.httpOnly !== true) {
    return problem("httpOnly", `write httpOnly: true, or a name without the prefix; ${because}`)
  }
  if (rule.host && attributes.domain !== undefined) {
    return problem("domain", `leave domain out, or write a name that begins with __Secure-; ${because}`)
  }
  if (rule.host && attributes.path !== "/") {
    return problem("path", `write path: "/", or a name that begins with __Secure-; ${because}`)
  }
  return undefined
}

const checkText = (option: "domain" | "path", value: string | undefined, example: string): Problem | undefined => {
  if (value === undefined) {
    return undefined
  }
  if (!valueForm.test(value)) {
    return problem(
      option,
      `a cookie can't contain ${quote(value)}: write printable ASCII without ";", such as ${quote(example)}`
    )
  }
  if (value.length > maximumAttributeSize) {
    return problem(option, `a browser ignores a value of more than ${maximumAttributeSize} bytes: write a shorter one`)
  }
  return undefined
}

/** One label of a host name. The underscore is in use, though RFC 952 does not allow it. */
const label = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"

/** Two labels or more. A browser ignores a dot in front of them. */
const domainForm = new RegExp(`^\\.?(?:${label}\\.)+${label}$`, "i")

/** To a browser, a host whose last label is a number is an IPv4 address (URL Standard, "ends in a number"). */
const addressForm = /\.(?:\d+|0x[0-9a-f]*)$/i

const longestHostName = 253

const checkDomain = (domain: string | undefined): Problem | undefined =>
  checkText("domain", domain, "example.com") ??
    (domain === undefined ||
        domainForm.test(domain) && !addressForm.test(domain) && domain.length <= longestHostName
      ? undefined
      : problem(
        "domain",
        `a browser drops a cookie with the domain ${quote(domain)}: write a host name with a dot, such as ` +
          `"example.com", without scheme, port, list or IP address, or leave domain out for a cookie of this host alone`
      ))

const checkChoice = (option: string, value: unknown, choices: ReadonlyArray<string>): Problem | undefined =>
  value === undefined || choices.includes(value as string)
    ? undefined
    : problem(option, `${quote(value)} is not allowed: write one of ${choices.map(quote).join(", ")}`)

const checkAge = (maxAge: Duration.DurationInput | undefined): Problem | undefined => {
  if (maxAge === undefined) {
    return undefined
  }
  const millis = Duration.decodeUnknown(maxAge)
  return millis._tag === "Some" && Duration.toMillis(millis.value) >= 1000 &&
      Duration.toMillis(millis.value) <= options.longestLife
    ? undefined
    : problem(
      "maxAge",
      "write a duration of at least 1 second and at most 400 days, such as \"14 days\", " +
        "or leave it out for a cookie that ends with the browser's session"
    )
}

/**
 * The first rule that a cookie breaks, if any. `room` is the length, in bytes, that its value must be able to have.
 *
 * @internal
 */
export const check = (name: string, attributes: Attributes, room: number): Problem | undefined => {
  const first = checkName(name, room) ??
    checkDomain(attributes.domain) ??
    checkText("path", attributes.path, "/app") ??
    checkChoice("sameSite", attributes.sameSite, ["lax", "strict", "none"]) ??
    checkChoice("priority", attributes.priority, ["low", "medium", "high"]) ??
    checkAge(attributes.maxAge) ??
    checkPrefix(name, attributes)
  if (first !== undefined) {
    return first
  }
  if (attributes.path !== undefined && !attributes.path.startsWith("/")) {
    return problem("path", `a browser ignores a path that does not begin with /: write ${quote(`/${attributes.path}`)}`)
  }
  if (attributes.partitioned === true && attributes.secure !== true) {
    return problem("secure", "write secure: true, or leave partitioned out: a browser drops the cookie otherwise")
  }
  if (attributes.sameSite === "none" && attributes.secure !== true) {
    return problem(
      "secure",
      "write secure: true, or another sameSite: a browser drops a SameSite=None cookie otherwise"
    )
  }
  if (attributes.expires !== undefined && Number.isNaN(attributes.expires.getTime())) {
    return problem("expires", "this is not a valid date: write a valid one, or maxAge: \"14 days\"")
  }
  return undefined
}

/**
 * The configured attributes with the strictest defaults (S37, S38, S43, S45).
 *
 * @internal
 */
export const withDefaults = (options: Attributes): Attributes => ({
  domain: options.domain,
  httpOnly: options.httpOnly ?? true,
  maxAge: options.maxAge,
  partitioned: options.partitioned,
  path: options.path ?? "/",
  priority: options.priority,
  sameSite: options.sameSite ?? (options.partitioned === true ? "none" : "lax"),
  secure: options.secure ?? true
})

/** The name with the strictest prefix that the attributes allow (S09, S39). @internal */
export const defaultName = (attributes: Attributes): string => {
  if (attributes.secure !== true) {
    return "session"
  }
  return attributes.domain === undefined && attributes.path === "/" ? "__Host-session" : "__Secure-session"
}

/**
 * The configured attributes, overridden by those of one response. A key that is present and `undefined` removes its
 * attribute. A partitioned cookie is always Secure, and one that this response makes partitioned is SameSite=None. An
 * `expires` of this response replaces the configured age.
 *
 * @internal
 */
export const merge = (configured: Attributes, response: Attributes | undefined): Attributes => {
  if (response === undefined) {
    return configured
  }
  const merged = {
    ...configured,
    ...(response.expires === undefined ? undefined : { maxAge: undefined }),
    ...response
  }
  if (merged.partitioned !== true) {
    return merged
  }
  return { ...merged, secure: true, sameSite: response.partitioned === true ? "none" : merged.sameSite }
}

/** The age that was asked for, in milliseconds; `undefined` for a cookie that ends with the browser's session. */
const ageOf = (
  configured: Attributes,
  response: Attributes | undefined,
  persistent: boolean
): number | undefined => {
  if (response !== undefined && ("maxAge" in response || response.expires !== undefined)) {
    return response.maxAge === undefined ? undefined : Duration.toMillis(response.maxAge)
  }
  if (persistent) {
    return options.longestLife
  }
  return configured.maxAge === undefined ? undefined : Duration.toMillis(configured.maxAge)
}

/**
 * The attributes of a cookie that is set. The cookie never outlives the session, and its age is cut to whole seconds
 * (S22). The cookie of a persistent session lasts until the session ends, whatever age is configured, unless an age or
 * a date is given for this response.
 *
 * The age is sent as Max-Age alone: every client of the last decade knows it, it does not depend on the client's clock,
 * and an Expires beside it would be ignored. A date that the app asked for is sent as Expires.
 *
 * @internal
 */
export const setting = (
  configured: Attributes,
  { attributes: response, endsAt, now, persistent }: Emission
): Attributes => {
  const merged = merge(configured, response)
  const age = ageOf(configured, response, persistent)
  return {
    ...merged,
    expires: merged.expires === undefined ? undefined : new Date(Math.min(merged.expires.getTime(), endsAt)),
    maxAge: age === undefined
      ? undefined
      : Duration.seconds(Math.max(0, Math.floor(Math.min(age, endsAt - now) / 1000)))
  }
}

/** The attributes that remove the cookie: those that identify it, and an end in the past (S27). @internal */
export const removal = (attributes: Attributes): Attributes => ({
  ...attributes,
  expires: new Date(0),
  maxAge: Duration.zero
})

const space = 0x20
const tab = 0x09
const quotation = 0x22

const isBlank = (code: number): boolean => code === space || code === tab

const skip = (text: string, from: number, to: number): number => {
  let start = from
  while (start < to && isBlank(text.charCodeAt(start))) {
    start++
  }
  return start
}

const skipBack = (text: string, from: number, to: number): number => {
  let end = to
  while (end > from && isBlank(text.charCodeAt(end - 1))) {
    end--
  }
  return end
}

/** The text without the blanks around it. */
const strip = (text: string, from: number, to: number): string => {
  const start = skip(text, from, to)
  return text.slice(start, skipBack(text, start, to))
}

const unquote = (value: string): string =>
  value.length >= 2 && value.charCodeAt(0) === quotation && value.charCodeAt(value.length - 1) === quotation
    ? value.slice(1, -1)
    : value

const decode = (value: string): string => {
  if (!value.includes("%")) {
    return value
  }
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

/**
 * The values of the cookies of each name, in the header's order, at most `maximumValues` of one name (S51). All names
 * are read in one pass, whose cost is linear in the header's length, because each search goes on where the last one
 * ended.
 *
 * Only the blanks of RFC 6265 are removed around a name. Otherwise, a name after a U+00A0 would evade the rules of its
 * prefix.
 *
 * @internal
 */
export const values = (header: string, names: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const found = names.map((): Array<string> => [])
  let equals = -1
  for (let start = 0; start < header.length;) {
    if (equals < start) {
      equals = header.indexOf("=", start)
      if (equals === -1) {
        break
      }
    }
    const semicolon = header.indexOf(";", start)
    const end = semicolon === -1 ? header.length : semicolon
    if (equals < end) {
      const from = skip(header, start, equals)
      const length = skipBack(header, from, equals) - from
      const index = names.findIndex((name) => name.length === length && header.startsWith(name, from))
      const of = found[index]
      if (of !== undefined && of.length < maximumValues) {
        of.push(decode(unquote(strip(header, equals + 1, end))))
      }
    }
    start = end + 1
  }
  return found
}

/** A value as a cookie sends it; `undefined` for one that can't be encoded (a lone surrogate). @internal */
export const encode = (value: string): string | undefined => {
  try {
    return encodeURIComponent(value)
  } catch {
    return undefined
  }
}
