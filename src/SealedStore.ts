/**
 * Sessions without a server: the token is the session, encrypted. For any State that can send a token back, a cookie or
 * a header. The module knows nothing of either: it is told the name a token is bound to and the bytes it may take.
 *
 * **What it can't do.** Nothing is kept, so nothing can be revoked, counted or listed, and the layer gives no such
 * service (S36). A token that was copied before a logout, or before a renewal, stays good until its idle deadline, at
 * the latest until the session's absolute bound. Two requests at once each answer with their own token, and the client
 * keeps the last to arrive: revisions are compared within a token, not between two. With `revocations`, a small list of
 * ended sessions kept in another store, logout and renewal hold at once, for one look at that store a request.
 *
 * **The format**, version 1. A token is base64url without padding (RFC 4648, section 5), canonical, of at most 16384
 * characters. Its bytes are
 *
 * ```text
 *  0   1  version: 1
 *  1   4  key id: the first 4 bytes of HMAC-SHA256(master key, "effect-session/sealed/1/id")
 *  5  24  salt: random for each token
 * 29   n  ciphertext
 * 29+n 16 tag
 * ```
 *
 * AES-256-GCM (NIST SP 800-38D) with the 32-byte key HMAC-SHA256(master key, "effect-session/sealed/1/key" ‖ salt) and a
 * nonce of 12 zero bytes. A key seals one token: with 192 random bits each, 2^64 tokens of one master key repeat a salt
 * with a chance of 2^-65. The associated data are bytes 0 to 28, then "effect-session/sealed", a zero byte and the
 * audience (the cookie's or header's name) in UTF-8. So every byte of a token is authenticated, the key id that selects
 * among keys included (S60), and a token is good under one name alone (S58). The plaintext, with numbers as 64-bit
 * floating point in network order and times in milliseconds since the epoch, is
 *
 * ```text
 *  0  32  session id: the SHA-256 of the token that was drawn when the session was created or last renewed
 * 32   8  revision
 * 40   8  issue time, when the session was last written or touched
 * 48   8  deadline: the earlier of idle deadline and absolute bound
 * 56   8  the latest absolute bound that any token of this session id had
 * 64   m  the record, JSON in UTF-8, as `SessionRecord.encode` writes it, with the absolute bound as `expiresAt`
 * ```
 *
 * Nothing of the plaintext is looked at before the tag is right, and the JSON not before the deadline is.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as SealKeys from "./internal/crypto/masterKeys.js"
import * as Record from "./internal/record/record.js"
import * as metrics from "./internal/runtime/metrics.js"
import * as Seal from "./internal/sealedStore/seal.js"
import * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"
import * as Store from "./Store.js"

/**
 * Options of `layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The master keys, each 32 random bytes in base64, base64url or hex, as `openssl rand -base64 32` prints them. The
   * first seals, all open. To rotate, put a new one in front; a session moves over when it is next written or touched.
   * Take an old key away once the policy's lifetime has passed, and at once if it leaked (S59).
   */
  readonly keys: ReadonlyArray<Redacted.Redacted<string>>
}

/**
 * What `layer` and `layerConfig` take beside data.
 *
 * @since 0.1.0
 * @category models
 */
export interface Revocations<E, R> {
  /**
   * A store for the ids of ended sessions, each until the session would have been over anyway. All servers must see the
   * same one. If it fails, so does the session: an ended one is not let in because nobody could look.
   */
  readonly revocations?: Layer.Layer<Store.Store, E, R> | undefined
}

/**
 * The store. Fails with `ConfigError` for a missing, short or guessable key. Operations fail with a `StoreError`:
 * `TooLarge` when the token would exceed what its cookie or header carries, or as the list of revocations does.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import * as RedisStore from "effect-session/RedisStore"
 * import * as SealedStore from "effect-session/SealedStore"
 *
 * declare const key: Redacted.Redacted<string>
 * declare const lastYearsKey: Redacted.Redacted<string>
 *
 * const store = SealedStore.layer({ keys: [key, lastYearsKey] })
 * ```
 */
export const layer = <E = never, R = never>(
  options: Options & Revocations<E, R>
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, R> =>
  options.revocations === undefined
    ? Layer.effect(Store.Store, make(options))
    : Layer.effect(Store.Store, Effect.flatMap(Store.Store, (list) => make(options, list))).pipe(
      Layer.provide(options.revocations)
    )

/**
 * The same with keys from `Config`.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import * as SealedStore from "effect-session/SealedStore"
 *
 * // SESSION_KEYS=newest,older
 * const store = SealedStore.layerConfig({ keys: Config.array(Config.redacted(), "SESSION_KEYS") })
 * ```
 */
export const layerConfig = <E = never, R = never>(
  options: Config.Config.Wrap<Options>,
  revocations: Revocations<E, R> = {}
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, R> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer({ ...options, ...revocations })))

/**
 * Makes the store, with the list of ended sessions if there is one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options,
  revocations?: Store.Store
): Effect.Effect<Store.Store, ConfigError.ConfigError> =>
  Effect.map(
    SealKeys.make("SealedStore", options.keys),
    ({ keys, runtime }) => fromSealer(Seal.make(runtime, keys), revocations)
  )

/** A token that was opened here, so that the calls of one request open it once. */
interface Known {
  readonly audience: string
  readonly current: boolean
  readonly latest: number
  readonly id: SessionToken.SessionId
  readonly record: SessionRecord.SessionRecord
}

type Rejection = Seal.Rejection | "expired" | "undecodable"

const nothing: Store.Binding = { audience: "", limit: Seal.maximumLength }

const fromSealer = (sealer: Seal.Sealer, revocations: Store.Store | undefined): Store.Store => {
  const known = new WeakMap<SessionToken.Token, Known>()
  const parsed = new WeakMap<SessionToken.Token, NonNullable<ReturnType<Seal.Sealer["parse"]>>>()

  const parse = (token: SessionToken.Token): ReturnType<Seal.Sealer["parse"]> => {
    const bytes = parsed.get(token) ?? sealer.parse(Redacted.value(token))
    if (bytes !== undefined) {
      parsed.set(token, bytes)
    }
    return bytes
  }

  const openNow = (token: SessionToken.Token, audience: string, now: number): Known | Rejection => {
    const found = known.get(token)
    if (found !== undefined && found.audience === audience) {
      return SessionRecord.isExpired(found.record, now) ? "expired" : found
    }
    const bytes = parse(token)
    const opened = bytes === undefined ? "malformed" : sealer.open(audience, bytes)
    if (typeof opened === "string") {
      return opened
    }
    const { body, deadline, issuedAt, latest, revision } = opened.content
    if (!(now < deadline)) {
      return "expired"
    }
    const decoded = SessionRecord.decode(body, { revision, touchedAt: issuedAt, deadline })
    if (decoded._tag === "Left") {
      return "undecodable"
    }
    const id = opened.content.id as SessionToken.SessionId
    const answer: Known = { audience, current: opened.current, latest, id, record: Record.own(decoded.right, { id }) }
    known.set(token, answer)
    parsed.delete(token)
    return answer
  }

  const open = (token: SessionToken.Token, binding: Store.Binding): Effect.Effect<Known | Rejection> =>
    Effect.map(Clock.currentTimeMillis, (now) => openNow(token, binding.audience, now))

  const seal = (
    method: string,
    id: SessionToken.SessionId,
    record: SessionRecord.SessionRecord,
    latestBefore: number,
    binding: Store.Binding
  ): Effect.Effect<SessionToken.Token, Store.StoreError> => {
    const { deadline, revision, touchedAt } = SessionRecord.stamp(record)
    const latest = Math.max(latestBefore, record.expiresAt)
    const body = SessionRecord.encode(record)
    const length = sealer.lengthOf(body)
    const limit = Math.min(binding.limit, Seal.maximumLength)
    if (length > limit) {
      return Effect.fail(tooLarge(method, length, limit, record.data))
    }
    const text = sealer.seal(binding.audience, { id, revision, issuedAt: touchedAt, deadline, latest, body })
    return Effect.succeed(SessionToken.fromString(text))
  }

  const isRevoked = (list: Store.Store, id: SessionToken.SessionId): Effect.Effect<false | number, Store.StoreError> =>
    Effect.map(list.load(SessionToken.fromString(id)), (found) => found._tag === "Live" && found.record.createdAt)

  /** Ends an id, and says whether this call was the one that did. */
  const revoke = (list: Store.Store, method: string, ended: Known): Effect.Effect<boolean, Store.StoreError> =>
    Clock.currentTimeMillis.pipe(
      Effect.flatMap((now) => list.create(SessionToken.fromString(ended.id), revocation(now, ended.latest))),
      Effect.filterOrFail(
        (answer) => answer._tag !== "NotKept",
        () => misused(method)
      ),
      Effect.map((answer) => answer._tag === "Created")
    )

  /** Runs `f` for a token that is live, at that revision, and not revoked. */
  const write = (
    token: SessionToken.Token,
    revision: number,
    binding: Store.Binding,
    f: (found: Known) => Effect.Effect<Store.Updated, Store.StoreError>
  ): Effect.Effect<Store.Updated, Store.StoreError> =>
    Effect.flatMap(open(token, binding), (found) => {
      if (typeof found === "string") {
        return Effect.succeed(Store.gone)
      }
      const run = found.record.revision === revision ? f(found) : Effect.succeed(Store.conflict(found.record))
      return revocations === undefined
        ? run
        : Effect.flatMap(isRevoked(revocations, found.id), (at) => at === false ? run : Effect.succeed(Store.gone))
    })

  return Store.make({
    accepts: (token) => known.has(token) || parse(token) !== undefined,
    load: (token, binding = nothing) =>
      Effect.flatMap(open(token, binding), (found): Effect.Effect<Store.Loaded, Store.StoreError> => {
        if (typeof found === "string") {
          return rejected(found)
        }
        const live = Store.live(found.record)
        return revocations === undefined
          ? Effect.succeed(live)
          : Effect.zipWith(isRevoked(revocations, found.id), Clock.currentTimeMillis, (at, now) => {
            if (at === false) {
              return live
            }
            return now - at < Duration.toMillis(Store.tombstoneTimeToLive) ? Store.superseded : Store.none
          })
      }),
    create: (token, record, binding = nothing) =>
      SessionToken.toId(token).pipe(
        Effect.flatMap((id) => seal("create", id, record, record.expiresAt, binding)),
        Effect.map(Store.created)
      ),
    update: (token, revision, record, binding = nothing) =>
      write(token, revision, binding, (found) =>
        Effect.map(
          seal("update", found.id, { ...record, revision: revision + 1 }, found.latest, binding),
          (next) => Store.updated(next, revision + 1)
        )),
    renew: (token, revision, next, record, binding = nothing) =>
      write(token, revision, binding, (found) =>
        SessionToken.toId(next).pipe(
          Effect.flatMap((id) => seal("renew", id, { ...record, revision: revision + 1 }, record.expiresAt, binding)),
          // sealed first, so that a session too large to send is not ended on the way
          Effect.zip(revocations === undefined ? Effect.succeed(true) : revoke(revocations, "renew", found)),
          Effect.map(([sealed, first]) => first ? Store.updated(sealed, revision + 1) : Store.gone)
        )),
    touch: (token, revision, deadline, binding = nothing) =>
      Effect.flatMap(open(token, binding), (found) => {
        if (typeof found === "string") {
          return Effect.succeed(Store.gone)
        }
        const { current, record } = found
        const moved = Math.min(Math.max(deadline, record.deadline), record.expiresAt)
        const run = record.revision !== revision || (current && moved === record.deadline)
          ? Effect.succeed(Store.touched(token))
          : Clock.currentTimeMillis.pipe(
            Effect.flatMap((now) =>
              seal("touch", found.id, { ...record, deadline: moved, touchedAt: now }, found.latest, binding)
            ),
            Effect.map(Store.touched)
          )
        return revocations === undefined
          ? run
          : Effect.flatMap(
            isRevoked(revocations, found.id),
            (at): Effect.Effect<Store.Touched, Store.StoreError> => at === false ? run : Effect.succeed(Store.gone)
          )
      }),
    remove: (token, binding = nothing) =>
      revocations === undefined
        ? Effect.void
        : Effect.flatMap(
          open(token, binding),
          (found) => typeof found === "string" ? Effect.void : Effect.asVoid(revoke(revocations, "remove", found))
        )
  })
}

const rejected = (reason: Rejection): Effect.Effect<Store.Loaded> =>
  Effect.as(
    reason === "undecodable"
      ? Effect.zipRight(metrics.rejected(reason), Effect.logWarning("SealedStore: a session can't be decoded"))
      : metrics.rejected(reason),
    Store.none
  )

/** What the list keeps of an ended session: when it ended, and for how long that matters. */
const revocation = (now: number, until: number): SessionRecord.SessionRecord => ({
  data: {},
  revision: 0,
  createdAt: now,
  touchedAt: now,
  deadline: until,
  expiresAt: until,
  idle: until - now
})

const misused = (method: string): Store.StoreError =>
  new Store.StoreError({
    reason: "Misused",
    method: `SealedStore.${method}`,
    description: "the store given as revocations keeps nothing: give one that does, or none"
  })

const tooLarge = (method: string, length: number, limit: number, data: SessionRecord.Data): Store.StoreError => {
  const [largest] = Object.entries(data)
    .map(([key, value]) => ({ key, size: JSON.stringify(value).length }))
    .sort((a, b) => b.size - a.size)
  const blame = largest === undefined
    ? ""
    : `; the largest key is ${JSON.stringify(largest.key.slice(0, 100))}, ${largest.size} characters of JSON`
  return new Store.StoreError({
    reason: "TooLarge",
    method: `SealedStore.${method}`,
    description: `the sealed session takes ${length} bytes where its cookie or header carries ${limit}${blame}. ` +
      "Keep less in it, or keep sessions in a store on the server"
  })
}
