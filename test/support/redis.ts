/**
 * Where the tests' Redis is, and whether it answers.
 */
import { isReachable } from "./reachable.js"

export const redisUrl = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379"

/** With CI=true the tests run, and fail, where there is none. */
export const redisMissing = process.env["CI"] !== "true" && !isReachable(redisUrl, 6379)

/** The title of a suite that needs Redis. */
export const redisTitle = (title: string): string => redisMissing ? `skipped: no Redis at ${redisUrl}` : title
