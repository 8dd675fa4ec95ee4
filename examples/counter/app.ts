import { HttpServerResponse } from "@effect/platform"
import { Effect, Schema } from "effect"
import { SessionField } from "effect-session"

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })

export const app = Effect.gen(function*() {
  const n = yield* SessionField.getAndUpdate(Visits, (n) => n + 1)
  return HttpServerResponse.text(`Hello, you've been here ${n} ${n === 1 ? "time" : "times"} before!\n`)
})
