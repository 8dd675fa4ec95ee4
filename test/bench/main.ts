/**
 * All benchmarks, one after the other, each in a process of its own: `npm run bench`, or some of them:
 * `npm run bench -- inProcess memory`. With `--write`, the figures become `test/bench/README.md`.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { arch, availableParallelism, cpus, loadavg, platform, totalmem } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { standalone } from "./standalone.js"

interface Section {
  readonly name: string
  readonly title: string
  readonly text: string
}

const sections: ReadonlyArray<Section> = [
  {
    name: "inProcess",
    title: "One request, in process",
    text: `A request and a response through the web handler, no sockets, sessions in memory: \`us\` is processor time a
request. This is the closest look at what the middleware itself costs, since everything around it is as cheap as it gets.
*untouched* is a handler that never asks for its session, *read* asks for a field, *add 1* changes it, *new visitor* changes
it without a cookie, so that a session begins. *Sealed* is with \`SealedStore\`, the data in the cookie. *By hand* is what
one would write without a library: a map by hashed token and a cookie, with none of what the library promises.`
  },
  {
    name: "loopback",
    title: "End to end on loopback",
    text:
      `A server process and a client process, 16 connections, each a visitor with a session of their own. *share kept*
is requests a second over those of the same framework without sessions, so the frameworks' own speeds cancel out: 1.00 would
be sessions for nothing. Server CPU is the steadier figure, since client and server share the machine. express-session and
\`@fastify/session\` keep theirs in their own memory stores, \`@fastify/secure-session\` in the cookie.

Goals: share kept 0.85 (read), 0.82 (write).`
  },
  {
    name: "memory",
    title: "A million sessions in memory",
    text:
      `Bytes are heap after collection, over a bare \`Map\` of the same content: records for ours, JSON texts for the
peers, which keep texts. The sweeps run beside a loop that notes when it gets its turn: *7.0 of 900* is a sweep of 900 ms
during which nothing else waited longer than 7.0 ms. *None expired* is the usual case; *all used since* has every session's
first deadline pass, but each was used in between; *all expired* drops them all. The maps are swept 500 at a time.
express-session's MemoryStore has no sweep of its own: its \`all()\` is what drops expired sessions.

Goals: x1.30; 1 ms none expired, 15 ms all expired.`
  },
  {
    name: "file",
    title: "Sessions in files",
    text: `At the store, 16 lanes, over what \`node:fs\` alone takes: a write aside and a rename, or a read and a
\`JSON.parse\`. FileStore's figures have compare-and-set across processes in them, which neither of the others has;
session-file-store always waits for the disk (fsync), so it is to be compared with \`durability: "fsync"\`, which also syncs
the folder. Time counts where a disk is waited for, processor time where it is not.`
  },
  {
    name: "sweep",
    title: "The sweep of many files",
    text:
      `A process that has a FileStore on a folder of live sessions and nothing else to do, minute by minute. The sweep
begins after the first minute, and then goes through the folder again and again. CPU is that of the whole process, the
file system's threads counted.

Goals: 2 % of a core; 15 ms.`
  },
  {
    name: "redis",
    title: "Sessions in Redis",
    text: `Commands a request as MONITOR sees them, what a script does inside the server not counted. Then the same
measurement as on loopback above, every store on the same Redis, its own processor time not counted. connect-redis is also
the store under \`@fastify/session\`; it writes the whole session and has no compare-and-set.

Goals: commands 1 / 2 / 0 / 0 for read, write, untouched and anonymous.`
  },
  {
    name: "sql",
    title: "Sessions in a database",
    text:
      `Statements a request as the driver is handed them, and the same measurement as of Redis above, every store on the
same PostgreSQL, its own processor time not counted. connect-pg-simple has no compare-and-set, and writes the deadline of a
session whenever it is looked at. Then the store alone over the bare driver on SQLite and MariaDB: a SELECT for a read, a
SELECT and an UPDATE to add 1, each with the JSON of the session.

Goals: statements 1 / 2 / 0 for read, write and untouched; on PostgreSQL not more us over bare than connect-pg-simple.`
  },
  {
    name: "seal",
    title: "Sealed sessions",
    text: `To make a token of a session and a session of a token, where the token holds the data (\`SealedStore\`), over
Node's own AES-256-GCM: first text alone, then the session, with each one's JSON and checks.

Goals at 1 KB, for the session: x1.50 to seal, x2.00 to open.`
  }
]

const packages: ReadonlyArray<string> = [
  "effect",
  "@effect/platform",
  "@effect/platform-node",
  "express",
  "express-session",
  "connect-redis",
  "connect-pg-simple",
  "memorystore",
  "session-file-store",
  "fastify",
  "@fastify/session",
  "@fastify/secure-session",
  "redis",
  "@effect/sql",
  "pg",
  "better-sqlite3",
  "mysql2",
  "iron-session",
  "jose"
]

const root = process.env["BENCH_ROOT"] ?? "."

/** The benchmarks' own packages, before those that they share with the library. */
const folders = [join(root, "test", "bench"), root]

const versionOf = (name: string): string => {
  const file = folders.map((folder) => join(folder, "node_modules", name, "package.json")).find(existsSync)
  if (file === undefined) throw new Error(`${name} is not installed`)
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string }
  return `${name} ${version}`
}

const output = async ({ name }: Section): Promise<string> => {
  const child = spawn(
    process.execPath,
    ["--expose-gc", fileURLToPath(new URL(`./${name}.js`, import.meta.url))],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  process.once("exit", () => child.kill())
  let text = ""
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk
  })
  const [code] = await once(child, "close")
  if (code !== 0) throw new Error(`${name} ended with ${code}`)
  return text.trim()
}

const load = (): string => (loadavg()[0] ?? 0).toFixed(1)

const run = async (): Promise<string> => {
  const args = process.argv.slice(2)
  const names = args.filter((arg) => arg !== "--write")
  const unknown = names.filter((name) => sections.every((section) => section.name !== name))
  if (unknown.length > 0) {
    throw new Error(`no section ${unknown.join(", ")}: there are ${sections.map(({ name }) => name).join(", ")}`)
  }
  const write = args.includes("--write")
  if (write && names.length > 0) throw new Error("--write takes no sections: the file is written whole")
  const chosen = names.length === 0 ? sections : sections.filter(({ name }) => names.includes(name))

  const began = Date.now()
  const before = load()
  const parts: Array<string> = []
  for (const section of chosen) {
    process.stderr.write(`${section.name} ...\n`)
    const start = Date.now()
    const text = await output(section)
    process.stderr.write(`${section.name}: ${((Date.now() - start) / 1000).toFixed(0)} s\n`)
    parts.push(`## ${section.title}\n\n\`npm run bench -- ${section.name}\`. ${section.text}\n\n${text}`)
  }

  const scale = process.env["BENCH_SCALE"]
  const document = [
    "# Benchmarks",
    "What sessions cost, over the same without sessions, and beside others that do the same.",
    `\`npm run bench\`${write ? " (`npm run bench -- --write` wrote this file)" : ""}, ${
      new Date(began).toISOString().slice(0, 10)
    }, ${((Date.now() - began) / 1000).toFixed(0)} s, on ${availableParallelism()} cores of ${
      cpus()[0]?.model.trim() ?? "an unknown processor"
    }, ${
      (totalmem() / 2 ** 30).toFixed(0)
    } GB, ${platform()} ${arch()}. Load average ${before} before, ${load()} after: \
above the number of cores, something else was running.`,
    ...(scale === undefined || scale === "1" ? [] : [`**All sizes times ${scale}: these figures mean nothing.**`]),
    `Node ${process.versions.node}, ${packages.map(versionOf).join(", ")}.`,
    `How to read them: candidates take turns in one run, in an order that changes from round to round. A ratio (\`x1.25\`) is
taken within a round, and is the median over the rounds; behind it stand the quartiles. Compare ratios, not times: times
are this machine's. Where the quartiles of two candidates overlap, the run doesn't tell them apart. The benchmarks run
compiled as the package is, with \`NODE_ENV=production\`. \`BENCH_SCALE=0.05\` shrinks every size, to see that all of it works.`,
    ...parts
  ].join("\n\n")
  if (write) writeFileSync(join(root, "test", "bench", "README.md"), `${document}\n`)
  return document
}

await standalone(import.meta.url, run)
