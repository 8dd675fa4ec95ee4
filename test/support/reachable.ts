/**
 * Whether a server of the tests answers.
 */
import { spawnSync } from "node:child_process"

/** Whether anything listens at a URL. */
export const isReachable = (url: string, defaultPort: number): boolean => {
  const { hostname, port } = new URL(url)
  const script = `require("node:net").connect(${
    Number(port || defaultPort)
  }, "${hostname}", () => process.exit(0)).on("error", () => process.exit(1))`
  return spawnSync(process.execPath, ["-e", script], { timeout: 5000 }).status === 0
}
