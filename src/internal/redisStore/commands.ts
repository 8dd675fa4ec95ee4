/**
 * The few Redis commands that a session store needs, by a client of either package. The module knows nothing of
 * sessions, nor of what its scripts do.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { digestWeb } from "../crypto/hash.js"
import { afterExit, andThen } from "../runtime/exit.js"
import { tryPromise } from "../runtime/pending.js"
import type { IoRedis, NodeRedis } from "./clients.js"

/** A script, and the hash by which the server knows it. */
interface Script {
  readonly source: string
  readonly sha1: string
}

/** A bulk reply as text; `undefined` if there is none. @internal */
export type Reply = string | undefined

/** @internal */
export interface Commands {
  readonly get: (key: string) => Effect.Effect<Reply, Error>
  readonly run: (script: Script, keys: Array<string>, args: Array<string>) => Effect.Effect<Reply, Error>
}

/** Computes a script's hash as the server does, so that no trip is needed to load it. @internal */
export const script = (source: string): Effect.Effect<Script> =>
  Effect.map(digestWeb("SHA-1", source), (digest) => ({ source, sha1: Encoding.encodeHex(digest) }))

/**
 * A copy of a client's error with name and message alone. ioredis attaches the command's arguments to its errors; those
 * hold a session's data, which must not get into a log. If a host has two addresses and both refuse the connection, the
 * error has no message, only a code. The `TimeoutError` of `redis` has neither, and is told by its class. A client of
 * `redis` that is not connected says only that it is closed.
 * @internal
 */
export const printable = (error: unknown): Error => {
  if (!(error instanceof Error)) {
    return new Error(String(error))
  }
  const { code } = error as { readonly code?: unknown }
  const copy = new Error(
    error.constructor.name === "ClientClosedError"
      ? "The client is not connected. Call its connect() first, and close it after the store's layer."
      : error.message === ""
      ? String(code ?? error.constructor.name)
      : error.message
  )
  copy.name = error.name
  return copy
}

/** The reply as text. A client may be configured to return Buffers, which `String` decodes too. */
const text = (reply: unknown): Reply => reply === null || reply === undefined ? undefined : String(reply)

const replied = (call: Effect.Effect<unknown, Error>): Effect.Effect<Reply, Error> =>
  andThen(call, (reply) => Exit.succeed(text(reply)))

/** @internal */
export const startsWith = (prefix: string) => (error: Error): boolean => error.message.startsWith(prefix)

/** @internal */
export const failedWith = (exit: Exit.Exit<unknown, Error>, prefix: string): boolean =>
  Exit.isFailure(exit) && Option.exists(Cause.failureOption(exit.cause), startsWith(prefix))

/**
 * How to retry while a cluster moves a slot: a script may then find only one of its two keys on a node. `ioredis`
 * retries by itself, `redis` does not. The move can take 5 seconds.
 */
const whileMoving = { while: startsWith("TRYAGAIN"), schedule: Schedule.spaced(50), times: 100 }

/** Runs a script by its hash. If this server does not know the script yet, it runs it by its text. */
const bySha1 = (
  run: (
    command: "eval" | "evalSha",
    script: string,
    keys: Array<string>,
    args: Array<string>
  ) => Effect.Effect<Reply, Error>
): Commands["run"] =>
(script, keys, args) => {
  const once = () =>
    afterExit(
      run("evalSha", script.sha1, keys, args),
      (exit): Effect.Effect<Reply, Error> =>
        failedWith(exit, "NOSCRIPT") ? run("eval", script.source, keys, args) : exit
    )
  return afterExit(
    once(),
    (exit): Effect.Effect<Reply, Error> =>
      failedWith(exit, "TRYAGAIN") ? Effect.retry(Effect.suspend(once), whileMoving) : exit
  )
}

const fromNodeRedis = (client: NodeRedis): Commands => {
  type Calls = Pick<NodeRedis, "eval" | "evalSha" | "get">
  const { withAbortSignal } = client
  // The client gives each command a timer, which takes four fifths of its time (10 of 12 us). The store has its own.
  const untimed: Calls = client.withCommandOptions?.({ timeout: 0 }) ?? client
  // A kind of client that can't drop a queued command keeps the client's time limit, so that it is not sent much later.
  const drop = (f: (client: Calls) => Promise<unknown>) =>
    Effect.tryPromise({
      try: (signal) => f(withAbortSignal === undefined ? client : withAbortSignal.call(untimed, signal)),
      catch: printable
    })
  // A signal for each command would make reads much slower.
  const call = (f: (client: Calls) => Promise<unknown>) =>
    client.isReady === true
      ? replied(tryPromise(() => f(untimed), printable))
      : replied(drop(f))
  return {
    get: (key) => call((client) => client.get(key)),
    run: bySha1((command, script, keys, args) => call((client) => client[command](script, { keys, arguments: args })))
  }
}

const fromIoRedis = (client: IoRedis): Commands => {
  const call = (f: () => Promise<unknown>) => replied(tryPromise(f, printable))
  return {
    get: (key) => call(() => client.get(key)),
    run: bySha1((command, script, keys, args) =>
      call(() =>
        command === "eval"
          ? client.eval(script, keys.length, ...keys, ...args)
          : client.evalsha(script, keys.length, ...keys, ...args)
      )
    )
  }
}

const has = (client: object, method: string): boolean =>
  typeof (client as Record<string, unknown>)[method] === "function"

/** The commands of a client; `undefined` if the value is not a client of either package. @internal */
export const fromClient = (client: unknown): Commands | undefined => {
  if (typeof client !== "object" || client === null || !has(client, "get") || !has(client, "eval")) {
    return undefined
  }
  return has(client, "evalSha")
    ? fromNodeRedis(client as NodeRedis)
    : has(client, "evalsha")
    ? fromIoRedis(client as IoRedis)
    : undefined
}
