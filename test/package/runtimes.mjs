/**
 * The package on every runtime that the README names. Packs the library, installs it in an empty project, and counts
 * visitors there on Node 20, 22 and 24, Bun, Deno and workerd. The binaries come with the packages of
 * `test/package/runtimes`, workerd with miniflare. A runtime that has no binary for this machine is named and left out;
 * with CI=true it fails where all of them are known to work.
 */
import * as esbuild from "esbuild"
import { Miniflare } from "miniflare"
import assert from "node:assert/strict"
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const folder = path.join(root, "test", "package", "runtimes")
const pkg = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))

const machine = `${process.platform}-${process.arch}`
/** Where every binary was seen to work. */
const measured = ["linux-x64"]

const bun = { "linux-x64": "linux-x64", "linux-arm64": "linux-aarch64" }

const runtimes = [
  ...[20, 22, 24].map((major) => ({
    name: `Node ${major}`,
    binary: `node${major}-${machine}/bin/node`,
    args: []
  })),
  { name: "Bun", binary: `@oven/bun-${bun[machine] ?? machine}/bin/bun`, args: ["run"] },
  { name: "Deno", binary: `@deno/${machine}-glibc/deno`, args: ["run", "--allow-all", "--no-lock", "--quiet"] }
]

const install = (directory) => {
  const output = execFileSync("npm", ["pack", "--json", "--pack-destination", directory], {
    cwd: root,
    encoding: "utf8"
  })
  const [{ filename }] = JSON.parse(output)
  fs.writeFileSync(path.join(directory, "package.json"), JSON.stringify({ private: true, type: "module" }))
  const peers = ["effect", "@effect/platform", "@effect/platform-node"].map((name) =>
    `${name}@${pkg.devDependencies[name]}`
  )
  execFileSync(
    "npm",
    [
      "install",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--prefer-offline",
      path.join(directory, filename),
      ...peers
    ],
    { cwd: directory, stdio: ["ignore", "ignore", "inherit"] }
  )
  for (const file of ["smoke.mjs", "worker.mjs"]) {
    fs.copyFileSync(path.join(folder, file), path.join(directory, file))
  }
}

/** Why it failed, or nothing. */
const smoke = (directory, { args, binary, name }) => {
  const file = path.join(folder, "node_modules", binary)
  const version = spawnSync(file, ["--version"], { encoding: "utf8" })
  if (version.status !== 0) {
    process.stdout.write(`${name}: left out, it has no binary for ${machine}\n`)
    return process.env.CI === "true" && measured.includes(machine) ? "has no binary" : undefined
  }
  const sessions = path.join(directory, `sessions-${name.replace(" ", "-")}`)
  const run = spawnSync(file, [...args, path.join(directory, "smoke.mjs"), sessions], {
    cwd: directory,
    encoding: "utf8",
    timeout: 60_000
  })
  if (run.status !== 0) return `${run.stderr}\n${run.stdout}ended with ${run.status ?? run.signal}`
  process.stdout.write(`${name} (${version.stdout.trim().split("\n")[0]}): ${run.stdout}`)
}

const visit = async (miniflare, store, cookie) => {
  const response = await miniflare.dispatchFetch(`https://example.com/${store}`, { headers: { cookie } })
  return { text: await response.text(), cookie: response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie }
}

const worker = async (script, compatibilityFlags, stores) => {
  const miniflare = new Miniflare({
    modules: true,
    script,
    compatibilityDate: "2025-01-01",
    compatibilityFlags,
    kvNamespaces: ["SESSIONS"],
    cf: false
  })
  try {
    for (const store of stores) {
      const first = await visit(miniflare, store, "")
      assert.equal(first.text, "1", `${store}: ${first.text}`)
      const second = await visit(miniflare, store, first.cookie)
      assert.equal(second.text, "2", `${store}: ${second.text}`)
    }
  } finally {
    await miniflare.dispose()
  }
  process.stdout.write(`workerd, ${compatibilityFlags.join() || "no flags"}: ${stores.join(", ")}\n`)
}

const workerd = async (directory) => {
  const { outputFiles: [{ text }] } = await esbuild.build({
    entryPoints: [path.join(directory, "worker.mjs")],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    platform: "browser",
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*"],
    logLevel: "silent"
  })
  await worker(text, [], ["memory", "cache"])
  await worker(text, ["nodejs_compat"], ["memory", "sealed", "cache"])
}

assert.ok(fs.existsSync(path.join(root, "dist", "index.js")), "no dist: run `npm run build` first")
const directory = fs.mkdtempSync(path.join(os.tmpdir(), `${pkg.name}-runtimes-`))
try {
  install(directory)
  for (const runtime of runtimes) {
    const failure = smoke(directory, runtime)
    if (failure !== undefined) {
      process.exitCode = 1
      process.stderr.write(`${runtime.name}: ${failure}\n`)
    }
  }
  await workerd(directory)
} finally {
  fs.rmSync(directory, { force: true, recursive: true })
}
