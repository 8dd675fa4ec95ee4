/**
 * What every store promises, as laws that anyone can try on their own store. Each law is a program over the `Store`
 * service that fails with `LawBroken`; `suite` tries them all under `@effect/vitest`. What a backend can't do is waived by
 * name, and what is waived stays visible as a skipped test. Knows nothing of how a store keeps sessions.
 *
 * @since 0.1.0
 */
import { layer as layerTests } from "@effect/vitest"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as answers from "./internal/laws/store/answers.js"
import * as internal from "./internal/laws/store/law.js"
import * as lifetimes from "./internal/laws/store/lifetimes.js"
import * as model from "./internal/laws/store/model.js"
import * as races from "./internal/laws/store/races.js"
import * as values from "./internal/laws/store/values.js"
import type * as Store from "./Store.js"

/**
 * What a store may declare that it can't do:
 *
 * - `keeping`: it keeps nothing, and answers `NotKept`
 * - `revocation`: a token is good until it expires, since it is the data (sealed sessions): nothing ends an old one
 * - `revisions`: it can't see that another writer was there first, not even well after the fact
 * - `tombstones`: a renewed or removed token answers `None`, as one that was never used
 * - `compareAndSet`: it sees other writers, but two at the same moment may both believe that they won
 * - `createIfAbsent`: of two creates under one token at the same moment both may believe that they won
 *
 * A plain cache, which reads, compares and writes in three steps, waives the last two alone. Every law says what it
 * needs; waiving less than is true fails, waiving more hides laws that would have held.
 *
 * @since 0.1.0
 * @category models
 */
export type Capability = internal.Capability

/**
 * How a store is tried.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Which clock rules the store. `test`: only the time that a call is told, so a law may also pass the end of a tombstone.
   * `live`: a server sweeps by its own, so no law rests on when the server forgets. With either, the time that laws tell
   * stands still until they move it, apart from any `Clock`: a store has to go by its call's `now`.
   */
  readonly clock: "test" | "live"
  /** What the store can't do. Default: nothing is waived. */
  readonly waives?: ReadonlyArray<Capability> | undefined
  /** Single laws that the store does not keep, by name, each with the reason, which is printed. Default: none. */
  readonly except?: { readonly [law: string]: string } | undefined
  /**
   * How much is tried. At 1, the default: 500 random histories of two clients and all 91 of two steps are compared with
   * the model, and 100 random values make the round trip. Random histories and values grow in proportion; 2 also tries
   * all histories of three steps, 4 and more those of four (15,379, for stores in memory). Below 1 for slow stores.
   */
  readonly thoroughness?: number | undefined
  /** Compares one random history alone, to repeat a failure, which prints its seed. */
  readonly seed?: number | undefined
  /**
   * What every call is told beside the time, for a store whose tokens depend on it. Default: the cookie `session`, and no
   * limit.
   */
  readonly call?: { readonly audience: string; readonly limit: number } | undefined
}

/**
 * One law. `run` fails with `LawBroken` where the store breaks it; `needs` are the capabilities without which it can't be
 * asked; `covers` are the requirements (S-numbers) behind it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Law {
  readonly name: string
  readonly covers: ReadonlyArray<string>
  readonly needs: ReadonlyArray<Capability>
  /** Why the law is not tried under the given options; `undefined` where it is. */
  readonly waived: string | undefined
  readonly run: Effect.Effect<void, LawBroken | Store.StoreError, Store.Store>
}

/**
 * A law that a store broke: its name, and what was answered or found where something else was expected.
 *
 * @since 0.1.0
 * @category errors
 */
export const LawBroken: typeof internal.LawBroken = internal.LawBroken

/**
 * @since 0.1.0
 * @category errors
 */
export type LawBroken = internal.LawBroken

const definitions: ReadonlyArray<internal.Definition> = [
  ...answers.definitions,
  ...lifetimes.definitions,
  ...values.definitions,
  ...races.definitions,
  ...model.definitions
]

const waived = (definition: internal.Definition, settings: internal.Settings, options: Options): string | undefined => {
  const missing = definition.needs.filter((capability) => settings.waives.includes(capability))
  if (missing.length > 0) {
    return `waived: ${missing.join(", ")}`
  }
  if (definition.onlyWithout !== undefined && !settings.waives.includes(definition.onlyWithout)) {
    return `for stores that waive ${definition.onlyWithout}`
  }
  if (definition.clock === "test" && settings.clock !== "test") {
    return "another clock sweeps"
  }
  const reason = options.except?.[definition.name]
  return reason === undefined ? undefined : `except: ${reason}`
}

/**
 * The laws, to be tried one by one. Throws a `TypeError` when `except` names a law that there is not.
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
  const settings: internal.Settings = {
    clock: options.clock,
    waives: options.waives ?? [],
    thoroughness: options.thoroughness ?? 1,
    seed: options.seed,
    call: options.call
  }
  for (const name of Object.keys(options.except ?? {})) {
    if (!definitions.some((definition) => definition.name === name)) {
      throw new TypeError(`StoreLaws: there is no law named ${JSON.stringify(name)}`)
    }
  }
  return definitions.map((definition) => ({
    name: definition.name,
    covers: definition.covers,
    needs: definition.needs,
    waived: waived(definition, settings, options),
    run: internal.run(definition, settings)
  }))
}

/**
 * Tries every law on a store, one test each, under the given name. The layer is built once; laws draw tokens of their own
 * and leave what they wrote.
 *
 * @since 0.1.0
 * @category laws
 * @example
 * ```ts
 * import { CacheStore } from "effect-session"
 * import * as StoreLaws from "effect-session/StoreLaws"
 *
 * declare const cache: CacheStore.Cache
 *
 * // a cache of several processes, which reads, compares and writes in three steps
 * StoreLaws.suite("CacheStore", {
 *   layer: CacheStore.layer(cache),
 *   clock: "test",
 *   waives: ["compareAndSet", "createIfAbsent"]
 * })
 * ```
 */
export const suite = <E>(
  name: string,
  options: Options & {
    readonly layer: Layer.Layer<Store.Store, E>
    /** How long one law may take. Default: 60 seconds. */
    readonly timeout?: Duration.DurationInput | undefined
  }
): void => {
  const timeout = options.timeout ?? Duration.seconds(60)
  layerTests(options.layer, { timeout, excludeTestServices: options.clock === "live" })(name, (it) => {
    for (const law of laws(options)) {
      const title = law.covers.length === 0 ? law.name : `${law.covers.join(" ")}: ${law.name}`
      if (law.waived === undefined) {
        it.effect(title, () => law.run, Duration.toMillis(timeout))
      } else {
        it.effect.skip(`${title} (${law.waived})`, () => law.run)
      }
    }
  })
}
