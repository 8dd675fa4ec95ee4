/**
 * The state laws of requests: which tokens a request gives, and that nothing else of it is taken for one. They know
 * nothing of how a state carries a token.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SessionToken from "../../../SessionToken.js"
import * as client from "./client.js"
import * as law from "./law.js"

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  {
    name: "a token put into a response comes with the client's next request",
    covers: ["S50"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        for (let count = 0; count < 20; count++) {
          const token = trial.draw()
          const response = yield* trial.transport.emit(law.empty, token, law.emission)
          const request = HttpServerRequest.fromWeb(trial.next(law.first(), response))
          yield* law.expectTokens(trial, request, [Redacted.value(token)], "after a token was emitted")
        }
      })
  },
  {
    name: "a token that a request carries is read",
    covers: ["S51"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = trial.draw()
        const request = HttpServerRequest.fromWeb(yield* trial.carry(token))
        yield* law.expectTokens(trial, request, [Redacted.value(token)], "carrying a token,")
      })
  },
  {
    name: "a token in the form that the state writes today is not outdated",
    covers: ["S59"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const response = yield* trial.transport.emit(law.empty, trial.draw(), law.emission)
        const tokens = yield* trial.transport.extract(HttpServerRequest.fromWeb(trial.next(law.first(), response)))
        yield* law.expect(
          tokens.length > 0 && tokens.every((token) => trial.transport.outdated?.(token) !== true),
          () => "a token that was emitted is not read again, or counts as outdated"
        )
      })
  },
  {
    name: "a token is read among a client's other cookies",
    covers: ["S51"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = trial.draw()
        const request = HttpServerRequest.fromWeb(law.amongOthers(trial, yield* trial.carry(token)))
        yield* law.expectTokens(trial, request, [Redacted.value(token)], "with other cookies")
      })
  },
  {
    name: "of several cookies of its name each is a candidate, in order",
    covers: ["S51"],
    trial: (trial) =>
      Effect.gen(function*() {
        const tokens = [trial.draw(), trial.draw()]
        const requests = yield* Effect.forEach(tokens, trial.carry)
        if (requests.some((request) => client.cookiesOf(request).size !== 1)) {
          return
        }
        const cookie = requests.map(({ headers }) => headers.get("cookie")).join("; ")
        const request = new Request("http://localhost/", { headers: { cookie } })
        yield* law.expectTokens(
          trial,
          HttpServerRequest.fromWeb(request),
          tokens.map(Redacted.value),
          "with two cookies"
        )
      })
  },
  {
    name: "a token of as many bytes as the limit allows is carried",
    covers: ["S46"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = SessionToken.fromString("a".repeat(trial.transport.limit))
        const request = HttpServerRequest.fromWeb(yield* trial.carry(token))
        yield* law.expectTokens(trial, request, [Redacted.value(token)], "carrying a token of the longest kind,")
      })
  },
  {
    name: "a request without a token gives none",
    covers: ["S10"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = Redacted.value(trial.draw())
        const bare = HttpServerRequest.fromWeb(law.first())
        yield* law.expectTokens(trial, bare, [], "carrying nothing,")
        const elsewhere = new Request(`http://localhost/${token}?law=${token}#${token}`, {
          headers: { cookie: `law=${token}; ${token}=1`, "x-law": token, referer: `http://localhost/?law=${token}` }
        })
        yield* law.expectTokens(trial, HttpServerRequest.fromWeb(elsewhere), [], "carrying tokens elsewhere,")
      })
  },
  {
    name: "only the headers that are named for Vary are read",
    covers: ["S56"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = trial.draw()
        const carrying = yield* trial.carry(token)
        const named = trial.transport.vary.map((name) => name.toLowerCase())
        const headers = [...carrying.headers].filter(([name]) => named.includes(name))
        const request = new Request(carrying.url, { headers })
        yield* law.expectTokens(trial, HttpServerRequest.fromWeb(request), [Redacted.value(token)], "with these alone")
      })
  },
  {
    name: "no text in a token's place is taken for a token, nor fails",
    covers: ["S03"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = Redacted.value(trial.draw())
        const request = HttpServerRequest.fromWeb(yield* trial.carry(SessionToken.fromString(token)))
        const write = (text: string, into: string) => into.split(token).join(text)
        const variants = [
          ...trial.strangers,
          "",
          token.slice(1),
          `A${token}`,
          `${token}A`,
          `${token}\n`,
          `${token}%0A`,
          `${token}%00`,
          `%00${token}`
        ]
        for (const text of variants.filter((text) => law.drawnOnly([text]).length === 0)) {
          const headers = Object.fromEntries(
            Object.entries(request.headers).map(([name, value]) => [name, write(text, value)])
          )
          const stranger = request.modify({
            url: write(text, request.url),
            headers: { ...request.headers, ...headers }
          })
          const exit = yield* Effect.exit(law.extract(trial, stranger))
          yield* law.expect(
            exit._tag === "Success",
            () => `${law.show(text)} failed: ${exit._tag === "Failure" ? Cause.pretty(exit.cause) : ""}`
          )
          const found = exit._tag === "Success" ? law.drawnOnly(exit.value) : []
          yield* law.expect(found.length === 0, () => `${law.show(text)} was taken for a token`)
        }
      })
  }
]
