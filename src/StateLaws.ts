/**
 * The state laws: what every state promises, as values that anyone can run on their own state. Each law is a program
 * over the `State` service that fails with `LawBroken`. A small client turns each response into the next request. This
 * module needs no test runner; `suite` of `effect-session/StateLawsSuite` runs all laws under `@effect/vitest`. The
 * module knows nothing of how a state carries a token, nor of stores.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as broken from "./internal/laws/broken.js"
import type { Definition } from "./internal/laws/state/law.js"
import * as requests from "./internal/laws/state/requests.js"
import * as responses from "./internal/laws/state/responses.js"
import type { Settings } from "./internal/laws/state/run.js"
import { run } from "./internal/laws/state/run.js"
import type * as State from "./State.js"

/**
 * How a state is tested. All options have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Whether the state puts tokens into responses. Default true. A state that doesn't, such as a parameter of the URL,
   * must leave every response as it is, and needs `carry`.
   */
  readonly emits?: boolean | undefined
  /**
   * Makes a request that carries a token, in its URL or its headers. Default: the request that the client makes after a
   * response with the token.
   */
  readonly carry?: ((transport: State.Transport, text: string) => Request) | undefined
  /**
   * The client: makes the next request from the request before and its response. Default: a client that keeps cookies
   * by their names until they expire, and sends the response headers that the transport names in `vary` back unchanged.
   */
  readonly client?:
    | ((transport: State.Transport, before: Request, response: Response) => Request)
    | undefined
  /** How many random texts are tried in a token's place. Default 200. */
  readonly values?: number | undefined
  /** The seed of the random texts. Default 1. */
  readonly seed?: number | undefined
}

/**
 * A law that a state broke: the law's name, and what the state did instead of what was expected.
 *
 * @since 0.1.0
 * @category errors
 */
export const LawBroken: typeof broken.LawBroken = broken.LawBroken

/**
 * A law that a state broke.
 *
 * @since 0.1.0
 * @category errors
 */
export type LawBroken = broken.LawBroken

/**
 * One law.
 *
 * @since 0.1.0
 * @category models
 */
export interface Law {
  readonly name: string
  /** The numbers of the requirements behind the law, as `docs/requirements.md` lists them. */
  readonly covers: ReadonlyArray<string>
  /** Why the law is skipped under the given options; `undefined` if it is not. */
  readonly waived: string | undefined
  /** Tests the state. Fails with `LawBroken` if the state breaks the law. */
  readonly run: Effect.Effect<void, LawBroken, State.State>
}

const definitions: ReadonlyArray<Definition> = [...requests.definitions, ...responses.definitions]

/**
 * The laws, to run them one by one.
 *
 * @since 0.1.0
 * @category laws
 * @example
 * ```ts
 * import { HeaderState } from "effect-session"
 * import * as StateLaws from "effect-session/StateLaws"
 * import { Effect } from "effect"
 *
 * const kept = Effect.forEach(StateLaws.laws(), (law) => law.run).pipe(Effect.provide(HeaderState.layer()))
 * ```
 */
export const laws = (options: Options = {}): ReadonlyArray<Law> => {
  const settings: Settings = {
    emits: options.emits ?? true,
    carry: options.carry,
    client: options.client,
    values: options.values ?? 200,
    seed: options.seed ?? 1
  }
  return definitions.map((definition) => ({
    name: definition.name,
    covers: definition.covers,
    waived: definition.emits === undefined || definition.emits === settings.emits
      ? undefined
      : `for states that put ${settings.emits ? "nothing" : "tokens"} into responses`,
    run: run(definition, settings)
  }))
}
