/**
 * What the conformance tests of plack.md share: each way for a token to travel, each kind of store, and a visitor that
 * runs one handler a request.
 */
import { NodeContext } from "@effect/platform-node"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Context, Effect, Exit, Layer, Option, Redacted, Ref, Schema } from "effect"
import {
  CacheStore,
  CookieState,
  FileStore,
  HttpMiddleware,
  MemoryStore,
  ParamState,
  Session,
  SessionField,
  SessionToken,
  Store
} from "effect-session"
import type { State } from "effect-session"
import * as testing from "effect-session/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import * as filestore from "../fixtures/filestore.js"
import { clocked } from "./clocked.js"

const absurd = (message: string): never => {
  throw new Error(message)
}

/** A way for a token to travel, as client and server see it. */
export interface Carrier {
  readonly name: "cookie" | "param"
  /** The state, of the session's usual name or of another. */
  readonly layer: (name?: string) => Layer.Layer<State.State>
  /** A request that carries these texts, in this order, where tokens belong. */
  readonly carry: (
    texts: ReadonlyArray<string>,
    name?: string
  ) => { readonly path: string; readonly cookies: string }
}

/** A lone surrogate has no percent-encoding, and travels as a browser sends it. */
const encoded = (text: string): string => encodeURIComponent(Buffer.from(text, "utf8").toString("utf8"))

export const cookie: Carrier = {
  name: "cookie",
  layer: (name) => Layer.orDie(CookieState.layer({ name })),
  carry: (texts, name = "__Host-session") => ({
    path: "/",
    cookies: texts.map((text) => `${name}=${encoded(text)}`).join("; ")
  })
}

export const param: Carrier = {
  name: "param",
  layer: (name) => Layer.orDie(ParamState.layer({ key: name, body: true })),
  carry: (texts, name = "session") => ({
    path: `/?${texts.map((text) => `${name}=${encoded(text)}`).join("&")}`,
    cookies: ""
  })
}

export const carriers: ReadonlyArray<Carrier> = [cookie, param]

/** What a store has written, behind its back. */
export interface Backing {
  /** Puts a text in the place of what is kept of a session. */
  readonly overwrite: (token: string, text: string) => void
  /** The keys of what is kept. */
  readonly keys: () => ReadonlyArray<string>
  /** All that is kept, keys and values, as one text. */
  readonly dump: () => string
}

export class Behind extends Context.Tag("test/Behind")<Behind, Backing>() {}

/** A kind of store; one that keeps text lets a test behind it. */
export interface Kind {
  readonly name: "memory" | "file" | "cache"
  readonly text: boolean
  readonly layer: Layer.Layer<Store.Store | testing.Controls | Behind>
}

export const idOf = (token: string): SessionToken.SessionId =>
  SessionToken.unsafeToId(SessionToken.fromString(token)) ?? absurd("no hash at once on this runtime")

export const memory: Kind = {
  name: "memory",
  text: false,
  layer: Layer.merge(
    Layer.orDie(testing.controlled(MemoryStore.layer())),
    Layer.succeed(Behind, { overwrite: () => {}, keys: () => [], dump: () => "" })
  )
}

export const file: Kind = {
  name: "file",
  text: true,
  layer: Layer.unwrapScoped(Effect.map(Effect.orDie(filestore.folder), (directory) =>
    Layer.merge(
      testing.controlled(FileStore.layer({ directory })).pipe(Layer.provide(NodeContext.layer), Layer.orDie),
      Layer.succeed(Behind, {
        overwrite: (token, text) => fs.writeFileSync(path.join(directory, idOf(token)), text),
        keys: () => fs.readdirSync(directory).filter((name) => !name.endsWith(".trash")),
        dump: () =>
          fs.readdirSync(directory).map((name) => `${name} ${fs.readFileSync(path.join(directory, name), "utf8")}`)
            .join("\n")
      })
    )))
}

export const cache: Kind = {
  name: "cache",
  text: true,
  layer: Layer.unwrapEffect(Effect.sync(() => {
    const kept = new Map<string, string>()
    return Layer.merge(
      Layer.orDie(testing.controlled(CacheStore.layer({
        get: (key) => Effect.sync(() => Option.fromNullable(kept.get(key))),
        set: (key, value) => Effect.sync(() => kept.set(key, value)),
        remove: (key) => Effect.sync(() => kept.delete(key))
      }))),
      Layer.succeed(Behind, {
        overwrite: (token, text) => void kept.set(`session:${idOf(token)}`, text),
        keys: () => [...kept.keys()],
        dump: () => [...kept].map((entry) => entry.join(" ")).join("\n")
      })
    )
  }))
}

export const kinds: ReadonlyArray<Kind> = [memory, file, cache]

/** One request, as it went. */
export interface Visit<A> {
  readonly answer: testing.Answer
  /** What the handler gave. */
  readonly value: A
  /** How the handler ended. */
  readonly exit: Exit.Exit<A, unknown> | undefined
  /** The token that the client was told, by a cookie or by a link. */
  readonly token: string | undefined
}

export interface VisitOptions {
  /** What goes where tokens belong. */
  readonly tokens?: ReadonlyArray<string>
  /** Where the token does not travel by itself: the handler writes it into its page, at the end. */
  readonly link?: boolean
  readonly response?: HttpServerResponse.HttpServerResponse
  readonly request?: testing.RequestOptions & { readonly method?: string; readonly path?: string }
}

/** The value of the one session cookie that an answer sets, empty for a removal. */
export const cookieValue = (answer: testing.Answer, name = "__Host-session"): string | undefined =>
  answer.setCookies.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1).split(";")[0]

export type Visitor = <A, E>(
  handler: Effect.Effect<A, E, Session.Session>,
  options?: VisitOptions
) => Effect.Effect<Visit<A>>

const linked = Effect.map(Effect.option(Session.token), Option.map(Redacted.value))

/** A client that holds nothing by itself: each request says what it carries. */
export const visitor = (
  carrier: Carrier,
  around: typeof HttpMiddleware.session = HttpMiddleware.session
): Effect.Effect<Visitor, never, State.State | Store.Store> =>
  Effect.gen(function*() {
    let current: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, Session.Session> = HttpServerResponse
      .empty()
    const client = yield* testing.client(around(Effect.suspend(() => current)))
    return <A, E>(handler: Effect.Effect<A, E, Session.Session>, options: VisitOptions = {}) =>
      Effect.gen(function*() {
        let exit: Exit.Exit<A, unknown> | undefined
        let link = Option.none<string>()
        current = Effect.gen(function*() {
          exit = yield* Effect.exit(handler)
          if (carrier.name === "param" && options.link === true) {
            link = yield* linked
          }
          yield* exit
          return options.response ?? HttpServerResponse.text("done")
        })
        const where = carrier.carry(options.tokens ?? [])
        const { method = "GET", path = where.path, ...rest } = options.request ?? {}
        const answer = yield* client.request(method, path, { cookies: where.cookies, ...rest })
        const told = cookieValue(answer)
        return {
          answer,
          exit,
          get value(): A {
            return exit !== undefined && Exit.isSuccess(exit) ? exit.value : absurd("the handler did not succeed")
          },
          token: told !== undefined && told !== "" ? told : Option.getOrUndefined(link)
        }
      })
  })

/** The token of a visit that got one. */
export const tokenOf = <A>(visit: Visit<A>): string => visit.token ?? absurd("the client was told no token")

/** The data that the store has under a token, if it is live. */
export const stored = (token: string): Effect.Effect<Session.Data | undefined, never, Store.Store> =>
  Effect.gen(function*() {
    const store = yield* Store.Store
    const found = yield* Effect.orDie(clocked(store).load(SessionToken.fromString(token)))
    return found._tag === "Live" ? found.record.data : undefined
  })

/** A way to use the session: the suite runs through each. */
export interface Face {
  readonly name: string
  readonly get: (key: string) => Effect.Effect<Session.Json | undefined, never, Session.Session>
  readonly set: (key: string, value: string) => Effect.Effect<void, never, Session.Session>
  readonly remove: (key: string) => Effect.Effect<void, never, Session.Session>
  readonly dump: Effect.Effect<Session.Data, never, Session.Session>
}

const field = (key: string) => SessionField.make(key, Schema.String)

export const fields: Face = {
  name: "by fields and verbs",
  get: (key) => Effect.map(SessionField.option(field(key)), Option.getOrUndefined),
  set: (key, value) => SessionField.set(field(key), value),
  remove: (key) => SessionField.remove(field(key)),
  dump: Effect.orDie(Session.load)
}

export const ref: Face = {
  name: "by the Ref",
  get: (key) => Effect.map(Effect.flatMap(Session.Session, Ref.get), (data) => data[key]),
  set: (key, value) => Effect.flatMap(Session.Session, Ref.update((data) => ({ ...data, [key]: value }))),
  remove: (key) =>
    Effect.flatMap(
      Session.Session,
      Ref.update((data) => Object.fromEntries(Object.entries(data).filter(([name]) => name !== key)))
    ),
  dump: Effect.flatMap(Session.Session, Ref.get)
}

export const faces: ReadonlyArray<Face> = [fields, ref]

/** Replaces all data. */
export const put = (data: { readonly [key: string]: Session.Json }) =>
  Effect.flatMap(Session.Session, (session) => Ref.set(session, data))

/** The session's data, read by the handler. */
export const dump = Effect.flatMap(Session.Session, Ref.get)

/** Begins a session, and gives its token. */
export const begin = (visit: Visitor, data: { readonly [key: string]: Session.Json }): Effect.Effect<string> =>
  Effect.map(visit(put(data), { link: true }), tokenOf)
