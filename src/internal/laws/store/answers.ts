/**
 * The store laws of create, update and renew: what each answers, and what it leaves, for live, changed, absent and
 * superseded sessions. They know nothing of how a store keeps sessions.
 */
import * as Effect from "effect/Effect"
import * as SessionToken from "../../../SessionToken.js"
import * as law from "./law.js"

/** Characters that no cookie, header or URL carries as they are. */
const unprintable = ["\u0000", " ", "\n", "\u007f", "\u00e9", "\u0430", "\u{1f36a}"]

/** Characters that mean something to a path, a URL or another base64. */
const foreign = ["/", ".", "%", "+", "=", "\\", ":", ";", ",", "*", "~"]

/** The text with another character in place of one of its own. */
const replaced = (text: string, place: number, character: string): string =>
  text.slice(0, place) + character + text.slice(place + 1)

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
  },
  {
    name: "a token with a foreign character in place of one of its own is not accepted",
    covers: ["D9", "S03", "X02"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { token } = yield* law.keep(trial)
        const text = law.textOf(token)
        // a store that answers with tokens of its own may use more characters than drawn tokens have
        const characters = SessionToken.isDrawn(token) ? [...unprintable, ...foreign] : unprintable
        for (const character of characters) {
          for (const place of [0, 1, text.length >> 1, text.length - 1]) {
            const wrong = replaced(text, place, character)
            yield* law.expect(
              !trial.store.accepts(SessionToken.fromString(wrong)),
              () => `a token with ${law.show(character)} at ${place} of ${text.length} is accepted`
            )
          }
        }
      })
  }
]

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** Tokens of the drawn form that differ from this one only in the case of letters, or in a single character. */
const lookalikes = (token: SessionToken.Token): ReadonlyArray<SessionToken.Token> => {
  const text = law.textOf(token)
  const flipped = [...text].map((letter) =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()
  )
  // the last character's two lowest bits are always zero
  const other = (letter: string, step: number) => alphabet[(alphabet.indexOf(letter) + step) % alphabet.length] ?? ""
  const places = [...text].map((letter, place) =>
    replaced(text, place, other(letter, place === text.length - 1 ? 4 : 1))
  )
  return [flipped.slice(0, -1).join("") + text.slice(-1), ...places].map(SessionToken.fromString)
}

const creating: ReadonlyArray<law.Definition> = [
  {
    name: "every character of a token tells sessions apart",
    covers: ["S01"],
    needs: ["keeping"],
    trial: (trial) =>
      Effect.gen(function*() {
        const drawn = trial.draw()
        const all = yield* Effect.forEach([drawn, ...lookalikes(drawn)], (token, n) => {
          const record = law.recordOf(trial, { data: { n } })
          return Effect.map(
            Effect.flatMap(trial.store.create(token, record), (answer) =>
              law.expectTag(answer, "Created", "create under a token like another")),
            (answer) => ({ token: answer.token, record })
          )
        })
        for (const kept of all) {
          yield* law.expectKept(trial, kept, "of a token like others")
        }
      })
  },
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
        const { first, second } = yield* law.changed(trial)
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
    name: "revisions past 2^16 and 2^32 are kept apart",
    covers: ["D9", "S65"],
    needs: ["keeping", "revisions"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (const width of [2 ** 16, 2 ** 32]) {
          for (const revision of [width - 1, width, width + 7]) {
            const kept = yield* law.keep(trial, { revision })
            yield* law.expectKept(trial, kept, `of a session of revision ${revision}`)
            const late = law.written(trial, kept.record, { late: true })
            for (const other of [revision + width, revision - width]) {
              const answer = yield* trial.store.update(kept.token, other, late)
              yield* law.expectTag(answer, "Conflict", `update of revision ${other} where ${revision} is kept`)
              yield* law.expectKept(trial, kept, `after an update of revision ${other}`)
            }
            const second = yield* law.rewrite(trial, kept, { n: 1 })
            yield* law.expect(
              second.record.revision > revision,
              () => `update of revision ${revision} answered revision ${second.record.revision}`
            )
            yield* law.expectKept(trial, second, `after an update of revision ${revision}`)
            const stale = yield* trial.store.update(kept.token, revision, late)
            yield* law.expectTag(stale, "Conflict", `a second update of revision ${revision}`)
          }
        }
      })
  },
  {
    name: "update never creates",
    covers: ["S04", "S21", "X01"],
    needs: [],
    trial: (trial) =>
      Effect.gen(function*() {
        const unknown = { token: trial.draw(), record: law.recordOf(trial) }
        yield* law.nothingRevives(trial, unknown, "under a token that was never used")
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
        yield* law.noWriteRevives(trial, first, "under the old token after renew")
        yield* law.noWriteRevives(
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
        yield* law.expectKept(trial, third, "of the live token")
      })
  },
  {
    name: "renew of a changed session is a Conflict and ends nothing",
    covers: ["S15"],
    needs: ["keeping", "revisions"],
    trial: (trial) =>
      Effect.gen(function*() {
        const { first, second } = yield* law.changed(trial)
        const next = trial.draw(first.token)
        const late = law.written(trial, first.record, { late: true })
        const answer = yield* trial.store.renew(first.token, first.record.revision, next, late)
        const { record } = yield* law.expectTag(answer, "Conflict", "renew of a changed session")
        yield* law.expectSame(record, second.record, "the record of the Conflict")
        yield* law.expectKept(trial, second, "of the old token after a Conflict")
        yield* law.expectEnded(trial, next, "of the new token after a Conflict")
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
        // no session may be lost because a token repeats: the renewal fails, or the caller has to try again
        const tried = yield* Effect.either(
          trial.store.renew(other.token, other.record.revision, victim.token, late)
        )
        if (tried._tag === "Right") {
          yield* law.expectTag(tried.right, "Conflict", "renew to another session's token, if it does not fail,")
        }
        yield* law.expectKept(trial, victim, "of another session's token after a renew to it")
        yield* law.expectKept(trial, other, "of the old token after a renew to another session's token")
      })
  },
  {
    name: "renew does not accept a superseded token",
    covers: ["S26"],
    needs: ["keeping", "revocation", "tombstones"],
    trial: (trial) =>
      Effect.gen(function*() {
        const ended = yield* law.removed(trial)
        const other = yield* law.keep(trial)
        const late = law.written(trial, other.record, { late: true })
        const tried = yield* Effect.either(trial.store.renew(other.token, other.record.revision, ended.token, late))
        if (tried._tag === "Right") {
          yield* law.expectTag(tried.right, "Conflict", "renew to a superseded token, if it does not fail,")
        }
        const { _tag } = yield* trial.store.load(ended.token)
        yield* law.expect(_tag === "Superseded", () => `a renew to a superseded token left it ${_tag}`)
        yield* law.expectKept(trial, other, "of the old token after a renew to a superseded one")
      })
  }
]

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [...accepts, ...creating, ...updating, ...renewing]
