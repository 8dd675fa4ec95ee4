/**
 * The State and Store of a named session, where they were built for the life of the app.
 */
import * as Context from "effect/Context"
import type * as State from "../../State.js"
import type * as Store from "../../Store.js"

/** @internal */
export interface Parts {
  readonly state: State.State
  readonly store: Store.Store
}

/** The tag under which those of a named session stand. @internal */
export const partsOf = <Identifier>(tag: { readonly key: string }): Context.Tag<Identifier, Parts> =>
  Context.GenericTag<Identifier, Parts>(`effect-session/SessionMiddleware/${tag.key}`)
