/**
 * Runs the store laws under `@effect/vitest`, in one test each. The laws themselves are in `effect-session/StoreLaws`,
 * which needs no test runner.
 *
 * @since 0.1.0
 */
import { layer as layerTests } from "@effect/vitest"
import * as Duration from "effect/Duration"
import type * as Layer from "effect/Layer"
import type * as Store from "./Store.js"
import * as StoreLaws from "./StoreLaws.js"

/**
 * Tests a store by every law, in one test each, under the given name. The layer is built once. Every law draws tokens
 * of its own, and does not delete what it wrote. A law that is waived shows as a skipped test.
 *
 * @since 0.1.0
 * @category laws
 * @example
 * ```ts
 * import { CacheStore } from "effect-session"
 * import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
 *
 * declare const cache: CacheStore.Cache
 *
 * // a cache of several processes, which reads, compares and writes in three steps
 * StoreLawsSuite.suite("CacheStore", {
 *   layer: CacheStore.layer(cache),
 *   second: CacheStore.layer(cache),
 *   clock: "test",
 *   waives: ["compareAndSet", "createIfAbsent"]
 * })
 * ```
 */
export const suite = <E>(
  name: string,
  options: StoreLaws.Options & {
    readonly layer: Layer.Layer<Store.Store, E>
    /** How long one law may take. Default 2 minutes. */
    readonly timeout?: Duration.DurationInput | undefined
  }
): void => {
  const timeout = options.timeout ?? Duration.minutes(2)
  layerTests(options.layer, { timeout, excludeTestServices: options.clock === "live" })(name, (it) => {
    for (const law of StoreLaws.laws(options)) {
      const title = law.covers.length === 0 ? law.name : `${law.covers.join(" ")}: ${law.name}`
      if (law.waived === undefined) {
        it.effect(title, () => law.run, Duration.toMillis(timeout))
      } else {
        it.effect.skip(`${title} (${law.waived})`, () => law.run)
      }
    }
  })
}
