/**
 * Which requests a browser sent for another site, told by what the browser says of itself. These are functions of values;
 * they follow Go's `net/http.CrossOriginProtection`.
 */

/** A scheme, a host and perhaps a port. What may stand in a host is left to the parser of URLs, but for wildcards. */
const originForm = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\\,*]+$/i

const hostForm = /^[^\s/?#@\\,*]+$/

const parsed = (text: string): URL | undefined => {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

const originUrl = (text: string): URL | undefined => {
  const url = originForm.test(text) ? parsed(text) : undefined
  return url === undefined || url.host === "" ? undefined : url
}

/**
 * An origin as a browser writes it: in lower case, without a default port. Undefined for anything else, such as `null`, a
 * list, a wildcard, or a URL with a path.
 *
 * @internal
 */
export const canonical = (text: string): string | undefined => {
  const url = originUrl(text)
  return url === undefined ? undefined : `${url.protocol}//${url.host}`
}

/**
 * Whether an origin is that of the host. The scheme is not compared: behind a proxy that ends TLS the app does not know
 * the one that the browser used. It only says which port is the default.
 */
const isOfHost = (origin: string, host: string): boolean => {
  const url = originUrl(origin)
  if (url === undefined || !/^https?:$/.test(url.protocol) || !hostForm.test(host)) {
    return false
  }
  return parsed(`${url.protocol}//${host}`)?.host === url.host
}

/** What decides, as the request has it. @internal */
export interface Facts {
  readonly method: string
  readonly fetchSite: string | undefined
  readonly origin: string | undefined
  /** Undefined if the request names none. */
  readonly host: string | undefined
}

/** TRACE is safe too, but no browser sends it for a page. */
const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"])

const isTrusted = (origin: string, trusted: ReadonlySet<string>): boolean => {
  const known = trusted.size === 0 ? undefined : canonical(origin)
  return known !== undefined && trusted.has(known)
}

/** Whether a request may change state here. The trusted origins are canonical. @internal */
export const isAllowed = (
  { fetchSite = "", host = "", method, origin = "" }: Facts,
  trusted: ReadonlySet<string>
): boolean => {
  if (safeMethods.has(method) || fetchSite === "same-origin" || fetchSite === "none") {
    return true
  }
  if (fetchSite === "" && (origin === "" || isOfHost(origin, host))) {
    return true
  }
  return isTrusted(origin, trusted)
}
