/**
 * The body of a form, for several readers. The platform keeps a body's text with the request object that it was read by,
 * and a router that takes a prefix off the URL makes another object: on Node, reading by that one too would never end,
 * because the body has been read. The module knows nothing of sessions.
 */
import { RequestError } from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Timeout from "../runtime/timeout.js"
import { sourceOf } from "./fiber.js"

type Request = HttpServerRequest.HttpServerRequest

const formType = /^\s*application\/x-www-form-urlencoded\s*(?:;|$)/i

/** Whether the request says that it carries a form in the form of a query. Multipart is another. @internal */
export const hasForm = (request: Request): boolean =>
  request.method !== "GET" && request.method !== "HEAD" && formType.test(request.headers["content-type"] ?? "")

/** The reading of a body as text that somebody asked for, on the request that the server was given. */
const textKey: unique symbol = Symbol.for("effect-session/http/bodyText")

interface Holder {
  [textKey]?: Timeout.Started<string, RequestError>
}

const holderOf = (request: Request): Holder => {
  const source = sourceOf(request)
  return (Object.isExtensible(source) ? source : request) as Holder
}

/** What of a request of Node's tells whether its body can still be read. */
interface Readable {
  readonly destroyed: boolean
  readonly readableEnded: boolean
  readonly once: (event: "close", listener: () => void) => unknown
}

const isReadable = (source: object): source is Readable => "readableEnded" in source

/** Calls `notify` if nothing more comes of a body. On Node its reader would wait for ever; elsewhere reading fails. */
const whenLost = (source: object, notify: () => void): void => {
  if (!isReadable(source)) {
    return
  }
  if (source.destroyed || source.readableEnded) {
    return notify()
  }
  source.once("close", () => {
    if (!source.readableEnded) {
      notify()
    }
  })
}

const lost = (request: Request) =>
  new RequestError({ request, reason: "Decode", description: "the body was read before, or its client has left" })

/** In a fiber of its own: a reader that is interrupted takes it from no other, and does not cut the connection. */
const read = (request: Request, holder: Holder, text: Request["text"]): Request["text"] =>
  Effect.withFiberRuntime((caller) => {
    const known = holder[textKey]
    if (known !== undefined) {
      return Timeout.outcome(known)
    }
    const started = Timeout.start(caller, text, Infinity, () => lost(request))
    holder[textKey] = started
    whenLost(sourceOf(request), () => started.complete(Exit.fail(lost(request))))
    return Timeout.outcome(started)
  })

/**
 * The body as text. It is read once for all requests that a router made of the same one, if they share it.
 *
 * @internal
 */
export const bodyText = (request: Request): Request["text"] => {
  shareBody(request)
  return request.text
}

const encoder = new TextEncoder()

/** What decoding puts in the place of bytes that are not UTF-8. */
const replacement = "\ufffd"

const bytesOf = (request: Request): Effect.Effect<Uint8Array<ArrayBuffer>, RequestError> =>
  Effect.flatMap(request.text, (text) =>
    text.includes(replacement)
      ? Effect.fail(
        new RequestError({
          request,
          reason: "Decode",
          description: "the body was read as text, and is not UTF-8: read its bytes first"
        })
      )
      : Effect.succeed(encoder.encode(text)))

/**
 * Makes a request, and those that will be made of it, share the text of the body: whoever reads it first, by any of them,
 * all others have it too. Once the text was asked for, bytes are made of it if they can be. A body that nobody asks for
 * as text is left to who reads its bytes.
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
    text: { configurable: true, get: () => read(request, holder, Effect.suspend(() => own("text"))) },
    arrayBuffer: {
      configurable: true,
      get: (): Request["arrayBuffer"] =>
        Effect.suspend(() =>
          holder[textKey] === undefined
            ? own("arrayBuffer")
            : Effect.map(bytesOf(request), (bytes) => bytes.buffer)
        )
    },
    stream: {
      configurable: true,
      get: (): Request["stream"] =>
        Stream.suspend(() =>
          holder[textKey] === undefined
            ? own("stream")
            : Stream.fromEffect(bytesOf(request))
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
