/**
 * A browser's cookies as a pure value, kept and sent by the rules of RFC 6265bis (section 5). Every request counts as
 * same-site, and there is no list of public suffixes. The module knows nothing of sessions.
 */

/** @internal */
export interface JarCookie {
  readonly name: string
  readonly value: string
  readonly domain: string
  readonly hostOnly: boolean
  readonly path: string
  readonly secure: boolean
  readonly httpOnly: boolean
  readonly sameSite: "strict" | "lax" | "none" | undefined
  /** When the cookie expires, in milliseconds since the epoch; undefined if it ends with the browser's own session. */
  readonly expiresAt: number | undefined
}

/** The cookies in order of creation. @internal */
export type Jar = ReadonlyArray<JarCookie>

const longestPair = 4096
const longestAttribute = 1024
const longestAge = 400 * 86_400_000

const octets = (text: string): number => new TextEncoder().encode(text).length

const hasControl = (text: string): boolean =>
  Array.from(text).some((character) => character !== "\t" && (character < " " || character === "\u007f"))

/** Cuts a text in two at the first separator. Without one, the whole text is the first part. @internal */
export const cut = (text: string, separator: string): readonly [string, string | undefined] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text.trim(), undefined] : [text.slice(0, at).trim(), text.slice(at + 1).trim()]
}

const attributesOf = (parts: ReadonlyArray<string>): ReadonlyMap<string, string> => {
  const attributes = new Map<string, string>()
  for (const part of parts) {
    const [name, value = ""] = cut(part, "=")
    if (octets(value) <= longestAttribute) {
      attributes.set(name.toLowerCase(), value)
    }
  }
  return attributes
}

const expiryOf = (attributes: ReadonlyMap<string, string>, now: number): number | undefined => {
  const maxAge = attributes.get("max-age") ?? ""
  if (/^-?\d+$/.test(maxAge)) {
    return Number(maxAge) <= 0 ? 0 : now + Math.min(Number(maxAge) * 1000, longestAge)
  }
  const date = Date.parse(attributes.get("expires") ?? "")
  return Number.isNaN(date) ? undefined : Math.min(date, now + longestAge)
}

const domainMatches = (host: string, domain: string): boolean =>
  host === domain || host.endsWith(`.${domain}`) && !/^[\d.]+$|:/.test(host)

const pathMatches = (path: string, cookiePath: string): boolean =>
  path === cookiePath || path.startsWith(cookiePath) && (cookiePath.endsWith("/") || path[cookiePath.length] === "/")

const defaultPath = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/"

const keepsPrefix = (cookie: JarCookie, attributes: ReadonlyMap<string, string>): boolean => {
  const name = (cookie.name === "" ? cookie.value : cookie.name).toLowerCase()
  if (!/^__(secure|host|http)-/.test(name)) {
    return true
  }
  const isHost = name.startsWith("__host-")
  const isHttp = name.startsWith("__http-") || name.startsWith("__host-http-")
  return cookie.name !== "" && cookie.secure &&
    (!isHost || cookie.hostOnly && attributes.get("path") === "/") &&
    (!isHttp || cookie.httpOnly)
}

/** The cookie of a `Set-Cookie` line; undefined if a browser would ignore it. */
const read = (line: string, url: URL, now: number): JarCookie | undefined => {
  const [pair = "", ...rest] = line.split(";")
  const [first, second] = cut(pair, "=")
  const [name, value] = second === undefined ? ["", first] : [first, second]
  if (hasControl(line) || name + value === "" || octets(name) + octets(value) > longestPair) {
    return undefined
  }
  const attributes = attributesOf(rest)
  const domain = (attributes.get("domain") ?? "").replace(/^\./, "").toLowerCase()
  const path = attributes.get("path") ?? ""
  const sameSite = /^(strict|lax|none)$/i.exec(attributes.get("samesite") ?? "")?.[1]?.toLowerCase()
  const cookie: JarCookie = {
    name,
    value,
    domain: domain === "" ? url.hostname : domain,
    hostOnly: domain === "",
    path: path.startsWith("/") ? path : defaultPath(url.pathname),
    secure: attributes.has("secure"),
    httpOnly: attributes.has("httponly"),
    sameSite: sameSite as JarCookie["sameSite"],
    expiresAt: expiryOf(attributes, now)
  }
  return domainMatches(url.hostname, cookie.domain) &&
      (url.protocol === "https:" || !cookie.secure) &&
      (cookie.sameSite !== "none" || cookie.secure) &&
      keepsPrefix(cookie, attributes)
    ? cookie
    : undefined
}

const isSame = (a: JarCookie, b: JarCookie): boolean =>
  a.name === b.name && a.domain === b.domain && a.hostOnly === b.hostOnly && a.path === b.path

/** The cookies that have not expired. @internal */
export const current = (jar: Jar, now: number): Jar =>
  jar.filter(({ expiresAt }) => expiresAt === undefined || now < expiresAt)

/** The jar after a `Set-Cookie` line of a response from `url`. @internal */
export const put = (jar: Jar, line: string, url: URL, now: number): Jar => {
  const cookie = read(line, url, now)
  if (cookie === undefined) {
    return jar
  }
  const at = jar.findIndex((held) => isSame(held, cookie))
  if (at >= 0 && jar[at]?.secure === true && url.protocol !== "https:") {
    return jar
  }
  // a cookie that is set again keeps its place, because browsers send cookies by time of creation
  return current(at < 0 ? [...jar, cookie] : jar.map((held, index) => index === at ? cookie : held), now)
}

/** The `Cookie` header of a request to `url`; empty if there is nothing to send. @internal */
export const header = (jar: Jar, url: URL, now: number): string =>
  current(jar, now)
    .filter((cookie) =>
      (cookie.hostOnly ? url.hostname === cookie.domain : domainMatches(url.hostname, cookie.domain)) &&
      pathMatches(url.pathname, cookie.path) &&
      (!cookie.secure || url.protocol === "https:")
    )
    .sort((a, b) => b.path.length - a.path.length)
    .map(({ name, value }) => name === "" ? value : `${name}=${value}`)
    .join("; ")

/** The jar as a page sees it that lies below all of its paths. @internal */
export const belowAllPaths = (jar: Jar): Jar =>
  [...jar].sort((a, b) => b.path.length - a.path.length).map((cookie) => ({ ...cookie, path: "/" }))

/** When the cookie of a `Set-Cookie` line expires; `undefined` if it ends with the browser's session. @internal */
export const endOf = (line: string, now: number): number | undefined =>
  expiryOf(attributesOf(line.split(";").slice(1)), now)
