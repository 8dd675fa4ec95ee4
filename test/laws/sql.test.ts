import { describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as SqlStore from "effect-session/SqlStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import * as Fixture from "../fixtures/sql.js"

for (const database of [...Fixture.databases, Fixture.libsql]) {
  describe.skipIf(database.missing !== undefined)(Fixture.title("the laws", database), () => {
    let schema: Fixture.Schema | undefined
    const client = Layer.unwrapScoped(
      Effect.map(Effect.orDie(database.schema), (made) => {
        schema = made
        return made.client
      })
    )
    StoreLawsSuite.suite(`SqlStore on ${database.name}`, {
      layer: SqlStore.layer().pipe(
        Layer.provide(SqlStore.layerMigrations()),
        Layer.provide(client)
      ),
      second: SqlStore.layer().pipe(Layer.provide(Layer.suspend(() => schema?.client ?? Layer.die("no schema")))),
      clock: "test",
      sessions: true,
      timeout: "4 minutes"
    })
  })
}
