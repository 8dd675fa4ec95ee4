/**
 * Runs every example once: each folder of `examples` has a `smoke.ts` that starts the example, uses it as a visitor
 * would and exits with 0 within a minute.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const seconds = 60

/** Ends what is left of the example's own process group. */
const end = (child) => {
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch (error) {
    if (error.code !== "ESRCH") throw error
  }
}

const smoke = async (name) => {
  const file = path.join("examples", name, "smoke.ts")
  if (!fs.existsSync(path.join(root, file))) return `has no smoke.ts`
  const child = spawn(process.execPath, ["--import", "tsx", file], { cwd: root, detached: true, stdio: "inherit" })
  let late = false
  const timer = setTimeout(() => {
    late = true
    end(child)
  }, seconds * 1000)
  try {
    const [code, signal] = await once(child, "exit")
    return late ? `ran for more than ${seconds} s` : code === 0 ? undefined : `ended with ${code ?? signal}`
  } finally {
    clearTimeout(timer)
    end(child)
  }
}

const names = fs.readdirSync(path.join(root, "examples"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)
if (names.length === 0) throw new Error("no examples")

for (const name of names) {
  process.stdout.write(`> ${name}\n`)
  const failure = await smoke(name)
  if (failure !== undefined) {
    process.exitCode = 1
    process.stderr.write(`examples/${name} ${failure}\n`)
  }
}
