/**
 * Options that are read from variables of the environment, by the names that the README's table gives. The module knows
 * nothing of sessions.
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/** The variable that an option is read from. @internal */
export interface Variable<out A> {
  readonly name: string
  readonly config: Config.Config<A>
}

/** The variables of a module's options. @internal */
export type Variables<A> = { readonly [K in keyof A]-?: Variable<A[K]> }

/** @internal */
export const required = <A>(name: string, config: (name: string) => Config.Config<A>): Variable<A> => ({
  name,
  config: config(name)
})

/** A variable that may be absent. The option is then left out. @internal */
export const optional = <A>(name: string, config: (name: string) => Config.Config<A>): Variable<A | undefined> => ({
  name,
  config: Config.map(Config.option(config(name)), Option.getOrUndefined)
})

/** A secret. `Config.redacted` would redact the name of a variable that is missing too. @internal */
export const secret = (name?: string) => Config.map(Config.string(name), (text) => Redacted.make(text))

/** One secret or more, separated by commas. @internal */
export const secrets = (name: string) => Config.array(secret(), name)

/**
 * The layer of options that are given, as a Config, or else read from their variables. What is given is not looked for in
 * the environment, not even where it is `undefined`. A check of the module that refuses an option names the variable
 * that it came from.
 *
 * @internal
 */
export const layerConfig = <A extends object, Out, E, R>(
  module: string,
  variables: Variables<A>,
  given: Config.Config.Wrap<Partial<A>>,
  layer: (options: A) => Layer.Layer<Out, E | ConfigError.ConfigError, R>
): Layer.Layer<Out, E | ConfigError.ConfigError, R> =>
  Layer.unwrapEffect(Effect.gen(function*() {
    // `unwrap` takes no struct without members
    const options: object = Object.keys(given).length === 0 ? {} : yield* Config.unwrap<Partial<A>>(given)
    const read = Object.entries<Variable<unknown>>(variables).filter(([option]) => !(option in options))
    const values = yield* Effect.all(Object.fromEntries(read.map(([option, { config }]) => [option, config])))
    const names = new Map(read.map(([option, { name }]) => [option, name]))
    return Layer.mapError(layer({ ...values, ...options } as A), (error) => named(module, names, error))
  }))

const named = <E>(module: string, names: ReadonlyMap<string, string>, error: E): E | ConfigError.ConfigError => {
  if (!ConfigError.isConfigError(error) || error._op !== "InvalidData" || error.path[0] !== module) {
    return error
  }
  const [, option = "", ...within] = error.path
  const name = names.get(option)
  return name === undefined ? error : ConfigError.InvalidData([name, ...within], error.message)
}
