/**
 * A reporter that says what a run skipped and why, so that the count in Vitest's closing line is no riddle. A suite that
 * is skipped has its reason as its title, "skipped: no Redis at ..."; a law that is waived has its in brackets at the end.
 */
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node"

const prefix = "skipped: "

const reasonOf = (test: TestCase): string => {
  const result = test.result()
  const note = result.state === "skipped" ? result.note : undefined
  if (note?.startsWith(prefix)) return note.slice(prefix.length)
  for (let at: TestCase | TestModule | TestSuite = test; at.type !== "module"; at = at.parent) {
    if (at.name.startsWith(prefix)) return at.name.slice(prefix.length)
  }
  return test.name.endsWith(")")
    ? "laws that are not asked of that store or state: test/README.md"
    : "left out of this run"
}

export default class Skipped implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const counts = new Map<string, number>()
    for (const module of modules) {
      for (const test of module.children.allTests("skipped")) {
        const reason = reasonOf(test)
        counts.set(reason, (counts.get(reason) ?? 0) + 1)
      }
    }
    for (const [reason, count] of counts) {
      process.stdout.write(`    Skipped  ${count}: ${reason}\n`)
    }
  }
}
