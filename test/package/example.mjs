/**
 * Runs an example by its folder's name: `npm run example api`.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const mainOf = (name) => `${root}examples/${name}/main.ts`
const names = fs.readdirSync(`${root}examples`).filter((name) => fs.existsSync(mainOf(name)))
const [name] = process.argv.slice(2)

if (!names.includes(name)) {
  process.stderr.write(`Write one of these: ${names.map((name) => `npm run example ${name}`).join(", ")}\n`)
  process.exitCode = 1
} else {
  const child = spawn(process.execPath, ["--import", "tsx", mainOf(name)], { cwd: root, stdio: "inherit" })
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal))
  child.on("exit", (code) => process.exitCode = code ?? 1)
}
