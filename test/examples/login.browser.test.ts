/**
 * `examples/login` in Chromium, as its users have it: two browsers, the back button, cookies, the keyboard, no scripts,
 * and axe over every page, light and dark.
 */
import { RateLimiter } from "@effect/experimental"
import { HttpServer } from "@effect/platform"
import { NodeContext, NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import axe from "axe-core"
import { Clock, ConfigProvider, Context, Duration, Effect, Layer } from "effect"
import type { Scope } from "effect"
import { CookieState, HttpMiddleware, MemoryStore } from "effect-session"
import * as fs from "node:fs/promises"
import { createServer } from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core"
import { app } from "../../examples/login/app.js"
import * as audit from "../../examples/login/audit.js"
import { deviceOf } from "../../examples/login/device.js"
import { html } from "../../examples/login/html.js"
import * as live from "../../examples/login/routes/live.js"
import { localPath } from "../../examples/login/routes/respond.js"
import * as Users from "../../examples/login/users.js"
import * as chromium from "../fixtures/chromium.js"

// ------------------------------------------------------------------------------------------------ the app, a browser

/** The real clock, which a test can set forward. */
const clockAhead = () => {
  const real = Clock.make()
  let ahead = 0
  const unsafeCurrentTimeMillis = () => real.unsafeCurrentTimeMillis() + ahead
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis,
    currentTimeMillis: Effect.sync(unsafeCurrentTimeMillis),
    unsafeCurrentTimeNanos: () => real.unsafeCurrentTimeNanos(),
    currentTimeNanos: real.currentTimeNanos,
    sleep: (duration) => real.sleep(duration)
  }
  return {
    layer: Layer.setClock(clock),
    advance: (duration: Duration.DurationInput) => {
      ahead += Duration.toMillis(duration)
    }
  }
}

const directory = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(path.join(os.tmpdir(), "effect-session-login-"))),
  (directory) => Effect.promise(() => fs.rm(directory, { recursive: true, force: true }))
)

interface Site {
  readonly base: string
  /** The path of the accounts' file. */
  readonly users: string
  readonly advance: (duration: Duration.DurationInput) => void
  readonly open: (options?: BrowserContextOptions) => Promise<Page>
}

const served = (clock: ReturnType<typeof clockAhead>, users: string) =>
  app.pipe(
    HttpServer.serve(HttpMiddleware.session),
    Layer.provide([live.layer, audit.layer]),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.provide([CookieState.layer(), MemoryStore.layer()]),
    Layer.provide([Users.layer, RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))]),
    Layer.provide(NodeContext.layer),
    Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["USERS", users]])))),
    Layer.provide(clock.layer)
  )

/** A browser that reports what a page must never do: break its own policy, or throw. */
const opened = async (browser: Browser, offences: Array<string>, options: BrowserContextOptions): Promise<Page> => {
  const context = await browser.newContext({ viewport: { width: 1024, height: 768 }, ...options })
  context.setDefaultTimeout(20_000)
  context.on("weberror", (error) => offences.push(String(error.error())))
  context.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) offences.push(message.text())
  })
  return context.newPage()
}

const site: Effect.Effect<Site, unknown, Scope.Scope> = Effect.gen(function*() {
  const clock = clockAhead()
  const users = path.join(yield* directory, "users.json")
  const context = yield* Layer.build(served(clock, users))
  const { address } = Context.get(context, HttpServer.HttpServer)
  const port = address._tag === "TcpAddress" ? address.port : assert.fail("no port")
  const offences: Array<string> = []
  yield* Effect.addFinalizer(() => Effect.sync(() => assert.deepStrictEqual(offences, [])))
  const browser = yield* chromium.launched
  return {
    base: `http://localhost:${port}`,
    users,
    advance: clock.advance,
    open: (options = {}) => opened(browser, offences, { baseURL: `http://localhost:${port}`, ...options })
  }
})

// ------------------------------------------------------------------------------------------------ what a person does

const email = "ada@example.com"
const password = "three cups a day"

const button = (page: Page, name: string | RegExp) => page.getByRole("button", { name })

const heading = (page: Page, name: string) => page.getByRole("heading", { name }).waitFor()

const flash = (page: Page, text: string) => page.getByRole("status").filter({ hasText: text }).waitFor()

const fill = async (page: Page, words = password, address = email): Promise<void> => {
  await page.getByLabel("Email address").fill(address)
  await page.getByLabel("Password").fill(words)
}

const signUp = async (page: Page, address = email): Promise<void> => {
  await page.goto("/sign-up")
  await fill(page, password, address)
  await button(page, "Open the account").click()
  await flash(page, "Welcome!")
}

const signIn = async (page: Page, { remember = false } = {}): Promise<void> => {
  await page.goto("/sign-in")
  await fill(page)
  if (remember) await page.getByLabel("Remember me").check()
  await page.locator("main").getByRole("button", { name: "Sign in" }).click()
  await flash(page, "You are signed in.")
}

const sessionCookie = async (context: BrowserContext) => {
  const cookies = await context.cookies()
  return cookies.find(({ name }) => name === "__Host-session") ?? assert.fail("no session cookie")
}

/** The tab's own eye on its session is open: from here on it learns of the end without being asked. */
const watching = (page: Page) => page.waitForRequest((request) => new URL(request.url()).pathname === "/live")

const iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
  "Version/18.1 Mobile/15E148 Safari/604.1"

/** A form, sent without a browser and without a cookie. */
const post = (base: string, where: string, form: Record<string, string>): Promise<Response> =>
  fetch(`${base}${where}`, { method: "POST", body: new URLSearchParams(form), redirect: "manual" })

const run = (title: string, f: (site: Site) => Promise<void>): void => {
  it.scopedLive(title, () => Effect.flatMap(site, (site) => Effect.promise(() => f(site))))
}

// ------------------------------------------------------------------------------------------------ the pages

const violations = async (page: Page, where: string): Promise<ReadonlyArray<string>> => {
  await page.evaluate(axe.source)
  const found = await page.evaluate(() => (globalThis as unknown as { readonly axe: typeof axe }).axe.run())
  return found.violations.map(({ id, nodes }) => `${where}: ${id}: ${nodes.map(({ html }) => html).join(", ")}`)
}

const chromiumMissing = !chromium.isInstalled()
const suite = chromiumMissing ? `skipped: no Chromium at ${chromium.executable}` : "examples/login in Chromium"

describe.skipIf(chromiumMissing)(suite, () => {
  run("S11 S28 S31 S33: the whole journey, in two browsers", async ({ advance, open }) => {
    const laptop = await open()
    const phone = await open({ userAgent: iPhone, viewport: { width: 390, height: 760 } })

    // a cart before there is an account, and after
    await laptop.goto("/")
    await button(laptop, "Add Sencha to the cart").click()
    await flash(laptop, "Sencha is in your cart.")
    await button(laptop, "One more of Sencha").click()
    await laptop.getByRole("link", { name: "Cart 2 items" }).waitFor()
    await laptop.getByRole("link", { name: "Sign in to order" }).click()
    await laptop.getByRole("link", { name: "Open an account" }).click()
    await fill(laptop)
    await button(laptop, "Open the account").click()
    await flash(laptop, "Welcome!")
    assert.strictEqual(new URL(laptop.url()).pathname, "/cart")
    await laptop.reload()
    assert.strictEqual(await laptop.getByRole("status").count(), 0, "a message is shown once")
    await button(laptop, "Place the order").click()
    await flash(laptop, "Thank you!")
    await laptop.getByRole("link", { name: "Cart", exact: true }).click()
    await laptop.getByText("There is nothing in it yet.").waitFor()

    // the other device, remembered
    await signIn(phone, { remember: true })
    await laptop.goto("/account")
    const other = laptop.getByRole("listitem").filter({ hasText: "Safari on iPhone" })
    const own = laptop.getByRole("listitem").filter({ hasText: "This device" })
    await own.filter({ hasText: /(Chrome|Chromium) on Linux/ }).waitFor()

    // it is ended from here, and says so at once
    const eye = watching(phone)
    await phone.goto("/account")
    await eye
    await other.getByRole("button", { name: "Sign out Safari on iPhone" }).click()
    await flash(laptop, "The device is signed out.")
    await heading(phone, "You have been signed out")
    await phone.getByText("This session was ended from another device").waitFor()
    const asked: Array<string> = []
    phone.on("request", (request) => asked.push(new URL(request.url()).pathname))
    await phone.evaluate(async () => {
      document.dispatchEvent(new Event("visibilitychange"))
      await fetch("/static/icon.svg")
    })
    assert.deepStrictEqual(asked, ["/static/icon.svg"], "the script asks no more")
    assert.strictEqual(await phone.getByText(email).count(), 0, "nothing private is left on the page")
    await phone.getByRole("link", { name: "Sign in again" }).click()
    await heading(phone, "Sign in")

    // the same for all others at once
    await signIn(phone)
    const third = await open()
    await signIn(third)
    const eyes = [watching(phone), watching(third)]
    await phone.goto("/account")
    await third.goto("/account")
    await Promise.all(eyes)
    await laptop.goto("/account")
    await button(laptop, "Sign out everywhere else").click()
    await flash(laptop, "2 devices are signed out.")
    await laptop.getByText("You are signed in nowhere else.").waitFor()
    await heading(phone, "You have been signed out")
    await heading(third, "You have been signed out")

    // the end of the account needs the password again, once the login is a while ago
    advance("11 minutes")
    const link = laptop.getByRole("link", { name: "Delete the account" })
    await link.click()
    await heading(laptop, "Confirm that it is you")
    await laptop.getByLabel("Password").fill("not this one, surely")
    await button(laptop, "Confirm").click()
    await laptop.getByText("The password is wrong.").waitFor()
    await laptop.getByLabel("Password").fill(password)
    await button(laptop, "Confirm").click()
    await heading(laptop, "Delete the account?")
    await button(laptop, "Delete it for good").click()
    await flash(laptop, "Your account is deleted.")
    await laptop.goto("/sign-in")
    await fill(laptop)
    await laptop.locator("main").getByRole("button", { name: "Sign in" }).click()
    await laptop.getByRole("alert").filter({ hasText: "is wrong" }).waitFor()
  })

  // the script helps, but it must not be what is relied on
  for (const javaScriptEnabled of [true, false]) {
    const by = javaScriptEnabled ? "with scripts" : "without scripts"
    run(`S25: the back button after a logout shows nothing private, ${by}`, async ({ open }) => {
      const page = await open({ javaScriptEnabled })
      await signUp(page)
      await page.goto("/account")
      await page.getByText(email).waitFor()
      await button(page, "Sign out").click()
      await flash(page, "You are signed out.")
      await page.goBack()
      await heading(page, "Sign in")
      assert.strictEqual(await page.getByText(email).count(), 0)
    })
  }

  run("S52: the cookie as the browser has it", async ({ open }) => {
    const page = await open()
    await page.goto("/")
    assert.deepStrictEqual(await page.context().cookies(), [], "who only looks gets no cookie")
    await signUp(page)
    const flags = {
      name: "__Host-session",
      domain: "localhost",
      path: "/",
      httpOnly: true,
      secure: true,
      sameSite: "Lax"
    }
    const { value, ...cookie } = await sessionCookie(page.context())
    assert.strictEqual(value.length, 43)
    assert.deepInclude(cookie, { ...flags, expires: -1 } as typeof cookie)
    assert.strictEqual(await page.evaluate(() => document.cookie), "", "no script reads it")

    const remembered = await open()
    await signIn(remembered, { remember: true })
    const { expires, ...kept } = await sessionCookie(remembered.context())
    assert.deepInclude(kept, flags as typeof kept)
    assert.approximately(expires * 1000, Date.now() + Duration.toMillis("30 days"), Duration.toMillis("5 minutes"))
  })

  run("S11 S33: a remembered login stays so when the password was asked for again", async ({ advance, open }) => {
    const page = await open()
    await signUp(page)
    const remembered = await open()
    await signIn(remembered, { remember: true })
    advance("2 days")
    await remembered.goto("/confirm")
    const before = await sessionCookie(remembered.context())
    await remembered.getByLabel("Password").fill(password)
    await button(remembered, "Confirm").click()
    await heading(remembered, "Six teas, no more")
    const after = await sessionCookie(remembered.context())
    assert.notStrictEqual(after.value, before.value)
    // by the browser's clock, and in whole seconds
    assert.approximately(after.expires, Date.now() / 1000 + 30 * 86_400, 60)
  })

  run("S11: a token that was stolen before the login is nobody's after it", async ({ base, open }) => {
    const victim = await open()
    await victim.goto("/")
    await button(victim, "Add Assam to the cart").click()
    await flash(victim, "Assam is in your cart.")
    const stolen = await sessionCookie(victim.context())
    const thief = await open()
    await thief.context().addCookies([stolen])
    await thief.goto("/cart")
    await thief.getByRole("heading", { name: "Assam" }).waitFor()

    await signUp(victim)
    await thief.goto("/account")
    await heading(thief, "Sign in")
    const planted = await open()
    await planted.context().addCookies([{ ...stolen, value: "A".repeat(43) }])
    await signIn(planted)
    assert.notStrictEqual((await sessionCookie(planted.context())).value, "A".repeat(43))
    await victim.goto(`${base}/account`)
    await victim.getByText(email).waitFor()
  })

  run("a logout in another tab is told as one", async ({ open }) => {
    const page = await open()
    await signUp(page)
    const other = await page.context().newPage()
    const eye = watching(other)
    await other.goto("/account")
    await eye
    await button(page, "Sign out").click()
    await flash(page, "You are signed out.")
    await heading(other, "You have been signed out")
    await other.getByText("You signed out in another tab.").waitFor()
  })

  for (const javaScriptEnabled of [true, false]) {
    const by = javaScriptEnabled ? "with scripts" : "without scripts"
    run(`a page of who left does nothing to who came after, ${by}`, async ({ open }) => {
      const page = await open({ javaScriptEnabled })
      await signUp(page)
      const stale = await page.context().newPage()
      const other = await page.context().newPage()
      const order = await page.context().newPage()
      const look = async (tab: Page, state: "hidden" | "visible") => {
        if (!javaScriptEnabled) return
        await tab.evaluate((state) => {
          Object.defineProperty(document, "visibilityState", { value: state, configurable: true })
          document.dispatchEvent(new Event("visibilitychange"))
        }, state)
      }
      await stale.goto("/account/delete")
      await look(stale, "hidden")
      await signIn(await open())
      await other.goto("/account")
      await look(other, "hidden")
      await page.goto("/")
      await button(page, "Add Assam to the cart").click()
      await flash(page, "Assam is in your cart.")
      await order.goto("/cart")
      await look(order, "hidden")

      await button(page, "Sign out").click()
      await flash(page, "You are signed out.")
      await signUp(page, "eve@example.com")
      await page.goto("/")
      await button(page, "Add Sencha to the cart").click()
      await flash(page, "Sencha is in your cart.")

      for (
        const [tab, name] of [
          [stale, "Delete it for good"],
          [other, "Sign out everywhere else"],
          [order, "Place the order"]
        ] as const
      ) {
        await button(tab, name).click()
        await flash(tab, "That page was of another account")
        await tab.getByText("eve@example.com").waitFor()
      }
      await page.goto("/cart")
      await page.getByRole("heading", { name: "Sencha" }).waitFor()

      if (javaScriptEnabled) {
        const back = await page.context().newPage()
        await back.goto("/account")
        await look(back, "hidden")
        await button(page, "Sign out").click()
        await flash(page, "You are signed out.")
        await signIn(page)
        await look(back, "visible")
        await heading(back, "You have been signed out")
        await back.getByText("Somebody else is signed in").waitFor()
        assert.strictEqual(await back.getByText("eve@example.com").count(), 0)
      }
    })
  }

  run("S25: a page listens again after an answer that was none", async ({ open }) => {
    const page = await open()
    await signUp(page)
    const other = await open()
    await signIn(other)
    await other.route(/\/live\?/, (route) => route.fulfill({ status: 503 }), { times: 1 })
    await other.goto("/account")
    await page.goto("/account")
    await button(page, "Sign out everywhere else").click()
    await heading(other, "You have been signed out")
  })

  run("who signs in where another's account is gone does not get their cart", async ({ open, users }) => {
    const page = await open()
    await signUp(page)
    await page.goto("/")
    await button(page, "Add Assam to the cart").click()
    await flash(page, "Assam is in your cart.")
    await fs.rm(users)
    await signUp(page, "eve@example.com")
    await page.goto("/cart")
    await page.getByText("There is nothing in it yet.").waitFor()
  })

  run("who signs in because a form asked for it is led back to the form's page", async ({ open }) => {
    const page = await open()
    await signUp(page)
    await page.goto("/")
    await button(page, "Add Assam to the cart").click()
    await flash(page, "Assam is in your cart.")
    await page.context().clearCookies()
    await button(page, "Place the order").click()
    await heading(page, "Sign in")
    await fill(page)
    await page.locator("main").getByRole("button", { name: "Sign in" }).click()
    await flash(page, "You are signed in.")
    assert.strictEqual(new URL(page.url()).pathname, "/cart")
  })

  run("a form that another site sends is refused", async ({ base, open }) => {
    const page = await open()
    await signUp(page)
    const before = await sessionCookie(page.context())
    const elsewhere = await open()
    await elsewhere.context().addCookies([{ ...before, sameSite: "None" }])
    await elsewhere.route("http://elsewhere.example/", (route) =>
      route.fulfill({
        contentType: "text/html",
        body: `<form method="post" action="${base}/devices/end-others"><button>Win</button></form>`
      }))
    await elsewhere.goto("http://elsewhere.example/")
    const answer = elsewhere.waitForResponse(`${base}/devices/end-others`)
    await button(elsewhere, "Win").click()
    assert.strictEqual((await answer).status(), 403)
  })

  run("S31: nobody ends another's session", async ({ open }) => {
    const ada = await open()
    await signUp(ada)
    const other = await open()
    await signIn(other)
    await ada.goto("/account")
    const id = await button(ada, /^Sign out (Chrome|Chromium)/).getAttribute("value") ?? assert.fail("no id")
    const eve = await open()
    await signUp(eve, "eve@example.com")
    const said = await eve.evaluate(async (id) => {
      const answer = await fetch("/devices/end", { method: "POST", body: new URLSearchParams({ id }) })
      return answer.text()
    }, id)
    assert.include(said, "That device was signed out already.")
    await other.goto("/account")
    await other.getByText(email).waitFor()
  })

  run("guesses at a password have a limit, whether there is an account or not", async ({ advance, base, open }) => {
    const page = await open()
    await signUp(page)
    await signUp(await open(), "eve@example.com")
    for (const address of [email, "nobody@example.com"]) {
      for (let guess = 1; guess <= 10; guess += 1) {
        assert.strictEqual((await post(base, "/sign-in", { email: address, password: "a guess" })).status, 422, address)
      }
      assert.strictEqual(
        (await post(base, "/sign-in", { email: address.toUpperCase(), password })).status,
        429,
        address
      )
    }
    assert.strictEqual((await post(base, "/sign-in", { email: "eve@example.com", password })).status, 303)

    const thief = await open()
    await thief.goto("/sign-in")
    await fill(thief)
    await thief.locator("main").getByRole("button", { name: "Sign in" }).click()
    await thief.getByRole("alert").filter({ hasText: "too many tries" }).waitFor()

    // guesses from elsewhere do not keep the owner from what they are doing
    await page.goto("/confirm")
    await page.getByLabel("Password").fill(password)
    await button(page, "Confirm").click()
    await heading(page, "Six teas, no more")
    advance("15 minutes")
    assert.strictEqual((await post(base, "/sign-in", { email, password })).status, 303)
  })

  run("a right password does not count as a guess, and ten devices are the most", async ({ base, open }) => {
    const page = await open()
    await signUp(page)
    let cookie = ""
    for (let login = 1; login <= 12; login += 1) {
      const answer = await post(base, "/sign-in", { email, password })
      assert.strictEqual(answer.status, 303)
      cookie = answer.headers.getSetCookie()[0]?.split(";")[0] ?? assert.fail("no cookie")
    }
    const devices = async () => {
      const answer = await fetch(`${base}/account`, { headers: { cookie } })
      return (await answer.text()).split("<li ").length - 1
    }
    // the others are ended beside the request
    while (await devices() > 10) await page.waitForTimeout(50)
    assert.strictEqual(await devices(), 10)
  })

  for (const colorScheme of ["light", "dark"] as const) {
    run(`axe finds nothing on any page, ${colorScheme}`, async ({ advance, open }) => {
      const page = await open({ colorScheme })
      const found: Array<string> = []
      const check = async (where: string) => {
        found.push(...await violations(page, where))
      }
      const visit = async (where: string) => {
        await page.goto(where)
        await check(where)
      }
      for (const where of ["/", "/cart", "/sign-in", "/sign-up", "/nowhere"]) await visit(where)
      await page.goto("/sign-up")
      await button(page, "Open the account").click()
      await page.getByText("Write an email address").waitFor()
      await check("/sign-up with errors")
      await signUp(page)
      await check("/ with a message")
      await button(page, "Add Rooibos to the cart").click()
      await flash(page, "Rooibos is in your cart.")
      await check("/cart with a tea")
      const other = await open()
      await signIn(other)
      for (const where of ["/", "/account", "/account/delete", "/confirm"]) await visit(where)
      advance("11 minutes")
      await page.goto("/account/delete")
      await button(page, "Confirm").click()
      await page.getByText("Write your password.").waitFor()
      await check("/confirm with an error")
      const eye = watching(page)
      await page.goto("/account")
      await eye
      await other.goto("/account")
      await button(other, "Sign out everywhere else").click()
      await heading(page, "You have been signed out")
      await check("the notice")
      await page.goto("/sign-in")
      await fill(page, "not this one, surely")
      await page.locator("main").getByRole("button", { name: "Sign in" }).click()
      await page.getByRole("alert").waitFor()
      await check("/sign-in with an error")
      assert.deepStrictEqual(found, [])
    })
  }

  run("a login by keyboard alone", async ({ open }) => {
    const page = await open()
    await signUp(page)
    await button(page, "Sign out").click()
    await flash(page, "You are signed out.")

    const focused = () =>
      page.evaluate(() => {
        const { activeElement } = document
        return {
          name: activeElement?.textContent?.trim() || activeElement?.id,
          ring: activeElement === null ? "" : getComputedStyle(activeElement).outlineStyle
        }
      })
    const tab = async (name: string) => {
      await page.keyboard.press("Tab")
      assert.deepStrictEqual(await focused(), { name, ring: "solid" })
    }
    await page.goto("/")
    await tab("Skip to the content")
    for (const name of ["Kettle", "Shop", "Cart", "Sign in"]) await tab(name)
    await page.keyboard.press("Enter")
    await heading(page, "Sign in")
    await page.locator("#email:focus").waitFor()
    await page.keyboard.type(email)
    await tab("password")
    await page.keyboard.type("not this one, surely")
    await page.keyboard.press("Enter")
    await page.getByRole("alert").waitFor()
    await page.locator("#email:focus[aria-invalid]").waitFor()
    await tab("password")
    await page.keyboard.type(password)
    await tab("remember")
    await page.keyboard.press("Space")
    await tab("Sign in")
    await page.keyboard.press("Enter")
    await flash(page, "You are signed in.")

    // past the links to what the page is about
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert.strictEqual((await focused()).name, "Add Sencha to the cart")
  })

  run("an error is said with its field", async ({ open }) => {
    const page = await open()
    await page.goto("/sign-up")
    await page.getByLabel("Email address").fill("ada")
    await page.getByLabel("Password").fill("short")
    await button(page, "Open the account").click()
    await page.getByText("Write an email address, such as").waitFor()
    assert.match(await page.title(), /^Error: /)
    for (const [label, error] of [["Email address", /^Write an email/], ["Password", /Write at least 15/]] as const) {
      const field = page.getByLabel(label)
      assert.strictEqual(await field.getAttribute("aria-invalid"), "true")
      const described = (await field.getAttribute("aria-describedby") ?? "").split(" ")
      const texts = await Promise.all(described.map((id) => page.locator(`#${id}`).textContent()))
      assert.isTrue(texts.some((text) => error.test(text ?? "")), label)
    }
    assert.strictEqual(await page.getByLabel("Email address").inputValue(), "ada", "what was typed is kept")
    assert.strictEqual(await page.getByLabel("Password").inputValue(), "")
  })

  run("everything but the notice works without scripts", async ({ advance, open }) => {
    const page = await open({ javaScriptEnabled: false })
    const other = await open({ javaScriptEnabled: false, userAgent: iPhone })
    await page.goto("/")
    await button(page, "Add Nana Mint to the cart").click()
    await flash(page, "Nana Mint is in your cart.")
    await signUp(page)
    await signIn(other)
    await other.goto("/account")
    await page.goto("/account")
    await button(page, "Sign out Safari on iPhone").click()
    await flash(page, "The device is signed out.")
    await other.reload()
    await heading(other, "Sign in")
    await page.goto("/cart")
    await button(page, "Place the order").click()
    await flash(page, "Thank you!")
    advance("11 minutes")
    await page.goto("/account/delete")
    await page.getByLabel("Password").fill(password)
    await button(page, "Confirm").click()
    await button(page, "Delete it for good").click()
    await flash(page, "Your account is deleted.")
  })

  run("a message waits for a page that is there", async ({ base, open }) => {
    const page = await open()
    await page.goto("/")
    const { value } = await page.evaluate(() =>
      fetch("/cart/add", {
        method: "POST",
        body: new URLSearchParams({ tea: "assam" }),
        redirect: "manual"
      })
    ).then(() => sessionCookie(page.context()))
    const headers = { cookie: `__Host-session=${value}` }
    assert.notInclude(await (await fetch(`${base}/nowhere`, { headers })).text(), "Assam is in your cart.")
    assert.include(await (await fetch(`${base}/`, { headers })).text(), "Assam is in your cart.")
  })

  run("what is too long is not read", async ({ base }) => {
    const longer = "a".repeat(1001)
    for (const where of ["/sign-in", "/sign-up"]) {
      const answer = await post(base, where, { email, password: longer })
      assert.strictEqual(answer.status, 422, where)
      assert.include(await answer.text(), "Write at most 1000 characters.", where)
      const status = await post(base, where, { email, password: "a".repeat(4_000_000) }).then(
        ({ status }) => status,
        () => "closed"
      )
      assert.include([400, 413, "closed"], status, where)
    }
    assert.strictEqual((await post(base, "/sign-up", { email, password: "🍵".repeat(8) })).status, 422)
  })

  run("every answer says what a browser may do with it", async ({ base }) => {
    for (
      const [where, status, init] of [
        ["/", 200, {}],
        ["/", 200, { method: "HEAD" }],
        ["/static/live.js", 200, { method: "HEAD" }],
        ["/nowhere", 404, {}],
        ["/nowhere", 404, { method: "HEAD" }],
        ["/sign-in?to=/cart&to=/", 200, {}],
        ["/account", 303, {}],
        ["/sign-in", 403, { method: "POST", headers: { "sec-fetch-site": "cross-site" } }],
        ["/sign-in", 422, { method: "POST" }]
      ] as const
    ) {
      const { headers, status: answered } = await fetch(`${base}${where}`, { redirect: "manual", ...init })
      assert.strictEqual(answered, status, where)
      assert.match(headers.get("content-security-policy") ?? "", /^default-src 'none'/, where)
      assert.notMatch(headers.get("content-security-policy") ?? "", /unsafe/, where)
      assert.strictEqual(headers.get("cache-control"), where.startsWith("/static") ? "no-cache" : "no-store", where)
    }
  })
})

describe("examples/login", () => {
  it("escapes what it puts into a page, and nothing twice", () => {
    const name = "<b>\"Ada\" & 'Co'</b>"
    const inner = html`<i title="${name}">${name}</i>`
    const escaped = "&lt;b&gt;&quot;Ada&quot; &amp; &#39;Co&#39;&lt;/b&gt;"
    assert.strictEqual(String(html`${[inner, false, undefined, 0]}`), `<i title="${escaped}">${escaped}</i>0`)
  })

  it("leads to no other site", () => {
    for (
      const to of ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "evil", "", "/ä"]
    ) {
      assert.strictEqual(localPath(to), "/", to)
    }
    assert.strictEqual(localPath("/cart?x=1"), "/cart?x=1")
  })

  it("names a device", () => {
    const webKit = "AppleWebKit/537.36 (KHTML, like Gecko)"
    for (
      const [userAgent, name] of [
        ["Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox on Linux"],
        [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webKit} Chrome/131.0 Safari/537.36 Edg/131.0`, "Edge on Windows"],
        [`Mozilla/5.0 (Linux; Android 10; K) ${webKit} Chrome/131.0 Mobile Safari/537.36`, "Chrome on Android"],
        [`Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${webKit} Version/18.1 Safari/605.1`, "Safari on macOS"],
        [iPhone, "Safari on iPhone"],
        ["curl/8.9", "Unknown device"],
        ["", "Unknown device"]
      ] as const
    ) {
      assert.strictEqual(deviceOf(userAgent), name)
    }
  })
})
