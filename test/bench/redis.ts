/**
 * What sessions in Redis cost: the commands that a request sends, as MONITOR sees them, and the requests a second that are
 * left, over each framework's own bare rate. Keys have a prefix of their own, and are deleted after.
 */
import { createClient } from "redis"
import { scaled, table } from "./harness.js"
import type { Peer } from "./processes.js"
import { ask, paths, rateHead, rateRow, rates, type Running, type Subject, withServers } from "./rates.js"
import { standalone } from "./standalone.js"

const redisUrl = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379"

const subjects: ReadonlyArray<Subject> = [
  { name: "effect-session, RedisStore by redis", framework: "effect", sessions: "redis" },
  { name: "effect-session, RedisStore by ioredis", framework: "effect", sessions: "ioredis" },
  { name: "express-session, connect-redis", framework: "express", sessions: "redis" },
  { name: "@fastify/session, connect-redis", framework: "fastify", sessions: "redis" }
]

/** Each request is another visitor's, as in production. */
const crowd = { connections: 64, visitors: scaled(10_000, 64) }

const connect = () =>
  createClient({ url: redisUrl, socket: { reconnectStrategy: false } }).on("error", () => {}).connect()

type Client = Awaited<ReturnType<typeof connect>>

/** Counts the commands that name the prefix: those a client sent, without what a script of its runs in the server. */
const watch = async (client: Client, prefix: string) => {
  const marker = `${prefix}marker`
  const monitor = await connect()
  let counts = new Map<string, number>()
  let marked = (): void => {}
  await monitor.monitor((line) => {
    const found = /^[\d.]+ \[\d+ (\S+)\] "([^"]+)"/.exec(String(line))
    if (found === null || found[1] === "lua" || !String(line).includes(prefix)) return
    if (String(line).includes(marker)) return marked()
    const command = (found[2] ?? "").toUpperCase()
    counts.set(command, (counts.get(command) ?? 0) + 1)
  })
  return {
    /** What was sent since the last time. Commands come in order, so a marker that has come is behind all others. */
    take: async (): Promise<ReadonlyMap<string, number>> => {
      const seen = new Promise<void>((resolve) => {
        marked = resolve
      })
      await client.echo(marker)
      await seen
      const taken = counts
      counts = new Map()
      return taken
    },
    close: () => monitor.destroy()
  }
}

const requests = 20

const commands = async (
  redis: Client,
  prefix: string,
  client: Peer,
  servers: ReadonlyMap<string, Running>
): Promise<string> => {
  const { close, take } = await watch(redis, prefix)
  try {
    const rows: Array<Array<string>> = []
    for (const { name } of subjects) {
      const port = servers.get(name)?.port ?? 0
      const row = [name]
      for (const [path, anonymous] of [...paths.map((path) => [path, false] as const), ["read", true] as const]) {
        await take()
        await ask(client, { port, path: `/${path}`, connections: 1, requests, anonymous })
        const sent = [...await take()].map(([command, count]) => `${command} ${count / requests}`)
        row.push(sent.length === 0 ? "none" : sent.join(", "))
      }
      rows.push(row)
    }
    return table(["commands a request", ...paths, "read, no cookie"], rows)
  } finally {
    close()
  }
}

const tidy = async (redis: Client, prefix: string): Promise<void> => {
  for await (const keys of redis.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
    if (keys.length > 0) await redis.unlink(keys)
  }
}

export const run = async (): Promise<string> => {
  let redis: Client
  try {
    redis = await connect()
  } catch {
    if (process.env["CI"] === "true") throw new Error(`no Redis at ${redisUrl}`)
    return `skipped: no Redis at ${redisUrl}`
  }
  const prefix = `effect-session-bench-${process.pid}:`
  try {
    return await withServers(subjects, prefix, crowd, async (client, servers) => {
      const sent = await commands(redis, prefix, client, servers)
      const measured = await rates(subjects, client, servers, crowd, { rounds: 9, calls: 1500, warmup: 2 })
      return `${sent}\n\n${table(rateHead, measured.map(rateRow))}`
    })
  } finally {
    await tidy(redis, prefix)
    await redis.close()
  }
}

await standalone(import.meta.url, run)
