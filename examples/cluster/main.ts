/**
 * More than one machine, on one: three processes behind a round-robin proxy, one Redis that syncs every write. 200 users
 * log in and count; meanwhile a process is killed, and Redis is killed and started again. Whatever a user was told had
 * landed must be there in the end, and nobody is logged out.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, request } from "node:http"
import { type AddressInfo, createConnection, createServer as createSocketServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"

export interface Report {
  readonly users: number
  readonly acknowledged: number
  readonly kept: number
  /** Requests that were answered with an error, or not at all, and sent again. */
  readonly repeated: number
}

const freePort = async (): Promise<number> => {
  const probe = createSocketServer().listen(0, "127.0.0.1")
  await once(probe, "listening")
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, "close")
  return port
}

const accepts = async (port: number): Promise<boolean> => {
  const socket = createConnection(port, "127.0.0.1")
  try {
    await once(socket, "connect")
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

const untilAccepting = async (port: number, child: ChildProcess): Promise<void> => {
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`a process ended with ${child.exitCode}`)
    await pause(50)
  }
}

const startRedis = async (port: number, directory: string): Promise<ChildProcess> => {
  const options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
  const child = spawn("redis-server", ["--port", String(port), "--dir", directory, ...options], { stdio: "ignore" })
  await once(child, "spawn")
  await untilAccepting(port, child)
  return child
}

const startServer = async (port: number, redis: number): Promise<ChildProcess> => {
  const main = fileURLToPath(new URL("./server.ts", import.meta.url))
  const child = spawn(process.execPath, ["--import", "tsx", main], {
    env: { ...process.env, PORT: String(port), REDIS_URL: `redis://127.0.0.1:${redis}` },
    stdio: "ignore"
  })
  await untilAccepting(port, child)
  return child
}

const kill = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL")
    await once(child, "exit")
  }
}

/** Hands each request to the next process in turn; a process that does not answer is a 502. */
const startProxy = async (
  ports: ReadonlyArray<number>
): Promise<{ readonly port: number; readonly close: () => void }> => {
  let turn = 0
  const proxy = createServer((incoming, outgoing) => {
    const port = ports[turn++ % ports.length]
    const { headers, method, url: path } = incoming
    const onward = request({ host: "127.0.0.1", port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      pipeline(answer, outgoing, () => undefined)
    })
    onward.on("error", () => outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end())
    incoming.pipe(onward)
  }).listen(0, "127.0.0.1")
  await once(proxy, "listening")
  return {
    port: (proxy.address() as AddressInfo).port,
    close: () => {
      proxy.closeAllConnections()
      proxy.close()
    }
  }
}

const users = 200
const additions = 10

/** One user: logs in and counts, each step sent again until it is acknowledged. */
class User {
  cookie = ""
  acknowledged = 0
  repeated = 0

  constructor(readonly name: string, readonly base: string) {}

  async send(method: string, path: string): Promise<Response> {
    const deadline = Date.now() + 30_000
    while (Date.now() < deadline) {
      const response = await fetch(`${this.base}${path}`, { method, headers: { cookie: this.cookie } })
        .catch(() => new Response(null, { status: 502 }))
      if (response.ok) {
        this.cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? this.cookie
        return response
      }
      if (response.status < 500) throw new Error(`${this.name}: ${response.status} for ${method} ${path}`)
      await response.arrayBuffer()
      this.repeated++
      await pause(50)
    }
    throw new Error(`${this.name}: no acknowledgement for ${method} ${path}`)
  }

  async run(progress: () => void): Promise<void> {
    await this.send("POST", `/login?user=${this.name}`)
    for (let number = 1; number <= additions; number++) {
      await this.send("POST", `/add?number=${number}`)
      this.acknowledged++
      progress()
    }
  }

  async kept(): Promise<number> {
    const shown = await (await this.send("GET", "/")).json() as { readonly user: string; readonly count: number }
    if (shown.user !== this.name) throw new Error(`${this.name} is shown the session of ${shown.user}`)
    return shown.count
  }
}

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)

export const run = async (say: (line: string) => void): Promise<Report> => {
  const directory = await mkdtemp(join(tmpdir(), "effect-session-cluster-"))
  const children: Array<ChildProcess> = []
  const started = async (child: Promise<ChildProcess>): Promise<ChildProcess> => {
    const running = await child
    children.push(running)
    return running
  }
  const redisPort = await freePort()
  const ports = [await freePort(), await freePort(), await freePort()]
  let proxy: { readonly port: number; readonly close: () => void } | undefined
  try {
    let redis = await started(startRedis(redisPort, directory))
    const servers = await Promise.all(ports.map((port) => started(startServer(port, redisPort))))
    proxy = await startProxy(ports)
    say(`three processes behind http://127.0.0.1:${proxy.port}, Redis on ${redisPort}`)

    const base = `http://127.0.0.1:${proxy.port}`
    const crowd = Array.from({ length: users }, (_, index) => new User(`user${index}`, base))
    let landed = 0
    const faults: Array<Promise<void>> = []
    const progress = (): void => {
      landed++
      if (landed === users * additions / 4) {
        say("a process is killed")
        faults.push(kill(servers[1] as ChildProcess))
      }
      if (landed === users * additions / 2) {
        say("Redis is killed, and started again")
        faults.push(
          kill(redis).then(async () => {
            redis = await started(startRedis(redisPort, directory))
          })
        )
      }
    }
    await Promise.all(crowd.map((user) => user.run(progress)))
    await Promise.all(faults)
    const kept: Array<number> = []
    for (const user of crowd) kept.push(await user.kept())
    return {
      users,
      acknowledged: sum(crowd.map((user) => user.acknowledged)),
      kept: sum(kept),
      repeated: sum(crowd.map((user) => user.repeated))
    }
  } finally {
    proxy?.close()
    await Promise.all(children.map(kill))
    await rm(directory, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const { acknowledged, kept, repeated, users } = await run(say)
  say(`${users} users; ${repeated} requests sent again; acknowledged ${acknowledged}, kept ${kept}`)
  process.exitCode = acknowledged === kept ? 0 : 1
}
