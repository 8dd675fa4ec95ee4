/**
 * docs/operations.md and docs/grafana.json name every metric and every log line of `src`, and none that is not there.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../", import.meta.url))
const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const page = read("docs/operations.md")
const dashboard = read("docs/grafana.json")

const sources = fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ts.createSourceFile(file, read(path.join("src", file)), ts.ScriptTarget.ES2022, true))

const nodesOf = (source: ts.SourceFile): ReadonlyArray<ts.Node> => {
  const nodes: Array<ts.Node> = []
  const visit = (node: ts.Node): void => {
    nodes.push(node)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return nodes
}

/** The texts that an expression can be, with "…" for what is only known when it runs. */
const textsOf = (expression: ts.Expression, nodes: ReadonlyArray<ts.Node>): ReadonlyArray<string> => {
  if (ts.isStringLiteralLike(expression)) {
    return [expression.text]
  }
  if (ts.isTemplateExpression(expression)) {
    return [expression.head.text + expression.templateSpans.map(({ literal }) => `…${literal.text}`).join("")]
  }
  if (ts.isBinaryExpression(expression)) {
    const after = textsOf(expression.right, nodes)
    return textsOf(expression.left, nodes).flatMap((before) => after.map((text) => before + text))
  }
  if (ts.isConditionalExpression(expression)) {
    return [expression.whenTrue, expression.whenFalse].flatMap((branch) => textsOf(branch, nodes))
  }
  if (ts.isIdentifier(expression)) {
    return nodes.flatMap((node) =>
      ts.isVariableDeclaration(node) && node.name.getText() === expression.text && node.initializer !== undefined
        ? textsOf(node.initializer, nodes)
        : []
    )
  }
  return []
}

/** Where a function that logs has its message: `Effect.logWarning(message)`, `report(error, message)`. */
const placeOf = (callee: string): number | undefined =>
  /^Effect\.log(Debug|Info|Warning|Error|Fatal)$/.test(callee) ? 0 : /^(report|logOnce)$/.test(callee) ? 1 : undefined

const logged = sources.flatMap((source) => {
  const nodes = nodesOf(source)
  return nodes.filter(ts.isCallExpression).flatMap((call) => {
    const argument = call.arguments[placeOf(call.expression.getText()) ?? call.arguments.length]
    return argument === undefined ? [] : textsOf(argument, nodes)
  })
})

const code = sources.map((source) => source.text).join("\n")
const matches = (text: string, pattern: RegExp): ReadonlyArray<string> =>
  [...text.matchAll(pattern)].map(([, found = ""]) => found)
const sorted = (values: Iterable<string>): ReadonlyArray<string> => [...new Set(values)].sort()

const counters = matches(code, /\bcounter\("(\w+)"/g).map((name) => `effect_session_${name}`)
const histograms = matches(code, /\bMetricKey\.histogram\(\s*"(\w+)"/g)

describe("docs/operations.md", () => {
  it("has every metric of the code, and no other", () => {
    assert.deepStrictEqual(
      sorted(matches(page, /`(effect_session_\w+)`/g)),
      sorted([...counters, ...histograms])
    )
  })

  it("has every event and every reason of a rejection", () => {
    const reasons = matches(/export type Reason =\n((?: {2}\| "[^"]+"\n)+)/.exec(code)?.[1] ?? "", /"([^"]+)"/g)
    assert.includeMembers([...reasons], [
      "malformed",
      "unknown",
      "superseded",
      "tampered",
      "undecodable",
      "invalid field"
    ])
    const listed = sorted(matches(/\*\*Reasons[\s\S]*?\*\*Events/.exec(page)?.[0] ?? "", /^\| `([^`]+)` \|/gm))
    assert.deepStrictEqual(listed, sorted(reasons))
    const events = matches(/const names = \{\n([^}]*)\}/.exec(code)?.[1] ?? "", /"(\w+)"/g)
    assert.includeMembers([...events], ["created", "logged_in", "unsaved"])
    const rows = matches(/\*\*Events\*\*[\s\S]*?\*\*Methods/.exec(page)?.[0] ?? "", /^\| ([^|]+) \|/gm).slice(2)
    assert.deepStrictEqual(sorted(rows.flatMap((row) => matches(row, /`(\w+)`/g))), sorted(events))
  })

  it("has every line that is logged, word for word, and no other", () => {
    const lines = matches(/## Log lines[\s\S]*?\n## /.exec(page)?.[0] ?? "", /^\| `([^`]+)` \|/gm)
    assert.isAtLeast(logged.length, 20)
    assert.deepStrictEqual(sorted(lines), sorted(logged))
  })
})

interface Panel {
  readonly title: string
  readonly type: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly targets?: ReadonlyArray<{ readonly expr: string }>
}

describe("docs/grafana.json", () => {
  const { __inputs, panels, schemaVersion, title } = JSON.parse(dashboard) as {
    readonly __inputs: ReadonlyArray<{ readonly pluginId: string }>
    readonly panels: ReadonlyArray<Panel>
    readonly schemaVersion: number
    readonly title: string
  }
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

  it("asks for each metric by its Prometheus name, and for none that is not there", () => {
    const known = [
      ...counters.map((name) => `${name}_total`),
      ...histograms.flatMap((name) => ["bucket", "count"].map((part) => `${name}_${part}`))
    ]
    assert.deepStrictEqual(sorted(queries.flatMap((query) => matches(query, /\b(effect_session_\w+)/g))), sorted(known))
  })

  it("uses only labels that the metrics have", () => {
    const labels = queries.flatMap((query) => matches(query, /by \(([^)]*)\)/g)).flatMap((list) => list.split(/,\s*/))
    assert.deepStrictEqual(sorted(labels), ["event", "le", "method", "outcome", "reason"])
  })

  it("can be imported: a title, a data source to choose, panels that do not overlap", () => {
    assert.strictEqual(title, "effect-session")
    assert.isAtLeast(schemaVersion, 36)
    assert.deepStrictEqual(__inputs.map(({ pluginId }) => pluginId), ["prometheus"])
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) => {
      assert.isAtMost(x + w, 24)
      return Array.from({ length: h * w }, (_, index) => `${x + index % w} ${y + Math.floor(index / w)}`)
    })
    assert.strictEqual(new Set(cells).size, cells.length)
  })
})
