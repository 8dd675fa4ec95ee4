/**
 * Every numbered requirement and case has a test whose title begins with its number, or a reason here why it has none.
 * The titles are read from the sources, so that a test that is deleted is missed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const range = (letter: string, from: number, to: number): ReadonlyArray<string> =>
  Array.from({ length: to - from + 1 }, (_, index) => letter + String(from + index).padStart(2, "0"))

/** S: requirements of a session library. P and X: cases of the original, its own tests' and those observed beside them. */
const required: ReadonlyArray<string> = [
  ...range("S", 1, 10),
  "S13",
  "S15",
  ...range("S", 17, 27),
  ...range("S", 35, 68),
  ...range("P", 1, 28),
  ...range("X", 1, 31)
]

/** Numbers without a test, and why. */
const withoutTest: { readonly [number: string]: string } = {}

/** Numbers whose tests leave out a state or a store, and why the case can't arise there. */
const narrowed: { readonly [number: string]: string } = {
  P10: "cookie: a parameter has no place in the head of a response",
  P11: "once: modules are loaded, whatever state and store are",
  P28: "cache: a text codec of one's own is a cache around another; the file store's format is its own",
  X07: "cookie: what a logout sends; that it removes the record is P06 on every pair",
  X08: "cookie: a parameter has no life of its own",
  X17: "cookie: a parameter has no attributes",
  X19: "file and cache: memory keeps values, and no text that could be damaged",
  X29: "memory: the other stores are shared by processes",
  X30: "param: it is about parameters"
}

const title = /^(?:[SPX]\d\d )*[SPX]\d\d:/

const numbersOf = (text: string): ReadonlyArray<string> => text.match(/[SPX]\d\d(?!\d)/g) ?? []

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

const filesBelow = (folder: string, matching: (name: string) => boolean): ReadonlyArray<string> =>
  fs.readdirSync(fileURLToPath(new URL(folder, import.meta.url)), { recursive: true, encoding: "utf8" })
    .filter(matching)
    .map((name) => path.join(fileURLToPath(new URL(folder, import.meta.url)), name))

const tested = new Set([
  ...filesBelow("./", (name) => name.endsWith(".test.ts") && name !== "numbers.test.ts"),
  ...filesBelow("../src/internal/laws/store/", (name) => name.endsWith(".ts")),
  ...filesBelow("../src/", (name) => /^(?:State|Store)Laws\.ts$/.test(name))
].flatMap(found))

describe("numbers", () => {
  it("every one has a test, or a reason", () => {
    assert.deepStrictEqual(required.filter((number) => !tested.has(number) && !(number in withoutTest)), [])
  })

  it("no reason is given for what has a test", () => {
    assert.deepStrictEqual(Object.keys(withoutTest).filter((number) => tested.has(number)), [])
  })

  it("what is narrowed is tested where it can arise", () => {
    assert.deepStrictEqual(Object.keys(narrowed).filter((number) => !tested.has(number)), [])
  })

  it("titles are found, and what is no title is not", () => {
    assert.isTrue(title.test("S26 X05: renewed"))
    assert.isFalse(title.test("renewed, as S26 has it"))
    assert.isAbove(tested.size, 100)
    assert.isFalse(tested.has("X99"))
  })
})
