/**
 * The law that those are listed who are live. A model says who is: it is run beside the store on the same random logins,
 * renewals and ends of two subjects.
 */
import * as Effect from "effect/Effect"
import * as Utils from "effect/Utils"
import * as histories from "./histories.js"
import * as law from "./law.js"
import type { Checked, Login } from "./logins.js"
import { expectEqual, expectListed, login, renew, someone } from "./logins.js"

const actions = [
  "login",
  "login",
  "anonymous",
  "renew",
  "update",
  "touch",
  "remove",
  "revoke",
  "all",
  "newest"
] as const

/** A session of the model: one that is live, with the ids that it had before its renewals. */
interface Live extends Login {
  readonly before: ReadonlyArray<string>
}

/** Plays random steps, and compares after each who is listed with who is live. */
const play = (trial: law.Trial, seed: number): Checked =>
  Effect.gen(function*() {
    const random = new Utils.PCGRandom(seed)
    const subjects = [someone(trial, "ann"), someone(trial, "bob")]
    const taken: Array<string> = []
    let live: ReadonlyArray<Live> = []
    const canFollow = !trial.settings.waives.includes("tombstones")

    const ofSubject = (subject: string) =>
      live.filter(({ record }) => record.subject === subject).sort((a, b) => b.record.touchedAt - a.record.touchedAt)
    const without = (gone: ReadonlyArray<Live>) => {
      live = live.filter((one) => !gone.includes(one))
    }

    const step = (action: typeof actions[number], subject: string): Checked =>
      Effect.gen(function*() {
        const chosen = live[random.integer(Math.max(1, live.length))]
        switch (action) {
          case "login":
          case "anonymous": {
            const begun = yield* login(trial, action === "login" ? subject : undefined)
            live = [...live, { ...begun, before: [] }]
            return
          }
          case "all": {
            const ended = yield* trial.sessions.revokeAll(subject)
            yield* expectEqual(ended, ofSubject(subject).length, "revokeAll")
            return without(ofSubject(subject))
          }
          case "newest": {
            const ended = yield* trial.sessions.keepNewest(subject, 2)
            yield* expectEqual(ended, Math.max(0, ofSubject(subject).length - 2), "keepNewest 2")
            return without(ofSubject(subject).slice(2))
          }
        }
        if (chosen === undefined) {
          return
        }
        without([chosen])
        switch (action) {
          case "renew": {
            const next = yield* renew(trial, chosen)
            live = [...live, { ...next, before: [...chosen.before, chosen.id] }]
            return
          }
          case "update": {
            const kept = yield* law.rewrite(trial, chosen, { n: taken.length })
            live = [...live, { ...chosen, ...kept }]
            return
          }
          case "touch": {
            const deadline = chosen.record.deadline + 1000
            yield* trial.store.touch(chosen.token, chosen.record.revision, deadline)
            live = [...live, { ...chosen, record: { ...chosen.record, deadline, touchedAt: trial.now() } }]
            return
          }
          case "remove":
            return yield* trial.store.remove(chosen.token)
          case "revoke": {
            const ids = canFollow ? [chosen.id, ...chosen.before] : [chosen.id]
            // a store may find the sessions of nobody by their tokens alone
            const ended = yield* trial.sessions.revoke(ids[random.integer(ids.length)] ?? chosen.id)
            return yield* law.expect(ended || chosen.record.subject === undefined, () => "revoke answered false")
          }
        }
      })

    for (let n = 0; n < 16; n++) {
      trial.moveTo(trial.now() + 1000)
      const action = actions[random.integer(actions.length)] ?? "login"
      taken.push(action)
      yield* step(action, subjects[random.integer(2)] ?? "").pipe(
        Effect.zipRight(
          Effect.forEach(subjects, (subject) => expectListed(trial, subject, ofSubject(subject), "of a subject"))
        ),
        Effect.mapError((error) => typeof error === "string" ? `after ${taken.join(", ")}: ${error}` : error)
      )
    }
  })

/** @internal */
export const definitions: ReadonlyArray<Omit<law.Definition, "races" | "sessions">> = [
  {
    name: "after random logins, renewals and ends those are listed who are live",
    covers: ["S26", "S28", "S31", "S32"],
    needs: ["keeping", "revocation"],
    trial: (trial) => histories.random(trial, { count: 30, concurrency: 1 }, play)
  }
]
