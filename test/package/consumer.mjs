/**
 * The package as a stranger meets it. Packs the library, lints the tarball (publint, attw), then installs it in empty
 * projects: one with nothing but `effect` and `@effect/platform`, one with every optional peer as well. In each, every
 * module that can be imported is imported, and all of it is compiled without `skipLibCheck`.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const bin = (name) => path.join(root, "node_modules", ".bin", name)
const toolBin = (name) => path.join(root, "test", "package", "tools", "node_modules", ".bin", name)
const pkg = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
const optional = Object.keys(pkg.peerDependenciesMeta)
const required = Object.keys(pkg.peerDependencies).filter((name) => !optional.includes(name))

const run = (cwd, command, ...args) => {
  process.stdout.write(`> ${path.basename(command)} ${args.join(" ").slice(0, 150)}\n`)
  execFileSync(command, args, { cwd, stdio: "inherit" })
}

const pack = (directory) => {
  assert.ok(fs.existsSync(path.join(root, "dist", "index.js")), "no dist: run `npm run build` first")
  const output = execFileSync("npm", ["pack", "--json", "--pack-destination", directory], {
    cwd: root,
    encoding: "utf8"
  })
  const [tarball] = JSON.parse(output)
  const files = tarball.files.map((file) => file.path)
  for (const file of ["README.md", "LICENSE", "CHANGELOG.md", "dist/index.js", "dist/index.d.ts"]) {
    assert.ok(files.includes(file), `${file} is not in the package`)
  }
  const modules = files.flatMap((file) => /^dist\/(?!internal\/|index\.)(.+)\.js$/.exec(file)?.[1] ?? []).sort()
  for (const name of modules) {
    assert.ok(files.includes(`dist/${name}.d.ts`), `${name} has no types in the package`)
    assert.ok(files.includes(`src/${name}.ts`), `${name} has no source in the package: is dist stale?`)
  }
  return { modules, tarball: path.join(directory, tarball.filename) }
}

const install = (directory, tarball, peers) => {
  fs.mkdirSync(directory)
  fs.writeFileSync(path.join(directory, "package.json"), JSON.stringify({ private: true, type: "module" }))
  run(
    directory,
    "npm",
    "install",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    tarball,
    ...peers
  )
}

const specifier = (name) => name === "." ? pkg.name : `${pkg.name}/${name}`

/** Which of the modules plain Node can import here, and for the others the package that is missing. */
const importAll = (directory, modules) => {
  const script = `
    const missing = {}
    for (const name of ${JSON.stringify(modules)}) {
      try {
        const module = await import(${JSON.stringify(pkg.name)} + (name === "." ? "" : "/" + name))
        if (Object.keys(module).length === 0) throw new Error(name + " exports nothing")
      } catch (error) {
        const found = error.code === "ERR_MODULE_NOT_FOUND" && /Cannot find package '([^']+)'/.exec(error.message)
        if (!found) throw error
        missing[name] = found[1]
      }
    }
    console.log(JSON.stringify(missing))
  `
  const options = { cwd: directory, encoding: "utf8" }
  const missing = JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", script], options))
  return { loaded: modules.filter((name) => !(name in missing)), missing }
}

const compile = (directory, modules, types) => {
  const lines = modules.map((name, index) => `export * as module${index} from "${specifier(name)}"\n`)
  fs.writeFileSync(path.join(directory, "all.ts"), lines.join(""))
  fs.copyFileSync(path.join(root, "test", "package", "consumer", "app.ts"), path.join(directory, "app.ts"))
  const compilerOptions = {
    target: "ES2022",
    lib: ["ES2022", "DOM", "DOM.Iterable"],
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
    types
  }
  const config = { compilerOptions, files: ["all.ts", "app.ts"] }
  fs.writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify(config))
  run(directory, bin("tsc"), "-p", ".")
}

const importHidden = (directory) => {
  const script = `await import("${pkg.name}/internal/crypto/hash")`
  assert.throws(
    () => execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd: directory, stdio: "pipe" }),
    /ERR_PACKAGE_PATH_NOT_EXPORTED/
  )
}

const main = (directory) => {
  const { modules, tarball } = pack(directory)
  run(root, toolBin("publint"), "--strict", tarball)
  run(root, toolBin("attw"), tarball, "--profile", "esm-only", "--no-summary", "--include-entrypoints", ...modules)

  const bare = path.join(directory, "bare")
  install(bare, tarball, required.map((name) => `${name}@${pkg.peerDependencies[name]}`))
  const { loaded, missing } = importAll(bare, [".", ...modules])
  assert.ok(loaded.includes("."), `the barrel needs ${missing["."]}, which not everybody installs`)
  for (const [name, absent] of Object.entries(missing)) {
    assert.ok(optional.includes(absent), `${name} needs ${absent}, which is no peer dependency`)
  }
  importHidden(bare)
  compile(bare, loaded, [])

  // The suites of the laws load under vitest only, so here vitest does the importing.
  const full = path.join(directory, "full")
  const peers = [...required, ...optional].map((name) => `${name}@${pkg.devDependencies[name]}`)
  install(full, tarball, [...peers, `@types/node@${pkg.devDependencies["@types/node"]}`])
  fs.writeFileSync(
    path.join(full, "all.test.js"),
    `import { expect, it } from "vitest"
    it.each(${JSON.stringify([".", ...modules].map(specifier))})("%s", async (specifier) => {
      expect(Object.keys(await import(specifier))).not.toEqual([])
    })`
  )
  run(full, path.join(full, "node_modules", ".bin", "vitest"), "run", "--testTimeout=60000")
  compile(full, [".", ...modules], ["node"])

  process.stdout.write(`${modules.length + 1} entry points; with an optional peer: ${JSON.stringify(missing)}\n`)
}

const directory = fs.mkdtempSync(path.join(os.tmpdir(), `${pkg.name}-package-`))
try {
  main(directory)
} finally {
  fs.rmSync(directory, { force: true, recursive: true })
}
