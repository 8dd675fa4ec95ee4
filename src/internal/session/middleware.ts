/**
 * Attaches a session to the fiber of a request: finds the one that the request has already, or makes one and sees to it
 * that it is committed before the response leaves. All middleware of the library ends here.
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { SessionDataError } from "../../SessionError.js"
import * as SessionEvents from "../../SessionEvents.js"
import * as SessionPolicy from "../../SessionPolicy.js"
import * as SessionRecord from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import * as Store from "../../Store.js"
import { hasForm, shareBody } from "../http/body.js"
import { beforeResponse, onUpgrade, provide, sourceOf, total } from "../http/fiber.js"
import { noStore, vary } from "../http/headers.js"
import { replaceBody, unfold } from "../http/response.js"
import { nowOf } from "../runtime/caller.js"
import { andThen } from "../runtime/exit.js"
import { isHandled } from "../sessionEvents/emit.js"
import * as internal from "./handle.js"
import { lifetimeWarnings } from "./lifetimeWarnings.js"
import type { Parts } from "./parts.js"

/**
 * Runs an effect of a request with its session. `parts` takes the State and the Store from the fiber's context. The policy
 * comes from there too, unless the middleware was built as a layer, which has a context of its own (`built`).
 *
 * @internal
 */
export const withSession = <A, E, R, S, M>(
  effect: Effect.Effect<A, E, R>,
  tag: Context.Tag<S, Ref.Ref<SessionRecord.Data>>,
  parts: (context: Context.Context<M>) => Parts,
  built?: Context.Context<never>
): Effect.Effect<A, E, Exclude<R, S> | M | HttpServerRequest.HttpServerRequest> =>
  Effect.withFiberRuntime((fiber) => {
    const context = fiber.currentContext as Context.Context<M | HttpServerRequest.HttpServerRequest>
    const request = Context.get(context, HttpServerRequest.HttpServerRequest)
    const { state, store } = parts(context)
    const sessions = sessionsOf(request)
    const known = sessions.find((known) => known.key === tag.key && known.state === state && known.store === store)
    if (known !== undefined) {
      provide(fiber, tag, known.session)
      return effect
    }
    const settings = built ?? context
    const policy = Context.get(settings, SessionPolicy.SessionPolicy)
    const session = new internal.SessionHandle(() => ({
      store,
      policy,
      generator: Context.get(settings, SessionToken.Generator),
      events: Context.get(settings, SessionEvents.SessionEvents),
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
    // Here, because a handler may have another request by then, and may read the form before its session is looked at.
    if (hasForm(request)) {
      shareBody(request)
    }
    return announced.get(policy)?.has(state) === true ? effect : Effect.zipRight(announce(policy, state), effect)
  }) as Effect.Effect<A, E, Exclude<R, S> | M | HttpServerRequest.HttpServerRequest>

/**
 * `withSession` for middleware that is built as a layer: State, Store and policy are those of the layer's context. Gives
 * the function that attaches the session, and the parts that it attaches it with.
 *
 * @internal
 */
export const built = <S, M>(
  tag: Context.Tag<S, Ref.Ref<SessionRecord.Data>>,
  parts: (context: Context.Context<M>) => Parts
): Effect.Effect<Built<S>, never, M> =>
  Effect.map(Effect.context<M>(), (context) => {
    const found = parts(context)
    const events = Context.get(context as Context.Context<never>, SessionEvents.SessionEvents)
    return {
      parts: found,
      attach: (effect) =>
        withSession(
          isHandled(events) ? toldTo(events, effect) : effect,
          tag,
          (_: Context.Context<never>) => found,
          context as Context.Context<never>
        )
    }
  })

/** What a store tells of itself goes to the handler that is in the context of its call. */
const toldTo = <A, E, R>(events: SessionEvents.Handler, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(
    effect,
    (context: Context.Context<R>) => Context.add(context, SessionEvents.SessionEvents, events)
  )

/** @internal */
export interface Built<S> {
  readonly parts: Parts
  readonly attach: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, Exclude<R, S> | HttpServerRequest.HttpServerRequest>
}

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

/** Policies that were logged, and the states for which each was checked. */
const announced = new WeakMap<SessionPolicy.Policy, WeakSet<State.State>>()

/** Logs a policy once, and once for each state what does not fit together. */
const announce = (policy: SessionPolicy.Policy, state: State.State): Effect.Effect<void> =>
  Effect.suspend(() => {
    const states = announced.get(policy)
    announced.set(policy, (states ?? new WeakSet()).add(state))
    const warnings = Effect.forEach(lifetimeWarnings(state, policy), (text) => Effect.logWarning(text), {
      discard: true
    })
    return states !== undefined
      ? warnings
      : Effect.zipRight(Effect.annotateLogs(Effect.logInfo("session policy"), { ...policy }), warnings)
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
 * headers and cookies of others stay, such as another session's new token, which no cache may keep.
 */
const answerOf = (
  { failure }: internal.Verdict,
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse =>
  failure === undefined || response.status >= 500 ? response : noStore(replaceBody(response, statusOf(failure)))

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
