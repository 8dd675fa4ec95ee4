/**
 * The way of a session through a request. `session` puts a `Session` where handlers find it, and commits it when the
 * response is known and before its head leaves. Everything else here is the platform's own `HttpMiddleware`.
 *
 * What happens in a request, and where:
 *
 * 1. `session` makes the session object. Nothing is read yet.
 * 2. The first touch loads it (`internal/session/load.ts`). A request that never touches it costs no I/O.
 * 3. The handler updates it (`internal/session/state.ts`): every update is remembered as a function.
 * 4. When the response is known, `finish` (`internal/session/requestEnd.ts`) plans the write (`plan.ts`), carries it out
 *    (`commit.ts`) when its turn has come (`schedule.ts`), and notes what the response has to say.
 * 5. `say`, below, puts that into the response.
 *
 * | the session was | the store is asked to | the response gets |
 * | --- | --- | --- |
 * | not touched | nothing | nothing |
 * | destroyed, whatever the status | `remove`; 503 if that fails | the cookie expired, if the request carried one |
 * | in a 5xx, an abort, `ignoreChanges` | nothing more | nothing, but a token that an earlier `commit` saved |
 * | renewed | `renew` | a new cookie |
 * | new, nothing changed | nothing | nothing |
 * | new, changed | `create` | a cookie |
 * | changed | `update`, by the revision that was read | a cookie if its expiry moves |
 * | changed, and another request saved first | `update` again, with the updates made again on its data | as above |
 * | changed, but it has ended meanwhile | nothing: it stays ended | nothing |
 * | read, the deadline moves by the touch interval or more | `touch` | a cookie if it carries an expiry |
 * | read | nothing | nothing |
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { beforeResponse, onUpgrade, provide, sourceOf, total } from "./internal/http/fiber.js"
import { noStore, vary } from "./internal/http/headers.js"
import { replaceBody, unfold } from "./internal/http/response.js"
import { nowOf } from "./internal/runtime/caller.js"
import { andThen } from "./internal/runtime/exit.js"
import * as internal from "./internal/session/handle.js"
import { type Parts, partsOf } from "./internal/session/parts.js"
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
  withSession(app, Session.Session, (context: Context.Context<State.State | Store.Store>) => ({
    state: Context.get(context, State.State),
    store: Context.get(context, Store.Store)
  }))

/**
 * The State and Store of a named session, built by `layerSession` for the life of the app. `sessionOf` requires it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionMiddleware<in out S> {
  readonly _: (session: S) => S
}

/**
 * Builds the State and Store of a second, named session (see `Session.Tag`) for the life of the app. They are the session's
 * own: they do not meet those of `session`.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HttpServer, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer } from "effect"
 * import { CookieState, HttpMiddleware, MemoryStore, Session } from "effect-session"
 *
 * class Admin extends Session.Tag<Admin>()("admin") {}
 *
 * const app = Effect.map(Session.verbs(Admin).id, (id) => HttpServerResponse.text(id))
 *
 * const server = app.pipe(
 *   HttpMiddleware.sessionOf(Admin),
 *   HttpServer.serve(),
 *   Layer.provide(HttpMiddleware.layerSession(Admin, [
 *     CookieState.layer({ name: "__Host-admin" }),
 *     MemoryStore.layer()
 *   ]))
 * )
 * ```
 */
export const layerSession = <S, E1, R1, E2 = never, R2 = never>(
  tag: Session.SessionTag<S>,
  layers:
    | Layer.Layer<State.State | Store.Store, E1, R1>
    | readonly [Layer.Layer<State.State, E1, R1>, Layer.Layer<Store.Store, E2, R2>]
    | readonly [Layer.Layer<Store.Store, E1, R1>, Layer.Layer<State.State, E2, R2>]
): Layer.Layer<SessionMiddleware<S>, E1 | E2, R1 | R2> =>
  Layer.provide(
    Layer.effect(partsOf<SessionMiddleware<S>>(tag), Effect.all({ state: State.State, store: Store.Store })),
    (isPair(layers) ? Layer.merge(layers[0], layers[1]) : layers) as Layer.Layer<
      State.State | Store.Store,
      E1 | E2,
      R1 | R2
    >
  )

const isPair = <E, R>(
  layers: object
): layers is readonly [Layer.Layer<State.State, E, R>, Layer.Layer<Store.Store, E, R>] => Array.isArray(layers)

/**
 * The middleware of a named session. It removes the session from the app's requirements and adds the
 * `SessionMiddleware` that `layerSession` builds.
 *
 * @since 0.1.0
 * @category constructors
 */
export const sessionOf =
  <S>(tag: Session.SessionTag<S>) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, Exclude<R, S> | SessionMiddleware<S>> =>
    withSession(
      app,
      tag,
      (context: Context.Context<SessionMiddleware<S>>) => Context.get(context, partsOf<SessionMiddleware<S>>(tag))
    )

const withSession = <E, R, S, M>(
  app: HttpApp.Default<E, R>,
  tag: Session.SessionTag<S>,
  parts: (context: Context.Context<M>) => Parts
): HttpApp.Default<E, Exclude<R, S> | M> =>
  Effect.withFiberRuntime((fiber) => {
    const context = fiber.currentContext as Context.Context<M | HttpServerRequest.HttpServerRequest>
    const request = Context.get(context, HttpServerRequest.HttpServerRequest)
    const { state, store } = parts(context)
    const sessions = sessionsOf(request)
    const known = sessions.find((known) => known.key === tag.key && known.state === state && known.store === store)
    if (known !== undefined) {
      provide(fiber, tag, known.session)
      return app
    }
    const policy = Context.get(context, SessionPolicy.SessionPolicy)
    const session = new internal.SessionHandle(() => ({
      store,
      policy,
      generator: Context.get(context, SessionToken.Generator),
      transports: state.transports,
      source: request,
      host: Option.getOrUndefined(Option.map(Context.getOption(context, Scope.Scope), (scope) => ({ fiber, scope })))
    }))
    sessions.push({ key: tag.key, state, store, session })
    provide(fiber, tag, session)
    beforeResponse(fiber, responding(request, sessions, session))
    if (request.headers["upgrade"] !== undefined) {
      onUpgrade(request, () => session.leaveUpgraded())
    }
    return announced.has(policy) ? app : Effect.zipRight(announce(policy), app)
  }) as HttpApp.Default<E, Exclude<R, S> | M>

/**
 * The sessions of a request under way are found by the request that the server was given: a context may belong to another
 * request, when a handler is run with a runtime captured elsewhere. They stand on it as a property, as the platform's own
 * marks do, because a WeakMap entry for each request weighs on the collector.
 */
const sessionsKey: unique symbol = Symbol.for("effect-session/HttpMiddleware/sessions")

/** A session under way, and what tells it from another: its tag, its State and its Store. */
interface Known extends Parts {
  readonly key: string
  readonly session: internal.SessionHandle
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
  session: internal.SessionHandle
): HttpApp.PreResponseHandler => {
  let held: internal.SessionHandle | undefined = session
  let verdict: internal.Verdict | undefined = undefined
  return (asking, response) => {
    if (sourceOf(asking) !== sourceOf(request)) {
      return Effect.succeed(response)
    }
    const ending = held
    if (ending === undefined) {
      const said = verdict
      return said === undefined
        ? Effect.succeed(response)
        : total((fiber) => say(said, response, nowOf(fiber)), unspoken)
    }
    // The request may be handled again, by an app with a store of its own.
    forget(sessions, ending)
    if (!ending.touched) {
      held = undefined
      ending.leaveUntouched()
      return Effect.succeed(response)
    }
    return total((fiber) =>
      andThen(ending.finish(fiber, response.status), () => {
        verdict = ending.verdict
        held = undefined
        return say(verdict, response, nowOf(fiber))
      }), unspoken)
  }
}

const forget = (sessions: Array<Known>, ended: internal.SessionHandle): void => {
  const index = sessions.findIndex(({ session }) => session === ended)
  if (index !== -1) {
    sessions.splice(index, 1)
  }
}

type Said = Effect.Effect<HttpServerResponse.HttpServerResponse>

const unspoken = (cause: Cause.Cause<unknown>): Said =>
  Effect.as(
    Effect.logError("a session could not be put into the response", cause),
    HttpServerResponse.empty({ status: 500 })
  )

const statusOf = (failure: Cause.Cause<unknown>): number => {
  const error = Cause.squash(failure)
  return Store.isStoreError(error) ? 503 : error instanceof SessionDataError && error.reason === "TooLarge" ? 413 : 500
}

/**
 * The answer to a commit that failed: a store that failed is never a success, even if the handler swallowed it. The
 * headers and cookies of others stay, such as another session's new token.
 */
const answerOf = (
  { failure }: internal.Verdict,
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse =>
  failure === undefined || response.status >= 500 ? response : replaceBody(response, statusOf(failure))

/** Puts into the response what is to be said of the session. */
const say = (verdict: internal.Verdict, response: HttpServerResponse.HttpServerResponse, now: number): Said => {
  const varied = vary(unfold(answerOf(verdict, response)), verdict.consulted)
  const { attributes, delivery, transport } = verdict
  if (delivery !== undefined && transport !== undefined) {
    const { record, token } = delivery
    const emission = {
      now,
      endsAt: SessionRecord.endsAt(record),
      persistent: record.persistent === true,
      attributes
    }
    return andThen(transport.emit(varied, token, emission), (response) => Effect.succeed(noStore(response)))
  }
  if (verdict.expiring && transport !== undefined) {
    return Effect.succeed(noStore(transport.expire(varied, attributes)))
  }
  return Effect.succeed(verdict.disclosed ? noStore(varied) : varied)
}
