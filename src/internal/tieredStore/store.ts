/**
 * The operations of a tiered store, and of `Sessions` in front of one. A read is answered from memory if possible. A write goes to the store behind, the
 * origin, and its answer goes to memory. The module knows nothing of HTTP, nor of how the origin keeps sessions.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SessionRecord from "../../SessionRecord.js"
import * as Sessions from "../../Sessions.js"
import * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import { andThen } from "../runtime/exit.js"
import type { Memory, Ticket } from "./memory.js"

type Id = SessionToken.SessionId

/** @internal */
export const make = (origin: Store.Store, memory: Memory, announce: (id: Id) => Effect.Effect<void>): Store.Store => {
  /**
   * Runs a call of the origin with a ticket. If the call fails, the id is forgotten: the write may have been committed.
   */
  const callOrigin = <A, E>(
    id: Id,
    call: Store.Call,
    run: () => Effect.Effect<A, E>,
    remember: (answer: A, ticket: Ticket) => Effect.Effect<void> | void
  ): Effect.Effect<A, E> =>
    Effect.acquireUseRelease(
      Effect.sync(() => memory.begin(id, call.audience, call.now)),
      (ticket) =>
        Effect.suspend(run).pipe(
          Effect.tap((answer) => remember(answer, ticket) ?? Effect.void),
          Effect.onError(() => Effect.sync(() => memory.withSuccessors(id).forEach((each) => memory.forget(each))))
        ),
      (ticket) => Effect.sync(() => memory.end(ticket))
    )

  /**
   * Runs a call of the origin alone inside a transaction of the app's own, and `outside` otherwise. What a transaction
   * sees may be rolled back, and nobody else sees it yet. What another request reads before the transaction ends may be
   * old when it ends. So neither is kept.
   */
  const unlessInTransaction = <A, E>(
    token: SessionToken.Token,
    call: Store.Call,
    writes: boolean,
    run: () => Effect.Effect<A, E>,
    outside: (id: Id) => Effect.Effect<A, E | Store.StoreError>
  ): Effect.Effect<A, E | Store.StoreError> =>
    andThen(SessionToken.toId(token), (id) => {
      if (origin.transaction === undefined) {
        return outside(id)
      }
      const inside = Effect.ensuring(
        Effect.suspend(run),
        Effect.suspend(() => {
          if (!writes) {
            return Effect.sync(() => memory.forget(id))
          }
          const ids = memory.withSuccessors(id)
          ids.forEach((each) => memory.distrust(each, call.now))
          return Effect.forEach(ids, announce, { discard: true })
        })
      )
      return Effect.flatMap(origin.transaction, (open) => open._tag === "Some" ? inside : outside(id))
    })

  /** Runs a write, with a ticket unless it is inside a transaction. */
  const write = <A, E>(
    token: SessionToken.Token,
    call: Store.Call,
    run: () => Effect.Effect<A, E>,
    remember: (answer: A, ticket: Ticket) => Effect.Effect<void> | void
  ): Effect.Effect<A, E | Store.StoreError> =>
    unlessInTransaction(token, call, true, run, (id) => callOrigin(id, call, run, remember))

  /** Remembers the new id of a renewed session, also inside a transaction. */
  const rememberSuccessor = (token: SessionToken.Token, answer: Store.Updated): Effect.Effect<void> =>
    answer._tag === "Updated"
      ? Effect.zipWith(
        SessionToken.toId(token),
        SessionToken.toId(answer.token),
        (id, next) => memory.renewed(id, next)
      )
      : Effect.void

  /** Remembers the answer of an update or renewal, under the token that the session has from then on. */
  const rememberWrite = (
    next: SessionToken.Token,
    record: SessionRecord.SessionRecord
  ) =>
  (answer: Store.Updated, ticket: Ticket): Effect.Effect<void> | void => {
    switch (answer._tag) {
      case "Conflict":
        return memory.keep(ticket, SessionRecord.own(answer.record))
      case "Gone":
        return memory.forget(ticket.id)
      case "Updated":
        return Effect.flatMap(
          Effect.zip(SessionToken.toId(next), SessionToken.toId(answer.token)),
          ([asked, given]) => {
            if (given !== ticket.id) {
              memory.forget(ticket.id)
            }
            // If the origin made a token of its own, only it knows the record's id, so the next load reads the record.
            if (given === asked) {
              const under = given === ticket.id ? ticket : memory.begin(given, ticket.audience, ticket.startedAt)
              memory.keep(under, SessionRecord.written(record, answer.revision))
              memory.end(under)
            }
            return announce(ticket.id)
          }
        )
    }
  }

  return Store.make({
    accepts: origin.accepts,
    ...(origin.transaction === undefined ? undefined : { transaction: origin.transaction }),
    ...(origin.watching === undefined ? undefined : { watching: watching(origin.watching, memory) }),
    load: (token, call) =>
      unlessInTransaction(token, call, false, () => origin.load(token, call), (id) => {
        const found = call.fresh === true ? undefined : memory.find(id, call.audience, call.now)
        // a record that has expired here may have been touched elsewhere, so the origin is asked
        return found !== undefined && !(found._tag === "Live" && SessionRecord.isExpired(found.record, call.now))
          ? Exit.succeed(found)
          : callOrigin(id, call, () => origin.load(token, call), (loaded, ticket) =>
            loaded._tag === "Live"
              ? memory.keep(ticket, SessionRecord.own(loaded.record))
              : memory.keepAbsent(ticket, loaded._tag))
      }),
    create: (token, record, call) =>
      write(token, call, () => origin.create(token, record, call), (answer, ticket) =>
        answer._tag === "Created"
          ? Effect.map(SessionToken.toId(answer.token), (id) =>
            id === ticket.id
              ? memory.keepNew(ticket, SessionRecord.written(record))
              : memory.forget(ticket.id))
          : undefined),
    update: (token, revision, record, call) =>
      write(token, call, () => origin.update(token, revision, record, call), rememberWrite(token, record)),
    renew: (token, revision, next, record, call) =>
      write(
        token,
        call,
        () =>
          Effect.tap(origin.renew(token, revision, next, record, call), (answer) => rememberSuccessor(token, answer)),
        rememberWrite(next, record)
      ),
    touch: (token, revision, deadline, call) =>
      write(token, call, () => origin.touch(token, revision, deadline, call), (answer, ticket) =>
        answer._tag === "Gone"
          ? memory.forget(ticket.id)
          : Effect.map(
            SessionToken.toId(answer.token),
            (id) => id === ticket.id ? memory.extend(ticket, revision, deadline) : memory.forget(ticket.id)
          )),
    remove: (token, call) =>
      write(token, call, () => origin.remove(token, call), (_, ticket) => {
        const ids = memory.withSuccessors(ticket.id)
        ids.forEach((id) => memory.forget(id))
        return Effect.forEach(ids, announce, { discard: true })
      })
  })
}

/** Whoever is told of a change reads the session next, so it must not be answered from memory. */
const watching = (origin: Store.Watching, memory: Memory): Store.Watching => ({
  ...origin,
  changes: (token) =>
    Stream.unwrap(
      Effect.map(
        SessionToken.toId(token),
        (id) => Stream.tap(origin.changes(token), () => Effect.sync(() => memory.forget(id)))
      )
    )
})

/**
 * The sessions by subject. They are listed by the store behind. What ends is forgotten, and announced to the other
 * instances, even if it is not known whether it ended.
 *
 * @internal
 */
export const makeSessions = (
  origin: Store.Store,
  { end, list }: Sessions.Lookup,
  memory: Memory,
  announce: (id: Id) => Effect.Effect<void>
): Sessions.Service => {
  const isInTransaction = origin.transaction === undefined
    ? Exit.succeed(false)
    : Effect.map(origin.transaction, Option.isSome)

  const forget = (ids: ReadonlySet<Id>, now: number): Effect.Effect<void> =>
    Effect.flatMap(isInTransaction, (isInside) => {
      ids.forEach((id) => isInside ? memory.distrust(id, now) : memory.forget(id))
      return Effect.forEach(ids, announce, { discard: true })
    })

  return Sessions.make({
    list,
    end: (id, now) =>
      Effect.suspend(() => {
        const ids = new Set<Id>()
        const note = (ended: Id) => memory.withSuccessors(ended).forEach((each) => ids.add(each))
        return Effect.ensuring(
          Effect.tap(end(id, now), (ended) => Effect.sync(() => Option.map(ended, note))),
          Effect.suspend(() => {
            note(id)
            return forget(ids, now)
          })
        )
      })
  })
}
