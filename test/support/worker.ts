/**
 * What a process that a test started says, a line each, and how it ends.
 */
import type { ChildProcessWithoutNullStreams } from "node:child_process"

export interface Ended {
  readonly code: number | null
  /** All whole lines. */
  readonly lines: ReadonlyArray<string>
  readonly problem: string
}

/** Gives each line that a worker says to `heard` at once, and its end to `ended`. */
export const listen = (
  child: ChildProcessWithoutNullStreams,
  heard: (line: string) => void,
  ended: (ended: Ended) => void
): void => {
  let output = ""
  let read = 0
  let problem = ""
  child.stderr.on("data", (bytes: Buffer) => {
    problem += bytes.toString()
  })
  child.stdout.on("data", (bytes: Buffer) => {
    output += bytes.toString()
    for (let end = output.indexOf("\n", read); end >= 0; end = output.indexOf("\n", read)) {
      heard(output.slice(read, end))
      read = end + 1
    }
  })
  child.on("close", (code) => {
    const lines = output.slice(0, output.lastIndexOf("\n") + 1).split("\n").slice(0, -1)
    ended({ code, lines, problem })
  })
}
