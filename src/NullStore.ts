/**
 * The store that keeps nothing: every visit is a first one, and no cookie is set. For turning sessions off without a
 * change to the handlers.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SessionToken from "./SessionToken.js"
import * as Store from "./Store.js"

/**
 * Keeps nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Store.Store> = Layer.succeed(
  Store.Store,
  Store.make({
    synchronous: true,
    accepts: SessionToken.isDrawn,
    load: () => Effect.succeed(Store.none),
    create: () => Effect.succeed(Store.notKept),
    update: () => Effect.succeed(Store.gone),
    renew: () => Effect.succeed(Store.gone),
    touch: () => Effect.succeed(Store.gone),
    remove: () => Effect.void
  })
)
