/**
 * Where the tests' PostgreSQL is, and whether it answers.
 */
import { spawnSync } from "node:child_process"

export const databaseUrl = process.env["DATABASE_URL"] ?? "postgres://root@127.0.0.1:5432/test"

const answers = (url: string): boolean => {
  const { hostname, port } = new URL(url)
  const script = `require("node:net").connect(${
    Number(port || 5432)
  }, "${hostname}", () => process.exit(0)).on("error", () => process.exit(1))`
  return spawnSync(process.execPath, ["-e", script], { timeout: 5000 }).status === 0
}

/** With CI=true the tests run, and fail, where there is none. */
export const databaseMissing = process.env["CI"] !== "true" && !answers(databaseUrl)

/** The title of a suite that needs PostgreSQL. */
export const databaseTitle = (title: string): string =>
  databaseMissing ? `skipped: no PostgreSQL at ${databaseUrl}` : title
