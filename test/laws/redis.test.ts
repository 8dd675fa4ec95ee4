import { describe } from "@effect/vitest"
import { Effect } from "effect"
import * as RedisStore from "effect-session/RedisStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import * as Fixture from "../fixtures/redis.js"

const missing = await Fixture.isShared() ? undefined : `skipped: no Redis at ${Fixture.url}`

describe.skipIf(missing !== undefined)(missing ?? "the laws", () => {
  for (const { connect, name } of Fixture.clients) {
    const prefix = `effect-session:laws:${process.pid}:${name}:`
    StoreLawsSuite.suite(`RedisStore by ${name}`, {
      layer: RedisStore.layer({
        client: Effect.zipRight(Effect.addFinalizer(() => Fixture.clear(prefix)), connect(Fixture.url)),
        prefix
      }),
      second: RedisStore.layer({ client: connect(Fixture.url), prefix }),
      clock: "test",
      sessions: true,
      timeout: "4 minutes"
    })
  }
})
