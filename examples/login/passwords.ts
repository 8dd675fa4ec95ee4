/**
 * Passwords are kept as Argon2id hashes, by the parameters that OWASP advises and the library has as its defaults: 19 MiB,
 * two passes. Each takes some tens of milliseconds, on one of the four threads that Node.js also reads files with. Two at a
 * time leave the others free.
 */
import * as Argon2 from "@node-rs/argon2"
import { Effect, Redacted } from "effect"

export type Password = Redacted.Redacted

const twoAtATime = Effect.unsafeMakeSemaphore(2).withPermits(1)

export const hash = (password: Password): Effect.Effect<string> =>
  twoAtATime(Effect.promise(() => Argon2.hash(Redacted.value(password))))

export const verify = (hashed: string, password: Password): Effect.Effect<boolean> =>
  twoAtATime(Effect.promise(() => Argon2.verify(hashed, Redacted.value(password))))
