/**
 * The laws that a store answers as its model does. The model is run beside the store on the same steps of two clients who
 * share a session. Each client knows only the answers that it got, as requests do.
 */
import * as Effect from "effect/Effect"
import * as Utils from "effect/Utils"
import type * as SessionRecord from "../../../SessionRecord.js"
import type * as SessionToken from "../../../SessionToken.js"
import type * as Store from "../../../Store.js"
import * as testing from "../../../testing.js"
import * as histories from "./histories.js"
import type * as law from "./law.js"
import type { Answer, Model, Operation } from "./model.js"
import { mismatch, outcomes, tombstoneMillis } from "./model.js"

const perform = (store: law.Asked, operation: Operation): Effect.Effect<Answer, Store.StoreError> => {
  switch (operation._tag) {
    case "load":
      return store.load(operation.token)
    case "create":
      return store.create(operation.token, operation.record)
    case "update":
      return store.update(operation.token, operation.revision, operation.record)
    case "renew":
      return store.renew(operation.token, operation.revision, operation.next, operation.record)
    case "touch":
      return store.touch(operation.token, operation.revision, operation.deadline)
    case "remove":
      return Effect.as(store.remove(operation.token), { _tag: "Removed" } as const)
  }
}

/** The steps of clients and of time. Only random histories use those after the first seven. */
const actions = [
  "load",
  "create",
  "update",
  "renew",
  "touch",
  "remove",
  "half",
  "stale",
  "back",
  "join",
  "bound",
  "minute"
] as const

interface Step {
  readonly client: 0 | 1
  readonly action: typeof actions[number]
}

/** What a client knows from its last answers. */
interface Client {
  readonly token: SessionToken.Token
  readonly revision: number
}

/** The idle timeout of the model's sessions: two halves of it pass before a tombstone's minute has ended. */
const idle = 40_000

const contents: Array<SessionRecord.Data> = []

/** The data that is written at a step. It is made once, because there are many short histories. */
const contentOf = (step: number): SessionRecord.Data => contents[step] ??= testing.record({ data: { step } }).data

const play = (trial: law.Trial, steps: ReadonlyArray<Step>) =>
  Effect.gen(function*() {
    const { moveTo, now, settings, store } = trial
    const promises = { tombstones: !settings.waives.includes("tombstones"), exact: settings.clock === "test" }
    const tokens: Array<SessionToken.Token> = []
    const taken: Array<string> = []
    // there are several models as long as the answers allow more than one
    let models: ReadonlyArray<Model> = [new Map()]
    let count = 0

    const check = (operation: Operation): Effect.Effect<Answer, string | Store.StoreError> =>
      Effect.flatMap(perform(store, operation), (answer) => {
        const raised = answer._tag === "Updated" ? answer.revision : 0
        const allowed = models.flatMap((model) => outcomes(model, operation, now(), raised, promises))
        const fitting = allowed.filter((outcome) => mismatch(answer, outcome) === undefined)
        if (
          fitting.length === 0 ||
          answer._tag === "Updated" && !(raised > ("revision" in operation ? operation.revision : 0))
        ) {
          const problem = fitting.length === 0
            ? [...new Set(allowed.map((outcome) => mismatch(answer, outcome)))].join(", or ")
            : `answered revision ${raised}`
          return Effect.fail(`after ${taken.join(", ")}: ${operation._tag} ${problem}`)
        }
        models = [...new Set(fitting.map((outcome) => outcome.model))]
        return Effect.succeed(answer)
      })

    const fresh = (): SessionRecord.SessionRecord => ({
      data: contentOf(count),
      revision: 1,
      createdAt: now(),
      touchedAt: now(),
      deadline: now() + idle,
      expiresAt: now() + 4 * idle,
      idle
    })

    const act = (
      client: Client,
      other: Client,
      action: Step["action"]
    ): Effect.Effect<Client, string | Store.StoreError> => {
      const { revision, token } = client
      switch (action) {
        case "load":
          return Effect.map(
            check({ _tag: "load", token }),
            (answer) => answer._tag === "Live" ? { token, revision: answer.record.revision } : client
          )
        case "create":
          return Effect.map(
            check({ _tag: "create", token, record: fresh() }),
            (answer) => answer._tag === "Created" ? { token, revision: 1 } : client
          )
        case "update":
        case "stale":
          return Effect.map(
            check({ _tag: "update", token, revision: action === "stale" ? revision - 1 : revision, record: fresh() }),
            (answer) => follow(client, answer)
          )
        case "renew": {
          const next = trial.draw(token)
          tokens.push(next)
          return Effect.map(
            check({ _tag: "renew", token, revision, next, record: fresh() }),
            (answer) => follow(client, answer)
          )
        }
        case "touch":
        case "back":
          return Effect.as(
            check({ _tag: "touch", token, revision, deadline: action === "back" ? now() + 1 : now() + idle }),
            client
          )
        case "remove":
          return Effect.as(check({ _tag: "remove", token }), client)
        case "join":
          return Effect.succeed(other)
        case "half":
        case "bound":
        case "minute":
          moveTo(now() + { half: idle / 2, bound: 4 * idle, minute: tombstoneMillis }[action])
          return Effect.succeed(client)
      }
    }

    const first = trial.draw()
    tokens.push(first)
    yield* check({ _tag: "create", token: first, record: fresh() })
    const clients: [Client, Client] = [{ token: first, revision: 1 }, { token: first, revision: 1 }]
    for (const { action, client } of steps) {
      count++
      moveTo(now() + 1)
      taken.push(`${"AB"[client]} ${action}`)
      clients[client] = yield* act(clients[client], clients[client === 0 ? 1 : 0], action)
    }
    taken.push("at the end")
    for (const token of tokens) {
      yield* check({ _tag: "load", token })
    }
  })

const follow = (client: Client, answer: Answer): Client => {
  switch (answer._tag) {
    case "Updated":
      return { token: answer.token, revision: answer.revision }
    case "Conflict":
      return { token: client.token, revision: answer.record.revision }
    default:
      return client
  }
}

const drawn = (seed: number, length: number, choices: ReadonlyArray<Step["action"]>): ReadonlyArray<Step> => {
  const random = new Utils.PCGRandom(seed)
  return Array.from({ length }, () => ({
    client: random.integer(2) as 0 | 1,
    action: choices[random.integer(choices.length)] ?? "load"
  }))
}

const each = (actions: ReadonlyArray<Step["action"]>): ReadonlyArray<Step> =>
  actions.flatMap((action): ReadonlyArray<Step> =>
    action === "half" ? [{ client: 0, action }] : [{ client: 0, action }, { client: 1, action }]
  )

function* sequences(choices: ReadonlyArray<Step>, length: number): Generator<ReadonlyArray<Step>> {
  if (length === 0) {
    yield []
    return
  }
  for (const rest of sequences(choices, length - 1)) {
    for (const step of choices) {
      yield [...rest, step]
    }
  }
}

/** The number of steps in a random history. */
const historyLength = 20

/** The length up to which all histories are tested: there are 91 of two steps, 1,183 of three, 15,379 of four. */
const exhaustiveLength = (thoroughness: number): number => thoroughness < 2 ? 2 : thoroughness < 4 ? 3 : 4

/** How many random histories are played in parallel: enough to keep a server busy, few enough for any pool. */
const concurrency = 4

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  {
    name: "every short history of two clients goes as in the model",
    covers: ["S05", "S13", "S20", "S21", "S26", "S65"],
    needs: ["keeping", "revocation", "revisions"],
    trial: (trial) =>
      Effect.gen(function*() {
        for (const steps of sequences(each(actions.slice(0, 7)), exhaustiveLength(trial.settings.thoroughness))) {
          // the clients are the same until one of them acts, so half of the histories are enough
          if (steps[0]?.client !== 1) {
            yield* trial.fork((own) => play(own, steps))
          }
        }
      })
  },
  {
    name: "random histories of two clients go as in the model",
    covers: ["S05", "S13", "S20", "S21", "S26", "S65"],
    needs: ["keeping", "revocation", "revisions"],
    trial: (trial) =>
      histories.random(
        trial,
        { count: 500, concurrency },
        (own, seed) => play(own, drawn(seed, historyLength, actions))
      )
  }
]
