/**
 * What the SQL store tells whoever watches a session, and what it remembers of how a session ended.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Queue,
  Ref,
  Scope,
  Stream,
  TestClock,
  TestServices
} from "effect"
import * as Sessions from "effect-session/Sessions"
import * as SessionToken from "effect-session/SessionToken"
import * as SqlStore from "effect-session/SqlStore"
import * as Store from "effect-session/Store"
import { isPgClient } from "../src/internal/sqlStore/postgres.js"
import * as Fixture from "./fixtures/sql.js"
import type { Clocked } from "./support/clocked.js"
import { callNow, clocked, createSession, drawToken, hour, recordOf, revisionOf } from "./support/records.js"

interface Instance {
  readonly sql: SqlClient.SqlClient
  readonly store: Clocked
  readonly sessions: Sessions.Service
}

/** An instance of the store, with a client of its own. */
const instance = (client: Fixture.Client, options: SqlStore.Options = {}) =>
  Effect.map(
    Layer.build(
      Layer.provideMerge(SqlStore.layer(options).pipe(Layer.provide(SqlStore.layerMigrations(options))), client)
    ),
    (context): Instance => ({
      sql: Context.get(context, SqlClient.SqlClient),
      store: clocked(Context.get(context, Store.Store)),
      sessions: Context.get(context, Sessions.Sessions)
    })
  )

const watchingOf = (store: Store.Store): Store.Watching => {
  assert.isDefined(store.watching)
  return store.watching
}

/** What a watcher was told, an element for each time. */
const watch = (store: Store.Store, token: SessionToken.Token) =>
  Effect.gen(function*() {
    const told = yield* Queue.unbounded<void>()
    const fiber = yield* Effect.forkScoped(
      Stream.runForEach(watchingOf(store).changes(token), () => Queue.offer(told, undefined))
    )
    yield* Queue.take(told)
    return { next: Queue.take(told), leave: Fiber.interrupt(fiber), fiber }
  })

/** Lets seconds pass beside a server that answers in real time, until an effect has ended. */
const meanwhile = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.raceFirst(
    effect,
    Effect.forever(Effect.zipRight(TestClock.adjust("1 second"), TestServices.provideLive(Effect.sleep(20))))
  )

const endingOf = (store: Store.Store, token: SessionToken.Token) =>
  Effect.flatMap(callNow, (call) => Effect.map(watchingOf(store).ending(token, call), Option.getOrUndefined))

const update = (store: Clocked, token: SessionToken.Token) =>
  Effect.flatMap(recordOf(store, token), (record) => store.update(token, record.revision, record))

const renew = (store: Clocked, token: SessionToken.Token) =>
  Effect.gen(function*() {
    const record = yield* recordOf(store, token)
    const next = yield* drawToken(token)
    revisionOf(yield* store.renew(token, record.revision, next, record))
    return next
  })

const revoke = (sessions: Sessions.Service, token: SessionToken.Token) =>
  Effect.flatMap(SessionToken.toId(token), sessions.revoke)

for (const database of Fixture.databases) {
  const isTelling = database.dialect === "pg"

  describe.skipIf(database.missing !== undefined)(Fixture.title("SqlStore: watching", database), () => {
    it.scoped("S26 S31: how a session ended is known as long as its tombstone counts", () =>
      Effect.gen(function*() {
        const { client } = yield* database.schema
        const { sessions, sql, store } = yield* instance(client)
        assert.strictEqual(watchingOf(store).complete, isTelling)
        const [live, renewed, destroyed, revoked] = yield* Effect.replicateEffect(createSession(store, {}), 4)
        assert.isDefined(live)
        assert.isDefined(renewed)
        assert.isDefined(destroyed)
        assert.isDefined(revoked)
        const next = yield* renew(store, renewed)
        yield* store.remove(destroyed)
        assert.isTrue(yield* revoke(sessions, revoked))
        assert.strictEqual(yield* endingOf(store, live), undefined)
        assert.strictEqual(yield* endingOf(store, yield* drawToken()), undefined)
        assert.strictEqual(yield* endingOf(store, renewed), "renewed")
        assert.strictEqual(yield* endingOf(store, destroyed), "destroyed")
        assert.strictEqual(yield* endingOf(store, revoked), "revoked")
        // by the token from before a renewal the session that it became is revoked
        assert.isTrue(yield* revoke(sessions, renewed))
        assert.strictEqual(yield* endingOf(store, next), "revoked")
        assert.strictEqual(yield* endingOf(store, renewed), "renewed")
        // what is ended once more stays ended as it was, and a revocation is no successor
        yield* store.remove(revoked)
        assert.isFalse(yield* revoke(sessions, revoked))
        assert.strictEqual(yield* endingOf(store, revoked), "revoked")
        // a tombstone of an earlier release
        yield* sql`UPDATE sessions SET successor = NULL WHERE id = ${yield* SessionToken.toId(revoked)}`
        assert.strictEqual(yield* endingOf(store, revoked), "destroyed")
      }))

    it.scopedLive("a watcher is told at once of what its own process writes, renews and ends", () =>
      Effect.gen(function*() {
        const { client } = yield* database.schema
        const { sessions, store } = yield* instance(client)
        const token = yield* createSession(store, {})
        const watcher = yield* watch(store, token)
        yield* update(store, token)
        yield* watcher.next
        const next = yield* renew(store, token)
        yield* watcher.next
        const other = yield* watch(store, next)
        yield* revoke(sessions, token)
        yield* other.next
        const third = yield* createSession(store, {})
        const last = yield* watch(store, third)
        yield* store.remove(third)
        yield* last.next
      }))

    it.scopedLive(
      "S72: what its own process writes in a transaction is told after its commit, not only before",
      () =>
        Effect.gen(function*() {
          const { client } = yield* database.schema
          const { sql, store } = yield* instance(client)
          const token = yield* createSession(store, { n: 1 })
          const record = yield* recordOf(store, token)
          const watcher = yield* watch(store, token)
          const seen = Effect.zipRight(watcher.next, Effect.map(recordOf(store, token), ({ data }) => data["n"]))
          const readBefore = yield* Deferred.make<void>()
          // forked here: a fiber of the transaction would read on its connection
          const reading = yield* Effect.fork(
            Effect.repeat(Effect.tap(seen, () => Deferred.succeed(readBefore, undefined)), { until: (n) => n === 2 })
          )
          yield* sql.withTransaction(
            Effect.zipRight(
              store.update(token, record.revision, { ...record, data: { n: 2 } }),
              // PostgreSQL tells nobody before the commit, and SQLite lets nobody read
              database.dialect === "mysql" ? Deferred.await(readBefore) : Effect.void
            )
          )
          assert.strictEqual(yield* Fiber.join(reading), 2)
        }),
      20_000
    )

    it.scoped.skipIf(isTelling)(
      "a watcher of what was written outside of a transaction is told once",
      () =>
        Effect.gen(function*() {
          const { client } = yield* database.schema
          const { store } = yield* instance(client)
          const token = yield* createSession(store, {})
          const told = yield* Ref.make(0)
          yield* Effect.forkScoped(
            Stream.runForEach(watchingOf(store).changes(token), () => Ref.update(told, (n) => n + 1))
          )
          yield* Effect.repeat(Effect.zipRight(Effect.yieldNow(), Ref.get(told)), { until: (n) => n > 0 })
          yield* update(store, token)
          yield* Effect.repeatN(Effect.zipRight(TestClock.adjust("1 second"), Effect.yieldNow()), 20)
          assert.strictEqual(yield* Ref.get(told), 2)
        })
    )

    it.scoped.skipIf(isTelling)(
      "a watcher of what a transaction wrote is told for ten seconds, and no longer",
      () =>
        Effect.gen(function*() {
          const { client } = yield* database.schema
          const { sql, store } = yield* instance(client)
          const token = yield* createSession(store, {})
          const told = yield* Ref.make(0)
          yield* Effect.forkScoped(
            Stream.runForEach(watchingOf(store).changes(token), () => Ref.update(told, (n) => n + 1))
          )
          const pass = (seconds: number) =>
            Effect.zipRight(
              Effect.repeatN(Effect.zipRight(TestClock.adjust("1 second"), Effect.yieldNow()), seconds - 1),
              Ref.get(told)
            )
          yield* Effect.repeat(Effect.zipRight(Effect.yieldNow(), Ref.get(told)), { until: (n) => n > 0 })
          // one write after the other has no more signals than the last one alone
          yield* sql.withTransaction(Effect.repeatN(update(store, token), 4))
          const early = yield* pass(8)
          const late = yield* pass(4)
          assert.isAbove(late, early)
          assert.isAtMost(late, 1 + 5 + 11)
          assert.strictEqual(yield* pass(60), late)
        })
    )
  })
}

const postgres = Fixture.postgres

/** The notices of a table's channel up to now, by a connection of the test's own. */
const listenTo = (sql: SqlClient.SqlClient, channel: string) =>
  Effect.gen(function*() {
    assert.isTrue(isPgClient(sql))
    if (!isPgClient(sql)) {
      return yield* Effect.dieMessage("no PgClient")
    }
    const heard = yield* Queue.unbounded<string>()
    yield* Effect.forkScoped(Stream.runForEach(sql.listen(channel), (text) => Queue.offer(heard, text)))
    const upTo = (mark: string) =>
      Effect.gen(function*() {
        yield* sql`SELECT pg_notify(${channel}, ${mark})`
        const found: Array<string | undefined> = []
        for (let text = yield* Queue.take(heard); text !== mark; text = yield* Queue.take(heard)) {
          found.push(text)
        }
        return found.filter((text) => text?.includes(":") === false)
      })
    // the driver does not say when it listens
    yield* Effect.repeat(
      Effect.zipRight(sql`SELECT pg_notify(${channel}, 'begin')`, Effect.sleep(10)),
      { until: () => Effect.map(Queue.size(heard), (size) => size > 0) }
    )
    yield* upTo("listening")
    return upTo
  })

/** What is logged meanwhile, a line each. */
const logged = () => {
  const lines: Array<string> = []
  const logger = Logger.map(Logger.stringLogger, (line) => void lines.push(line))
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

/** A session that is watched by a store whose connections pass a proxy, and another store that needs none. */
const watchedThrough = (client: Fixture.Client, proxied: Fixture.Client) =>
  Effect.gen(function*() {
    const near = yield* instance(client)
    const { store } = yield* instance(proxied)
    const token = yield* createSession(store, {})
    const watcher = yield* watch(store, token)
    // it is told twice of what was written before it was heard
    yield* meanwhile(watcher.next)
    return { near, store, token, watcher }
  })

const listeners = (sql: SqlClient.SqlClient, channel: string) =>
  sql<{ readonly pid: number }>`SELECT pid FROM pg_stat_activity WHERE query = ${`LISTEN "${channel}"`}`

describe.skipIf(postgres.missing !== undefined)(Fixture.title("SqlStore: LISTEN and NOTIFY", postgres), () => {
  it.scopedLive("a change is told by its own statement, by public id, and a touch, a read or a sweep is none", () =>
    Effect.gen(function*() {
      const { client } = yield* postgres.schema
      const { sessions, sql, store } = yield* instance(client, { table: "told" })
      const notices = yield* listenTo(sql, "effect_session:told")
      const tokens = yield* Effect.replicateEffect(createSession(store, {}, { subject: "ann" }), 4)
      const [first, second, third, fourth] = yield* Effect.forEach(tokens, SessionToken.toId)
      const [renewed, destroyed, revoked, watched] = tokens
      assert.isDefined(renewed)
      assert.isDefined(destroyed)
      assert.isDefined(revoked)
      assert.isDefined(watched)
      yield* recordOf(store, watched)
      const { deadline, revision } = yield* recordOf(store, watched)
      yield* store.touch(watched, revision, deadline + hour)
      // writes of data are told only to somebody
      yield* update(store, watched)
      assert.deepStrictEqual(yield* notices("before"), [])
      yield* renew(store, renewed)
      yield* store.remove(destroyed)
      yield* revoke(sessions, revoked)
      assert.deepStrictEqual(yield* notices("ends"), [first, second, third])
      const watcher = yield* watch(store, watched)
      yield* update(store, watched)
      yield* watcher.next
      // what changed nothing is told to nobody
      yield* store.update(watched, 0, yield* recordOf(store, watched))
      yield* store.remove(yield* drawToken())
      yield* store.touch(watched, (yield* recordOf(store, watched)).revision, deadline + 2 * hour)
      assert.deepStrictEqual(yield* notices("after"), [fourth])
    }))

  it.scopedLive("another instance's change is told, however soon after the watcher's first element", () =>
    Effect.gen(function*() {
      const { client } = yield* postgres.schema
      const here = yield* instance(client)
      const there = yield* instance(client)
      yield* Effect.forEach(
        Array.from({ length: 10 }),
        () =>
          Effect.gen(function*() {
            const own = yield* instance(client)
            const token = yield* createSession(here.store, {})
            const watcher = yield* watch(own.store, token)
            yield* there.store.remove(token)
            yield* watcher.next
          }).pipe(Effect.scoped),
        { discard: true }
      )
      const token = yield* createSession(here.store, {})
      const watcher = yield* watch(here.store, token)
      const writer = yield* instance(client)
      yield* update(writer.store, token)
      yield* watcher.next
      const next = yield* renew(writer.store, token)
      yield* watcher.next
      const other = yield* watch(here.store, next)
      yield* revoke(writer.sessions, next)
      yield* other.next
    }))

  it.scopedLive("S65: what an app's transaction changes is told when it commits, and never after a rollback", () =>
    Effect.gen(function*() {
      const { client, name } = yield* postgres.schema
      const { sql, store } = yield* instance(client, { table: name })
      const notices = yield* listenTo(sql, `effect_session:${name}`)
      const [ended, kept] = yield* Effect.zip(createSession(store, {}), createSession(store, {}))
      yield* Effect.ignore(sql.withTransaction(Effect.zipRight(store.remove(kept), Effect.fail("rolled back"))))
      assert.deepStrictEqual(yield* notices("rolled back"), [])
      yield* sql.withTransaction(store.remove(ended))
      assert.deepStrictEqual(yield* notices("committed"), [yield* SessionToken.toId(ended)])
    }))

  it.scopedLive("S72: data written in an app's transaction are told when it commits, whoever watches since", () =>
    Effect.gen(function*() {
      const { client, name } = yield* postgres.schema
      const { sql, store } = yield* instance(client, { table: name })
      const notices = yield* listenTo(sql, `effect_session:${name}`)
      const token = yield* createSession(store, {})
      // known: nobody watches
      yield* update(store, token)
      yield* sql.withTransaction(update(store, token))
      assert.deepStrictEqual(yield* notices("committed"), [yield* SessionToken.toId(token)])
      // and the transaction has not told the store that somebody watches
      yield* update(store, token)
      assert.deepStrictEqual(yield* notices("outside"), [])
    }))

  it.scopedLive("S72: a write that was held up is told, because somebody may have begun to watch meanwhile", () =>
    Effect.gen(function*() {
      const { client, name } = yield* postgres.schema
      const { sql } = yield* instance(client, { table: name })
      const notices = yield* listenTo(sql, `effect_session:${name}`)
      const asking = yield* instance(client, { table: name })
      const knowing = yield* instance(client, { table: name })
      const tokens = yield* Effect.zip(createSession(asking.store, {}), createSession(knowing.store, {}))
      const [first, second] = yield* Effect.forEach(tokens, (token) => recordOf(asking.store, token))
      assert.isDefined(first)
      assert.isDefined(second)
      yield* update(knowing.store, yield* createSession(knowing.store, {}))
      const held = yield* Deferred.make<void>()
      // forked here: a fiber of the transaction would write on its connection
      const writes = yield* Effect.fork(Effect.zipRight(
        Deferred.await(held),
        Effect.zip(
          asking.store.update(tokens[0], first.revision, first),
          knowing.store.update(tokens[1], second.revision, second),
          { concurrent: true }
        )
      ))
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT id FROM ${sql(name)} FOR UPDATE`
        yield* Deferred.succeed(held, undefined)
        yield* sql`SELECT pg_sleep(2.7)`
      }))
      yield* Fiber.join(writes)
      assert.sameMembers([...(yield* notices("late"))], yield* Effect.forEach(tokens, SessionToken.toId))
    }))

  it.scopedLive("a watcher that begins inside of an app's transaction listens outside of it", () =>
    Effect.gen(function*() {
      const { client } = yield* postgres.schema
      const { sql, store } = yield* instance(client)
      const there = yield* instance(client)
      const token = yield* createSession(store, {})
      const watching = yield* Deferred.make<void>()
      // forked here: a fiber of the transaction would write on its connection
      const removing = yield* Effect.fork(Effect.zipRight(Deferred.await(watching), there.store.remove(token)))
      const before = Date.now()
      yield* sql.withTransaction(Effect.gen(function*() {
        const watcher = yield* watch(store, token)
        yield* Deferred.succeed(watching, undefined)
        yield* Fiber.join(removing)
        yield* watcher.next
      }))
      assert.isBelow(Date.now() - before, 4000)
    }))

  it.scopedLive("a thousand watchers of a hundred sessions take one connection", () =>
    Effect.gen(function*() {
      const { client } = yield* postgres.schema
      const { sql, store } = yield* instance(client, { table: "many" })
      const tokens = yield* Effect.replicateEffect(createSession(store, {}), 100)
      const watchers = yield* Effect.forEach(
        Array.from({ length: 10 }).flatMap(() => tokens),
        (token) => watch(store, token),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(yield* listeners(sql, "effect_session:many"), 1)
      yield* Effect.forEach(tokens, (token) => store.remove(token), { concurrency: 4 })
      yield* Effect.forEach(watchers, ({ next }) => next)
    }))

  it.scoped("nobody listens when nobody has watched for a moment", () =>
    Effect.gen(function*() {
      const { client } = yield* postgres.schema
      const { sql, store } = yield* instance(client, { table: "left" })
      const channel = "effect_session:left"
      const token = yield* createSession(store, {})
      assert.lengthOf(yield* listeners(sql, channel), 0)
      const watcher = yield* watch(store, token)
      yield* watcher.leave
      yield* TestClock.adjust("4 seconds")
      assert.lengthOf(yield* listeners(sql, channel), 1)
      // whoever comes back goes on with the same connection
      const again = yield* watch(store, token)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* listeners(sql, channel), 1)
      yield* again.leave
      yield* TestClock.adjust("5 seconds")
      yield* Effect.repeat(listeners(sql, channel), { until: ({ length }) => length === 0 })
      // and listens anew later
      yield* watch(store, token)
      assert.lengthOf(yield* listeners(sql, channel), 1)
    }))

  it.scoped("a writer that has just learnt that nobody watches misses nobody for long", () =>
    Effect.gen(function*() {
      const { client } = yield* postgres.schema
      const here = yield* instance(client)
      const there = yield* instance(client)
      const token = yield* createSession(here.store, {})
      yield* update(there.store, token)
      const watcher = yield* watch(here.store, token)
      yield* update(there.store, token)
      yield* meanwhile(watcher.next)
    }))

  it.scoped(
    "P26: after its connection was cut, the store listens again, and every watcher is told once more",
    () =>
      Effect.gen(function*() {
        const { client } = yield* postgres.schema
        const { layer, lines } = logged()
        yield* Effect.gen(function*() {
          const { sql, store } = yield* instance(client, { table: "cut" })
          const channel = "effect_session:cut"
          const tokens = yield* Effect.zip(createSession(store, {}), createSession(store, {}))
          const watchers = yield* Effect.forEach(tokens, (token) => watch(store, token))
          const [listener] = yield* listeners(sql, channel)
          yield* sql`SELECT pg_terminate_backend(${listener?.pid ?? 0})`
          // once because nothing is heard, and once because it is heard again
          yield* meanwhile(Effect.forEach(watchers, ({ next }) => Effect.zipRight(next, next)))
          const other = yield* instance(client, { table: "cut" })
          yield* Effect.forEach(tokens, (token) => other.store.remove(token))
          yield* Effect.forEach(watchers, ({ next }) => next)
        }).pipe(Effect.provide(layer))
        assert.isAtMost(lines.length, 1)
        assert.include(lines.join("\n"), "It listens again")
      }),
    30_000
  )

  it.scoped(
    "S72 P26: a server that goes away leaves no watcher in silence, and loses none when it comes back",
    () =>
      Effect.gen(function*() {
        const { client, other } = yield* postgres.schema
        const proxy = yield* Fixture.proxy(Fixture.server(postgres) as URL, 5432)
        const { layer, lines } = logged()
        yield* Effect.gen(function*() {
          const { near, store, token, watcher } = yield* watchedThrough(client, other.through(proxy.port))
          yield* proxy.refuse(true)
          // whoever watches is to ask, and to fail
          yield* meanwhile(watcher.next)
          yield* near.store.remove(token)
          // whoever begins to watch now is not left waiting
          yield* meanwhile(watch(store, token))
          yield* proxy.refuse(false)
          const found = Effect.zipRight(watcher.next, Effect.either(store.load(token)))
          yield* meanwhile(
            Effect.repeat(found, { until: (loaded) => loaded._tag === "Right" && loaded.right._tag !== "Live" })
          )
        }).pipe(Effect.provide(layer))
        assert.include(lines.join("\n"), "It listens again")
      }),
    30_000
  )

  it.scoped(
    "S72 P26: a server that says nothing any more, its connections open, leaves no watcher in silence",
    () =>
      Effect.gen(function*() {
        const { client, other } = yield* postgres.schema
        const proxy = yield* Fixture.proxy(Fixture.server(postgres) as URL, 5432)
        const { layer, lines } = logged()
        yield* Effect.gen(function*() {
          const { near, store, token, watcher } = yield* watchedThrough(client, other.through(proxy.port))
          yield* proxy.hold(true)
          yield* near.store.remove(token)
          yield* meanwhile(watcher.next)
          yield* proxy.hold(false)
          const found = Effect.zipRight(watcher.next, Effect.map(store.load(token), ({ _tag }) => _tag))
          yield* meanwhile(Effect.repeat(found, { until: (tag) => tag !== "Live" }))
        }).pipe(Effect.provide(layer))
        assert.include(lines.join("\n"), "It listens again")
      }),
    30_000
  )

  it.scopedLive("who watches when the store's layer is closed is told that no more will be told", () =>
    Effect.gen(function*() {
      const { client } = yield* postgres.schema
      const scope = yield* Scope.make()
      const { store } = yield* Scope.extend(instance(client), scope)
      const { fiber } = yield* watch(store, yield* drawToken())
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.void)
    }))

  it.scopedLive("names of any length and any characters make a channel of at most 63 bytes", () =>
    Effect.gen(function*() {
      const { client, name } = yield* postgres.schema
      for (
        const options of [{ table: "é".repeat(27), schema: name }, { table: "a\"b'c $1" }, { table: "x".repeat(54) }]
      ) {
        const { sql, store } = yield* instance(client, { ...options })
        const token = yield* createSession(store, {})
        const watcher = yield* watch(store, token)
        const there = yield* instance(client, { ...options })
        yield* there.store.remove(token)
        yield* watcher.next
        yield* sql.unsafe(`DROP TABLE effect_session_migrations`)
      }
    }))
})
