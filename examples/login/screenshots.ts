/**
 * Takes the screenshots of the README: `npx tsx examples/login/screenshots.ts`. Needs a Chromium at /usr/bin/chromium, or
 * its path in CHROMIUM.
 */
import { spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type BrowserContextOptions, chromium, type Page } from "playwright-core"

const folder = fileURLToPath(new URL("./screenshots/", import.meta.url))
const directory = await mkdtemp(join(tmpdir(), "effect-session-login-"))
const base = "http://localhost:3019"

const child = spawn(process.execPath, ["--import", "tsx", fileURLToPath(new URL("./main.ts", import.meta.url))], {
  env: {
    ...process.env,
    PORT: "3019",
    SESSION_STORE_URL: `file:${join(directory, "sessions")}`,
    USERS: join(directory, "users.json")
  },
  stdio: ["ignore", "pipe", "inherit"]
})
await new Promise<void>((resolve, reject) => {
  child.stdout.on("data", (chunk) => String(chunk).includes("Listening") && resolve())
  child.once("exit", (code) => reject(new Error(`the example ended with ${code}`)))
})

const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"]
})

const email = "ada@example.com"
const password = "three cups a day"

const open = async (options: BrowserContextOptions): Promise<Page> => {
  const context = await browser.newContext({ viewport: { width: 960, height: 760 }, ...options })
  return context.newPage()
}

const fill = async (page: Page, path: string): Promise<void> => {
  await page.goto(`${base}${path}`)
  await page.getByLabel("Email address").fill(email)
  await page.getByLabel("Password").fill(password)
  await page.locator("main button").click()
  await page.waitForURL(`${base}/`)
}

const take = async (page: Page, name: string, path?: string, height = 760): Promise<void> => {
  if (path !== undefined) await page.goto(`${base}${path}`)
  const width = page.viewportSize()?.width ?? 0
  await page.screenshot({ path: join(folder, `${name}.png`), clip: { x: 0, y: 0, width, height } })
}

const iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
  "Version/18.1 Mobile/15E148 Safari/604.1"
const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
const phoneSize = { viewport: { width: 390, height: 760 }, userAgent: iPhone }

try {
  const light = await open({ userAgent: firefox })
  await fill(light, "/sign-up")
  const phone = await open({ ...phoneSize, colorScheme: "dark" })
  await fill(phone, "/sign-in")
  const dark = await open({ colorScheme: "dark" })
  await fill(dark, "/sign-in")

  for (const tea of ["Sencha", "Silver Needle", "Sencha"]) {
    await dark.goto(`${base}/`)
    await dark.getByRole("button", { name: `Add ${tea}` }).click()
  }
  await take(dark, "cart-dark")
  await take(light, "devices-light", "/account", 636)
  await take(light, "shop-light", "/")
  await take(phone, "devices-phone", "/account", 660)
  const visitor = await open({ viewport: { width: 390, height: 760 } })
  await take(visitor, "sign-in-phone", "/sign-in")
  await light.goto(`${base}/account`)
  await light.getByRole("button", { name: "Sign out everywhere else" }).click()
  await dark.locator(".notice").waitFor()
  await take(dark, "ended-dark")
} finally {
  await browser.close()
  child.kill()
  await rm(directory, { recursive: true })
}
