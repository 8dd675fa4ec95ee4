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

/**
 * How a body was asked for first: as text, or as bytes, after which nobody can have its text. Two readers of both kinds
 * break each other on Node, where one changes what the other is given.
 */
type Reading =
  | { readonly _tag: "Text"; readonly text: Timeout.Started<string, RequestError> }
  | { readonly _tag: "Bytes" }

/** The reading of a body, on the request that the server was given. */
const readingKey: unique symbol = Symbol.for("effect-session/http/bodyReading")

interface Holder {
  [readingKey]?: Reading
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

const encoder = new TextEncoder()

/** What decoding puts in the place of bytes that are not UTF-8. A text that holds it may have come from either. */
const replacement = "\ufffd"

type Bytes = Effect.Effect<Uint8Array<ArrayBuffer>, RequestError>

const bytesOf = (request: Request): Bytes =>
  Effect.flatMap(request.text, (text) =>
    text.includes(replacement)
      ? Effect.fail(
        new RequestError({
          request,
          reason: "Decode",
          description: "the body was read as text, which does not tell its bytes: read those first"
        })
      )
      : Effect.succeed(encoder.encode(text)))

/** In a fiber of its own: a reader that is interrupted takes it from no other, and does not cut the connection. */
const readText = (request: Request, holder: Holder, own: Request["text"]): Request["text"] =>
  Effect.withFiberRuntime((caller) => {
    const known = holder[readingKey]
    if (known !== undefined) {
      return known._tag === "Text" ? Timeout.outcome(known.text) : Effect.fail(lost(request))
    }
    const text = Timeout.start(caller, own, Infinity, () => lost(request))
    holder[readingKey] = { _tag: "Text", text }
    whenLost(sourceOf(request), () => text.complete(Exit.fail(lost(request))))
    return Timeout.outcome(text)
  })

/** Bytes of the text if that was asked for first, and else those of the platform. */
const readBytes = <A>(request: Request, holder: Holder, own: () => A, ofText: (bytes: Bytes) => A): A => {
  const { _tag } = holder[readingKey] ??= { _tag: "Bytes" }
  return _tag === "Text" ? ofText(bytesOf(request)) : own()
}

/**
 * The body as text. It is read once for all requests that a router makes of this one from then on.
 *
 * @internal
 */
export const bodyText = (request: Request): Request["text"] => {
  shareBody(request)
  return request.text
}

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
    text: { configurable: true, get: () => readText(request, holder, Effect.suspend(() => own("text"))) },
    arrayBuffer: {
      configurable: true,
      get: (): Request["arrayBuffer"] =>
        Effect.suspend(() => readBytes(request, holder, () => own("arrayBuffer"), Effect.map((bytes) => bytes.buffer)))
    },
    stream: {
      configurable: true,
      get: (): Request["stream"] =>
        Stream.suspend(() => readBytes(request, holder, () => own("stream"), (bytes) => Stream.fromEffect(bytes)))
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
