/**
 * The parts of the Redis clients that this library uses. They are typed by their shape, so that neither package has to
 * be installed. The module knows nothing of sessions.
 */

/**
 * With what a client of `redis` listens. If a server of Redis Enterprise says that it moves, the client would follow it by
 * itself, without its subscriptions, and tell nobody. Without this it loses the connection, and hears so.
 *
 * @internal
 */
export const unmoved = { maintNotifications: "disabled" } as const

/** The keys and arguments of a script, as a client of the package `redis` takes them. */
interface ScriptOptions {
  keys: Array<string>
  arguments: Array<string>
}

/**
 * A client of the package `redis`, version 6 or newer, as far as it runs commands. `createClient`, `createClientPool`,
 * `createCluster` and `createSentinel` all make one.
 *
 * @since 0.1.0
 * @category models
 */
export interface NodeRedis {
  readonly get: (key: string) => Promise<unknown>
  readonly eval: (script: string, options: ScriptOptions) => Promise<unknown>
  readonly evalSha: (sha1: string, options: ScriptOptions) => Promise<unknown>
  /** Whether the client is connected, so that it sends a command at once and does not queue it. */
  readonly isReady?: boolean
  /** Makes a client whose commands have other options than its own. */
  readonly withCommandOptions?: (options: { readonly timeout: number }) => Pick<NodeRedis, "eval" | "evalSha" | "get">
  /** Makes a client whose queued commands can be cancelled. Not every kind of client has it. */
  readonly withAbortSignal?: (signal: AbortSignal) => Pick<NodeRedis, "eval" | "evalSha" | "get">
}

/**
 * A client of the package `ioredis`, version 5 or newer, as far as it runs commands. `new Redis` (also for Sentinel)
 * and `new Cluster` make one.
 *
 * @since 0.1.0
 * @category models
 */
export interface IoRedis {
  readonly get: (key: string) => Promise<unknown>
  readonly eval: (script: string, numberOfKeys: number, ...keysAndArguments: Array<string>) => Promise<unknown>
  readonly evalsha: (sha1: string, numberOfKeys: number, ...keysAndArguments: Array<string>) => Promise<unknown>
}

/**
 * A client of the package `redis`, version 6 or newer, as far as it publishes, and listens on a connection of its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface NodeRedisPubSub {
  readonly publish: (channel: string, message: string) => Promise<unknown>
  readonly duplicate: (overrides?: object) => NodeRedisSubscriber
  readonly isOpen: boolean
}

interface NodeRedisSubscriber {
  readonly on: (
    event: "connect" | "ready" | "error" | "reconnecting",
    listener: (error?: unknown) => void
  ) => unknown
  readonly isOpen: boolean
  readonly connect: () => Promise<unknown>
  readonly subscribe: (channel: string, listener: (message: string) => void) => Promise<unknown>
  readonly destroy: () => void
}

/**
 * A client of the package `ioredis`, version 5 or newer, as far as it publishes, and listens on a connection of its
 * own.
 *
 * @since 0.1.0
 * @category models
 */
export interface IoRedisPubSub {
  readonly publish: (channel: string, message: string) => Promise<unknown>
  readonly duplicate: () => IoRedisSubscriber
}

interface IoRedisSubscriber {
  readonly on: {
    (event: "message", listener: (channel: string, message: string) => void): unknown
    (event: "error", listener: (error: Error) => void): unknown
  }
  readonly options?: { enableOfflineQueue?: boolean | undefined }
  readonly subscribe: (channel: string) => Promise<unknown>
  readonly disconnect: () => void
}
