/**
 * Passwords are kept as Argon2id hashes, by the parameters that OWASP advises and the library has as its defaults: 19 MiB,
 * two passes. Each takes some tens of milliseconds, on a thread of the library's own.
 */
import * as Argon2 from "@node-rs/argon2"
import { Effect, Redacted } from "effect"

export type Password = Redacted.Redacted

export const hash = (password: Password): Effect.Effect<string> =>
  Effect.promise(() => Argon2.hash(Redacted.value(password)))

export const verify = (hashed: string, password: Password): Effect.Effect<boolean> =>
  Effect.promise(() => Argon2.verify(hashed, Redacted.value(password)))
