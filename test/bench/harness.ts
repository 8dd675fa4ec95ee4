/**
 * Interleaved rounds: every candidate runs once a round, in an order that turns, so that a machine whose speed drifts
 * slows all alike. What is compared is the ratio within a round; what is reported is the median over rounds, with the
 * quartiles, which tell how far to trust it.
 *
 * Processor time is that of all threads of the process, so that a neighbour's load counts little and the collector's work
 * counts in full. The time on the wall is measured too, for what waits: a disk, a socket.
 *
 * `BENCH_SCALE=0.05` shrinks all sizes, to see that a benchmark works; its figures mean nothing.
 */
import { setImmediate as turn } from "node:timers/promises"

/** Microseconds a call. */
export interface Sample {
  readonly cpu: number
  readonly wall: number
}

export interface Contender {
  readonly name: string
  /** The name of the contender it is compared with. Default: the first. */
  readonly over?: string
  /** Makes that many calls. */
  readonly turn: (calls: number) => Promise<Sample>
}

export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

export interface Compared {
  readonly name: string
  readonly cpu: Spread
  readonly wall: Spread
  /** Over the contender it is compared with, in the same round. */
  readonly cpuRatio: Spread
  readonly wallRatio: Spread
}

export interface Options {
  readonly rounds: number
  readonly calls: number
  readonly warmup?: number
}

const scale = Number(process.env["BENCH_SCALE"] ?? "1")
if (!(scale > 0)) {
  throw new RangeError("BENCH_SCALE: write a number above zero, such as 0.05")
}

/** A size as asked for by BENCH_SCALE. */
export const scaled = (size: number, least = 1): number => Math.max(least, Math.round(size * scale))

export const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (part: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
  return { low: at(0.25), median: at(0.5), high: at(0.75) }
}

/** The samples of each contender, by round. */
export const sample = async (
  contenders: ReadonlyArray<Contender>,
  options: Options
): Promise<ReadonlyArray<ReadonlyArray<Sample>>> => {
  const calls = scaled(options.calls)
  const rounds = scale < 1 ? scaled(options.rounds, 3) : options.rounds
  const warmup = scale < 1 ? 1 : options.warmup ?? 3
  const samples = contenders.map((): Array<Sample> => [])
  for (let round = -warmup; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const index = (turn + Math.abs(round)) % contenders.length
      const one = await contenders[index]?.turn(calls)
      if (round >= 0 && one !== undefined) samples[index]?.push(one)
    }
  }
  return samples
}

export const summarize = (
  contenders: ReadonlyArray<Pick<Contender, "name" | "over">>,
  samples: ReadonlyArray<ReadonlyArray<Sample>>
): ReadonlyArray<Compared> =>
  contenders.map(({ name, over }, index) => {
    const own = samples[index] ?? []
    const base = samples[over === undefined ? 0 : contenders.findIndex((contender) => contender.name === over)] ?? []
    const ratios = (part: keyof Sample): Spread =>
      spread(own.map((sample, round) => sample[part] / (base[round]?.[part] ?? Number.NaN)))
    return {
      name,
      cpu: spread(own.map((sample) => sample.cpu)),
      wall: spread(own.map((sample) => sample.wall)),
      cpuRatio: ratios("cpu"),
      wallRatio: ratios("wall")
    }
  })

export const compare = async (
  contenders: ReadonlyArray<Contender>,
  options: Options
): Promise<ReadonlyArray<Compared>> => summarize(contenders, await sample(contenders, options))

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
  readonly compared: Compared
}

/**
 * A server's event loop turns every few requests. Without a turn nothing that a WeakRef was taken of is ever let go, and
 * the platform takes one of every request's signal: the collector would drag all requests of a round along.
 */
const callsPerTurn = 16

/** What runs in this process, one call after the other. */
export const inTurn = (candidates: ReadonlyArray<Candidate>): ReadonlyArray<Contender> =>
  candidates.map(({ name, run }) => ({
    name,
    turn: async (calls) => {
      const began = performance.now()
      const start = process.cpuUsage()
      for (let call = 1; call <= calls; call++) {
        await run()
        if (call % callsPerTurn === 0) await turn()
      }
      const { system, user } = process.cpuUsage(start)
      return { cpu: (user + system) / calls, wall: (performance.now() - began) * 1000 / calls }
    }
  }))

/** Compares what runs in this process. */
export const interleave = async (
  candidates: ReadonlyArray<Candidate>,
  options: Options
): Promise<ReadonlyArray<Measured>> =>
  (await compare(inTurn(candidates), options)).map((one) => ({
    name: one.name,
    micros: one.cpu.median,
    ratio: one.cpuRatio.median,
    compared: one
  }))

export const times = ({ high, low, median }: Spread): string =>
  `x${median.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`

export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")
