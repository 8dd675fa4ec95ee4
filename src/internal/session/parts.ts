/**
 * The State and Store of a session: those of a named session were built for the life of the app.
 */
import * as Context from "effect/Context"
import * as State from "../../State.js"
import * as Store from "../../Store.js"

/** @internal */
export interface Parts {
  readonly state: State.State
  readonly store: Store.Store
}

/** Those of the default session. @internal */
export const sharedParts = (context: Context.Context<State.State | Store.Store>): Parts => ({
  state: Context.get(context, State.State),
  store: Context.get(context, Store.Store)
})

/** The tag under which those of a named session stand. @internal */
export const partsOf = <Identifier>(tag: { readonly key: string }): Context.Tag<Identifier, Parts> =>
  Context.GenericTag<Identifier, Parts>(`effect-session/SessionMiddleware/${tag.key}`)
