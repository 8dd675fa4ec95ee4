/**
 * Runs a state law: once for each transport of the state, with a client that turns a response into the next request. The
 * module knows nothing of what the laws are.
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import * as SessionToken from "../../../SessionToken.js"
import * as State from "../../../State.js"
import { LawBroken } from "../broken.js"
import * as client from "./client.js"
import * as law from "./law.js"

/** @internal */
export interface Settings {
  readonly emits: boolean
  /** Makes a request that carries a token. Without it, the client does, after a response with the token. */
  readonly carry: ((transport: State.Transport, text: string) => Request) | undefined
  readonly client: client.Client | undefined
  readonly values: number
  readonly seed: number
}

/** Texts that are no tokens. */
const strangers = ({ seed, values }: Settings): ReadonlyArray<string> => [
  "__proto__",
  "constructor",
  "\u0000",
  "\r\nset-cookie: a=1",
  "%",
  "%E0%A4%A",
  "\"",
  "\ud800",
  "../x",
  "x".repeat(10_000),
  ...fc.sample(fc.string({ unit: "binary", maxLength: 60 }), { numRuns: values, seed }),
  ...fc.sample(fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 }), { numRuns: values, seed }).map((
    units
  ) => String.fromCharCode(...units))
]

/** @internal */
export const run = (
  definition: law.Definition,
  settings: Settings
): Effect.Effect<void, LawBroken, State.State> =>
  Effect.gen(function*() {
    const { transports } = yield* State.State
    const generator = yield* SessionToken.Generator
    const follow = settings.client ?? client.follow(law.now)
    for (const transport of transports) {
      const next: law.Trial["next"] = (before, response) =>
        follow(transport, before, HttpServerResponse.toWeb(response))
      const trial: law.Trial = {
        transport,
        draw: () => SessionToken.draw(generator),
        next,
        carry: (token) =>
          settings.carry === undefined
            ? Effect.map(transport.emit(law.empty, token, law.emission), (response) => next(law.first(), response))
            : Effect.succeed(settings.carry(transport, Redacted.value(token))),
        strangers: strangers(settings)
      }
      yield* Effect.mapError(
        definition.trial(trial),
        (problem) => new LawBroken({ law: definition.name, problem: `${transport.audience}: ${problem}` })
      )
    }
  })
