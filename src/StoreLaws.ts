/**
 * The store laws: what every store promises, as values that anyone can run on their own store. Each law is a program
 * over the `Store` service that fails with `LawBroken`. What a backend can't do is waived by name. This module needs no
 * test runner; `suite` of `effect-session/StoreLawsSuite` runs all laws under `@effect/vitest`. The module knows nothing
 * of how a store keeps sessions.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as broken from "./internal/laws/broken.js"
import * as answers from "./internal/laws/store/answers.js"
import * as interruptions from "./internal/laws/store/interruptions.js"
import type * as law from "./internal/laws/store/law.js"
import * as lifetimes from "./internal/laws/store/lifetimes.js"
import * as modelHistories from "./internal/laws/store/modelHistories.js"
import * as races from "./internal/laws/store/races.js"
import { run } from "./internal/laws/store/run.js"
import * as sessions from "./internal/laws/store/sessions.js"
import * as values from "./internal/laws/store/values.js"
import * as watching from "./internal/laws/store/watching.js"
import type * as Store from "./Store.js"

/**
 * What a store can do. A store that lacks one of these waives it:
 *
 * - `keeping`: without it, the store keeps nothing and answers `NotKept`.
 * - `revocation`: without it, a token is valid until it expires, because it is the data (sealed sessions). Nothing ends
 *   an old token.
 * - `revisions`: without it, the store can't see that another writer was first, not even long after.
 * - `tombstones`: without it, a renewed or removed token answers `None`, like a token that was never used.
 * - `compareAndSet`: without it, the store sees other writers, but two at the same moment may both succeed.
 * - `createIfAbsent`: without it, two creates under one token at the same moment may both succeed.
 *
 * A plain cache, which reads, compares and writes in three steps, waives only the last two. Every law says what it
 * needs. A store that waives too little fails laws. A store that waives too much skips laws that it would keep.
 *
 * @since 0.1.0
 * @category models
 */
export type Capability = law.Capability

/**
 * How a store is tested. The clock is required.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Which clock the store depends on. With `test`, only the `now` of its calls counts, so a law may also go past the
   * end of a tombstone. With `live`, a server deletes by its own clock, so no law depends on when that happens. In both
   * cases the calls' `now` stands still until a law moves it, whatever the `Clock` says: a store must use its call's
   * `now`.
   *
   * With `test` one law lets the store's own sweep run. It moves the `TestClock` under which the store was built and the
   * law runs, as `suite` does. Under any other clock that law has nothing to move, and passes.
   */
  readonly clock: "test" | "live"
  /** What the store can't do. Default: nothing is waived. */
  readonly waives?: ReadonlyArray<Capability> | undefined
  /**
   * Another instance of the store on the same data, such as a second process would have: the same database, folder or
   * cache. It is built anew for each law of calls that meet, and those calls go to the two instances in turn. A store
   * that compares and sets by a lock of its own process alone fails these laws, and has to waive `compareAndSet` and
   * `createIfAbsent`. Between two calls the time goes on by a millisecond, for stores that answer reads from memory for a
   * while. Default: the laws know one instance.
   */
  readonly second?: Layer.Layer<Store.Store, unknown> | undefined
  /**
   * Whether the layer provides `Sessions` too, whose laws are then tested. `second` should provide it as well. Default
   * false.
   */
  readonly sessions?: boolean | undefined
  /** Single laws that the store does not keep: the reason by the law's name. The reason is printed. Default: none. */
  readonly except?: { readonly [law: string]: string } | undefined
  /**
   * How much is tested. With 1, 500 random histories of two clients and all 91 histories of two steps are compared with
   * the model, and 100 random values make the round trip. The random ones grow in proportion. With 2, all histories of
   * three steps are tested too; with 4 or more, those of four (15,379, for stores in memory). Write less than 1 for
   * slow stores. Default 1.
   */
  readonly thoroughness?: number | undefined
  /** Tests a single random history, to repeat a failure. A failure prints its seed. Default: all random histories. */
  readonly seed?: number | undefined
  /**
   * The rest of every call beside its time, for a store whose tokens depend on it. Default: the audience
   * `cookie:session`, and no limit.
   */
  readonly call?: { readonly audience: string; readonly limit: number } | undefined
}

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
  /** The capabilities that a store must have to be tested by the law. */
  readonly needs: ReadonlyArray<Capability>
  /** Why the law is skipped under the given options; `undefined` if it is not. */
  readonly waived: string | undefined
  /** Tests the store. Fails with `LawBroken` if the store breaks the law. */
  readonly run: Effect.Effect<void, LawBroken | Store.StoreError, Store.Store>
}

/**
 * A law that a store broke: the law's name, and what the store did instead of what was expected.
 *
 * @since 0.1.0
 * @category errors
 */
export const LawBroken: typeof broken.LawBroken = broken.LawBroken

/**
 * A law that a store broke.
 *
 * @since 0.1.0
 * @category errors
 */
export type LawBroken = broken.LawBroken

const definitions: ReadonlyArray<law.Definition> = [
  ...answers.definitions,
  ...lifetimes.definitions,
  ...values.definitions,
  ...races.definitions,
  ...interruptions.definitions,
  ...sessions.definitions,
  ...watching.definitions,
  ...modelHistories.definitions
]

const waived = (definition: law.Definition, settings: law.Settings, options: Options): string | undefined => {
  const missing = definition.needs.filter((capability) => settings.waives.includes(capability))
  if (missing.length > 0) {
    return `waived: ${missing.join(", ")}`
  }
  if (definition.onlyWithout !== undefined && !settings.waives.includes(definition.onlyWithout)) {
    return `for stores that waive ${definition.onlyWithout}`
  }
  if (definition.sessions === true && !settings.sessions) {
    return "for stores that provide Sessions"
  }
  if (definition.clock === "test" && settings.clock !== "test") {
    return "another clock sweeps"
  }
  const reason = options.except?.[definition.name]
  return reason === undefined ? undefined : `except: ${reason}`
}

/**
 * The laws, to run them one by one. Throws a `TypeError` if `except` names a law that does not exist.
 *
 * @since 0.1.0
 * @category laws
 * @example
 * ```ts
 * import { MemoryStore } from "effect-session"
 * import * as StoreLaws from "effect-session/StoreLaws"
 * import { Effect } from "effect"
 *
 * // outside any test runner: every law that the store breaks
 * const broken = Effect.partition(
 *   StoreLaws.laws({ clock: "test" }).filter((law) => law.waived === undefined),
 *   (law) => law.run
 * ).pipe(
 *   Effect.map(([failures]) => failures),
 *   Effect.provide(MemoryStore.layer())
 * )
 * ```
 */
export const laws = (options: Options): ReadonlyArray<Law> => {
  const settings: law.Settings = {
    clock: options.clock,
    waives: options.waives ?? [],
    thoroughness: options.thoroughness ?? 1,
    seed: options.seed,
    call: options.call,
    second: options.second,
    sessions: options.sessions ?? false
  }
  for (const name of Object.keys(options.except ?? {})) {
    if (!definitions.some((definition) => definition.name === name)) {
      throw new TypeError(
        `StoreLaws: There is no law named ${JSON.stringify(name)}. Write the name of a law as laws() gives it.`
      )
    }
  }
  return definitions.map((definition) => ({
    name: definition.name,
    covers: definition.covers,
    needs: definition.needs,
    waived: waived(definition, settings, options),
    run: run(definition, settings)
  }))
}
