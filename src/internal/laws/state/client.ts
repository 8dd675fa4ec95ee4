/**
 * A client in miniature: it keeps cookies by their names until they end, and sends again the headers that a transport
 * names, as they came.
 */
import type * as State from "../../../State.js"

const attribute = (text: string, name: string): string | undefined => {
  for (const part of text.split(";").slice(1)) {
    const equals = part.indexOf("=")
    if (equals !== -1 && part.slice(0, equals).trim().toLowerCase() === name) {
      return part.slice(equals + 1).trim()
    }
  }
  return undefined
}

/** When a Set-Cookie header says that its cookie ends; `undefined` for one of the browser's session. @internal */
export const endOf = (text: string, now: number): number | undefined => {
  const maxAge = attribute(text, "max-age")
  if (maxAge !== undefined) {
    return now + Number(maxAge) * 1000
  }
  const expires = attribute(text, "expires")
  return expires === undefined ? undefined : Date.parse(expires)
}

/** The cookies that a request carries, by name. @internal */
export const cookiesOf = (request: Request): Map<string, string> => {
  const cookies = new Map<string, string>()
  for (const pair of (request.headers.get("cookie") ?? "").split("; ")) {
    const equals = pair.indexOf("=")
    if (equals !== -1) {
      cookies.set(pair.slice(0, equals), pair.slice(equals + 1))
    }
  }
  return cookies
}

/** The request that follows on a response at a given time. @internal */
export const follow = (now: number) => (transport: State.Transport, before: Request, response: Response): Request => {
  const headers = new Headers(before.headers)
  const cookies = /"(\*|cookies)"/.test(response.headers.get("clear-site-data") ?? "")
    ? new Map<string, string>()
    : cookiesOf(before)
  for (const text of response.headers.getSetCookie()) {
    const pair = text.split(";")[0] ?? ""
    const equals = pair.indexOf("=")
    const end = endOf(text, now)
    if (end !== undefined && end <= now) {
      cookies.delete(pair.slice(0, equals))
    } else {
      cookies.set(pair.slice(0, equals), pair.slice(equals + 1))
    }
  }
  headers.delete("cookie")
  if (cookies.size > 0) {
    headers.set("cookie", Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; "))
  }
  for (const name of transport.vary.filter((name) => name.toLowerCase() !== "cookie")) {
    const value = response.headers.get(name)
    if (value === "") {
      headers.delete(name)
    } else if (value !== null) {
      headers.set(name, value)
    }
  }
  return new Request(before.url, { headers })
}
