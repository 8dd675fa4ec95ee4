/**
 * The store that keeps nothing: every visit is a first one, and no cookie is set. For turning sessions off without a
 * change to the handlers.
 *
 * @since 0.1.0
 */
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
  Store.fromSynchronous({
    accepts: SessionToken.isDrawn,
    load: () => Store.none,
    create: () => Store.notKept,
    update: () => Store.gone,
    renew: () => Store.gone,
    touch: () => Store.gone,
    remove: () => {}
  })
)
