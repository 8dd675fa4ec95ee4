export default {
  mutate: ["src/**/*.ts", "!src/index.ts", "!src/StoreLaws*.ts", "!src/StateLaws*.ts", "!src/internal/laws/**"],
  testRunner: "vitest",
  vitest: { configFile: "test/mutation/vitest.config.ts" },
  coverageAnalysis: "perTest",
  ignoreStatic: true,
  concurrency: 2,
  timeoutMS: 15_000,
  incremental: true,
  incrementalFile: "reports/stryker-incremental.json",
  htmlReporter: { fileName: "reports/mutation.html" },
  jsonReporter: { fileName: "reports/mutation.json" },
  reporters: ["clear-text", "progress-append-only", "html", "json"],
  tempDirName: ".stryker-tmp"
}
