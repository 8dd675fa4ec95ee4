/**
 * Puts cookies and headers into a response of the platform, whatever its body is, and keeps secrets out of what a
 * response prints. The module knows nothing of sessions.
 *
 * A body that is itself a web `Response` needs care, because of what the platform does with it. It writes its own
 * headers over those of that `Response` one by one, so that of several cookies only the last one is left, and none of
 * the `Response`'s own. It can't write to a `Response` that `fetch` returned. It answers HEAD without any of these
 * headers.
 */
import * as Cookies from "@effect/platform/Cookies"
import * as Headers from "@effect/platform/Headers"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { Attributes } from "../../State.js"

const header = "set-cookie"

/**
 * The prototype of a cookie that does not print its value. The platform's own cookies print it with the response (S07).
 */
const Proto: object = Object.assign(Object.create(Object.getPrototypeOf(Cookies.unsafeMakeCookie("a", ""))), {
  toJSON(this: Cookies.Cookie) {
    return { _id: "@effect/platform/Cookies/Cookie", name: this.name, value: "<redacted>", options: this.options }
  }
})

const makeCookie = (
  name: string,
  value: string,
  encoded: string,
  options: Attributes | undefined
): Cookies.Cookie => Object.assign(Object.create(Proto), { name, value, valueEncoded: encoded, options })

/** Keeps a `Set-Cookie` header as it is: all that follows the name becomes the value, so that nothing is lost. */
const verbatim = (text: string): Cookies.Cookie => {
  const equals = text.indexOf("=")
  const rest = text.slice(equals + 1)
  return makeCookie(text.slice(0, equals).trim(), rest, rest, undefined)
}

/** Builds a response anew, because the platform can't remove a header from one. */
const make = (
  from: { readonly status: number; readonly statusText?: string | undefined },
  headers: Headers.Headers,
  cookies: Cookies.Cookies,
  body: HttpServerResponse.HttpServerResponse["body"]
): HttpServerResponse.HttpServerResponse => {
  const options = { status: from.status, statusText: from.statusText, headers, cookies }
  return body._tag === "Empty"
    ? HttpServerResponse.empty(options)
    : HttpServerResponse.setBody(HttpServerResponse.raw(undefined, options), body)
}

const unfoldWeb = (
  response: HttpServerResponse.HttpServerResponse,
  web: Response
): HttpServerResponse.HttpServerResponse => {
  const cookies: Record<string, Cookies.Cookie> = Object.create(null)
  web.headers.getSetCookie().forEach((text, index) => {
    const cookie = verbatim(text)
    cookies[Object.hasOwn(cookies, cookie.name) ? `${cookie.name}, ${index}` : cookie.name] = cookie
  })
  const headers = Headers.remove(Headers.fromInput(web.headers), header)
  return HttpServerResponse.raw(web.body, {
    status: web.status,
    statusText: web.statusText,
    headers: Headers.merge(headers, response.headers),
    cookies: Cookies.fromReadonlyRecord({ ...cookies, ...response.cookies.cookies })
  })
}

/**
 * Unfolds a response whose body is a web `Response`: its status, headers, cookies and body become those of the
 * response. A web `Response` that can't be built anew (101, an error, a body already read) stays as it is.
 *
 * @internal
 */
export const unfold = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  if (response.body._tag !== "Raw" || typeof Response === "undefined") {
    return response
  }
  const web = response.body.body
  return web instanceof Response && web.status >= 200 && !web.bodyUsed ? unfoldWeb(response, web) : response
}

/** The property of a response with the names of the headers that it prints as `<redacted>`. */
const secretHeaders: unique symbol = Symbol.for("effect-session/secretHeaders")

interface Secretive {
  readonly [secretHeaders]?: ReadonlySet<string>
}

const secretsOf = (response: HttpServerResponse.HttpServerResponse): ReadonlySet<string> | undefined =>
  (response as Secretive)[secretHeaders]

const ResponseProto = Object.getPrototypeOf(HttpServerResponse.empty()) as {
  readonly toJSON: (
    this: HttpServerResponse.HttpServerResponse
  ) => { readonly headers: { readonly [name: string]: unknown } }
}

/** Prints a response as the platform does, without the secrets. `inspect` and `toString` use `toJSON` too. */
function toJSON(this: HttpServerResponse.HttpServerResponse): unknown {
  const printed = ResponseProto.toJSON.call(this)
  const secrets = secretsOf(this)
  return {
    ...printed,
    headers: Object.fromEntries(
      Object.entries(printed.headers).map(([name, value]) => [name, secrets?.has(name) === true ? "<redacted>" : value])
    )
  }
}

/** Makes a new response print some headers as `<redacted>`. */
const hide = (
  response: HttpServerResponse.HttpServerResponse,
  names: ReadonlySet<string> | undefined
): HttpServerResponse.HttpServerResponse =>
  names === undefined ? response : Object.defineProperties(response, {
    [secretHeaders]: { value: names },
    toJSON: { value: toJSON }
  })

/**
 * Puts a cookie into a response. It replaces a cookie of the same name, and keeps all others (S54).
 *
 * @internal
 */
export const setCookie = (
  response: HttpServerResponse.HttpServerResponse,
  name: string,
  value: string,
  encoded: string,
  options: Attributes
): HttpServerResponse.HttpServerResponse => {
  const plain = unfold(response)
  const cookies = Cookies.setCookie(plain.cookies, makeCookie(name, value, encoded, options))
  const own = plain.headers[header]
  const made = own !== undefined && own.trimStart().startsWith(`${name}=`)
    ? make(plain, Headers.remove(plain.headers, header), cookies, plain.body)
    : HttpServerResponse.replaceCookies(plain, cookies)
  return hide(made, secretsOf(response))
}

/** Puts a header into a response. It replaces a header of the same name. @internal */
export const setHeader = (
  response: HttpServerResponse.HttpServerResponse,
  name: string,
  value: string
): HttpServerResponse.HttpServerResponse =>
  hide(HttpServerResponse.setHeader(unfold(response), name, value), secretsOf(response))

/**
 * Puts a secret header into a response, which is sent in clear but prints as `<redacted>`. The functions of this module
 * and of `headers.ts` keep it so. A change by the platform's own functions makes a response that prints the secret
 * again.
 *
 * @internal
 */
export const setSecretHeader = (
  response: HttpServerResponse.HttpServerResponse,
  name: string,
  value: string
): HttpServerResponse.HttpServerResponse =>
  hide(
    HttpServerResponse.setHeader(unfold(response), name, value),
    new Set([...secretsOf(response) ?? [], name])
  )

/** The headers that describe the body, or how long the response may be cached. */
const ofBody: ReadonlyArray<string> = [
  "accept-ranges",
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "etag",
  "expires",
  "last-modified"
]

/** Gives up a body that is not sent: a file's holds its descriptor, and one that `fetch` returned its connection. */
const discard = ({ body }: HttpServerResponse.HttpServerResponse): void => {
  const raw = body._tag === "Raw" ? body.body : undefined
  if (typeof raw !== "object" || raw === null) {
    return
  }
  if ("destroy" in raw && typeof raw.destroy === "function") {
    raw.destroy()
  } else if (raw instanceof ReadableStream && !raw.locked) {
    void raw.cancel().catch(() => undefined)
  }
}

/**
 * The response with another status and without its body, which is given up. It keeps the headers and cookies of others,
 * such as those of CORS and of another session, but not the headers that describe the body.
 *
 * @internal
 */
export const replaceBody = (
  response: HttpServerResponse.HttpServerResponse,
  status: number
): HttpServerResponse.HttpServerResponse => {
  const plain = unfold(response)
  discard(plain)
  const headers = Headers.remove(plain.headers, ofBody)
  return hide(HttpServerResponse.empty({ status, headers, cookies: plain.cookies }), secretsOf(response))
}
