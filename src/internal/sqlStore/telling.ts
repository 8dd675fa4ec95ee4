/**
 * How the statements of a store tell whoever watches a session that they changed it. The module knows nothing of how
 * long anybody watches, or why.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import type { Changes } from "../../StoreBackend.js"
import { Signals } from "../runtime/signals.js"

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

/** For databases that tell nobody: whoever watches in this process is told of its own writes. @internal */
export const inProcess = (sql: SqlClient.SqlClient): Telling => {
  const signals = new Signals<string>()
  const hit = sql`1 AS hit`
  return {
    changes: { complete: false, of: ({ id }) => signals.stream(id) },
    ended: () => hit,
    written: () => Effect.succeed(hit),
    changed: (id) => Effect.sync(() => signals.notify(id))
  }
}
