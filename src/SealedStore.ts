/**
 * Sessions without a server: the token is the session, encrypted. For any State that can send a token back, a cookie or
 * a header. The module knows nothing of either: it is told what a token is bound to and how many bytes it may take.
 *
 * **What it can't do.** Nothing is kept, so nothing can be revoked, counted or listed, and the layer gives no such
 * service. A token that was copied before a logout or a renewal stays good until its idle deadline, at the latest until the
 * session's absolute bound. Two requests at once each answer with their own token, and the client keeps the last to arrive:
 * revisions are compared within a token, not between two.
 *
 * **With `revocations`**, a list of ended sessions in another store, logout and renewal hold at once, for one look at that
 * store a request. Removing the old token of a renewed session ends the session that the renewal made. A store that could
 * not find a session's id again, because its tokens have another form, is refused when the layer is built.
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
 * audience in UTF-8: where the client carries the token, such as `cookie:__Host-session`. So every byte of a token is
 * authenticated, the key id that selects among keys included, and a token is good in one place alone. The plaintext, with
 * numbers as 64-bit floating point in network order and times in milliseconds since the epoch, is
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
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { invalid } from "./internal/options.js"
import * as masterKeys from "./internal/sealedStore/masterKeys.js"
import * as Seal from "./internal/sealedStore/seal.js"
import * as sealed from "./internal/sealedStore/store.js"
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
   * first seals, all open. To rotate, put a new key in front; a session moves over when it is next written or touched.
   * Remove an old key once the policy's lifetime has passed, or at once if it leaked.
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
   * A store for the ids of ended sessions, each kept until no token of the session could be live. All servers must see the
   * same one. While it fails, sessions fail too: an ended session is not let in because nobody could look.
   */
  readonly revocations?: Layer.Layer<Store.Store, E, R> | undefined
}

/**
 * The store. Fails with a `ConfigError` for a missing key, one that is not 32 bytes, and a list of revocations that could
 * not find what is put into it. Operations fail with a `StoreError`: with `TooLarge` when the token would exceed what its
 * cookie or header carries, and with what the list of revocations fails with.
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

/** A token of the form that the ids of sessions have, which is that of drawn tokens. */
const example = SessionToken.draw((size) => new Uint8Array(size))

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
  revocations !== undefined && !revocations.accepts(example)
    ? invalid(
      ["SealedStore", "revocations"],
      "write a store that keeps sessions under drawn tokens, such as RedisStore.layer: this one could not find an ended "
        + "session again"
    )
    : Effect.map(
      masterKeys.make("SealedStore", options.keys),
      ({ keys, runtime }) => sealed.make(Seal.make(runtime, keys), revocations)
    )
