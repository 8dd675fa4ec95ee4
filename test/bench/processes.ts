/**
 * Processes that are asked one thing at a time and answer it.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

export interface Peer {
  readonly ask: (message: object | string) => Promise<unknown>
  /** Resolves when the process is gone. */
  readonly stop: () => Promise<void>
}

const answerOf = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`${child.spawnargs.slice(1).join(" ")} ended with ${code}`))
    child.once("exit", ended)
    child.once("message", (message) => {
      child.off("exit", ended)
      resolve(message)
    })
  })

/** Starts a module of this folder and waits for its first message. */
export const start = async (
  module: string,
  args: ReadonlyArray<string> = []
): Promise<{ readonly peer: Peer; readonly first: unknown }> => {
  const child = fork(fileURLToPath(new URL(module, import.meta.url)), [...args], { execArgv: ["--expose-gc"] })
  const first = await answerOf(child)
  return {
    first,
    peer: {
      ask: (message) => {
        const answer = answerOf(child)
        child.send(message)
        return answer
      },
      stop: async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const ended = once(child, "exit")
        child.kill()
        await ended
      }
    }
  }
}

/** The other end: answers what it is asked, and ends with the process that asks. */
export const serve = (first: unknown, answer: (message: unknown) => unknown): void => {
  process.on("disconnect", () => process.exit(0))
  process.on("message", (message) => {
    void Promise.resolve(answer(message)).then((reply) => process.send?.(reply))
  })
  process.send?.(first)
}
