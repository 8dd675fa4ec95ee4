/**
 * The imports of `src` point one way. Prints each circle of modules, type imports counted, and each import that enters a
 * room from one that must know nothing of it; any of either fails.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const src = fileURLToPath(new URL("../../src/", import.meta.url))

const modules = fs.readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll(path.sep, "/"))
  .filter((file) => file.endsWith(".ts"))
  .sort()

/** Every module that a module names: by import, export, `import()` or the type `import("...")`, as code or as types. */
const importsOf = (module) => {
  const { importedFiles } = ts.preProcessFile(fs.readFileSync(path.join(src, module), "utf8"), true, true)
  const found = importedFiles
    .filter(({ fileName }) => fileName.startsWith("."))
    .map(({ fileName }) => path.posix.join(path.posix.dirname(module), fileName.replace(/\.js$/, ".ts")))
  // what is not there the type check reports
  return [...new Set(found)].filter((file) => modules.includes(file)).sort()
}

const imports = new Map(modules.map((module) => [module, importsOf(module)]))

/** The sets of modules that all reach one another, by Tarjan; of one module alone only if it imports itself. */
const knots = () => {
  const index = new Map()
  const low = new Map()
  const stack = []
  const found = []
  const visit = (module) => {
    index.set(module, index.size)
    low.set(module, index.get(module))
    stack.push(module)
    for (const next of imports.get(module)) {
      if (!index.has(next)) visit(next)
      if (stack.includes(next)) low.set(module, Math.min(low.get(module), low.get(next)))
    }
    if (low.get(module) === index.get(module)) {
      const knot = stack.splice(stack.indexOf(module))
      if (knot.length > 1 || imports.get(module).includes(module)) found.push(knot.sort())
    }
  }
  for (const module of modules) if (!index.has(module)) visit(module)
  return found
}

/** The shortest way from a module back to itself inside a knot. */
const circle = (knot, start) => {
  const ways = [[start]]
  const seen = new Set()
  for (const way of ways) {
    for (const next of imports.get(way.at(-1))) {
      if (next === start) return [...way, start]
      if (!knot.includes(next) || seen.has(next)) continue
      seen.add(next)
      ways.push([...way, next])
    }
  }
}

/** One circle through each module of each knot; those that pass through the same modules count once. */
const circles = new Map(
  knots().flatMap((knot) =>
    knot.map((module) => circle(knot, module)).map((way) => [[...new Set(way)].sort().join(), way])
  )
)

/**
 * The room of a module: its folder under `internal`. A public module is in the room of what it is: a store, a state, the
 * session, the middleware; the others are nobody's in particular.
 */
const roomOf = (module) => {
  const [, internal] = /^internal\/([^/]+)\//.exec(module) ?? []
  if (internal !== undefined) return internal === "cookie" ? "state" : internal.endsWith("Store") ? "store" : internal
  if (/Store(?:Backend)?\.ts$/.test(module)) return "store"
  if (/State\.ts$/.test(module)) return "state"
  if (/^(?:Session|SessionField)\.ts$/.test(module)) return "session"
  return module === "HttpMiddleware.ts" ? "http" : "shared"
}

/** What a module of a room may not import, and why. */
const rules = [
  {
    rooms: ["runtime", "crypto"],
    allowed: (room) => room === "runtime" || room === "crypto",
    why: "what runs effects and what hashes know nothing of sessions"
  },
  {
    rooms: ["store"],
    // how an error of its own is answered, the error says
    allowed: (room, module) =>
      module === "internal/http/respondable.ts" || (room !== "http" && room !== "session" && room !== "state"),
    why: "a store knows nothing of requests, sessions and cookies"
  },
  {
    rooms: ["state"],
    allowed: (room) => room !== "store",
    why: "a state knows nothing of stores"
  }
]

const failures = [...circles.values()].map((way) => `circle: ${way.join(" -> ")}`)
for (const [module, found] of imports) {
  for (const next of found) {
    for (const { allowed, rooms, why } of rules) {
      if (rooms.includes(roomOf(module)) && !allowed(roomOf(next), next)) {
        failures.push(`${module} imports ${next}: ${why}`)
      }
    }
  }
}

for (const failure of failures) process.stderr.write(`${failure}\n`)
process.stdout.write(
  `${modules.length} modules, ${failures.length === 0 ? "no circle" : `${failures.length} failures`}\n`
)
process.exitCode = failures.length === 0 ? 0 : 1
