/**
 * The few Redis commands that a session store needs, by any client of either package. Knows nothing of sessions, nor of
 * what its scripts do.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Schedule from "effect/Schedule"
import { digestWeb } from "../crypto/hash.js"
import type { IoRedis, NodeRedis } from "./clients.js"

/** A script and its name on the server. @internal */
export interface Script {
  readonly source: string
  readonly sha1: string
}

/** A bulk reply as text; `undefined` where there is none. @internal */
export type Reply = string | undefined

/** @internal */
export interface Commands {
  readonly get: (key: string) => Effect.Effect<Reply, Error>
  readonly run: (script: Script, keys: Array<string>, args: Array<string>) => Effect.Effect<Reply, Error>
}

/** Names a script as the server will, once, so that no trip is spent on loading it. @internal */
export const script = (source: string): Effect.Effect<Script> =>
  Effect.map(digestWeb("SHA-1", source), (digest) => ({ source, sha1: Encoding.encodeHex(digest) }))

/**
 * What may be kept of a client's error: name and message. ioredis hangs the command's arguments on it, and those hold a
 * session's data, which has no place in a log. A refused connection to a name with two addresses has a code alone.
 */
const withoutArguments = (error: unknown): Error => {
  if (!(error instanceof Error)) {
    return new Error(String(error))
  }
  const { code } = error as { readonly code?: unknown }
  const copy = new Error(error.message === "" ? String(code ?? error.name) : error.message)
  copy.name = error.name
  return copy
}

/** A client may be set up to answer with Buffers, and those say their text as well. */
const text = (reply: unknown): Reply => reply === null || reply === undefined ? undefined : String(reply)

/** @internal */
export const startsWith = (prefix: string) => (error: Error): boolean => error.message.startsWith(prefix)

/**
 * While a cluster moves a slot, a script over two of its keys can find one here and one there. `redis` leaves it at that,
 * `ioredis` tries again; so both do, until the move is over.
 */
const whileMoving = { while: startsWith("TRYAGAIN"), schedule: Schedule.spaced(50), times: 100 }

/** The script by its name, and by its text where this server has not seen it, which is once after it started. */
const bySha1 = (
  run: (
    command: "eval" | "evalSha",
    script: string,
    keys: Array<string>,
    args: Array<string>
  ) => Effect.Effect<Reply, Error>
): Commands["run"] =>
(script, keys, args) =>
  run("evalSha", script.sha1, keys, args).pipe(
    Effect.catchIf(startsWith("NOSCRIPT"), () => run("eval", script.source, keys, args)),
    Effect.retry(whileMoving)
  )

const fromNodeRedis = (client: NodeRedis): Commands => {
  type Calls = Pick<NodeRedis, "eval" | "evalSha" | "get">
  const { withAbortSignal } = client
  const send = (f: (client: Calls) => Promise<unknown>) =>
    Effect.tryPromise({ try: () => f(client), catch: withoutArguments })
  const sendOrDrop = withAbortSignal === undefined
    ? send
    : (f: (client: Calls) => Promise<unknown>) =>
      Effect.tryPromise({ try: (signal) => f(withAbortSignal.call(client, signal)), catch: withoutArguments })
  // A signal a command costs a good part of a read.
  const call = (f: (client: Calls) => Promise<unknown>) =>
    Effect.suspend(() => Effect.map(client.isReady === true ? send(f) : sendOrDrop(f), text))
  return {
    get: (key) => call((client) => client.get(key)),
    run: bySha1((command, script, keys, args) => call((client) => client[command](script, { keys, arguments: args })))
  }
}

const fromIoRedis = (client: IoRedis): Commands => {
  const call = (f: () => Promise<unknown>) => Effect.map(Effect.tryPromise({ try: f, catch: withoutArguments }), text)
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

/** The commands of a client; `undefined` for what is none. @internal */
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
