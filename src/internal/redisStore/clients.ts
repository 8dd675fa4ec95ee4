/**
 * What is used of the Redis clients that people have. They are typed by their shape, so that neither package has to be
 * installed.
 */

/** How a client of the package `redis` takes what a script is given. */
interface ScriptOptions {
  keys: Array<string>
  arguments: Array<string>
}

/**
 * What is used of a client of the package `redis`, version 5 or newer, to run commands: `createClient`,
 * `createClientPool`, `createCluster` and `createSentinel` all make one.
 *
 * @since 0.1.0
 * @category models
 */
export interface NodeRedis {
  readonly get: (key: string) => Promise<unknown>
  readonly eval: (script: string, options: ScriptOptions) => Promise<unknown>
  readonly evalSha: (sha1: string, options: ScriptOptions) => Promise<unknown>
  /** Whether a command is sent at once, where the client says so: nothing is queued then. */
  readonly isReady?: boolean
  /** Where the client has it: a command that is interrupted while it is queued is not sent. */
  readonly withAbortSignal?: (signal: AbortSignal) => Pick<NodeRedis, "eval" | "evalSha" | "get">
}

/**
 * What is used of a client of the package `ioredis`, version 5 or newer, to run commands: `new Redis` (Sentinel too) and
 * `new Cluster`.
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
 * What is used of a client of the package `redis`, version 5 or newer, to publish, and to listen on a connection of its
 * own.
 *
 * @since 0.1.0
 * @category models
 */
export interface NodeRedisPubSub {
  readonly publish: (channel: string, message: string) => Promise<unknown>
  readonly duplicate: () => NodeRedisSubscriber
  readonly isOpen: boolean
}

interface NodeRedisSubscriber {
  readonly on: (event: "error", listener: (error: unknown) => void) => unknown
  readonly connect: () => Promise<unknown>
  readonly subscribe: (channel: string, listener: (message: string) => void) => Promise<unknown>
  readonly destroy: () => void
}

/**
 * What is used of a client of the package `ioredis`, version 5 or newer, to publish, and to listen on a connection of its
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
  readonly subscribe: (channel: string) => Promise<unknown>
  readonly disconnect: () => void
}
