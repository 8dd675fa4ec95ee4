/**
 * `npm run chaos -- <store> [minutes]`: hammers a store, or `all` of them, while faults happen, and prints what came of
 * it. Exits with 1 if a store broke a promise, or if nothing could be done with it.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Exit } from "effect"
import * as report from "./report.js"
import { run } from "./run.js"
import { targets } from "./targets.js"

const [name = "", minutes = "1"] = process.argv.slice(2)
const chosen = targets.filter((target) => name === "all" || target.name === name)
const duration = Number(minutes) * 60_000

const print = (text: string) => process.stdout.write(`${text}\n`)

if (chosen.length === 0 || !(duration > 0)) {
  print(`usage: npm run chaos -- <store> [minutes]\nstores: all, ${targets.map(({ name }) => name).join(", ")}`)
  process.exit(2)
}

const program = Effect.forEach(chosen, (target) =>
  Effect.gen(function*() {
    const missing = yield* target.missing
    if (missing !== undefined) {
      print(`${target.name}: skipped, ${missing}`)
      return false
    }
    const outcome = yield* run(target, {
      duration,
      workers: 4,
      fibers: 3,
      sessions: 4,
      pace: { clients: 1500, servers: 700 }
    })
    print(report.line(outcome))
    report.details(outcome).forEach(print)
    return report.isBroken(outcome) || report.acknowledged(outcome) === 0
  }))

const exiting = Effect.flatMap(
  program,
  (failures) => failures.some((failed) => failed) ? Effect.fail("a store failed") : Effect.void
)

// when it is interrupted, it ends its servers and unmounts its disk all the same
NodeRuntime.runMain(exiting, {
  disableErrorReporting: true,
  teardown: (exit) => process.exit(Exit.isSuccess(exit) ? 0 : 1)
})
