/**
 * The state laws of responses: what a token or its removal makes of a response, what of it stays, and what the client then
 * has. They know nothing of how a state carries a token.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as SessionToken from "../../../SessionToken.js"
import * as jar from "../../testing/cookieJar.js"
import * as client from "./client.js"
import * as law from "./law.js"

/** A response with cookies and headers of its own, as the platform's value and as a web `Response` in a body. */
const busy: ReadonlyArray<() => HttpServerResponse.HttpServerResponse> = [
  () =>
    HttpServerResponse.text("body", {
      status: 201,
      headers: { "set-cookie": "law-raw=1; Path=/law", "x-law": "1", vary: "X-Law" }
    }).pipe(HttpServerResponse.unsafeSetCookie("law-other", "1", { path: "/law", httpOnly: true })),
  () => {
    const headers = new Headers({ "x-law": "1", vary: "X-Law" })
    headers.append("set-cookie", "law-raw=1; Path=/law")
    headers.append("set-cookie", "law-other=1; Path=/law; HttpOnly")
    return HttpServerResponse.raw(new Response("body", { status: 201, headers }))
  }
]

const lines = (response: HttpServerResponse.HttpServerResponse): ReadonlyArray<string> => {
  const headers = HttpServerResponse.toWeb(response).headers
  const others = [...headers].filter(([name]) => name !== "set-cookie").map(([name, value]) => `${name}: ${value}`)
  return [...others, ...headers.getSetCookie().map((text) => `set-cookie: ${text}`)].sort()
}

const expectKept = (
  before: HttpServerResponse.HttpServerResponse,
  after: HttpServerResponse.HttpServerResponse
): Effect.Effect<void, string> =>
  Effect.gen(function*() {
    const kept = lines(after)
    const lost = lines(before).filter((line) => !kept.includes(line))
    yield* law.expect(lost.length === 0, () => `the response lost ${law.show(lost)}`)
    const web = HttpServerResponse.toWeb(after)
    const body = yield* Effect.promise(() => web.text())
    yield* law.expect(
      web.status === 201 && body === "body",
      () => `the response became ${web.status} ${law.show(body)}`
    )
  })

/** @internal */
export const definitions: ReadonlyArray<law.Definition> = [
  {
    name: "a new token takes the place of the one before",
    covers: ["S11"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const before = yield* trial.carry(trial.draw())
        const token = trial.draw()
        const response = yield* trial.transport.emit(law.empty, token, law.emission)
        const request = HttpServerRequest.fromWeb(trial.next(before, response))
        yield* law.expectTokens(trial, request, [Redacted.value(token)], "after another token was emitted")
      })
  },
  {
    name: "putting a token twice is putting it once, and the last one stays",
    covers: ["S54"],
    emits: true,
    trial: (trial) =>
      Effect.forEach(busy, (make) =>
        Effect.gen(function*() {
          const token = trial.draw()
          const emit = (response: HttpServerResponse.HttpServerResponse, token: SessionToken.Token) =>
            trial.transport.emit(response, token, law.emission)
          const once = yield* emit(make(), token)
          const twice = yield* emit(yield* emit(yield* emit(make(), trial.draw()), token), token)
          yield* law.expect(
            law.isSame(lines(twice), lines(once)),
            () => "the response differs from that of one emission"
          )
        }), { discard: true })
  },
  {
    name: "a client has no token after its removal",
    covers: ["S25", "S27"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const before = yield* trial.carry(trial.draw())
        const expired = trial.transport.expire(law.empty, undefined)
        yield* law.expectTokens(trial, HttpServerRequest.fromWeb(trial.next(before, expired)), [], "after a removal")
        const emitted = yield* trial.transport.emit(law.empty, trial.draw(), law.emission)
        const both = trial.transport.expire(emitted, undefined)
        yield* law.expectTokens(
          trial,
          HttpServerRequest.fromWeb(trial.next(before, both)),
          [],
          "after both in one response"
        )
        yield* law.expect(
          law.isSame(lines(trial.transport.expire(expired, undefined)), lines(expired)),
          () => "two removals differ from one"
        )
      })
  },
  {
    name: "the rest of a response stays as it is",
    covers: ["S54"],
    emits: true,
    trial: (trial) =>
      Effect.forEach(busy, (make) =>
        Effect.gen(function*() {
          yield* expectKept(make(), yield* trial.transport.emit(make(), trial.draw(), law.emission))
          yield* expectKept(make(), trial.transport.expire(make(), undefined))
        }), { discard: true })
  },
  {
    name: "a client keeps its other cookies",
    covers: ["S54"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const carrying = yield* trial.carry(trial.draw())
        const before = law.amongOthers(trial, carrying)
        const own = client.cookiesOf(carrying)
        const others = [...client.cookiesOf(before)].filter(([name]) => !own.has(name))
        const responses = [
          yield* trial.transport.emit(law.empty, trial.draw(), law.emission),
          trial.transport.expire(law.empty, undefined)
        ]
        for (const response of responses) {
          const kept = client.cookiesOf(trial.next(before, response))
          const lost = others.filter(([name, value]) => kept.get(name) !== value).map(([name]) => name)
          yield* law.expect(lost.length === 0, () => `the client lost the cookies ${law.show(lost)}`)
        }
      })
  },
  {
    name: "a response is left as it is",
    covers: ["S10"],
    emits: false,
    trial: (trial) =>
      Effect.forEach(busy, (make) =>
        Effect.gen(function*() {
          const emitted = yield* trial.transport.emit(make(), trial.draw(), law.emission)
          yield* law.expect(law.isSame(lines(emitted), lines(make())), () => "emitting a token changed the response")
          const expired = trial.transport.expire(make(), undefined)
          yield* law.expect(law.isSame(lines(expired), lines(make())), () => "a removal changed the response")
        }), { discard: true })
  },
  {
    name: "what is put into a response ends with the session or before it",
    covers: ["S22"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        for (const persistent of [false, true]) {
          const response = yield* trial.transport.emit(law.empty, trial.draw(), { ...law.emission, persistent })
          for (const text of HttpServerResponse.toWeb(response).headers.getSetCookie()) {
            const end = jar.endOf(text, law.now)
            yield* law.expect(end === undefined || end <= law.now + law.lifetime, () => "a cookie outlives the session")
          }
        }
      })
  }
]
