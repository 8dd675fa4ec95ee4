/**
 * How instances tell each other of their writes.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SessionToken from "../../SessionToken.js"
import * as metrics from "../runtime/metrics.js"
import type { Memory } from "./memory.js"

/**
 * What joins instances, so that each hears of the others' writes: text that one publishes reaches all, itself included,
 * late or not at all at worst. It makes news faster; the bound stays `timeToLive`. What is published holds public ids,
 * never a token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Channel {
  readonly publish: (message: string) => Effect.Effect<unknown, unknown>
  /** Run once in the layer's scope. When it ends or fails, all that is remembered is dropped and it is run again. */
  readonly messages: Stream.Stream<string, unknown>
}

/**
 * Listens for the others until the scope closes, and tells them of this instance's writes without waiting for it.
 *
 * @internal
 */
export const join = (
  memory: Memory,
  channel: Channel
): Effect.Effect<(id: SessionToken.SessionId) => Effect.Effect<void>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
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
        Effect.zipRight(
          metrics.storeFailed("TieredStore.channel"),
          Effect.logWarning("TieredStore: the channel failed, listening again", cause)
        )
      ),
      Effect.zipRight(Effect.sync(() => memory.forgetAll())),
      Effect.repeat(Schedule.spaced("1 second")),
      Effect.interruptible,
      Effect.forkScoped
    )
    return (id) =>
      channel.publish(`${self} ${id}`).pipe(
        Effect.catchAllCause((cause) =>
          Effect.zipRight(
            metrics.storeFailed("TieredStore.channel"),
            Effect.logWarning("TieredStore: the channel failed, others will see it late", cause)
          )
        ),
        Effect.forkIn(scope),
        Effect.asVoid
      )
  })
