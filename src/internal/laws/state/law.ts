/**
 * What the state laws share: the trial, which is one transport of a state with a client behind it, and the checks with
 * their failure messages. The module knows nothing of how a state carries a token, nor of stores.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SessionToken from "../../../SessionToken.js"
import type * as State from "../../../State.js"
import { expect } from "../broken.js"
import * as client from "./client.js"

export { expect, show } from "../broken.js"

/** @internal */
export interface Trial {
  readonly transport: State.Transport
  readonly draw: () => SessionToken.Token
  /** The request that carries a token. */
  readonly carry: (token: SessionToken.Token) => Effect.Effect<Request>
  readonly next: (before: Request, response: HttpServerResponse.HttpServerResponse) => Request
  readonly strangers: ReadonlyArray<string>
}

/** @internal */
export interface Definition {
  readonly name: string
  readonly covers: ReadonlyArray<string>
  /** Whether the law is for states that put tokens into responses, or for those that don't. Default: for both. */
  readonly emits?: boolean
  readonly trial: (trial: Trial) => Effect.Effect<void, string>
}

/** The time of all laws. @internal */
export const now = 1_800_000_000_000

/** How long the session of an emission lives. @internal */
export const lifetime = 10_500

/** @internal */
export const emission: State.Emission = { now, endsAt: now + lifetime, persistent: false, attributes: undefined }

/** @internal */
export const empty = HttpServerResponse.empty()

/** The request of a client that was never here. @internal */
export const first = () => new Request("http://localhost/")

/** Whether two lists of texts are the same. @internal */
export const isSame = (actual: ReadonlyArray<string>, expected: ReadonlyArray<string>): boolean =>
  actual.length === expected.length && actual.every((text, index) => text === expected[index])

/** The texts of the tokens that a request gives. @internal */
export const extract = ({ transport }: Trial, request: HttpServerRequest.HttpServerRequest) =>
  Effect.map(transport.extract(request), (tokens) => tokens.map(Redacted.value))

/** Those of them that have the form of a drawn token. @internal */
export const drawnOnly = (texts: ReadonlyArray<string>) =>
  texts.filter((text) => SessionToken.isDrawn(SessionToken.fromString(text)))

/** Expects a request to give these tokens; none of the drawn form, if there are none. @internal */
export const expectTokens = (
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

/** The request with other cookies before and after its own, some with almost the same name. @internal */
export const amongOthers = (trial: Trial, request: Request): Request => {
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
