/**
 * Redis pub/sub as a channel, by either of the two clients. They differ in how a message reaches its listener.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { IoRedisPubSub, NodeRedisPubSub } from "./clients.js"

export type { IoRedisPubSub, NodeRedisPubSub }

const isNodeRedis = (client: NodeRedisPubSub | IoRedisPubSub): client is NodeRedisPubSub => "isOpen" in client

const attempt = <A>(f: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: f, catch: (cause) => cause })

/** @internal */
export const channel = (client: NodeRedisPubSub | IoRedisPubSub, name: string) => ({
  publish: (message: string) => attempt(() => client.publish(name, message)),
  messages: Stream.asyncPush<string, unknown>((emit) =>
    isNodeRedis(client)
      ? Effect.acquireRelease(
        Effect.sync(() => client.duplicate()),
        // throws when it was never connected
        (own) => Effect.ignore(Effect.try(() => own.destroy()))
      ).pipe(
        // the client reconnects and subscribes again by itself; what was missed meanwhile ages as without a channel
        Effect.tap((own) => own.on("error", () => undefined)),
        Effect.tap((own) => attempt(() => own.connect())),
        Effect.tap((own) => attempt(() => own.subscribe(name, (message) => emit.single(message))))
      )
      : Effect.acquireRelease(Effect.sync(() => client.duplicate()), (own) => Effect.sync(() => own.disconnect())).pipe(
        Effect.tap((own) => {
          own.on("error", () => undefined)
          own.on("message", (_, message) => void emit.single(message))
        }),
        Effect.tap((own) => attempt(() => own.subscribe(name)))
      )
  )
})
