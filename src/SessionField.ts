/**
 * One typed key of a session, in the manner of `Config`: a field is an Effect of its value, and the functions of `Ref`
 * work on it. Fields of unrelated modules live side by side in one session; each writes its own key and no other. Knows
 * nothing of HTTP or stores.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Readable from "effect/Readable"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import type { Running } from "./internal/runtime/caller.js"
import { andThen } from "./internal/runtime/exit.js"
import type * as Draft from "./internal/session/draft.js"
import { withData } from "./internal/session/draft.js"
import type { Notes } from "./internal/session/fieldNotes.js"
import * as internal from "./internal/session/handle.js"
import * as Session from "./Session.js"
import { SessionDataError, SessionFieldMissing, type SessionGone } from "./SessionError.js"
import type { StoreError } from "./Store.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  SessionFieldMissing
} from "./SessionError.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("effect-session/SessionField")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * A typed key of the session `S`. Yielding it gives its value; `E` is `never` for a field with a default and
 * `SessionFieldMissing` for one without.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionField<in out A, out E = never, out S = Session.Session> extends Effect.Effect<A, E, S> {
  readonly [TypeId]: {
    readonly _A: Types.Invariant<A>
    readonly _E: Types.Covariant<E>
    readonly _S: Types.Covariant<S>
  }
  /** The keys of the session's data that it reads and writes. */
  readonly keys: ReadonlyArray<string>
}

/**
 * @since 0.1.0
 * @category models
 */
export declare namespace SessionField {
  /**
   * A field of any kind.
   *
   * @since 0.1.0
   * @category models
   */
  export type Any = Effect.Effect<unknown, unknown, unknown> & {
    readonly [TypeId]: unknown
    readonly keys: ReadonlyArray<string>
  }

  /**
   * @since 0.1.0
   * @category models
   */
  export type Value<F> = F extends SessionField<infer A, infer _E, infer _S> ? A : never

  /**
   * @since 0.1.0
   * @category models
   */
  export type Error<F> = F extends SessionField<infer _A, infer E, infer _S> ? E : never

  /**
   * @since 0.1.0
   * @category models
   */
  export type Tag<F> = F extends SessionField<infer _A, infer _E, infer S> ? S : never
}

/**
 * Options of `make`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<A, S> {
  /** What an absent field counts as. Pure, and the same at every call: what must be born once is for `getOrCreate`. */
  readonly default?: (() => A) | undefined
  /** `"remove"`: the value does not survive `Session.renew`, such as a CSRF secret at a login (S16). Default: it does. */
  readonly onRenew?: "keep" | "remove" | undefined
  /** The session that the field belongs to. Default: `Session.Session`. */
  readonly session?: Session.SessionTag<S> | undefined
}

/**
 * What a schema must encode to, to be kept in a session.
 *
 * @since 0.1.0
 * @category models
 */
export type Encodable<I> = [I] extends [Session.Json] ? I
  : I extends string | number | boolean | null ? I
  : I extends ((...args: never) => unknown) | bigint | symbol | undefined | Date ? never
  : I extends object ? { readonly [K in keyof I]: Encodable<Exclude<I[K], undefined>> | Extract<I[K], undefined> }
  : never

/**
 * A schema whose encoded side is JSON; for any other, the type says so.
 *
 * @since 0.1.0
 * @category models
 */
export type JsonSchema<A, I> =
  & Schema.Schema<A, I>
  & ([I] extends [Encodable<I>] ? unknown
    : "the encoded side of this schema is not JSON: transform it, as Schema.Date does, or keep another value")

/**
 * The lens that a field is, over a draft of the session. A field made of others is made of their lenses.
 */
abstract class Lens<A, E, S> extends Effectable.Class<A, E, S> implements SessionField<A, E, S> {
  readonly [TypeId] = variance as unknown as SessionField<A, E, S>[TypeId]
  abstract readonly tag: Session.SessionTag<S>
  abstract readonly keys: ReadonlyArray<string>
  /** The value. One that its schema can't decode counts as missing, and is noted (S61). */
  abstract read(data: Session.Data, notes: Notes): Either.Either<A, SessionFieldMissing>
  /** The draft with the value in it. Throws a `SessionDataError` for one that can't be kept. */
  abstract write(draft: Draft.Draft, value: A, maxSize: number): Draft.Draft
  abstract clear(draft: Draft.Draft): Draft.Draft
  /** The value, with the field's own way out where it is missing. */
  abstract resolve(data: Session.Data, notes: Notes): Either.Either<A, E>

  commit(): Effect.Effect<A, E, S> {
    return get(this)
  }
  override toString(): string {
    return `SessionField(${this.keys.join(", ")})`
  }
  toJSON(): unknown {
    return { _id: "SessionField", keys: this.keys }
  }
  [NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}

const variance = {
  _A: (value: never) => value,
  _E: (error: never) => error,
  _S: (session: never) => session
}

const lensOf = <A, E, S>(field: SessionField<A, E, S>): Lens<A, E, S> => field as unknown as Lens<A, E, S>

class Single<A, I, E, S> extends Lens<A, E, S> {
  readonly keys: ReadonlyArray<string>
  private readonly decode: (value: unknown) => Either.Either<A, unknown>
  private readonly encode: (value: A) => Either.Either<I, { readonly message: string }>

  constructor(
    readonly key: string,
    schema: Schema.Schema<A, I>,
    readonly tag: Session.SessionTag<S>,
    private readonly fallback: (() => A) | undefined,
    private readonly dropOnRenew: boolean
  ) {
    super()
    this.keys = [key]
    this.decode = Schema.decodeUnknownEither(schema)
    this.encode = Schema.encodeEither(schema)
  }

  read(data: Session.Data, notes: Notes): Either.Either<A, SessionFieldMissing> {
    const value = Object.hasOwn(data, this.key) ? data[this.key] : undefined
    if (value === undefined) {
      return Either.left(new SessionFieldMissing({ key: this.key, reason: "Missing" }))
    }
    const decoded = this.decode(value)
    if (decoded._tag === "Right") {
      return decoded as Either.Right<never, A>
    }
    notes.undecodable(this.key)
    return Either.left(new SessionFieldMissing({ key: this.key, reason: "Invalid" }))
  }

  resolve(data: Session.Data, notes: Notes): Either.Either<A, E> {
    if (this.fallback !== undefined && !Object.hasOwn(data, this.key)) {
      return Either.right(this.fallback())
    }
    const read = this.read(data, notes)
    return read._tag === "Left" && this.fallback !== undefined
      ? Either.right(this.fallback())
      : read as Either.Either<A, E>
  }

  write(draft: Draft.Draft, value: A, maxSize: number): Draft.Draft {
    const encoded = this.encode(value)
    if (encoded._tag === "Left") {
      throw new SessionDataError({
        reason: "Invalid",
        path: this.key,
        problem: "the field's schema does not allow this value"
      })
    }
    const marked = this.dropOnRenew && !draft.dropOnRenew.includes(this.key)
      ? { ...draft, dropOnRenew: Object.freeze([...draft.dropOnRenew, this.key]) }
      : draft
    return Object.hasOwn(draft.data, this.key) && Object.is(draft.data[this.key], encoded.right)
      ? marked
      : withData(marked, { ...draft.data, [this.key]: encoded.right }, maxSize)
  }

  clear(draft: Draft.Draft): Draft.Draft {
    if (!Object.hasOwn(draft.data, this.key)) {
      return draft
    }
    const { [this.key]: _, ...rest } = draft.data
    // What is left is no larger than what was accepted before.
    return withData(draft, rest, Number.POSITIVE_INFINITY)
  }
}

class Optional<A, E, S> extends Lens<Option.Option<A>, never, S> {
  readonly keys: ReadonlyArray<string>
  readonly tag: Session.SessionTag<S>

  constructor(readonly field: Lens<A, E, S>) {
    super()
    this.keys = field.keys
    this.tag = field.tag
  }

  read(data: Session.Data, notes: Notes): Either.Either<Option.Option<A>, SessionFieldMissing> {
    return this.resolve(data, notes)
  }

  resolve(data: Session.Data, notes: Notes): Either.Either<Option.Option<A>> {
    return Either.right(Option.getRight(this.field.read(data, notes)))
  }

  write(draft: Draft.Draft, value: Option.Option<A>, maxSize: number): Draft.Draft {
    return Option.isNone(value) ? this.field.clear(draft) : this.field.write(draft, value.value, maxSize)
  }

  clear(draft: Draft.Draft): Draft.Draft {
    return this.field.clear(draft)
  }
}

type Fields = { readonly [key: string]: Lens<unknown, unknown, unknown> }

class Struct extends Lens<{ readonly [key: string]: unknown }, unknown, unknown> {
  readonly keys: ReadonlyArray<string>
  readonly tag: Session.SessionTag<unknown>

  constructor(readonly fields: Fields, first: Lens<unknown, unknown, unknown>) {
    super()
    this.keys = Object.values(fields).flatMap((field) => field.keys)
    this.tag = first.tag
  }

  read(
    data: Session.Data,
    notes: Notes
  ): Either.Either<{ readonly [key: string]: unknown }, SessionFieldMissing> {
    return Either.all(mapValues(this.fields, (field) => field.read(data, notes)))
  }

  resolve(
    data: Session.Data,
    notes: Notes
  ): Either.Either<{ readonly [key: string]: unknown }, unknown> {
    return Either.all(mapValues(this.fields, (field) => field.resolve(data, notes)))
  }

  write(
    draft: Draft.Draft,
    value: { readonly [key: string]: unknown },
    maxSize: number
  ): Draft.Draft {
    return Object.entries(this.fields).reduce((draft, [key, field]) => field.write(draft, value[key], maxSize), draft)
  }

  clear(draft: Draft.Draft): Draft.Draft {
    return Object.values(this.fields).reduce((draft, field) => field.clear(draft), draft)
  }
}

const mapValues = <A, B>(self: { readonly [key: string]: A }, f: (value: A) => B): { readonly [key: string]: B } =>
  Object.fromEntries(Object.entries(self).map(([key, value]) => [key, f(value)]))

/**
 * Whether a value is a field.
 *
 * @since 0.1.0
 * @category guards
 */
export const isSessionField = (value: unknown): value is SessionField<unknown, unknown, unknown> =>
  Predicate.hasProperty(value, TypeId)

/**
 * Makes a field: a key of the session's data and the schema of what is kept there. Data that the schema no longer fits
 * counts as missing, and is logged and counted (S61).
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { SessionField } from "effect-session"
 *
 * const Visits = SessionField.make("visits", Schema.NonNegativeInt, { default: () => 0 })
 * const User = SessionField.make("user", Schema.NonEmptyString)
 * const CsrfSecret = SessionField.make("csrf", Schema.String, { onRenew: "remove" })
 * ```
 */
export const make: {
  <A, I, S = Session.Session>(
    key: string,
    schema: JsonSchema<A, I>,
    options: Options<A, S> & { readonly default: () => A }
  ): SessionField<A, never, S>
  <A, I, S = Session.Session>(
    key: string,
    schema: JsonSchema<A, I>,
    options?: Options<A, S> & { readonly default?: undefined }
  ): SessionField<A, SessionFieldMissing, S>
} = <A, I, S>(
  key: string,
  schema: Schema.Schema<A, I>,
  options?: Options<A, S>
): SessionField<A, never, S> =>
  new Single(
    key,
    schema,
    options?.session ?? Session.Session as unknown as Session.SessionTag<S>,
    options?.default,
    options?.onRenew === "remove"
  )

/**
 * The field as one that may be absent: its value is an `Option`, `none` when it is missing, and setting it to `none`
 * removes it. All functions of this module work on it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const option = <A, E, S>(field: SessionField<A, E, S>): SessionField<Option.Option<A>, never, S> =>
  new Optional(lensOf(field))

/**
 * Several fields of one session as one, read and written together.
 *
 * @since 0.1.0
 * @category constructors
 */
export const struct = <const F extends { readonly [key: string]: SessionField.Any }>(
  fields: F
): SessionField<
  { readonly [K in keyof F]: SessionField.Value<F[K]> },
  SessionField.Error<F[keyof F]>,
  SessionField.Tag<F[keyof F]>
> => {
  const lenses = fields as unknown as Fields
  const first = Object.values(lenses)[0]
  if (first === undefined) {
    throw new TypeError("SessionField.struct: name at least one field")
  }
  return new Struct(lenses, first) as never
}

const use = <A, E, S, B, E2>(
  field: SessionField<A, E, S>,
  f: (session: internal.SessionHandle, lens: Lens<A, E, S>, caller: Running) => Effect.Effect<B, E2>
): Effect.Effect<B, E2, S> => {
  const lens = lensOf(field)
  return Effect.withFiberRuntime<B, E2, S>((caller) => {
    const ref = Context.get(caller.currentContext as Context.Context<S>, lens.tag)
    return andThen(internal.fromRef(ref), (session) => f(session, lens, caller))
  })
}

const changing = <A, E, S, B>(
  field: SessionField<A, E, S>,
  f: (value: A) => readonly [B, A]
): Effect.Effect<B, E, S> =>
  use(field, (session, lens, caller) => andThen(session.change(caller, modifying(session, lens, f)), reported(session)))

/** An answer, once it is reported which stored values had to be passed over. */
const reported = (session: internal.SessionHandle) => <B, E>(either: Either.Either<B, E>): Effect.Effect<B, E> => {
  const { unreported } = session
  if (unreported !== undefined) {
    return Effect.zipRight(unreported.report, either)
  }
  return either._tag === "Right" ? Exit.succeed(either.right) : either
}

/** An update of one field as an update of the draft; a missing value leaves the draft as it is. */
const modifying =
  <A, E, S, B>(session: internal.SessionHandle, lens: Lens<A, E, S>, f: (value: A) => readonly [B, A]) =>
  (draft: Draft.Draft): readonly [Either.Either<B, E>, Draft.Draft] => {
    const value = lens.resolve(draft.data, session)
    if (value._tag === "Left") {
      return [value as Either.Left<E, never>, draft]
    }
    const [answer, next] = f(value.right)
    return [Either.right(answer), lens.write(draft, next, session.maxSize)]
  }

/**
 * The field's value: its default where it is missing, or else the typed `SessionFieldMissing`. The same as yielding it.
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = <A, E, S>(field: SessionField<A, E, S>): Effect.Effect<A, E, S> =>
  use(
    field,
    (session, lens, caller) => session.within(caller, () => reported(session)(lens.resolve(session.data, session)))
  )

/**
 * The field's value, or an error of your own where it is missing: a guard in one line.
 *
 * @since 0.1.0
 * @category accessors
 * @example
 * ```ts
 * import { Data, Schema } from "effect"
 * import { SessionField } from "effect-session"
 *
 * class Unauthorized extends Data.TaggedError("Unauthorized") {}
 * const User = SessionField.make("user", Schema.NonEmptyString)
 *
 * const currentUser = SessionField.getOrFail(User, () => new Unauthorized())
 * ```
 */
export const getOrFail: {
  <E2>(onMissing: () => E2): <A, E, S>(field: SessionField<A, E, S>) => Effect.Effect<A, E2, S>
  <A, E, S, E2>(field: SessionField<A, E, S>, onMissing: () => E2): Effect.Effect<A, E2, S>
} = dual(
  2,
  <A, E, S, E2>(field: SessionField<A, E, S>, onMissing: () => E2): Effect.Effect<A, E2, S> =>
    Effect.mapError(get(field), onMissing)
)

/**
 * Sets the field, and no other. Dies with a `SessionDataError` if the schema does not allow the value.
 *
 * @since 0.1.0
 * @category combinators
 */
export const set: {
  <A>(value: A): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<void, never, S>
  <A, E, S>(field: SessionField<A, E, S>, value: A): Effect.Effect<void, never, S>
} = dual(
  2,
  <A, E, S>(field: SessionField<A, E, S>, value: A): Effect.Effect<void, never, S> =>
    use(
      field,
      (session, lens, caller) =>
        session.change(caller, (draft) => [undefined, lens.write(draft, value, session.maxSize)])
    )
)

/**
 * Updates the field by a pure function, which is run again if another request changed the session first.
 *
 * @since 0.1.0
 * @category combinators
 */
export const update: {
  <A>(f: (value: A) => A): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<void, E, S>
  <A, E, S>(field: SessionField<A, E, S>, f: (value: A) => A): Effect.Effect<void, E, S>
} = dual(
  2,
  <A, E, S>(field: SessionField<A, E, S>, f: (value: A) => A): Effect.Effect<void, E, S> =>
    changing(field, (value) => [undefined, f(value)])
)

/**
 * `update`, giving the new value, as it is in this request.
 *
 * @since 0.1.0
 * @category combinators
 */
export const updateAndGet: {
  <A>(f: (value: A) => A): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<A, E, S>
  <A, E, S>(field: SessionField<A, E, S>, f: (value: A) => A): Effect.Effect<A, E, S>
} = dual(
  2,
  <A, E, S>(field: SessionField<A, E, S>, f: (value: A) => A): Effect.Effect<A, E, S> =>
    changing(field, (value) => {
      const next = f(value)
      return [next, next]
    })
)

/**
 * `update`, giving the value before it, as it was in this request.
 *
 * @since 0.1.0
 * @category combinators
 */
export const getAndUpdate: {
  <A>(f: (value: A) => A): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<A, E, S>
  <A, E, S>(field: SessionField<A, E, S>, f: (value: A) => A): Effect.Effect<A, E, S>
} = dual(
  2,
  <A, E, S>(field: SessionField<A, E, S>, f: (value: A) => A): Effect.Effect<A, E, S> =>
    changing(field, (value) => [value, f(value)])
)

/**
 * `set`, giving the value before it. A field that is missing and has no default fails and is not set: use `set`, or
 * `option`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const getAndSet: {
  <A>(value: A): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<A, E, S>
  <A, E, S>(field: SessionField<A, E, S>, value: A): Effect.Effect<A, E, S>
} = dual(
  2,
  <A, E, S>(field: SessionField<A, E, S>, value: A): Effect.Effect<A, E, S> =>
    changing(field, (before) => [before, value])
)

/**
 * Updates the field and answers by one pure function. The answer rests on the data that this request read: if another
 * request changes the session first, the update is replayed on its data and lands, but the answer was given already.
 * Where it must be of the value that landed, use `transaction`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const modify: {
  <A, B>(f: (value: A) => readonly [B, A]): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<B, E, S>
  <A, E, S, B>(field: SessionField<A, E, S>, f: (value: A) => readonly [B, A]): Effect.Effect<B, E, S>
} = dual(2, changing)

/**
 * Removes the field.
 *
 * @since 0.1.0
 * @category combinators
 */
export const remove = <A, E, S>(field: SessionField<A, E, S>): Effect.Effect<void, never, S> =>
  use(field, (session, lens, caller) => session.change(caller, (draft) => [undefined, lens.clear(draft)]))

/**
 * Reads the field and removes it: a message that is shown once. Where it may be absent, take `option(field)`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const take = <A, E, S>(field: SessionField<A, E, S>): Effect.Effect<A, E, S> =>
  use(field, (session, lens, caller) =>
    Effect.flatMap(
      session.change(caller, (draft) => [lens.resolve(draft.data, session), lens.clear(draft)]),
      reported(session)
    ))

/**
 * The field's value, or, where it is missing, the one that `make` gives, kept at once by a transaction: of any number of
 * requests in parallel all get the same. Fails with `SessionGone` where the session is over.
 *
 * @since 0.1.0
 * @category combinators
 */
export const getOrCreate: {
  <A, E2, R>(
    make: Effect.Effect<A, E2, R>
  ): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<A, E2 | StoreError | SessionGone, R | S>
  <A, E, S, E2, R>(
    field: SessionField<A, E, S>,
    make: Effect.Effect<A, E2, R>
  ): Effect.Effect<A, E2 | StoreError | SessionGone, R | S>
} = dual(
  2,
  <A, E, S, E2, R>(
    field: SessionField<A, E, S>,
    make: Effect.Effect<A, E2, R>
  ): Effect.Effect<A, E2 | StoreError | SessionGone, R | S> =>
    Effect.flatMap(
      use(field, (session, lens) =>
        Effect.flatMap(session.load, (data) =>
          reported(session)(Either.right(lens.read(data, session))))),
      (read) =>
        read._tag === "Right" ?
          Effect.succeed(read.right) :
          Effect.flatMap(make, (value) =>
            use(field, (session, lens) =>
              session.transaction((draft) => {
                const there = lens.read(draft.data, session)
                return there._tag === "Right"
                  ? [there.right, draft]
                  : [value, lens.write(draft, value, session.maxSize)]
              })))
    )
)

/**
 * Acts on the final value of the field, as `Session.transaction` does on the session's.
 *
 * @since 0.1.0
 * @category combinators
 */
export const transaction: {
  <A, B>(
    f: (value: A) => readonly [B, A]
  ): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<B, E | StoreError | SessionGone, S>
  <A, E, S, B>(
    field: SessionField<A, E, S>,
    f: (value: A) => readonly [B, A]
  ): Effect.Effect<B, E | StoreError | SessionGone, S>
} = dual(
  2,
  <A, E, S, B>(
    field: SessionField<A, E, S>,
    f: (value: A) => readonly [B, A]
  ): Effect.Effect<B, E | StoreError | SessionGone, S> =>
    use(field, (session, lens) => Effect.flatMap(session.transaction(modifying(session, lens, f)), reported(session)))
)

class FocusedRef<A, S> extends Effectable.Class<A> implements Ref.Ref<A> {
  readonly [Ref.RefTypeId] = refVariance as unknown as Ref.Ref.Variance<A>[Ref.RefTypeId]
  readonly [Readable.TypeId]: Readable.TypeId = Readable.TypeId

  constructor(readonly session: internal.SessionHandle, readonly lens: Lens<A, never, S>) {
    super()
  }
  get get(): Effect.Effect<A> {
    return Effect.flatMap(
      this.session.get,
      (data) => reported(this.session)(this.lens.resolve(data, this.session))
    )
  }
  commit(): Effect.Effect<A> {
    return this.get
  }
  modify<B>(f: (value: A) => readonly [B, A]): Effect.Effect<B> {
    return Effect.withFiberRuntime((caller) =>
      andThen(this.session.change(caller, modifying(this.session, this.lens, f)), reported(this.session))
    )
  }
}

const refVariance = { _A: (value: never) => value }

/**
 * A `Ref` of the field alone, for code that knows nothing of sessions. The field has a default, or is an `option`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const ref = <A, S>(field: SessionField<A, never, S>): Effect.Effect<Ref.Ref<A>, never, S> =>
  use(field, (session, lens) => Effect.succeed(new FocusedRef(session, lens)))
