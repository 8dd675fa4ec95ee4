import { describe } from "@effect/vitest"
import { Layer } from "effect"
import * as SqlStore from "effect-session/SqlStore"
import * as StoreLawsSuite from "effect-session/StoreLawsSuite"
import * as Fixture from "../fixtures/sql.js"

for (const database of [...Fixture.databases, Fixture.libsql]) {
  describe.skipIf(database.missing !== undefined)(Fixture.title("the laws", database), () => {
    StoreLawsSuite.suite(`SqlStore on ${database.name}`, {
      layer: SqlStore.layer().pipe(
        Layer.provide(SqlStore.layerMigrations()),
        Layer.provide(database.client)
      ),
      clock: "test"
    })
  })
}
