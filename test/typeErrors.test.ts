/**
 * What the compiler says to the likeliest mistakes. docs/type-errors.md has the examples and the lines that count of
 * each message; here they are compiled, all in one program.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../", import.meta.url))
const page = fs.readFileSync(path.join(root, "docs/type-errors.md"), "utf8")

interface Example {
  readonly name: string
  readonly file: string
  readonly text: string
  readonly message: ReadonlyArray<string>
}

/** A project of its own, whose effect is another one than the library's. */
const other = path.join(root, "test", "other-project")

const common = /```ts common\n([\s\S]*?)```/.exec(page)?.[1] ?? ""

const examples: ReadonlyArray<Example> = page.split(/^## /m).slice(1).flatMap((section) => {
  const title = section.slice(0, section.indexOf("\n"))
  const fences = section.matchAll(/```ts (wrong|twice)\n([\s\S]*?)```\n\n```text\n([\s\S]*?)\n```/g)
  return [...fences].map(([, kind, code = "", message = ""], index): Example => ({
    name: index === 0 ? title : `${title}, ${index + 1}`,
    file: path.join(kind === "twice" ? other : path.join(root, "test"), `example.${title}.${index}.ts`),
    text: kind === "twice" ? code : common + code,
    message: message.split("\n")
  }))
})

const installed = path.join(root, "node_modules", "effect")
const second = path.join(other, "node_modules", "effect")

/** Reads the examples from the page, and effect a second time, as another version in the other project's folder. */
const host = (options: ts.CompilerOptions): ts.CompilerHost => {
  const plain = ts.createCompilerHost(options)
  const texts = new Map(examples.map(({ file, text }) => [file, text]))
  const isSecond = (file: string) => file.startsWith(second)
  const source = (file: string) => isSecond(file) ? installed + file.slice(second.length) : file
  const readFile = (file: string): string | undefined => {
    const text = texts.get(file) ?? plain.readFile(source(file))
    return file === path.join(second, "package.json")
      ? text?.replace(/"version": "[^"]*"/, "\"version\": \"3.0.0\"")
      : text
  }
  return {
    ...plain,
    readFile,
    fileExists: (file) => texts.has(file) || plain.fileExists(source(file)),
    directoryExists: (directory) => directory.startsWith(other) || (plain.directoryExists?.(source(directory)) ?? true),
    realpath: (file) => isSecond(file) ? file : plain.realpath?.(file) ?? file,
    getSourceFile: (file, target, ...rest) => {
      if (!texts.has(file) && !isSecond(file)) {
        return plain.getSourceFile(file, target, ...rest)
      }
      const text = readFile(file)
      return text === undefined ? undefined : ts.createSourceFile(file, text, target)
    }
  }
}

const messages = (): ReadonlyMap<string, string> => {
  const { config } = ts.readConfigFile(path.join(root, "tsconfig.json"), ts.sys.readFile)
  const options: ts.CompilerOptions = {
    ...ts.parseJsonConfigFileContent(config, ts.sys, root).options,
    noUnusedLocals: false,
    noUnusedParameters: false
  }
  const program = ts.createProgram(examples.map(({ file }) => file), options, host(options))
  return new Map(examples.map(({ file, name }) => [
    name,
    program.getSemanticDiagnostics(program.getSourceFile(file)).map(({ messageText }) =>
      ts.flattenDiagnosticMessageText(messageText, "\n")
    ).join("\n")
  ]))
}

describe("docs/type-errors.md", () => {
  it("says of each mistake what the compiler says", () => {
    assert.isAtLeast(examples.length, 15)
    const said = messages()
    const missed = examples.flatMap(({ message, name }) => {
      const text = said.get(name) ?? ""
      return message.filter((line) => !text.includes(line)).map((line) => `${name}: not "${line}" but ${text}`)
    })
    assert.deepStrictEqual(missed, [])
  })

  it("lists its sections", () => {
    const titles = [...page.matchAll(/^## (.*)$/gm)].map(([, title = ""]) => title)
    assert.deepStrictEqual([...page.matchAll(/^- \[(.*)\]\(#/gm)].map(([, title]) => title), titles)
    for (const title of titles) {
      const anchor = title.toLowerCase().replaceAll(/[^a-z0-9 -]/g, "").replaceAll(" ", "-")
      assert.include(page, `(#${anchor})`)
    }
  })
})
