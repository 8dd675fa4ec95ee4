/**
 * Tells an open page that its session has ended, in the moment it ends, as server-sent events.
 */
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Context, Deferred, Effect, Layer, Option, Stream } from "effect"
import { Session } from "effect-session"
import { visitor } from "../visitor.js"

/**
 * A session that was renewed goes on, under a token that the browser has by now: the stream ends, and the browser asks
 * again.
 */
const ended = (reason: string | undefined) =>
  reason === "renewed" ? Stream.empty : Stream.make(`event: ended\ndata: ${reason ?? "unknown"}\n\n`)

/** Says nothing until the session ends. If the store fails, the stream breaks off, and the browser asks again. */
const ending = Session.watch.pipe(
  Stream.drain,
  Stream.catchTag("SessionGone", ({ reason }) => ended(reason))
)

/** How long the browser waits before it asks again, in milliseconds, and a comment that makes the head leave. */
const hello = "retry: 2000\n\n"

/** So that no proxy takes the silence for the end. */
const beats = Stream.as(Stream.drop(Stream.tick("20 seconds"), 1), ":\n\n")

/** Is done when the server is to stop, which would wait for the streams that are open. */
export class Stopping extends Context.Tag("examples/login/Stopping")<Stopping, Deferred.Deferred<void>>() {}

export const layer = Layer.scoped(
  Stopping,
  Effect.acquireRelease(Deferred.make<void>(), (stopping) => Deferred.succeed(stopping, undefined))
)

/** Whether the session still is of who the page was made for. */
const reasonToEnd = Effect.gen(function*() {
  const { user } = yield* HttpServerRequest.ParsedSearchParams
  const found = yield* visitor
  return Option.isNone(found) ? "unknown" : found.value.id === user ? undefined : "other"
})

const live = Effect.gen(function*() {
  const context = yield* Effect.context<Session.Session>()
  const stopping = yield* Stopping
  const reason = yield* reasonToEnd
  const told = reason === undefined ? Stream.merge(ending, beats, { haltStrategy: "left" }) : ended(reason)
  return HttpServerResponse.stream(
    Stream.make(hello).pipe(
      Stream.concat(told),
      Stream.interruptWhenDeferred(stopping),
      Stream.provideContext(context),
      Stream.encodeText
    ),
    { contentType: "text/event-stream", headers: { "cache-control": "no-store", connection: "close" } }
  )
})

export const routes = HttpRouter.empty.pipe(HttpRouter.get("/live", live))
