/**
 * Processor time, of all threads of the process, so that a neighbour's load counts little and the collector's work counts
 * in full. Interleaved rounds: every candidate runs once a round, in an order that turns, so that a machine whose speed drifts
 * slows all alike. What is compared is the ratio within a round; what is reported is the median over rounds.
 */
export interface Candidate {
  readonly name: string
  readonly run: () => Promise<unknown>
}

export interface Measured {
  readonly name: string
  /** Microseconds of processor time a call, the median over rounds. */
  readonly micros: number
  /** Over the first candidate, the median of the rounds' ratios. */
  readonly ratio: number
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

export const interleave = async (
  candidates: ReadonlyArray<Candidate>,
  { calls, rounds, warmup = 3 }: { readonly rounds: number; readonly calls: number; readonly warmup?: number }
): Promise<ReadonlyArray<Measured>> => {
  const times = candidates.map((): Array<number> => [])
  for (let round = -warmup; round < rounds; round++) {
    for (let turn = 0; turn < candidates.length; turn++) {
      const index = (turn + Math.abs(round)) % candidates.length
      const candidate = candidates[index]
      if (candidate === undefined) continue
      const start = process.cpuUsage()
      for (let call = 0; call < calls; call++) await candidate.run()
      const { system, user } = process.cpuUsage(start)
      const micros = (user + system) / calls
      if (round >= 0) times[index]?.push(micros)
    }
  }
  const base = times[0] ?? []
  return candidates.map(({ name }, index) => {
    const own = times[index] ?? []
    return { name, micros: median(own), ratio: median(own.map((time, round) => time / (base[round] ?? Number.NaN))) }
  })
}

export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")
