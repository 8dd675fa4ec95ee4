/**
 * The laws of single operations: what each answers, and what it leaves, on live, changed, absent, removed, superseded and
 * expired sessions.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as SessionRecord from "../../SessionRecord.js"
import * as SessionToken from "../../SessionToken.js"
import * as Store from "../../Store.js"
import * as law from "./law.js"

/** Every write that a request in flight may still make under a token that is over, and what it leaves. */
const nothingRevives = (trial: law.Trial, { record, token }: law.Kept, when: string) =>
  Effect.gen(function*() {
    const { store } = trial
    const next = trial.draw(token)
    const late = law.written(trial, record, { late: true })
    yield* law.expectOver(trial, token, when)
    yield* law.expectTag(yield* store.update(token, record.revision, late), "Gone", `update ${when}`)
    yield* law.expectOver(trial, token, `after an update ${when}`)
    yield* law.expectTag(yield* store.touch(token, record.revision, late.deadline), "Gone", `touch ${when}`)
    yield* law.expectOver(trial, token, `after a touch ${when}`)
    yield* law.expectTag(yield* store.renew(token, record.revision, next, late), "Gone", `renew ${when}`)
    yield* law.expectOver(trial, token, `after a renew ${when}`)
    yield* law.expectOver(trial, next, `of the new token after a renew ${when}`)
    yield* store.remove(token)
    yield* law.expectOver(trial, token, `after a remove ${when}`)
  })

const removed = (trial: law.Trial) =>
  Effect.gen(function*() {
    const kept = yield* law.keep(trial)
    yield* trial.store.remove(kept.token)
    return kept
  })

const expired = (trial: law.Trial, fields: Partial<SessionRecord.SessionRecord> = {}) =>
  Effect.gen(function*() {
    const kept = yield* law.keep(trial, fields)
    trial.moveTo(Math.min(kept.record.deadline, kept.record.expiresAt))
    return kept
  })

/** A live session whose first revision another writer has replaced. */
const changed = (trial: law.Trial) =>
  Effect.gen(function*() {
    const first = yield* law.keep(trial)
    const second = yield* law.rewrite(trial, first, { n: 1, by: "another writer" })
    return { first, second }
  })

const accepts: ReadonlyArray<law.Definition> = [
  {
    name: "accepts its own tokens and nothing malformed",
    covers: ["S03", "X02", "X03"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { token } = yield* law.keep(trial)
        const text = law.textOf(token)
        yield* law.expect(trial.store.accepts(token), () => "a token that create answered with is not accepted")
        const malformed = [
          "",
          " ",
          "\u0000",
          "__proto__",
          "../../etc/passwd",
          text.slice(1),
          ` ${text}`,
          `${text}\n`,
          `${text}\r\nget x`,
          `${text}\u0000`,
          `${text}/../x`,
          `${text};${text}`,
          "A".repeat(100_000)
        ]
        for (const wrong of malformed) {
          const accepted = trial.store.accepts(SessionToken.fromString(wrong))
          yield* law.expect(!accepted, () => `the malformed token ${law.show(wrong)} is accepted`)
        }
      })
  }
]

const creating: ReadonlyArray<law.Definition> = [
  {
    name: "create keeps the record",
    covers: [],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* law.keep(trial, { data: { a: [1, { b: null }], c: "d" } })
        yield* law.expectKept(trial, kept, "after create")
        yield* law.expectKept(trial, kept, "a second time")
      })
  },
  {
    name: "create never overwrites",
    covers: ["S05", "X20"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const bytes = (yield* SessionToken.Generator)(32)
        const repeated = () => SessionToken.draw(() => bytes)
        const record = law.recordOf(trial, { data: { owner: "victim" } })
        const first = yield* law.expectTag(yield* trial.store.create(repeated(), record), "Created", "create")
        const intruder = law.recordOf(trial, { data: { owner: "intruder" } })
        const second = yield* trial.store.create(repeated(), intruder)
        yield* law.expect(
          second._tag === "Exists" || second._tag === "Created" && law.textOf(second.token) !== law.textOf(first.token),
          () => `create under a token that is taken answered ${second._tag} with the same token`
        )
        yield* law.expectKept(trial, { token: first.token, record }, "after a create under a token that is taken")
      })
  }
]

const updating: ReadonlyArray<law.Definition> = [
  {
    name: "update replaces the record",
    covers: [],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const first = yield* law.keep(trial, { data: { a: 1, dropped: true }, subject: "ada" })
        trial.moveTo(trial.now() + 1000)
        const second = yield* law.rewrite(trial, first, { a: 2, added: [] })
        yield* law.expectKept(trial, second, "after update")
      })
  },
  {
    name: "update raises the revision",
    covers: [],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        let last = yield* law.keep(trial)
        for (let n = 1; n <= 3; n++) {
          const next = yield* law.rewrite(trial, last, { n })
          const { revision } = yield* law.expectLive(trial, next.token, "after update")
          yield* law.expect(
            revision > last.record.revision && revision === next.record.revision,
            () => `update at revision ${last.record.revision} left ${revision} and answered ${next.record.revision}`
          )
          last = next
        }
      })
  },
  {
    name: "update of a changed session is a Conflict with the record that is there",
    covers: ["S65"],
    needs: ["keeping", "revisions"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { first, second } = yield* changed(trial)
        const late = law.written(trial, first.record, { late: true })
        const answer = yield* trial.store.update(first.token, first.record.revision, late)
        const { record } = yield* law.expectTag(answer, "Conflict", "update of a changed session")
        yield* law.expectSame(record, second.record, "the record of the Conflict")
        yield* law.expectKept(trial, second, "after a Conflict")
        const ahead = yield* trial.store.update(second.token, second.record.revision + 1, late)
        yield* law.expectTag(ahead, "Conflict", "update at a revision that is not there yet")
        yield* law.expectKept(trial, second, "after a Conflict")
      })
  },
  {
    name: "update never creates",
    covers: ["S04", "S21", "X01"],
    needs: [],
    trial: (trial) =>
      Effect.gen(function*() {
        const unknown = { token: trial.draw(), record: law.recordOf(trial) }
        yield* nothingRevives(trial, unknown, "under a token that was never used")
      })
  }
]

const renewing: ReadonlyArray<law.Definition> = [
  {
    name: "renew keeps the session under the new token",
    covers: ["S11", "S13", "X05"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const first = yield* law.keep(trial, { subject: "ada", authenticatedAt: trial.now() })
        trial.moveTo(trial.now() + 1000)
        const second = yield* law.renew(trial, first, { n: 1 })
        yield* law.expect(law.textOf(first.token) !== law.textOf(second.token), () => "renew answered the old token")
        yield* law.expectKept(trial, second, "of the new token after renew")
        const third = yield* law.rewrite(trial, second, { n: 2 })
        yield* law.expectKept(trial, third, "of the new token after renew and update")
      })
  },
  {
    name: "renew raises the revision",
    covers: [],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const first = yield* law.keep(trial)
        const second = yield* law.renew(trial, first, { n: 1 })
        const { revision } = yield* law.expectLive(trial, second.token, "of the new token after renew")
        yield* law.expect(
          revision > first.record.revision && revision === second.record.revision,
          () => `renew at revision ${first.record.revision} left ${revision} and answered ${second.record.revision}`
        )
      })
  },
  {
    name: "renew ends the old token for good",
    covers: ["S11", "S13", "S26", "X05"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const first = yield* law.keep(trial)
        const second = yield* law.renew(trial, first, { n: 1 })
        yield* nothingRevives(trial, first, "under the old token after renew")
        yield* nothingRevives(
          trial,
          { ...first, record: second.record },
          "under the old token at the new revision after renew"
        )
        yield* law.expectKept(trial, second, "of the new token after writes under the old one")
      })
  },
  {
    name: "renew leaves the old token superseded",
    covers: ["S13"],
    needs: ["keeping", "tombstones"],
    trial: (trial) =>
      Effect.gen(function*() {
        const first = yield* law.keep(trial)
        const second = yield* law.renew(trial, first, { n: 1 })
        const third = yield* law.renew(trial, second, { n: 2 })
        for (const { token } of [first, second]) {
          yield* law.expectTag(yield* trial.store.load(token), "Superseded", "load of a renewed token")
        }
        const answer = yield* trial.store.create(first.token, law.recordOf(trial))
        yield* law.expectTag(answer, "Exists", "create under a renewed token")
        yield* law.expectTag(yield* trial.store.load(first.token), "Superseded", "load after that create")
        yield* law.expectKept(trial, third, "of the token that lives")
      })
  },
  {
    name: "renew of a changed session is a Conflict and ends nothing",
    covers: ["S15"],
    needs: ["keeping", "revisions"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { first, second } = yield* changed(trial)
        const next = trial.draw(first.token)
        const late = law.written(trial, first.record, { late: true })
        const answer = yield* trial.store.renew(first.token, first.record.revision, next, late)
        const { record } = yield* law.expectTag(answer, "Conflict", "renew of a changed session")
        yield* law.expectSame(record, second.record, "the record of the Conflict")
        yield* law.expectKept(trial, second, "of the old token after a Conflict")
        yield* law.expectOver(trial, next, "of the new token after a Conflict")
      })
  },
  {
    name: "renew never overwrites another session",
    covers: ["S05", "X20"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const victim = yield* law.keep(trial, { data: { owner: "victim" } })
        const other = yield* law.keep(trial, { data: { owner: "other" } })
        const late = law.written(trial, other.record, { owner: "intruder" })
        // whatever it answers, failure included: a token that repeats is no reason to lose either session
        yield* Effect.ignore(trial.store.renew(other.token, other.record.revision, victim.token, late))
        yield* law.expectKept(trial, victim, "of another session's token after a renew to it")
        yield* law.expectKept(trial, other, "of the old token after a renew to another session's token")
      })
  }
]

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
        yield* law.expectOver(trial, touched.token, "at the moved deadline")
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
        const { first, second } = yield* changed(trial)
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
        yield* law.expectOver(trial, touched.token, "at the absolute bound, after a touch beyond it")
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
        yield* law.expectOver(trial, unknown, "after a touch of an unknown token")
        const { record, token } = yield* expired(trial)
        const later = trial.now() + record.idle
        const answer = yield* trial.store.touch(token, record.revision, later)
        yield* law.expectTag(answer, "Gone", "touch of an expired session")
        yield* law.expectOver(trial, token, "after a touch of an expired session")
      })
  }
]

const expiring: ReadonlyArray<law.Definition> = [
  {
    name: "a session is over at its deadline, swept or not",
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
    name: "the earlier of the two bounds rules",
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
          yield* nothingRevives(trial, kept, "at the earlier bound")
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
        yield* law.expectOver(trial, token, "at the new bound")
      })
  },
  {
    name: "an expired session answers as absent to every operation",
    covers: ["S20", "S21"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* expired(trial)
        yield* nothingRevives(trial, kept, "on an expired session")
      })
  },
  {
    name: "an expired session does not hold its token",
    covers: ["S20"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { token } = yield* expired(trial)
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
        const kept = yield* removed(trial)
        yield* law.expectOver(trial, kept.token, "after remove")
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
        yield* law.expectOver(trial, unknown, "after a remove of an unknown token")
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
        const kept = yield* removed(trial)
        yield* nothingRevives(trial, kept, "after remove")
        const renewed = yield* law.renew(trial, yield* law.keep(trial), { n: 1 })
        yield* trial.store.remove(renewed.token)
        yield* nothingRevives(trial, renewed, "after renew and remove")
      })
  },
  {
    name: "remove leaves the token superseded",
    covers: ["S26"],
    needs: ["keeping", "tombstones"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { token } = yield* removed(trial)
        yield* law.expectTag(yield* trial.store.load(token), "Superseded", "load of a removed token")
        const answer = yield* trial.store.create(token, law.recordOf(trial))
        yield* law.expectTag(answer, "Exists", "create under a removed token")
        yield* trial.store.remove(token)
        yield* law.expectTag(yield* trial.store.load(token), "Superseded", "load of a token removed twice")
      })
  },
  {
    name: "remove of a renewed token leaves the session it became",
    covers: ["S15"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const first = yield* law.keep(trial)
        const second = yield* law.renew(trial, first, { n: 1 })
        yield* trial.store.remove(first.token)
        yield* law.expectKept(trial, second, "of the new token after a remove of the old one")
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
          yield* nothingRevives(trial, { record, token }, "after the tombstone's end")
          const created = yield* trial.store.create(token, law.recordOf(trial))
          yield* law.expectTag(created, "Created", "create after the tombstone's end")
        }
      })
  }
]

const keepingNothing: ReadonlyArray<law.Definition> = [
  {
    name: "a store that keeps nothing says so",
    covers: [],
    needs: [],
    onlyWithout: "keeping",
    trial: (trial) =>
      Effect.gen(function*() {
        const token = trial.draw()
        const record = law.recordOf(trial)
        yield* law.expectTag(yield* trial.store.create(token, record), "NotKept", "create")
        yield* nothingRevives(trial, { token, record }, "after a create that kept nothing")
      })
  }
]

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  ...accepts,
  ...creating,
  ...updating,
  ...renewing,
  ...touching,
  ...expiring,
  ...removing,
  ...keepingNothing
]
