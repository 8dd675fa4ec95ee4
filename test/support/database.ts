/**
 * Where the tests' PostgreSQL is, and whether it answers.
 */
import { Effect } from "effect"
import pg from "pg"
import { isReachable } from "./reachable.js"

export const databaseUrl = process.env["DATABASE_URL"] ?? "postgres://root@127.0.0.1:5432/test"

/** With CI=true the tests run, and fail, where there is none. */
export const databaseMissing = process.env["CI"] !== "true" && !isReachable(databaseUrl, 5432)

/** The title of a suite that needs PostgreSQL. */
export const databaseTitle = (title: string): string =>
  databaseMissing ? `skipped: no PostgreSQL at ${databaseUrl}` : title

/** A pool, and a schema of this name until the scope closes. */
export const poolWithSchema = (schema: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const pool = new pg.Pool({ connectionString: databaseUrl })
      await pool.query(`CREATE SCHEMA ${schema}`)
      return pool
    }),
    (pool) =>
      Effect.promise(async () => {
        await pool.query(`DROP SCHEMA ${schema} CASCADE`)
        await pool.end()
      })
  )
