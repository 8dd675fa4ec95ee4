/**
 * What sessions cost end to end: a server process and a client process on loopback, sessions in memory (or, for
 * `@fastify/secure-session`, in the cookie), over the same framework without sessions.
 */
import { table } from "./harness.js"
import { rateHead, rateRow, rates, type Subject, withServers } from "./rates.js"
import { standalone } from "./standalone.js"

const subjects: ReadonlyArray<Subject> = [
  { name: "effect-session", framework: "effect", sessions: "memory" },
  { name: "express-session", framework: "express", sessions: "memory" },
  { name: "@fastify/session", framework: "fastify", sessions: "memory" },
  { name: "@fastify/secure-session", framework: "fastify", sessions: "sealed" }
]

const crowd = { connections: 16, visitors: 16 }

export const run = (): Promise<string> =>
  withServers(subjects, "", crowd, async (client, servers) => {
    const measured = await rates(subjects, client, servers, crowd, { rounds: 9, calls: 2000, warmup: 2 })
    return table(rateHead, measured.map(rateRow))
  })

await standalone(import.meta.url, run)
