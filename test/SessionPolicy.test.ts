import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Exit, Layer } from "effect"
import { CookieState, HeaderState, HttpMiddleware, MemoryStore, SessionPolicy, State } from "effect-session"
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
        maxSize: 262_144,
        watchInterval: 5000
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
        maxSize: 1000,
        watchInterval: 3000
      })
    }).pipe(Effect.provide(SessionPolicy.layer({
      idleTimeout: "10 minutes",
      lifetime: "12 hours",
      storeTimeout: "2 seconds",
      onStoreFailure: "anonymous",
      maxSize: 1000,
      watchInterval: "3 seconds"
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
      ["a watch without a pause", { watchInterval: 0 }, "watchInterval", "above zero"],
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

  describe("what does not fit together is a warning, when the first request comes", () => {
    /** The warnings of two requests. */
    const warnings = (state: Layer.Layer<State.State, unknown>, policy: Layer.Layer<never, unknown>) =>
      fixture.logged((lines) =>
        Effect.gen(function*() {
          const client = yield* testing.client(HttpMiddleware.session(fixture.answering(fixture.increment)))
          yield* client.get("/")
          yield* client.get("/")
          return lines.filter(({ level }) => level === "WARN").map(({ message }) => message)
        })
      ).pipe(Effect.provide(Layer.mergeAll(state, MemoryStore.layer(), policy)))

    for (
      const [title, cookie, policy, wanted] of [
        [
          "a cookie that is to last longer than the policy lets a session live",
          { maxAge: "30 days" },
          {},
          ["maxAge (cookie:__Host-session) is 30 days", "1 hour", "1 day", "idleTimeout and lifetime to \"30 days\""]
        ],
        [
          "a cookie that outlives the idle timeout alone",
          { maxAge: "30 days" },
          { lifetime: "30 days" },
          ["set SessionPolicy's idleTimeout to \"30 days\"", "lower maxAge to \"1 hour\""]
        ],
        [
          "a cookie that outlives the lifetime alone",
          { maxAge: "7 days" },
          { idleTimeout: "7 days" },
          ["set SessionPolicy's lifetime to \"7 days\"", "lower maxAge to \"1 day\""]
        ],
        [
          "a session of weeks whose cookie ends with the browser",
          {},
          { idleTimeout: "14 days", lifetime: "30 days" },
          ["lives for 14 days", "set the cookie's maxAge to \"14 days\""]
        ],
        [
          "an idle timeout that the lifetime cuts short",
          {},
          { idleTimeout: "36 hours" },
          ["idleTimeout is 36 hours", "set lifetime to \"36 hours\"", "idleTimeout to \"1 day\""]
        ]
      ] as ReadonlyArray<readonly [string, CookieState.Options, SessionPolicy.Options, ReadonlyArray<string>]>
    ) {
      it.effect(`N5: ${title}`, () =>
        Effect.gen(function*() {
          const [warning = "", ...more] = yield* warnings(CookieState.layer(cookie), SessionPolicy.layer(policy))
          assert.deepStrictEqual(more, [])
          for (const text of wanted) {
            assert.include(warning, text)
          }
        }))
    }

    for (
      const [title, state, policy] of [
        ["the defaults", CookieState.layer(), {}],
        ["a day, and a cookie that ends with the browser", CookieState.layer(), { idleTimeout: "1 day" }],
        ["all three alike", CookieState.layer({ maxAge: "30 days" }), { idleTimeout: "30 days", lifetime: "30 days" }],
        ["a cookie that ends before its session", CookieState.layer({ maxAge: "1 minute" }), {}],
        ["a header, which a client keeps", HeaderState.layer(), { idleTimeout: "30 days", lifetime: "30 days" }]
      ] as ReadonlyArray<readonly [string, Layer.Layer<State.State, unknown>, SessionPolicy.Options]>
    ) {
      it.effect(`N5: nothing is said of ${title}`, () =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* warnings(state, SessionPolicy.layer(policy)), [])
        }))
    }

    it.effect("N5: each cookie of a state is looked at, and a state of its own with the same policy", () =>
      Effect.gen(function*() {
        const policy = yield* SessionPolicy.make()
        const same = Layer.succeedContext(Context.make(SessionPolicy.SessionPolicy, policy))
        const long = CookieState.layer({ name: "a", secure: false, maxAge: "30 days" })
        assert.deepStrictEqual(yield* warnings(CookieState.layer(), same), [])
        const [warning, ...more] = yield* warnings(State.orElse(HeaderState.layer(), long), same)
        assert.include(warning, "cookie:a")
        assert.deepStrictEqual(more, [])
      }))
  })
})
