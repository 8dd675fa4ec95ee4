/**
 * The body of a form, for several readers. The platform keeps a body's text with the request object that it was read by,
 * and a router that takes a prefix off the URL makes another object: on Node, reading by that one too would never end,
 * because the body has been read. The module knows nothing of sessions.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { sourceOf } from "./fiber.js"

type Request = HttpServerRequest.HttpServerRequest

const formType = /^\s*application\/x-www-form-urlencoded\s*(?:;|$)/i

/** Whether the request says that it carries a form in the form of a query. Multipart is another. @internal */
export const hasForm = (request: Request): boolean =>
  request.method !== "GET" && request.method !== "HEAD" && formType.test(request.headers["content-type"] ?? "")

/** The text of a body that was asked for, on the request that the server was given. */
const textKey: unique symbol = Symbol.for("effect-session/http/bodyText")

interface Holder {
  [textKey]?: Request["text"]
}

const holderOf = (request: Request): Holder => {
  const source = sourceOf(request)
  return (Object.isExtensible(source) ? source : request) as Holder
}

/**
 * The body as text. It is read once for all requests that a router made of the same one, if they share it.
 *
 * @internal
 */
export const bodyText = (request: Request): Request["text"] => {
  shareBody(request)
  return holderOf(request)[textKey] ??= request.text
}

const encoder = new TextEncoder()

/**
 * Makes a request, and those that will be made of it, share the text of the body: whoever reads it first, by any of them,
 * all others have it too. Once the text was asked for, bytes are made of it. A body that nobody asks for as text is left
 * to who reads its bytes.
 *
 * @internal
 */
export const shareBody = (request: Request): void => {
  if (!Object.isExtensible(request) || Object.hasOwn(request, "text")) {
    return
  }
  const holder = holderOf(request)
  const platform: Request = Object.getPrototypeOf(request)
  const own = <K extends keyof Request>(name: K): Request[K] => Reflect.get(platform, name, request)
  const { modify } = request
  Object.defineProperties(request, {
    text: { configurable: true, get: () => holder[textKey] ??= own("text") },
    arrayBuffer: {
      configurable: true,
      get: (): Request["arrayBuffer"] =>
        Effect.suspend(() =>
          holder[textKey] === undefined
            ? own("arrayBuffer")
            : Effect.map(holder[textKey], (text) => encoder.encode(text).buffer)
        )
    },
    stream: {
      configurable: true,
      get: (): Request["stream"] =>
        Stream.suspend(() =>
          holder[textKey] === undefined
            ? own("stream")
            : Stream.map(Stream.fromEffect(holder[textKey]), (text) => encoder.encode(text))
        )
    },
    modify: {
      configurable: true,
      value: (options: Parameters<typeof modify>[0]) => {
        const modified = modify.call(request, options)
        shareBody(modified)
        return modified
      }
    }
  })
}
