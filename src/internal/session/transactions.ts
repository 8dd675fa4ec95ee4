/**
 * Commits inside a SQL transaction of the app's own. They stand or fall with it, so each is provisional: how the
 * transaction ended is asked when the session is next used. Knows nothing of SQL, only what a store tells of its transaction.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Store from "../../Store.js"
import type { CommitError, Order } from "./commit.js"
import { attempt } from "./commit.js"
import type { Working } from "./state.js"

/** Commits at once, and remembers what to go back to should the transaction take the commit back. @internal */
export const carryOutWithin = <B>(
  working: Working,
  order: Order<B>,
  transaction: Store.Transaction<Store.StoreError>
): Effect.Effect<B, CommitError> =>
  Effect.zipRight(
    settled(working),
    Effect.suspend(() => {
      const before = { base: working.base, removing: working.removing, delivery: working.delivery }
      return Effect.tap(
        attempt(working, { ...order, single: true }, undefined),
        () =>
          working.base === before.base && working.removing === before.removing
            ? Effect.void
            : Effect.map(transaction.mark, (landed) => {
              working.provisional = [...working.provisional, { key: transaction.key, landed, before }]
            })
      )
    })
  )

/**
 * Learns how transactions ended that commits were made in: what one took back is taken back here, its updates with it.
 * Inside a transaction nothing that stands is final yet, since one around it may still be taken back.
 *
 * @internal
 */
export const settled = (working: Working): Effect.Effect<void, Store.StoreError> => {
  const { policy, store } = working.environment
  if (working.provisional.length === 0 || store.transaction === undefined) {
    return Effect.void
  }
  return Effect.flatMap(store.transaction, (open) => settleWithin(working, Option.getOrUndefined(open)?.key)).pipe(
    Effect.timeoutFail({
      duration: policy.storeTimeout,
      onTimeout: () => new Store.StoreError({ reason: "Timeout", method: "transaction" })
    })
  )
}

const settleWithin = (working: Working, open: object | undefined): Effect.Effect<void, Store.StoreError> => {
  const newest = working.provisional.at(-1)
  if (newest === undefined || newest.key === open) {
    return Effect.void
  }
  return Effect.flatMap(newest.landed, (landed) => {
    if (landed) {
      working.provisional = open === undefined ? [] : working.provisional
      return Effect.void
    }
    working.takeBack(newest.before)
    return settleWithin(working, open)
  })
}
