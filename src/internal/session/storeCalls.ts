/**
 * How the middleware calls a store: at once where the store answers at once, as an effect otherwise. Either way a defect
 * of the store is a failure like any other, whose meaning is the policy's to say.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as SessionRecord from "../../SessionRecord.js"
import type * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import * as platform from "../http/fiber.js"
import { type Caller, contained, failureOf } from "../runtime/timeout.js"
import type { Working } from "./state.js"

const atOnce = <A>(method: string, call: () => A): Effect.Effect<A, Store.StoreError> => {
  try {
    return Exit.succeed(call())
  } catch (error) {
    return Effect.fail(Store.isStoreError(error) ? error : failureOf(Cause.die(error), method))
  }
}

/**
 * Not contained: a load is, as a whole. The time is that of the call, for a token may take its time to arrive.
 *
 * @internal
 */
export const load = (
  { environment: { store, transports }, synchronous }: Working,
  token: SessionToken.Token,
  carrier: number,
  caller: Caller
): Effect.Effect<Store.Loaded, Store.StoreError> =>
  synchronous === undefined
    ? store.load(token, transports[carrier])
    : atOnce("load", () => synchronous.load(token, platform.nowOf(caller)))

/** @internal */
export const create = (
  { binding, environment: { store }, synchronous }: Working,
  token: SessionToken.Token,
  record: SessionRecord.SessionRecord,
  now: number
): Effect.Effect<Store.Created, Store.StoreError> =>
  synchronous === undefined
    ? contained("commit", () => store.create(token, record, binding))
    : atOnce("commit", () => synchronous.create(token, record, now))

/** @internal */
export const update = (
  { binding, environment: { store }, synchronous }: Working,
  token: SessionToken.Token,
  revision: number,
  record: SessionRecord.SessionRecord,
  now: number
): Effect.Effect<Store.Updated, Store.StoreError> =>
  synchronous === undefined
    ? contained("commit", () => store.update(token, revision, record, binding))
    : atOnce("commit", () => synchronous.update(token, revision, record, now))

/** @internal */
export const renew = (
  { binding, environment: { store }, synchronous }: Working,
  token: SessionToken.Token,
  revision: number,
  next: SessionToken.Token,
  record: SessionRecord.SessionRecord,
  now: number
): Effect.Effect<Store.Updated, Store.StoreError> =>
  synchronous === undefined
    ? contained("commit", () => store.renew(token, revision, next, record, binding))
    : atOnce("commit", () => synchronous.renew(token, revision, next, record, now))

/** @internal */
export const touch = (
  { binding, environment: { store }, synchronous }: Working,
  token: SessionToken.Token,
  revision: number,
  deadline: number,
  now: number
): Effect.Effect<Store.Touched, Store.StoreError> =>
  synchronous === undefined
    ? contained("commit", () => store.touch(token, revision, deadline, binding))
    : atOnce("commit", () => synchronous.touch(token, revision, deadline, now))

/** @internal */
export const remove = (
  { binding, environment: { store }, synchronous }: Working,
  token: SessionToken.Token,
  now: number
): Effect.Effect<void, Store.StoreError> =>
  synchronous === undefined
    ? contained("commit", () => store.remove(token, binding))
    : atOnce("commit", () => synchronous.remove(token, now))
