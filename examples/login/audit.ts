/**
 * What becomes of sessions: a line in the log for each, and an end to the longest unused of more than ten.
 */
import { HttpServerRequest } from "@effect/platform"
import { Effect, Option } from "effect"
import { SessionEvents, Sessions } from "effect-session"

const audited = new Set<SessionEvents.Event["_tag"]>(["LoggedIn", "Destroyed", "Revoked", "Expired"])

export const layer = SessionEvents.layer((event) =>
  Effect.gen(function*() {
    if (!audited.has(event._tag)) return
    const request = yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest)
    const address = Option.flatMap(request, ({ remoteAddress }) => remoteAddress)
    yield* Effect.logInfo(`session ${event._tag}`).pipe(
      Effect.annotateLogs({ ...event, address: Option.getOrElse(address, () => "unknown") })
    )
    if (event._tag === "LoggedIn") yield* Sessions.keepNewest(event.subject, 10)
  })
)
