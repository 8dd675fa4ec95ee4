import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted } from "effect"
import * as CookieState from "effect-session/CookieState"
import * as HeaderState from "effect-session/HeaderState"
import * as ParamState from "effect-session/ParamState"
import * as State from "effect-session/State"
import * as StateLaws from "effect-session/StateLaws"
import * as StateLawsSuite from "effect-session/StateLawsSuite"

const secrets = [Redacted.make("new"), Redacted.make("old")]

StateLawsSuite.suite("CookieState", { layer: CookieState.layer() })
StateLawsSuite.suite("CookieState, plain HTTP", { layer: CookieState.layer({ secure: false }) })
StateLawsSuite.suite("CookieState, prefixed and kept", {
  layer: CookieState.layer({ name: "__Http-sid", domain: "example.com", path: "/app", maxAge: "14 days" })
})
StateLawsSuite.suite("CookieState, partitioned", { layer: CookieState.layer({ partitioned: true, priority: "high" }) })
StateLawsSuite.suite("CookieState, signed", { layer: CookieState.layer({ name: "connect.sid", signed: { secrets } }) })
StateLawsSuite.suite("HeaderState, bearer", { layer: HeaderState.layer() })
StateLawsSuite.suite("HeaderState, a header of its own", { layer: HeaderState.layer({ header: "X-Session" }) })
StateLawsSuite.suite("HeaderState, a scheme of its own", {
  layer: HeaderState.layer({ header: "X-Session", scheme: "Session" })
})
StateLawsSuite.suite("State.orElse", {
  layer: State.orElse(
    CookieState.layer(),
    State.orElse(HeaderState.layer(), HeaderState.layer({ header: "X-Session" }))
  )
})
StateLawsSuite.suite("ParamState", {
  layer: ParamState.layer(),
  emits: false,
  carry: (_, text) => new Request(`http://localhost/?a=1&session=${text}`)
})
StateLawsSuite.suite("ParamState, body too", {
  layer: ParamState.layer({ key: "a b", body: true }),
  emits: false,
  carry: (_, text) => new Request(`http://localhost/?a+b=${text}`)
})

describe("StateLaws finds what is broken:", () => {
  const cookie = CookieState.make({ secure: false })
  const header = HeaderState.make({ header: "X-Session" })
  const param = ParamState.make()
  const carry = (_: State.Transport, text: string) => new Request(`http://localhost/?session=${text}`)

  const broken: ReadonlyArray<
    readonly [
      title: string,
      state: Effect.Effect<State.State, unknown>,
      change: (transport: State.Transport) => Partial<State.Transport>,
      law: string,
      options?: StateLaws.Options
    ]
  > = [
    [
      "a token that is not put into the response",
      header,
      () => ({ emit: Effect.succeed }),
      "a token put into a response comes with the client's next request"
    ],
    [
      "a token that is not read",
      param,
      () => ({ extract: () => Effect.succeed([]) }),
      "a token that a request carries is read",
      { emits: false, carry }
    ],
    [
      "a token that is outdated as soon as it is put into a response",
      cookie,
      () => ({ outdated: () => true }),
      "a token in the form that the state writes today is not outdated"
    ],
    [
      "a limit beyond what fits",
      cookie,
      () => ({ limit: 4096 }),
      "a token of as many bytes as the limit allows is carried"
    ],
    [
      "a long token that is cut",
      cookie,
      (transport) => ({
        extract: (request) =>
          Effect.map(
            transport.extract(request),
            (tokens) => tokens.map((token) => Redacted.make(Redacted.value(token).slice(0, 1000)))
          )
      }),
      "a token of as many bytes as the limit allows is carried"
    ],
    [
      "a response that grows at its end with each token",
      cookie,
      (transport) => ({
        emit: (response, token, emission) =>
          Effect.map(transport.emit(response, token, emission), (emitted) => {
            const before = emitted.headers["x-tokens"] ?? "-".repeat(500)
            return HttpServerResponse.setHeader(emitted, "x-tokens", `${before}+`)
          })
      }),
      "putting a token twice is putting it once, and the last one stays"
    ],
    [
      "an old token beside the new one",
      cookie,
      (transport) => ({
        emit: (response, token) =>
          Effect.succeed(
            HttpServerResponse.unsafeSetCookie(response, `s${Redacted.value(token).slice(0, 8)}`, Redacted.value(token))
          ),
        extract: (request) =>
          Effect.succeed(
            Object.entries(request.cookies).filter(([name]) => name.length === 9).map(([, value]) =>
              Redacted.make(value)
            )
          ),
        expire: transport.expire
      }),
      "a new token takes the place of the one before"
    ],
    [
      "a removal of another cookie with the session's",
      cookie,
      (transport) => ({
        expire: (response, attributes) =>
          HttpServerResponse.unsafeSetCookie(transport.expire(response, attributes), "law-theme", "", { maxAge: 0 })
      }),
      "a client keeps its other cookies"
    ],
    [
      "a removal of all there is",
      cookie,
      (transport) => ({
        expire: (response, attributes) =>
          HttpServerResponse.setHeader(transport.expire(response, attributes), "clear-site-data", "\"*\"")
      }),
      "a client keeps its other cookies"
    ],
    [
      "a name that is only the beginning of the cookie's",
      cookie,
      () => ({
        extract: (request) =>
          Effect.succeed(
            Object.entries(request.cookies).filter(([name]) => name.startsWith("session")).map(([, value]) =>
              Redacted.make(value)
            )
          )
      }),
      "a token is read among a client's other cookies"
    ],
    [
      "the first of two cookies alone",
      cookie,
      (transport) => ({ extract: (request) => Effect.map(transport.extract(request), (tokens) => tokens.slice(0, 1)) }),
      "of several cookies of its name each is a candidate, in order"
    ],
    [
      "a header added each time",
      cookie,
      (transport) => ({
        emit: (response, token, emission) =>
          Effect.map(
            transport.emit(response, token, emission),
            (response) => HttpServerResponse.setHeader(response, "x-count", `${response.headers["x-count"] ?? ""}1`)
          )
      }),
      "putting a token twice is putting it once, and the last one stays"
    ],
    [
      "a removal that removes nothing",
      cookie,
      () => ({ expire: (response) => response }),
      "a client has no token after its removal"
    ],
    [
      "a Set-Cookie in the place of another",
      cookie,
      () => ({
        emit: (response, token) =>
          Effect.succeed(HttpServerResponse.setHeader(response, "set-cookie", `session=${Redacted.value(token)}`))
      }),
      "the rest of a response stays as it is"
    ],
    [
      "cookies through the platform alone, which loses those of a web Response",
      cookie,
      () => ({
        emit: (response, token) =>
          Effect.succeed(HttpServerResponse.unsafeSetCookie(response, "session", Redacted.value(token)))
      }),
      "the rest of a response stays as it is"
    ],
    [
      "a removal that takes other cookies with it",
      cookie,
      (transport) => ({
        expire: (response, attributes) =>
          transport.expire(HttpServerResponse.empty({ status: response.status }), attributes)
      }),
      "the rest of a response stays as it is"
    ],
    [
      "a token in the response of a state that puts none",
      param,
      () => ({
        emit: (response, token) => Effect.succeed(HttpServerResponse.setHeader(response, "x-t", Redacted.value(token)))
      }),
      "a response is left as it is",
      { emits: false, carry }
    ],
    [
      "a removal from the response of a state that puts none",
      param,
      () => ({ expire: (response) => HttpServerResponse.setHeader(response, "x-t", "") }),
      "a response is left as it is",
      { emits: false, carry }
    ],
    [
      "a cookie that outlives the session",
      cookie,
      (transport) => ({
        emit: (response, token, emission) =>
          transport.emit(response, token, { ...emission, endsAt: emission.endsAt + 1000 })
      }),
      "what is put into a response ends with the session or before it"
    ],
    [
      "a token taken from anywhere",
      header,
      (transport) => ({
        extract: (request) =>
          Effect.map(
            transport.extract(request),
            (tokens) => tokens.length > 0 ? tokens : [Redacted.make(request.headers["x-law"] ?? "")]
          )
      }),
      "a request without a token gives none"
    ],
    [
      "a Vary that says too little",
      header,
      () => ({ vary: ["Cookie"] }),
      "only the headers that are named for Vary are read",
      { carry: (_, text) => new Request("http://localhost/", { headers: { "x-session": text } }) }
    ],
    [
      "a token cleaned of what doesn't belong to it",
      cookie,
      (transport) => ({
        extract: (request) =>
          Effect.map(
            transport.extract(request),
            (tokens) => tokens.map((token) => Redacted.make(Redacted.value(token).replace(/\n$/, "")))
          )
      }),
      "no text in a token's place is taken for a token, nor fails"
    ],
    [
      "a request that kills it",
      cookie,
      (transport) => ({
        extract: (request) =>
          request.headers["cookie"]?.includes("__proto__") === true
            ? Effect.die("broken")
            : transport.extract(request)
      }),
      "no text in a token's place is taken for a token, nor fails"
    ]
  ]

  for (const [title, made, change, name, options] of broken) {
    it.effect(title, () =>
      Effect.gen(function*() {
        const [transport] = (yield* made).transports
        const state = State.make({ ...transport, ...change(transport) })
        const law = StateLaws.laws(options).find((law) => law.name === name)
        assert.isDefined(law)
        assert.isUndefined(law?.waived)
        const exit = yield* Effect.exit(Effect.provideService(law!.run, State.State, state))
        assert.isTrue(Exit.isFailure(exit), "the law held")
        assert.include(String(exit), "LawBroken")
      }))
  }
})
