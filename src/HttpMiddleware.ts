/**
 * The way of a session through a request. `session` puts a `Session` where handlers find it, and commits it when the
 * response is known and before its head leaves; nothing is read until a handler asks. Everything else here is the
 * platform's own `HttpMiddleware`.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import * as platform from "./internal/http/fiber.js"
import { unfold } from "./internal/http/response.js"
import { andThen } from "./internal/runtime/exit.js"
import * as internal from "./internal/session/handle.js"
import * as Session from "./Session.js"
import { SessionDataError } from "./SessionError.js"
import * as SessionPolicy from "./SessionPolicy.js"
import * as SessionRecord from "./SessionRecord.js"
import * as SessionToken from "./SessionToken.js"
import * as State from "./State.js"
import * as Store from "./Store.js"

/**
 * @since 0.1.0
 */
export * from "@effect/platform/HttpMiddleware"

/**
 * Gives an app its session. Use it with `HttpServer.serve`, with `HttpRouter.use`, with `app.pipe`, or under
 * `HttpApp.toWebHandlerLayer`. It removes `Session.Session` from the app's requirements and adds `State.State` and
 * `Store.Store`; errors are the app's own. A request that never touches the session costs no I/O and sets no header.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { HttpServer, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer, Schema } from "effect"
 * import { CookieState, HttpMiddleware, MemoryStore, SessionField } from "effect-session"
 *
 * const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })
 *
 * const app = Effect.map(
 *   SessionField.updateAndGet(Visits, (n) => n + 1),
 *   (n) => HttpServerResponse.text(`visit ${n}`)
 * )
 *
 * const server = app.pipe(
 *   HttpServer.serve(HttpMiddleware.session),
 *   Layer.provide([CookieState.layer(), MemoryStore.layer()])
 * )
 * ```
 */
export const session = <E, R>(
  app: HttpApp.Default<E, R>
): HttpApp.Default<E, Exclude<R, Session.Session> | State.State | Store.Store> =>
  withSession(app, Session.Session, undefined)

/**
 * The middleware of a second, named session (see `Session.Tag`), with the State and Store of its own that it is made
 * with.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { CookieState, HttpMiddleware, MemoryStore, Session } from "effect-session"
 *
 * class Admin extends Session.Tag<Admin>()("admin") {}
 *
 * const adminSession = HttpMiddleware.makeSession(Admin).pipe(
 *   Effect.provide([CookieState.layer({ name: "__Host-admin" }), MemoryStore.layer()])
 * )
 * ```
 */
export const makeSession = <S>(
  tag: Session.SessionTag<S>
): Effect.Effect<
  <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, Exclude<R, S>>,
  never,
  State.State | Store.Store
> =>
  Effect.map(
    Effect.all([State.State, Store.Store]),
    ([state, store]) => <E, R>(app: HttpApp.Default<E, R>) =>
      withSession(app, tag, { state, store }) as HttpApp.Default<E, Exclude<R, S>>
  )

interface Parts {
  readonly state: State.State
  readonly store: Store.Store
}

const withSession = <E, R, S>(
  app: HttpApp.Default<E, R>,
  tag: Session.SessionTag<S>,
  parts: Parts | undefined
): HttpApp.Default<E, Exclude<R, S> | State.State | Store.Store> =>
  Effect.withFiberRuntime((fiber) => {
    const context = fiber.currentContext as Surroundings
    const request = Context.get(context, HttpServerRequest.HttpServerRequest)
    const sessions = sessionsOf(request)
    const known = sessions.find(({ key }) => key === tag.key)
    if (known !== undefined) {
      platform.provideDirectly(fiber, tag, known.session)
      return app
    }
    const policy = Context.get(context, SessionPolicy.SessionPolicy)
    const session = new internal.SessionRef(environmentOf(context, policy, request, parts))
    sessions.push({ key: tag.key, session })
    platform.provideDirectly<S, Ref.Ref<Session.Data>>(fiber, tag, session, responding(request, sessions, session))
    if (request.headers["upgrade"] !== undefined) {
      const telling = platform.tellingUpgrade(request, () => session.leaveUpgraded())
      platform.provideDirectly(fiber, HttpServerRequest.HttpServerRequest, telling)
    }
    return announced.has(policy) ? app : Effect.zipRight(announce(policy), app)
  }) as HttpApp.Default<E, Exclude<R, S> | State.State | Store.Store>

type Surroundings = Context.Context<
  HttpServerRequest.HttpServerRequest | Scope.Scope | State.State | Store.Store
>

const environmentOf = (
  context: Surroundings,
  policy: SessionPolicy.Policy,
  request: HttpServerRequest.HttpServerRequest,
  parts: Parts | undefined
) =>
(): internal.Environment => ({
  store: parts?.store ?? Context.get(context, Store.Store),
  policy,
  generator: Context.get(context, SessionToken.Generator),
  transports: (parts?.state ?? Context.get(context, State.State)).transports,
  request,
  scope: Option.getOrUndefined(Context.getOption(context, Scope.Scope))
})

const sourceOf = (request: HttpServerRequest.HttpServerRequest): object =>
  typeof request.source === "object" && request.source !== null ? request.source : request

/**
 * The sessions of a request under way are found by the request that the server was given: a context may belong to another
 * request, when a handler is run with a runtime captured elsewhere. They stand on it as a property, as the platform's own
 * marks do, since a WeakMap entry a request weighs on the collector.
 */
const sessionsKey: unique symbol = Symbol.for("effect-session/HttpMiddleware/sessions")

interface Known {
  readonly key: string
  readonly session: internal.SessionRef
}

const sessionsOf = (request: HttpServerRequest.HttpServerRequest): Array<Known> => {
  const source = sourceOf(request)
  const holder: { [sessionsKey]?: Array<Known> } = Object.isExtensible(source) ? source : request
  return holder[sessionsKey] ??= []
}

/** Policies that were logged. */
const announced = new WeakSet<SessionPolicy.Policy>()

const announce = (policy: SessionPolicy.Policy): Effect.Effect<void> =>
  Effect.suspend(() => {
    announced.add(policy)
    return Effect.annotateLogs(Effect.logInfo("session policy"), { ...policy })
  })

/**
 * Runs when the response is known: commits once, then says in the response what came of it. The platform asks again when
 * it has to answer with another response than the first. What there is to say is held on to for that, and not the session:
 * a request's signal keeps its fiber, and so this handler, until the collector's next full round.
 */
const responding = (
  request: HttpServerRequest.HttpServerRequest,
  sessions: Array<Known>,
  session: internal.SessionRef
): HttpApp.PreResponseHandler => {
  let held: internal.SessionRef | undefined = session
  let verdict: internal.Verdict | undefined = undefined
  return (asking, response) => {
    if (sourceOf(asking) !== sourceOf(request)) {
      return Effect.succeed(response)
    }
    const ending = held
    if (ending === undefined) {
      return verdict === undefined ? Effect.succeed(response) : saying(verdict, response)
    }
    // The request may be handled again, by an app with a store of its own.
    forget(sessions, ending)
    if (!ending.touched) {
      held = undefined
      ending.leaveUntouched()
      return Effect.succeed(response)
    }
    return speaking((fiber) =>
      andThen(ending.finish(fiber, response.status), () => {
        verdict = ending.verdict
        held = undefined
        return tell(verdict, response, platform.nowOf(fiber))
      })
    )
  }
}

const forget = (sessions: Array<Known>, ended: internal.SessionRef): void => {
  const index = sessions.findIndex(({ session }) => session === ended)
  if (index !== -1) {
    sessions.splice(index, 1)
  }
}

const saying = (verdict: internal.Verdict, response: HttpServerResponse.HttpServerResponse) =>
  speaking((fiber) => tell(verdict, response, platform.nowOf(fiber)))

type Spoken = Effect.Effect<HttpServerResponse.HttpServerResponse>

/** The platform hangs the client when a handler before the response fails. */
const speaking = (speak: (fiber: internal.Caller) => Spoken): Spoken =>
  Effect.withFiberRuntime((fiber) => {
    try {
      const spoken = speak(fiber)
      return Exit.isExit(spoken) ? spoken : Effect.catchAllCause(spoken, unspeakable)
    } catch (defect) {
      return unspeakable(Cause.die(defect))
    }
  })

const unspeakable = (cause: Cause.Cause<unknown>): Spoken =>
  Effect.as(
    Effect.logError("a session could not be put into the response", cause),
    HttpServerResponse.empty({ status: 500 })
  )

const statusOf = (failure: Cause.Cause<unknown>): number => {
  const error = Cause.squash(failure)
  return Store.isStoreError(error) ? 503 : error instanceof SessionDataError && error.reason === "TooLarge" ? 413 : 500
}

/** A store that failed is never a success, even if the handler swallowed it (S66). */
const answerOf = (
  { failure }: internal.Verdict,
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse =>
  failure === undefined || response.status >= 500
    ? response
    : HttpServerResponse.empty({ status: statusOf(failure) })

const tell = (verdict: internal.Verdict, response: HttpServerResponse.HttpServerResponse, now: number): Spoken => {
  const varied = platform.vary(unfold(answerOf(verdict, response)), verdict.consulted)
  const { attributes, delivery, transport } = verdict
  if (delivery !== undefined && transport !== undefined) {
    const { record, token } = delivery
    const emission = {
      now,
      endsAt: SessionRecord.endsAt(record),
      persistent: record.persistent === true,
      attributes
    }
    return Effect.map(transport.emit(varied, token, emission), platform.noStore)
  }
  if (verdict.expiring && transport !== undefined) {
    return Effect.succeed(platform.noStore(transport.expire(varied, attributes)))
  }
  return Effect.succeed(verdict.disclosed ? platform.noStore(varied) : varied)
}
