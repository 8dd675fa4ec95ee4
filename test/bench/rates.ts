/**
 * Compares servers by the requests that they answer, each with the bare server of its own framework.
 */
import { compare, type Options, scaled, type Spread } from "./harness.js"
import type { Load, Loaded } from "./load.js"
import { type Peer, start } from "./processes.js"
import type { Framework, Sessions } from "./server.js"

export interface Subject {
  readonly name: string
  readonly framework: Framework
  readonly sessions: Exclude<Sessions, "none">
}

export interface Running {
  readonly port: number
  readonly peer: Peer
}

/** How a client asks. */
export interface Crowd {
  readonly connections: number
  readonly visitors: number
}

/** Has the client make requests; fails where any was not answered with 200. */
export const ask = async (client: Peer, load: Load): Promise<Loaded> => {
  const loaded = await client.ask(load) as Loaded
  if (loaded.failed > 0) {
    throw new Error(`${loaded.failed} of ${load.requests} requests to ${load.path} failed: ${loaded.body}`)
  }
  return loaded
}

/** Runs with a client and the servers, by name; bare ones are named as their framework. All are ended after. */
export const withServers = async <A>(
  subjects: ReadonlyArray<Subject>,
  prefix: string,
  { connections, visitors }: Crowd,
  use: (client: Peer, servers: ReadonlyMap<string, Running>) => Promise<A>
): Promise<A> => {
  const servers = new Map<string, Running>()
  const { peer: client } = await start("./load.js")
  const add = async (name: string, args: ReadonlyArray<string>): Promise<void> => {
    const { first, peer } = await start("./server.js", args)
    servers.set(name, { port: Number(first), peer })
  }
  try {
    for (const framework of new Set(subjects.map(({ framework }) => framework))) {
      await add(framework, [framework, "none"])
    }
    for (const { framework, name, sessions } of subjects) {
      await add(name, [framework, sessions, `${prefix}${framework}:`])
    }
    for (const { port } of servers.values()) {
      // Every visitor begins a session, so that what is measured after is a visit of one who has been here.
      await ask(client, { port, path: "/write", connections, visitors, requests: Math.max(visitors, scaled(500)) })
    }
    return await use(client, servers)
  } finally {
    await Promise.all([client, ...[...servers.values()].map(({ peer }) => peer)].map((peer) => peer.stop()))
  }
}

export const paths = ["untouched", "read", "write"] as const

/** The bare server a second time: how far two figures of the same lie apart. */
const again = "the same again"

export interface Rate {
  readonly name: string
  readonly path: (typeof paths)[number] | typeof again
  /** Requests a second of the bare server, and of this one. */
  readonly bare: number
  readonly own: number
  /** Which share of the bare server's requests a second is kept. */
  readonly kept: Spread
  /** Microseconds of the server's processor time a request, and over the bare server's. */
  readonly cpu: number
  /** Microseconds more than the bare server's. */
  readonly more: number
  readonly cpuRatio: Spread
}

export const rates = async (
  subjects: ReadonlyArray<Subject>,
  client: Peer,
  servers: ReadonlyMap<string, Running>,
  { connections, visitors }: Crowd,
  options: Options
): Promise<ReadonlyArray<Rate>> => {
  const turn = (name: string, path: string) => async (requests: number) => {
    const server = servers.get(name)
    if (server === undefined) throw new Error(`no server ${name}`)
    const before = await server.peer.ask("usage") as NodeJS.CpuUsage
    const { millis } = await ask(client, { port: server.port, path: `/${path}`, connections, visitors, requests })
    const after = await server.peer.ask("usage") as NodeJS.CpuUsage
    return {
      cpu: (after.user - before.user + after.system - before.system) / requests,
      wall: millis * 1000 / requests
    }
  }
  const frameworks = [...new Set(subjects.map(({ framework }) => framework))]
  const compared = await compare(
    [
      ...frameworks.flatMap((name) => [
        { name, over: name, turn: turn(name, "read") },
        { name: `${name} ${again}`, over: name, turn: turn(name, "read") }
      ]),
      ...subjects.flatMap(({ framework, name }) =>
        paths.map((path) => ({ name: `${name} ${path}`, over: framework, turn: turn(name, path) }))
      )
    ],
    options
  )
  const found = new Map(compared.map((one) => [one.name, one]))
  const of = (name: string) => {
    const one = found.get(name)
    if (one === undefined) throw new Error(`no figures for ${name}`)
    return one
  }
  const rate = (framework: string, name: string, path: Rate["path"]): Rate => {
    const { cpu, cpuRatio, wall, wallRatio } = of(`${name} ${path}`)
    return {
      name,
      path,
      bare: 1e6 / of(framework).wall.median,
      own: 1e6 / wall.median,
      kept: { low: 1 / wallRatio.high, median: 1 / wallRatio.median, high: 1 / wallRatio.low },
      cpu: cpu.median,
      more: cpu.median - of(framework).cpu.median,
      cpuRatio
    }
  }
  return [
    ...frameworks.map((framework) => rate(framework, framework, again)),
    ...subjects.flatMap(({ framework, name }) => paths.map((path) => rate(framework, name, path)))
  ]
}

export const rateHead: ReadonlyArray<string> = [
  "sessions",
  "request",
  "bare requests/s",
  "requests/s",
  "share kept",
  "server CPU, us",
  "over bare, us",
  "CPU over bare"
]

export const rateRow = ({ bare, cpu, cpuRatio, kept, more, name, own, path }: Rate): ReadonlyArray<string> => [
  name,
  path,
  bare.toFixed(0),
  own.toFixed(0),
  `${kept.median.toFixed(2)} (${kept.low.toFixed(2)} to ${kept.high.toFixed(2)})`,
  cpu.toFixed(0),
  `${more < 0 ? "" : "+"}${more.toFixed(0)}`,
  `x${cpuRatio.median.toFixed(2)} (${cpuRatio.low.toFixed(2)} to ${cpuRatio.high.toFixed(2)})`
]
