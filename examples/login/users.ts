/**
 * Who has an account, in one JSON file. It is written beside its place and then renamed, so that a crash leaves the old
 * file or the new one. It is read anew each time: simple, and fast enough for an example. The password's hash never
 * leaves this module.
 */
import { FileSystem, Path } from "@effect/platform"
import { Config, Context, Data, DateTime, Effect, Layer, Option, Redacted, Schema } from "effect"
import * as passwords from "./passwords.js"

export class User extends Schema.Class<User>("User")({
  /** What a session's subject is. It stays, also if the email address changes. */
  id: Schema.NonEmptyString,
  email: Schema.NonEmptyString,
  since: Schema.DateTimeUtc
}) {}

/** An account as the file has it. */
const Account = Schema.Struct({ user: User, hash: Schema.NonEmptyString })
type Account = typeof Account.Type

const Accounts = Schema.parseJson(Schema.Array(Account), { space: 2 })

export class EmailTaken extends Data.TaggedError("EmailTaken") {}

export class Users extends Context.Tag("examples/login/Users")<Users, {
  readonly byId: (id: string) => Effect.Effect<Option.Option<User>>
  readonly byEmail: (email: string) => Effect.Effect<Option.Option<User>>
  /** Whether it is the user's password. That there is no such user takes as long to find out as a wrong password. */
  readonly isPassword: (user: Option.Option<User>, password: passwords.Password) => Effect.Effect<boolean>
  readonly add: (email: string, password: passwords.Password) => Effect.Effect<User, EmailTaken>
  readonly remove: (id: string) => Effect.Effect<void>
}>() {}

/** One address is one account, however it is written. */
export const canonical = (email: string): string => email.trim().toLowerCase()

const make = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.resolve(yield* Config.string("USERS").pipe(Config.withDefault(".login/users.json")))
  yield* fs.makeDirectory(path.dirname(file), { recursive: true, mode: 0o700 })

  const read: Effect.Effect<ReadonlyArray<Account>> = fs.readFileString(file).pipe(
    Effect.catchIf((error) => error._tag === "SystemError" && error.reason === "NotFound", () => Effect.succeed("[]")),
    Effect.flatMap(Schema.decode(Accounts)),
    Effect.orDie
  )

  const write = (accounts: ReadonlyArray<Account>): Effect.Effect<void> =>
    Effect.gen(function*() {
      const beside = `${file}.${crypto.randomUUID()}`
      yield* fs.writeFileString(beside, yield* Schema.encode(Accounts)(accounts), { mode: 0o600, flag: "wx" })
      yield* fs.rename(beside, file)
    }).pipe(Effect.uninterruptible, Effect.orDie)

  const find = (f: (user: User) => boolean): Effect.Effect<Option.Option<Account>> =>
    Effect.map(read, (accounts) => Option.fromNullable(accounts.find(({ user }) => f(user))))

  const findUser = (f: (user: User) => boolean): Effect.Effect<Option.Option<User>> =>
    Effect.map(find(f), Option.map(({ user }) => user))

  const inTurn = (yield* Effect.makeSemaphore(1)).withPermits(1)
  const nobody = yield* passwords.hash(Redacted.make(crypto.randomUUID()))

  return Users.of({
    byId: (id) => findUser((user) => user.id === id),
    byEmail: (email) => findUser((user) => user.email === canonical(email)),
    isPassword: (user, password) =>
      Effect.gen(function*() {
        const id = Option.getOrUndefined(Option.map(user, ({ id }) => id))
        const account = yield* find((user) => user.id === id)
        const hash = Option.match(account, { onNone: () => nobody, onSome: ({ hash }) => hash })
        return (yield* passwords.verify(hash, password)) && Option.isSome(account)
      }),
    add: (email, password) =>
      Effect.gen(function*() {
        const hash = yield* passwords.hash(password)
        const user = new User({ id: crypto.randomUUID(), email: canonical(email), since: yield* DateTime.now })
        return yield* inTurn(Effect.gen(function*() {
          const accounts = yield* read
          if (accounts.some((account) => account.user.email === user.email)) return yield* new EmailTaken()
          yield* write([...accounts, { user, hash }])
          return user
        }))
      }),
    remove: (id) => inTurn(Effect.flatMap(read, (accounts) => write(accounts.filter(({ user }) => user.id !== id))))
  })
})

export const layer = Layer.effect(Users, make)
