/**
 * One server, `<framework> <sessions> [prefix]`, in a process of its own: the same three routes in each, with or without
 * sessions. Sessions are set up as their documentation has it for production, over plain HTTP, and none is saved for a
 * visitor who has nothing in it.
 */
import { HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import fastifyCookie from "@fastify/cookie"
import secureSession from "@fastify/secure-session"
import fastifySession from "@fastify/session"
import connectPgSimple from "connect-pg-simple"
import * as ConnectRedis from "connect-redis"
import { Effect, Layer, Logger, Redacted, Schema } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, SessionField } from "effect-session"
import * as RedisStore from "effect-session/RedisStore"
import * as SqlStore from "effect-session/SqlStore"
import express from "express"
import session from "express-session"
import Fastify from "fastify"
import { Redis } from "ioredis"
import { createServer } from "node:http"
import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import pg from "pg"
import { createClient } from "redis"
import { serve } from "./processes.js"

declare module "express-session" {
  interface SessionData {
    visits: number
  }
}

declare module "fastify" {
  interface Session {
    visits?: number
  }
}

export type Framework = "effect" | "express" | "fastify"
export type Sessions = "none" | "memory" | "redis" | "ioredis" | "postgres" | "sealed"

export const redisUrl = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379"
const postgresUrl = process.env["DATABASE_URL"] ?? "postgres://root@127.0.0.1:5432/test"

const secret = "a secret of 32 characters or more"
const text = (visits: number): string => `visit ${visits}`

const redisClient = () => createClient({ url: redisUrl }).on("error", console.error).connect()

const Visits = SessionField.make("visits", Schema.Number, { default: () => 0 })

const effectBare = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => {
  switch (url) {
    case "/read":
    case "/write":
      return HttpServerResponse.text(text(1))
    default:
      return HttpServerResponse.text("untouched")
  }
})

const effectApp = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => {
  switch (url) {
    case "/read":
      return Effect.map(SessionField.get(Visits), (visits) => HttpServerResponse.text(text(visits)))
    case "/write":
      return Effect.map(
        SessionField.updateAndGet(Visits, (visits) => visits + 1),
        (visits) => HttpServerResponse.text(text(visits))
      )
    default:
      return Effect.succeed(HttpServerResponse.text("untouched"))
  }
})

const effectStore = async (sessions: Sessions, prefix: string) => {
  switch (sessions) {
    case "redis":
      return RedisStore.layer({ client: await redisClient(), prefix })
    case "ioredis":
      return RedisStore.layer({ client: new Redis(redisUrl), prefix })
    case "postgres":
      return SqlStore.layer({ schema: prefix }).pipe(
        Layer.provide(PgClient.layer({ url: Redacted.make(postgresUrl) }))
      )
    default:
      return MemoryStore.layer()
  }
}

const effectServer = async (sessions: Sessions, prefix: string): Promise<Server> => {
  const server = createServer()
  const http = NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" })
  const app = sessions === "none"
    ? HttpServer.serve(effectBare)
    : HttpServer.serve(effectApp, HttpMiddleware.session).pipe(
      Layer.provide(CookieState.layer({ secure: false })),
      Layer.provide(await effectStore(sessions, prefix))
    )
  const listening = new Promise((resolve) => server.once("listening", resolve))
  Effect.runFork(
    app.pipe(Layer.provide(http), Layer.provide(Logger.remove(Logger.defaultLogger)), Layer.launch)
  )
  await listening
  return server
}

const expressStore = async (sessions: Sessions, prefix: string): Promise<session.Store | undefined> => {
  switch (sessions) {
    case "redis":
      return new ConnectRedis.RedisStore({ client: await redisClient(), prefix })
    case "postgres":
      return new (connectPgSimple(session))({
        pool: new pg.Pool({ connectionString: postgresUrl }),
        schemaName: prefix
      })
    default:
      return undefined
  }
}

const expressServer = async (sessions: Sessions, prefix: string): Promise<Server> => {
  const app = express()
  if (sessions === "none") {
    app.get("/read", (_, response) => void response.send(text(1)))
    app.get("/write", (_, response) => void response.send(text(1)))
  } else {
    const { warn } = console
    // It says that MemoryStore is not for production.
    console.warn = () => {}
    const store = await expressStore(sessions, prefix)
    app.use(session({
      secret,
      resave: false,
      saveUninitialized: false,
      ...(store === undefined ? {} : { store })
    }))
    console.warn = warn
    app.get("/read", (request, response) => void response.send(text(request.session.visits ?? 0)))
    app.get("/write", (request, response) => {
      const visits = (request.session.visits ?? 0) + 1
      request.session.visits = visits
      response.send(text(visits))
    })
  }
  app.get("/untouched", (_, response) => void response.send("untouched"))
  return new Promise((resolve) => {
    const server = app.listen(0, "127.0.0.1", () => resolve(server))
  })
}

const fastifyServer = async (sessions: Sessions, prefix: string): Promise<Server> => {
  const app = Fastify()
  if (sessions === "sealed") {
    await app.register(secureSession, { key: Buffer.alloc(32, 7), cookie: { path: "/" } })
    const visitsOf = (data: { get(key: string): unknown }): number => Number(data.get("visits") ?? 0)
    app.get("/read", (request, reply) => reply.send(text(visitsOf(request.session as never))))
    app.get("/write", (request, reply) => {
      const data = request.session as unknown as { get(key: string): unknown; set(key: string, value: unknown): void }
      const visits = visitsOf(data) + 1
      data.set("visits", visits)
      return reply.send(text(visits))
    })
  } else if (sessions === "none") {
    app.get("/read", (_, reply) => reply.send(text(1)))
    app.get("/write", (_, reply) => reply.send(text(1)))
  } else {
    await app.register(fastifyCookie)
    await app.register(fastifySession, {
      secret,
      saveUninitialized: false,
      cookie: { secure: false },
      ...(sessions === "redis"
        ? { store: new ConnectRedis.RedisStore({ client: await redisClient(), prefix }) as never }
        : {})
    })
    app.get("/read", (request, reply) => reply.send(text((request.session as { visits?: number }).visits ?? 0)))
    app.get("/write", (request, reply) => {
      const data = request.session as { visits?: number }
      data.visits = (data.visits ?? 0) + 1
      return reply.send(text(data.visits))
    })
  }
  app.get("/untouched", (_, reply) => reply.send("untouched"))
  await app.listen({ port: 0, host: "127.0.0.1" })
  return app.server
}

/** Counts the statements that this process sends to PostgreSQL, by their first word. */
const countStatements = (): () => ReadonlyArray<readonly [word: string, count: number]> => {
  let counts = new Map<string, number>()
  const client = pg.Client.prototype as { query: (...args: Array<unknown>) => unknown }
  const { query } = client
  client.query = function(...args) {
    const [text] = args
    const word = /\w+/.exec(typeof text === "string" ? text : (text as { readonly text: string }).text)?.[0] ?? ""
    counts.set(word, (counts.get(word) ?? 0) + 1)
    return query.apply(this, args)
  }
  return () => {
    const taken = [...counts]
    counts = new Map()
    return taken
  }
}

const servers = { effect: effectServer, express: expressServer, fastify: fastifyServer }

if (process.send !== undefined) {
  const [, , framework, sessions, prefix = ""] = process.argv
  const server = await servers[framework as Framework](sessions as Sessions, prefix)
  const statements = sessions === "postgres" ? countStatements() : () => []
  serve(
    (server.address() as AddressInfo).port,
    (message) => message === "statements" ? statements() : process.cpuUsage()
  )
}
