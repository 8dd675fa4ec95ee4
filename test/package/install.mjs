/**
 * Installs what a folder with a package of its own needs, if that is not there yet, or is older than its lock file:
 * `node test/package/install.mjs test/bench`. So `npm ci` at the root stays small.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))

const modified = (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

for (const folder of process.argv.slice(2)) {
  const directory = path.join(root, folder)
  // npm writes this file when it is done
  const installed = modified(path.join(directory, "node_modules", ".package-lock.json"))
  if (installed < modified(path.join(directory, "package-lock.json"))) {
    process.stderr.write(`npm ci in ${folder}\n`)
    execFileSync("npm", ["ci"], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] })
  }
}
