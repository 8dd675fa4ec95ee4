/**
 * Which stores answer at once, and by which operations. They stand beside the store, not on it: a store made of another
 * by a spread has operations of its own, and must not be passed over for those of the other.
 */
import type { Store, Synchronous } from "../../Store.js"

const known = new WeakMap<Store, Synchronous>()

/** @internal */
export const register = (store: Store, operations: Synchronous): Store => {
  known.set(store, operations)
  return store
}

/** @internal */
export const operationsOf = (store: Store): Synchronous | undefined => known.get(store)
