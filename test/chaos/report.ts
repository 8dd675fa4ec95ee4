/** What a run says of a store. */
import type { Call } from "./history.js"
import type { Outcome } from "./run.js"

const countBy = <A>(values: ReadonlyArray<A>, key: (value: A) => string): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  values.forEach((value) => counts.set(key(value), (counts.get(key(value)) ?? 0) + 1))
  return counts
}

const list = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([name, count]) => `${name} ${count}`).join(", ") || "none"

const isAcknowledged = ({ answer }: Call): boolean =>
  answer?._tag === "Created" || answer?._tag === "Updated" || answer?._tag === "Removed"

/** How many writes the store said it had carried out. */
export const acknowledged = (outcome: Outcome): number => outcome.calls.filter(isAcknowledged).length

/** How many sessions were begun. */
export const sessions = (outcome: Outcome): number =>
  outcome.calls.filter(({ answer }) => answer?._tag === "Created").length

/** Whether a store broke a promise. */
export const isBroken = ({ promise, unread, violations }: Outcome): boolean =>
  promise === "keeps" && (violations.length > 0 || unread > 0)

/** One line. */
export const line = (outcome: Outcome): string => {
  const errors = outcome.calls.flatMap(({ answer, method }) =>
    answer?._tag === "Failed" ? [`${method} ${answer.error}`] : answer === undefined ? ["no answer"] : []
  )
  return [
    `${outcome.name}: ${outcome.calls.length} operations, ${acknowledged(outcome)} acknowledged`,
    `${sessions(outcome)} sessions`,
    `faults: ${list(outcome.faults)}`,
    `errors: ${list(countBy(errors, (error) => error))}`,
    `violations: ${list(countBy(outcome.violations, ({ kind }) => kind))}` +
    (outcome.promise === "loses" ? " (it promises none)" : "")
  ].join("; ")
}

/** How many violations are printed. */
const printed = 5

const callOf = (call: Call): string => {
  const { answer, end, method, next, revision, start, token, write } = call
  const short = (text: string) => text.slice(0, 6)
  return [
    `${start.toFixed(1)}-${end?.toFixed(1) ?? "?"}`,
    call.id,
    method,
    short(token) + (next === undefined ? "" : ` -> ${short(next)}`),
    revision === undefined ? "" : `revision ${revision}`,
    write ?? "",
    answer === undefined
      ? "no answer"
      : answer._tag === "Live" || answer._tag === "Conflict"
      ? `${answer._tag} ${answer.revision} [..${answer.log.slice(-4).join(" ")}]`
      : Object.values(answer).join(" ")
  ].filter((part) => part !== "").join("  ")
}

/** What there is to say beyond the line. */
export const details = (outcome: Outcome): ReadonlyArray<string> => [
  ...outcome.notes.map((note) => `  ${note}`),
  ...(isBroken(outcome)
    ? [
      ...outcome.violations.slice(0, printed).flatMap(({ calls, kind, message, session }) => [
        `  ${kind} in ${session.slice(0, 6)}: ${message}`,
        ...calls.slice(0, 6).map((call) => `    ${callOf(call)}`)
      ]),
      ...(outcome.unread > 0 ? [`  ${outcome.unread} tokens could not be read in the end`] : []),
      ...(outcome.history === undefined ? [] : [`  the history is in ${outcome.history}`])
    ]
    : [])
]
