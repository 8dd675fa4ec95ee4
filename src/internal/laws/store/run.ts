/**
 * Runs a store law: makes a trial of the store that is given, or of it and a second instance in turn. The module knows
 * nothing of what the laws are.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as TestClock from "effect/TestClock"
import * as Sessions from "../../../Sessions.js"
import * as SessionToken from "../../../SessionToken.js"
import * as Store from "../../../Store.js"
import { LawBroken } from "../broken.js"
import type * as law from "./law.js"

const everywhere: law.Audience = { audience: "cookie:session", limit: Number.MAX_SAFE_INTEGER }

/** Every call is suspended, because a store may do its work when it is called. */
const ask = (store: Store.Store, audience: law.Audience, now: () => number): law.Asked => {
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

const askWatching = (watching: Store.Watching, audience: law.Audience, now: () => number): law.AskedWatching => ({
  complete: watching.complete,
  changes: watching.changes,
  ending: (token) => Effect.suspend(() => watching.ending(token, { ...audience, now: now() }))
})

/** The real clock, which shows another time. */
const clockAt = (now: () => number): Clock.Clock => {
  const real = Clock.make()
  const nanos = () => BigInt(now()) * 1_000_000n
  return {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: now,
    currentTimeMillis: Effect.sync(now),
    unsafeCurrentTimeNanos: nanos,
    currentTimeNanos: Effect.sync(nanos),
    sleep: (duration) => real.sleep(duration)
  }
}

/** `next` gives the instance whose turn it is. */
const askSessions = (next: () => Sessions.Service, now: () => number): law.AskedSessions => {
  const at = <A, E>(run: (sessions: Sessions.Service) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => Effect.withClock(run(next()), clockAt(now)))
  return {
    list: (subject) => at((sessions) => Effect.map(Stream.runCollect(sessions.list(subject)), (found) => [...found])),
    revoke: (id) => at((sessions) => sessions.revoke(id)),
    revokeAll: (subject, options) => at((sessions) => sessions.revokeAll(subject, options)),
    keepNewest: (subject, n) => at((sessions) => sessions.keepNewest(subject, n)),
    count: (subject) => at((sessions) => sessions.count(subject))
  }
}

const isTestClock = (clock: Clock.Clock): clock is TestClock.TestClock => "adjust" in clock && "setTime" in clock

/** Builds the second instance anew, also if its layer is that of the first one. */
const build = (
  layer: Layer.Layer<Store.Store, unknown>
): Effect.Effect<Context.Context<Store.Store>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const memoMap = yield* Layer.makeMemoMap
    return yield* Layer.buildWithMemoMap(layer, memoMap, yield* Effect.scope)
  }).pipe(Effect.orDie)

/** Gives the two instances in turn, or the first one if there is no second. */
const inTurn = <A>(first: A, second: A | undefined): () => A => {
  let count = 0
  return () => count++ % 2 === 0 ? first : second ?? first
}

/** A store whose calls go to two stores in turn. */
const alternating = (first: Store.Store, second: Store.Store): Store.Store => {
  const next = inTurn(first, second)
  return Store.make({
    accepts: first.accepts,
    load: (...args) => next().load(...args),
    create: (...args) => next().create(...args),
    update: (...args) => next().update(...args),
    renew: (...args) => next().renew(...args),
    touch: (...args) => next().touch(...args),
    remove: (...args) => next().remove(...args)
  })
}

const noSessions = "the layer provides no Sessions, so write no `sessions: true`"

/** @internal */
export const run = (definition: law.Definition, settings: law.Settings): Effect.Effect<
  void,
  LawBroken | Store.StoreError,
  Store.Store
> =>
  Effect.gen(function*() {
    const first = yield* Store.Store
    const context = definition.races === true && settings.second !== undefined
      ? yield* build(settings.second)
      : undefined
    const second = context === undefined ? undefined : Context.get(context, Store.Store)
    const service = yield* Effect.serviceOption(Sessions.Sessions)
    if (definition.sessions === true && service._tag === "None") {
      return yield* Effect.fail(noSessions)
    }
    const nextSessions = inTurn(
      service,
      context === undefined ? undefined : Context.getOption(context, Sessions.Sessions)
    )
    const store = second === undefined ? first : alternating(first, second)
    // An instance may answer a read from memory for a while, so time has to go on between the calls of two instances.
    const betweenCalls = second === undefined ? 0 : 1
    const generator = yield* SessionToken.Generator
    const outer = yield* Effect.clock
    const testClock = isTestClock(outer) ? outer : undefined
    // The real clock soon differs from the calls' time, so that a store that reads it fails. A store that waits for a
    // lock must not wait for a TestClock.
    const clock = Clock.make()
    const fork: law.Trial["fork"] = (body) =>
      Effect.suspend(() => {
        let time = Date.now()
        const now = () => time
        const moveTo = (to: number) => void (time = to)
        const draw = (predecessor?: SessionToken.Token) => SessionToken.draw(generator, predecessor)
        const audience = settings.call ?? everywhere
        const passing = () => time += betweenCalls
        const asked = ask(store, audience, passing)
        const sessions = askSessions(() => Option.getOrThrow(nextSessions()), passing)
        const watching = first.watching === undefined ? undefined : askWatching(first.watching, audience, now)
        return Effect.withClock(
          body({ store: asked, sessions, watching, settings, now, moveTo, draw, testClock, fork }),
          clock
        )
      })
    yield* fork(definition.trial)
  }).pipe(
    Effect.scoped,
    Effect.mapError((error) =>
      typeof error === "string" ? new LawBroken({ law: definition.name, problem: error }) : error
    )
  )
