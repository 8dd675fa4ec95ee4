/**
 * The laws of `Sessions`: who is listed, and what a revocation ends. If there is a second instance on the same data, the
 * calls go to both in turn. The laws know nothing of how a store keeps sessions.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Summary } from "../../../Sessions.js"
import * as SessionToken from "../../../SessionToken.js"
import type * as Store from "../../../Store.js"
import * as law from "./law.js"
import type { Checked, Login } from "./logins.js"
import { expectEqual, expectListed, identified, idsOf, login, renew, someone } from "./logins.js"
import { definitions as histories } from "./sessionHistories.js"

/** Some sessions of a subject, one a second. */
const logins = (trial: law.Trial, subject: string, count: number): Checked<ReadonlyArray<Login>> =>
  Effect.forEach(Array.from({ length: count }), () => {
    trial.moveTo(trial.now() + 1000)
    return login(trial, subject)
  })

const shown = ({ label, ...rest }: Summary) => ({ ...rest, label: Option.getOrNull(label) })

/** Renews a session and notes the token; gives nothing once it has ended. Others go on before it does. */
const renewUnlessEnded = (
  trial: law.Trial,
  { record, token }: Login,
  tokens: Array<SessionToken.Token>
): Checked<Login | undefined> =>
  Effect.gen(function*() {
    yield* Effect.yieldNow()
    const next = law.written(trial, record, { renewals: tokens.length })
    const answer = yield* trial.store.renew(token, record.revision, trial.draw(token), next)
    if (answer._tag === "Gone") {
      return undefined
    }
    const { revision, token: kept } = yield* law.expectTag(answer, "Updated", "renew beside the end of all")
    tokens.push(kept)
    return yield* identified({ token: kept, record: { ...next, revision } })
  })

/** Subjects that a path, a statement, a key of an object or an encoding could take for each other. */
const hostile: ReadonlyArray<string> = [
  "../../etc/passwd",
  "a/b\\c:d*e?f",
  "'; DROP TABLE sessions; --",
  "%",
  "_",
  "{}",
  "__proto__",
  "constructor",
  "nul\u0000byte",
  "nul",
  "Zo\u00eb",
  "Zoe\u0308",
  "ann",
  "ANN",
  "ann ",
  " ",
  "\u200b",
  "\ud800",
  "\udfff",
  "\ufffd",
  "\\ud800",
  "\u{1f642}",
  "x".repeat(10_240),
  `${"x".repeat(10_239)}y`
]

const laws: ReadonlyArray<Omit<law.Definition, "races" | "sessions">> = [
  {
    name: "a session that logged in is listed, with what is safe to show of it",
    covers: ["S31"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const createdAt = trial.now() - 5
        const { id, record } = yield* login(trial, ann, { createdAt, label: "Firefox on Linux" })
        const expected = {
          id,
          label: "Firefox on Linux",
          createdAt,
          authenticatedAt: record.authenticatedAt,
          touchedAt: record.touchedAt,
          endsAt: Math.min(record.deadline, record.expiresAt)
        }
        const problem = law.difference((yield* trial.sessions.list(ann)).map(shown), [expected], "the list")
        yield* law.expect(problem === undefined, () => String(problem))
        yield* expectEqual(yield* trial.sessions.count(ann), 1, "count")
        yield* expectListed(trial, someone(trial, "nobody"), [], "of a subject without sessions")
      })
  },
  {
    name: "a list begins with the session of the newest use",
    covers: ["S31"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const [first, second, third] = yield* logins(trial, ann, 3)
        if (first === undefined || second === undefined || third === undefined) {
          return
        }
        yield* expectListed(trial, ann, [third, second, first], "after three logins")
        trial.moveTo(trial.now() + 1000)
        yield* trial.store.touch(first.token, first.record.revision, first.record.deadline + 60_000)
        yield* expectListed(trial, ann, [first, third, second], "after a touch")
        trial.moveTo(trial.now() + 1000)
        yield* law.rewrite(trial, second, { n: 1 })
        yield* expectListed(trial, ann, [second, first, third], "after an update")
      })
  },
  {
    name: "a list has no session of another subject, nor of nobody",
    covers: ["S31"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const [ann, bob] = [someone(trial, "ann"), someone(trial, "bob")]
        const hers = yield* login(trial, ann)
        const his = yield* login(trial, bob)
        const nobodys = yield* login(trial, undefined)
        yield* expectListed(trial, ann, [hers], "of one subject")
        yield* expectListed(trial, bob, [his], "of another subject")
        const nameless = yield* idsOf(trial, "")
        yield* law.expect(!nameless.includes(nobodys.id), () => "a session of nobody is listed under the empty subject")
        // a login gives a session a subject by a renewal
        const logged = yield* renew(trial, nobodys, { subject: bob, touchedAt: trial.now() })
        const found = yield* idsOf(trial, bob)
        yield* law.expect(
          found.length === 2 && found.includes(his.id) && found.includes(logged.id),
          () => `after an anonymous session was renewed with a subject, ${law.show(found)} is listed`
        )
      })
  },
  {
    name: "subjects of any characters are kept apart",
    covers: ["S31"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        // the subjects are the same in every trial, so what another trial left is not looked at
        const before = yield* Effect.forEach(hostile, (subject) => idsOf(trial, subject))
        const all = yield* Effect.forEach(hostile, (subject) => login(trial, subject))
        for (const [n, subject] of hostile.entries()) {
          const found = (yield* idsOf(trial, subject)).filter((id) => before[n]?.includes(id) !== true)
          const problem = law.difference(found, [all[n]?.id], `the list of ${law.show(subject)}`)
          yield* law.expect(problem === undefined, () => String(problem))
        }
        yield* Effect.forEach(all, ({ id }) => trial.sessions.revoke(id))
      })
  },
  {
    name: "a renewed session is listed once, under its new id",
    covers: ["S13", "S31"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const first = yield* login(trial, ann)
        const second = yield* renew(trial, first)
        yield* expectListed(trial, ann, [second], "after a renewal")
        const third = yield* renew(trial, second)
        yield* expectListed(trial, ann, [third], "after two renewals")
      })
  },
  {
    name: "what has ended is not listed",
    covers: ["S20", "S25", "S31"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const removed = yield* login(trial, ann)
        const revoked = yield* login(trial, ann)
        const renewed = yield* renew(trial, yield* login(trial, ann))
        const soon = trial.now() + 60_000
        yield* login(trial, ann, { deadline: soon })
        yield* login(trial, ann, { expiresAt: soon })
        const kept = yield* login(trial, ann)
        yield* trial.store.remove(removed.token)
        yield* trial.sessions.revoke(revoked.id)
        yield* trial.store.remove(renewed.token)
        yield* expectEqual(yield* trial.sessions.count(ann), 3, "count after three ends")
        trial.moveTo(soon)
        yield* expectListed(trial, ann, [kept], "after a removal, a revocation and the end of two")
        yield* expectEqual(yield* trial.sessions.count(ann), 1, "count after five ends")
      })
  },
  {
    name: "a revocation is as final as a removal",
    covers: ["S26", "S31"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const other = yield* login(trial, someone(trial, "bob"))
        for (const subject of [someone(trial, "ann"), undefined]) {
          const kept = yield* login(trial, subject)
          const ended = yield* trial.sessions.revoke(kept.id)
          // a session of nobody is in no list, and a store may find the others alone
          yield* law.expect(ended || subject === undefined, () => "revoke of a live session answered false")
          if (ended) {
            if (!trial.settings.waives.includes("tombstones")) {
              yield* law.expectTag(yield* trial.store.load(kept.token), "Superseded", "load of a revoked token")
              const answer = yield* trial.store.create(kept.token, law.recordOf(trial))
              yield* law.expectTag(answer, "Exists", "create under a revoked token")
            }
            yield* law.nothingRevives(trial, kept, "after a revocation")
          }
        }
        yield* law.expectKept(trial, other, "of another session after a revocation")
      })
  },
  {
    name: "a session is revoked once, and what is no id of a session revokes nothing",
    covers: ["S31"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const ended = yield* login(trial, ann)
        const kept = yield* login(trial, ann)
        const unknown = yield* SessionToken.toId(trial.draw())
        const malformed = [
          "",
          "x",
          "a".repeat(44),
          `${kept.id} `,
          ` ${kept.id}`,
          `${kept.id}\u0000`,
          "__proto__",
          "\ud800"
        ]
        for (const wrong of [unknown, "../../etc/passwd", law.textOf(kept.token), ...malformed]) {
          yield* expectEqual(yield* trial.sessions.revoke(wrong), false, `revoke of ${law.show(wrong)}`)
        }
        yield* expectEqual(yield* trial.sessions.revoke(ended.id), true, "revoke of a live session")
        yield* expectEqual(yield* trial.sessions.revoke(ended.id), false, "revoke of a revoked session")
        yield* trial.store.remove(ended.token)
        yield* expectListed(trial, ann, [kept], "after all that")
      })
  },
  {
    name: "a revocation under the old id of a renewed session ends the session that it became",
    covers: ["C7", "S26", "S31"],
    needs: ["keeping", "revocation", "tombstones"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const first = yield* login(trial, ann)
        const second = yield* renew(trial, first)
        const third = yield* renew(trial, second)
        yield* expectEqual(yield* trial.sessions.revoke(first.id), true, "revoke under an id of before two renewals")
        for (const kept of [first, second, third]) {
          yield* law.nothingRevives(trial, kept, "after a revocation under an id of before two renewals")
        }
        yield* expectListed(trial, ann, [], "after it")
        yield* expectEqual(yield* trial.sessions.revoke(first.id), false, "the same once more")
      })
  },
  {
    name: "a revocation of an expired session leaves nothing that a clock a few seconds behind revives",
    covers: ["D10", "S26"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const kept = yield* login(trial, someone(trial, "ann"))
        trial.moveTo(kept.record.deadline)
        yield* expectEqual(yield* trial.sessions.revoke(kept.id), false, "revoke of an expired session")
        trial.moveTo(kept.record.deadline - 3000)
        yield* law.nothingRevives(trial, kept, "by a clock three seconds behind, after a revocation at the deadline")
      })
  },
  {
    name: "all sessions of a subject are revoked, or all but one, and nobody else's",
    covers: ["S28", "S29", "S30"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const [first, ...rest] = yield* logins(trial, ann, 4)
        const others = [yield* login(trial, someone(trial, "bob")), yield* login(trial, undefined)]
        if (first === undefined) {
          return
        }
        const except = yield* trial.sessions.revokeAll(ann, { except: first.id })
        yield* expectEqual(except, 3, "revokeAll but one of four")
        yield* expectListed(trial, ann, [first], "after all but one were revoked")
        yield* law.expectKept(trial, first, "of the session that stays")
        yield* expectEqual(yield* trial.sessions.revokeAll(ann), 1, "revokeAll of one")
        yield* expectEqual(yield* trial.sessions.revokeAll(ann), 0, "revokeAll of none")
        for (const { token } of [first, ...rest]) {
          yield* law.expectEnded(trial, token, "after all sessions of its subject were revoked")
        }
        for (const other of others) {
          yield* law.expectKept(trial, other, "of another's session after all of a subject were revoked")
        }
      })
  },
  {
    name: "the sessions of newest use are kept, as many as are wanted",
    covers: ["S32"],
    needs: ["keeping", "revocation"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ann = someone(trial, "ann")
        const all = yield* logins(trial, ann, 4)
        const other = yield* login(trial, someone(trial, "bob"))
        yield* expectEqual(yield* trial.sessions.keepNewest(ann, 4), 0, "keepNewest 4 of 4")
        yield* expectEqual(yield* trial.sessions.keepNewest(ann, 2), 2, "keepNewest 2 of 4")
        yield* expectListed(trial, ann, all.slice(2).reverse(), "after the newest two were kept")
        yield* expectEqual(yield* trial.sessions.keepNewest(ann, 0), 2, "keepNewest 0 of 2")
        yield* expectEqual(yield* trial.sessions.count(ann), 0, "count after none was kept")
        yield* law.expectKept(trial, other, "of another's session")
      })
  },
  {
    name: "a revocation wins over every writer beside it",
    covers: ["S26", "S28"],
    needs: ["keeping", "revocation", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < 5; round++) {
          const ann = someone(trial, "ann")
          const { id, record, token } = yield* login(trial, ann)
          const late = law.written(trial, record, { late: true })
          yield* law.together<unknown, Store.StoreError>([
            trial.store.update(token, record.revision, late),
            trial.store.touch(token, record.revision, late.deadline + 1000),
            trial.sessions.revoke(id),
            trial.store.update(token, record.revision + 1, late)
          ])
          yield* law.expectEnded(trial, token, "after a revocation beside writers")
          const answer = yield* trial.store.update(token, record.revision, late)
          yield* law.expectTag(answer, "Gone", "update after a revocation")
          yield* expectListed(trial, ann, [], "after a revocation beside writers")
        }
      })
  },
  {
    name: "a renewal beside a revocation leaves no token live",
    covers: ["C7", "S13", "S28"],
    needs: ["keeping", "revocation", "tombstones", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < 6; round++) {
          const ann = someone(trial, "ann")
          const { id, record, token } = yield* login(trial, ann)
          const next = trial.draw(token)
          const renewing = trial.store.renew(token, record.revision, next, law.written(trial, record, { late: true }))
          const ending = round % 3 === 2 ? trial.sessions.revokeAll(ann) : trial.sessions.revoke(id)
          yield* law.together<unknown, Store.StoreError>(round % 2 === 0 ? [renewing, ending] : [ending, renewing])
          yield* law.expectEnded(trial, token, "of the old token after a renewal beside a revocation")
          yield* law.expectEnded(trial, next, "of the new token after a renewal beside a revocation")
          yield* expectListed(trial, ann, [], "after a renewal beside a revocation")
        }
      })
  },
  {
    name: "a session that is renewed again and again ends with all of its subject",
    covers: ["C7", "S28", "S32"],
    needs: ["keeping", "revocation", "tombstones", "compareAndSet"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (let round = 0; round < 6; round++) {
          const ann = someone(trial, "ann")
          const first = yield* login(trial, ann)
          const tokens = [first.token]
          const renewing = Effect.iterate<Login | undefined, never, string | Store.StoreError>(first, {
            while: (last) => last !== undefined && tokens.length <= 20,
            body: (last) => last === undefined ? Effect.succeed(last) : renewUnlessEnded(trial, last, tokens)
          })
          const ending = round % 2 === 0 ? trial.sessions.revokeAll(ann) : trial.sessions.keepNewest(ann, 0)
          yield* law.together<unknown, string | Store.StoreError>([renewing, ending])
          for (const token of tokens) {
            yield* law.expectEnded(trial, token, "of a token after all ended beside renewals")
          }
          yield* expectListed(trial, ann, [], "after all ended beside renewals")
        }
      })
  }
]

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [...laws, ...histories].map((definition) => ({
  ...definition,
  races: true,
  sessions: true
}))
