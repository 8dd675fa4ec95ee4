/**
 * How instances announce their writes to each other. The module knows nothing of HTTP, nor of what carries the
 * messages.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SessionToken from "../../SessionToken.js"
import type { Emission } from "../sessionEvents/emit.js"
import { emitting } from "../sessionEvents/emit.js"
import type { Memory } from "./memory.js"

/**
 * Joins instances, so that each sees the others' writes sooner. A text that one instance publishes should reach all of
 * them, and may reach the publisher too. A text may be late or lost: then a write is seen after `timeToLive`. What is
 * published holds public ids, never a token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Channel {
  /** Sends a text to all instances. A failure is logged. */
  readonly publish: (message: string) => Effect.Effect<unknown, unknown>
  /** The texts of all instances. If the stream ends or fails, the memory is cleared and the stream is run again. */
  readonly messages: Stream.Stream<string, unknown>
}

const channelFailed: Emission = { _tag: "StoreFailed", method: "TieredStore.channel", reason: "Unavailable" }

/**
 * Listens to the other instances until the scope closes. Gives the function that announces this instance's writes,
 * without waiting for the channel.
 *
 * @internal
 */
export const join = (
  memory: Memory,
  channel: Channel
): Effect.Effect<(id: SessionToken.SessionId) => Effect.Effect<void>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const context = yield* Effect.context<never>()
    const self = Encoding.encodeBase64Url((yield* SessionToken.Generator)(9))
    const receive = (message: string): Effect.Effect<void> =>
      Effect.sync(() => {
        const [from, id] = message.split(" ")
        if (from !== self && id !== undefined) {
          memory.forget(id as SessionToken.SessionId)
        }
      })
    yield* Stream.runForEach(channel.messages, receive).pipe(
      Effect.catchAllCause((cause) =>
        emitting(
          channelFailed,
          Effect.logWarning("TieredStore: The channel failed. The store listens again in a second.", cause)
        )
      ),
      Effect.zipRight(Effect.sync(() => memory.forgetAll())),
      Effect.repeat(Schedule.spaced("1 second")),
      Effect.interruptible,
      Effect.forkScoped
    )
    return (id) =>
      channel.publish(`${self} ${id}`).pipe(
        // the caller's services may end before it does, such as the connection of a transaction
        Effect.mapInputContext((_: Context.Context<never>) => context),
        Effect.catchAllCause((cause) =>
          emitting(
            channelFailed,
            Effect.logWarning(
              "TieredStore: A write could not be announced. Other instances see it after their time to live.",
              cause
            )
          )
        ),
        Effect.forkIn(scope),
        Effect.asVoid
      )
  })
