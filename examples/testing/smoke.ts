/**
 * Runs the example's tests.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs")
const run = spawn(process.execPath, [vitest, "run", "examples/testing"], { stdio: "inherit" })
const [code] = await once(run, "exit")
process.exitCode = code === 0 ? 0 : 1
