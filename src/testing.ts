/**
 * Tools for tests of sessions: records made by hand, a store whose calls a test can hold, fail and record, and a small
 * browser for an app without sockets. The module needs no test runner. Every wait is for an event or for the `Clock`,
 * so that a test can step through a race with the same result each time.
 *
 * @since 0.1.0
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Client } from "./internal/testing/client.js"
import { clientWith } from "./internal/testing/client.js"
import type { StoreControls } from "./internal/testing/control.js"
import { control } from "./internal/testing/control.js"
import type * as jar from "./internal/testing/cookieJar.js"
import * as SessionRecord from "./SessionRecord.js"
import * as Store from "./Store.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Held,
  /**
   * @since 0.1.0
   * @category models
   */
  Moment,
  /**
   * @since 0.1.0
   * @category models
   */
  StoreControls
} from "./internal/testing/control.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Answer,
  /**
   * @since 0.1.0
   * @category models
   */
  Client,
  /**
   * @since 0.1.0
   * @category models
   */
  RequestOptions
} from "./internal/testing/client.js"

/**
 * A cookie that a client holds.
 *
 * @since 0.1.0
 * @category models
 */
export type Cookie = jar.JarCookie

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
