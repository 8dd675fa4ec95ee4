/**
 * A connection that listens to channels, made of a client of either package. A subscription of a client's own is not
 * used: not every client tells when it was lost and made again. So a connection is used until it is lost, and then
 * another is opened. In a cluster it leads to any of the nodes, since each hears what is published on another. The
 * module knows nothing of sessions.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { unmoved } from "./clients.js"
import { closer } from "./closing.js"
import { printable } from "./commands.js"

/** @internal */
export interface Subscriber {
  readonly subscribe: (channels: Array<string>) => Effect.Effect<void, Error>
  readonly unsubscribe: (channels: Array<string>) => Effect.Effect<void, Error>
  /** Fails when the connection is lost, with the reason. */
  readonly lost: Effect.Effect<never, Error>
}

/** Opens a connection, and calls the function with the channel of each message. Closes it with the scope. @internal */
export type Open = (hear: (channel: string) => void) => Effect.Effect<Subscriber, Error, Scope.Scope>

/** A client of the package `redis` that is connected to one server. */
interface NodeRedis {
  readonly duplicate: (overrides: object) => NodeRedisConnection
}

interface NodeRedisConnection {
  readonly on: (event: string, listener: (error?: unknown) => void) => unknown
  readonly isOpen: boolean
  readonly connect: () => Promise<unknown>
  readonly destroy: () => void
  readonly subscribe: (
    channels: Array<string>,
    listener: (message: string, channel: string) => void
  ) => Promise<unknown>
  readonly unsubscribe: (channels: Array<string>) => Promise<unknown>
}

interface NodeRedisCluster {
  readonly getRandomNode: () => unknown
  readonly nodeClient: (node: unknown) => Promise<NodeRedis>
}

interface NodeRedisPool {
  readonly execute: <A>(f: (client: NodeRedis) => A) => Promise<A>
}

/** A client of the package `ioredis` that is connected to one server, perhaps by Sentinel. */
interface IoRedis {
  readonly duplicate: (overrides: object) => IoRedisConnection
  readonly options?: IoRedisOptions
}

interface IoRedisConnection {
  readonly on: {
    (event: "message", listener: (channel: string) => void): unknown
    (event: "error" | "end", listener: (error?: unknown) => void): unknown
  }
  readonly connect: () => Promise<unknown>
  readonly disconnect: () => void
  readonly subscribe: (...channels: Array<string>) => Promise<unknown>
  readonly unsubscribe: (...channels: Array<string>) => Promise<unknown>
}

interface IoRedisCluster {
  readonly isCluster: true
  readonly nodes: (role: "master") => Array<IoRedis>
  readonly options?: IoRedisOptions
}

interface IoRedisOptions {
  readonly keyPrefix?: string
}

const call = (f: () => Promise<unknown>): Effect.Effect<void, Error> =>
  Effect.asVoid(Effect.tryPromise({ try: f, catch: printable }))

/** Connects, unless the connection is lost before. */
const connected = (subscriber: Subscriber, connect: () => Promise<unknown>): Effect.Effect<Subscriber, Error> =>
  Effect.as(Effect.raceFirst(call(connect), subscriber.lost), subscriber)

/** Clients put a prefix of their own before the keys of a script, which name the channels, and not before channels. */
const prefixing = (open: Open, prefix: string): Open => (hear) => {
  const named = (channels: Array<string>) => channels.map((channel) => `${prefix}${channel}`)
  return Effect.map(open((channel) => hear(channel.slice(prefix.length))), ({ lost, subscribe, unsubscribe }) => ({
    subscribe: (channels) => subscribe(named(channels)),
    unsubscribe: (channels) => unsubscribe(named(channels)),
    lost
  }))
}

const byNodeRedis = (pick: () => Promise<NodeRedis>): Open => (hear) =>
  Effect.gen(function*() {
    const lost = yield* Deferred.make<never, Error>()
    // to find a node may take long, and must not keep anybody from giving up
    const from = yield* Effect.tryPromise({ try: pick, catch: printable })
    const { client } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const client = from.duplicate(unmoved)
        return { client, close: closer(client) }
      }),
      ({ close }) => Effect.sync(close)
    )
    const onLost = (error: unknown = "the connection was closed") =>
      Deferred.unsafeDone(lost, Effect.fail(printable(error)))
    client.on("error", onLost)
    client.on("end", onLost)
    const heard = (_message: string, channel: string) => hear(channel)
    return yield* connected({
      subscribe: (channels) => call(() => client.subscribe(channels, heard)),
      unsubscribe: (channels) => call(() => client.unsubscribe(channels)),
      lost: Deferred.await(lost)
    }, () => client.connect())
  })

/** It connects once, so that its end is the loss of the connection. */
const once = { lazyConnect: true, retryStrategy: null }

const byIoRedis = (pick: () => IoRedis | undefined): Open => (hear) =>
  Effect.gen(function*() {
    const lost = yield* Deferred.make<never, Error>()
    const client = yield* Effect.acquireRelease(
      Effect.suspend(() => {
        const from = pick()
        return from === undefined
          ? Effect.fail(new Error("no node of the cluster is known yet"))
          : Effect.sync(() => from.duplicate(once))
      }),
      (client) => Effect.sync(() => client.disconnect())
    )
    let reason: unknown = "the connection was closed"
    client.on("error", (error) => {
      reason = error
    })
    client.on("end", () => Deferred.unsafeDone(lost, Effect.fail(printable(reason))))
    client.on("message", hear)
    return yield* connected({
      subscribe: (channels) => call(() => client.subscribe(...channels)),
      unsubscribe: (channels) => call(() => client.unsubscribe(...channels)),
      lost: Deferred.await(lost)
    }, () => client.connect())
  })

const has = <Name extends string>(client: object, name: Name): client is Record<Name, unknown> =>
  typeof (client as Partial<Record<Name, unknown>>)[name] === "function"

const isIoRedisCluster = (client: IoRedis | IoRedisCluster): client is IoRedisCluster =>
  (client as { readonly isCluster?: boolean }).isCluster === true

const fromIoRedis = (client: IoRedis | IoRedisCluster): Open =>
  prefixing(
    byIoRedis(
      isIoRedisCluster(client)
        ? () => {
          const nodes = client.nodes("master")
          return nodes[Math.floor(Math.random() * nodes.length)]
        }
        : () => client
    ),
    client.options?.keyPrefix ?? ""
  )

const fromNodeRedis = (client: object): (() => Promise<NodeRedis>) | undefined => {
  // a sentinel client's `duplicate` does not tell when its connection is lost
  if (has(client, "getSentinelNode")) {
    return undefined
  }
  if (has(client, "nodeClient") && has(client, "getRandomNode")) {
    const cluster = client as unknown as NodeRedisCluster
    return async () => cluster.nodeClient(cluster.getRandomNode())
  }
  if (has(client, "duplicate")) {
    const single = client as unknown as NodeRedis
    return async () => single
  }
  if (has(client, "execute")) {
    const pool = client as unknown as NodeRedisPool
    return () => pool.execute((client) => client)
  }
  return undefined
}

/**
 * How to open a connection with the client's own settings, or nothing for a client that can't be asked for one, such as
 * `createSentinel` of the package `redis`.
 *
 * @internal
 */
export const fromClient = (client: object): Open | undefined => {
  if (has(client, "evalsha")) {
    return has(client, "duplicate") ? fromIoRedis(client as unknown as IoRedis | IoRedisCluster) : undefined
  }
  const pick = fromNodeRedis(client)
  // a private member, because a pool and a cluster show it nowhere else
  const { _keyPrefix: prefix = "" } = client as { readonly _keyPrefix?: string | Buffer }
  return pick && prefixing(byNodeRedis(pick), String(prefix))
}
