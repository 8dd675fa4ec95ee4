/**
 * The store laws of touch, of time, and of remove: when a session ends, and that it then stays ended. They know nothing
 * of how a store keeps sessions.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Store from "../../../Store.js"
import * as law from "./law.js"

const touching: ReadonlyArray<law.Definition> = [
  {
    name: "touch moves the deadline and nothing else",
    covers: ["S17", "S21"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { record, token } = yield* law.keep(trial, { data: { a: [1] }, subject: "ada", persistent: true })
        trial.moveTo(trial.now() + 60_000)
        const deadline = trial.now() + record.idle
        const answer = yield* trial.store.touch(token, record.revision, deadline)
        const touched = yield* law.expectTag(answer, "Touched", "touch of a live session")
        const expected = { ...record, deadline, touchedAt: trial.now() }
        yield* law.expectKept(trial, { token: touched.token, record: expected }, "after touch")
        trial.moveTo(deadline - 1)
        yield* law.expectKept(trial, { token: touched.token, record: expected }, "just before the moved deadline")
        trial.moveTo(deadline)
        yield* law.expectEnded(trial, touched.token, "at the moved deadline")
      })
  },
  {
    name: "touch never moves the deadline back",
    covers: ["S21"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { record, token } = yield* law.keep(trial)
        for (const deadline of [record.deadline - 1, trial.now() + 1, trial.now(), 0]) {
          const answer = yield* trial.store.touch(token, record.revision, deadline)
          const touched = yield* law.expectTag(answer, "Touched", "touch with an earlier deadline")
          yield* law.expectKept(trial, { token: touched.token, record }, "after a touch with an earlier deadline")
        }
      })
  },
  {
    name: "touch at another revision changes nothing",
    covers: ["S21"],
    needs: ["keeping", "revisions"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { first, second } = yield* law.changed(trial)
        trial.moveTo(trial.now() + 60_000)
        const deadline = trial.now() + first.record.idle
        for (const revision of [first.record.revision, second.record.revision + 1]) {
          const answer = yield* trial.store.touch(first.token, revision, deadline)
          yield* law.expectTag(answer, "Touched", "touch at another revision")
          yield* law.expectKept(trial, second, "after a touch at another revision")
        }
      })
  },
  {
    name: "touch never outlives the absolute bound",
    covers: ["S18", "S19"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const expiresAt = trial.now() + 7_200_000
        const { record, token } = yield* law.keep(trial, { expiresAt })
        trial.moveTo(trial.now() + 60_000)
        const answer = yield* trial.store.touch(token, record.revision, expiresAt + 3_600_000)
        const touched = yield* law.expectTag(answer, "Touched", "touch of a live session")
        trial.moveTo(expiresAt - 1)
        yield* law.expectLive(trial, touched.token, "just before the absolute bound")
        trial.moveTo(expiresAt)
        yield* law.expectEnded(trial, touched.token, "at the absolute bound, after a touch beyond it")
      })
  },
  {
    name: "touch revives nothing",
    covers: ["S21", "S26"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const unknown = trial.draw()
        const deadline = trial.now() + 3_600_000
        yield* law.expectTag(yield* trial.store.touch(unknown, 1, deadline), "Gone", "touch of an unknown token")
        yield* law.expectEnded(trial, unknown, "after a touch of an unknown token")
        const { record, token } = yield* law.expired(trial)
        const later = trial.now() + record.idle
        const answer = yield* trial.store.touch(token, record.revision, later)
        yield* law.expectTag(answer, "Gone", "touch of an expired session")
        yield* law.expectEnded(trial, token, "after a touch of an expired session")
      })
  }
]

const expiring: ReadonlyArray<law.Definition> = [
  {
    name: "a session has ended at its deadline, swept or not",
    covers: ["S17", "S20", "X22"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* law.keep(trial)
        trial.moveTo(kept.record.deadline - 1)
        yield* law.expectKept(trial, kept, "one millisecond before the deadline")
        trial.moveTo(kept.record.deadline)
        yield* law.expectTag(yield* trial.store.load(kept.token), "None", "load at the deadline")
      })
  },
  {
    name: "a session ends at the earlier of its two bounds",
    covers: ["S18", "S19", "S20"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const start = trial.now()
        for (const [deadline, expiresAt] of [[60_000, 120_000], [120_000, 60_000], [60_000, 60_000]] as const) {
          trial.moveTo(start)
          const kept = yield* law.keep(trial, { deadline: start + deadline, expiresAt: start + expiresAt })
          trial.moveTo(start + 59_999)
          yield* law.expectKept(trial, kept, "just before the earlier bound")
          trial.moveTo(start + 60_000)
          yield* law.nothingRevives(trial, kept, "at the earlier bound")
        }
      })
  },
  {
    name: "an update moves the bounds it is given",
    covers: ["S18", "S22"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* law.keep(trial)
        const bound = trial.now() + 30_000
        const shorter = { ...kept.record, deadline: bound, expiresAt: bound, persistent: true as const }
        const answer = yield* trial.store.update(kept.token, kept.record.revision, shorter)
        const { token } = yield* law.expectTag(answer, "Updated", "update to an earlier bound")
        trial.moveTo(bound - 1)
        yield* law.expectLive(trial, token, "just before the new bound")
        trial.moveTo(bound)
        yield* law.expectEnded(trial, token, "at the new bound")
      })
  },
  {
    name: "an expired session answers as absent to every operation",
    covers: ["S20", "S21"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* law.expired(trial)
        yield* law.nothingRevives(trial, kept, "on an expired session")
      })
  },
  {
    name: "a session of 400 days is kept, with its deadline",
    covers: ["D9", "S17", "S18"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const idle = Duration.toMillis(Duration.days(400))
        const bound = trial.now() + 2 * idle
        const fields = { idle, deadline: trial.now() + idle, expiresAt: bound }
        const created = yield* law.keep(trial, fields)
        const updated = yield* law.rewrite(trial, yield* law.keep(trial, fields), { n: 1 })
        const renewed = yield* law.renew(trial, yield* law.keep(trial, fields), { n: 2 })
        const short = yield* law.keep(trial, { expiresAt: bound })
        const answer = yield* trial.store.touch(short.token, short.record.revision, fields.deadline)
        const { token } = yield* law.expectTag(answer, "Touched", "touch of a live session")
        const touched = { token, record: { ...short.record, deadline: fields.deadline, touchedAt: trial.now() } }
        // a timer of more than 2^31 - 1 ms fires at once
        yield* law.dueTimers
        for (const kept of [created, updated, renewed, touched]) {
          yield* law.expectKept(trial, kept, "of a session of 400 days")
        }
        trial.moveTo(fields.deadline - 1)
        for (const kept of [created, updated, renewed, touched]) {
          yield* law.expectKept(trial, kept, "one millisecond before the end of its 400 days")
        }
        trial.moveTo(fields.deadline)
        for (const { token } of [created, updated, renewed, touched]) {
          yield* law.expectEnded(trial, token, "at the end of its 400 days")
        }
      })
  },
  {
    name: "an expired session's token can be used again",
    covers: ["S20"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { token } = yield* law.expired(trial)
        const record = law.recordOf(trial, { data: { fresh: true } })
        const answer = yield* trial.store.create(token, record)
        const created = yield* law.expectTag(answer, "Created", "create under an expired session's token")
        yield* law.expectKept(trial, { token: created.token, record }, "after that create")
      })
  }
]

const removing: ReadonlyArray<law.Definition> = [
  {
    name: "remove ends the session",
    covers: ["S25"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const other = yield* law.keep(trial)
        const kept = yield* law.removed(trial)
        yield* law.expectEnded(trial, kept.token, "after remove")
        yield* law.expectKept(trial, other, "of another session after a remove")
      })
  },
  {
    name: "remove may be repeated",
    covers: ["S25"],
    needs: [],
    trial: (trial) =>
      Effect.gen(function*() {
        const unknown = trial.draw()
        yield* trial.store.remove(unknown)
        yield* law.expectEnded(trial, unknown, "after a remove of an unknown token")
        const token = yield* trial.store.create(trial.draw(), law.recordOf(trial))
        if (token._tag === "Created") {
          yield* trial.store.remove(token.token)
          yield* trial.store.remove(token.token)
          yield* trial.store.remove(token.token)
        }
      })
  },
  {
    name: "a removed session is brought back by no request in flight",
    covers: ["S26"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* law.removed(trial)
        yield* law.nothingRevives(trial, kept, "after remove")
        const renewed = yield* law.renew(trial, yield* law.keep(trial), { n: 1 })
        yield* trial.store.remove(renewed.token)
        yield* law.nothingRevives(trial, renewed, "after renew and remove")
      })
  },
  {
    name: "remove leaves the token superseded",
    covers: ["S26"],
    needs: ["keeping", "tombstones"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { token } = yield* law.removed(trial)
        yield* law.expectTag(yield* trial.store.load(token), "Superseded", "load of a removed token")
        const answer = yield* trial.store.create(token, law.recordOf(trial))
        yield* law.expectTag(answer, "Exists", "create under a removed token")
        yield* trial.store.remove(token)
        yield* law.expectTag(yield* trial.store.load(token), "Superseded", "load of a token removed twice")
      })
  },
  {
    name: "remove under the old token of a renewed session ends the session that it became",
    covers: ["C7", "S25", "S26"],
    needs: ["keeping", "revocation", "tombstones"],
    trial: (trial) =>
      Effect.gen(function*() {
        const other = yield* law.keep(trial)
        const first = yield* law.keep(trial)
        const second = yield* law.renew(trial, first, { n: 1 })
        const third = yield* law.renew(trial, second, { n: 2 })
        yield* trial.store.remove(first.token)
        for (const { token } of [first, second, third]) {
          yield* law.expectEnded(trial, token, "after a remove under a token from before its renewals")
        }
        for (const kept of [first, second, third]) {
          yield* law.nothingRevives(trial, kept, "after a remove under a token from before its renewals")
        }
        yield* law.expectTag(yield* trial.store.load(third.token), "Superseded", "load of the last of these tokens")
        yield* law.expectKept(trial, other, "of another session after that remove")
      })
  },
  {
    name: "remove of an expired session leaves nothing that a clock a few seconds behind revives",
    covers: ["D10", "S26"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* law.expired(trial)
        trial.moveTo(trial.now() + 1)
        yield* trial.store.remove(kept.token)
        trial.moveTo(kept.record.deadline - 3000)
        yield* law.nothingRevives(trial, kept, "by a clock three seconds behind, after a remove at the deadline")
      })
  },
  {
    name: "a tombstone ends after its minute",
    covers: [],
    needs: ["keeping", "tombstones"],
    clock: "test",
    trial: (trial) =>
      Effect.gen(function*() {
        const minute = Duration.toMillis(Store.tombstoneTimeToLive)
        const first = yield* law.keep(trial)
        const second = yield* law.renew(trial, first, { n: 1 })
        yield* trial.store.remove(second.token)
        const end = trial.now() + minute
        trial.moveTo(end - 1)
        for (const { token } of [first, second]) {
          yield* law.expectTag(yield* trial.store.load(token), "Superseded", "load before the tombstone's end")
        }
        trial.moveTo(end)
        for (const { record, token } of [first, second]) {
          yield* law.expectTag(yield* trial.store.load(token), "None", "load at the tombstone's end")
          yield* law.nothingRevives(trial, { record, token }, "after the tombstone's end")
          const created = yield* trial.store.create(token, law.recordOf(trial))
          yield* law.expectTag(created, "Created", "create after the tombstone's end")
        }
      })
  }
]

const second = 1000
const minute = 60 * second

const sweeping: ReadonlyArray<law.Definition> = [
  {
    name: "a sweep takes nothing that is live or that ended less than a minute ago",
    covers: ["D9", "S68"],
    needs: ["keeping"],
    clock: "test",
    trial: (trial) =>
      Effect.gen(function*() {
        const { testClock } = trial
        if (testClock === undefined) {
          // nothing here moves the clock that the sweep waits for
          return
        }
        const start = yield* testClock.currentTimeMillis
        const steps = 14
        const end = start + steps * 30 * second
        trial.moveTo(start)
        const idles = [70, 140, 210, 280, 350, 420, 3600].map((seconds) => seconds * second)
        const all = yield* Effect.forEach(idles, (idle) => law.keep(trial, { idle, deadline: start + idle }))
        const short = yield* law.keep(trial, { idle: minute, deadline: start + minute })
        const moved = yield* trial.store.touch(short.token, short.record.revision, end + minute)
        const { token } = yield* law.expectTag(moved, "Touched", "touch of a live session")
        const touched = { token, record: { ...short.record, deadline: end + minute } }
        const ended = yield* law.removed(trial)
        for (let now = start; now < end;) {
          yield* testClock.adjust(30 * second)
          now = yield* testClock.currentTimeMillis
          // a clock that is behind by less than a minute still finds what has ended by this one
          for (const kept of [...all, touched]) {
            const { deadline } = kept.record
            if (now < deadline + minute) {
              trial.moveTo(Math.min(now, deadline - 1))
              yield* law.expectKept(trial, kept, `after sweeps, ${(now - deadline) / second} s after the end`)
            }
          }
          if (!trial.settings.waives.includes("tombstones") && now < start + 2 * minute) {
            trial.moveTo(Math.min(now, start + minute - 1))
            yield* law.expectTag(
              yield* trial.store.load(ended.token),
              "Superseded",
              "load of a removed token after sweeps"
            )
          }
        }
      })
  }
]

const keepingNothing: ReadonlyArray<law.Definition> = [
  {
    name: "a store that keeps nothing answers NotKept",
    covers: [],
    needs: [],
    onlyWithout: "keeping",
    trial: (trial) =>
      Effect.gen(function*() {
        const token = trial.draw()
        const record = law.recordOf(trial)
        yield* law.expectTag(yield* trial.store.create(token, record), "NotKept", "create")
        yield* law.nothingRevives(trial, { token, record }, "after a create that kept nothing")
      })
  }
]

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  ...touching,
  ...expiring,
  ...removing,
  ...sweeping,
  ...keepingNothing
]
