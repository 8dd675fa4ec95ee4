import * as effect from "@effect/eslint-plugin"
import sortDestructureKeys from "eslint-plugin-sort-destructure-keys"
import { defineConfig, globalIgnores } from "eslint/config"
import tseslint from "typescript-eslint"

const nodeGlobals = [
  "Buffer",
  "process",
  "global",
  "setImmediate",
  "clearImmediate",
  "require",
  "__dirname",
  "__filename"
]

export default defineConfig(
  globalIgnores(["dist/", "coverage/", "reports/", ".stryker-tmp/"]),
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  tseslint.configs.recommended,
  effect.configs.dprint,
  {
    plugins: { "sort-destructure-keys": sortDestructureKeys },
    rules: {
      "no-console": "off",
      "object-shorthand": "error",
      "require-yield": "off",
      "sort-destructure-keys/sort-destructure-keys": "error",
      "@typescript-eslint/array-type": ["error", { default: "generic", readonly: "generic" }],
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "separate-type-imports" }],
      "@typescript-eslint/no-empty-object-type": "off",
      "@typescript-eslint/no-explicit-any": "off",
      "@typescript-eslint/no-namespace": "off",
      "@typescript-eslint/no-unused-vars": ["error", {
        argsIgnorePattern: "^_",
        caughtErrorsIgnorePattern: "^_",
        destructuredArrayIgnorePattern: "^_",
        varsIgnorePattern: "^_"
      }],
      "@effect/dprint": ["error", {
        config: {
          indentWidth: 2,
          lineWidth: 120,
          semiColons: "asi",
          quoteStyle: "alwaysDouble",
          trailingCommas: "never",
          operatorPosition: "maintain",
          "arrowFunction.useParentheses": "force"
        }
      }]
    }
  },
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    ignores: ["test/bench/**"],
    rules: { "no-console": "error" }
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "@effect/no-import-from-barrel-package": ["error", {
        packageNames: ["effect", "@effect/platform", "@effect/sql", "@effect/experimental"]
      }],
      "@typescript-eslint/no-explicit-any": "error",
      "no-restricted-globals": ["error", ...nodeGlobals],
      "no-restricted-imports": ["error", { patterns: [{ group: ["node:*"], message: "src runs on any runtime." }] }]
    }
  }
)
