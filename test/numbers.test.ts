/**
 * Every numbered requirement and case has a test whose title begins with its number, or a reason in docs/requirements.md
 * why it has none; and every number that is cited has an entry there. The titles are read from the sources, so that a
 * test that is deleted is missed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const range = (letter: string, from: number, to: number): ReadonlyArray<string> =>
  Array.from({ length: to - from + 1 }, (_, index) => letter + String(from + index).padStart(2, "0"))

/** What the page has to hold. S: requirements of a session library. P and X: Plack's cases, its own tests' and others. */
const required: ReadonlyArray<string> = [...range("S", 1, 72), ...range("P", 1, 28), ...range("X", 1, 31)]

/** S, P and X as above. C, D, N, W, P-A and P-B: findings. */
const number = String.raw`(?:[SPX]\d\d|[CDNW][1-9]\d?|P-[AB])(?![\w-])`

/** A title begins with numbers; other words may follow them before its colon. */
const title = new RegExp(`^${number}[^:]*:`)

const numbersOf = (text: string): ReadonlyArray<string> => text.match(new RegExp(`(?<![\\w-])${number}`, "g")) ?? []

const page = fs.readFileSync(fileURLToPath(new URL("../docs/requirements.md", import.meta.url)), "utf8")

/** The entries of the page: one a line, that begins with the number and its anchor. */
const entries = [...page.matchAll(/^\| <a id="([^"]*)"><\/a>(\S+) \| (.*)$/gm)].map((
  [, anchor = "", name = "", text = ""]
) => ({ anchor, name, text }))

const entriesWith = (mark: string): ReadonlyArray<string> =>
  entries.filter(({ name, text }) => required.includes(name) && text.includes(mark)).map(({ name }) => name)

/** Numbers without a test, for the reason that the page gives. */
const withoutTest = entriesWith("No test: ")

/** Numbers whose tests leave out a state or a store, because the case can't arise there. */
const narrowed = entriesWith("Narrowed to ")

/** The numbers at the head of titles, and those that a published law says it covers. */
const found = (file: string): ReadonlyArray<string> => {
  const source = ts.createSourceFile(file, fs.readFileSync(file, "utf8"), ts.ScriptTarget.ES2022, false)
  const numbers: Array<string> = []
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node)) {
      numbers.push(...numbersOf(title.exec(node.text)?.[0] ?? ""))
    }
    if (ts.isPropertyAssignment(node) && ts.isIdentifier(node.name) && node.name.text === "covers") {
      ts.forEachChild(node.initializer, (item) => {
        numbers.push(...ts.isStringLiteral(item) ? numbersOf(item.text) : [])
      })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return numbers
}

/** Where a URL in a string is taken for a comment, nothing is missed. */
const citedInComments = (file: string): ReadonlyArray<string> =>
  (fs.readFileSync(file, "utf8").match(/\/\*[^]*?\*\/|\/\/.*/g) ?? []).flatMap(numbersOf)

const filesBelow = (folder: string, matching: (name: string) => boolean): ReadonlyArray<string> =>
  fs.readdirSync(fileURLToPath(new URL(folder, import.meta.url)), { recursive: true, encoding: "utf8" })
    .filter(matching)
    .map((name) => path.join(fileURLToPath(new URL(folder, import.meta.url)), name))

const tested = new Set([
  ...filesBelow("./", (name) => /^(?!numbers\.|.*node_modules).*\.test\.ts$/.test(name)),
  ...filesBelow("../src/internal/laws/", (name) => name.endsWith(".ts")),
  ...filesBelow("../src/", (name) => /^(?:State|Store)Laws\.ts$/.test(name))
].flatMap(found))

const cited = new Set([...tested, ...filesBelow("../src/", (name) => name.endsWith(".ts")).flatMap(citedInComments)])

describe("numbers", () => {
  it("every one has a test, or a reason", () => {
    assert.deepStrictEqual(required.filter((name) => !tested.has(name) && !withoutTest.includes(name)), [])
  })

  it("no reason is given for what has a test", () => {
    assert.deepStrictEqual(withoutTest.filter((name) => tested.has(name)), [])
  })

  it("what is narrowed is tested where it can arise", () => {
    assert.isNotEmpty(narrowed)
    assert.deepStrictEqual(narrowed.filter((name) => !tested.has(name)), [])
  })

  it("docs/requirements.md has an entry for every one, and for every one that a title or a comment cites", () => {
    const names = new Set(entries.map(({ name }) => name))
    assert.deepStrictEqual([...required, ...cited].filter((name) => !names.has(name)), [])
  })

  it("an entry is there once, under its own anchor", () => {
    assert.strictEqual(new Set(entries.map(({ name }) => name)).size, entries.length)
    assert.deepStrictEqual(entries.filter(({ anchor, name }) => anchor !== name.toLowerCase()), [])
  })

  it("titles are found, and what is no title is not", () => {
    assert.isTrue(title.test("S26 X05: renewed"))
    assert.isTrue(title.test("C7 S25: a logout beside a renewal"))
    assert.isTrue(title.test("P-A: remembered"))
    assert.isFalse(title.test("renewed, as S26 has it"))
    assert.isFalse(title.test("W3C: a trace"))
    assert.deepStrictEqual(numbersOf("S15 S26 X05 CVE-2025-46336: what is in flight"), ["S15", "S26", "X05"])
    assert.isAbove(tested.size, 100)
    assert.isTrue(cited.has("S61"), "cited in a comment alone")
    assert.isFalse(tested.has("X99"))
  })
})
