/**
 * Whether a history keeps the promises of a store: a pure function of what was asked and answered. A call that failed or
 * was never answered may have happened, at any later time, or not. Revisions rise, by how much is the store's affair.
 */
import type { Answer, Call, History, Loss } from "./history.js"

/**
 * - `SameRevision`: two writes were acknowledged with one revision, or one revision was seen with two contents
 * - `Lost`: what was acknowledged or seen is not there later
 * - `Doubled`: one write is in the log twice, because it was refused and repeated although it had been carried out
 * - `Refused`: a write that was refused is in the log all the same
 * - `Stale`: an older revision was read than was known before the read began
 * - `Revived`: a token was live again after its acknowledged end
 * - `TwoLive`: a session has two live tokens
 * - `NoneLive`: a session has none, though nobody removed it
 */
export type Kind = "SameRevision" | "Lost" | "Doubled" | "Refused" | "Stale" | "Revived" | "TwoLive" | "NoneLive"

export interface Violation {
  readonly kind: Kind
  /** The token that the session began with. */
  readonly session: string
  readonly message: string
  /** The calls that show it. */
  readonly calls: ReadonlyArray<Call>
}

/** What a store does not promise. */
export interface Waivers {
  /** How many milliseconds old the answer of a `load` may be. Default 0. */
  readonly staleness?: number | undefined
  /**
   * How many writes of others may come between a command and the same one sent again, so that it still counts once.
   * Default: any number.
   */
  readonly others?: number | undefined
}

/** An answer that shows its token to be live. */
const alive: ReadonlySet<Answer["_tag"]> = new Set(["Live", "Conflict", "Updated", "Touched", "Created"])

/** An answer that says that the call changed nothing. */
const refusals: ReadonlySet<Answer["_tag"]> = new Set(["Conflict", "Gone", "Exists"])

/** An answer that says that there is no session under the token. */
const absences: ReadonlySet<Answer["_tag"]> = new Set(["None", "Superseded", "Gone"])

/** For so long a removal surely follows a tombstone: a minute, less clocks 5 seconds apart and calls that wait for 15. */
const surelyFollowed = 40_000

interface Observation {
  readonly call: Call
  readonly revision: number
  readonly log: ReadonlyArray<string>
}

interface Acknowledged {
  readonly call: Call
  readonly revision: number
}

/** The calls of one session: of the token that it was created with and of those that it was renewed to. */
interface Session {
  readonly root: string
  readonly calls: ReadonlyArray<Call>
  readonly finals: ReadonlyArray<Call>
}

const has = (set: ReadonlySet<Answer["_tag"]>, call: Call): boolean =>
  call.answer !== undefined && set.has(call.answer._tag)

/** Where losses are documented, what was answered meanwhile proves nothing. */
const demote = (losses: ReadonlyArray<Loss>) => (call: Call): Call => {
  const { answer: _answer, end, ...unanswered } = call
  return end !== undefined && losses.some(({ from, to }) => call.start <= to && end >= from) ? unanswered : call
}

const sessionsOf = ({ calls, finals }: History): ReadonlyArray<Session> => {
  const predecessors = new Map<string, string>()
  for (const { method, next, token } of calls) {
    if (method === "renew" && next !== undefined) {
      predecessors.set(next, token)
    }
  }
  const rootOf = (token: string): string => {
    let root = token
    for (let at = predecessors.get(root); at !== undefined; at = predecessors.get(root)) {
      root = at
    }
    return root
  }
  const sessions = new Map<string, { root: string; calls: Array<Call>; finals: Array<Call> }>()
  const of = (call: Call) => {
    const root = rootOf(call.token)
    const session = sessions.get(root) ?? { root, calls: [], finals: [] }
    sessions.set(root, session)
    return session
  }
  calls.forEach((call) => of(call).calls.push(call))
  finals.forEach((call) => of(call).finals.push(call))
  return [...sessions.values()]
}

const observed = (calls: ReadonlyArray<Call>): Array<Observation> =>
  calls.flatMap((call) =>
    call.answer?._tag === "Live" || call.answer?._tag === "Conflict"
      ? [{ call, revision: call.answer.revision, log: call.answer.log }]
      : []
  )

const acknowledged = (calls: ReadonlyArray<Call>): ReadonlyArray<Acknowledged> =>
  calls.flatMap((call) =>
    call.answer?._tag === "Updated"
      ? [{ call, revision: call.answer.revision }]
      : call.answer?._tag === "Created" && call.revision !== undefined
      ? [{ call, revision: call.revision }]
      : []
  )

/** The token that a call shows to be live, if it does, from its end on. */
const provenToken = (call: Call): string | undefined =>
  !has(alive, call) ? undefined : call.method === "renew" && call.answer?._tag === "Updated" ? call.next : call.token

type Report = (kind: Kind, message: string, calls: ReadonlyArray<Call>) => void

/** What was written, seen and seen again: one content a revision, each the continuation of the one before. */
const checkLog = ({ calls, finals }: Session, others: number, report: Report): void => {
  const states = observed([...calls, ...finals]).sort((a, b) => a.revision - b.revision)
  for (const [index, state] of states.entries()) {
    const before = states[index - 1]
    if (before === undefined) {
      continue
    }
    if (before.revision === state.revision) {
      if (before.log.join() !== state.log.join()) {
        report("SameRevision", `revision ${state.revision} was seen with two contents`, [before.call, state.call])
      }
    } else if (before.log.some((write, at) => state.log[at] !== write)) {
      const missing = before.log.filter((write) => !state.log.includes(write))
      report(
        "Lost",
        `seen at revision ${before.revision}, gone at ${state.revision}: ${missing.join(" ") || "the order"}`,
        [before.call, state.call]
      )
    }
  }

  const byRevision = new Map<number, Call>()
  for (const { call, revision } of acknowledged(calls)) {
    const other = byRevision.get(revision)
    if (other === undefined) {
      byRevision.set(revision, call)
    } else {
      report("SameRevision", `revision ${revision} was acknowledged twice`, [other, call])
    }
    const later = states[firstFrom(states, revision)]
    if (call.write !== undefined && later !== undefined && !later.log.includes(call.write)) {
      report("Lost", `${call.write} was acknowledged at revision ${revision} and is not in ${later.revision}`, [
        call,
        later.call
      ])
    }
  }

  const attempts = new Map<string, Observation>()
  for (const state of states) {
    state.log.forEach((attempt) => attempts.set(attempt, state))
  }
  /** Whether more writes of others than the store promises to bear may have come between a call and its repetition. */
  const excused = (call: Call): boolean =>
    calls.filter((other) =>
      other.write !== undefined && other !== call && attempts.has(other.write) &&
      other.start < (call.end ?? Infinity) &&
      (other.end ?? Infinity) > call.start
    ).length > others
  /** The refused calls whose write is in the log all the same. */
  const refused = calls.filter((call) => call.write !== undefined && has(refusals, call) && attempts.has(call.write))
  const doubled = new Set(
    refused.filter(excused).map(({ write }) => write?.split("#")[0])
  )
  for (const state of states) {
    const writes = new Set<string>()
    for (const attempt of state.log) {
      const write = attempt.split("#")[0]!
      if (writes.has(write) && !doubled.has(write)) {
        doubled.add(write)
        report("Doubled", `${write} counts twice: ${state.log.filter((a) => a.split("#")[0] === write).join(" ")}`, [
          ...calls.filter((call) => call.write?.split("#")[0] === write),
          state.call
        ])
      }
      writes.add(write)
    }
  }
  for (const call of refused.filter((call) => !excused(call))) {
    const state = attempts.get(call.write!)!
    report("Refused", `${call.write} was answered with ${call.answer?._tag} and is in the log`, [call, state.call])
  }
}

/** The index of the first state of that revision or a later one. */
const firstFrom = (states: ReadonlyArray<Observation>, revision: number): number => {
  let from = 0
  let to = states.length
  while (from < to) {
    const middle = (from + to) >> 1
    if (states[middle]!.revision < revision) {
      from = middle + 1
    } else {
      to = middle
    }
  }
  return from
}

/** What was known before a read began, the read knows. */
const checkOrder = ({ calls, finals }: Session, staleness: number, report: Report): void => {
  const observations = observed([...calls, ...finals])
  const known = [...acknowledged(calls), ...observations]
    .flatMap(({ call, revision }) => call.end === undefined ? [] : [{ call, revision, end: call.end }])
    .sort((a, b) => a.end - b.end)
  // a Conflict comes from the writer's own look at the session, which is never old
  const boundOf = ({ call }: Observation) => call.start - (call.answer?._tag === "Live" ? staleness : 0)
  let newest: (typeof known)[number] | undefined
  let index = 0
  for (const observation of [...observations].sort((a, b) => boundOf(a) - boundOf(b))) {
    for (; index < known.length && known[index]!.end < boundOf(observation); index++) {
      newest = newest === undefined || known[index]!.revision > newest.revision ? known[index] : newest
    }
    if (newest !== undefined && observation.revision < newest.revision) {
      report("Stale", `read revision ${observation.revision} after ${newest.revision} was known`, [
        newest.call,
        observation.call
      ])
    }
  }
}

/** From when on each token was known to be live. */
const provenAt = (calls: ReadonlyArray<Call>): ReadonlyMap<string, Call> => {
  const proofs = new Map<string, Call>()
  for (const call of calls) {
    const token = provenToken(call)
    const earlier = token === undefined ? undefined : proofs.get(token)
    if (token !== undefined && call.end !== undefined && !(earlier !== undefined && earlier.end! <= call.end)) {
      proofs.set(token, call)
    }
  }
  return proofs
}

/** Whether a removal by this token reaches the session wherever renewals have taken it. */
const reachesAll = (calls: ReadonlyArray<Call>, removal: Call): boolean => {
  const reached = new Set([removal.token])
  // renewals stand in the order in which they began, each behind that of its token
  return calls.every((call) => {
    if (call.method !== "renew" || call.next === undefined || !reached.has(call.token)) {
      return true
    }
    reached.add(call.next)
    return call.start > removal.start - surelyFollowed || has(refusals, call)
  })
}

/** What ended stays ended, and what did not is there. */
const checkEnds = ({ calls, finals }: Session, staleness: number, report: Report): void => {
  const proofs = provenAt(calls)
  const ends = new Map<string, Call>()
  let endOfAll: Call | undefined
  const earlier = (a: Call | undefined, b: Call): Call => a !== undefined && a.end! <= b.end! ? a : b
  for (const call of calls) {
    if (call.method === "renew" && call.answer?._tag === "Updated") {
      ends.set(call.token, earlier(ends.get(call.token), call))
    }
    // a removal of a token that was not live yet finds nothing, and need not leave anything
    if (call.answer?._tag === "Removed" && (proofs.get(call.token)?.end ?? Infinity) < call.start) {
      ends.set(call.token, earlier(ends.get(call.token), call))
      if (reachesAll(calls, call)) {
        endOfAll = earlier(endOfAll, call)
      }
    }
  }

  const removals = calls.filter(({ method }) => method === "remove")
  const renewals = calls.filter((call) => call.method === "renew" && !has(refusals, call))
  const mayHaveEnded = (token: string, by: number): boolean =>
    removals.some(({ start }) => start < by) || renewals.some((call) => call.token === token && call.start < by)

  for (const call of [...calls, ...finals]) {
    const slack = call.method === "load" && !finals.includes(call) ? staleness : 0
    for (const end of [ends.get(call.token), endOfAll]) {
      if (end !== undefined && has(alive, call) && call.start > end.end! + slack) {
        report("Revived", `${call.method} answered ${call.answer?._tag} after a ${end.method} had ended the token`, [
          end,
          call
        ])
        break
      }
    }
    const proof = proofs.get(call.token)
    if (
      has(absences, call) && call.method !== "remove" && proof !== undefined && proof.end! < call.start - slack &&
      !mayHaveEnded(call.token, call.end ?? Infinity)
    ) {
      report("Lost", `${call.method} answered ${call.answer?._tag}, and nobody had ended the session`, [proof, call])
    }
  }

  const live = finals.filter((call) => call.answer?._tag === "Live")
  if (live.length > 1) {
    report("TwoLive", `${live.length} tokens are live in the end`, live)
  }
  const [proof] = proofs.values()
  const told = finals.every((call) => call.answer !== undefined && call.answer._tag !== "Failed")
  if (finals.length > 0 && told && live.length === 0 && proof !== undefined && removals.length === 0) {
    report("NoneLive", "no token is live in the end, and nobody removed the session", [proof, ...renewals])
  }
}

/** The violations in a history, none of a store that keeps its promises. */
export const check = (
  history: History,
  { others = Infinity, staleness = 0 }: Waivers = {}
): ReadonlyArray<Violation> => {
  const violations: Array<Violation> = []
  const calls = history.calls.map(demote(history.losses)).sort((a, b) => a.start - b.start)
  for (const session of sessionsOf({ ...history, calls })) {
    const report: Report = (kind, message, calls) =>
      void violations.push({ kind, session: session.root, message, calls })
    checkLog(session, others, report)
    checkOrder(session, staleness, report)
    checkEnds(session, staleness, report)
  }
  return violations
}
