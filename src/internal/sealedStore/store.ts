/**
 * The store's operations on sealed tokens, with the list of ended sessions, which is optional. Without a list, or with
 * a list that returns an `Exit`, an operation returns an `Exit`. The module knows nothing of how a token is sealed, nor
 * of how its content is written.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as SessionRecord from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import type { Bytes, Node } from "../crypto/node.js"
import { longestLife } from "../options.js"
import { andThen } from "../runtime/exit.js"
import { emitting } from "../sessionEvents/emit.js"
import * as Content from "./content.js"
import * as notes from "./notes.js"
import * as Seal from "./seal.js"

/** A token whose form was found right. */
interface Parsed {
  readonly _tag: "Parsed"
  readonly bytes: Bytes
}

/** What is known of a token that was opened before, so that the calls of one request open it only once. */
interface Known {
  readonly _tag: "Known"
  readonly audience: string
  readonly current: boolean
  readonly latest: number
  readonly id: SessionToken.SessionId
  readonly record: SessionRecord.SessionRecord
}

type Rejection = Seal.Rejection | "expired" | "undecodable"

const tombstoneMillis = Duration.toMillis(Store.tombstoneTimeToLive)

type Answer<A> = Effect.Effect<A, Store.StoreError>

/** @internal */
export const make = (runtime: Node, sealer: Seal.Sealer, list: Store.Store | undefined): Store.Store => {
  const seen = notes.make<SessionToken.Token, Known | Parsed>()

  const parse = (token: SessionToken.Token): Bytes | undefined => {
    const found = seen.get(token)
    return found?._tag === "Parsed" ? found.bytes : sealer.parse(Redacted.value(token))
  }

  const accepts = (token: SessionToken.Token): boolean => {
    if (seen.get(token) !== undefined) {
      return true
    }
    const bytes = sealer.parse(Redacted.value(token))
    if (bytes === undefined) {
      return false
    }
    seen.set(token, { _tag: "Parsed", bytes })
    return true
  }

  const unseal = (token: SessionToken.Token, audience: string): Seal.Opened | Seal.Rejection => {
    const bytes = parse(token)
    return bytes === undefined ? "malformed" : sealer.open(audience, bytes)
  }

  /** Opens a token. Gives the reason if it is not a live one. */
  const open = (token: SessionToken.Token, { audience, now }: Store.Call): Known | Rejection => {
    const found = seen.get(token)
    if (found?._tag === "Known" && found.audience === audience) {
      return SessionRecord.isExpired(found.record, now) ? "expired" : found
    }
    const opened = unseal(token, audience)
    if (typeof opened === "string") {
      return opened
    }
    const content = Content.read(opened.version, opened.content)
    if (!(now < content.deadline)) {
      return "expired"
    }
    const record = content.record()
    if (record === undefined) {
      return "undecodable"
    }
    const { id, latest } = content
    const known: Known = { _tag: "Known", audience, current: opened.current, latest, id, record }
    seen.set(token, known)
    return known
  }

  /** What is answered for a token that is not live. An expired one is opened as of a time when it was. */
  const answerFor = (reason: Rejection, token: SessionToken.Token, call: Store.Call): Store.Loaded => {
    const found = reason === "expired" ? open(token, { ...call, now: Number.NEGATIVE_INFINITY }) : reason
    return typeof found === "string" ? Store.none : Store.expired(found.record)
  }

  const seal = (
    method: string,
    id: SessionToken.SessionId,
    record: SessionRecord.SessionRecord,
    latestBefore: number,
    call: Store.Call
  ): Answer<SessionToken.Token> => {
    const content = Content.write(runtime, id, record, Math.max(latestBefore, record.expiresAt))
    // a write leaves room, so that no session that was written fails when it is touched
    const length = sealer.lengthOf(content.length + (method === "touch" ? 0 : Content.touchRoom))
    const limit = Math.min(call.limit, Seal.maximumLength)
    return length > limit
      ? Exit.fail(tooLarge(method, length, limit, record.data))
      : Effect.succeed(SessionToken.fromString(sealer.seal(call.audience, content)))
  }

  /** When the session was put on the list, in milliseconds since the epoch; `undefined` if it was not. */
  const endedAt = (id: SessionToken.SessionId, call: Store.Call): Answer<number | undefined> =>
    list === undefined
      ? Effect.succeed(undefined)
      : andThen(
        list.load(listed(id), call),
        (found) => Effect.succeed(found._tag === "Live" ? found.record.createdAt : undefined)
      )

  const unlessEnded = <A>(
    id: SessionToken.SessionId,
    call: Store.Call,
    run: () => Answer<A>
  ): Answer<A | { readonly _tag: "Gone" }> =>
    andThen(
      endedAt(id, call),
      (at): Answer<A | { readonly _tag: "Gone" }> => at === undefined ? run() : Effect.succeed(Store.gone)
    )

  /** Puts a session on the list. The answer is false if it was on the list already. */
  const revoke = (
    list: Store.Store,
    method: string,
    id: SessionToken.SessionId,
    revocation: SessionRecord.SessionRecord,
    call: Store.Call
  ): Answer<boolean> =>
    andThen(
      list.create(listed(id), revocation, call),
      (answer) => answer._tag === "NotKept" ? Exit.fail(misused(method)) : Effect.succeed(answer._tag === "Created")
    )

  /**
   * Ends a session for good, and its successors if it was renewed. It is not known how long a successor's tokens may
   * live, because it may have been given another bound; no bound is further ahead than `longestLife`. `before` are the
   * ids that were followed so far: if tokens repeat, successors can form a circle.
   */
  const end = (
    list: Store.Store,
    id: SessionToken.SessionId,
    latest: number,
    call: Store.Call,
    before: ReadonlyArray<string> = []
  ): Answer<void> =>
    andThen(
      revoke(list, "remove", id, revocation(call.now, latest), call),
      (first) =>
        first ? Effect.void : andThen(list.load(listed(id), call), (found) => {
          const successor = found._tag === "Live" ? found.record.data["successor"] : undefined
          const followed = [...before, id]
          return typeof successor === "string" && !followed.includes(successor)
            ? end(list, successor as SessionToken.SessionId, call.now + longestLife, call, followed)
            : Effect.void
        })
    )

  /** Runs `f` if the token is live, of that revision, and its session is not on the list. */
  const write = (
    token: SessionToken.Token,
    revision: number,
    call: Store.Call,
    f: (found: Known) => Answer<Store.Updated>
  ): Answer<Store.Updated> => {
    const found = open(token, call)
    return typeof found === "string" ?
      Effect.succeed(Store.gone) :
      unlessEnded(
        found.id,
        call,
        () => found.record.revision === revision ? f(found) : Effect.succeed(Store.conflict(found.record))
      )
  }

  return Store.make({
    accepts,
    load: (token, call) => {
      const found = open(token, call)
      return typeof found === "string" ?
        rejected(found, answerFor(found, token, call)) :
        andThen(endedAt(found.id, call), (at) =>
          Effect.succeed(
            at === undefined
              ? Store.live(found.record)
              : call.now - at < tombstoneMillis
              ? Store.superseded
              : Store.none
          ))
    },
    create: (token, record, call) =>
      andThen(
        SessionToken.toId(token),
        (id) =>
          andThen(seal("create", id, record, record.expiresAt, call), (sealed) => Effect.succeed(Store.created(sealed)))
      ),
    update: (token, revision, record, call) =>
      write(
        token,
        revision,
        call,
        (found) =>
          andThen(
            seal("update", found.id, { ...record, revision: revision + 1 }, found.latest, call),
            (sealed) => Effect.succeed(Store.updated(sealed, revision + 1))
          )
      ),
    renew: (token, revision, next, record, call) =>
      write(token, revision, call, (found) =>
        andThen(SessionToken.toId(next), (id) =>
          // The session is sealed first. If it is too large to send, it must not be ended.
          andThen(seal("renew", id, { ...record, revision: revision + 1 }, record.expiresAt, call), (sealed) => {
            const renewed = Store.updated(sealed, revision + 1)
            return list === undefined ? Effect.succeed(renewed) : andThen(
              revoke(list, "renew", found.id, revocation(call.now, found.latest, id), call),
              (first) => Effect.succeed(first ? renewed : Store.gone)
            )
          }))),
    touch: (token, revision, deadline, call) => {
      const found = open(token, call)
      if (typeof found === "string") {
        return Effect.succeed(Store.gone)
      }
      return unlessEnded(found.id, call, (): Answer<Store.Touched> => {
        const { current, record } = found
        const moved = Math.min(Math.max(deadline, record.deadline), record.expiresAt)
        return record.revision !== revision || (current && moved === record.deadline)
          ? Effect.succeed(Store.touched(token))
          : andThen(
            seal("touch", found.id, { ...record, deadline: moved, touchedAt: call.now }, found.latest, call),
            (sealed) => Effect.succeed(Store.touched(sealed))
          )
      })
    },
    // the deadline is not checked, because a token that has expired by this clock may be live by another's
    remove: (token, call) => {
      if (list === undefined) {
        return Effect.void
      }
      const opened = unseal(token, call.audience)
      if (typeof opened === "string") {
        return Effect.void
      }
      const { id, latest } = Content.read(opened.version, opened.content)
      return end(list, id, latest, call)
    }
  })
}

/** The token under which the list keeps a session's id. */
const listed = (id: SessionToken.SessionId): SessionToken.Token => SessionToken.fromString(id)

const rejected = (reason: Rejection, answer: Store.Loaded): Effect.Effect<Store.Loaded> =>
  Effect.as(
    emitting(
      { _tag: "Rejected", reason },
      reason !== "undecodable" ? Exit.void : Effect.logWarning(
        "SealedStore: A session can't be decoded, so its client gets an empty one. " +
          "It may have been sealed by a later release."
      )
    ),
    answer
  )

/**
 * The record of an ended session in the list: when it ended, and its successor's id if it was renewed. It is kept until
 * no token of the session can be live, and at least as long as a tombstone.
 */
const revocation = (now: number, latest: number, successor?: SessionToken.SessionId): SessionRecord.SessionRecord => {
  const until = Math.max(latest, now + tombstoneMillis)
  return {
    data: successor === undefined ? {} : { successor },
    revision: 0,
    createdAt: now,
    touchedAt: now,
    deadline: until,
    expiresAt: until,
    idle: until - now
  }
}

const misused = (method: string): Store.StoreError =>
  new Store.StoreError({
    reason: "Misused",
    method: `SealedStore.${method}`,
    description: "The store given as revocations keeps nothing. Give a store that keeps sessions, or leave it out."
  })

const tooLarge = (method: string, length: number, limit: number, data: SessionRecord.Data): Store.StoreError => {
  const [largest] = Object.entries(data)
    .map(([key, value]) => ({ key, size: JSON.stringify(value).length }))
    .sort((a, b) => b.size - a.size)
  const blame = largest === undefined
    ? ""
    : ` The largest key is ${JSON.stringify(largest.key.slice(0, 100))}, with ${largest.size} characters of JSON.`
  return new Store.StoreError({
    reason: "TooLarge",
    method: `SealedStore.${method}`,
    description: `The sealed session takes ${length} bytes, but its cookie or header carries only ${limit}.${blame} ` +
      "Keep less in the session, or keep sessions in a store on the server."
  })
}
