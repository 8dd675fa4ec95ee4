import { describe } from "@effect/vitest"
import connectPgSimple from "connect-pg-simple"
import { RedisStore } from "connect-redis"
import { Effect } from "effect"
import * as ExpressStore from "effect-session/ExpressStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import session from "express-session"
import { createClient } from "redis"
import { databaseMissing, databaseTitle, poolWithSchema } from "../support/database.js"
import { redisMissing, redisTitle, redisUrl } from "../support/redis.js"

/** An express-session store that forgets nothing by itself, so that laws may move their clock both ways. */
class MapStore extends session.Store {
  readonly map = new Map<string, string>()

  get(sid: string, callback: (error: unknown, session?: session.SessionData | null) => void): void {
    setImmediate(() => callback(null, JSON.parse(this.map.get(sid) ?? "null") as session.SessionData | null))
  }

  set(sid: string, value: session.SessionData, callback?: (error?: unknown) => void): void {
    const text = JSON.stringify(value)
    setImmediate(() => {
      this.map.set(sid, text)
      callback?.()
    })
  }

  destroy(sid: string, callback?: (error?: unknown) => void): void {
    setImmediate(() => {
      this.map.delete(sid)
      callback?.()
    })
  }
}

// within one process the queue keeps every law
StoreLawsSuite.suite("ExpressStore", {
  layer: ExpressStore.layer(Effect.sync(() => new MapStore()), { expiry: "record" }),
  clock: "test"
})

describe.skipIf(redisMissing)(redisTitle("the laws"), () => {
  const prefix = `effect-session-laws-express-${process.pid}:`
  StoreLawsSuite.suite("ExpressStore by connect-redis", {
    layer: ExpressStore.layer(
      Effect.map(
        Effect.acquireRelease(
          Effect.promise(async () => {
            const client = createClient({ url: redisUrl })
            await client.connect()
            return client
          }),
          (client) =>
            Effect.promise(async () => {
              for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
                if (keys.length > 0) {
                  await client.unlink(keys)
                }
              }
              client.destroy()
            })
        ),
        (client) => new RedisStore({ client, prefix })
      ),
      { expiry: "record" }
    ),
    clock: "live",
    thoroughness: 0.05
  })
})

describe.skipIf(databaseMissing)(databaseTitle("the laws"), () => {
  const schemaName = `effect_session_laws_express_${process.pid}`
  StoreLawsSuite.suite("ExpressStore by connect-pg-simple", {
    layer: ExpressStore.layer(
      Effect.map(
        poolWithSchema(schemaName),
        (pool) => {
          const PgStore = connectPgSimple(session)
          return new PgStore({ pool, schemaName, createTableIfMissing: true, pruneSessionInterval: false })
        }
      ),
      { expiry: "record" }
    ),
    clock: "live",
    thoroughness: 0.05
  })
})
