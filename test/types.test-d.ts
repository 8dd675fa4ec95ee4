/**
 * What the compiler says: read by `npm run check`, never run. `equal` fails to compile where two types differ.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer, Option, Ref, Schema } from "effect"
import type { ConfigError, Duration, Stream } from "effect"
import {
  CacheStore,
  CookieState,
  Csrf,
  FileStore,
  HttpMiddleware,
  MemoryStore,
  NullStore,
  SealedStore,
  Session,
  SessionField,
  SessionPolicy,
  Sessions,
  SessionToken
} from "effect-session"
import type { SessionError, State, Store } from "effect-session"

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

/** Takes `true` alone, and only where the two types are the same. */
declare const equal: <A, B>(same: Same<A, B>) => void

/** The same for the three types of an effect. */
declare const is: <A, E, R>(
  effect: Effect.Effect<A, E, R>
) => <A2, E2, R2>(value: Same<A, A2>, error: Same<E, E2>, needs: Same<R, R2>) => void

// -------------------------------------------------------------------------------------------------------- the helpers

equal<string, string>(true)
// @ts-expect-error they differ
equal<string, number>(true)
// @ts-expect-error a wider one is another one
equal<string, string | number>(true)
// @ts-expect-error any is nothing else
equal<string, never>(true)

// @ts-expect-error the value differs
is(Effect.succeed(1))<string, never, never>(true, true, true)
// @ts-expect-error the error differs
is(Effect.succeed(1))<number, Error, never>(true, true, true)
// @ts-expect-error the needs differ
is(Effect.succeed(1))<number, never, Session.Session>(true, true, true)

// ------------------------------------------------------------------------------------------------------- the middleware

class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}
class Database extends Effect.Service<Database>()("types/Database", { succeed: { name: "db" } }) {}

const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })
const User = SessionField.make("user", Schema.NonEmptyString)

const app = Effect.gen(function*() {
  yield* Database
  const n = yield* Visits
  return n > 3 ? yield* new Boom() : HttpServerResponse.text(`${n}`)
})

equal<
  typeof app,
  Effect.Effect<HttpServerResponse.HttpServerResponse, Boom, Database | Session.Session>
>(true)

const withSession = app.pipe(HttpMiddleware.session)
equal<typeof withSession, HttpApp.Default<Boom, Database | State.State | Store.Store>>(true)

const twice = app.pipe(HttpMiddleware.session, HttpMiddleware.session)
equal<typeof twice, HttpApp.Default<Boom, Database | State.State | Store.Store>>(true)

const needless = HttpMiddleware.session(Effect.succeed(HttpServerResponse.empty()))
equal<typeof needless, HttpApp.Default<never, State.State | Store.Store>>(true)

const served = app.pipe(HttpServer.serve(HttpMiddleware.session))
equal<typeof served, Layer.Layer<never, never, Database | State.State | Store.Store | HttpServer.HttpServer>>(true)

const router = HttpRouter.empty.pipe(HttpRouter.get("/", app))
equal<typeof router, HttpRouter.HttpRouter<Boom, Database | Session.Session>>(true)

const servedRouter = HttpServer.serve(router, HttpMiddleware.session)
const servedPiped = router.pipe(HttpServer.serve(HttpMiddleware.session))
type Served = Layer.Layer<never, never, Database | State.State | Store.Store | HttpServer.HttpServer>
equal<typeof servedRouter, Served>(true)
equal<typeof servedPiped, Served>(true)

const used = router.pipe(HttpRouter.use(HttpMiddleware.session))
equal<typeof used, HttpRouter.HttpRouter<Boom, Database | State.State | Store.Store>>(true)

const usedThenServed = used.pipe(HttpServer.serve())
equal<typeof usedThenServed, Served>(true)

// --------------------------------------------------------------------------------- without the middleware: no program

const everything = Layer.mergeAll(CookieState.layer(), MemoryStore.layer(), Database.Default)
declare const server: Layer.Layer<HttpServer.HttpServer | HttpPlatform.HttpPlatform>
declare const run: <A, E>(effect: Effect.Effect<A, E>) => void
declare const web: <E>(layer: Layer.Layer<State.State | Store.Store | Database, E>) => void

run(Layer.launch(served.pipe(Layer.provide(everything), Layer.provide(server))))

const forgotten = app.pipe(HttpServer.serve(), Layer.provide(everything), Layer.provide(server))
equal<typeof forgotten, Layer.Layer<never, ConfigError.ConfigError, Session.Session>>(true)
// @ts-expect-error the session is still needed
run(Layer.launch(forgotten))

// @ts-expect-error a state is needed
run(Layer.launch(served.pipe(Layer.provide([MemoryStore.layer(), Database.Default]), Layer.provide(server))))
// @ts-expect-error a store is needed
run(Layer.launch(served.pipe(Layer.provide([CookieState.layer(), Database.Default]), Layer.provide(server))))

HttpApp.toWebHandlerLayer(withSession, everything)
// @ts-expect-error the session is still needed
HttpApp.toWebHandlerLayer(app, everything)
web(everything)

// ------------------------------------------------------------------------------------------------------------- fields

equal<typeof Visits, SessionField.SessionField<number, never, Session.Session>>(true)
equal<typeof User, SessionField.SessionField<string, SessionError.SessionFieldMissing, Session.Session>>(true)
equal<SessionField.SessionFieldMissing, SessionError.SessionFieldMissing>(true)

type Missing = SessionError.SessionFieldMissing
type Saving = Store.StoreError | Session.SessionGone

is(Visits)<number, never, Session.Session>(true, true, true)
is(User)<string, Missing, Session.Session>(true, true, true)
is(SessionField.get(Visits))<number, never, Session.Session>(true, true, true)
is(SessionField.get(User))<string, Missing, Session.Session>(true, true, true)
is(SessionField.option(User))<Option.Option<string>, never, Session.Session>(true, true, true)
is(SessionField.getOrFail(User, () => new Boom()))<string, Boom, Session.Session>(true, true, true)
is(User.pipe(SessionField.getOrFail(() => new Boom())))<string, Boom, Session.Session>(true, true, true)

is(SessionField.set(Visits, 1))<void, never, Session.Session>(true, true, true)
is(SessionField.set(User, "ann"))<void, never, Session.Session>(true, true, true)
is(User.pipe(SessionField.set("ann")))<void, never, Session.Session>(true, true, true)
is(SessionField.set(SessionField.option(User), Option.none()))<void, never, Session.Session>(true, true, true)
is(SessionField.remove(User))<void, never, Session.Session>(true, true, true)
// @ts-expect-error the plain value is asked for, not an Option
SessionField.set(User, Option.some("ann"))
// @ts-expect-error a number is no string
SessionField.set(User, 1)
// @ts-expect-error a string is no number
Visits.pipe(SessionField.set("1"))

is(SessionField.update(Visits, (n) => n + 1))<void, never, Session.Session>(true, true, true)
is(SessionField.update(User, (user) => user.trim()))<void, Missing, Session.Session>(true, true, true)
is(Visits.pipe(SessionField.update((n) => n + 1)))<void, never, Session.Session>(true, true, true)
is(SessionField.updateAndGet(Visits, (n) => n + 1))<number, never, Session.Session>(true, true, true)
is(SessionField.getAndUpdate(Visits, (n) => n + 1))<number, never, Session.Session>(true, true, true)
is(SessionField.getAndSet(User, "bob"))<string, Missing, Session.Session>(true, true, true)
is(SessionField.modify(Visits, (n) => [`${n}`, n + 1]))<string, never, Session.Session>(true, true, true)
is(SessionField.take(User))<string, Missing, Session.Session>(true, true, true)
is(SessionField.take(SessionField.option(User)))<Option.Option<string>, never, Session.Session>(true, true, true)
is(SessionField.getOrCreate(User, Effect.succeed("ann")))<string, Saving, Session.Session>(true, true, true)
is(SessionField.getOrCreate(User, Effect.zipRight(Database, new Boom())))<
  string,
  Saving | Boom,
  Session.Session | Database
>(true, true, true)
is(SessionField.transaction(Visits, (n) => [n > 1, n + 1]))<boolean, Saving, Session.Session>(true, true, true)
is(SessionField.transaction(User, (user) => [user.length, user]))<number, Saving | Missing, Session.Session>(
  true,
  true,
  true
)
// @ts-expect-error the function must give the field's type back
SessionField.update(Visits, () => "many")

is(SessionField.ref(Visits))<Ref.Ref<number>, never, Session.Session>(true, true, true)
is(SessionField.ref(SessionField.option(User)))<Ref.Ref<Option.Option<string>>, never, Session.Session>(
  true,
  true,
  true
)
// @ts-expect-error a Ref has no way to be missing: give the field a default, or take its option
SessionField.ref(User)

const Both = SessionField.struct({ visits: Visits, user: User })
is(Both)<{ readonly visits: number; readonly user: string }, Missing, Session.Session>(true, true, true)
is(SessionField.set(Both, { visits: 1, user: "ann" }))<void, never, Session.Session>(true, true, true)
is(SessionField.struct({ visits: Visits, user: SessionField.option(User) }))<
  { readonly visits: number; readonly user: Option.Option<string> },
  never,
  Session.Session
>(true, true, true)
// @ts-expect-error all of its fields are set together
SessionField.set(Both, { visits: 1 })

// A guard that forgets the missing case fails typed: the error stands in the app's type until it is handled.
const guarded = HttpMiddleware.session(Effect.map(User, (user) => HttpServerResponse.text(user)))
equal<typeof guarded, HttpApp.Default<Missing, State.State | Store.Store>>(true)
// @ts-expect-error the missing case is not handled
const total: HttpApp.Default<never, State.State | Store.Store> = guarded
const handled = HttpMiddleware.session(
  User.pipe(
    Effect.map((user) => HttpServerResponse.text(user)),
    Effect.catchTag("SessionFieldMissing", () => Effect.succeed(HttpServerResponse.empty({ status: 401 })))
  )
)
equal<typeof handled, HttpApp.Default<never, State.State | Store.Store>>(true)

// ------------------------------------------------------------------------------------------------- what can be kept

class Point extends Schema.Class<Point>("Point")({ x: Schema.Number, at: Schema.Date }) {}

interface Tree {
  readonly label: string
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Schema<Tree> = Schema.Struct({
  label: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Schema<Tree> => Tree))
})

const Json: Schema.Schema<Session.Json> = Schema.suspend(() =>
  Schema.Union(
    Schema.String,
    Schema.Number,
    Schema.Boolean,
    Schema.Null,
    Schema.Array(Json),
    Schema.Record({ key: Schema.String, value: Json })
  )
)

is(SessionField.make("a", Schema.Date))<Date, Missing, Session.Session>(true, true, true)
is(SessionField.make("a", Schema.Date, { default: () => new Date(0) }))<Date, never, Session.Session>(true, true, true)
is(SessionField.make("a", Schema.Struct({ a: Schema.optional(Schema.String) })))<
  { readonly a?: string | undefined },
  Missing,
  Session.Session
>(true, true, true)
is(SessionField.make("a", Schema.Struct({ a: Schema.optionalWith(Schema.String, { exact: true }) })))<
  { readonly a?: string },
  Missing,
  Session.Session
>(true, true, true)
is(SessionField.make("a", Schema.Tuple(Schema.String, Schema.Number)))<
  readonly [string, number],
  Missing,
  Session.Session
>(true, true, true)
is(SessionField.make("a", Schema.Record({ key: Schema.String, value: Schema.Boolean })))<
  { readonly [x: string]: boolean },
  Missing,
  Session.Session
>(true, true, true)
is(SessionField.make("a", Schema.Array(Schema.NullOr(Schema.Literal("a", "b")))))<
  ReadonlyArray<"a" | "b" | null>,
  Missing,
  Session.Session
>(true, true, true)
is(SessionField.make("a", Point))<Point, Missing, Session.Session>(true, true, true)
is(SessionField.make("a", Tree))<Tree, Missing, Session.Session>(true, true, true)
is(SessionField.make("a", Json))<Session.Json, Missing, Session.Session>(true, true, true)
is(SessionField.make("a", Schema.BigInt))<bigint, Missing, Session.Session>(true, true, true)
is(SessionField.make("a", Schema.Map({ key: Schema.String, value: Schema.Number })))<
  Map<string, number>,
  Missing,
  Session.Session
>(true, true, true)
is(SessionField.make("a", Schema.Option(Schema.String)))<Option.Option<string>, Missing, Session.Session>(
  true,
  true,
  true
)
is(SessionField.make("a", Schema.Duration))<Duration.Duration, Missing, Session.Session>(true, true, true)
const UserId = Schema.String.pipe(Schema.brand("UserId"))
is(SessionField.make("a", UserId))<typeof UserId.Type, Missing, Session.Session>(true, true, true)

// @ts-expect-error a Date is not JSON
SessionField.make("a", Schema.DateFromSelf)
// @ts-expect-error a Date is not JSON, deep down neither
SessionField.make("a", Schema.Struct({ list: Schema.Array(Schema.DateFromSelf) }))
// @ts-expect-error nor with a default
SessionField.make("a", Schema.DateFromSelf, { default: () => new Date(0) })
// @ts-expect-error a bigint is not JSON
SessionField.make("a", Schema.BigIntFromSelf)
// @ts-expect-error a Date is not JSON, beside JSON neither
SessionField.make("a", Schema.Union(Json, Schema.DateFromSelf))
// @ts-expect-error a Date is not JSON, and may be left out or not
SessionField.make("a", Schema.Struct({ at: Schema.optional(Schema.DateFromSelf) }))
// @ts-expect-error a symbol is not JSON
SessionField.make("a", Schema.SymbolFromSelf)
// @ts-expect-error undefined is not JSON
SessionField.make("a", Schema.UndefinedOr(Schema.String))
// @ts-expect-error a Map is not JSON
SessionField.make("a", Schema.MapFromSelf({ key: Schema.String, value: Schema.Number }))
// @ts-expect-error a Set is not JSON
SessionField.make("a", Schema.SetFromSelf(Schema.String))
// @ts-expect-error an Option is not JSON
SessionField.make("a", Schema.OptionFromSelf(Schema.String))
// @ts-expect-error bytes are not JSON
SessionField.make("a", Schema.Uint8ArrayFromSelf)
// @ts-expect-error a class instance is not JSON
SessionField.make("a", Schema.instanceOf(URL))
// @ts-expect-error a class instance is not JSON
SessionField.make("a", Schema.typeSchema(Point))
// @ts-expect-error a function is not JSON
SessionField.make("a", Schema.declare((u): u is () => void => typeof u === "function"))
// @ts-expect-error what is unknown may be anything
SessionField.make("a", Schema.Unknown)
// @ts-expect-error a schema that needs a service can't be decoded here
SessionField.make("a", Schema.String as Schema.Schema<string, string, Database>)

// ------------------------------------------------------------------------------------------------------- wrong options

// @ts-expect-error no such option
SessionField.make("a", Schema.String, { initial: () => "" })
// @ts-expect-error a default is a function
SessionField.make("a", Schema.String, { default: "" })
// @ts-expect-error a default is of the field's type
SessionField.make("a", Schema.String, { default: () => 1 })
// @ts-expect-error keep or remove
SessionField.make("a", Schema.String, { onRenew: "drop" })
// @ts-expect-error no such option
CookieState.layer({ key: "session" })
// @ts-expect-error no such choice
CookieState.layer({ sameSite: "Lax" })
// @ts-expect-error no such option
MemoryStore.layer({ size: 1 })
// @ts-expect-error no such option
SessionPolicy.layer({ timeout: "1 hour" })
// @ts-expect-error no such choice
SessionPolicy.layer({ onStoreFailure: "ignore" })
// @ts-expect-error the folder is asked for
FileStore.layer({})
// X17: the value is the token's, and no attribute
// @ts-expect-error no such attribute
CookieState.attributes({ value: "mine" })

// --------------------------------------------------------------------------------------------------- the session's verbs

equal<Session.Session["Type"], Ref.Ref<Session.Data>>(true)
is(Session.Session)<Ref.Ref<Session.Data>, never, Session.Session>(true, true, true)
is(Session.id)<SessionToken.SessionId, never, Session.Session>(true, true, true)
is(Session.isNew)<boolean, never, Session.Session>(true, true, true)
is(Session.renew)<void, never, Session.Session>(true, true, true)
is(Session.destroy)<void, never, Session.Session>(true, true, true)
is(Session.ignoreChanges)<void, never, Session.Session>(true, true, true)
is(Session.expireIn("1 hour"))<void, never, Session.Session>(true, true, true)
is(Session.load)<Session.Data, Store.StoreError, Session.Session>(true, true, true)
is(Session.reload)<Session.Data, Saving, Session.Session>(true, true, true)
is(Session.commit)<void, Saving | Session.HeadSent, Session.Session>(true, true, true)
is(Session.token)<SessionToken.Token, Saving | Session.HeadSent, Session.Session>(true, true, true)
is(Session.outcome)<Session.Outcome, never, Session.Session>(true, true, true)
equal<typeof Session.watch, Stream.Stream<Session.Data, Saving, Session.Session>>(true)
is(Session.transaction((data) => [data["a"] === 1, data]))<boolean, Saving, Session.Session>(true, true, true)

is(Session.get)<Session.Data, never, Session.Session>(true, true, true)
is(Session.set({ a: 1 }))<void, never, Session.Session>(true, true, true)
is(Session.update((data) => ({ ...data, a: 1 })))<void, never, Session.Session>(true, true, true)
is(Session.modify((data) => [data["a"] === 1, data]))<boolean, never, Session.Session>(true, true, true)
is(Session.updateAndGet((data) => data))<Session.Data, never, Session.Session>(true, true, true)
is(Session.getAndUpdate((data) => data))<Session.Data, never, Session.Session>(true, true, true)
is(Session.info)<Session.Info, never, Session.Session>(true, true, true)
is(Session.expireByPolicy)<void, never, Session.Session>(true, true, true)
equal<Session.Info["createdAt"], Option.Option<number>>(true)
equal<Session.Info["subject"], Option.Option<string>>(true)
equal<Session.Info["id"], SessionToken.SessionId>(true)
// @ts-expect-error a Date is not JSON
Session.set({ at: new Date() })
// @ts-expect-error a Date is not JSON
Session.update((data) => ({ ...data, at: new Date() }))
// @ts-expect-error a Map is not JSON
Session.modify((data) => [1, { ...data, map: new Map() }])
// @ts-expect-error the function gives the data back
Session.updateAndGet(() => {})

declare const handedOn: SessionToken.Token
const onToken = Session.withToken(handedOn)
is(onToken(Session.get))<Session.Data, Saving | Session.HeadSent, State.State | Store.Store>(true, true, true)
is(onToken(Effect.zipRight(Database, new Boom())))<
  never,
  Boom | Saving | Session.HeadSent,
  Database | State.State | Store.Store
>(true, true, true)
is(Effect.zipRight(Visits, Database).pipe(Session.withToken(handedOn), Effect.provide(everything)))<
  Database,
  Saving | Session.HeadSent | ConfigError.ConfigError,
  never
>(true, true, true)
// @ts-expect-error a token is asked for, not a text
Session.withToken("a")

Effect.flatMap(Session.Session, (session) => {
  is(Ref.get(session))<Session.Data, never, never>(true, true, true)
  // @ts-expect-error a function is not JSON
  return Ref.set(session, { f: () => 1 })
})
// @ts-expect-error a Date is not JSON
Effect.flatMap(Session.Session, Ref.update((data) => ({ ...data, at: new Date() })))
// @ts-expect-error what is read can't be changed in place
Effect.map(Session.load, (data) => data["a"] = 1)

const plain = SessionToken.fromString("a")
// @ts-expect-error a token is not a string that could be printed
const printed: string = plain
// S02: what a token is drawn from is told nothing but how many bytes
equal<SessionToken.Generator["Type"], (size: number) => Uint8Array>(true)

// ------------------------------------------------------------------------------------------------------ named sessions

class Admin extends Session.Tag<Admin>()("types-admin") {}

const admin = Session.verbs(Admin)
const Level = SessionField.make("level", Schema.Int, { default: () => 0, session: Admin })
const Name = SessionField.make("name", Schema.String, { session: Admin })

equal<typeof Level, SessionField.SessionField<number, never, Admin>>(true)
equal<typeof Name, SessionField.SessionField<string, Missing, Admin>>(true)
is(Level)<number, never, Admin>(true, true, true)
is(SessionField.set(Level, 1))<void, never, Admin>(true, true, true)
is(SessionField.ref(Level))<Ref.Ref<number>, never, Admin>(true, true, true)
is(admin.renew)<void, never, Admin>(true, true, true)
is(admin.commit)<void, Saving | Session.HeadSent, Admin>(true, true, true)
is(admin.get)<Session.Data, never, Admin>(true, true, true)
is(admin.set({ a: 1 }))<void, never, Admin>(true, true, true)
is(admin.update((data) => data))<void, never, Admin>(true, true, true)
is(admin.modify((data) => [data["a"] === 1, data]))<boolean, never, Admin>(true, true, true)
is(admin.updateAndGet((data) => data))<Session.Data, never, Admin>(true, true, true)
is(admin.getAndUpdate((data) => data))<Session.Data, never, Admin>(true, true, true)
is(admin.info)<Session.Info, never, Admin>(true, true, true)
is(admin.expireByPolicy)<void, never, Admin>(true, true, true)
is(admin.withToken(handedOn)(Effect.zip(Level, Visits)))<
  [number, number],
  Saving | Session.HeadSent,
  Session.Session | State.State | Store.Store
>(true, true, true)
is(CookieState.attributes({ maxAge: "1 day" }))<void, ConfigError.ConfigError, Session.Session>(true, true, true)
is(CookieState.attributes({ maxAge: "1 day" }, Admin))<void, ConfigError.ConfigError, Admin>(true, true, true)
is(SessionField.struct({ name: Name, level: SessionField.option(Level) }))<
  { readonly name: string; readonly level: Option.Option<number> },
  Missing,
  Admin
>(true, true, true)
// @ts-expect-error a struct is read and written in one session
SessionField.struct({ visits: Visits, level: Level })

const adminApp = Effect.as(Effect.zip(Level, Visits), HttpServerResponse.empty())
equal<typeof adminApp, Effect.Effect<HttpServerResponse.HttpServerResponse, never, Admin | Session.Session>>(true)
const half = HttpMiddleware.session(adminApp)
equal<typeof half, HttpApp.Default<never, Admin | State.State | Store.Store>>(true)
const adminLayers = HttpMiddleware.layerSession(Admin, [CookieState.layer(), MemoryStore.layer()])
equal<typeof adminLayers, Layer.Layer<HttpMiddleware.SessionMiddleware<Admin>, ConfigError.ConfigError>>(true)
const adminLayersMerged = HttpMiddleware.layerSession(Admin, Layer.merge(MemoryStore.layer(), CookieState.layer()))
equal<typeof adminLayersMerged, Layer.Layer<HttpMiddleware.SessionMiddleware<Admin>, ConfigError.ConfigError>>(true)
const adminOnly = HttpMiddleware.sessionOf(Admin)(adminApp)
equal<typeof adminOnly, HttpApp.Default<never, Session.Session | HttpMiddleware.SessionMiddleware<Admin>>>(true)
const bothSessions = HttpMiddleware.session(adminOnly)
equal<
  typeof bothSessions,
  HttpApp.Default<never, HttpMiddleware.SessionMiddleware<Admin> | State.State | Store.Store>
>(true)
// @ts-expect-error the layers of a named session are a State and a Store
HttpMiddleware.layerSession(Admin, MemoryStore.layer())

// ------------------------------------------------------------------------------------------------------------ in tests

const tested = Effect.zip(Visits, User).pipe(Effect.provide(Session.layerTest({ visits: 1 })))
is(tested)<[number, string], Missing, never>(true, true, true)
equal<ReturnType<typeof Session.layerTest<never, never, never>>, Layer.Layer<Session.Session>>(true)

const seeded = Session.layerTest(Effect.zipRight(SessionField.set(Visits, 1), Effect.zipRight(Database, new Boom())))
equal<typeof seeded, Layer.Layer<Session.Session, Boom, Database>>(true)
const unseeded = Session.layerTest()
equal<typeof unseeded, Layer.Layer<Session.Session>>(true)
// @ts-expect-error a seed is JSON
Session.layerTest({ at: new Date() })

// -------------------------------------------------------------------------------------------------------------- layers

equal<ReturnType<typeof CookieState.layer>, Layer.Layer<State.State, ConfigError.ConfigError>>(true)
equal<ReturnType<typeof MemoryStore.layer>, Layer.Layer<Store.Store | Sessions.Sessions, ConfigError.ConfigError>>(true)
equal<ReturnType<typeof SessionPolicy.layer>, Layer.Layer<never, ConfigError.ConfigError>>(true)

// ---------------------------------------------------------------------------------------------------- sessions of people

is(Sessions.revoke("id"))<boolean, Store.StoreError, Sessions.Sessions>(true, true, true)
is(Sessions.revokeAll("ann", { except: "id" }))<number, Store.StoreError, Sessions.Sessions>(true, true, true)
is(Sessions.keepNewest("ann", 5))<number, Store.StoreError, Sessions.Sessions>(true, true, true)
is(Sessions.count("ann"))<number, Store.StoreError, Sessions.Sessions>(true, true, true)
const listedAnn = Sessions.list("ann")
equal<typeof listedAnn, Stream.Stream<Sessions.Summary, Store.StoreError, Sessions.Sessions>>(true)
const revokedHere = Effect.flatMap(Session.id, Sessions.revoke)
is(revokedHere)<boolean, Store.StoreError, Session.Session | Sessions.Sessions>(true, true, true)

const counted: Effect.Effect<number, unknown> = Effect.provide(Sessions.count("ann"), MemoryStore.layer())
// @ts-expect-error a store that keeps nothing has no sessions to list
const countedNull: Effect.Effect<number, unknown> = Effect.provide(Sessions.count("ann"), NullStore.layer)
// @ts-expect-error a cache can't look sessions up by subject
const countedCache: Effect.Effect<number, unknown> = Effect.provide(Sessions.count("ann"), CacheStore.layer(cache))
// @ts-expect-error sealed sessions are with the clients
const countedSealed: Effect.Effect<number, unknown> = Effect.provide(Sessions.count("ann"), SealedStore.layer(sealed))

declare const cache: Parameters<typeof CacheStore.layer>[0]
declare const sealed: SealedStore.Options

export {
  adminLayers,
  adminLayersMerged,
  bothSessions,
  counted,
  countedCache,
  countedNull,
  countedSealed,
  half,
  handled,
  listedAnn,
  Name,
  needless,
  printed,
  seeded,
  served,
  servedPiped,
  servedRouter,
  total,
  twice,
  unseeded,
  usedThenServed
}

// ------------------------------------------------------------------------------------------------ cross-site requests

is(Csrf.token)<string, never, Session.Session>(true, true, true)
is(Csrf.verify)<void, Csrf.CsrfError, Session.Session | HttpServerRequest.HttpServerRequest>(true, true, true)

is(Csrf.verbs(Admin).token)<string, never, Admin>(true, true, true)
is(Csrf.verbs(Admin).verify)<void, Csrf.CsrfError, Admin | HttpServerRequest.HttpServerRequest>(true, true, true)

// it adds nothing to an app's errors and needs
declare const paying: HttpApp.Default<Boom, Session.Session>
is(Csrf.protect()(paying))<
  HttpServerResponse.HttpServerResponse,
  Boom,
  Session.Session | HttpServerRequest.HttpServerRequest
>(true, true, true)
