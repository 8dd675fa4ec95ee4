/**
 * Signed tokens for any store that keys by one: what a client made up is refused by arithmetic, before the store is
 * asked. A drawn token can't be guessed and needs no signature to be safe (S01); a signature is for a store whose calls
 * are dear, under a flood of well-formed guesses. Wraps the store layer piped into it, and knows nothing of HTTP nor of
 * what is kept.
 *
 * A signed token is the store's own, a dot, and the first 24 bytes of HMAC-SHA256(key, "effect-session/signed/1" ‖ zero
 * byte ‖ token) in base64url: 192 bits. The store and the public id see the token without its signature, so signing can
 * be switched on without moving a record; unsigned tokens are refused from then on.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { MasterKey } from "./internal/crypto/masterKeys.js"
import * as SealKeys from "./internal/crypto/masterKeys.js"
import type { Node } from "./internal/crypto/node.js"
import * as metrics from "./internal/runtime/metrics.js"
import type * as SessionRecord from "./SessionRecord.js"
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
   * The keys, each 32 random bytes in base64, base64url or hex, as `openssl rand -base64 32` prints them. The first
   * signs, all verify; a token with an older signature gets a new one when its session is next written or touched (S59).
   */
  readonly keys: ReadonlyArray<Redacted.Redacted<string>>
}

/**
 * Signs the tokens of the store layer that is piped in. Fails with `ConfigError` for a missing, short or guessable key.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import { MemoryStore } from "effect-session"
 * import * as SignedTokens from "effect-session/SignedTokens"
 *
 * declare const key: Redacted.Redacted<string>
 *
 * const store = MemoryStore.layer().pipe(SignedTokens.layer({ keys: [key] }))
 * ```
 */
export const layer = (options: Options) =>
<A = never, E = never, R = never>(
  self: Layer.Layer<A | Store.Store, E, R>
): Layer.Layer<A | Store.Store, ConfigError.ConfigError | E, R> =>
  Layer.flatMap(self, (context) =>
    Layer.effectContext(
      Effect.map(
        make(Context.get(context, Store.Store), options),
        (store) => Context.add(context, Store.Store, store)
      )
    ))

/**
 * The same with keys from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<Options>) =>
<A = never, E = never, R = never>(
  self: Layer.Layer<A | Store.Store, E, R>
): Layer.Layer<A | Store.Store, ConfigError.ConfigError | E, R> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer(options)(self)))

/**
 * Signs the tokens of a store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (store: Store.Store, options: Options): Effect.Effect<Store.Store, ConfigError.ConfigError> =>
  Effect.map(
    SealKeys.make("SignedTokens", options.keys),
    ({ keys, runtime }) => fromSigner(store, signer(runtime, keys))
  )

const label = "effect-session/signed/1\0"
const signatureBytes = 24
const signatureLength = 32

/** A token as the store knows it, and whether the first key signed it. */
interface Verified {
  readonly plain: SessionToken.Token
  readonly current: boolean
}

interface Signer {
  readonly sign: (text: string) => string
  /** Whether a signature is good, and if so, whether it is the first key's. */
  readonly verify: (text: string, signature: string) => "current" | "older" | "bad"
}

const signer = ({ Buffer, crypto }: Node, keys: readonly [MasterKey, ...Array<MasterKey>]): Signer => {
  const make = (key: MasterKey, text: string): string =>
    crypto.createHmac("sha256", key).update(Buffer.from(label + text, "utf8")).digest().toString(
      "base64url",
      0,
      signatureBytes
    )
  /** In a time that tells nothing of where two texts differ. What is longer or shorter in bytes is compared all the same. */
  const same = (given: string, expected: string): boolean => {
    const bytes = Buffer.alloc(signatureLength)
    bytes.write(given, 0, "utf8")
    return crypto.timingSafeEqual(bytes, Buffer.from(expected, "utf8"))
  }
  return {
    sign: (text) => make(keys[0], text),
    verify: (text, signature) => {
      const found = keys.findIndex((key) => same(signature, make(key, text)))
      return found === -1 ? "bad" : found === 0 ? "current" : "older"
    }
  }
}

const fromSigner = (store: Store.Store, { sign, verify }: Signer): Store.Store => {
  /** What was verified or signed here, so that the calls of one request compute it once. */
  const known = new WeakMap<SessionToken.Token, Verified>()

  const open = (token: SessionToken.Token): Verified | undefined => {
    const found = known.get(token)
    if (found !== undefined) {
      return found
    }
    const text = Redacted.value(token)
    const dot = text.length - signatureLength - 1
    if (text[dot] !== ".") {
      return undefined
    }
    const plain = SessionToken.fromString(text.slice(0, dot))
    const verdict = store.accepts(plain) ? verify(text.slice(0, dot), text.slice(dot + 1)) : "bad"
    if (verdict === "bad") {
      return undefined
    }
    const verified = { plain, current: verdict === "current" }
    known.set(token, verified)
    return verified
  }

  const close = (plain: SessionToken.Token): SessionToken.Token => {
    const text = Redacted.value(plain)
    const token = SessionToken.fromString(`${text}.${sign(text)}`)
    known.set(token, { plain, current: true })
    return token
  }

  /** The token to send: the one that came, unless the store answered with another or its signature is an older key's. */
  const answer = (came: SessionToken.Token, verified: Verified, plain: SessionToken.Token): SessionToken.Token =>
    verified.current && Redacted.value(plain) === Redacted.value(verified.plain) ? came : close(plain)

  /** The public id is the store's: of the token without its signature. */
  const identify = (
    verified: Verified,
    record: SessionRecord.SessionRecord
  ): Effect.Effect<SessionRecord.SessionRecord> =>
    record.id !== undefined
      ? Effect.succeed(record)
      : Effect.map(SessionToken.toId(verified.plain), (id) => ({ ...record, id }))

  const written = (
    token: SessionToken.Token,
    write: (plain: SessionToken.Token) => Effect.Effect<Store.Updated, Store.StoreError>
  ): Effect.Effect<Store.Updated, Store.StoreError> =>
    Effect.suspend(() => {
      const verified = open(token)
      return verified === undefined
        ? Effect.succeed(Store.gone)
        : Effect.flatMap(write(verified.plain), (result): Effect.Effect<Store.Updated> => {
          switch (result._tag) {
            case "Updated":
              return Effect.succeed(Store.updated(answer(token, verified, result.token), result.revision))
            case "Conflict":
              return Effect.map(identify(verified, result.record), Store.conflict)
            case "Gone":
              return Effect.succeed(result)
          }
        })
    })

  const plainOf = (token: SessionToken.Token): SessionToken.Token => open(token)?.plain ?? token

  return Store.make({
    accepts: (token) => open(token) !== undefined,
    ...(store.transaction === undefined ? undefined : { transaction: store.transaction }),
    load: (token, binding) =>
      Effect.suspend(() => {
        const verified = open(token)
        return verified === undefined
          ? Effect.as(metrics.rejected("tampered"), Store.none)
          : Effect.flatMap(store.load(verified.plain, binding), (found) =>
            found._tag === "Live"
              ? Effect.map(identify(verified, found.record), Store.live)
              : Effect.succeed(found))
      }),
    create: (token, record, binding) =>
      Effect.suspend(() =>
        Effect.map(
          store.create(plainOf(token), record, binding),
          (result) => result._tag === "Created" ? Store.created(close(result.token)) : result
        )
      ),
    update: (token, revision, record, binding) =>
      written(token, (plain) => store.update(plain, revision, record, binding)),
    renew: (token, revision, next, record, binding) =>
      written(token, (plain) => store.renew(plain, revision, plainOf(next), record, binding)),
    touch: (token, revision, deadline, binding) =>
      Effect.suspend(() => {
        const verified = open(token)
        return verified === undefined
          ? Effect.succeed(Store.gone)
          : Effect.map(store.touch(verified.plain, revision, deadline, binding), (result) =>
            result._tag === "Touched" ? Store.touched(answer(token, verified, result.token)) : result)
      }),
    remove: (token, binding) =>
      Effect.suspend(() => {
        const verified = open(token)
        return verified === undefined ? Effect.void : store.remove(verified.plain, binding)
      })
  })
}
