/**
 * How the statements of a store tell whoever watches a session that they changed it. The module knows nothing of how
 * long anybody watches, or why.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Statement from "@effect/sql/Statement"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Changes } from "../../StoreBackend.js"
import { Signals } from "../runtime/signals.js"
import * as Sql from "./statements.js"

/** @internal */
export interface Telling {
  readonly changes: Changes
  /** What a statement that ends or renews the session of an id returns. */
  readonly ended: (id: string) => Statement.Fragment
  /** What a statement that writes the session of an id returns. `now` is the caller's time, in milliseconds. */
  readonly written: (id: string, now: number) => Effect.Effect<Statement.Fragment>
  /** Is given what such a statement returned, if it changed the session. */
  readonly changed: (id: string, now: number, row: object) => Effect.Effect<void>
}

/** How long after a write in a transaction its watchers are told of it once more: 10 ms, then twice as long, ten times. */
const firstPause = 10
const pauses = Schedule.intersect(Schedule.exponential(firstPause), Schedule.recurs(10))

/**
 * For databases that tell nobody: whoever watches in this process is told of its own writes. A client does not say when a
 * transaction of the app's own ends, and what is read before shows nothing of it. So whoever watches is told of a write
 * in one again and again, for about 10 seconds, by when it has most likely ended; after that the watcher's own interval has
 * to do. A later write of the same session begins these seconds anew.
 *
 * @internal
 */
export const inProcess = (sql: SqlClient.SqlClient): Effect.Effect<Telling, never, Scope.Scope> =>
  Effect.gen(function*() {
    const signals = new Signals<string>()
    const hit = sql`1 AS hit`
    const repeated = yield* FiberMap.make<string>()
    const repeatedly = (id: string): Effect.Effect<void> =>
      Effect.sync(() => signals.notify(id)).pipe(
        Effect.repeat({ schedule: pauses, while: (isWatched) => isWatched }),
        Effect.delay(firstPause),
        // it outlives the caller, whose services may be those of the transaction
        Effect.mapInputContext((_: Context.Context<never>) => Context.empty()),
        Effect.interruptible,
        FiberMap.run(repeated, id),
        Effect.asVoid
      )
    return {
      changes: { complete: false, of: ({ id }) => signals.stream(id) },
      ended: () => hit,
      written: () => Effect.succeed(hit),
      changed: (id) =>
        Effect.flatMap(
          Sql.transactionKey,
          (within) => signals.notify(id) && within._tag === "Some" ? repeatedly(id) : Effect.void
        )
    }
  })
