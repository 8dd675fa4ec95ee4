/**
 * The tests that mutants of `src` are held to: all but those that start processes, wait for a disk, or compile the
 * sources, and the laws with fewer histories.
 */
import { fileURLToPath } from "node:url"
import { defineConfig, mergeConfig } from "vitest/config"
import base from "../../vitest.config.js"

export default mergeConfig(
  base,
  defineConfig({
    resolve: {
      alias: [{
        find: /^effect-session\/StoreLawsSuite$/,
        replacement: fileURLToPath(new URL("./storeLawsSuite.ts", import.meta.url))
      }]
    },
    test: {
      exclude: [
        "test/numbers.test.ts",
        "test/examples.boot.test.ts",
        "test/workers.test.ts",
        "test/FileStore.processes.test.ts",
        "test/RedisStore.cluster.test.ts",
        "test/plack.test.ts",
        "test/laws/wrong-stores.test.ts",
        "examples/**"
      ]
    }
  })
)
