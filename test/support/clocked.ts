/**
 * A store for tests: an operation that is given no call makes one, with the time by the clock of the fiber that runs it.
 */
import { Clock, Effect } from "effect"
import type * as SessionRecord from "effect-session/SessionRecord"
import type * as SessionToken from "effect-session/SessionToken"
import type * as Store from "effect-session/Store"

export interface Clocked extends Store.Store {
  readonly load: (token: SessionToken.Token, call?: To) => Effect.Effect<Store.Loaded, Store.StoreError>
  readonly create: (
    token: SessionToken.Token,
    record: SessionRecord.SessionRecord,
    call?: To
  ) => Effect.Effect<Store.Created, Store.StoreError>
  readonly update: (
    token: SessionToken.Token,
    revision: number,
    record: SessionRecord.SessionRecord,
    call?: To
  ) => Effect.Effect<Store.Updated, Store.StoreError>
  readonly renew: (
    token: SessionToken.Token,
    revision: number,
    next: SessionToken.Token,
    record: SessionRecord.SessionRecord,
    call?: To
  ) => Effect.Effect<Store.Updated, Store.StoreError>
  readonly touch: (
    token: SessionToken.Token,
    revision: number,
    deadline: number,
    call?: To
  ) => Effect.Effect<Store.Touched, Store.StoreError>
  readonly remove: (token: SessionToken.Token, call?: To) => Effect.Effect<void, Store.StoreError>
}

/** What a test says of a call; the rest is a cookie's, now. */
export type To = Partial<Store.Call>

const audience = "cookie:__Host-session"
const limit = 4096

export const clocked = (store: Store.Store): Clocked => {
  const at = <A>(
    call: To | undefined,
    f: (call: Store.Call) => Effect.Effect<A, Store.StoreError>
  ): Effect.Effect<A, Store.StoreError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => f({ now, audience, limit, ...call }))
  return {
    ...store,
    load: (token, call) => at(call, (call) => store.load(token, call)),
    create: (token, record, call) => at(call, (call) => store.create(token, record, call)),
    update: (token, revision, record, call) => at(call, (call) => store.update(token, revision, record, call)),
    renew: (token, revision, next, record, call) =>
      at(call, (call) => store.renew(token, revision, next, record, call)),
    touch: (token, revision, deadline, call) => at(call, (call) => store.touch(token, revision, deadline, call)),
    remove: (token, call) => at(call, (call) => store.remove(token, call))
  }
}
