/**
 * A store that keeps nothing: every visit is the first one, and no cookie is set. It turns sessions off without a
 * change to the handlers. The module knows nothing of HTTP.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Store from "./Store.js"

/**
 * Provides a store that keeps nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Store.Store> = Layer.succeed(
  Store.Store,
  Store.make({
    // It makes no tokens, so none is one of its own, and SealedStore can refuse it as a revocation list.
    accepts: () => false,
    load: () => Effect.succeed(Store.none),
    create: () => Effect.succeed(Store.notKept),
    update: () => Effect.succeed(Store.gone),
    renew: () => Effect.succeed(Store.gone),
    touch: () => Effect.succeed(Store.gone),
    remove: () => Effect.void
  })
)
