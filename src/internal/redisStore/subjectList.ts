/**
 * The list of each subject's sessions in Redis. On a single server it is written by one command. Where a subject's
 * index and a session's locator lie in different slots, as in a cluster, it is written by two, one after the other.
 * The server says so, whatever the client is, because a proxy may stand before a cluster. The module knows nothing of
 * what a session holds.
 */
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { SessionId } from "../../SessionToken.js"
import * as Store from "../../Store.js"
import type { Key } from "../../StoreBackend.js"
import { afterExit, andThen } from "../runtime/exit.js"
import type { SubjectList } from "../store/listed.js"
import * as Commands from "./commands.js"
import * as ListScripts from "./listScripts.js"
import { digits, done } from "./scripts.js"
import { grace, longest, timeToLive } from "./timeToLive.js"

/** How long after it was listed a session may still be about to be written, in milliseconds, by the server's clock. */
const writtenWithin = "600000"

/** How many sessions are taken off in passing by one command. */
const inPassing = 16

/** About how many members a page has. */
const pageSize = "1000"

/** How long the locator of a session that has ended stays, in milliseconds: as long as its tombstone. */
const locatorAfterEnd = timeToLive(Duration.toMillis(Store.tombstoneTimeToLive), 0)

const prepare = ({ both, index, locator }: ListScripts.Sources) =>
  Effect.all({ both: Commands.script(both), index: Commands.script(index), locator: Commands.script(locator) })

const prepared = Effect.all({
  add: prepare(ListScripts.add),
  remove: prepare(ListScripts.remove),
  forget: prepare(ListScripts.forget),
  page: Commands.script(ListScripts.page)
})

type Prepared = Effect.Effect.Success<typeof prepared>["add"]

/** @internal */
export const make = (commands: Commands.Commands, prefix: string): Effect.Effect<SubjectList> =>
  Effect.map(prepared, (scripts) => {
    const indexOf = (subject: string): string => `${prefix}subject:${subject}`
    const locatorOf = (id: SessionId): string => `${prefix}id:${id}`

    /** Whether the server was seen to refuse one command on both keys. */
    let apart = false

    /**
     * The locator is written first, so that what is found in an index has one. The index alone would say nothing of how
     * long ago it was written.
     */
    const eachApart = (script: Prepared, index: string, locator: string, args: Array<string>) =>
      andThen(
        commands.run(script.locator, [locator], args),
        (reply): Effect.Effect<Commands.Reply, Error> =>
          reply === done ? commands.run(script.index, [index], args) : Exit.succeed(reply)
      )

    const write = (
      script: Prepared,
      subject: string,
      key: Key,
      args: Array<string>,
      others: Array<string> = []
    ): Effect.Effect<void, Error> => {
      const [index, locator] = [indexOf(subject), locatorOf(key.id)]
      const written = apart
        ? eachApart(script, index, locator, args)
        : afterExit(
          commands.run(script.both, [index, locator, ...others], args),
          (exit): Effect.Effect<Commands.Reply, Error> => {
            if (Commands.failedWith(exit, "CROSSSLOT")) {
              apart = true
              return eachApart(script, index, locator, args)
            }
            return exit
          }
        )
      return andThen(written, () => Exit.void)
    }

    /**
     * The old keys of sessions that were renewed. What is listed next takes them off in passing, so that they do not pile
     * up; on a single server the same script does it, so that a renewal takes no command more. What is lost of them, with
     * the process or by a command that failed, stays listed until a reader finds it or its bound comes. Each renewal lists
     * before it leaves one, so they stay few.
     */
    const leaving: Array<readonly [subject: string, key: Key]> = []

    const remove = (subject: string, key: Key): Effect.Effect<void, Error> =>
      write(scripts.remove, subject, key, [ListScripts.member(key), locatorAfterEnd])

    const pageFrom = (subject: string, cursor: string) =>
      Effect.map(commands.run(scripts.page, [indexOf(subject)], [cursor, pageSize]), (reply = "0") => {
        const [next = "0", ...members] = reply.split(" ")
        return [
          Chunk.unsafeFromArray(members),
          next === "0" ? Option.none<string>() : Option.some(next)
        ] as const
      })

    return {
      add: (subject, key, until, now) => {
        const args = [
          ListScripts.member(key),
          digits(until),
          key.shard,
          timeToLive(until, now),
          digits(now - grace),
          String(longest)
        ]
        const left = leaving.splice(0, inPassing)
        return left.length === 0
          ? write(scripts.add, subject, key, args)
          : apart
          ? Effect.zipLeft(
            write(scripts.add, subject, key, args),
            Effect.forEach(left, ([subject, key]) => Effect.ignore(remove(subject, key)), {
              concurrency: "unbounded",
              discard: true
            }),
            { concurrent: true }
          )
          : write(
            scripts.add,
            subject,
            key,
            [...args, locatorAfterEnd, ...left.map(([_, key]) => ListScripts.member(key))],
            left.flatMap(([subject, key]) => [indexOf(subject), locatorOf(key.id)])
          )
      },
      remove,
      renewed: (subject, key) => {
        leaving.push([subject, key])
        return Exit.void
      },
      keys: (subject) =>
        Stream.suspend(() => {
          const seen = new Set<string>()
          return Stream.paginateChunkEffect("0", (cursor) => pageFrom(subject, cursor)).pipe(
            Stream.filter((member) => !seen.has(member) && seen.add(member) !== undefined),
            Stream.map(ListScripts.ofMember)
          )
        }),
      missing: (subject, key) => write(scripts.forget, subject, key, [ListScripts.member(key), writtenWithin]),
      locate: (id) =>
        andThen(
          commands.get(locatorOf(id)),
          (found) =>
            Exit.succeed(found === undefined ? Option.none() : Option.some({ id, shard: ListScripts.shardOf(found) }))
        )
    }
  })
