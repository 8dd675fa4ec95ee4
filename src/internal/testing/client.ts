/**
 * A small browser of an app that runs in this process: it sends requests with the cookies of its jar, and has pages of its
 * own to fill and read its session. The module knows nothing of the rules of cookies.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as HttpMiddleware from "../../HttpMiddleware.js"
import * as Session from "../../Session.js"
import type * as SessionError from "../../SessionError.js"
import type * as State from "../../State.js"
import type * as Store from "../../Store.js"
import * as jar from "./cookieJar.js"

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
  readonly cookies: Effect.Effect<ReadonlyArray<jar.JarCookie>>
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

/** A test would go on as a visitor, and its answers would not say why. */
const unkept = Effect.dieMessage(
  "testing.client: The browser kept no cookie of the login, so nobody is logged in. Use a State that answers by cookies, a " +
    "Store that keeps sessions, and for a cookie that is Secure a baseUrl of https."
)

type Handler = (request: Request) => Promise<Response>

/** Makes a client with these cookies in its jar. @internal */
export const clientWith = <R>(
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
