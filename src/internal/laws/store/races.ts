/**
 * The store laws of calls that meet. A store has to keep them for every interleaving, so no order is arranged. If there
 * is a second instance on the same data, the calls go to both in turn. The laws know nothing of how a store keeps
 * sessions.
 */
import * as Effect from "effect/Effect"
import * as SessionRecord from "../../../SessionRecord.js"
import type * as Store from "../../../Store.js"
import { yieldToEventLoop } from "../../runtime/eventLoop.js"
import * as law from "./law.js"

const writers = 10
const rounds = 5

const count = (answers: ReadonlyArray<{ readonly _tag: string }>, tag: string): number =>
  answers.filter((answer) => answer._tag === tag).length

const addOne = (trial: law.Trial, kept: law.Kept): Effect.Effect<void, string | Store.StoreError> =>
  Effect.gen(function*() {
    let { record } = kept
    for (let tries = 0; tries < writers * writers; tries++) {
      const next = law.written(trial, record, { n: Number(record.data["n"]) + 1 })
      const answer = yield* trial.store.update(kept.token, record.revision, next)
      if (answer._tag === "Updated") {
        return
      }
      record = (yield* law.expectTag(answer, "Conflict", "update beside other writers")).record
    }
    return yield* Effect.fail(
      "update answers Conflict again and again, also at the revision of the record in the Conflict"
    )
  })

const races: ReadonlyArray<Omit<law.Definition, "races">> = [
  {
    name: "parallel writers lose no update",
    covers: ["S65"],
    needs: ["keeping", "revisions", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* law.keep(trial)
        yield* law.together(Array.from({ length: writers }, () => addOne(trial, kept)))
        const { data } = yield* law.expectLive(trial, kept.token, "after parallel updates")
        yield* law.expect(data["n"] === writers, () => `${writers} parallel increments ended at ${law.show(data["n"])}`)
      })
  },
  {
    name: "of parallel creates under one token one wins",
    covers: ["S05", "X20"],
    needs: ["keeping", "revocation", "createIfAbsent"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < rounds; round++) {
          const token = trial.draw()
          const answers = yield* law.together(
            Array.from({ length: writers }, (_, n) => trial.store.create(token, law.recordOf(trial, { data: { n } })))
          )
          const won = count(answers, "Created")
          yield* law.expect(won === 1, () => `${won} of ${writers} parallel creates under one token won`)
          const { data } = yield* law.expectLive(trial, token, "after parallel creates")
          const winner = answers.findIndex((answer) => answer._tag === "Created")
          yield* law.expect(data["n"] === winner, () => "the record of a create that answered Exists was kept")
        }
      })
  },
  {
    name: "of parallel renewals one wins",
    covers: ["S13", "S15"],
    needs: ["keeping", "revisions", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < rounds; round++) {
          const { record, token } = yield* law.keep(trial)
          const nexts = Array.from({ length: writers }, () => trial.draw(token))
          const answers = yield* law.together(
            nexts.map((next, n) => trial.store.renew(token, record.revision, next, law.written(trial, record, { n })))
          )
          const won = count(answers, "Updated")
          yield* law.expect(won === 1, () => `${won} of ${writers} parallel renewals of one session won`)
          const lost = answers.find((answer) => answer._tag === "Conflict")
          yield* law.expect(lost === undefined, () => "a renewal that lost answered Conflict, but Gone was expected")
          const loaded = yield* Effect.forEach([token, ...nexts], (each) => trial.store.load(each))
          const live = count(loaded, "Live")
          yield* law.expect(live === 1, () => `${live} tokens are live after parallel renewals of one session`)
        }
      })
  },
  {
    name: "of a renewal beside an update exactly one wins",
    covers: ["S15"],
    needs: ["keeping", "revisions", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < rounds; round++) {
          const { record, token } = yield* law.keep(trial)
          const next = trial.draw(token)
          const [updated, renewed] = yield* Effect.all([
            trial.store.update(token, record.revision, law.written(trial, record, { by: "update" })),
            trial.store.renew(token, record.revision, next, law.written(trial, record, { by: "renew" }))
          ], { concurrency: "unbounded" })
          yield* law.expect(
            count([updated, renewed], "Updated") === 1,
            () => `update answered ${updated._tag} and renew of the same revision ${renewed._tag}`
          )
          const by = renewed._tag === "Updated" ? "renew" : "update"
          const { data } = yield* law.expectLive(trial, by === "renew" ? next : token, `after ${by} won`)
          yield* law.expect(data["by"] === by, () => `${by} won, and the data is that of the other`)
          yield* law.expectEnded(trial, by === "renew" ? token : next, `of the token that lost to ${by}`)
        }
      })
  },
  {
    name: "a touch beside a writer loses no update and revives nothing",
    covers: ["S13", "S21", "S65"],
    needs: ["keeping", "revisions", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (const order of ["before", "after"] as const) {
          const ordered = <A>(pair: ReadonlyArray<A>): ReadonlyArray<A> =>
            order === "before" ? pair : [...pair].reverse()
          const first = yield* law.keep(trial)
          const late = law.written(trial, first.record, { late: true })
          const deadline = late.deadline + 1000
          yield* law.together(ordered<Effect.Effect<unknown, Store.StoreError>>([
            trial.store.touch(first.token, first.record.revision, deadline),
            trial.store.update(first.token, first.record.revision, late)
          ]))
          const { data } = yield* law.expectLive(trial, first.token, `after a touch ${order} an update`)
          yield* law.expect(data["late"] === true, () => `a touch ${order} an update took the update back`)
          const second = yield* law.keep(trial)
          const next = trial.draw(second.token)
          yield* law.together(ordered<Effect.Effect<unknown, Store.StoreError>>([
            trial.store.touch(second.token, second.record.revision, deadline),
            trial.store.renew(second.token, second.record.revision, next, late)
          ]))
          yield* law.expectEnded(trial, second.token, `of the old token after a touch ${order} a renew`)
          yield* law.expectLive(trial, next, `of the new token after a touch ${order} a renew`)
        }
      })
  },
  {
    name: "remove wins over every writer beside it",
    covers: ["S26"],
    needs: ["keeping", "revocation", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < rounds; round++) {
          const { record, token } = yield* law.keep(trial)
          const late = law.written(trial, record, { late: true })
          yield* law.together([
            trial.store.update(token, record.revision, late),
            trial.store.touch(token, record.revision, late.deadline + 1000),
            trial.store.remove(token),
            trial.store.touch(token, record.revision + 1, late.deadline + 2000),
            trial.store.update(token, record.revision + 1, late)
          ])
          yield* law.expectEnded(trial, token, "after a remove beside writers")
        }
      })
  },
  {
    name: "a renewal beside a remove leaves no token live",
    covers: ["C7", "S13", "S25", "S26"],
    needs: ["keeping", "revocation", "tombstones", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < rounds; round++) {
          const { record, token } = yield* law.keep(trial)
          const next = trial.draw(token)
          const late = law.written(trial, record, { late: true })
          let answered: string = "nothing"
          const renewing = Effect.map(trial.store.renew(token, record.revision, next, late), ({ _tag }) => {
            answered = _tag
          })
          const removing = trial.store.remove(token)
          yield* law.together(round % 2 === 0 ? [renewing, removing] : [removing, renewing])
          yield* law.expectEnded(trial, token, "of the old token after renew beside remove")
          yield* law.expectEnded(trial, next, `of the new token after renew beside remove answered ${answered}`)
        }
      })
  },
  {
    name: "a touch beside other touches never moves the deadline back",
    covers: ["D9", "S21"],
    needs: ["keeping", "revisions", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (const order of ["the earliest", "the latest"] as const) {
          const { record, token } = yield* law.keep(trial)
          const deadlines = Array.from({ length: writers }, (_, n) => record.deadline + 1000 * (n + 1))
          const latest = Math.max(...deadlines)
          const ordered = order === "the earliest" ? deadlines : deadlines.reverse()
          const answers = yield* law.together(
            ordered.map((deadline) => trial.store.touch(token, record.revision, deadline))
          )
          for (const answer of answers) {
            yield* law.expectTag(answer, "Touched", "touch beside other touches")
          }
          const touched = yield* law.expectLive(trial, token, "after parallel touches")
          const found = SessionRecord.endsAt(touched)
          yield* law.expect(
            found === latest,
            () => `of parallel touches, ${order} first, the deadline is ${latest - found} ms before the latest one`
          )
          yield* law.expectSame({ ...touched, touchedAt: 0 }, { ...record, deadline: latest, touchedAt: 0 }, "touches")
        }
      })
  },
  {
    name: "whoever reads during a renewal finds one token live, never two and never none",
    covers: ["D9", "S13", "S15"],
    needs: ["keeping", "revocation", "revisions", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < 2 * rounds; round++) {
          const { record, token } = yield* law.keep(trial)
          const next = trial.draw(token)
          let over = false
          // Where the old token is not live any more, the new one is, and stays so. So the order of the reads matters.
          const neverNone = Effect.gen(function*() {
            const old = yield* trial.store.load(token)
            const other = yield* trial.store.load(next)
            yield* law.expect(
              old._tag === "Live" || other._tag === "Live",
              () => `the old token was ${old._tag} and then the new one ${other._tag} during a renewal`
            )
          })
          const neverTwo = Effect.gen(function*() {
            const other = yield* trial.store.load(next)
            const old = yield* trial.store.load(token)
            yield* law.expect(
              other._tag !== "Live" || old._tag !== "Live",
              () => "the new token was live and then the old one still, during a renewal"
            )
          })
          const watching = (reads: Effect.Effect<void, string | Store.StoreError>) =>
            Effect.gen(function*() {
              for (let n = 1; !over; n++) {
                yield* reads
                // fibers that only yield to each other would keep the renewal from its turn of the event loop
                yield* n % 8 === 0 ? yieldToEventLoop : Effect.yieldNow()
              }
              yield* reads
            })
          const renewing = Effect.gen(function*() {
            for (let turns = 0; turns < round; turns++) {
              yield* yieldToEventLoop
            }
            const answer = yield* trial.store.renew(token, record.revision, next, law.written(trial, record, { round }))
            yield* law.expectTag(answer, "Updated", "renew beside reads")
          })
          yield* law.together([
            watching(neverNone),
            watching(neverTwo),
            watching(neverNone),
            watching(neverTwo),
            Effect.ensuring(renewing, Effect.sync(() => over = true))
          ])
        }
      })
  }
]

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = races.map((definition) => ({ ...definition, races: true }))
