/**
 * How PostgreSQL tells of changes, by NOTIFY and by one LISTEN for all watchers of a store. A notice is sent by the
 * statement that makes the change, so that it comes with the change's commit or not at all. What is sent is a public id.
 *
 * To commit a notice, PostgreSQL takes a lock of all databases, so that writers who send one go one after another. So a
 * write of data sends one only while somebody watches. A row says so, under an id that no session has. Whoever listens
 * keeps it alive. A writer asks for it in the same statement as it writes, and remembers the answer for a moment. Whoever
 * begins to watch reads again what was written until that moment is over, so a write that takes longer sends its notice,
 * and so does one in a transaction of the app's own, which may be committed at any time.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlError from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as RcRef from "effect/RcRef"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as crypto from "../crypto/hash.js"
import { Signals } from "../runtime/signals.js"
import { emitting } from "../sessionEvents/emit.js"
import * as Sql from "./statements.js"
import type { Place } from "./table.js"
import type { Telling } from "./telling.js"

interface PgClient extends SqlClient.SqlClient {
  readonly listen: (channel: string) => Stream.Stream<string, SqlError.SqlError>
}

/** Whether the client is that of `@effect/sql-pg`, known by the mark that it puts on its clients. @internal */
export const isPgClient = (sql: SqlClient.SqlClient): sql is PgClient => "~@effect/sql-pg/PgClient" in sql

/** PostgreSQL refuses a longer channel. Two tables may share one, because an id names one session anywhere. */
const longestChannel = 63

const channelOf = ({ schema, table }: Place): string => {
  const name = `effect_session:${schema === undefined ? "" : `${schema}.`}${table}`
  return name.slice(0, new TextEncoder().encodeInto(name, new Uint8Array(longestChannel)).read)
}

/** The id of the row that is there while somebody watches. No session has an id of this length. */
const watchedRow = "watched"

/** How long that row counts, in milliseconds by the database's clock. */
const watchedFor = 30_000

/**
 * How long a writer believes that nobody watches, or that somebody does, in milliseconds. It is well below `beatInterval`,
 * which leaves the write time to be committed.
 */
const rememberedFor = 2500

/** How long whoever listens waits until it proves anew that it hears, in milliseconds. */
const beatInterval = 5000

/** The pause after a failure, in milliseconds. */
const pause = 2000

/** How long an answer is waited for before it is asked for again, in milliseconds. In all, that is 2.5 seconds. */
const patience = [10, 20, 40, 80, 160, 320, 640, 1280]

/** How long a statement may take until the server counts as lost, in milliseconds. One that was cut off may never answer. */
const answerTime = 5000

/** Whatever clock a test has, a server's answer takes real time. */
const inRealTime = Effect.withClock(Clock.make())

class Unheard extends Error {
  override readonly message = "The connection that listens hears nothing."
}

class Unanswered extends Error {
  override readonly message = `The server did not answer within ${answerTime} ms.`
}

/** @internal */
export const inDatabase = (
  sql: PgClient,
  at: Place,
  tableName: string
): Effect.Effect<Telling, never, Scope.Scope> =>
  Effect.gen(function*() {
    const table = sql.literal(tableName)
    const channel = channelOf(at)
    const signals = new Signals<string>()
    yield* Effect.addFinalizer(() => signals.end)
    const time = sql.literal("(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    // a statement sees the rows of this time, also where it waits for a lock
    const begin = sql.literal("(extract(epoch FROM statement_timestamp()) * 1000)::bigint")
    let listeners = 0
    let isWatched = false
    /** When it was asked whether somebody watches, by the caller's clock. */
    let askedAt = Number.NEGATIVE_INFINITY
    /** Until when the answer holds, by the database's clock. */
    let holdsUntil = 0

    const notice = (text: string): Statement.Fragment => sql`pg_notify(${channel}, ${text})`

    /** Says that somebody watches, and sends a text to whoever listens. */
    const send = (text: string): Effect.Effect<unknown, Sql.SqlFailure | Unanswered> =>
      Sql.rows(
        sql`INSERT INTO ${table} (id, revision, touched_at, deadline)
          VALUES (${watchedRow}, 0, ${time}, ${time} + ${sql.literal(String(watchedFor))})
          ON CONFLICT (id) DO UPDATE SET deadline = EXCLUDED.deadline RETURNING ${notice(text)} AS hit`
      ).pipe(
        // the driver waits until the server has cancelled what is given up
        Effect.disconnect,
        Effect.timeoutFail({ duration: answerTime, onTimeout: () => new Unanswered() }),
        inRealTime
      )

    /** Listens, and tells everyone when it begins to hear. Fails if it hears nothing any more. */
    const listen = (hears: Effect.Effect<unknown>): Effect.Effect<never, unknown> =>
      Effect.scoped(Effect.gen(function*() {
        const own = `beat:${Encoding.encodeBase64Url(crypto.randomBytes(12))}`
        let onBeat = (): void => {}
        const receive = Stream.runForEach(
          sql.listen(channel),
          (text) => Effect.sync(() => text === own ? onBeat() : signals.notify(text))
        )
        const listening = yield* Effect.acquireRelease(
          Effect.forkDaemon(Effect.interruptible(Effect.mapError(receive, (error) => Sql.failure(error, [])))),
          // the driver waits for an UNLISTEN, which a connection that was cut may never answer
          (fiber) =>
            Effect.zipRight(
              Fiber.interruptFork(fiber),
              inRealTime(Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), 1000))
            )
        )
        // the driver says neither when its LISTEN stands nor when its connection is lost, so a text has to come back
        const beat = Effect.gen(function*() {
          const heard = yield* Deferred.make<void>()
          onBeat = () => Deferred.unsafeDone(heard, Exit.void)
          for (const wait of patience) {
            yield* send(own)
            const answer = yield* inRealTime(Effect.timeoutOption(Deferred.await(heard), wait))
            if (answer._tag === "Some") {
              return
            }
          }
          return yield* Effect.fail(new Unheard())
        })
        const beats = Effect.gen(function*() {
          yield* beat
          yield* hears
          signals.notifyAll()
          yield* Effect.sleep(beatInterval)
          yield* beat
          // of what was written until here, somebody may have thought that nobody watched
          signals.notifyAll()
          return yield* Effect.forever(Effect.zipRight(Effect.sleep(beatInterval), beat))
        })
        return yield* Effect.raceFirst(beats, Effect.zipRight(Fiber.join(listening), Effect.fail(new Unheard())))
      }))

    const listening = yield* RcRef.make({
      idleTimeToLive: beatInterval,
      acquire: Effect.gen(function*() {
        const stands = yield* Deferred.make<void>()
        let isHeard = true
        const failed = (cause: unknown): Effect.Effect<void> =>
          Effect.gen(function*() {
            if (isHeard) {
              isHeard = false
              yield* emitting(
                { _tag: "StoreFailed", method: "SqlStore.listen", reason: "Unavailable" },
                Effect.logWarning(
                  "SqlStore: The store does not hear which sessions change. It listens again in a moment.",
                  cause
                )
              )
            }
            // whoever watches asks meanwhile, and learns that the server is gone if it does not answer
            signals.notifyAll()
            yield* Deferred.succeed(stands, undefined)
            yield* Effect.sleep(pause)
          })
        yield* Effect.acquireRelease(
          Effect.sync(() => listeners++),
          () => Effect.sync(() => listeners--)
        )
        yield* listen(Effect.zipRight(Effect.sync(() => isHeard = true), Deferred.succeed(stands, undefined))).pipe(
          Effect.catchAllCause(failed),
          Effect.forever,
          Effect.interruptible,
          Effect.forkScoped
        )
        return stands
      })
    })

    return {
      changes: {
        complete: true,
        of: ({ id }) =>
          Stream.unwrapScoped(
            Effect.as(Effect.flatMap(RcRef.get(listening), Deferred.await), signals.stream(id))
          )
      },
      ended: (id) => sql`${notice(id)} AS hit`,
      written: (id, now) =>
        Effect.map(Sql.transactionKey, (within) => {
          const isKnown = isRecent(askedAt, now)
          if (within._tag === "Some" || listeners > 0 || isWatched && isKnown) {
            return sql`${notice(id)} AS hit`
          }
          return isKnown
            ? sql`CASE WHEN ${time} > ${holdsUntil} THEN ${notice(id)} END IS NULL AS hit`
            : sql`CASE WHEN ${time} > ${begin} + ${sql.literal(String(rememberedFor))} THEN ${notice(id)} ELSE (
                SELECT ${notice(id)} FROM ${table} AS watched WHERE id = ${watchedRow} AND deadline > ${time}
              ) END IS NOT NULL AS watched, ${begin} AS asked_at`
        }),
      changed: (_, now, row) =>
        Effect.sync(() => {
          if ("watched" in row && "asked_at" in row) {
            isWatched = row.watched === true
            askedAt = now
            holdsUntil = Number(row.asked_at) + rememberedFor
          }
        })
    }
  })

const isRecent = (askedAt: number, now: number): boolean => Math.abs(now - askedAt) < rememberedFor
