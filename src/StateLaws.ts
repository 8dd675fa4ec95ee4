/**
 * The state laws: what every state promises, as values that anyone can run on their own state. Each law is a program
 * over the `State` service that fails with `LawBroken`. A small client turns each response into the next request. This
 * module needs no test runner; `suite` of `effect-session/StateLawsSuite` runs all laws under `@effect/vitest`. The
 * module knows nothing of how a state carries a token, nor of stores.
 *
 * @since 0.1.0
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import * as client from "./internal/testing/cookieJar.js"
import * as SessionToken from "./SessionToken.js"
import * as State from "./State.js"

/**
 * How a state is tested. All options have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Whether the state puts tokens into responses. Default true. A state that doesn't, such as a parameter of the URL,
   * must leave every response as it is, and needs `carry`.
   */
  readonly emits?: boolean | undefined
  /**
   * Makes a request that carries a token, in its URL or its headers. Default: the request that the client makes after a
   * response with the token.
   */
  readonly carry?: ((transport: State.Transport, text: string) => Request) | undefined
  /**
   * The client: makes the next request from the request before and its response. Default: a client that keeps cookies
   * by their names until they expire, and sends the response headers that the transport names in `vary` back unchanged.
   */
  readonly client?:
    | ((transport: State.Transport, before: Request, response: Response) => Request)
    | undefined
  /** How many random texts are tried in a token's place. Default 200. */
  readonly values?: number | undefined
  /** The seed of the random texts. Default 1. */
  readonly seed?: number | undefined
}

/**
 * A law that a state broke: the law's name, and what the state did instead of what was expected.
 *
 * @since 0.1.0
 * @category errors
 */
export class LawBroken extends Data.TaggedError("LawBroken")<{ readonly law: string; readonly problem: string }> {
  override get message(): string {
    return `${this.law}: ${this.problem}`
  }
}

/**
 * One law.
 *
 * @since 0.1.0
 * @category models
 */
export interface Law {
  readonly name: string
  /** The numbers of the requirements behind the law, as `docs/requirements.md` lists them. */
  readonly covers: ReadonlyArray<string>
  /** Why the law is skipped under the given options; `undefined` if it is not. */
  readonly waived: string | undefined
  /** Tests the state. Fails with `LawBroken` if the state breaks the law. */
  readonly run: Effect.Effect<void, LawBroken, State.State>
}

interface Trial {
  readonly transport: State.Transport
  readonly draw: () => SessionToken.Token
  /** The request that carries a token. */
  readonly carry: (token: SessionToken.Token) => Effect.Effect<Request>
  readonly next: (before: Request, response: HttpServerResponse.HttpServerResponse) => Request
  readonly strangers: ReadonlyArray<string>
}

interface Definition {
  readonly name: string
  readonly covers: ReadonlyArray<string>
  /** Whether the law is for states that put tokens into responses, or for those that don't. Default: for both. */
  readonly emits?: boolean
  readonly trial: (trial: Trial) => Effect.Effect<void, string>
}

const now = 1_800_000_000_000
const lifetime = 10_500

const emission: State.Emission = { now, endsAt: now + lifetime, persistent: false, attributes: undefined }

const empty = HttpServerResponse.empty()
const first = () => new Request("http://localhost/")

const expect = (condition: boolean, problem: () => string): Effect.Effect<void, string> =>
  condition ? Effect.void : Effect.suspend(() => Effect.fail(problem()))

const show = (value: unknown): string => JSON.stringify(value).slice(0, 400)

const isSame = (actual: ReadonlyArray<string>, expected: ReadonlyArray<string>): boolean =>
  actual.length === expected.length && actual.every((text, index) => text === expected[index])

const extract = ({ transport }: Trial, request: HttpServerRequest.HttpServerRequest) =>
  Effect.map(transport.extract(request), (tokens) => tokens.map(Redacted.value))

const drawnOnly = (texts: ReadonlyArray<string>) =>
  texts.filter((text) => SessionToken.isDrawn(SessionToken.fromString(text)))

const expectTokens = (
  trial: Trial,
  request: HttpServerRequest.HttpServerRequest,
  expected: ReadonlyArray<string>,
  when: string
): Effect.Effect<void, string> =>
  Effect.flatMap(extract(trial, request), (texts) => {
    const found = expected.length === 0 ? drawnOnly(texts) : texts
    return expect(
      isSame(found, expected),
      () =>
        `${when} the request gave ${found.length} tokens, but ${expected.length} were expected, or gave other tokens`
    )
  })

/** The request with other cookies before and after its own, some with almost the same name. */
const amongOthers = (trial: Trial, request: Request): Request => {
  const own = request.headers.get("cookie")
  const names = [...client.cookiesOf(request).keys()]
  const token = () => Redacted.value(trial.draw())
  const headers = new Headers(request.headers)
  headers.set(
    "cookie",
    [
      "law-theme=dark",
      ...names.map((name) => `x${name}=${token()}`),
      ...(own === null ? [] : [own]),
      ...names.map((name) => `${name}x=${token()}`),
      "law-last=1"
    ].join("; ")
  )
  return new Request(request.url, { headers })
}

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
    yield* expect(lost.length === 0, () => `the response lost ${show(lost)}`)
    const web = HttpServerResponse.toWeb(after)
    const body = yield* Effect.promise(() => web.text())
    yield* expect(web.status === 201 && body === "body", () => `the response became ${web.status} ${show(body)}`)
  })

const definitions: ReadonlyArray<Definition> = [
  {
    name: "a token put into a response comes with the client's next request",
    covers: ["S50"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        for (let count = 0; count < 20; count++) {
          const token = trial.draw()
          const response = yield* trial.transport.emit(empty, token, emission)
          const request = HttpServerRequest.fromWeb(trial.next(first(), response))
          yield* expectTokens(trial, request, [Redacted.value(token)], "after a token was emitted")
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
        yield* expectTokens(trial, request, [Redacted.value(token)], "carrying a token,")
      })
  },
  {
    name: "a token in the form that the state writes today is not outdated",
    covers: ["S59"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const response = yield* trial.transport.emit(empty, trial.draw(), emission)
        const tokens = yield* trial.transport.extract(HttpServerRequest.fromWeb(trial.next(first(), response)))
        yield* expect(
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
        const request = HttpServerRequest.fromWeb(amongOthers(trial, yield* trial.carry(token)))
        yield* expectTokens(trial, request, [Redacted.value(token)], "with other cookies")
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
        yield* expectTokens(trial, HttpServerRequest.fromWeb(request), tokens.map(Redacted.value), "with two cookies")
      })
  },
  {
    name: "a token of as many bytes as the limit allows is carried",
    covers: ["S46"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = SessionToken.fromString("a".repeat(trial.transport.limit))
        const request = HttpServerRequest.fromWeb(yield* trial.carry(token))
        yield* expectTokens(trial, request, [Redacted.value(token)], "carrying a token of the longest kind,")
      })
  },
  {
    name: "a new token takes the place of the one before",
    covers: ["S11"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        const before = yield* trial.carry(trial.draw())
        const token = trial.draw()
        const response = yield* trial.transport.emit(empty, token, emission)
        const request = HttpServerRequest.fromWeb(trial.next(before, response))
        yield* expectTokens(trial, request, [Redacted.value(token)], "after another token was emitted")
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
            trial.transport.emit(response, token, emission)
          const once = yield* emit(make(), token)
          const twice = yield* emit(yield* emit(yield* emit(make(), trial.draw()), token), token)
          yield* expect(
            isSame(lines(twice), lines(once)),
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
        const expired = trial.transport.expire(empty, undefined)
        yield* expectTokens(trial, HttpServerRequest.fromWeb(trial.next(before, expired)), [], "after a removal")
        const emitted = yield* trial.transport.emit(empty, trial.draw(), emission)
        const both = trial.transport.expire(emitted, undefined)
        yield* expectTokens(
          trial,
          HttpServerRequest.fromWeb(trial.next(before, both)),
          [],
          "after both in one response"
        )
        yield* expect(
          isSame(lines(trial.transport.expire(expired, undefined)), lines(expired)),
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
          yield* expectKept(make(), yield* trial.transport.emit(make(), trial.draw(), emission))
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
        const before = amongOthers(trial, carrying)
        const own = client.cookiesOf(carrying)
        const others = [...client.cookiesOf(before)].filter(([name]) => !own.has(name))
        const responses = [
          yield* trial.transport.emit(empty, trial.draw(), emission),
          trial.transport.expire(empty, undefined)
        ]
        for (const response of responses) {
          const kept = client.cookiesOf(trial.next(before, response))
          const lost = others.filter(([name, value]) => kept.get(name) !== value).map(([name]) => name)
          yield* expect(lost.length === 0, () => `the client lost the cookies ${show(lost)}`)
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
          const emitted = yield* trial.transport.emit(make(), trial.draw(), emission)
          yield* expect(isSame(lines(emitted), lines(make())), () => "emitting a token changed the response")
          const expired = trial.transport.expire(make(), undefined)
          yield* expect(isSame(lines(expired), lines(make())), () => "a removal changed the response")
        }), { discard: true })
  },
  {
    name: "what is put into a response ends with the session or before it",
    covers: ["S22"],
    emits: true,
    trial: (trial) =>
      Effect.gen(function*() {
        for (const persistent of [false, true]) {
          const response = yield* trial.transport.emit(empty, trial.draw(), { ...emission, persistent })
          for (const text of HttpServerResponse.toWeb(response).headers.getSetCookie()) {
            const end = client.endOf(text, now)
            yield* expect(end === undefined || end <= now + lifetime, () => "a cookie outlives the session")
          }
        }
      })
  },
  {
    name: "a request without a token gives none",
    covers: ["S10"],
    trial: (trial) =>
      Effect.gen(function*() {
        const token = Redacted.value(trial.draw())
        const bare = HttpServerRequest.fromWeb(first())
        yield* expectTokens(trial, bare, [], "carrying nothing,")
        const elsewhere = new Request(`http://localhost/${token}?law=${token}#${token}`, {
          headers: { cookie: `law=${token}; ${token}=1`, "x-law": token, referer: `http://localhost/?law=${token}` }
        })
        yield* expectTokens(trial, HttpServerRequest.fromWeb(elsewhere), [], "carrying tokens elsewhere,")
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
        yield* expectTokens(trial, HttpServerRequest.fromWeb(request), [Redacted.value(token)], "with these alone")
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
        for (const text of variants.filter((text) => drawnOnly([text]).length === 0)) {
          const headers = Object.fromEntries(
            Object.entries(request.headers).map(([name, value]) => [name, write(text, value)])
          )
          const stranger = request.modify({
            url: write(text, request.url),
            headers: { ...request.headers, ...headers }
          })
          const exit = yield* Effect.exit(extract(trial, stranger))
          yield* expect(
            exit._tag === "Success",
            () => `${show(text)} failed: ${exit._tag === "Failure" ? Cause.pretty(exit.cause) : ""}`
          )
          const found = exit._tag === "Success" ? drawnOnly(exit.value) : []
          yield* expect(found.length === 0, () => `${show(text)} was taken for a token`)
        }
      })
  }
]

const strangers = (options: Options): ReadonlyArray<string> => [
  "__proto__",
  "constructor",
  "\u0000",
  "\r\nset-cookie: a=1",
  "%",
  "%E0%A4%A",
  "\"",
  "\ud800",
  "../x",
  "x".repeat(10_000),
  ...fc.sample(fc.string({ unit: "binary", maxLength: 60 }), {
    numRuns: options.values ?? 200,
    seed: options.seed ?? 1
  }),
  ...fc.sample(fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 }), {
    numRuns: options.values ?? 200,
    seed: options.seed ?? 1
  }).map((units) => String.fromCharCode(...units))
]

const run = (definition: Definition, options: Options): Effect.Effect<void, LawBroken, State.State> =>
  Effect.gen(function*() {
    const { transports } = yield* State.State
    const generator = yield* SessionToken.Generator
    const follow = options.client ?? client.follow(now)
    for (const transport of transports) {
      const next: Trial["next"] = (before, response) => follow(transport, before, HttpServerResponse.toWeb(response))
      const trial: Trial = {
        transport,
        draw: () => SessionToken.draw(generator),
        next,
        carry: (token) =>
          options.carry === undefined
            ? Effect.map(transport.emit(empty, token, emission), (response) => next(first(), response))
            : Effect.succeed(options.carry(transport, Redacted.value(token))),
        strangers: strangers(options)
      }
      yield* Effect.mapError(
        definition.trial(trial),
        (problem) => new LawBroken({ law: definition.name, problem: `${transport.audience}: ${problem}` })
      )
    }
  })

/**
 * The laws, to run them one by one.
 *
 * @since 0.1.0
 * @category laws
 * @example
 * ```ts
 * import { HeaderState } from "effect-session"
 * import * as StateLaws from "effect-session/StateLaws"
 * import { Effect } from "effect"
 *
 * const kept = Effect.forEach(StateLaws.laws(), (law) => law.run).pipe(Effect.provide(HeaderState.layer()))
 * ```
 */
export const laws = (options: Options = {}): ReadonlyArray<Law> => {
  const emits = options.emits ?? true
  return definitions.map((definition) => ({
    name: definition.name,
    covers: definition.covers,
    waived: definition.emits === undefined || definition.emits === emits
      ? undefined
      : `for states that put ${emits ? "nothing" : "tokens"} into responses`,
    run: run(definition, options)
  }))
}
