/**
 * What every law is made of: a trial (a store, and a time that the law alone moves) and the words for what was expected.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SessionRecord from "../../../SessionRecord.js"
import * as SessionToken from "../../../SessionToken.js"
import * as Store from "../../../Store.js"
import * as testing from "../../../testing.js"

/** @internal */
export type Capability =
  | "keeping"
  | "revocation"
  | "revisions"
  | "tombstones"
  | "compareAndSet"
  | "createIfAbsent"

/** The part of a call that is the same in all of them. @internal */
export type Audience = Omit<Store.Call, "now">

/** @internal */
export interface Settings {
  readonly clock: "test" | "live"
  readonly waives: ReadonlyArray<Capability>
  readonly thoroughness: number
  readonly seed: number | undefined
  readonly call: Audience | undefined
}

/** @internal */
export class LawBroken extends Data.TaggedError("LawBroken")<{ readonly law: string; readonly problem: string }> {
  override get message(): string {
    return `${this.law}: ${this.problem}`
  }
}

/** @internal */
export interface Definition {
  readonly name: string
  readonly covers: ReadonlyArray<string>
  readonly needs: ReadonlyArray<Capability>
  /** The clocks under which the law can be tried; both where not given. */
  readonly clock?: "test"
  /** Tried only by a store that waives this. */
  readonly onlyWithout?: Capability
  readonly trial: (trial: Trial) => Effect.Effect<void, string | Store.StoreError>
}

/** The store as a trial has it: every call is told of the trial's time and audience. @internal */
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

/** @internal */
export interface Trial {
  readonly store: Asked
  readonly settings: Settings
  /** The time that this trial's calls are told, in milliseconds. */
  readonly now: () => number
  /** Sets that time. */
  readonly moveTo: (time: number) => void
  readonly draw: (kin?: SessionToken.Token) => SessionToken.Token
  /** The same store at a time of its own. */
  readonly fork: <E>(body: (trial: Trial) => Effect.Effect<void, E>) => Effect.Effect<void, E>
}

const everywhere: Audience = { audience: "cookie:session", limit: Number.MAX_SAFE_INTEGER }

/** Suspended, since a store may do its work when it is called. */
const ask = (store: Store.Store, audience: Audience, now: () => number): Asked => {
  const call = (): Store.Call => ({ ...audience, now: now() })
  return {
    accepts: store.accepts,
    load: (token) => Effect.suspend(() => store.load(token, call())),
    create: (token, record) => Effect.suspend(() => store.create(token, record, call())),
    update: (token, revision, record) => Effect.suspend(() => store.update(token, revision, record, call())),
    renew: (token, revision, next, record) => Effect.suspend(() => store.renew(token, revision, next, record, call())),
    touch: (token, revision, deadline) => Effect.suspend(() => store.touch(token, revision, deadline, call())),
    remove: (token) => Effect.suspend(() => store.remove(token, call()))
  }
}

/** @internal */
export const run = (definition: Definition, settings: Settings): Effect.Effect<
  void,
  LawBroken | Store.StoreError,
  Store.Store
> =>
  Effect.gen(function*() {
    const store = yield* Store.Store
    const generator = yield* SessionToken.Generator
    // the real one, which the calls' time soon differs from: a store that reads it is found out, and one that waits for a
    // lock does not wait for a TestClock
    const clock = Clock.make()
    const fork: Trial["fork"] = (body) =>
      Effect.suspend(() => {
        let time = Date.now()
        const now = () => time
        const moveTo = (to: number) => void (time = to)
        const draw = (kin?: SessionToken.Token) => SessionToken.draw(generator, kin)
        const asked = ask(store, settings.call ?? everywhere, now)
        return Effect.withClock(body({ store: asked, settings, now, moveTo, draw, fork }), clock)
      })
    yield* fork(definition.trial)
  }).pipe(
    Effect.mapError((error) =>
      typeof error === "string" ? new LawBroken({ law: definition.name, problem: error }) : error
    )
  )

/** @internal */
export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 400 ? `${text.slice(0, 400)}...` : text
}

/** @internal */
export const expect = (condition: boolean, problem: () => string): Effect.Effect<void, string> =>
  condition ? Effect.void : Effect.suspend(() => Effect.fail(problem()))

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null

/** Where two JSON values differ, in words; undefined when they don't. The order of keys is no difference. @internal */
export const difference = (actual: unknown, expected: unknown, path = "record"): string | undefined => {
  if (!isObject(actual) || !isObject(expected) || Array.isArray(actual) !== Array.isArray(expected)) {
    return actual === expected ? undefined : `${path} is ${show(actual)} where ${show(expected)} was expected`
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

/** A record as laws compare it: a store may keep the earlier of the two bounds as the deadline. @internal */
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

/** The answer narrowed to one of its tags. @internal */
export const expectTag = <A extends { readonly _tag: string }, const Tag extends A["_tag"]>(
  answer: A,
  tag: Tag,
  when: string
): Effect.Effect<Extract<A, { readonly _tag: Tag }>, string> =>
  answer._tag === tag
    ? Effect.succeed(answer as Extract<A, { readonly _tag: Tag }>)
    : Effect.fail(`${when} answered ${answer._tag} where ${tag} was expected`)

/** @internal */
export interface Kept {
  readonly token: SessionToken.Token
  readonly record: SessionRecord.SessionRecord
}

/** A record of this trial's time. @internal */
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

/** The live record under a token. @internal */
export const expectLive = (
  trial: Trial,
  token: SessionToken.Token,
  when: string
): Effect.Effect<SessionRecord.SessionRecord, string | Store.StoreError> =>
  Effect.gen(function*() {
    const { record } = yield* expectTag(yield* trial.store.load(token), "Live", `load ${when}`)
    return record
  })

/** The live record under a token is this one. @internal */
export const expectKept = (trial: Trial, { record, token }: Kept, when: string) =>
  Effect.flatMap(expectLive(trial, token, when), (found) => expectSame(found, record, `load ${when}`))

/** No live record is under a token. @internal */
export const expectOver = (
  trial: Trial,
  token: SessionToken.Token,
  when: string
): Effect.Effect<void, string | Store.StoreError> =>
  Effect.flatMap(
    trial.store.load(token),
    (loaded) => expect(loaded._tag !== "Live", () => `load ${when} answered a live session`)
  )

/** The record as a write at this trial's time leaves it. @internal */
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

/** The text of a token, to tell two apart. @internal */
export const textOf = (token: SessionToken.Token): string => Redacted.value(token)

/** Every write that a request in flight may still make under a token that has ended revives nothing. @internal */
export const noWriteRevives = (trial: Trial, { record, token }: Kept, when: string) =>
  Effect.gen(function*() {
    const { store } = trial
    const next = trial.draw(token)
    const late = written(trial, record, { late: true })
    yield* expectOver(trial, token, when)
    yield* expectTag(yield* store.update(token, record.revision, late), "Gone", `update ${when}`)
    yield* expectOver(trial, token, `after an update ${when}`)
    yield* expectTag(yield* store.touch(token, record.revision, late.deadline), "Gone", `touch ${when}`)
    yield* expectOver(trial, token, `after a touch ${when}`)
    yield* expectTag(yield* store.renew(token, record.revision, next, late), "Gone", `renew ${when}`)
    yield* expectOver(trial, token, `after a renew ${when}`)
    yield* expectOver(trial, next, `of the new token after a renew ${when}`)
  })

/** The same, and a remove after them. @internal */
export const nothingRevives = (trial: Trial, kept: Kept, when: string) =>
  Effect.gen(function*() {
    yield* noWriteRevives(trial, kept, when)
    yield* trial.store.remove(kept.token)
    yield* expectOver(trial, kept.token, `after a remove ${when}`)
  })

/** A session that was removed. @internal */
export const removed = (trial: Trial) =>
  Effect.gen(function*() {
    const kept = yield* keep(trial)
    yield* trial.store.remove(kept.token)
    return kept
  })

/** A session at its bound. @internal */
export const expired = (trial: Trial, fields: Partial<SessionRecord.SessionRecord> = {}) =>
  Effect.gen(function*() {
    const kept = yield* keep(trial, fields)
    trial.moveTo(Math.min(kept.record.deadline, kept.record.expiresAt))
    return kept
  })

/** A live session whose first revision another writer has replaced. @internal */
export const changed = (trial: Trial) =>
  Effect.gen(function*() {
    const first = yield* keep(trial)
    const second = yield* rewrite(trial, first, { n: 1, by: "another writer" })
    return { first, second }
  })
