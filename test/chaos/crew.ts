/**
 * The processes that hammer a store: started, killed, paused and stopped. A killed one is replaced. They tell each other
 * by way of this one which tokens there are.
 */
import type { Scope } from "effect"
import { Deferred, Effect } from "effect"
import * as esbuild from "esbuild"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { remembered } from "./hammer.js"
import type { Announcement, FromWorker, Order, ToWorker } from "./worker.js"

export interface Crew {
  /** Waits until all have begun. */
  readonly ready: Effect.Effect<void>
  /** Kills one by SIGKILL, starts another, and says whether there was one. */
  readonly kill: Effect.Effect<boolean>
  /** Stops one by SIGSTOP and lets it go on by SIGCONT; says whether there was one. */
  readonly pause: (milliseconds: number) => Effect.Effect<boolean>
  /** Lets all finish their calls, and waits until they have ended. */
  readonly stop: Effect.Effect<void>
  /** The files that they wrote. */
  readonly histories: () => ReadonlyArray<string>
  /** What the ones said that ended by themselves. */
  readonly failures: () => ReadonlyArray<string>
}

export interface Options extends Pick<Order, "store" | "sessions" | "fibers" | "limit"> {
  /** Where the histories go. */
  readonly directory: string
  readonly workers: number
}

interface Member {
  readonly child: ChildProcess
  readonly exited: Promise<void>
  /** Since when it can be harassed. */
  isReady: boolean
}

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The worker as one file, compiled once: dozens are started, and each would compile its modules anew. */
const compiled = Effect.runSync(Effect.cached(Effect.sync(() => {
  const directory = path.join(root, "node_modules", ".cache", `effect-session-chaos-${process.pid}`)
  const outfile = path.join(directory, "worker.mjs")
  esbuild.buildSync({
    entryPoints: [fileURLToPath(new URL("./worker.ts", import.meta.url))],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    logLevel: "error"
  })
  process.once("exit", () => fs.rmSync(directory, { recursive: true, force: true }))
  return outfile
})))

/** How long one that was told to stop may take to finish its calls, in milliseconds. */
const patience = 20_000

/** After so many that ended by themselves no more are started. */
const mostFailures = 5

/** The clocks of two workers are at most twice as far apart, in milliseconds. */
const clockError = 2500

export const make = (options: Options): Effect.Effect<Crew, never, Scope.Scope> =>
  Effect.gen(function*() {
    const worker = yield* compiled
    const members = new Set<Member>()
    const places = new Map<number, Array<string>>()
    const histories: Array<string> = []
    const failures: Array<string> = []
    const allReady = yield* Deferred.make<void>()
    let begun = 0
    let stopping = false

    const send = (member: Member, message: ToWorker) => {
      if (member.child.connected) {
        member.child.send(message, () => {})
      }
    }

    const hear = (member: Member, message: FromWorker) => {
      if (message === "ready") {
        member.isReady = true
        if (++begun === options.workers) {
          Deferred.unsafeDone(allReady, Effect.void)
        }
        return
      }
      const tokens = places.get(message.place) ?? []
      places.set(message.place, tokens)
      tokens.push(message.token)
      tokens.splice(0, tokens.length - remembered)
      members.forEach((other) => other === member || send(other, message))
    }

    const start = () => {
      const name = `p${histories.length}`
      const history = path.join(options.directory, `${name}.jsonl`)
      histories.push(history)
      const { fibers, limit, sessions, store } = options
      const clockOffset = Math.round((Math.random() * 2 - 1) * clockError)
      const order: Order = { name, store, history, sessions, fibers, clockOffset, limit }
      const child = spawn(process.execPath, [worker, JSON.stringify(order)], {
        cwd: root,
        stdio: ["ignore", "ignore", "pipe", "ipc"]
      })
      let said = ""
      child.stderr!.on("data", (chunk) => said += String(chunk))
      child.on("error", () => {})
      const exited = new Promise<void>((resolve) => child.once("close", () => resolve()))
      const member: Member = { child, exited, isReady: false }
      members.add(member)
      child.on("message", (message: FromWorker) => hear(member, message))
      for (const [place, tokens] of places) {
        tokens.forEach((token) => send(member, { place, token } satisfies Announcement))
      }
      void exited.then(() => {
        members.delete(member)
        if (child.signalCode === "SIGKILL" || child.exitCode === 0) {
          return
        }
        failures.push(`worker ${name} ended with ${child.exitCode ?? child.signalCode}: ${said.slice(0, 2000)}`)
        if (failures.length >= mostFailures) {
          Deferred.unsafeDone(allReady, Effect.void)
        } else if (!stopping) {
          start()
        }
      })
    }

    const anyone = (): Member | undefined => {
      const ready = [...members].filter(({ isReady }) => isReady)
      return ready[Math.floor(Math.random() * ready.length)]
    }

    const killed = (member: Member) =>
      Effect.promise(() => {
        member.child.kill("SIGKILL")
        return member.exited
      })

    yield* Effect.acquireRelease(
      Effect.sync(() => {
        for (let n = 0; n < options.workers; n++) {
          start()
        }
      }),
      () =>
        Effect.suspend(() => {
          stopping = true
          return Effect.forEach(members, killed, { discard: true })
        })
    )

    return {
      ready: Deferred.await(allReady),
      kill: Effect.suspend(() => {
        const member = anyone()
        return member === undefined ? Effect.succeed(false) : Effect.as(
          Effect.tap(killed(member), () => start()),
          true
        )
      }),
      pause: (milliseconds) =>
        Effect.suspend(() => {
          const member = anyone()
          return member === undefined ? Effect.succeed(false) : Effect.acquireUseRelease(
            Effect.sync(() => member.child.kill("SIGSTOP")),
            () => Effect.sleep(milliseconds),
            () => Effect.sync(() => member.child.kill("SIGCONT"))
          ).pipe(Effect.as(true))
        }),
      stop: Effect.suspend(() => {
        stopping = true
        return Effect.forEach(members, (member) => {
          send(member, "stop")
          return Effect.promise(() => member.exited).pipe(
            Effect.timeoutTo({ duration: patience, onTimeout: () => killed(member), onSuccess: () => Effect.void }),
            Effect.flatten
          )
        }, { concurrency: "unbounded", discard: true })
      }),
      histories: () => histories,
      failures: () => failures
    }
  })
