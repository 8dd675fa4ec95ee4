/**
 * Keeps sessions without a server: the token is the session, encrypted. It works with any State that sends tokens to
 * the client, a cookie or a header. The module knows nothing of either: each call says what a token is bound to and how
 * many bytes it may have.
 *
 * **What it can't do.** Nothing is kept on the server, so nothing can be revoked, counted or listed, and the layer
 * gives no such service. A token that was copied before a logout or a renewal stays valid until its idle deadline, at
 * the latest until the session's absolute bound. Two parallel requests each answer with a token of their own, and the
 * client keeps the one that arrives last: revisions are compared within one token, not between two.
 *
 * **With `revocations`**, a list of ended sessions in another store, logout and renewal take effect at once, at the
 * cost of one read from that store for each request. Removing the old token of a renewed session also ends the session
 * that the renewal made. The layer does not build with a store that could not find a session's id again, because its
 * tokens have another form.
 *
 * **The format**, version 2. A token is base64url without padding (RFC 4648, section 5), canonical, of at most 16384
 * characters. Its bytes are
 *
 * ```text
 *  0   1  version: 2
 *  1   4  key id: the first 4 bytes of HMAC-SHA256(master key, "effect-session/sealed/1/id")
 *  5  16  salt: random for each token
 * 21   n  ciphertext
 * 21+n 16 tag
 * ```
 *
 * XAES-256-GCM (https://c2sp.org/XAES-256-GCM) with the 32-byte key HMAC-SHA256(master key,
 * "effect-session/sealed/2/key") and a nonce of 24 bytes: the salt, then 8 zero bytes. That is AES-256-GCM (NIST SP
 * 800-38D) with a key and a nonce that are derived from the salt. With 128 random bits in each salt, 2^48 tokens of one
 * master key repeat a salt with a probability of 2^-33, below the bound of 2^-32 that NIST sets: a million tokens a
 * second for nine years. The associated data are bytes 0 to 20, then "effect-session/sealed", a zero byte and the
 * audience in UTF-8: where the client carries the token, such as `cookie:__Host-session`. So every byte of a token is
 * authenticated, including the key id that selects among keys, and a token is valid in one place alone.
 *
 * In the plaintext, times are in milliseconds since the epoch. A count is an integer in groups of 7 bits, the lowest
 * first, where each byte but the last has its highest bit set (LEB128):
 *
 * ```text
 * 32 bytes  session id: the SHA-256 of the token that was drawn when the session was created or last renewed
 *  1 byte   flags: 1 persistent, 2 idle timeout, 4 latest bound, 8 rare fields, 16 whole numbers; others refuse it
 *  count    creation time
 *  count    when the session was last written or touched, less the creation time
 *  count    deadline, the earlier of idle deadline and absolute bound, less the time before
 *  count    absolute bound, less the creation time
 *  count    revision
 *  count    with flag 2: idle timeout; without it, it is the deadline less the last write or touch
 *  count    with flag 4: the latest absolute bound that any token of this session id had, less the absolute bound;
 *           without it, they are the same
 *  count    with flag 8: the length in bytes of the rare fields, which follow: a JSON object with some of
 *           `dropOnRenew`, `subject`, `label` and `authenticatedAt`
 *  m bytes  the data, JSON in UTF-8
 * ```
 *
 * With flag 16, the seven numbers are 64-bit floating point in network order and none is a difference: creation, last
 * write or touch, deadline, absolute bound, revision, idle timeout, latest bound. It is set where a number or a
 * difference is not an integer from 0 to 2^53 - 1, such as after a clock went back.
 *
 * The plaintext is read only after the tag was verified, and the JSON only after the deadline was checked. A token of
 * 100 bytes of data takes about 250 characters. A write that would leave less than 16 bytes of the cookie or header
 * fails as too large, so that a session that was written can always be touched.
 *
 * **Version 1** is opened, but no longer made: its tokens become version 2 when they are next written or touched. It
 * has a salt of 24 bytes, and is AES-256-GCM with the key HMAC-SHA256(master key, "effect-session/sealed/1/key" ‖ salt)
 * and a nonce of 12 zero bytes. The associated data begin with bytes 0 to 28. The plaintext is the session id, four
 * numbers in 64-bit floating point (revision, last write or touch, deadline, latest bound), and the record in JSON as
 * `SessionRecord.encode` writes it.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as environment from "./internal/environment.js"
import { invalid } from "./internal/options.js"
import * as masterKeys from "./internal/sealedStore/masterKeys.js"
import * as Seal from "./internal/sealedStore/seal.js"
import * as sealed from "./internal/sealedStore/store.js"
import * as SessionToken from "./SessionToken.js"
import * as Store from "./Store.js"

/**
 * Options of `layer`. The keys are required.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The master keys, each 32 random bytes in base64, base64url or hex, as `openssl rand -base64 32` prints them. The
   * first key seals, and all of them open. To rotate, put a new key in front: a session moves to it when it is next
   * written or touched. Remove an old key when the policy's lifetime has passed, or the longest `remember` or `expireIn`
   * if that is longer, or at once if it leaked.
   */
  readonly keys: ReadonlyArray<Redacted.Redacted<string>>
}

/**
 * The option of `layer` and `layerConfig` that is not data.
 *
 * @since 0.1.0
 * @category models
 */
export interface Revocations<E, R> {
  /**
   * A store for the ids of ended sessions. Each id is kept until no token of the session can be live. All servers must
   * use the same store. While that store fails, sessions fail too, so that no ended session is accepted. Default: none,
   * so that a copied token stays valid until it expires.
   *
   * The store must keep nothing else: give it a prefix, table or folder of its own. It keeps an ended session under the
   * public id. Otherwise a client can send that id as a token to the session that shares the place, log out, and so
   * delete the entry: the ended session lives again. Nor may the store evict anything, as `MemoryStore` with a `capacity` does.
   */
  readonly revocations?: Layer.Layer<Store.Store, E, R> | undefined
}

/**
 * Keeps sessions in sealed tokens. Fails with a `ConfigError` for a missing key, for a key that is not 32 bytes, and
 * for a list of revocations that could not find what is put into it. Operations fail with a `StoreError`: of reason
 * `TooLarge` if the token would not fit its cookie or header, or with the error of the list of revocations.
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

const variables: environment.Variables<Options> = {
  keys: environment.required("SESSION_KEYS", environment.secrets)
}

/**
 * `layer` with keys read from the environment: `SESSION_KEYS`, which is required, one key or several separated by commas,
 * the newest first. Keys that are given are read from their own `Config` instead.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import * as SealedStore from "effect-session/SealedStore"
 *
 * // SESSION_KEYS=newest,older
 * const store = SealedStore.layerConfig()
 * ```
 */
export const layerConfig = <E = never, R = never>(
  options: Config.Config.Wrap<Partial<Options>> = {},
  revocations: Revocations<E, R> = {}
): Layer.Layer<Store.Store, ConfigError.ConfigError | E, R> =>
  environment.layerConfig("SealedStore", variables, options, (options) => layer({ ...options, ...revocations }))

/** A token of the form that ids of sessions have. It is the form of drawn tokens. */
const example = SessionToken.draw((size) => new Uint8Array(size))

/**
 * Makes a sealed store, with a list of ended sessions if `revocations` is given. Fails with a `ConfigError` as `layer`
 * does.
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
      "write a store that keeps sessions under drawn tokens, such as RedisStore.layer: this store could not find an ended "
        + "session again"
    )
    : Effect.map(
      masterKeys.make("SealedStore", options.keys),
      ({ keys, runtime }) => sealed.make(runtime, Seal.make(runtime, keys), revocations)
    )
