/**
 * Redis pub/sub as a channel, by either of the two clients. They differ in how a message reaches its listener.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/**
 * What is used of a client of the package `redis`, version 5 or newer.
 *
 * @since 0.1.0
 * @category models
 */
export interface NodeRedis {
  readonly publish: (channel: string, message: string) => Promise<unknown>
  readonly duplicate: () => NodeRedisSubscriber
  readonly sendCommand: unknown
  readonly isOpen: boolean
}

interface NodeRedisSubscriber {
  readonly on: (event: "error", listener: (error: unknown) => void) => unknown
  readonly connect: () => Promise<unknown>
  readonly subscribe: (channel: string, listener: (message: string) => void) => Promise<unknown>
  readonly destroy: () => void
}

/**
 * What is used of a client of the package `ioredis`, version 5 or newer.
 *
 * @since 0.1.0
 * @category models
 */
export interface IoRedis {
  readonly publish: (channel: string, message: string) => Promise<unknown>
  readonly duplicate: () => IoRedisSubscriber
}

interface IoRedisSubscriber {
  readonly on: {
    (event: "message", listener: (channel: string, message: string) => void): unknown
    (event: "error", listener: (error: Error) => void): unknown
  }
  readonly subscribe: (channel: string) => Promise<unknown>
  readonly disconnect: () => void
}

const isNodeRedis = (client: NodeRedis | IoRedis): client is NodeRedis => "isOpen" in client

const attempt = <A>(f: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: f, catch: (cause) => cause })

/** @internal */
export const channel = (client: NodeRedis | IoRedis, name: string) => ({
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
