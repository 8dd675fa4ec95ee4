/**
 * The one look-up of a module that is built into the runtime. Modules of Node are looked up rather than imported, so that
 * a bundle still loads on a runtime without them.
 */
interface Globals {
  readonly process?: { readonly getBuiltinModule?: (id: string) => unknown }
}

/** The module, typed as far as it is used; undefined if this runtime does not have it. @internal */
export const builtin = <A>(id: string): A | undefined =>
  (globalThis as unknown as Globals).process?.getBuiltinModule?.(id) as A | undefined
