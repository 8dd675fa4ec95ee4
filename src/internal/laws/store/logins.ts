/**
 * What the laws of `Sessions` share: sessions of a subject in a trial, and who is listed. It knows nothing of how a store
 * keeps sessions.
 */
import * as Effect from "effect/Effect"
import type * as SessionRecord from "../../../SessionRecord.js"
import * as SessionToken from "../../../SessionToken.js"
import type * as Store from "../../../Store.js"
import * as law from "./law.js"

/** @internal */
export type Checked<A = void> = Effect.Effect<A, string | Store.StoreError>

/** A session, and its id. @internal */
export interface Login extends law.Kept {
  readonly id: SessionToken.SessionId
}

/** @internal */
export const identified = (kept: law.Kept): Effect.Effect<Login> =>
  Effect.map(SessionToken.toId(kept.token), (id) => ({ ...kept, id }))

/** Creates a session of a subject, as after a login. @internal */
export const login = (
  trial: law.Trial,
  subject: string | undefined,
  fields: Partial<SessionRecord.SessionRecord> = {}
): Checked<Login> =>
  Effect.flatMap(
    law.keep(trial, subject === undefined ? fields : { subject, authenticatedAt: trial.now(), ...fields }),
    identified
  )

/** Renews a session. @internal */
export const renew = (
  trial: law.Trial,
  login: Login,
  more: Partial<SessionRecord.SessionRecord> = {}
): Checked<Login> =>
  Effect.flatMap(law.renew(trial, { ...login, record: { ...login.record, ...more } }, { renewed: true }), identified)

/** A subject that no other law has. @internal */
export const someone = (trial: law.Trial, name: string): string => `${name} ${law.textOf(trial.draw())}`

/** The ids in the list of a subject. @internal */
export const idsOf = (trial: law.Trial, subject: string) =>
  Effect.map(trial.sessions.list(subject), (found) => found.map(({ id }) => id))

/** Expects these sessions in the list of a subject, in this order. @internal */
export const expectListed = (
  trial: law.Trial,
  subject: string,
  expected: ReadonlyArray<{ readonly id: string }>,
  when: string
): Checked =>
  Effect.flatMap(idsOf(trial, subject), (found) => {
    const problem = law.difference(found, expected.map(({ id }) => id), `the list ${when}`)
    return problem === undefined ? Effect.void : Effect.fail(problem)
  })

/** @internal */
export const expectEqual = (actual: unknown, expected: unknown, what: string): Effect.Effect<void, string> =>
  law.expect(actual === expected, () => `${what} answered ${law.show(actual)}, but ${law.show(expected)} was expected`)
