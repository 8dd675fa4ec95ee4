/**
 * Random histories: how many there are, and how one that fails is repeated. The module knows nothing of what happens in
 * one.
 */
import * as Effect from "effect/Effect"
import type * as Store from "../../../Store.js"
import type * as law from "./law.js"

/**
 * Plays random histories, each in a trial of its own: `count` of them at thoroughness 1, or the one whose seed is given. A
 * failure says the seed.
 *
 * @internal
 */
export const random = (
  trial: law.Trial,
  { concurrency, count }: { readonly count: number; readonly concurrency: number },
  play: (trial: law.Trial, seed: number) => Effect.Effect<void, string | Store.StoreError>
): Effect.Effect<void, string | Store.StoreError> =>
  Effect.suspend(() => {
    const { seed, thoroughness } = trial.settings
    const base = Math.floor(Math.random() * 0x7fffffff)
    const length = Math.max(1, Math.round(count * thoroughness))
    return Effect.forEach(
      seed === undefined ? Array.from({ length }, (_, n) => base + n) : [seed],
      (seed) =>
        Effect.mapError(
          trial.fork((own) => play(own, seed)),
          (error) => typeof error === "string" ? `seed ${seed} (to repeat: seed: ${seed}): ${error}` : error
        ),
      { concurrency, discard: true }
    )
  })
