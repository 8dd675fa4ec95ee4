/**
 * What the middleware adds to a request, over the same app without a session: in one process, through the web handler,
 * no sockets, sessions in memory. Several processes, for each settles differently on what it compiles and on what its
 * collector drags along, and stays so.
 */
import { type Sample, scaled, summarize, table, times } from "./harness.js"
import { start } from "./processes.js"
import { standalone } from "./standalone.js"

const processes = 8

const goals: { readonly [name: string]: string } = {
  untouched: "x1.05",
  read: "x1.25",
  "add 1": "x1.30",
  "read, sealed": "x1.40",
  "add 1, sealed": "x1.80"
}

export const run = async (): Promise<string> => {
  const samples: Array<Array<Sample>> = []
  let names: ReadonlyArray<string> = []
  for (let turn = scaled(processes); turn > 0; turn--) {
    const { first, peer } = await start("./inProcessRounds.js")
    names = first as ReadonlyArray<string>
    const measured = await peer.ask("measure") as ReadonlyArray<ReadonlyArray<Sample>>
    measured.forEach((own, index) => (samples[index] ??= []).push(...own))
    await peer.stop()
  }
  return table(
    ["one request, in process", "us", "over no session", "goal"],
    summarize(names.map((name) => ({ name })), samples).map(({ cpu, cpuRatio, name }) => [
      name,
      cpu.median.toFixed(1),
      times(cpuRatio),
      goals[name] ?? ""
    ])
  )
}

await standalone(import.meta.url, run)
