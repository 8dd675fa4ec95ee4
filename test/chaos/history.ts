/**
 * What a store was asked and what it answered, with the times of both. A call is written down before it is made, so that
 * it is known even if its process is killed. The module knows nothing of processes.
 */
import { Cause, Effect, Exit, Redacted } from "effect"
import * as fs from "node:fs"
import * as Store from "../../src/Store.js"

/** What the store answered. A log is the list of writes that the session's data holds, oldest first. */
export type Answer =
  | { readonly _tag: "Live" | "Conflict"; readonly revision: number; readonly log: ReadonlyArray<string> }
  | { readonly _tag: "Updated"; readonly revision: number }
  | { readonly _tag: "Created" | "Exists" | "NotKept" | "Superseded" | "None" | "Gone" | "Touched" | "Removed" }
  | { readonly _tag: "Failed"; readonly error: string }

/** One call of a store. Times are in milliseconds of a clock that the machine's processes share. */
export interface Call {
  readonly id: string
  readonly method: Store.Method
  readonly token: string
  /** For `renew`: the new token. */
  readonly next?: string
  /** The revision that the caller read; for `create`, that of the record. */
  readonly revision?: number
  /** What the call adds to the log, as `<write>#<attempt>`. */
  readonly write?: string
  readonly start: number
  /** Without an end there was no answer: the caller was killed. */
  readonly end?: number
  readonly answer?: Answer
}

/** A time in which acknowledged writes may be lost, because the fault promises no less. */
export interface Loss {
  readonly from: number
  readonly to: number
}

export interface History {
  readonly calls: ReadonlyArray<Call>
  /** Loads of every token, made after everybody else was done. */
  readonly finals: ReadonlyArray<Call>
  readonly losses: ReadonlyArray<Loss>
}

/** Milliseconds of CLOCK_MONOTONIC, which all processes of a machine read alike. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6

export interface Recorder {
  readonly begin: (call: Call) => void
  readonly end: (id: string, end: number, answer: Answer) => void
}

interface Begun {
  readonly call: Call
}

interface Ended {
  readonly id: string
  readonly end: number
  readonly answer: Answer
}

/** Appends to a file at once, so that a process that is killed leaves everything that it had been told. */
export const toFile = (file: string): Recorder => {
  const descriptor = fs.openSync(file, "a")
  const append = (line: Begun | Ended) => fs.writeSync(descriptor, `${JSON.stringify(line)}\n`)
  return {
    begin: (call) => append({ call }),
    end: (id, end, answer) => append({ id, end, answer })
  }
}

/** Keeps the calls in memory. */
export const toMemory = (): Recorder & { readonly calls: () => ReadonlyArray<Call> } => {
  const calls = new Map<string, Call>()
  return {
    begin: (call) => void calls.set(call.id, call),
    end: (id, end, answer) => void calls.set(id, { ...calls.get(id)!, end, answer }),
    calls: () => [...calls.values()]
  }
}

/** The calls in a file of `toFile`. A last line that its writer was killed in counts as not written. */
export const fromFile = (file: string): ReadonlyArray<Call> => {
  const { begin, calls, end } = toMemory()
  for (const line of fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").slice(0, -1) : []) {
    const told = JSON.parse(line) as Begun | Ended
    if ("call" in told) {
      begin(told.call)
    } else {
      end(told.id, told.end, told.answer)
    }
  }
  return calls()
}

const logOf = (data: unknown): ReadonlyArray<string> => {
  const { log } = data as { readonly log?: ReadonlyArray<string> }
  return log ?? []
}

/** The innermost message of an error, without what differs from one time to the next. */
const describe = (error: unknown): string => {
  let message = String(error)
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    message = inner.message || message
  }
  return message.split("\n")[0]!.replace(/\d+/g, "#").slice(0, 60)
}

type Value = Store.Created | Store.Loaded | Store.Touched | Store.Updated | undefined

const answerOf = (exit: Exit.Exit<Value, Store.StoreError>): Answer => {
  if (Exit.isFailure(exit)) {
    const error = Cause.squash(exit.cause)
    const reason = error instanceof Store.StoreError ? error.reason : "Defect"
    return { _tag: "Failed", error: reason === "Timeout" ? reason : `${reason}: ${describe(error)}` }
  }
  const { value } = exit
  if (value === undefined) {
    return { _tag: "Removed" }
  }
  switch (value._tag) {
    case "Live":
    case "Conflict":
      return { _tag: value._tag, revision: value.record.revision, log: logOf(value.record.data) }
    case "Updated":
      return { _tag: "Updated", revision: value.revision }
    default:
      return { _tag: value._tag }
  }
}

/**
 * A store that writes down every call and its answer. `name` makes the calls' names unique. A call that takes longer than
 * `limit` milliseconds is given up and fails, as in the middleware; it may still be carried out.
 */
export const recorded = (store: Store.Store, recorder: Recorder, name: string, limit: number): Store.Store => {
  let count = 0
  return Store.around(
    store,
    <A>(operation: Store.Operation, run: () => Effect.Effect<A, Store.StoreError>) =>
      Effect.suspend(() => {
        const { method, next, record, token } = operation
        const revision = method === "create" ? record?.revision : operation.revision
        const write = record === undefined ? undefined : logOf(record.data).at(-1)
        const id = `${name}.${count++}`
        recorder.begin({
          id,
          method,
          token: Redacted.value(token),
          ...(next === undefined ? undefined : { next: Redacted.value(next) }),
          ...(revision === undefined ? undefined : { revision }),
          ...(write === undefined ? undefined : { write }),
          start: monotonic()
        })
        return Effect.suspend(run).pipe(
          Effect.disconnect,
          Effect.timeoutFail({
            duration: limit,
            onTimeout: () => new Store.StoreError({ reason: "Timeout", method })
          }),
          Effect.onExit((exit) =>
            Effect.sync(() => recorder.end(id, monotonic(), answerOf(exit as Exit.Exit<Value, Store.StoreError>)))
          )
        )
      })
  )
}
