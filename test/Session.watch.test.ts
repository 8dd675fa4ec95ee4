/**
 * A session that is watched: what is told of it and when, how it ends, and what that costs the store.
 */
import { HttpApp, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Deferred,
  Effect,
  Fiber,
  FiberId,
  FiberRef,
  FiberRefs,
  HashMap,
  Layer,
  Option,
  Queue,
  Redacted,
  Schedule,
  Stream,
  TestClock
} from "effect"
import type { Scope } from "effect"
import {
  CookieState,
  HttpMiddleware,
  MemoryStore,
  NullStore,
  Session,
  SessionEvents,
  SessionPolicy,
  Sessions,
  SessionToken,
  Store
} from "effect-session"
import type { State } from "effect-session"
import * as testing from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { emitting } from "../src/internal/sessionEvents/emit.js"
import * as fixture from "./fixtures/http.js"
import { clockedStore, createSession, hour, makeRecord } from "./support/records.js"

/** Lets everything run that need not wait for the clock. */
const settle = Effect.repeatN(Effect.yieldNow(), 200)

const minute = 60_000

// ----------------------------------------------------------------------------------------------------------- watchers

type Tell = (data: Session.Data) => Effect.Effect<unknown>

/** A watch in a fiber of its own. */
const started = <A, E extends { readonly _tag: string }, R>(watch: (tell: Tell) => Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const told = yield* Queue.unbounded<Session.Data>()
    // the platform runs a handler uninterruptible
    const fiber = yield* Effect.forkScoped(Effect.interruptible(watch((data) => Queue.offer(told, data))))
    return {
      fiber,
      /** What is told next. */
      next: Queue.take(told),
      /** What was told by now, and not read. */
      rest: Effect.zipRight(settle, Effect.map(Queue.takeAll(told), (all) => Array.from(all))),
      /** How it ends, in a word. */
      end: Effect.map(
        Effect.flip(Fiber.join(fiber)),
        (error) => "reason" in error ? `${error._tag} ${String(error.reason)}` : error._tag
      )
    }
  })

/** A watch of the session of a token, outside of any request. */
const watching = (token: SessionToken.Token) =>
  started((tell) => Session.withToken(token)(Stream.runForEach(Session.watch, tell)))

/** A watch of the session of the context. */
const watchingOwn = started((tell) => Stream.runForEach(Session.watch, tell))

// ------------------------------------------------------------------------------------------------------------- stores

const services = (
  store: Layer.Layer<Store.Store | Sessions.Sessions, unknown> = MemoryStore.layer(),
  policy: Layer.Layer<never, unknown> = Layer.empty
): Layer.Layer<State.State | Store.Store | Sessions.Sessions | testing.Controls> =>
  Layer.orDie(Layer.mergeAll(CookieState.layer(), testing.controlled(store), policy))

/** A store in memory, changed. */
const changed = (
  f: (store: Store.Store, watching: Store.Watching) => Store.Store
): Layer.Layer<Store.Store | Sessions.Sessions, unknown> =>
  Layer.scopedContext(
    Effect.map(Layer.build(MemoryStore.layer()), (context) => {
      const store = Context.get(context, Store.Store)
      assert.isDefined(store.watching)
      return Context.add(context, Store.Store, f(store, store.watching!))
    })
  )

/** One that tells nothing, as a cache. */
const silent = changed(({ watching: _, ...store }) => store)

/** One that tells of the writes of its own process alone, as a file store. */
const partial = changed((store, watching) => ({ ...store, watching: { ...watching, complete: false } }))

/** One that tells nothing, and forgets what has expired at once, as Redis does. */
const forgetful = changed(({ watching: _, ...store }) => ({
  ...store,
  load: (token, call) => Effect.map(store.load(token, call), (found) => found._tag === "None" ? Store.none : found)
}))

/** One whose changes are another stream. */
const telling = (changes: Store.Watching["changes"]) =>
  changed((store, watching) => ({ ...store, watching: { ...watching, changes } }))

const stores = [["told of everything", MemoryStore.layer()], ["told in part", partial], ["never told", silent]] as const

/** Another client's change of the session. */
const save = (token: SessionToken.Token, n: number) =>
  Session.withToken(token)(Session.update((data) => ({ ...data, n })))

const loads = Effect.flatMap(
  testing.Controls,
  ({ methods }) => Effect.map(methods, (methods) => methods.filter((method) => method === "load").length)
)

/** How often the session is read while an effect runs. */
const reads = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    yield* settle
    const before = yield* loads
    yield* effect
    yield* settle
    return (yield* loads) - before
  })

/** A session of a user. */
const begun = Effect.flatMap(
  Store.Store,
  (store) => createSession(store, { n: 0 }, { subject: "ann", authenticatedAt: 0 })
)

const renewed = (token: SessionToken.Token) =>
  Effect.gen(function*() {
    const store = yield* clockedStore
    const next = SessionToken.draw(yield* SessionToken.Generator, token)
    const found = yield* store.load(token)
    assert.strictEqual(found._tag, "Live")
    if (found._tag === "Live") {
      yield* store.renew(token, found.record.revision, next, found.record)
    }
    return next
  })

const ends = [
  ["destroyed", "SessionGone destroyed", (token) => Session.withToken(token)(Session.destroy)],
  ["revoked", "SessionGone revoked", () => Sessions.revokeAll("ann")],
  ["renewed by another request", "SessionGone renewed", renewed],
  ["expired", "SessionGone expired", () => TestClock.adjust("1 hour")]
] as ReadonlyArray<
  readonly [
    string,
    string,
    (token: SessionToken.Token) => Effect.Effect<
      unknown,
      Store.StoreError | Session.SessionGone | Session.HeadSent,
      Store.Store | State.State | Sessions.Sessions
    >
  ]
>

// ----------------------------------------------------------------------------------------------------------- requests

type Services = Scope.Scope | Store.Store | State.State | Sessions.Sessions | testing.Controls

/** A browser, each of whose requests runs what it is given. What that forks belongs to the test's scope. */
const visitor = Effect.gen(function*() {
  const context = yield* Effect.context<Services>()
  let handler: Effect.Effect<unknown, unknown, Session.Session> = Effect.void
  const client = yield* testing.client(
    HttpMiddleware.session(Effect.suspend(() => Effect.as(handler, fixture.done)))
  )
  const visit = <A, E>(effect: Effect.Effect<A, E, Session.Session | Services>, options?: testing.RequestOptions) =>
    Effect.gen(function*() {
      const value = yield* Deferred.make<A, E>()
      handler = Effect.onExit(Effect.provide(effect, context), (exit) => Deferred.done(value, exit))
      const answer = yield* client.get("/", options)
      assert.strictEqual(answer.status, 200)
      return yield* Deferred.await(value)
    })
  return { client, visit }
})

const put = (n: number) => Session.update((data) => ({ ...data, n }))

// -------------------------------------------------------------------------------------------------------------- tests

describe("a session of another request", () => {
  for (const [title, store] of stores) {
    it.scoped(`${title}: the data are told at once, and whenever they are saved`, () =>
      Effect.gen(function*() {
        const token = yield* begun
        const watch = yield* watching(token)
        assert.deepStrictEqual(yield* watch.next, { n: 0 })
        for (const n of [1, 2]) {
          yield* save(token, n)
          yield* TestClock.adjust("5 seconds")
          assert.deepStrictEqual(yield* watch.next, { n })
        }
        assert.deepStrictEqual(yield* watch.rest, [])
      }).pipe(Effect.provide(services(store))))

    for (const [how, end, act] of ends) {
      // without `watching`, a store can't say who ended it
      const wanted = store === silent && how !== "expired" ? "SessionGone destroyed" : end
      it.scoped(`${title}: it ends when the session is ${how}`, () =>
        Effect.gen(function*() {
          const token = yield* begun
          const watch = yield* watching(token)
          yield* watch.next
          yield* act(token)
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* watch.end, wanted)
          assert.deepStrictEqual(yield* watch.rest, [])
        }).pipe(Effect.provide(services(store, SessionPolicy.layer({ watchInterval: "1 minute" })))))
    }
  }

  it.scoped("what the store tells is told without waiting for the clock, also by one that tells in part", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* save(token, 1)
      assert.deepStrictEqual(yield* watch.next, { n: 1 })
      yield* Sessions.revokeAll("ann")
      assert.strictEqual(yield* watch.end, "SessionGone revoked")
    }).pipe(Effect.provide(services(partial))))

  it.scoped("what another process did on a store that tells in part is seen at the interval", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* save(token, 1)
      assert.deepStrictEqual(yield* watch.rest, [])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* watch.rest, [{ n: 1 }])
    }).pipe(
      Effect.provide(services(
        changed((store) => ({
          ...store,
          watching: {
            complete: false,
            changes: () => Stream.concat(Stream.make<[void]>(undefined), Stream.never),
            ending: () => Effect.succeedNone
          }
        }))
      ))
    ))

  it.scoped("nor does a memory in front of it answer instead (S72)", () => {
    let origin = Option.none<Store.Store>()
    const untold = changed((store) => {
      const behind = {
        ...store,
        watching: {
          complete: false,
          changes: () => Stream.concat(Stream.make<[void]>(undefined), Stream.never),
          ending: () => Effect.succeedNone
        }
      }
      origin = Option.some(behind)
      return behind
    })
    return Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      const elsewhere = Effect.provideService(Store.Store, Option.getOrThrow(origin))
      yield* elsewhere(save(token, 1))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* watch.rest, [{ n: 1 }])
      yield* elsewhere(Session.withToken(token)(Session.destroy))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* watch.end, "SessionGone destroyed")
    }).pipe(Effect.provide(services(untold.pipe(TieredStore.layer({ timeToLive: "1 hour" })))))
  })

  it.scoped("the interval is the policy's", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* save(token, 1)
      yield* TestClock.adjust("19 seconds")
      assert.deepStrictEqual(yield* watch.rest, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* watch.rest, [{ n: 1 }])
    }).pipe(Effect.provide(services(silent, SessionPolicy.layer({ watchInterval: "20 seconds" })))))

  it.scoped("a slow reader is told the newest alone", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const gate = yield* Deferred.make<void>()
      const seen: Array<Session.Data> = []
      const watch = yield* started((tell) =>
        Session.watch.pipe(
          Stream.runForEach((data) =>
            Effect.zipRight(
              Effect.sync(() => seen.push(data)),
              Effect.zipRight(tell(data), Deferred.await(gate))
            )
          ),
          Session.withToken(token)
        )
      )
      yield* watch.next
      yield* Effect.forEach([1, 2, 3, 4], (n) => Effect.zipRight(save(token, n), settle))
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      assert.deepStrictEqual(seen, [{ n: 0 }, { n: 4 }])
    }).pipe(Effect.provide(services())))

  it.scoped("a touch is not told, and moves the end", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual(yield* reads(Session.withToken(token)(Session.get)), 1)
      assert.strictEqual(yield* reads(TestClock.adjust("30 minutes")), 1)
      assert.strictEqual(yield* reads(TestClock.adjust(30 * minute - 1)), 0)
      assert.deepStrictEqual(yield* watch.rest, [])
      assert.isTrue(Option.isNone(yield* Fiber.poll(watch.fiber)))
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* watch.end, "SessionGone expired")
    }).pipe(Effect.provide(services())))

  it.scoped("watching is no use of the session: it is never touched, and ends when it would have", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* TestClock.adjust(hour - 1)
      assert.deepStrictEqual(yield* watch.rest, [])
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* watch.end, "SessionGone expired")
      const { methods } = yield* testing.Controls
      assert.deepStrictEqual([...new Set(yield* methods)], ["create", "load"])
    }).pipe(Effect.provide(services(silent, SessionPolicy.layer({ watchInterval: "7 minutes" })))))

  it.scoped("a session of a year, idle for longer than a timer can wait, is watched to its end", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const year = 365 * 24 * hour
      const token = yield* createSession(store, {}, { deadline: year, expiresAt: year, idle: year })
      const watch = yield* watching(token)
      yield* watch.next
      assert.isAtMost(yield* reads(TestClock.adjust(year - 1)), 15)
      assert.deepStrictEqual(yield* watch.rest, [])
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* watch.end, "SessionGone expired")
    }).pipe(Effect.provide(services())))

  it.scoped("one whose life another process shortened unseen has expired, and was not destroyed (S72)", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* Session.withToken(token)(Session.expireIn("2 seconds"))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* watch.end, "SessionGone expired")
    }).pipe(Effect.provide(services(silent))))

  it.scoped("one that is evicted has ended", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* begun
      assert.strictEqual(yield* watch.end, "SessionGone destroyed")
    }).pipe(Effect.provide(services(MemoryStore.layer({ capacity: 1 })))))

  it.scoped("a store that fails to say how it ended does not keep the watch from its end", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* Sessions.revokeAll("ann")
      assert.strictEqual(yield* watch.end, "SessionGone destroyed")
    }).pipe(
      Effect.provide(services(
        changed((store, watching) => ({
          ...store,
          watching: { ...watching, ending: () => Effect.die("down") }
        }))
      ))
    ))

  it.scoped("the app's handler is told of what the store finds wrong while a session is watched (S72)", () =>
    Effect.gen(function*() {
      const heard: Array<SessionEvents.Event["_tag"]> = []
      const token = yield* begun
      const watch = yield* Effect.provide(
        watching(token),
        SessionEvents.layer((event) => Effect.sync(() => heard.push(event._tag)))
      )
      yield* watch.next
      rotten = true
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* watch.end, "SessionGone destroyed")
      assert.deepStrictEqual(heard, ["Rejected"])
    }).pipe(
      Effect.provide(services(changed(({ watching: _, ...store }) => ({
        ...store,
        load: (token, call) =>
          rotten
            ? Effect.as(emitting({ _tag: "Rejected", reason: "undecodable" }), Store.none)
            : store.load(token, call)
      }))))
    ))
  let rotten = false

  it.scoped("a named session has a watch of its own", () =>
    Effect.gen(function*() {
      class Admin extends Session.Tag<Admin>()("admin") {}
      const verbs = Session.verbs(Admin)
      const token = yield* begun
      const watch = yield* started((tell) => verbs.withToken(token)(Stream.runForEach(verbs.watch, tell)))
      assert.deepStrictEqual(yield* watch.next, { n: 0 })
      yield* save(token, 1)
      assert.deepStrictEqual(yield* watch.next, { n: 1 })
    }).pipe(Effect.provide(services())))
})

describe("the session of this request", () => {
  for (const [title, store] of stores) {
    it.scoped(`${title}: one that begins is told of when it is there, and then followed`, () =>
      Effect.gen(function*() {
        const { client, visit } = yield* visitor
        const watch = yield* visit(Effect.zipLeft(watchingOwn, Effect.zipRight(settle, put(1))))
        assert.deepStrictEqual(yield* watch.rest, [{}, { n: 1 }])
        yield* visit(put(2))
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* watch.next, { n: 2 })
        yield* save(SessionToken.fromString(yield* fixture.tokenOf(client)), 3)
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* watch.next, { n: 3 })
        assert.deepStrictEqual(yield* watch.rest, [])
      }).pipe(Effect.provide(services(store))))

    it.scoped(`${title}: what this request saves is told without waiting for the clock, and not before it is saved`, () =>
      Effect.gen(function*() {
        const { visit } = yield* visitor
        yield* visit(put(1))
        const watch = yield* visit(Effect.gen(function*() {
          const watch = yield* watchingOwn
          assert.deepStrictEqual(yield* watch.next, { n: 1 })
          yield* put(2)
          assert.deepStrictEqual(yield* watch.rest, [])
          return watch
        }))
        assert.deepStrictEqual(yield* watch.rest, [{ n: 2 }])
      }).pipe(Effect.provide(services(store))))

    it.scoped(`${title}: a renewal by this request is no end: its new session is watched on`, () =>
      Effect.gen(function*() {
        const { visit } = yield* visitor
        yield* visit(put(1))
        const watch = yield* visit(Effect.gen(function*() {
          const watch = yield* watchingOwn
          yield* watch.next
          yield* Session.login("ann")
          return watch
        }))
        assert.deepStrictEqual(yield* watch.next, { n: 1 })
        yield* visit(put(2))
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* watch.next, { n: 2 })
        yield* Sessions.revokeAll("ann")
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* watch.end, store === silent ? "SessionGone destroyed" : "SessionGone revoked")
      }).pipe(Effect.provide(services(store))))

    it.scoped(`${title}: a logout by this request ends it when it is carried out`, () =>
      Effect.gen(function*() {
        const { visit } = yield* visitor
        yield* visit(put(1))
        const watch = yield* visit(Effect.gen(function*() {
          const watch = yield* watchingOwn
          yield* watch.next
          yield* Session.destroy
          yield* put(5)
          yield* settle
          assert.isTrue(Option.isNone(yield* Fiber.poll(watch.fiber)))
          return watch
        }))
        assert.strictEqual(yield* watch.end, "SessionGone destroyed")
        assert.deepStrictEqual(yield* watch.rest, [])
      }).pipe(Effect.provide(services(store))))
  }

  it.scoped("the store tells of this request's own renewal before its answer is here: no end either", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { visit } = yield* visitor
      yield* visit(put(1))
      const watch = yield* visit(watchingOwn)
      yield* watch.next
      const renewing = yield* controls.hold("renew", { at: "after" })
      const ready = yield* Deferred.make<Effect.Effect.Success<typeof watchingOwn>>()
      const request = yield* Effect.fork(visit(Effect.gen(function*() {
        yield* Deferred.succeed(ready, yield* watchingOwn)
        yield* settle
        yield* Session.renew
      })))
      const own = yield* Deferred.await(ready)
      yield* own.next
      yield* renewing.arrived
      assert.strictEqual(yield* watch.end, "SessionGone renewed")
      assert.deepStrictEqual(yield* own.next, { n: 1 })
      yield* renewing.release
      yield* Fiber.join(request)
      yield* visit(put(2))
      assert.deepStrictEqual(yield* own.rest, [{ n: 2 }])
    }).pipe(Effect.provide(services())))

  it.scoped("a renewal that another request forestalls is an end", () =>
    Effect.gen(function*() {
      const { client, visit } = yield* visitor
      yield* visit(put(1))
      const token = SessionToken.fromString(yield* fixture.tokenOf(client))
      const watch = yield* visit(Effect.gen(function*() {
        const watch = yield* watchingOwn
        yield* watch.next
        yield* Session.renew
        yield* Session.id
        yield* renewed(token)
        yield* settle
        return watch
      }))
      assert.strictEqual(yield* watch.end, "SessionGone renewed")
    }).pipe(Effect.provide(services())))

  it.scoped("a renewal inside the app's own transaction is no end, once that is committed", () =>
    Effect.gen(function*() {
      const { visit } = yield* visitor
      yield* visit(put(1))
      const watch = yield* visit(Effect.gen(function*() {
        const watch = yield* watchingOwn
        yield* watch.next
        open = Option.some({ key: {}, mark: Effect.succeed(Deferred.await(landed)) })
        yield* Session.renew
        yield* Session.commit
        open = Option.none()
        assert.deepStrictEqual(yield* watch.rest, [])
        yield* Deferred.succeed(landed, true)
        return watch
      }))
      assert.deepStrictEqual(yield* watch.next, { n: 1 })
      yield* visit(put(2))
      assert.deepStrictEqual(yield* watch.rest, [{ n: 2 }])
    }).pipe(
      Effect.provide(services(changed((store) => ({ ...store, transaction: Effect.sync(() => open) }))))
    ))
  it.scoped("what is saved inside the app's own transaction is not told while it may be rolled back", () =>
    Effect.gen(function*() {
      const marked = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<boolean>()
      const { visit } = yield* visitor
      yield* visit(put(1))
      const told = yield* visit(Effect.gen(function*() {
        const watch = yield* watchingOwn
        yield* watch.next
        open = Option.some({ key: {}, mark: Effect.as(Deferred.await(marked), Deferred.await(ended)) })
        yield* put(2)
        const commit = yield* Effect.fork(Session.commit)
        yield* settle
        const during = yield* watch.rest
        yield* Deferred.succeed(marked, undefined)
        yield* Fiber.join(commit)
        open = Option.none()
        yield* settle
        const before = yield* watch.rest
        yield* Deferred.succeed(ended, true)
        yield* Session.get
        yield* settle
        return { during, before, after: yield* watch.rest }
      }))
      assert.deepStrictEqual(told, { during: [], before: [], after: [{ n: 2 }] })
    }).pipe(
      Effect.provide(
        services(changed(({ watching: _, ...store }) => ({ ...store, transaction: Effect.sync(() => open) })))
      )
    ))

  let open: Option.Option<Store.Transaction<Store.StoreError>> = Option.none()
  const landed = Deferred.unsafeMake<boolean>(FiberId.none)

  for (
    const [how, end, act] of ends.filter(([how]) => how !== "expired")
  ) {
    it.scoped(`one that had been ${how} when the request came ends the watch at once`, () =>
      Effect.gen(function*() {
        const { client, visit } = yield* visitor
        yield* visit(Effect.zipRight(put(1), Session.login("ann")))
        yield* act(SessionToken.fromString(yield* fixture.tokenOf(client)))
        const watch = yield* visit(watchingOwn)
        assert.strictEqual(yield* watch.end, end)
      }).pipe(Effect.provide(services())))
  }

  for (const [title, store] of [["keeps", silent], ["forgets", forgetful]] as const) {
    it.scoped(`one that this request has found expired has expired for who watches it then: a store that ${title} it (S72)`, () =>
      Effect.gen(function*() {
        const { visit } = yield* visitor
        yield* visit(put(1))
        const watch = yield* visit(Effect.gen(function*() {
          yield* Session.get
          yield* TestClock.adjust("2 hours")
          yield* Effect.flip(Session.reload)
          return yield* watchingOwn
        }))
        assert.strictEqual(yield* watch.end, "SessionGone expired")
      }).pipe(Effect.provide(services(store))))
  }

  it.scoped("one whose life this request shortened has expired, also in a store that forgets it (S72)", () =>
    Effect.gen(function*() {
      const { visit } = yield* visitor
      yield* visit(put(1))
      const watch = yield* visit(Effect.gen(function*() {
        const watch = yield* watchingOwn
        yield* watch.next
        yield* Session.expireIn("2 seconds")
        return watch
      }))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* watch.end, "SessionGone expired")
    }).pipe(Effect.provide(services(forgetful))))

  it.scoped("nor has one been destroyed whose life was shortened before this request found it expired (S72)", () =>
    Effect.gen(function*() {
      const { client, visit } = yield* visitor
      yield* visit(put(1))
      const watch = yield* visit(Effect.gen(function*() {
        yield* Session.get
        const token = SessionToken.fromString(yield* fixture.tokenOf(client))
        yield* Session.withToken(token)(Session.expireIn("2 seconds"))
        yield* TestClock.adjust("2 seconds")
        yield* Effect.flip(Session.reload)
        return yield* watchingOwn
      }))
      assert.strictEqual(yield* watch.end, "SessionGone expired")
    }).pipe(Effect.provide(services(silent))))

  it.scoped("one that this request finds ended ends the watch without waiting for the clock", () =>
    Effect.gen(function*() {
      const { client, visit } = yield* visitor
      yield* visit(put(1))
      const store = yield* clockedStore
      const watch = yield* visit(Effect.gen(function*() {
        const watch = yield* watchingOwn
        yield* watch.next
        yield* store.remove(SessionToken.fromString(yield* fixture.tokenOf(client)))
        assert.deepStrictEqual(yield* watch.rest, [])
        yield* put(2)
        return watch
      }))
      assert.strictEqual(yield* watch.end, "SessionGone destroyed")
    }).pipe(Effect.provide(services(silent))))

  it.scoped("who joins a watch is told nothing older than what their own request has read", () =>
    Effect.gen(function*() {
      const { client, visit } = yield* visitor
      yield* visit(put(1))
      const first = yield* visit(watchingOwn)
      assert.deepStrictEqual(yield* first.next, { n: 1 })
      yield* save(SessionToken.fromString(yield* fixture.tokenOf(client)), 2)
      const second = yield* visit(watchingOwn)
      assert.deepStrictEqual(yield* second.next, { n: 2 })
      assert.deepStrictEqual(yield* first.rest, [{ n: 2 }])
    }).pipe(Effect.provide(services(silent))))

  it.scoped("what is told never goes back, though a read is answered late that began before a save (S72)", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { visit } = yield* visitor
      yield* visit(put(1))
      const watch = yield* visit(Effect.gen(function*() {
        const watch = yield* watchingOwn
        assert.deepStrictEqual(yield* watch.next, { n: 1 })
        const reading = yield* controls.hold("load", { at: "after" })
        yield* TestClock.adjust("5 seconds")
        yield* reading.arrived
        yield* put(2)
        yield* Session.commit
        assert.deepStrictEqual(yield* watch.rest, [{ n: 2 }])
        yield* reading.release
        return watch
      }))
      assert.deepStrictEqual(yield* watch.rest, [])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* watch.rest, [])
    }).pipe(Effect.provide(services(silent))))

  it.scoped("who joins a watch before its first read is answered is told nothing older than they have read (S72)", () =>
    Effect.gen(function*() {
      const controls = yield* testing.Controls
      const { client, visit } = yield* visitor
      yield* visit(put(1))
      const token = SessionToken.fromString(yield* fixture.tokenOf(client))
      const [first, reading] = yield* visit(Effect.gen(function*() {
        yield* Session.get
        const reading = yield* controls.hold("load", { at: "after" })
        return [yield* watchingOwn, reading] as const
      }))
      yield* reading.arrived
      yield* save(token, 2)
      const second = yield* watching(token)
      assert.deepStrictEqual(yield* second.rest, [])
      yield* reading.release
      assert.deepStrictEqual(yield* second.rest, [{ n: 2 }])
      assert.deepStrictEqual(yield* first.rest, [{ n: 2 }])
    }).pipe(Effect.provide(services(silent))))

  it.scoped("a store that went back to an earlier revision is believed", () =>
    Effect.gen(function*() {
      const { client, visit } = yield* visitor
      yield* visit(put(1))
      const token = SessionToken.fromString(yield* fixture.tokenOf(client))
      const store = yield* clockedStore
      const before = yield* store.load(token)
      yield* visit(put(2))
      const watch = yield* visit(watchingOwn)
      assert.deepStrictEqual(yield* watch.next, { n: 2 })
      restored = before
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* watch.rest, [{ n: 1 }])
    }).pipe(
      Effect.provide(services(changed(({ watching: _, ...store }) => ({
        ...store,
        load: (token, call) => restored === undefined ? store.load(token, call) : Effect.succeed(restored)
      }))))
    ))
  let restored: Store.Loaded | undefined = undefined

  it.scoped("a store that keeps nothing: this request's data, and nothing more", () =>
    Effect.gen(function*() {
      const { visit } = yield* visitor
      const watch = yield* visit(Effect.zipRight(put(1), Effect.tap(watchingOwn, settle)))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* watch.rest, [{ n: 1 }])
      assert.isTrue(Option.isNone(yield* Fiber.poll(watch.fiber)))
    }).pipe(
      Effect.provide(
        services(Layer.merge(
          NullStore.layer,
          Layer.succeed(
            Sessions.Sessions,
            Sessions.make({ end: () => Effect.succeedNone, list: () => Stream.empty })
          )
        ))
      )
    ))

  for (const onStoreFailure of ["fail", "anonymous"] as const) {
    it.scoped(`could not be loaded, and the policy is "${onStoreFailure}": the watch fails`, () =>
      Effect.gen(function*() {
        const { fail } = yield* testing.Controls
        const { visit } = yield* visitor
        yield* visit(put(1))
        yield* fail("load")
        const watch = yield* visit(watchingOwn)
        assert.strictEqual(yield* watch.end, "StoreError Unavailable")
      }).pipe(fixture.quietly, Effect.provide(services(MemoryStore.layer(), SessionPolicy.layer({ onStoreFailure })))))
  }

  it.scoped("a watch leaves what the request saves, and when, as it is", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const controls = yield* testing.Controls
        const { visit } = yield* visitor
        yield* visit(put(1))
        yield* controls.reset
        const watch = yield* visit(Effect.gen(function*() {
          const watch = yield* watchingOwn
          yield* watch.next
          yield* put(2)
          return watch
        }))
        assert.deepStrictEqual(yield* watch.rest, [{ n: 2 }])
        assert.deepStrictEqual(yield* controls.methods, ["load", "load", "update", "load"])
        assert.deepStrictEqual(lines.filter(({ level }) => level === "WARN"), [])
      })
    ).pipe(Effect.provide(services())))
})

describe("many watchers of one session", () => {
  const crowd = (token: SessionToken.Token) => Effect.all(Array.from({ length: 1000 }, () => watching(token)))

  it.scoped("a thousand are one subscription, and one read a change; the last that leaves closes it", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const first = yield* watching(token)
      yield* first.next
      const all = yield* crowd(token)
      yield* Effect.forEach(all, ({ next }) => next)
      yield* settle
      assert.deepStrictEqual(subscriptions, { begun: 1, closed: 0 })
      // one by who writes, and one by all who watch
      assert.strictEqual(yield* reads(save(token, 1)), 2)
      for (const { next } of all) {
        assert.deepStrictEqual(yield* next, { n: 1 })
      }
      yield* Fiber.interrupt(first.fiber)
      yield* Fiber.interruptAll(all.slice(1).map(({ fiber }) => fiber))
      yield* settle
      assert.deepStrictEqual(subscriptions, { begun: 1, closed: 0 })
      yield* Fiber.interrupt(all[0]!.fiber)
      yield* settle
      assert.deepStrictEqual(subscriptions, { begun: 1, closed: 1 })
      assert.strictEqual(yield* reads(save(token, 2)), 1)
      const again = yield* watching(token)
      assert.deepStrictEqual(yield* again.next, { n: 2 })
      assert.deepStrictEqual(subscriptions, { begun: 2, closed: 1 })
    }).pipe(Effect.provide(services(changed((store, watching) => ({
      ...store,
      watching: {
        ...watching,
        changes: (token) =>
          Stream.unwrapScoped(Effect.as(
            Effect.acquireRelease(
              Effect.sync(() => {
                subscriptions.begun++
              }),
              () =>
                Effect.sync(() => {
                  subscriptions.closed++
                })
            ),
            watching.changes(token)
          ))
      }
    }))))))
  const subscriptions = { begun: 0, closed: 0 }

  it.scoped("a store that is asked is read once an interval for all of them, and not when nobody watches", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const all = yield* crowd(token)
      yield* Effect.forEach(all, ({ next }) => next)
      assert.strictEqual(yield* reads(TestClock.adjust("10 seconds")), 2)
      yield* save(token, 1)
      yield* TestClock.adjust("5 seconds")
      for (const { next } of all) {
        assert.deepStrictEqual(yield* next, { n: 1 })
      }
      yield* Fiber.interruptAll(all.map(({ fiber }) => fiber))
      assert.strictEqual(yield* reads(TestClock.adjust("1 minute")), 0)
    }).pipe(fixture.leavingNoFiber, Effect.provide(services(silent))))

  it.scoped("all are told of the end", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const all = yield* crowd(token)
      yield* Effect.forEach(all, ({ next }) => next)
      yield* Sessions.revokeAll("ann")
      const said = yield* Effect.forEach(all, ({ end }) => end)
      assert.deepStrictEqual([...new Set(said)], ["SessionGone revoked"])
    }).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.scoped("a watch holds nothing of the request that began it, whose log annotations are not those of all (S72)", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const first = yield* Effect.annotateLogs(
        Effect.provideService(watching(token), RequestOnly, { socket: "open" }),
        "request",
        "the first"
      )
      yield* first.next
      const second = yield* watching(token)
      yield* second.next
      yield* Fiber.interrupt(first.fiber)
      asked.length = 0
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(asked.length, 1)
      const held = Array.from(asked[0]!.locals.values()).flatMap((values) =>
        values.map(([, value]) => value as unknown)
      )
      assert.isFalse(held.some((value) => Context.isContext(value) && value.unsafeMap.has(RequestOnly.key)))
      assert.strictEqual(
        HashMap.size(FiberRefs.getOrDefault(asked[0]!, FiberRef.currentLogAnnotations)),
        0
      )
    }).pipe(Effect.provide(services(changed(({ watching: _, ...store }) => ({
      ...store,
      load: (token, call) =>
        Effect.zipRight(
          Effect.map(Effect.getFiberRefs, (refs) => asked.push(refs)),
          store.load(token, call)
        )
    }))))))
  class RequestOnly extends Context.Tag("test/RequestOnly")<RequestOnly, { readonly socket: string }>() {}
  const asked: Array<FiberRefs.FiberRefs> = []

  it.scoped("a request that began a watch is freed once it is over, though others watch on (S72)", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const request = Effect.suspend(() => {
        const service = { socket: "open" }
        const watch = Effect.provideService(
          Session.withToken(token)(Stream.runDrain(Session.watch)),
          RequestOnly,
          service
        )
        return Effect.map(Effect.forkDaemon(watch), (fiber) => ({
          service: new WeakRef(service),
          over: Fiber.interrupt(fiber)
        }))
      })
      const { over, service } = yield* request
      yield* settle
      const other = yield* watching(token)
      yield* other.next
      yield* over
      setFlagsFromString("--expose_gc")
      const collect = runInNewContext("gc") as () => void
      // what a weak reference has given out stays until the turn is over
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      collect()
      assert.isUndefined(service.deref())
      yield* save(token, 1)
      assert.deepStrictEqual(yield* other.next, { n: 1 })
    }).pipe(Effect.provide(services())))

  it.scoped("each is told within the interval of their own policy (S72)", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const slow = yield* Effect.provide(watching(token), SessionPolicy.layer({ watchInterval: "1 hour" }))
      yield* slow.next
      const quick = yield* watching(token)
      yield* quick.next
      yield* save(token, 1)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* quick.rest, [{ n: 1 }])
    }).pipe(Effect.provide(services(silent))))

  it.scoped("the sessions of two stores are told apart, whatever their tokens", () =>
    Effect.gen(function*() {
      const token = yield* begun
      const here = yield* watching(token)
      yield* here.next
      yield* Effect.gen(function*() {
        const store = yield* clockedStore
        yield* store.create(token, testing.record({ data: { other: true } }))
        const there = yield* watching(token)
        assert.deepStrictEqual(yield* there.next, { other: true })
      }).pipe(Effect.provide(services()))
    }).pipe(Effect.provide(services())))
})

describe("a store that fails", () => {
  it.scoped("a read that fails is the failure of all who watch, who may try again", () =>
    Effect.gen(function*() {
      const { fail } = yield* testing.Controls
      const token = yield* begun
      const one = yield* watching(token)
      const retrying = yield* started((tell) =>
        Session.watch.pipe(
          Stream.retry(Schedule.spaced("1 second")),
          Stream.runForEach(tell),
          Session.withToken(token)
        )
      )
      yield* one.next
      yield* retrying.next
      yield* fail("load")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* one.end, "StoreError Unavailable")
      const store = yield* clockedStore
      yield* store.update(token, 0, yield* makeRecord({ n: 7 }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* retrying.rest, [{ n: 7 }])
    }).pipe(Effect.provide(services(silent))))

  it.scoped("a read that takes longer than the store's time limit is late", () =>
    Effect.gen(function*() {
      const { hang } = yield* testing.Controls
      const token = yield* begun
      const watch = yield* watching(token)
      yield* watch.next
      yield* hang("load")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* watch.end, "StoreError Timeout")
    }).pipe(Effect.provide(services(silent))))

  for (
    const [title, changes, end] of [
      ["fails", () => Stream.fail(new Store.StoreError({ reason: "Unavailable", method: "watch" })), "Unavailable"],
      ["dies", () => Stream.die("broken"), "Unavailable"],
      ["throws", () => assert.fail("broken"), "Unavailable"],
      ["ends", () => Stream.make<[void]>(undefined), "Unavailable"],
      ["never stands", () => Stream.never, "Timeout"]
    ] as ReadonlyArray<readonly [string, Store.Watching["changes"], string]>
  ) {
    it.scoped(`a subscription that ${title} is a StoreError`, () =>
      Effect.gen(function*() {
        const watch = yield* watching(yield* begun)
        yield* settle
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* watch.end, `StoreError ${end}`)
      }).pipe(Effect.provide(services(telling(changes)))))
  }
})

describe("server-sent events", () => {
  it.scoped("a stream under HttpApp.toWebHandler ends when all sessions of the user are revoked", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const runtime = yield* Effect.runtime<State.State | Store.Store>()
        const events = Effect.map(Effect.context<Session.Session>(), (context) =>
          HttpServerResponse.stream(
            Session.watch.pipe(
              Stream.map(({ n }) => `data: ${JSON.stringify(n)}\n\n`),
              Stream.catchTag("SessionGone", ({ reason }) => Stream.make(`event: gone\ndata: ${reason}\n\n`)),
              Stream.encodeText,
              Stream.provideContext(context)
            ),
            { contentType: "text/event-stream" }
          ))
        const handler = HttpApp.toWebHandlerRuntime(runtime)(HttpMiddleware.session(fixture.routes({
          "/events": events,
          "/add": fixture.answering(fixture.increment),
          "/login": fixture.answering(Session.login("ann"))
        })))
        const fetching = (path: string, cookie = "") =>
          Effect.promise(() => handler(new Request(`https://app.test${path}`, { headers: { cookie } })))
        const login = yield* fetching("/login")
        const cookie = login.headers.getSetCookie()[0]?.split(";")[0] ?? ""
        const answer = yield* fetching("/events", cookie)
        assert.strictEqual(answer.headers.get("content-type"), "text/event-stream")
        const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
        const read = Effect.promise(() => reader.read())
        assert.deepStrictEqual(yield* read, { done: false, value: "data: undefined\n\n" })
        yield* fetching("/add", cookie)
        assert.deepStrictEqual(yield* read, { done: false, value: "data: 1\n\n" })
        assert.strictEqual(yield* Sessions.revokeAll("ann"), 1)
        assert.deepStrictEqual(yield* read, { done: false, value: "event: gone\ndata: revoked\n\n" })
        assert.isTrue((yield* read).done)
        yield* settle
        assert.deepStrictEqual(lines.filter(({ level }) => level !== "INFO"), [])
      })
    ).pipe(fixture.leavingNoFiber, Effect.provide(services())))

  it.scoped("a client that goes away stops watching", () =>
    Effect.gen(function*() {
      const runtime = yield* Effect.runtime<State.State | Store.Store>()
      const token = yield* begun
      const handler = HttpApp.toWebHandlerRuntime(runtime)(HttpMiddleware.session(
        Effect.map(Effect.context<Session.Session>(), (context) =>
          HttpServerResponse.stream(
            Session.watch.pipe(
              Stream.map((data) => JSON.stringify(data)),
              Stream.encodeText,
              Stream.provideContext(context)
            )
          ))
      ))
      const answer = yield* Effect.promise(() =>
        handler(
          new Request("https://app.test/", { headers: { cookie: `${fixture.cookieName}=${Redacted.value(token)}` } })
        )
      )
      const reader = answer.body!.getReader()
      yield* Effect.promise(() => reader.read())
      assert.strictEqual(yield* reads(TestClock.adjust("5 seconds")), 1)
      yield* Effect.promise(() => reader.cancel())
      assert.strictEqual(yield* reads(TestClock.adjust("1 minute")), 0)
    }).pipe(fixture.leavingNoFiber, Effect.provide(services(silent))))
})
