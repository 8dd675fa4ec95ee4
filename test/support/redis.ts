/**
 * Where the tests' Redis is, and whether it answers.
 */
import { spawnSync } from "node:child_process"

export const redisUrl = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379"

const answers = (url: string): boolean => {
  const { hostname, port } = new URL(url)
  const script = `require("node:net").connect(${
    Number(port || 6379)
  }, "${hostname}", () => process.exit(0)).on("error", () => process.exit(1))`
  return spawnSync(process.execPath, ["-e", script], { timeout: 5000 }).status === 0
}

/** With CI=true the tests run, and fail, where there is none. */
export const redisMissing = process.env["CI"] !== "true" && !answers(redisUrl)

/** The title of a suite that needs Redis. */
export const redisTitle = (title: string): string => redisMissing ? `skipped: no Redis at ${redisUrl}` : title
