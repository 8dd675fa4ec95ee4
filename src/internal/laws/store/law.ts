/**
 * What the store laws are written in: the trial, which is a store with a time that only the law moves, and the steps and
 * checks with their failure messages. It knows nothing of how a store keeps sessions, nor of what runs a law.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as TestClock from "effect/TestClock"
import * as SessionRecord from "../../../SessionRecord.js"
import type * as Sessions from "../../../Sessions.js"
import type * as SessionToken from "../../../SessionToken.js"
import type * as Store from "../../../Store.js"
import * as testing from "../../../testing.js"
import { expect, show } from "../broken.js"

export { expect, show } from "../broken.js"

/** @internal */
export type Capability =
  | "keeping"
  | "revocation"
  | "revisions"
  | "tombstones"
  | "compareAndSet"
  | "createIfAbsent"

/** The part of a call that is the same in all calls of a law. @internal */
export type Audience = Omit<Store.Call, "now">

/** @internal */
export interface Settings {
  readonly clock: "test" | "live"
  readonly waives: ReadonlyArray<Capability>
  readonly thoroughness: number
  readonly seed: number | undefined
  readonly call: Audience | undefined
  readonly second: Layer.Layer<Store.Store, unknown> | undefined
  readonly sessions: boolean
}

/** @internal */
export interface Definition {
  readonly name: string
  readonly covers: ReadonlyArray<string>
  readonly needs: ReadonlyArray<Capability>
  /** The only clock under which the law can be tested. Default: both can be used. */
  readonly clock?: "test"
  /** The law is only for stores that waive this. */
  readonly onlyWithout?: Capability
  /** Whether the law is of calls that meet. Then they go to both instances in turn, if there is a second one. */
  readonly races?: true
  /** Whether the law is of `Sessions`. */
  readonly sessions?: true
  readonly trial: (trial: Trial) => Effect.Effect<void, string | Store.StoreError>
}

/** The store in a trial: every call gets the trial's time and audience. @internal */
export interface Asked {
  readonly accepts: Store.Store["accepts"]
  readonly load: (token: SessionToken.Token) => ReturnType<Store.Store["load"]>
  readonly create: (
    token: SessionToken.Token,
    record: SessionRecord.SessionRecord
  ) => ReturnType<Store.Store["create"]>
  readonly update: (
    token: SessionToken.Token,
    revision: number,
    record: SessionRecord.SessionRecord
  ) => ReturnType<Store.Store["update"]>
  readonly renew: (
    token: SessionToken.Token,
    revision: number,
    next: SessionToken.Token,
    record: SessionRecord.SessionRecord
  ) => ReturnType<Store.Store["renew"]>
  readonly touch: (token: SessionToken.Token, revision: number, deadline: number) => ReturnType<Store.Store["touch"]>
  readonly remove: (token: SessionToken.Token) => ReturnType<Store.Store["remove"]>
}

/** `Sessions` in a trial, asked at the trial's time. @internal */
export interface AskedSessions extends Omit<Sessions.Service, "list" | "lookup"> {
  readonly list: (subject: string) => Effect.Effect<ReadonlyArray<Sessions.Summary>, Store.StoreError>
}

/** What a store tells of changes, in a trial. @internal */
export interface AskedWatching {
  readonly complete: boolean
  readonly changes: Store.Watching["changes"]
  readonly ending: (token: SessionToken.Token) => ReturnType<Store.Watching["ending"]>
}

/** @internal */
export interface Trial {
  readonly store: Asked
  /** For laws of `Sessions`. */
  readonly sessions: AskedSessions
  /** What the first instance tells, if it can. */
  readonly watching: AskedWatching | undefined
  readonly settings: Settings
  /** The time of this trial's calls, in milliseconds since the epoch. */
  readonly now: () => number
  /** Sets that time. */
  readonly moveTo: (time: number) => void
  readonly draw: (predecessor?: SessionToken.Token) => SessionToken.Token
  /** The clock under which the store's own sweep waits, if a test owns it. */
  readonly testClock: TestClock.TestClock | undefined
  /** Runs a trial of the same store with a time of its own. */
  readonly fork: <E>(body: (trial: Trial) => Effect.Effect<void, E>) => Effect.Effect<void, E>
}

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null

/** Says where two JSON values differ; undefined if they don't. The order of keys does not matter. @internal */
export const difference = (actual: unknown, expected: unknown, path = "record"): string | undefined => {
  if (!isObject(actual) || !isObject(expected) || Array.isArray(actual) !== Array.isArray(expected)) {
    return actual === expected ? undefined : `${path} is ${show(actual)}, but ${show(expected)} was expected`
  }
  for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const at = `${path}[${JSON.stringify(key)}]`
    if (!Object.hasOwn(actual, key)) {
      return `${at} is missing`
    }
    if (!Object.hasOwn(expected, key)) {
      return `${at} was not expected`
    }
    const found = difference(actual[key], expected[key], at)
    if (found !== undefined) {
      return found
    }
  }
  return undefined
}

/**
 * The record in the form that laws compare: a store may keep the earlier of the two bounds as the deadline.
 *
 * @internal
 */
export const comparable = (record: SessionRecord.SessionRecord): { readonly [key: string]: unknown } => {
  const { id: _, ...rest } = record
  const present = Object.entries(rest).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(present), deadline: SessionRecord.endsAt(record) }
}

/** @internal */
export const expectSame = (
  actual: SessionRecord.SessionRecord,
  expected: SessionRecord.SessionRecord,
  when: string
): Effect.Effect<void, string> => {
  const found = difference(comparable(actual), comparable(expected))
  return found === undefined ? Effect.void : Effect.fail(`${when}: ${found}`)
}

/** Expects an answer of this tag. @internal */
export const expectTag = <A extends { readonly _tag: string }, const Tag extends A["_tag"]>(
  answer: A,
  tag: Tag,
  when: string
): Effect.Effect<Extract<A, { readonly _tag: Tag }>, string> =>
  answer._tag === tag
    ? Effect.succeed(answer as Extract<A, { readonly _tag: Tag }>)
    : Effect.fail(`${when} answered ${answer._tag}, but ${tag} was expected`)

/** @internal */
export interface Kept {
  readonly token: SessionToken.Token
  readonly record: SessionRecord.SessionRecord
}

/** A record that was created at the trial's time. @internal */
export const recordOf = (
  trial: Trial,
  fields: Partial<SessionRecord.SessionRecord> = {}
): SessionRecord.SessionRecord => testing.record({ createdAt: trial.now(), data: { n: 0 }, ...fields })

/** Creates a session. @internal */
export const keep = (
  trial: Trial,
  fields: Partial<SessionRecord.SessionRecord> = {}
): Effect.Effect<Kept, string | Store.StoreError> =>
  Effect.gen(function*() {
    const record = recordOf(trial, fields)
    const answer = yield* trial.store.create(trial.draw(), record)
    const { token } = yield* expectTag(answer, "Created", "create under a token that was never used")
    return { token, record }
  })

/** Expects a live record under a token, and gives it. @internal */
export const expectLive = (
  trial: Trial,
  token: SessionToken.Token,
  when: string
): Effect.Effect<SessionRecord.SessionRecord, string | Store.StoreError> =>
  Effect.gen(function*() {
    const { record } = yield* expectTag(yield* trial.store.load(token), "Live", `load ${when}`)
    return record
  })

/** Expects this live record under the token. @internal */
export const expectKept = (trial: Trial, { record, token }: Kept, when: string) =>
  Effect.flatMap(expectLive(trial, token, when), (found) => expectSame(found, record, `load ${when}`))

/** Expects no live record under the token. @internal */
export const expectEnded = (
  trial: Trial,
  token: SessionToken.Token,
  when: string
): Effect.Effect<void, string | Store.StoreError> =>
  Effect.flatMap(
    trial.store.load(token),
    (loaded) => expect(loaded._tag !== "Live", () => `load ${when} answered a live session`)
  )

/** The record with this data, written at the trial's time. @internal */
export const written = (
  trial: Trial,
  record: SessionRecord.SessionRecord,
  data: unknown
): SessionRecord.SessionRecord => {
  const now = trial.now()
  return {
    ...record,
    data: testing.record({ data: data as SessionRecord.Data }).data,
    touchedAt: now,
    deadline: now + record.idle
  }
}

/** Updates a session. @internal */
export const rewrite = (
  trial: Trial,
  kept: Kept,
  data: unknown
): Effect.Effect<Kept, string | Store.StoreError> =>
  Effect.gen(function*() {
    const record = written(trial, kept.record, data)
    const answer = yield* trial.store.update(kept.token, kept.record.revision, record)
    const { revision, token } = yield* expectTag(answer, "Updated", "update of a live session at its revision")
    return { token, record: { ...record, revision } }
  })

/** Renews a session. @internal */
export const renew = (
  trial: Trial,
  kept: Kept,
  data: unknown
): Effect.Effect<Kept, string | Store.StoreError> =>
  Effect.gen(function*() {
    const record = written(trial, kept.record, data)
    const answer = yield* trial.store.renew(kept.token, kept.record.revision, trial.draw(kept.token), record)
    const { revision, token } = yield* expectTag(answer, "Updated", "renew of a live session at its revision")
    return { token, record: { ...record, revision } }
  })

/** The text of a token, to compare two tokens. @internal */
export const textOf = (token: SessionToken.Token): string => Redacted.value(token)

/** Expects that no write which a request in flight may still make under an ended token revives anything. @internal */
export const noWriteRevives = (trial: Trial, { record, token }: Kept, when: string) =>
  Effect.gen(function*() {
    const { store } = trial
    const next = trial.draw(token)
    const late = written(trial, record, { late: true })
    yield* expectEnded(trial, token, when)
    yield* expectTag(yield* store.update(token, record.revision, late), "Gone", `update ${when}`)
    yield* expectEnded(trial, token, `after an update ${when}`)
    yield* expectTag(yield* store.touch(token, record.revision, late.deadline), "Gone", `touch ${when}`)
    yield* expectEnded(trial, token, `after a touch ${when}`)
    yield* expectTag(yield* store.renew(token, record.revision, next, late), "Gone", `renew ${when}`)
    yield* expectEnded(trial, token, `after a renew ${when}`)
    yield* expectEnded(trial, next, `of the new token after a renew ${when}`)
  })

/** Expects the same, also after a remove. @internal */
export const nothingRevives = (trial: Trial, kept: Kept, when: string) =>
  Effect.gen(function*() {
    yield* noWriteRevives(trial, kept, when)
    yield* trial.store.remove(kept.token)
    yield* expectEnded(trial, kept.token, `after a remove ${when}`)
  })

/** Creates a session and removes it. @internal */
export const removed = (trial: Trial) =>
  Effect.gen(function*() {
    const kept = yield* keep(trial)
    yield* trial.store.remove(kept.token)
    return kept
  })

/** Creates a session and moves the time to its end. @internal */
export const expired = (trial: Trial, fields: Partial<SessionRecord.SessionRecord> = {}) =>
  Effect.gen(function*() {
    const kept = yield* keep(trial, fields)
    trial.moveTo(Math.min(kept.record.deadline, kept.record.expiresAt))
    return kept
  })

/** Creates a session whose first revision another writer has replaced. @internal */
export const changed = (trial: Trial) =>
  Effect.gen(function*() {
    const first = yield* keep(trial)
    const second = yield* rewrite(trial, first, { n: 1, by: "another writer" })
    return { first, second }
  })

/** Makes calls that meet. @internal */
export const together = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>): Effect.Effect<Array<A>, E> =>
  Effect.all(effects, { concurrency: "unbounded" })

/** Lets every timer fire that is due within some milliseconds. @internal */
export const dueTimers: Effect.Effect<void> = Effect.async((resume) => {
  setTimeout(() => resume(Effect.void), 5)
})
