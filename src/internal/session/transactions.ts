/**
 * Commits inside a SQL transaction of the app's own. They stand or fall with it, so each is provisional: how the
 * transaction ended is asked when the session is next used. Knows nothing of SQL, only what a store tells of its
 * transaction.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Store from "../../Store.js"
import type { CommitError, Run } from "./commit.js"
import { carryOut, planned } from "./commit.js"
import type { SessionState } from "./state.js"
import { late } from "./storeCalls.js"

/** Commits at once, and remembers what to go back to should the transaction be rolled back. @internal */
export const commitWithin = <B>(
  run: Run<B>,
  transaction: Store.Transaction<Store.StoreError>
): Effect.Effect<B, CommitError> =>
  Effect.zipRight(
    learnEndings(run.state),
    Effect.suspend(() => {
      const { state } = run
      run.transaction = transaction.key
      const before = { open: state.open, delivery: state.response.delivery }
      state.commitsWithin(transaction.key)
      return Effect.tap(
        carryOut(run, planned(run)),
        () => {
          const { base, removing } = state.open
          return base === before.open.base && removing === before.open.removing
            ? Effect.void
            : Effect.map(transaction.mark, (committed) => {
              state.provisional({ key: transaction.key, committed, before })
            })
        }
      ).pipe(Effect.ensuring(Effect.sync(() => state.commitsWithin(undefined))))
    })
  )

/**
 * Learns how the transactions ended that commits were made in: what one rolled back is rolled back here, its updates with
 * it. Inside a transaction nothing is final yet, since one around it may still be rolled back.
 *
 * @internal
 */
export const learnEndings = (state: SessionState): Effect.Effect<void, Store.StoreError> => {
  const { policy, store } = state.environment
  const { value } = state
  if (value._tag !== "Open" || value.provisional.length === 0 || store.transaction === undefined) {
    return Exit.void
  }
  return Effect.flatMap(store.transaction, (open) => learnEndingsWithin(state, Option.getOrUndefined(open)?.key)).pipe(
    Effect.timeoutFail({ duration: policy.storeTimeout, onTimeout: () => late("transaction") })
  )
}

const learnEndingsWithin = (state: SessionState, open: object | undefined): Effect.Effect<void, Store.StoreError> => {
  const newest = state.open.provisional.at(-1)
  if (newest === undefined || newest.key === open) {
    return Effect.void
  }
  return Effect.flatMap(newest.committed, (committed) => {
    if (!committed) {
      state.rollBack(newest)
      return learnEndingsWithin(state, open)
    }
    if (open === undefined) {
      state.confirm()
    }
    return Effect.void
  })
}
