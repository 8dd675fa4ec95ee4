/**
 * Runs the cluster through its faults, where there is a redis-server to start.
 */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { run } from "./main.js"

const say = (line: string): void => void process.stdout.write(`${line}\n`)

if (spawnSync("redis-server", ["--version"]).error !== undefined) {
  assert.notEqual(process.env["CI"], "true", "no redis-server to start")
  say("skipped: no redis-server to start")
} else {
  const { acknowledged, kept, repeated } = await run(say)
  say(`acknowledged ${acknowledged}, kept ${kept}; ${repeated} requests sent again`)
  assert.equal(acknowledged, 2000)
  assert.equal(kept, acknowledged)
  assert.ok(repeated > 0, "the faults were felt")
}
