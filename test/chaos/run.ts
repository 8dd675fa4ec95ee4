/**
 * One run: a store is set up, hammered while faults happen, left alone, looked at, and its history is checked.
 */
import { Cause, Effect, Layer, Schedule } from "effect"
import type { Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as SessionToken from "../../src/SessionToken.js"
import * as Store from "../../src/Store.js"
import { check, type Violation } from "./checker.js"
import * as Crew from "./crew.js"
import type { Fault } from "./faults.js"
import { type Board, hammer, remembered } from "./hammer.js"
import * as History from "./history.js"
import { layerOf } from "./stores.js"
import type { Opened, Target } from "./targets.js"

export interface Options {
  /** How long the store is hammered, in milliseconds, from when all workers have begun. */
  readonly duration: number
  /** How many processes hammer. */
  readonly workers: number
  /** How many fibers each of them has. */
  readonly fibers: number
  /** How many sessions there are at a time. */
  readonly sessions: number
  /** How often a process is killed or paused, and how often something happens to the servers, in milliseconds. */
  readonly pace: { readonly clients: number; readonly servers: number }
}

export interface Outcome {
  readonly name: string
  readonly promise: Target["promise"]
  readonly calls: ReadonlyArray<History.Call>
  readonly faults: ReadonlyMap<string, number>
  readonly violations: ReadonlyArray<Violation>
  /** How many tokens could not be read when all was over, though the store had time to recover. */
  readonly unread: number
  /** What could not be done, workers that failed, tokens that could not be read in the end. */
  readonly notes: ReadonlyArray<string>
  /** Where the history is kept, if it shows a violation that is none of the promises'. */
  readonly history: string | undefined
}

/** After so many milliseconds a call is given up. */
const limit = 3000

/** Longer than anything that a server may still be doing for a process that has ended, in milliseconds. */
const settling = 500

/** Times of a fault's beginning are spread around the pace. */
const spread = (pace: number) => Effect.suspend(() => Effect.sleep(pace * (0.5 + Math.random())))

interface Hammered {
  readonly calls: ReadonlyArray<History.Call>
  readonly failures: ReadonlyArray<string>
}

/** Memory belongs to one process: only fibers meet there. */
const hammerHere = (store: Store.Store, options: Options): Effect.Effect<Hammered> =>
  Effect.gen(function*() {
    const recorder = History.toMemory()
    const places = new Map<number, ReadonlyArray<string>>()
    const board: Board = {
      tokens: (place) => places.get(place) ?? [],
      announce: (place, token) => void places.set(place, [...places.get(place) ?? [], token].slice(-remembered))
    }
    const until = History.monotonic() + options.duration
    yield* hammer(History.recorded(store, recorder, "m", limit), board, {
      name: "m",
      sessions: options.sessions,
      fibers: options.fibers * options.workers,
      clockOffset: 0,
      stopped: () => History.monotonic() >= until
    })
    return { calls: recorder.calls(), failures: [] }
  })

type Inject = (fault: Fault) => Effect.Effect<void>

/** Runs faults in turn until the time is over, and completes the last one. */
const injecting = (faults: ReadonlyArray<Fault>, pace: number, until: number, inject: Inject): Effect.Effect<void> => {
  // a short run does not come to all of them: each run begins with another
  let next = Math.floor(Math.random() * faults.length)
  return faults.length === 0 ? Effect.void : spread(pace).pipe(
    Effect.zipRight(
      Effect.suspend(() => History.monotonic() >= until ? Effect.void : inject(faults[next++ % faults.length]!))
    ),
    Effect.repeat({ until: () => History.monotonic() >= until })
  )
}

const crewFaults = (crew: Crew.Crew): ReadonlyArray<Fault> => {
  const pause: Fault = {
    name: "pause",
    inject: Effect.asVoid(Effect.suspend(() => crew.pause(200 + Math.random() * 1300)))
  }
  return [pause, { name: "kill -9", inject: Effect.asVoid(crew.kill) }, pause]
}

const hammerByProcesses = (
  opened: Opened,
  options: Options,
  directory: string,
  inject: Inject
): Effect.Effect<Hammered, never, Scope.Scope> =>
  Effect.gen(function*() {
    const crew = yield* Crew.make({ ...options, store: opened.store, directory, limit })
    yield* crew.ready
    const until = History.monotonic() + options.duration
    yield* Effect.all([
      injecting(crewFaults(crew), options.pace.clients, until, inject),
      injecting(opened.faults, options.pace.servers, until, inject),
      Effect.sleep(options.duration)
    ], { concurrency: "unbounded", discard: true })
    yield* crew.stop
    return { calls: crew.histories().flatMap(History.fromFile), failures: crew.failures() }
  })

/** Loads every token that was ever drawn. */
const finals = (store: Store.Store, calls: ReadonlyArray<History.Call>): Effect.Effect<ReadonlyArray<History.Call>> =>
  Effect.gen(function*() {
    const tokens = new Set(calls.flatMap(({ next, token }) => next === undefined ? [token] : [token, next]))
    const recorder = History.toMemory()
    const recorded = History.recorded(store, recorder, "final", 10_000)
    yield* Effect.forEach(tokens, (token) =>
      Effect.ignore(
        Effect.retry(
          Effect.suspend(() =>
            recorded.load(SessionToken.fromString(token), { now: Date.now(), audience: "cookie:session", limit: 4096 })
          ),
          Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(20))
        )
      ), { concurrency: 8, discard: true })
    const last = new Map(recorder.calls().map((call) => [call.token, call]))
    return [...last.values()]
  })

/** Keeps what shows a violation: all calls, and the violations with theirs. */
const keep = (directory: string, history: History.History, violations: ReadonlyArray<Violation>): void => {
  fs.writeFileSync(
    path.join(directory, "history.jsonl"),
    [...history.calls, ...history.finals].map((call) => JSON.stringify(call)).join("\n")
  )
  fs.writeFileSync(path.join(directory, "losses.json"), JSON.stringify(history.losses))
  fs.writeFileSync(path.join(directory, "violations.json"), JSON.stringify(violations, undefined, 2))
}

/** Sets up, hammers, looks and checks. */
export const run = (target: Target, options: Options): Effect.Effect<Outcome, unknown> =>
  Effect.scoped(Effect.gen(function*() {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), `effect-session-chaos-${target.name}-history-`))
    const faults = new Map<string, number>()
    const notes: Array<string> = []
    const losses: Array<History.Loss> = []
    const note = (text: string) => void notes.push(text)
    const inject: Inject = ({ inject, name }) =>
      Effect.matchCause(inject, {
        onSuccess: () => void faults.set(name, (faults.get(name) ?? 0) + 1),
        onFailure: (cause) => note(`${name} could not be done: ${Cause.squash(cause)}`)
      })

    const opened = yield* target.open({ lose: (loss) => void losses.push(loss), note })
    const direct = Effect.flatMap(
      Layer.build(
        Layer.retry(
          Layer.unwrapEffect(Effect.promise(() => layerOf(opened.direct()))),
          Schedule.intersect(Schedule.spaced("200 millis"), Schedule.recurs(50))
        )
      ),
      (context) => Effect.provide(Store.Store, context)
    )

    const here = opened.store._tag === "Memory" ? yield* direct : undefined
    const { calls, failures } = here === undefined
      ? yield* hammerByProcesses(opened, options, directory, inject)
      : yield* hammerHere(here, options)
    failures.forEach(note)
    yield* Effect.sleep(settling)
    const found = yield* finals(here ?? (yield* direct), calls)
    const unread = found.filter(({ answer }) => answer?._tag === "Failed").length
    const history: History.History = { calls, finals: found, losses }
    const violations = check(history, opened.waivers)
    const isDefect = violations.length > 0 && target.promise === "keeps"
    if (isDefect) {
      keep(directory, history, violations)
    } else {
      fs.rmSync(directory, { recursive: true, force: true })
    }
    return {
      name: target.name,
      promise: target.promise,
      calls,
      faults,
      violations,
      unread,
      notes,
      history: isDefect ? directory : undefined
    }
  }))
