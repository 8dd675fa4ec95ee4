import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Layer } from "effect"
import { CookieState, HttpMiddleware, MemoryStore, SessionPolicy } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"

describe("SessionPolicy", () => {
  it.effect("S17 S18 S23: without a layer, the limits are those of NIST AAL2, and can be read", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* SessionPolicy.SessionPolicy, {
        idleTimeout: 3_600_000,
        lifetime: 86_400_000,
        touchInterval: 360_000,
        storeTimeout: 5000,
        onStoreFailure: "fail",
        maxSize: 262_144
      })
      assert.deepStrictEqual(yield* SessionPolicy.make(), yield* SessionPolicy.SessionPolicy)
    }))

  it.effect("S23: what is given replaces a default, and the touch interval follows the idle timeout", () =>
    Effect.gen(function*() {
      const policy = yield* SessionPolicy.SessionPolicy
      assert.deepStrictEqual(policy, {
        idleTimeout: 600_000,
        lifetime: 43_200_000,
        touchInterval: 60_000,
        storeTimeout: 2000,
        onStoreFailure: "anonymous",
        maxSize: 1000
      })
    }).pipe(Effect.provide(SessionPolicy.layer({
      idleTimeout: "10 minutes",
      lifetime: "12 hours",
      storeTimeout: "2 seconds",
      onStoreFailure: "anonymous",
      maxSize: 1000
    }))))

  it.effect("takes its options from Config", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* SessionPolicy.SessionPolicy).idleTimeout, 60_000)
    }).pipe(
      Effect.provide(SessionPolicy.layerConfig({ idleTimeout: Config.duration("IDLE") })),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["IDLE", "1 minute"]])))
    ))

  for (
    const [title, options, option, advice] of [
      ["no time", { idleTimeout: 0 }, "idleTimeout", "above zero"],
      ["negative time", { lifetime: -1 }, "lifetime", "above zero"],
      ["more than browsers keep", { lifetime: "401 days" }, "lifetime", "at most 400 days"],
      ["endless", { idleTimeout: Number.POSITIVE_INFINITY }, "idleTimeout", "at most 400 days"],
      ["not a number", { storeTimeout: Number.NaN }, "storeTimeout", "above zero"],
      ["not a duration", { storeTimeout: "soon" as "1 hour" }, "storeTimeout", "2 seconds"],
      ["a touch never owed", { idleTimeout: "1 minute", touchInterval: "1 minute" }, "touchInterval", "shorter"],
      ["an unknown policy", { onStoreFailure: "ignore" as "fail" }, "onStoreFailure", "\"fail\" or \"anonymous\""],
      ["no size", { maxSize: 0 }, "maxSize", "above zero"],
      ["a size that is no number", { maxSize: Number.NaN }, "maxSize", "above zero"]
    ] as ReadonlyArray<readonly [string, SessionPolicy.Options, string, string]>
  ) {
    it.effect(`refuses ${title}, and says what to write`, () =>
      Effect.gen(function*() {
        const built = yield* Effect.exit(Effect.scoped(Layer.build(SessionPolicy.layer(options))))
        assert.isTrue(Exit.isFailure(built))
        const text = String(built)
        assert.include(text, option)
        assert.include(text, advice.replaceAll("\"", text.includes("\\\"") ? "\\\"" : "\""))
      }))
  }

  it.effect("S23: is logged once, with its limits, when the first request comes", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const client = yield* testing.client(HttpMiddleware.session(fixture.answering(fixture.increment)))
        yield* client.get("/")
        yield* client.get("/")
        const said = lines.filter(({ message }) => message.includes("session policy"))
        assert.lengthOf(said, 1)
        assert.deepInclude(said[0]?.annotations, { idleTimeout: 120_000, storeTimeout: 5000 })
      })
    ).pipe(Effect.provide(Layer.mergeAll(
      CookieState.layer(),
      MemoryStore.layer(),
      SessionPolicy.layer({ idleTimeout: "2 minutes" })
    ))))
})
