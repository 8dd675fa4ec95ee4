/**
 * The store law of interruption: the middleware gives up on a call that takes too long, and whoever comes next must find
 * the session as it was before or after that call. The law knows nothing of how a store keeps sessions.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as SessionRecord from "../../../SessionRecord.js"
import type * as SessionToken from "../../../SessionToken.js"
import type * as Store from "../../../Store.js"
import { yieldToEventLoop } from "../../runtime/eventLoop.js"
import * as law from "./law.js"

type Checked<A = void> = Effect.Effect<A, string | Store.StoreError>

/** An operation that is interrupted, and what must be true afterwards. */
interface Attempt {
  readonly run: Effect.Effect<unknown, Store.StoreError>
  readonly check: Checked
}

/** How long a store may take to answer after an interruption, as the policy's default store timeout. */
const patience = Duration.seconds(5)

const inTime = <A>(effect: Checked<A>, what: string): Checked<A> =>
  Effect.timeoutFail(Effect.disconnect(effect), {
    duration: patience,
    onTimeout: () => `${what} did not end within ${Duration.format(patience)}`
  })

const old = { n: 0 }
const late = { late: true }
const after = { after: true }

/** The first of the tokens that is live. Those of a renewal are given in its order, so that one of them is found. */
const firstLive = (trial: law.Trial, tokens: ReadonlyArray<SessionToken.Token>): Checked<law.Kept | undefined> =>
  Effect.gen(function*() {
    for (const token of tokens) {
      const loaded = yield* trial.store.load(token)
      if (loaded._tag === "Live") {
        return { token, record: loaded.record }
      }
    }
    return undefined
  })

/**
 * Expects that one of the tokens is live with the old data or the new, and that its session can be updated. What was
 * interrupted may still be carried out meanwhile: then the update finds another revision, and is tried again.
 */
const goesOn = (
  trial: law.Trial,
  tokens: ReadonlyArray<SessionToken.Token>,
  allowed: (record: SessionRecord.SessionRecord) => boolean
): Checked =>
  Effect.gen(function*() {
    for (let tries = 0; tries < 5; tries++) {
      const found = yield* firstLive(trial, tokens)
      if (found === undefined) {
        return yield* Effect.fail("the session is live under no token")
      }
      yield* law.expect(allowed(found.record), () => `a load answered ${law.show(found.record)}`)
      const record = law.written(trial, found.record, after)
      const answer = yield* trial.store.update(found.token, found.record.revision, record)
      if (answer._tag === "Updated") {
        const { revision, token } = answer
        return yield* law.expectKept(trial, { token, record: { ...record, revision } }, "after the next update")
      }
    }
    return yield* Effect.fail("the session can't be updated")
  })

/** Waits until at most one of the tokens is live, because the store may still be taking back what was interrupted. */
const untilOneIsLive = (trial: law.Trial, tokens: ReadonlyArray<SessionToken.Token>): Checked =>
  Effect.gen(function*() {
    for (let live = tokens.length; live > 1;) {
      yield* yieldToEventLoop
      const loaded = yield* Effect.forEach(tokens, (token) => trial.store.load(token))
      live = loaded.filter(({ _tag }) => _tag === "Live").length
    }
  })

const hasData = (record: SessionRecord.SessionRecord, data: unknown): boolean =>
  law.difference(record.data, data) === undefined

/** Each operation on a session of its own. */
const attempts = (trial: law.Trial): { readonly [Method in Store.Method]: Checked<Attempt> } => {
  const onSession = (attempt: (kept: law.Kept) => Attempt): Checked<Attempt> => Effect.map(law.keep(trial), attempt)
  return {
    load: onSession(({ token }) => ({
      run: trial.store.load(token),
      check: goesOn(trial, [token], (record) => hasData(record, old))
    })),
    create: Effect.sync(() => {
      const token = trial.draw()
      const record = law.recordOf(trial, { data: old })
      return {
        run: trial.store.create(token, record),
        check: Effect.zipRight(
          trial.store.create(token, record),
          goesOn(trial, [token], (found) => hasData(found, old))
        )
      }
    }),
    update: onSession(({ record, token }) => ({
      run: trial.store.update(token, record.revision, law.written(trial, record, late)),
      check: goesOn(
        trial,
        [token],
        (found) => found.revision === record.revision ? hasData(found, old) : hasData(found, late)
      )
    })),
    renew: onSession(({ record, token }) => {
      const next = trial.draw(token)
      return {
        run: trial.store.renew(token, record.revision, next, law.written(trial, record, late)),
        check: Effect.zipRight(
          goesOn(
            trial,
            [token, next],
            (found) => found.revision === record.revision ? hasData(found, old) : hasData(found, late)
          ),
          untilOneIsLive(trial, [token, next])
        )
      }
    }),
    touch: onSession(({ record, token }) => {
      const deadline = record.deadline + 1000
      return {
        run: trial.store.touch(token, record.revision, deadline),
        check: goesOn(
          trial,
          [token],
          (found) => hasData(found, old) && (found.deadline === record.deadline || found.deadline === deadline)
        )
      }
    }),
    remove: onSession(({ token }) => ({
      run: trial.store.remove(token),
      check: Effect.gen(function*() {
        const found = yield* firstLive(trial, [token])
        yield* law.expect(found === undefined || hasData(found.record, old), () => "a load answered other data")
        yield* trial.store.remove(token)
        yield* law.expectEnded(trial, token, "after a second remove")
      })
    }))
  }
}

/** The most turns of the event loop that an operation is given before it is interrupted. */
const mostTurns = 1000

/**
 * Interrupts an operation before it begins, and then later and later, until it ends first. In one turn of the event loop
 * it may take several steps, so every turn has several moments.
 */
const interruptEverywhere = (trial: law.Trial, method: Store.Method, prepare: Checked<Attempt>): Checked =>
  Effect.gen(function*() {
    const closeness = 3 * Math.min(1, trial.settings.thoroughness)
    for (let turns = 0, running = true; running && turns < mostTurns; turns += Math.ceil((turns + 1) / closeness)) {
      running = false
      for (let steps = 0; steps <= (turns < 4 ? 4 : 1); steps++) {
        const when = `${method} that was interrupted after ${turns} turns and ${steps} steps`
        const { check, run } = yield* prepare
        const fiber = yield* Effect.fork(run)
        for (let n = 0; n < turns; n++) {
          yield* yieldToEventLoop
        }
        for (let n = 0; n < steps; n++) {
          yield* Effect.yieldNow()
        }
        running ||= fiber.unsafePoll() === null
        yield* inTime(Fiber.interrupt(fiber), `a ${when}`)
        yield* inTime(check, `what followed a ${when}`).pipe(
          Effect.mapError((error) => typeof error === "string" ? `after a ${when}: ${error}` : error)
        )
      }
    }
  })

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  {
    name: "an operation interrupted at any step leaves the session usable, as it was before or after",
    covers: ["D9", "S13", "S67"],
    needs: ["keeping", "revocation", "revisions"],
    trial: (trial) =>
      Effect.forEach(
        Object.entries(attempts(trial)) as ReadonlyArray<[Store.Method, Checked<Attempt>]>,
        ([method, prepare]) => interruptEverywhere(trial, method, prepare),
        { discard: true }
      )
  }
]
