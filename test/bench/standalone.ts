/**
 * Runs a benchmark from the command line, compiled as the package is. `tsx` has every inner function named at run time,
 * each time it is made, which nobody who installs the package pays for and which would be charged to our side alone.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const compile = (root: string, out: string): void => {
  for (const folder of ["src", "test/bench"]) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (!entry.endsWith(".ts") || entry.startsWith("node_modules")) continue
      const to = join(out, folder, entry.replace(/\.ts$/, ".js"))
      mkdirSync(dirname(to), { recursive: true })
      const { outputText } = ts.transpileModule(readFileSync(join(root, folder, entry), "utf8"), {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          verbatimModuleSyntax: true
        }
      })
      writeFileSync(to, outputText)
    }
  }
  // The name under which the benchmarks import the package.
  writeFileSync(
    join(out, "package.json"),
    JSON.stringify({
      name: "effect-session",
      type: "module",
      exports: { ".": "./src/index.js", "./*": "./src/*.js" }
    })
  )
}

const runCompiled = async (file: string): Promise<number> => {
  const root = fileURLToPath(new URL("../../", import.meta.url))
  // below the benchmarks' own packages, and so below those of the root
  const out = join(root, "test", "bench", "node_modules", ".cache", `effect-session-bench-${process.pid}`)
  try {
    compile(root, out)
    const child = spawn(
      process.execPath,
      ["--expose-gc", join(out, relative(root, file).replace(/\.ts$/, ".js")), ...process.argv.slice(2)],
      { stdio: "inherit", env: { ...process.env, NODE_ENV: "production", BENCH_ROOT: root } }
    )
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => child.kill(signal))
    }
    const [code] = await once(child, "exit")
    return typeof code === "number" ? code : 1
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

/** Prints what a module's `run` answers, if the module is what the command line names. */
export const standalone = async (url: string, run: () => Promise<string>): Promise<void> => {
  const file = fileURLToPath(url)
  if (process.argv[1] === undefined || realpathSync(process.argv[1]) !== file) return
  if (file.endsWith(".ts")) {
    process.exit(await runCompiled(file))
  }
  const text = await run()
  // A store that is never disposed of would keep the process alive.
  process.stdout.write(`${text}\n`, () => process.exit(0))
}
