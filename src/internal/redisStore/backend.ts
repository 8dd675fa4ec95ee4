/**
 * Redis as a backend of sessions: each operation is one command, and one more where a subject's list changes. The
 * module knows how keys are named, and nothing of how a client sends commands.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as StoreBackend from "../../StoreBackend.js"
import { repeatedToken } from "../options.js"
import { afterExit, andThen } from "../runtime/exit.js"
import { type Listed, make as listed, type Unlisted } from "../store/listed.js"
import * as Commands from "./commands.js"
import type { Listener } from "./listener.js"
import * as Scripts from "./scripts.js"
import * as SubjectList from "./subjectList.js"
import { timeToLive } from "./timeToLive.js"

/** How long an undecodable session is kept for inspection, in milliseconds: a week. */
const asideTimeToLive = 604_800_000

const prepared = Effect.all({
  insert: Commands.script(Scripts.insert),
  replace: Commands.script(Scripts.replace),
  rename: Commands.script(Scripts.rename),
  extend: Commands.script(Scripts.extend),
  remove: Commands.script(Scripts.remove),
  setAside: Commands.script(Scripts.setAside)
})

const nameIn = (prefix: string) => (key: StoreBackend.Key): string => `${prefix}{${key.shard}}${key.id}`

const replaced = (reply: Commands.Reply): Effect.Effect<StoreBackend.Replaced, Error> => {
  switch (reply) {
    case Scripts.done:
      return Effect.succeed(StoreBackend.replaced)
    case Scripts.absent:
    case undefined:
      return Effect.succeed(StoreBackend.absent)
    case Scripts.taken:
      return Effect.fail(new Error(repeatedToken))
  }
  const entry = Scripts.decode(reply)
  return Effect.succeed(entry._tag === "Entry" ? StoreBackend.changed(entry) : StoreBackend.absent)
}

const makeUnlisted = (commands: Commands.Commands, prefix: string): Effect.Effect<Unlisted> =>
  Effect.map(prepared, (scripts) => {
    const nameOf = nameIn(prefix)
    return {
      get: (key) =>
        afterExit(
          commands.get(nameOf(key)),
          (exit): Effect.Effect<Option.Option<StoreBackend.Entry>, Error> =>
            Exit.isSuccess(exit)
              ? Exit.succeed(exit.value === undefined ? Option.none() : Option.some(Scripts.decode(exit.value)))
              : Effect.catchIf(
                Effect.failCause(exit.cause),
                Commands.startsWith("WRONGTYPE"),
                () => Effect.succeedSome(Scripts.unreadable)
              )
        ),
      insert: (key, entry, now) =>
        andThen(
          commands.run(scripts.insert, [nameOf(key)], [
            Scripts.digits(now),
            ...Scripts.encode(entry),
            timeToLive(entry.deadline, now)
          ]),
          (reply) => Exit.succeed(reply === Scripts.done)
        ),
      replace: (key, revision, entry, now) =>
        andThen(
          commands.run(scripts.replace, [nameOf(key)], [
            Scripts.digits(now),
            Scripts.digits(revision),
            ...Scripts.encode(entry),
            timeToLive(entry.deadline, now)
          ]),
          replaced
        ),
      rename: (key, revision, next, entry, tombstone, now) =>
        // A cluster rejects two slots by itself. For a single server they are rejected here, or `remove` could not find
        // the successor.
        key.shard !== next.shard
          ? Effect.fail(
            new Error(
              "The new token of the renewal is in another shard than the old one. " +
                "Draw it by SessionToken.draw with the old token as predecessor."
            )
          )
          : andThen(
            commands.run(scripts.rename, [nameOf(key), nameOf(next)], [
              Scripts.digits(now),
              Scripts.digits(revision),
              ...Scripts.encode(entry),
              timeToLive(entry.deadline, now),
              Scripts.encodeTombstone(tombstone),
              timeToLive(tombstone.until, now)
            ]),
            replaced
          ),
      extend: (key, revision, deadline, now) =>
        andThen(
          commands.run(scripts.extend, [nameOf(key)], [
            Scripts.digits(now),
            Scripts.digits(revision),
            `${Scripts.digits(now)} ${Scripts.digits(deadline)}`,
            timeToLive(deadline, now)
          ]),
          (reply) => Exit.succeed(reply === Scripts.done)
        ),
      end: (key, tombstone, now) =>
        andThen(
          commands.run(scripts.remove, [nameOf(key)], [
            Scripts.digits(now),
            Scripts.encodeTombstone(tombstone),
            timeToLive(tombstone.until, now)
          ]),
          (reply) => Exit.succeed(Scripts.removed(reply))
        ),
      setAside: (key) =>
        commands.run(scripts.setAside, [nameOf(key), `${nameOf(key)}:undecodable`], [String(asideTimeToLive)])
    }
  })

/** `listener` hears of writes; without one, whoever watches a session has to ask. @internal */
export const make = (
  commands: Commands.Commands,
  prefix: string,
  listener?: Listener
): Effect.Effect<Listed> =>
  Effect.zipWith(
    makeUnlisted(commands, prefix),
    SubjectList.make(commands, prefix),
    (unlisted, list) =>
      listed(
        listener === undefined
          ? unlisted
          : { ...unlisted, changes: { complete: true, of: (key) => listener.changes(nameIn(prefix)(key)) } },
        list
      )
  )
