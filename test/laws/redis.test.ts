import { describe } from "@effect/vitest"
import { Effect } from "effect"
import * as RedisStore from "effect-session/RedisStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import { Redis } from "ioredis"
import * as Fixture from "../fixtures/redis.js"

const missing = await Fixture.isShared() ? undefined : `skipped: no Redis at ${Fixture.url}`

/** Deletes what the laws left under a prefix. */
const clean = (prefix: string) =>
  Effect.promise(async () => {
    const client = new Redis(Fixture.url)
    for await (const keys of client.scanStream({ match: `${prefix}*`, count: 1000 })) {
      if ((keys as Array<string>).length > 0) {
        await client.unlink(keys as Array<string>)
      }
    }
    client.disconnect()
  })

describe.skipIf(missing !== undefined)(missing ?? "the laws", () => {
  for (const { connect, name } of Fixture.clients) {
    const prefix = `effect-session:laws:${process.pid}:${name}:`
    StoreLawsSuite.suite(`RedisStore by ${name}`, {
      layer: RedisStore.layer({
        client: Effect.zipRight(Effect.addFinalizer(() => clean(prefix)), connect(Fixture.url)),
        prefix
      }),
      second: RedisStore.layer({ client: connect(Fixture.url), prefix }),
      clock: "test",
      timeout: "4 minutes"
    })
  }
})
