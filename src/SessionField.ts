/**
 * Typed keys of a session, in the manner of `Config`: a field is an Effect of its value, and has functions like those
 * of `Ref`. Fields of unrelated modules live side by side in one session, and each writes only its own key. The module
 * knows nothing of HTTP or stores.
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
 * A typed key of the session `S`. Yielding it gives its value. The error type is `never` for a field with a default,
 * and `SessionFieldMissing` for a field without one.
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
  /** The keys of the session's data that the field reads and writes. */
  readonly keys: ReadonlyArray<string>
}

/**
 * Types of fields.
 *
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
   * The type of a field's value.
   *
   * @since 0.1.0
   * @category models
   */
  export type Value<F> = F extends SessionField<infer A, infer _E, infer _S> ? A : never

  /**
   * The type of a field's error.
   *
   * @since 0.1.0
   * @category models
   */
  export type Error<F> = F extends SessionField<infer _A, infer E, infer _S> ? E : never

  /**
   * The session that a field belongs to.
   *
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
  /**
   * The value of a field that is missing. The function is pure and returns the same value each time; use `getOrCreate`
   * for a value that is made once. Default: reading a missing field fails with `SessionFieldMissing`.
   */
  readonly default?: (() => A) | undefined
  /**
   * What `Session.renew` and `Session.login` do to the value. Use `remove` for secrets that a login has to end. Default
   * `keep`. The session remembers it when the field is set. A value that was put into the session otherwise, as by
   * `Session.update` or by a release of the app without this option, is kept until the field is set.
   */
  readonly onRenew?: "keep" | "remove" | undefined
  /** The session that the field belongs to. Default: `Session.Session`. */
  readonly session?: Session.SessionTag<S> | undefined
}

/**
 * The JSON part of an encoded type: what a schema must encode to, so that its values can be kept in a session.
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
 * A schema whose encoded side is JSON. For any other schema, the compiler's message says what to do.
 *
 * @since 0.1.0
 * @category models
 */
export type JsonSchema<A, I> =
  & Schema.Schema<A, I>
  & ([I] extends [Encodable<I>] ? unknown
    : "the encoded side of this schema is not JSON: transform it, as Schema.Date does, or keep another value")

/**
 * What a field must be besides if its value may not be missing. For any other field, the compiler's message says what to
 * do.
 *
 * @since 0.1.0
 * @category models
 */
export type NeverMissing<E> = [E] extends [never] ? unknown
  : "this field can be missing: give it a default, or use SessionField.option(field)"

/**
 * What the fields of a struct must be besides: of one session. For others, the compiler's message says what to do.
 *
 * @since 0.1.0
 * @category models
 */
export type OfOneSession<F> = {
  readonly [K in keyof F]: [SessionField.Tag<F[keyof F]>] extends [SessionField.Tag<F[K]>] ? unknown
    : "these fields are of several sessions: make one struct for each session"
}

/**
 * What a field is inside: a lens over a draft of the session. `Struct` and `Optional` are made of other lenses.
 */
abstract class Lens<A, E, S> extends Effectable.Class<A, E, S> implements SessionField<A, E, S> {
  readonly [TypeId] = variance as unknown as SessionField<A, E, S>[TypeId]
  abstract readonly tag: Session.SessionTag<S>
  abstract readonly keys: ReadonlyArray<string>
  /** The stored value. A value that the schema can't decode counts as missing, and is noted (S61). */
  abstract read(data: Session.Data, notes: Notes): Either.Either<A, SessionFieldMissing>
  /** The draft with the value in it. Throws a `SessionDataError` for a value that can't be kept. */
  abstract write(draft: Draft.Draft, value: A, maxSize: number): Draft.Draft
  abstract clear(draft: Draft.Draft): Draft.Draft
  /** The value as the field's reader gets it: the default, `none` or the error if it is missing. */
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
    // The rest of the data was within the limit before, so its size is not checked.
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
 * Makes a field of a key and the schema of its value. A stored value that its schema no longer accepts counts as
 * missing; that is logged as a warning and counted.
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
 * const Code = SessionField.make("code", Schema.String, { onRenew: "remove" })
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
 * A field that may be missing: its value is an `Option`. The value is `none` if the field is missing, and setting it to
 * `none` removes the field. All functions of this module work on it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const option = <A, E, S>(field: SessionField<A, E, S>): SessionField<Option.Option<A>, never, S> =>
  new Optional(lensOf(field))

/**
 * Several fields of one session as one field, whose value is a struct. They are read and written together. Throws a
 * `TypeError` for no fields, for two of one key, and for fields of several sessions.
 *
 * @since 0.1.0
 * @category constructors
 */
export const struct = <const F extends { readonly [key: string]: SessionField.Any }>(
  fields: F & OfOneSession<F>
): SessionField<
  { readonly [K in keyof F]: SessionField.Value<F[K]> },
  SessionField.Error<F[keyof F]>,
  SessionField.Tag<F[keyof F]>
> => {
  const lenses = fields as unknown as Fields
  const first = Object.values(lenses)[0]
  if (first === undefined) {
    throw new TypeError("SessionField.struct was given no fields. Name at least one field.")
  }
  const foreign = Object.values(lenses).find(({ tag }) => tag.key !== first.tag.key)
  if (foreign !== undefined) {
    throw new TypeError(
      `SessionField.struct was given fields of several sessions: ${first} and ${foreign}. Make one struct for each session.`
    )
  }
  const struct = new Struct(lenses, first)
  const repeated = struct.keys.find((key, index) => struct.keys.indexOf(key) < index)
  if (repeated !== undefined) {
    throw new TypeError(
      `SessionField.struct was given two fields of the key ${JSON.stringify(repeated)}. Name one of them.`
    )
  }
  return struct as never
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

/** Reports the stored values that could not be decoded, and then gives the answer. */
const reported = (session: internal.SessionHandle) => <B, E>(either: Either.Either<B, E>): Effect.Effect<B, E> => {
  const { unreported } = session
  if (unreported !== undefined) {
    return Effect.zipRight(unreported.report, either)
  }
  return either._tag === "Right" ? Exit.succeed(either.right) : either
}

/** Turns an update of one field into an update of the draft. If the value is missing, the draft stays as it is. */
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
 * The field's value. If it is missing, the field's default, or a `SessionFieldMissing` if it has none. Yielding the
 * field does the same.
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
 * The field's value, or an error of your own if it is missing: a guard in one line.
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
 * Sets the field. Other fields stay as they are. Dies with a `SessionDataError` if the schema does not allow the value.
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
 * Updates the field by a pure function, which runs again on the latest value if another request saves first.
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
 * Updates the field and gives the new value, as it is in this request.
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
 * Updates the field and gives the value before, as it was in this request.
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
 * Sets the field and gives the value before. If the field is missing and has no default, this fails and sets nothing:
 * use `set`, or `option`.
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
 * Updates the field and computes an answer by one pure function. The answer is computed from the value that this
 * request read. If another request saves first, the update runs again on its value, but the answer stays the same. If
 * the answer must fit the value that is saved, use `transaction`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const modify: {
  <A, B>(f: (value: A) => readonly [B, A]): <E, S>(field: SessionField<A, E, S>) => Effect.Effect<B, E, S>
  <A, E, S, B>(field: SessionField<A, E, S>, f: (value: A) => readonly [B, A]): Effect.Effect<B, E, S>
} = dual(2, changing)

/**
 * Removes the field from the session.
 *
 * @since 0.1.0
 * @category combinators
 */
export const remove = <A, E, S>(field: SessionField<A, E, S>): Effect.Effect<void, never, S> =>
  use(field, (session, lens, caller) => session.change(caller, (draft) => [undefined, lens.clear(draft)]))

/**
 * Reads the field and removes it, such as a message that is shown once. Use `take(option(field))` if it may be missing.
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
 * The field's value. If it is missing, `make` runs and its value is saved at once, in a transaction. Of any number of
 * parallel requests, all get the same value. Fails with `SessionGone` if the session has ended.
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
 * Runs `f` on the latest stored value of the field and saves the result atomically, with this request's pending
 * updates. If another request saves first, `f` runs again; you get the result of the run that was saved. See
 * `Session.transaction`.
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
 * A `Ref` of the field alone, for code that knows nothing of sessions. The field must have a default, or be an
 * `option`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const ref = <A, E, S>(field: SessionField<A, E, S> & NeverMissing<E>): Effect.Effect<Ref.Ref<A>, never, S> =>
  use(
    field as unknown as SessionField<A, never, S>,
    (session, lens) => Effect.succeed(new FocusedRef(session, lens))
  )
