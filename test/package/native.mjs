// Builds the native part of better-sqlite3, on which SqlStore is tested. `npm ci` runs no install scripts here, so it is
// done before the tests, once. Where neither a built file can be had nor a compiler is, the tests on it are skipped.
import { spawnSync } from "node:child_process"
import { createRequire } from "node:module"

const works = () => {
  try {
    new (createRequire(import.meta.url)("better-sqlite3"))(":memory:").close()
    return true
  } catch {
    return false
  }
}

if (!works()) {
  console.log("Building better-sqlite3 for the tests on SQLite. It is done once and can take two minutes.")
  spawnSync("npm rebuild better-sqlite3 --ignore-scripts=false", {
    shell: true,
    stdio: ["ignore", "ignore", "inherit"]
  })
  if (!works()) {
    console.log("better-sqlite3 could not be built. The tests on it are skipped.")
  }
}
