/**
 * The text of a request's body, for several readers. The platform keeps the text with the request object that it was
 * read by, and a router that takes a prefix off the URL makes another object: on Node, reading by that one too would
 * never end, because the body has been read. The module knows nothing of sessions.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { sourceOf } from "./fiber.js"

type Text = HttpServerRequest.HttpServerRequest["text"]

const formType = /^\s*application\/x-www-form-urlencoded\s*(?:;|$)/i

/** Whether the request says that it carries a form in the form of a query. Multipart is another. @internal */
export const hasForm = (request: HttpServerRequest.HttpServerRequest): boolean =>
  request.method !== "GET" && request.method !== "HEAD" && formType.test(request.headers["content-type"] ?? "")

/** The text of a body that was asked for, on the request that the server was given. */
const textKey: unique symbol = Symbol.for("effect-session/http/bodyText")

/**
 * The body as text. It is read once for all requests that a router made of the same one, and for who reads this request
 * or one made of it afterwards as text, JSON or parameters.
 *
 * @internal
 */
export const bodyText = (request: HttpServerRequest.HttpServerRequest): Text => {
  const source = sourceOf(request)
  const holder: { [textKey]?: Text } = Object.isExtensible(source) ? source : request
  const text = holder[textKey] ??= request.text
  share(request, text)
  return text
}

const share = (request: HttpServerRequest.HttpServerRequest, text: Text): void => {
  if (!Object.isExtensible(request) || Object.hasOwn(request, "text")) {
    return
  }
  const { modify } = request
  Object.defineProperties(request, {
    text: { configurable: true, get: () => text },
    modify: {
      configurable: true,
      value: (options: Parameters<typeof modify>[0]) => {
        const modified = modify.call(request, options)
        share(modified, text)
        return modified
      }
    }
  })
}
