import { NodeContext } from "@effect/platform-node"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Config, ConfigProvider, Effect, Layer, Redacted } from "effect"
import {
  CookieState,
  FileStore,
  HeaderState,
  MemoryStore,
  ParamState,
  SealedStore,
  SessionPolicy,
  State,
  TieredStore
} from "effect-session"
import * as RedisStore from "effect-session/RedisStore"
import * as SqlStore from "effect-session/SqlStore"
import * as StoreConfig from "effect-session/StoreConfig"
import * as fs from "node:fs"

const key = Redacted.make("A".repeat(43))

type Build = Effect.Effect<unknown, unknown, Scope.Scope>

/** Every `layerConfig`, without arguments. */
const modules: { readonly [name: string]: Build } = {
  SessionPolicy: Layer.build(SessionPolicy.layerConfig()),
  CookieState: Layer.build(CookieState.layerConfig()),
  HeaderState: Layer.build(HeaderState.layerConfig()),
  ParamState: Layer.build(ParamState.layerConfig()),
  MemoryStore: Layer.build(MemoryStore.layerConfig()),
  FileStore: Layer.build(Layer.provide(FileStore.layerConfig(), NodeContext.layer)),
  RedisStore: Layer.build(RedisStore.layerConfig()),
  SqlStore: Layer.build(Layer.provide(SqlStore.layerConfig(), SqliteClient.layer({ filename: ":memory:" }))),
  TieredStore: Layer.build(MemoryStore.layer().pipe(TieredStore.layerConfig())),
  SealedStore: Layer.build(SealedStore.layerConfig()),
  StoreConfig: Layer.build(StoreConfig.layerConfig())
}

const withVariables = (variables: { readonly [name: string]: string }) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

const messageOf = (build: Build, variables: { readonly [name: string]: string }) =>
  Effect.map(Effect.flip(Effect.scoped(build).pipe(withVariables(variables))), String)

/** The rows of the README's table: the variables, each with the modules that read it. */
const table = new Map(
  Array.from(
    fs.readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/^\| `(SESSION_\w+)` \| ([^|]+) \|/gm),
    ([, variable = "", readers = ""]) => [variable, readers.split(",").map((reader) => reader.trim())] as const
  )
)

describe("variables of the environment", () => {
  it.effect("every layerConfig asks for the variables that the README's table names, and for no others", () =>
    Effect.gen(function*() {
      const asked = new Map<string, Array<string>>()
      for (const [module, build] of Object.entries(modules)) {
        const provider = ConfigProvider.fromMap(new Map())
        // a variable is asked for by its path, and those that are required are given so that the others are asked for too
        const required: { readonly [name: string]: string } = {
          SESSION_DIRECTORY: "",
          SESSION_STORE_URL: "",
          SESSION_KEYS: ""
        }
        const names = new Set<string>()
        const recording = ConfigProvider.fromFlat({
          ...provider.flattened,
          load: (path, config, split) => {
            names.add(path.join("."))
            const value = required[path.join(".")]
            return value === undefined
              ? provider.flattened.load(path, config, split)
              : ConfigProvider.fromMap(new Map([[path.join("."), value]])).flattened.load(path, config, split)
          }
        })
        yield* Effect.exit(Effect.scoped(build).pipe(Effect.withConfigProvider(recording)))
        for (const name of names) {
          asked.set(name, [...asked.get(name) ?? [], module])
        }
      }
      const sorted = (found: Iterable<readonly [string, ReadonlyArray<string>]>) =>
        Array.from(found, ([name, readers]) => `${name}: ${[...readers].sort().join(", ")}`).sort()
      assert.deepStrictEqual(sorted(asked), sorted(table))
    }))

  for (
    const [module, variables, name, wanted] of [
      ["SessionPolicy", { SESSION_IDLE_TIMEOUT: "soon" }, "SESSION_IDLE_TIMEOUT", "duration"],
      ["SessionPolicy", { SESSION_LIFETIME: "401 days" }, "SESSION_LIFETIME", "at most 400 days"],
      ["SessionPolicy", { SESSION_TOUCH_INTERVAL: "2 hours" }, "SESSION_TOUCH_INTERVAL", "shorter than idleTimeout"],
      ["SessionPolicy", { SESSION_STORE_TIMEOUT: "0 seconds" }, "SESSION_STORE_TIMEOUT", "above zero"],
      ["SessionPolicy", { SESSION_ON_STORE_FAILURE: "ignore" }, "SESSION_ON_STORE_FAILURE", "fail, anonymous"],
      ["SessionPolicy", { SESSION_MAX_SIZE: "0" }, "SESSION_MAX_SIZE", "above zero"],
      ["SessionPolicy", { SESSION_WATCH_INTERVAL: "0 seconds" }, "SESSION_WATCH_INTERVAL", "above zero"],
      ["CookieState", { SESSION_NAME: "a b" }, "SESSION_NAME", "cookie name"],
      ["CookieState", { SESSION_PATH: "app" }, "SESSION_PATH", "/app"],
      ["CookieState", { SESSION_DOMAIN: "https://example.com" }, "SESSION_DOMAIN", "host name"],
      ["CookieState", { SESSION_SECURE: "maybe" }, "SESSION_SECURE", "boolean"],
      ["CookieState", { SESSION_HTTP_ONLY: "maybe" }, "SESSION_HTTP_ONLY", "boolean"],
      ["CookieState", { SESSION_SAME_SITE: "Lax" }, "SESSION_SAME_SITE", "lax, strict, none"],
      ["CookieState", { SESSION_PARTITIONED: "maybe" }, "SESSION_PARTITIONED", "boolean"],
      ["CookieState", { SESSION_PRIORITY: "urgent" }, "SESSION_PRIORITY", "low, medium, high"],
      ["CookieState", { SESSION_MAX_AGE: "2 years" }, "SESSION_MAX_AGE", "duration"],
      ["CookieState", { SESSION_MAX_AGE: "401 days" }, "SESSION_MAX_AGE", "at most 400 days"],
      ["CookieState", { SESSION_SECRET: "one,," }, "SESSION_SECRET", "none of them empty"],
      ["CookieState", { SESSION_SECRET: "one", SESSION_CHUNKS: "true" }, "SESSION_CHUNKS", "leave out chunks"],
      ["HeaderState", { SESSION_HEADER: "Cookie" }, "SESSION_HEADER", "CookieState.layer()"],
      ["HeaderState", { SESSION_SCHEME: "a b" }, "SESSION_SCHEME", "one word such as"],
      ["ParamState", { SESSION_KEY: "" }, "SESSION_KEY", "a name of one or more characters"],
      ["ParamState", { SESSION_BODY: "maybe" }, "SESSION_BODY", "boolean"],
      ["MemoryStore", { SESSION_CAPACITY: "0" }, "SESSION_CAPACITY", "1 or more"],
      ["TieredStore", { SESSION_CAPACITY: "many" }, "SESSION_CAPACITY", "integer"],
      ["TieredStore", { SESSION_TIME_TO_LIVE: "0 seconds" }, "SESSION_TIME_TO_LIVE", "above zero"],
      ["FileStore", {}, "SESSION_DIRECTORY", "Missing data"],
      ["FileStore", { SESSION_DIRECTORY: " " }, "SESSION_DIRECTORY", "the path of a folder"],
      [
        "FileStore",
        { SESSION_DIRECTORY: "sessions", SESSION_DURABILITY: "disk" },
        "SESSION_DURABILITY",
        "rename, fsync"
      ],
      ["RedisStore", {}, "SESSION_STORE_URL", "Expected SESSION_STORE_URL to exist"],
      ["RedisStore", { SESSION_STORE_URL: "http//secret" }, "SESSION_STORE_URL", "redis://user:password@host:6379/0"],
      ["RedisStore", { SESSION_STORE_URL: "redis://localhost", SESSION_PREFIX: "{" }, "SESSION_PREFIX", "braces"],
      ["SqlStore", { SESSION_TABLE: "web.sessions" }, "SESSION_TABLE", "the part before the dot"],
      ["SqlStore", { SESSION_SCHEMA: "" }, "SESSION_SCHEMA", "write"],
      ["SqlStore", { SESSION_SWEEP_INTERVAL: "0 seconds" }, "SESSION_SWEEP_INTERVAL", "above zero"],
      ["SqlStore", { SESSION_SWEEP_BATCH: "-1" }, "SESSION_SWEEP_BATCH", "above zero"],
      ["SealedStore", {}, "SESSION_KEYS", "Expected SESSION_KEYS to exist"],
      ["SealedStore", { SESSION_KEYS: "secret" }, "SESSION_KEYS", "openssl rand -base64 32"]
    ] as ReadonlyArray<readonly [string, { readonly [name: string]: string }, string, string]>
  ) {
    it.effect(`${module} refuses ${JSON.stringify(variables)}, and names the variable and what it wants`, () =>
      Effect.gen(function*() {
        const message = yield* messageOf(modules[module] ?? Effect.void, variables)
        assert.include(message, name)
        assert.include(message, wanted)
        assert.notInclude(message, module)
        assert.notInclude(message, "secret\"")
      }))
  }

  it.effect("each option is read from its variable", () =>
    Effect.gen(function*() {
      const policy = yield* SessionPolicy.SessionPolicy
      assert.deepStrictEqual(policy, {
        idleTimeout: 600_000,
        lifetime: 43_200_000,
        touchInterval: 30_000,
        storeTimeout: 2000,
        onStoreFailure: "anonymous",
        maxSize: 1000,
        watchInterval: 3000
      })
    }).pipe(
      Effect.provide(SessionPolicy.layerConfig()),
      withVariables({
        SESSION_IDLE_TIMEOUT: "10 minutes",
        SESSION_LIFETIME: "12 hours",
        SESSION_TOUCH_INTERVAL: "30 seconds",
        SESSION_STORE_TIMEOUT: "2 seconds",
        SESSION_ON_STORE_FAILURE: "anonymous",
        SESSION_MAX_SIZE: "1000",
        SESSION_WATCH_INTERVAL: "3 seconds"
      })
    ))

  it.effect("without any variable, the defaults are those of layer", () =>
    Effect.gen(function*() {
      const [transport] = (yield* State.State).transports
      assert.strictEqual(transport.audience, "cookie:__Host-session")
      assert.deepStrictEqual(yield* SessionPolicy.SessionPolicy, yield* SessionPolicy.make())
    }).pipe(
      Effect.provide(Layer.merge(CookieState.layerConfig(), SessionPolicy.layerConfig())),
      withVariables({})
    ))

  const nameOf = (layer: Layer.Layer<State.State, unknown>, variables: { readonly [name: string]: string }) =>
    Effect.map(State.State, ({ transports: [transport] }) => transport.audience).pipe(
      Effect.provide(layer),
      withVariables(variables)
    )

  it.effect("a field that is given replaces its variable, the others are read", () =>
    Effect.gen(function*() {
      const layer = CookieState.layerConfig({ secure: Config.succeed(false) })
      const variables = { SESSION_NAME: "visitor", SESSION_SECURE: "maybe" }
      assert.strictEqual(yield* nameOf(layer, variables), "cookie:visitor")
      // also one that is given as undefined, and one of a Config as a whole
      const unnamed = CookieState.layerConfig({ name: Config.succeed(undefined) })
      assert.strictEqual(yield* nameOf(unnamed, { SESSION_NAME: "visitor" }), "cookie:__Host-session")
      const whole = CookieState.layerConfig(Config.succeed({ secure: false }))
      assert.strictEqual(yield* nameOf(whole, variables), "cookie:visitor")
    }))

  it.effect("a wrong value of a field that is given names the option", () =>
    Effect.gen(function*() {
      const layer = CookieState.layerConfig({ name: Config.string("NAME") })
      const message = yield* messageOf(Layer.build(layer), { NAME: "a b", SESSION_NAME: "good" })
      assert.include(message, "CookieState.name")
    }))

  it.effect("a named session has variables of its own in a nested provider", () =>
    Effect.gen(function*() {
      const nested = ConfigProvider.nested(
        ConfigProvider.fromMap(new Map([["ADMIN_SESSION_NAME", "admin"]]), { pathDelim: "_" }),
        "ADMIN"
      )
      const layer = Layer.provide(CookieState.layerConfig(), Layer.setConfigProvider(nested))
      assert.strictEqual(yield* nameOf(layer, { SESSION_NAME: "visitor" }), "cookie:admin")
    }))

  it.effect("secrets are redacted, in whatever fails", () =>
    Effect.gen(function*() {
      const message = yield* messageOf(modules["RedisStore"] ?? Effect.void, {
        SESSION_STORE_URL: "redis://user:hunter2@host:port"
      })
      assert.notInclude(message, "hunter2")
      assert.notInclude(
        yield* messageOf(modules["SealedStore"] ?? Effect.void, { SESSION_KEYS: "hunter2" }),
        "hunter2"
      )
    }))

  it.effect("of several keys, the wrong one is named by its place, and shown to nobody", () =>
    Effect.gen(function*() {
      const message = yield* messageOf(modules["SealedStore"] ?? Effect.void, {
        SESSION_KEYS: `${Redacted.value(key)},hunter2`
      })
      assert.include(message, "SESSION_KEYS.1")
      assert.notInclude(message, "hunter2")
    }))

  it.effect("SealedStore takes several keys, separated by commas", () =>
    Effect.asVoid(Layer.build(SealedStore.layerConfig())).pipe(
      Effect.scoped,
      withVariables({ SESSION_KEYS: `${Redacted.value(key)},${"B".repeat(42)}A` })
    ))
})
