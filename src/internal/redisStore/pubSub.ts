/**
 * Redis pub/sub as a channel, by a client of either package. The two differ in how a message reaches its listener. The
 * module knows nothing of what is published.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { IoRedisPubSub, NodeRedisPubSub } from "./clients.js"
import { unmoved } from "./clients.js"
import { closer } from "./closing.js"

const isNodeRedis = (client: NodeRedisPubSub | IoRedisPubSub): client is NodeRedisPubSub => "isOpen" in client

const fromPromise = <A>(f: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: f, catch: (cause) => cause })

/** @internal */
export const channel = (client: NodeRedisPubSub | IoRedisPubSub, name: string) => ({
  publish: (message: string) => fromPromise(() => client.publish(name, message)),
  messages: Stream.asyncPush<string, unknown>((emit) =>
    isNodeRedis(client)
      ? Effect.acquireRelease(
        Effect.sync(() => {
          const own = client.duplicate(unmoved)
          return { own, close: closer(own) }
        }),
        ({ close }) => Effect.sync(close)
      ).pipe(
        Effect.map(({ own }) => own),
        // The client reconnects and subscribes again by itself. What was missed meanwhile expires by its time to live.
        Effect.tap((own) => own.on("error", () => undefined)),
        Effect.tap((own) => fromPromise(() => own.connect())),
        Effect.tap((own) => fromPromise(() => own.subscribe(name, (message) => emit.single(message))))
      )
      : Effect.acquireRelease(Effect.sync(() => client.duplicate()), (own) => Effect.sync(() => own.disconnect())).pipe(
        Effect.tap((own) => {
          // a client that does not queue fails what it is told before it is connected, and this one is told at once
          if (own.options !== undefined) {
            own.options.enableOfflineQueue = true
          }
          own.on("error", () => undefined)
          own.on("message", (_, message) => void emit.single(message))
        }),
        Effect.tap((own) => fromPromise(() => own.subscribe(name)))
      )
  )
})
