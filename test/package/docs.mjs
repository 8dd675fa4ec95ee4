/**
 * The documentation tells the truth: every `ts` fence of the README, of `docs` and of the docstrings in `src` compiles as
 * a user's file would (a fence marked `ts skip` is left alone), and every public export of a module says since when it is
 * there and what category it belongs to. The examples of docs/type-errors.md are those that do not compile; they have a
 * test of their own.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))

const fence = /^([ \t]*(?:\*[ \t]?)?)```ts[ \t]*\n([\s\S]*?)^[ \t]*(?:\*[ \t]?)?```[ \t]*$/gm

/** The fences of one file, each named by the line it begins on. */
const fencesOf = (file) => {
  const text = fs.readFileSync(path.join(root, file), "utf8")
  return Array.from(text.matchAll(fence), ({ 1: prefix, 2: body, index }) => ({
    name: `${file.replaceAll(/[\\/]/g, "_")}.line${text.slice(0, index).split("\n").length}.ts`,
    text: body
      .split("\n")
      .map((line) => prefix.includes("*") ? line.replace(/^[ \t]*\*[ \t]?/, "") : line)
      .join("\n")
  }))
}

const host = {
  getCanonicalFileName: (name) => name,
  getCurrentDirectory: () => root,
  getNewLine: () => "\n"
}

const optionsOf = (config) => {
  const { config: json } = ts.readConfigFile(path.join(root, config), ts.sys.readFile)
  return ts.parseJsonConfigFileContent(json, ts.sys, root).options
}

const compileFences = (directory, files) => {
  fs.symlinkSync(path.join(root, "node_modules"), path.join(directory, "node_modules"), "junction")
  fs.writeFileSync(path.join(directory, "package.json"), JSON.stringify({ type: "module" }))
  const fences = files.flatMap(fencesOf)
  for (const { name, text } of fences) fs.writeFileSync(path.join(directory, name), text)
  const program = ts.createProgram(fences.map(({ name }) => path.join(directory, name)), {
    ...optionsOf("tsconfig.json"),
    noUnusedLocals: false,
    noUnusedParameters: false
  })
  process.stdout.write(`${fences.length} examples in the documentation\n`)
  const diagnostics = ts.getPreEmitDiagnostics(program)
  return diagnostics.length === 0 ? [] : [ts.formatDiagnostics(diagnostics, host)]
}

const untagged = (modules) => {
  const program = ts.createProgram(modules.map((file) => path.join(root, file)), optionsOf("tsconfig.build.json"))
  const checker = program.getTypeChecker()
  const failures = []
  for (const file of modules) {
    const source = program.getSourceFile(path.join(root, file))
    const symbol = checker.getSymbolAtLocation(source)
    for (const exported of symbol === undefined ? [] : checker.getExportsOfModule(symbol)) {
      const own = (exported.declarations ?? []).filter((declaration) => declaration.getSourceFile() === source)
      if (own.length === 0 || own.every(ts.isNamespaceExport)) continue
      const tags = own.flatMap((declaration) => ts.getJSDocTags(declaration)).map((tag) => tag.tagName.text)
      if (tags.includes("internal")) continue
      for (const tag of ["since", "category"]) {
        if (!tags.includes(tag)) failures.push(`${file}: ${exported.name} has no @${tag}`)
      }
    }
  }
  return failures
}

const sources = fs.readdirSync(path.join(root, "src"), { recursive: true })
  .map((file) => path.join("src", file))
  .filter((file) => file.endsWith(".ts"))
  .sort()
const modules = sources.filter((file) => !file.startsWith(path.join("src", "internal")))

const pages = fs.readdirSync(path.join(root, "docs"))
  .filter((file) => file.endsWith(".md") && file !== "type-errors.md")
  .map((file) => path.join("docs", file))
  .sort()

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-docs-"))
try {
  const failures = [...compileFences(directory, ["README.md", ...pages, ...sources]), ...untagged(modules)]
  for (const failure of failures) process.stderr.write(`${failure}\n`)
  process.exitCode = failures.length === 0 ? 0 : 1
} finally {
  fs.rmSync(directory, { force: true, recursive: true })
}
