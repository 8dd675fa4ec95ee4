/**
 * The sessions of a subject behind a memory, and watching one.
 */
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Context, Deferred, Effect, Fiber, Layer, Option, Queue, Stream, TestClock } from "effect"
import * as MemoryStore from "effect-session/MemoryStore"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { Signals } from "../src/internal/runtime/signals.js"
import type { Clocked } from "./support/clocked.js"
import { callNow, clocked, createSession, drawToken, hour, recordOf } from "./support/records.js"

type Services = Store.Store | Sessions.Sessions

/** The services of a layer, with the store asked at its caller's time. */
const build = <A = never, E = never>(layer: Layer.Layer<A | Services, E>) =>
  Effect.map(Layer.build(layer), (context) => ({
    context,
    store: clocked(Context.get(context, Store.Store)),
    sessions: Context.get(context, Sessions.Sessions)
  }))

/** A memory, what is behind it, and another instance on the same. A memory that is long forgets nothing by itself. */
const tiers = Effect.gen(function*() {
  const behind = yield* build(Layer.orDie(MemoryStore.layer()))
  const origin = Layer.succeedContext(behind.context)
  const long = { timeToLive: "30 days" } as const
  const queue = yield* Queue.unbounded<string>()
  const channel = {
    publish: (message: string) => Queue.offer(queue, message.split(" ")[1] ?? ""),
    messages: Stream.never
  }
  // what is announced is not waited for
  const said = (n: number) => Effect.map(Queue.takeN(queue, n), Chunk.toReadonlyArray)
  const here = yield* build(origin.pipe(TieredStore.layer({ ...long, channel })))
  const there = yield* build(origin.pipe(TieredStore.layer(long)))
  return { behind, here, there, said }
})

const login = (store: Store.Store, subject = "ann") =>
  Effect.gen(function*() {
    const token = yield* createSession(store, {}, { subject })
    return { token, id: yield* SessionToken.toId(token) }
  })

const renew = (store: Clocked, token: SessionToken.Token) =>
  Effect.gen(function*() {
    const record = yield* recordOf(store, token)
    const next = yield* drawToken(token)
    assert.strictEqual((yield* store.renew(token, record.revision, next, record))._tag, "Updated")
    return { token: next, id: yield* SessionToken.toId(next) }
  })

const tagOf = (store: Clocked, token: SessionToken.Token) => Effect.map(store.load(token), ({ _tag }) => _tag)

describe("Sessions behind a TieredStore", () => {
  it.scoped("S26 S31: a session that is revoked here is not answered from memory any more, and others are told", () =>
    Effect.gen(function*() {
      const { here, said } = yield* tiers
      const sessions = yield* Effect.replicateEffect(login(here.store), 4)
      yield* Effect.forEach(sessions, ({ token }) => here.store.load(token))
      const [first, second, third, fourth] = sessions
      assert.isDefined(first)
      assert.isDefined(second)
      assert.isDefined(third)
      assert.isDefined(fourth)
      assert.isTrue(yield* here.sessions.revoke(first.id))
      assert.strictEqual(yield* tagOf(here.store, first.token), "Superseded")
      assert.deepStrictEqual(yield* said(1), [first.id])
      yield* TestClock.adjust(1000)
      yield* here.store.touch(third.token, 0, 2 * hour)
      assert.strictEqual(yield* here.sessions.keepNewest("ann", 2), 1)
      assert.strictEqual(yield* here.sessions.revokeAll("ann", { except: third.id }), 1)
      assert.strictEqual(yield* here.sessions.revokeAll("ann"), 1)
      for (const { token } of [second, third, fourth]) {
        assert.strictEqual(yield* tagOf(here.store, token), "Superseded")
      }
    }))

  it.scoped("S31: the list is that of the store behind", () =>
    Effect.gen(function*() {
      const { behind, here } = yield* tiers
      const { id, token } = yield* login(here.store)
      yield* here.store.load(token)
      const elsewhere = yield* login(behind.store)
      const ids = () =>
        Effect.map(Stream.runCollect(here.sessions.list("ann")), (found) =>
          Chunk.toReadonlyArray(found).map((session) => session.id))
      assert.sameMembers(yield* ids(), [id, elsewhere.id])
      yield* behind.store.remove(token)
      assert.deepStrictEqual(yield* ids(), [elsewhere.id])
      assert.strictEqual(yield* here.sessions.count("ann"), 1)
    }))

  it.scoped("S26: a slow read that began before a revocation is not remembered", () =>
    Effect.gen(function*() {
      const behind = yield* build(Layer.orDie(MemoryStore.layer()))
      const reached = yield* Deferred.make<void>()
      const proceed = yield* Deferred.make<void>()
      const slow = Store.around(behind.store, ({ method }, run) =>
        method === "load"
          ? Effect.tap(
            Effect.suspend(run),
            () => Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(proceed))
          )
          : Effect.suspend(run))
      const origin = Layer.succeedContext(Context.add(behind.context, Store.Store, slow))
      const here = yield* build(origin.pipe(TieredStore.layer()))
      const { token } = yield* login(behind.store)
      const second = yield* renew(behind.store, token)
      const reading = yield* Effect.fork(here.store.load(second.token))
      yield* Deferred.await(reached)
      // by the id of before a renewal that this instance knows nothing of
      assert.isTrue(yield* here.sessions.revoke(yield* SessionToken.toId(token)))
      yield* Deferred.succeed(proceed, undefined)
      assert.strictEqual((yield* Fiber.join(reading))._tag, "Live")
      assert.strictEqual(yield* tagOf(here.store, second.token), "Superseded")
    }))

  it.scoped("S26 S31: a revocation by an id of before renewals, here or elsewhere, forgets what the session became", () =>
    Effect.gen(function*() {
      const { here, said, there } = yield* tiers
      const first = yield* login(here.store)
      const second = yield* renew(here.store, first.token)
      yield* here.store.load(second.token)
      assert.isTrue(yield* here.sessions.revoke(first.id))
      assert.strictEqual(yield* tagOf(here.store, second.token), "Superseded")
      // the first was announced at its renewal
      assert.sameMembers([...(yield* said(3))], [first.id, first.id, second.id])
      const third = yield* login(there.store)
      const fourth = yield* renew(there.store, third.token)
      assert.strictEqual(yield* tagOf(here.store, fourth.token), "Live")
      assert.isTrue(yield* here.sessions.revoke(third.id))
      assert.strictEqual(yield* tagOf(here.store, fourth.token), "Superseded")
      assert.sameMembers([...(yield* said(2))], [fourth.id, third.id])
    }))

  it.scoped("S66 S67: after a revocation that failed or was interrupted nothing is remembered", () =>
    Effect.gen(function*() {
      const { behind } = yield* tiers
      for (const what of ["fails", "interrupted"] as const) {
        const lookup: Sessions.Lookup = {
          ...behind.sessions.lookup,
          // carried out, and yet there is no answer
          end: (id, now) =>
            Effect.zipRight(
              behind.sessions.lookup.end(id, now),
              what === "fails"
                ? Effect.fail(new Store.StoreError({ reason: "Unavailable", method: "test" }))
                : Effect.interrupt
            )
        }
        const origin = Layer.succeedContext(
          Context.add(behind.context, Sessions.Sessions, Sessions.make(lookup))
        )
        const here = yield* build(origin.pipe(TieredStore.layer()))
        const { id, token } = yield* login(here.store)
        yield* here.store.load(token)
        yield* Effect.exit(here.sessions.revoke(id))
        assert.strictEqual(yield* tagOf(here.store, token), "Superseded")
      }
    }))

  it.scoped("D6: what another request read before the revocation committed is not remembered", () =>
    Effect.gen(function*() {
      class Open extends Context.Tag("test/Open")<Open, object>() {}
      const behind = yield* build(Layer.orDie(MemoryStore.layer()))
      const transaction = Effect.map(
        Effect.serviceOption(Open),
        Option.map((key) => ({ key, mark: Effect.succeed(Effect.succeed(true)) }))
      )
      const origin = Layer.succeedContext(
        Context.add(behind.context, Store.Store, Store.make({ ...behind.store, transaction }))
      )
      const here = yield* build(testing.controlled(origin).pipe(TieredStore.layer()))
      const controls = Context.get(here.context, testing.Controls)
      const { id, token } = yield* login(here.store)
      assert.isTrue(yield* Effect.provideService(here.sessions.revoke(id), Open, {}))
      yield* here.store.load(token)
      yield* here.store.load(token)
      assert.deepStrictEqual(yield* controls.methods, ["create", "load", "load"])
    }))

  it.scoped("a store without Sessions stays without", () =>
    Effect.gen(function*() {
      const { watching: _, ...store } = (yield* tiers).behind.store
      const context = yield* Layer.build(Layer.succeed(Store.Store, store).pipe(TieredStore.layer()))
      assert.isTrue(Option.isNone(Context.getOption(context, Sessions.Sessions)))
      assert.isUndefined(Context.get(context, Store.Store).watching)
    }))
})

describe("watching behind a TieredStore", () => {
  it.scoped("whoever is told of a change reads it, and not what was remembered", () =>
    Effect.gen(function*() {
      const { behind } = yield* tiers
      const signals = new Signals<string>()
      const asked: Array<string> = []
      const told = Store.make({
        ...behind.store,
        watching: {
          complete: true,
          changes: (token) => Stream.unwrap(Effect.map(SessionToken.toId(token), (id) => signals.stream(id))),
          ending: (token) =>
            Effect.map(SessionToken.toId(token), (id) => {
              asked.push(id)
              return Option.some("revoked" as const)
            })
        }
      })
      const here = yield* build(
        Layer.succeedContext(Context.add(behind.context, Store.Store, told)).pipe(
          TieredStore.layer({ timeToLive: "30 days" })
        )
      )
      const { id, token } = yield* login(here.store)
      yield* here.store.load(token)
      const { watching } = here.store
      assert.isDefined(watching)
      assert.isTrue(watching.complete)
      const heard = yield* Queue.unbounded<string>()
      const revision = Effect.map(
        here.store.load(token),
        (loaded) => loaded._tag === "Live" ? String(loaded.record.revision) : loaded._tag
      )
      const record = yield* recordOf(behind.store, token)
      // another instance wrote before the watcher came
      yield* behind.store.update(token, 0, record)
      assert.strictEqual(yield* revision, "0")
      yield* Effect.forkScoped(
        Stream.runForEach(watching.changes(token), () => Effect.flatMap(revision, (text) => Queue.offer(heard, text)))
      )
      assert.strictEqual(yield* Queue.take(heard), "1")
      yield* behind.store.update(token, 1, record)
      signals.notify(id)
      assert.strictEqual(yield* Queue.take(heard), "2")
      yield* behind.store.remove(token)
      signals.notify(id)
      assert.strictEqual(yield* Queue.take(heard), "Superseded")
      assert.deepStrictEqual(yield* watching.ending(token, yield* callNow), Option.some("revoked"))
      assert.deepStrictEqual(asked, [id])
    }))
})
