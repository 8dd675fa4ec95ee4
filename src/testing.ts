/**
 * Tools for tests of sessions: records made by hand, a store whose calls a test can hold, fail and record, and a small
 * browser for an app without sockets. The module needs no test runner. Every wait is for an event or for the `Clock`,
 * so that a test can step through a race with the same result each time.
 *
 * @since 0.1.0
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as HttpMiddleware from "./HttpMiddleware.js"
import * as jar from "./internal/testing/cookieJar.js"
import * as Session from "./Session.js"
import type * as SessionError from "./SessionError.js"
import * as SessionRecord from "./SessionRecord.js"
import type * as State from "./State.js"
import * as Store from "./Store.js"

/**
 * When in a call something happens: `before` the store runs it, or `after` the store has run it and before the caller
 * gets the answer.
 *
 * @since 0.1.0
 * @category models
 */
export type Moment = "before" | "after"

/**
 * A call that is held. Its waits end at once if what they wait for has happened already.
 *
 * @since 0.1.0
 * @category models
 */
export interface Held {
  /** Waits until the call has arrived and is held. */
  readonly arrived: Effect.Effect<Store.Operation>
  /** Lets the call go on. If it has not arrived yet, it is not held when it does. */
  readonly release: Effect.Effect<void>
  /** Fails the call with this error. */
  readonly fail: (error: Store.StoreError) => Effect.Effect<void>
  /** Waits until the caller has given up, because it was interrupted or timed out. */
  readonly interrupted: Effect.Effect<void>
}

/**
 * What a test can do to a controlled store. What is set for a method waits in a queue, and each call of that method
 * takes the first one. A call for which nothing is set goes straight through. `"any"` is for the next call of any
 * method. Where a moment can be given as `at`, the default is `before`.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreControls {
  /** The calls so far, in the order in which they arrived. */
  readonly calls: Effect.Effect<ReadonlyArray<Store.Operation>>
  /** The methods of the calls so far, in the same order. */
  readonly methods: Effect.Effect<ReadonlyArray<Store.Method>>
  /** Forgets the calls so far, everything that is set, and all latencies, and releases the calls that are held. */
  readonly reset: Effect.Effect<void>
  /** Waits until that many calls of a method have arrived since the start or the last `reset`. Default 1. */
  readonly arrived: (method: Store.Method, count?: number) => Effect.Effect<Store.Operation>
  /** Holds the next call. */
  readonly hold: (method: Store.Method | "any", options?: { readonly at?: Moment | undefined }) => Effect.Effect<Held>
  /** Fails the next calls. Default: one call, with a `StoreError` of reason `Unavailable`. */
  readonly fail: (method: Store.Method | "any", options?: {
    readonly at?: Moment | undefined
    readonly times?: number | undefined
    readonly error?: Store.StoreError | undefined
  }) => Effect.Effect<void>
  /** Makes the next calls die of a defect. Default: one call, of an `Error`. */
  readonly die: (method: Store.Method | "any", options?: {
    readonly at?: Moment | undefined
    readonly times?: number | undefined
    readonly defect?: unknown
  }) => Effect.Effect<void>
  /** Makes the next calls hang until their caller gives up. Default: one call. */
  readonly hang: (method: Store.Method | "any", options?: {
    readonly at?: Moment | undefined
    readonly times?: number | undefined
  }) => Effect.Effect<void>
  /** Makes every call from now on take this much longer, by the caller's `Clock`. Zero ends it. */
  readonly latency: (method: Store.Method | "any", duration: Duration.DurationInput) => Effect.Effect<void>
}

/**
 * A cookie that a client holds.
 *
 * @since 0.1.0
 * @category models
 */
export type Cookie = jar.JarCookie

/**
 * The response that a client got. Its head has arrived. Its body is read by `text` or `json`, and only once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The `Set-Cookie` lines, as they were sent. */
  readonly setCookies: ReadonlyArray<string>
  /** The body as text. Dies if its stream fails. */
  readonly text: Effect.Effect<string>
  /** The body as JSON. Dies if it is not JSON. */
  readonly json: Effect.Effect<unknown>
  /** The web response itself, for bodies that are streams. */
  readonly web: Response
}

/**
 * What a request carries. All options have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface RequestOptions {
  /** The request's headers. Default: none but the cookies. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** The request's body. Default: none. */
  readonly body?: string | URLSearchParams | FormData | Uint8Array<ArrayBuffer> | undefined
  /** A value that is sent as a JSON body, with its content type, in place of `body`. Default: none. */
  readonly json?: unknown
  /** The `Cookie` header. Default: the cookies that the client holds. */
  readonly cookies?: string | undefined
}

/**
 * A small browser. It sends the cookies in its jar, and keeps those that responses set, by the rules of RFC 6265bis and
 * the `Clock`. It follows no redirects. Interrupting a request acts like a client that disconnects.
 *
 * Its session can be filled and read without a page of the app: `login`, `run` and `session` send a request with the jar's
 * cookies, of whatever path, to a page of their own, over the `State` and the `Store` of the test. They need a state that
 * answers by cookies, such as `CookieState`; with another one, each starts from an empty session.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly get: (path: string, options?: RequestOptions) => Effect.Effect<Answer>
  readonly post: (path: string, options?: RequestOptions) => Effect.Effect<Answer>
  readonly request: (method: string, path: string, options?: RequestOptions) => Effect.Effect<Answer>
  /** Sends a request with the jar as it is now, and does not wait for the response. */
  readonly fork: (
    method: string,
    path: string,
    options?: RequestOptions
  ) => Effect.Effect<Fiber.RuntimeFiber<Answer>>
  /** The cookies in the jar, in the order in which they were first set. */
  readonly cookies: Effect.Effect<ReadonlyArray<Cookie>>
  /** The value of the first cookie of that name. */
  readonly cookie: (name: string) => Effect.Effect<Option.Option<string>>
  /** The `Set-Cookie` lines of the last response. */
  readonly setCookies: Effect.Effect<ReadonlyArray<string>>
  /** Keeps a cookie as if the app had sent this `Set-Cookie` line. */
  readonly keep: (line: string) => Effect.Effect<void>
  /** Forgets all cookies. */
  readonly clear: Effect.Effect<void>
  /**
   * Logs a subject in, as `Session.login` does, and keeps the cookie. Fails if the session can't be saved, and dies if
   * there is no cookie that this browser keeps.
   */
  readonly login: (
    subject: string,
    options?: Session.LoginOptions
  ) => Effect.Effect<void, CommitError, State.State | Store.Store>
  /**
   * Runs an effect on this browser's session and saves it: `client.run(SessionField.set(Cart, ["tea"]))`. If the effect
   * fails, nothing is saved. A browser that has no session gets one.
   */
  readonly run: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, CommitError | E, Exclude<R, Provided> | State.State | Store.Store>
  /** The data of this browser's session: empty if it has none. The look leaves no trace, it does not even prolong it. */
  readonly session: Effect.Effect<Session.Data, Store.StoreError, State.State | Store.Store>
  /** Another browser of the same app, with a copy of this jar or with an empty one. Default: an empty jar. */
  readonly other: (options?: { readonly jar?: "copy" | "empty" | undefined }) => Effect.Effect<Client>
}

/** Why the session of a browser could not be saved. */
type CommitError = Store.StoreError | SessionError.SessionGone | SessionError.HeadSent

/** What a page has besides what the test provides. */
type Provided = Session.Session | HttpServerRequest.HttpServerRequest | Scope.Scope

/**
 * The controls of the store that `controlled` made.
 *
 * @since 0.1.0
 * @category tags
 */
export class Controls extends Context.Tag("effect-session/testing/Controls")<Controls, StoreControls>() {}

/**
 * A valid record, for tests that call a store directly. Fields that are not given have defaults: no data, revision 1,
 * created and touched at time 0, an idle timeout of 1 hour, and a lifetime of 24 hours, counted from `createdAt`. Times
 * are in milliseconds since the epoch. Throws a `TypeError` if the data is not JSON.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { SessionToken, Store } from "effect-session"
 * import * as testing from "effect-session/testing"
 * import { Clock, Effect } from "effect"
 *
 * const seeded = Effect.gen(function*() {
 *   const store = yield* Store.Store
 *   const token = SessionToken.draw(yield* SessionToken.Generator)
 *   const createdAt = yield* Clock.currentTimeMillis
 *   const call = { now: createdAt, audience: "cookie:session", limit: 4096 }
 *   yield* store.create(token, testing.record({ createdAt, data: { visits: 3 } }), call)
 *   return token
 * })
 * ```
 */
export const record = (fields: Partial<SessionRecord.SessionRecord> = {}): SessionRecord.SessionRecord => {
  const { createdAt = 0, data = {}, idle = 3_600_000, revision = 1, touchedAt = createdAt, ...rest } = fields
  const { deadline = touchedAt + idle, expiresAt = createdAt + 86_400_000, ...optional } = rest
  const decoded = SessionRecord.decode({ v: SessionRecord.version, data, createdAt, expiresAt, idle }, {
    revision,
    touchedAt,
    deadline
  })
  if (Either.isLeft(decoded)) {
    throw new TypeError("testing.record: The data is not JSON, or a time is not a finite number.")
  }
  return { ...decoded.right, ...optional }
}

/** What a test has set for the next calls of a method. */
interface Interception {
  readonly method: Store.Method | "any"
  readonly at: Moment
  left: number
  readonly step: (call: Store.Operation) => Effect.Effect<void, Store.StoreError>
}

interface Waiter {
  readonly method: Store.Method
  readonly count: number
  readonly deferred: Deferred.Deferred<Store.Operation>
}

const control = (store: Store.Store): readonly [Store.Store, StoreControls] => {
  let calls: Array<Store.Operation> = []
  let queue: Array<Interception> = []
  let waiters: Array<Waiter> = []
  const gates = new Set<Deferred.Deferred<void, Store.StoreError>>()
  const latencies = new Map<Store.Method | "any", Duration.Duration>()

  const nth = (method: Store.Method, count: number): Store.Operation | undefined =>
    calls.filter((call) => call.method === method)[count - 1]

  const arrive = (call: Store.Operation): Effect.Effect<void> => {
    calls.push(call)
    const due = waiters.filter(({ count, method }) => nth(method, count) !== undefined)
    waiters = waiters.filter((waiter) => !due.includes(waiter))
    return Effect.forEach(due, ({ deferred }) => Deferred.succeed(deferred, call), { discard: true })
  }

  const take = (method: Store.Method): Interception | undefined => {
    const found = queue.find((each) => each.method === method || each.method === "any")
    if (found !== undefined && --found.left <= 0) {
      queue = queue.filter((each) => each !== found)
    }
    return found
  }

  const controlledStore = Store.around(store, (call, run) =>
    Effect.suspend(() => {
      const found = take(call.method)
      const latency = latencies.get(call.method) ?? latencies.get("any")
      const at = (moment: Moment) => found?.at === moment ? found.step(call) : Effect.void
      return arrive(call).pipe(
        Effect.zipRight(latency === undefined ? Effect.void : Effect.sleep(latency)),
        Effect.zipRight(at("before")),
        Effect.zipRight(Effect.suspend(run)),
        Effect.zipLeft(Effect.suspend(() => at("after")))
      )
    }))

  const intercept = (
    method: Store.Method | "any",
    options: { readonly at?: Moment | undefined; readonly times?: number | undefined } | undefined,
    step: Interception["step"]
  ): Effect.Effect<void> =>
    Effect.sync(() => {
      queue.push({ method, at: options?.at ?? "before", left: options?.times ?? 1, step })
    })

  return [controlledStore, {
    calls: Effect.sync(() => calls.slice()),
    methods: Effect.sync(() => calls.map(({ method }) => method)),
    reset: Effect.suspend(() => {
      calls = []
      queue = []
      latencies.clear()
      return Effect.forEach(gates, (gate) => Deferred.succeed(gate, undefined), { discard: true })
    }),
    arrived: (method, count = 1) =>
      Effect.suspend(() => {
        const call = nth(method, count)
        if (call !== undefined) {
          return Effect.succeed(call)
        }
        return Effect.flatMap(Deferred.make<Store.Operation>(), (deferred) => {
          waiters.push({ method, count, deferred })
          return Deferred.await(deferred)
        })
      }),
    hold: (method, options) =>
      Effect.gen(function*() {
        const arrived = yield* Deferred.make<Store.Operation>()
        const gate = yield* Deferred.make<void, Store.StoreError>()
        const interrupted = yield* Deferred.make<void>()
        gates.add(gate)
        yield* intercept(method, options, (call) =>
          Deferred.succeed(arrived, call).pipe(
            Effect.zipRight(Deferred.await(gate)),
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)),
            Effect.ensuring(Effect.sync(() => gates.delete(gate)))
          ))
        return {
          arrived: Deferred.await(arrived),
          release: Effect.asVoid(Deferred.succeed(gate, undefined)),
          fail: (error) => Effect.asVoid(Deferred.fail(gate, error)),
          interrupted: Deferred.await(interrupted)
        }
      }),
    fail: (method, options) =>
      intercept(
        method,
        options,
        (call) => options?.error ?? new Store.StoreError({ reason: "Unavailable", method: `testing.${call.method}` })
      ),
    die: (method, options) =>
      intercept(
        method,
        options,
        (call) => Effect.die(options?.defect ?? new Error(`The test made the call ${call.method} die.`))
      ),
    hang: (method, options) => intercept(method, options, () => Effect.never),
    latency: (method, duration) =>
      Effect.sync(() => {
        latencies.set(method, Duration.decode(duration))
      })
  }]
}

/**
 * Puts the store of a layer under a test's control: by `Controls`, its calls can be held, failed, delayed and read.
 * Other services of the layer pass through.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { MemoryStore } from "effect-session"
 * import * as testing from "effect-session/testing"
 * import { Effect, Fiber } from "effect"
 *
 * const app = testing.controlled(MemoryStore.layer())
 *
 * // a slow request meets a logout: its update is held while the logout goes through
 * const race = (slow: Effect.Effect<void>, logout: Effect.Effect<void>) =>
 *   Effect.gen(function*() {
 *     const controls = yield* testing.Controls
 *     const update = yield* controls.hold("update")
 *     const fiber = yield* Effect.fork(slow)
 *     yield* update.arrived
 *     yield* logout
 *     yield* update.release
 *     yield* Fiber.join(fiber)
 *   })
 * ```
 */
export const controlled = <A = never, E = never, R = never>(
  layer: Layer.Layer<A | Store.Store, E, R>
): Layer.Layer<A | Store.Store | Controls, E, R> =>
  Layer.scopedContext(
    Effect.map(Layer.build(layer), (context) => {
      const [store, controls] = control(Context.get(context, Store.Store))
      return context.pipe(Context.add(Store.Store, store), Context.add(Controls, controls))
    })
  )

/**
 * Makes a client of an app, without sockets. The app runs with the services, the clock and the fiber refs of the effect
 * that makes the client, so that a `TestClock` moves the time for both. `baseUrl` is the URL at which the client sees
 * the app. Default `https://app.test`, so that `Secure` and `__Host-` cookies are kept.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { CookieState, HttpMiddleware, MemoryStore, SessionField } from "effect-session"
 * import * as testing from "effect-session/testing"
 * import { Effect, Layer, Schema, TestClock } from "effect"
 *
 * const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })
 *
 * const app = SessionField.updateAndGet(Visits, (n) => n + 1).pipe(
 *   Effect.map((n) => HttpServerResponse.text(`${n}`)),
 *   HttpMiddleware.session
 * )
 *
 * const forgetsAfterADay = Effect.gen(function*() {
 *   const browser = yield* testing.client(app)
 *   yield* browser.get("/")
 *   yield* TestClock.adjust("1 day")
 *   const answer = yield* browser.get("/")
 *   return yield* answer.text // "1"
 * }).pipe(Effect.provide(Layer.merge(CookieState.layer(), MemoryStore.layer())))
 * ```
 */
export const client = <E, R>(
  app: HttpApp.Default<E, R>,
  options?: { readonly baseUrl?: string | undefined }
): Effect.Effect<Client, never, Exclude<R, HttpServerRequest.HttpServerRequest | Scope.Scope>> =>
  // the handler provides a request and its scope each time, so the runtime need not have them
  Effect.map(Effect.runtime<R>(), (runtime) => {
    return clientWith(
      runtime,
      HttpApp.toWebHandlerRuntime(runtime)(app),
      new URL(options?.baseUrl ?? "https://app.test"),
      []
    )
  }) as Effect.Effect<Client, never, Exclude<R, HttpServerRequest.HttpServerRequest | Scope.Scope>>

/** A test would go on as a visitor, and its answers would not say why. */
const unkept = Effect.dieMessage(
  "testing.client: The browser kept no cookie of the login, so nobody is logged in. Use a State that answers by cookies, a " +
    "Store that keeps sessions, and for a cookie that is Secure a baseUrl of https."
)

type Handler = (request: Request) => Promise<Response>

const clientWith = <R>(
  runtime: Runtime.Runtime<R>,
  handler: Handler,
  base: URL,
  cookies: jar.Jar
): Client => {
  let held = cookies
  let lines: ReadonlyArray<string> = []

  const prepare = (
    method: string,
    path: string,
    options: RequestOptions | undefined,
    sent: (held: jar.Jar) => jar.Jar = identity
  ) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const url = new URL(path, base)
      const headers = new Headers(options?.headers)
      const cookie = options?.cookies ?? jar.header(sent(held), url, now)
      if (cookie !== "") {
        headers.set("cookie", cookie)
      }
      if (options?.json !== undefined) {
        headers.set("content-type", "application/json")
      }
      const body = options?.json === undefined ? options?.body ?? null : JSON.stringify(options.json)
      return { url, init: { method, headers, body } }
    })

  const sendTo = (
    handler: Handler,
    { init, url }: Effect.Effect.Success<ReturnType<typeof prepare>>
  ): Effect.Effect<Answer> =>
    Effect.gen(function*() {
      const web = yield* Effect.promise((signal) => handler(new Request(url, { ...init, signal })))
      const now = yield* Clock.currentTimeMillis
      const setCookies = web.headers.getSetCookie()
      lines = setCookies
      held = setCookies.reduce((kept, line) => jar.put(kept, line, url, now), held)
      return {
        status: web.status,
        headers: web.headers,
        setCookies,
        text: Effect.promise(() => web.text()),
        json: Effect.promise((): Promise<unknown> => web.json()),
        web
      }
    })

  const send = (prepared: Effect.Effect.Success<ReturnType<typeof prepare>>) => sendTo(handler, prepared)

  const request: Client["request"] = (method, path, options) => Effect.flatMap(prepare(method, path, options), send)

  /** Runs an effect in a page of its own, which the same browser asks for. What the effect fails with is not a page. */
  const visit = <A, E, R2>(
    effect: Effect.Effect<A, E, R2>
  ): Effect.Effect<A, E, Exclude<R2, Provided> | State.State | Store.Store> =>
    Effect.flatMap(Effect.runtime<Exclude<R2, Provided> | State.State | Store.Store>(), (own) => {
      let result: Exit.Exit<A, E> | undefined
      const page = Effect.map(Effect.exit(effect), (exit) => {
        result = exit
        // an answer that is an error saves nothing more
        return HttpServerResponse.empty({ status: exit._tag === "Success" ? 204 : 500 })
      })
      const visited = Runtime.updateContext(own, (context) => Context.merge(runtime.context, context))
      return Effect.zipRight(
        Effect.flatMap(
          prepare("GET", "/", undefined, jar.belowAllPaths),
          (prepared) =>
            sendTo(
              HttpApp.toWebHandlerRuntime(visited)(
                HttpMiddleware.session(page) as HttpApp.Default<
                  never,
                  Exclude<R2, Provided> | State.State | Store.Store
                >
              ),
              prepared
            )
        ),
        Effect.suspend(() => result ?? Effect.dieMessage("The page of the test did not run."))
      )
    })

  const run: Client["run"] = (effect) => visit(Effect.zipLeft(effect, Session.commit))
  const current = Effect.map(Clock.currentTimeMillis, (now) => jar.current(held, now))

  return {
    get: (path, options) => request("GET", path, options),
    post: (path, options) => request("POST", path, options),
    request,
    fork: (method, path, options) =>
      Effect.flatMap(prepare(method, path, options), (prepared) => Effect.fork(send(prepared))),
    cookies: current,
    cookie: (name) =>
      Effect.map(current, (cookies) => Option.fromNullable(cookies.find((cookie) => cookie.name === name)?.value)),
    setCookies: Effect.sync(() => lines),
    keep: (line) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        held = jar.put(held, line, base, now)
      }),
    clear: Effect.sync(() => {
      held = []
    }),
    login: (subject, options) =>
      Effect.suspend(() => {
        const before = held
        return Effect.tap(run(Session.login(subject, options)), () => held === before ? unkept : Effect.void)
      }),
    run,
    session: visit(Effect.zipRight(Session.ignoreChanges, Session.load)),
    other: (options) => Effect.sync(() => clientWith(runtime, handler, base, options?.jar === "copy" ? held : []))
  }
}
