/**
 * The laws of what a store tells whoever watches a session. A store that tells nothing passes those of telling. The laws
 * know nothing of how a store keeps sessions.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as SessionToken from "../../../SessionToken.js"
import type * as Store from "../../../Store.js"
import * as law from "./law.js"

/** How long a watcher may wait until it is told, in milliseconds: longer than any store takes to begin to tell. */
const patience = 8000

/** Watches a session while `use` runs, which is given an effect that waits until the watcher is told. */
const watched = (
  watching: law.AskedWatching,
  token: SessionToken.Token,
  use: (told: (of: string) => Effect.Effect<void, string>) => Effect.Effect<void, string | Store.StoreError>
): Effect.Effect<void, string | Store.StoreError> =>
  Effect.scoped(Effect.gen(function*() {
    const elements = yield* Queue.sliding<void>(1)
    const failure = yield* Deferred.make<never, Store.StoreError>()
    yield* Stream.runForEach(watching.changes(token), () => Queue.offer(elements, undefined)).pipe(
      Effect.catchAll((error) => Deferred.fail(failure, error)),
      Effect.forkScoped
    )
    const told = (of: string) =>
      Queue.take(elements).pipe(
        Effect.timeoutFail({ duration: patience, onTimeout: () => `a watcher was not told of ${of}` })
      )
    yield* Effect.raceFirst(
      Effect.zipRight(told("its subscription"), use(told)),
      Deferred.await(failure)
    )
  }))

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  {
    name: "a watcher is told of every write, renewal and end",
    covers: ["S26"],
    needs: ["keeping", "revocation"],
    races: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const { watching } = trial
        if (watching?.complete !== true) {
          return
        }
        // the calls go to both instances in turn, so each of them makes each change
        for (const end of ["renew", "remove", "remove", "renew"] as const) {
          const kept = yield* law.keep(trial)
          yield* watched(watching, kept.token, (told) =>
            Effect.gen(function*() {
              const first = yield* law.rewrite(trial, kept, { n: 1 })
              yield* told("an update")
              const second = yield* law.rewrite(trial, first, { n: 2 })
              yield* told("a second update")
              yield* end === "renew" ? law.renew(trial, second, { n: 3 }) : trial.store.remove(second.token)
              yield* told(`a ${end}`)
            }))
        }
      })
  },
  {
    name: "a watcher is told of a revocation",
    covers: ["S26", "S28"],
    needs: ["keeping", "revocation"],
    races: true,
    sessions: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const { watching } = trial
        if (watching?.complete !== true) {
          return
        }
        for (const round of [1, 2]) {
          const kept = yield* law.keep(trial, { subject: `ann ${round}` })
          const id = yield* SessionToken.toId(kept.token)
          yield* watched(
            watching,
            kept.token,
            (told) => Effect.zipRight(trial.sessions.revoke(id), told("a revocation"))
          )
        }
      })
  },
  {
    name: "a store that tells of changes says how a session ended",
    covers: ["S26"],
    needs: ["keeping", "revocation", "tombstones"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { watching } = trial
        if (watching === undefined) {
          return
        }
        const expectEnding = (token: SessionToken.Token, expected: string | undefined, of: string) =>
          Effect.flatMap(watching.ending(token), (found) =>
            law.expect(
              Option.getOrUndefined(found) === expected,
              () => `the ending of ${of} is ${Option.getOrElse(found, () => "unknown")}, not ${expected ?? "unknown"}`
            ))
        const live = yield* law.keep(trial)
        const first = yield* law.keep(trial)
        const second = yield* law.renew(trial, first, { n: 1 })
        yield* expectEnding(live.token, undefined, "a live session")
        yield* expectEnding(trial.draw(), undefined, "an unknown token")
        yield* expectEnding(first.token, "renewed", "a renewed session")
        yield* trial.store.remove(second.token)
        yield* expectEnding(second.token, "destroyed", "a removed session")
        yield* expectEnding(first.token, "renewed", "a renewed session whose successor was removed")
      })
  },
  {
    name: "a store that tells of changes says that a session was revoked",
    covers: ["S26", "S31"],
    needs: ["keeping", "revocation", "tombstones"],
    sessions: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const { watching } = trial
        if (watching === undefined) {
          return
        }
        const { token } = yield* law.keep(trial, { subject: "ann" })
        yield* trial.sessions.revoke(yield* SessionToken.toId(token))
        const ending = yield* watching.ending(token)
        yield* law.expect(
          Option.contains(ending, "revoked"),
          () => `the ending of a revoked session is ${Option.getOrElse(ending, () => "unknown")}`
        )
        yield* trial.store.remove(token)
        yield* law.expect(
          Option.contains(yield* watching.ending(token), "revoked"),
          () => "a revoked session is said to have ended otherwise after a remove"
        )
      })
  }
]
