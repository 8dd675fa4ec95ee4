/**
 * What a million sessions in memory weigh, and for how long their sweep holds up everything else. Each candidate has a
 * process of its own (`memoryHolder.ts`), whose clock is set forward, so that no hour passes.
 */
import { scaled, table } from "./harness.js"
import { type Candidate, type Pause } from "./memoryHolder.js"
import { start } from "./processes.js"
import { standalone } from "./standalone.js"

const candidates: ReadonlyArray<{
  readonly candidate: Candidate
  readonly name: string
  readonly over: Candidate
}> = [
  { candidate: "records", name: "a Map of records, swept in slices", over: "records" },
  { candidate: "effect-session", name: "effect-session MemoryStore", over: "records" },
  { candidate: "texts", name: "a Map of JSON texts, swept in slices", over: "texts" },
  { candidate: "memorystore", name: "memorystore", over: "texts" },
  { candidate: "express-session", name: "express-session MemoryStore", over: "texts" }
]

const shown = ({ longest, total }: Pause): string =>
  `${longest < 100 ? longest.toFixed(1) : longest.toFixed(0)} of ${total.toFixed(0)}`

export const run = async (): Promise<string> => {
  const count = scaled(1_000_000, 1000)
  const weights = new Map<Candidate, number>()
  const rows: Array<Array<string>> = []
  for (const { candidate, name, over } of candidates) {
    const { peer } = await start("./memoryHolder.js", [candidate, String(count)])
    try {
      const bytes = await peer.ask("fill") as number
      const alive = await peer.ask("sweep with none expired") as Pause
      const used = await peer.ask("sweep with all used since") as Pause
      const expired = await peer.ask("sweep with all expired") as Pause
      if (expired.left > 0) throw new Error(`${name} kept ${expired.left} of the expired sessions`)
      if (alive.left !== 1 || used.left !== 1) throw new Error(`${name} dropped live sessions`)
      weights.set(candidate, bytes)
      rows.push([
        name,
        bytes.toFixed(0),
        `x${(bytes / (weights.get(over) ?? Number.NaN)).toFixed(2)}`,
        shown(alive),
        shown(used),
        shown(expired)
      ])
    } finally {
      await peer.stop()
    }
  }
  return table(
    [
      `${count.toLocaleString("en-US")} sessions`,
      "bytes each",
      "over a Map of the same",
      "longest pause, none expired, ms",
      "all used since, ms",
      "all expired, ms"
    ],
    rows
  )
}

await standalone(import.meta.url, run)
