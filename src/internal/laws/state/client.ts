/**
 * The client of the state laws. It keeps cookies by their names until they expire, and sends the response headers that
 * the transport names in `vary` back unchanged. The module knows nothing of what a token looks like.
 */
import type * as State from "../../../State.js"
import { cut, endOf } from "../../testing/cookieJar.js"

/** Makes the next request from the request before and its response. @internal */
export type Client = (transport: State.Transport, before: Request, response: Response) => Request

/** The cookies that a request carries, by name. @internal */
export const cookiesOf = (request: Request): Map<string, string> => {
  const cookies = new Map<string, string>()
  for (const pair of (request.headers.get("cookie") ?? "").split("; ")) {
    const [name, value] = cut(pair, "=")
    if (value !== undefined) {
      cookies.set(name, value)
    }
  }
  return cookies
}

/** The request that a client makes after a response, at a given time. @internal */
export const follow = (now: number): Client => (transport, before, response) => {
  const headers = new Headers(before.headers)
  const cookies = /"(\*|cookies)"/.test(response.headers.get("clear-site-data") ?? "")
    ? new Map<string, string>()
    : cookiesOf(before)
  for (const line of response.headers.getSetCookie()) {
    const [name, value = ""] = cut(line.split(";")[0] ?? "", "=")
    const end = endOf(line, now)
    if (end !== undefined && end <= now) {
      cookies.delete(name)
    } else {
      cookies.set(name, value)
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
