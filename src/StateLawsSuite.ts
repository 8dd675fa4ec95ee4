/**
 * Runs the state laws under `@effect/vitest`, in one test each. The laws themselves are in `effect-session/StateLaws`,
 * which needs no test runner.
 *
 * @since 0.1.0
 */
import { layer as layerTests } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import type * as State from "./State.js"
import * as StateLaws from "./StateLaws.js"

/**
 * Tests every transport of a state by every law, in one test each, under the given name.
 *
 * @since 0.1.0
 * @category laws
 * @example
 * ```ts
 * import { HeaderState } from "effect-session"
 * import * as StateLawsSuite from "effect-session/StateLawsSuite"
 *
 * StateLawsSuite.suite("a header of our own", { layer: HeaderState.layer({ header: "X-Mine" }) })
 * ```
 */
export const suite = <E>(
  name: string,
  options: StateLaws.Options & { readonly layer: Layer.Layer<State.State, E> }
): void => {
  layerTests(options.layer)(name, (it) => {
    for (const law of StateLaws.laws(options)) {
      const title = `${law.covers.join(" ")}: ${law.name}`
      if (law.waived === undefined) {
        it.effect(title, () => law.run)
      } else {
        it.effect.skip(`${title} (${law.waived})`, () => law.run)
      }
    }
  })
}
