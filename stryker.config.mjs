export default {
  mutate: ["src/**/*.ts", "!src/index.ts", "!src/StoreLaws.ts", "!src/StateLaws.ts", "!src/internal/storeLaws/**"],
  testRunner: "vitest",
  checkers: ["typescript"],
  tsconfigFile: "tsconfig.build.json",
  coverageAnalysis: "perTest",
  ignoreStatic: true,
  concurrency: 2,
  incremental: true,
  incrementalFile: "reports/stryker-incremental.json",
  htmlReporter: { fileName: "reports/mutation.html" },
  reporters: ["clear-text", "progress", "html"],
  tempDirName: ".stryker-tmp"
}
