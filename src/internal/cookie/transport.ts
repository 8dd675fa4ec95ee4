/**
 * Carries a token in a cookie, by the rules of `rules.ts`: reads it from the request's `Cookie` header, puts it into a
 * response, and removes it from the client. The module knows nothing of stores, nor of what a session holds.
 */
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SessionToken from "../../SessionToken.js"
import type * as State from "../../State.js"
import * as signature from "../crypto/hmac.js"
import * as http from "../http/response.js"
import * as chunks from "./chunks.js"
import * as rules from "./rules.js"

/** The form in which a cookie's value holds the token. @internal */
export type Form =
  | { readonly _tag: "Plain" }
  | { readonly _tag: "Chunks" }
  | { readonly _tag: "Signed"; readonly signers: readonly [signature.Sign, ...ReadonlyArray<signature.Sign>] }

/** A configured cookie. @internal */
export interface Cookie {
  readonly name: string
  readonly attributes: State.Attributes
  readonly form: Form
}

/** @internal */
export const CookieId: unique symbol = Symbol.for("effect-session/CookieState/Cookie")

/** A transport that knows the cookie in which it carries the token. */
interface CookieTransport extends State.Transport {
  readonly [CookieId]: Cookie
}

/** @internal */
export const isCookieTransport = (transport: State.Transport): transport is CookieTransport => CookieId in transport

const drawnLength = 43
const signedPrefix = "s:"

/** The bytes that `s:`, the dot and a signature add to a token. Encoded, each + / and : takes three bytes. */
const signedOverhead = 4 + 1 + 3 * signature.length

const overheadOf = (form: Form): number => form._tag === "Signed" ? signedOverhead : 0

/** The first rule that a cookie with these attributes breaks, if any. @internal */
export const check = ({ form, name }: Cookie, attributes: State.Attributes): rules.Problem | undefined =>
  rules.check(name, attributes, drawnLength + overheadOf(form))

// ------------------------------------------------------------------------------------------------------------ reading

type Extract = State.Transport["extract"]

const none: Effect.Effect<ReadonlyArray<SessionToken.Token>> = Effect.succeed([])

/** Reads the cookies of these names, if the request has a `Cookie` header. */
const reading = (
  names: ReadonlyArray<string>,
  tokens: (found: ReadonlyArray<ReadonlyArray<string>>) => ReturnType<Extract>
): Extract =>
(request) => {
  const header = request.headers["cookie"]
  return header === undefined ? none : tokens(rules.values(header, names))
}

const extractPlain = (name: string): Extract =>
  reading([name], ([values = []]) => Effect.succeed(values.map(SessionToken.fromString)))

/**
 * Reads the values of the cookie itself, then the joined pieces. One of the `maximumValues` is reserved for the pieces,
 * so that planted cookies of the same name can't hide them.
 */
const extractChunks = (name: string): Extract =>
  reading(chunks.allNames(name), ([values = [], ...pieces]) => {
    const whole = chunks.join(pieces)
    const texts = whole === undefined ? values : [...values.slice(0, rules.maximumValues - 1), whole]
    return Effect.succeed(texts.map(SessionToken.fromString))
  })

interface Verified {
  readonly token: SessionToken.Token
  readonly outdated: boolean
}

const verify = (
  [first, ...older]: ReadonlyArray<signature.Sign>,
  value: string
): Effect.Effect<Verified | undefined> => {
  const dot = value.lastIndexOf(".")
  if (first === undefined || dot === -1 || !value.startsWith(signedPrefix)) {
    return Effect.succeed(undefined)
  }
  const text = value.slice(signedPrefix.length, dot)
  const signed = value.slice(dot + 1)
  return Effect.gen(function*() {
    const outdated = !(yield* signature.verify([first], text, signed))
    return outdated && !(yield* signature.verify(older, text, signed))
      ? undefined
      : { token: SessionToken.fromString(text), outdated }
  })
}

/** Reads the tokens with a valid signature. Tokens that an older secret signed are added to `outdated`. */
const extractSigned = (
  name: string,
  signers: ReadonlyArray<signature.Sign>,
  outdated: WeakSet<SessionToken.Token>
): Extract =>
  reading([name], ([values = []]) =>
    values.length === 0 ? none : Effect.map(
      Effect.forEach(values, (value) => verify(signers, value)),
      (all) => {
        const found = all.filter((verified) => verified !== undefined)
        for (const verified of found) {
          if (verified.outdated) {
            outdated.add(verified.token)
          }
        }
        return found.map(({ token }) => token)
      }
    ))

// ------------------------------------------------------------------------------------------------------------ writing

const expireAll = (
  response: HttpServerResponse.HttpServerResponse,
  names: ReadonlyArray<string>,
  attributes: State.Attributes
): HttpServerResponse.HttpServerResponse => {
  const removal = rules.removal(attributes)
  return names.reduce((response, name) => http.setCookie(response, name, "", "", removal), response)
}

const put = (
  { attributes, form, name }: Cookie,
  response: HttpServerResponse.HttpServerResponse,
  value: string,
  emission: State.Emission
): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  const encoded = rules.encode(value)
  const pieces = form._tag === "Chunks" && encoded === value ? chunks.split(name, value) : undefined
  if (encoded === undefined || pieces === undefined && encoded.length + name.length > rules.maximumSize) {
    return Effect.as(
      Effect.logError(
        `CookieState: The store's token is too long for the cookie ${name} and was not sent, so the client gets no ` +
          "session. Keep less in the session, use a store that keeps it on the server, or set the option chunks."
      ),
      response
    )
  }
  const set = rules.setting(attributes, emission)
  if (pieces === undefined) {
    return Effect.succeed(http.setCookie(response, name, value, encoded, set))
  }
  const cleared = expireAll(response, pieces.expire, rules.merge(attributes, emission.attributes))
  return Effect.succeed(
    pieces.set.reduce((response, [name, part]) => http.setCookie(response, name, part, part, set), cleared)
  )
}

const emit = (cookie: Cookie): State.Transport["emit"] => {
  const { form } = cookie
  if (form._tag !== "Signed") {
    return (response, token, emission) => put(cookie, response, Redacted.value(token), emission)
  }
  const [sign] = form.signers
  return (response, token, emission) => {
    const text = Redacted.value(token)
    return Effect.flatMap(sign(text), (signed) => put(cookie, response, `${signedPrefix}${text}.${signed}`, emission))
  }
}

/** The transport of a cookie whose attributes were checked. @internal */
export const make = (cookie: Cookie): CookieTransport => {
  const { attributes, form, name } = cookie
  const names = form._tag === "Chunks" ? chunks.allNames(name) : [name]
  const outdated = new WeakSet<SessionToken.Token>()
  const base = {
    [CookieId]: cookie,
    audience: `cookie:${name}`,
    limit: form._tag === "Chunks" ? chunks.limitOf(name) : rules.maximumSize - name.length - overheadOf(form),
    vary: ["Cookie"],
    persistent: attributes.maxAge !== undefined,
    clientKeeps: attributes.maxAge === undefined ? "browser" as const : Duration.toMillis(attributes.maxAge),
    emit: emit(cookie),
    expire: (response: HttpServerResponse.HttpServerResponse, override: State.Attributes | undefined) =>
      expireAll(response, names, rules.merge(attributes, override))
  }
  switch (form._tag) {
    case "Plain":
      return { ...base, extract: extractPlain(name) }
    case "Chunks":
      return { ...base, extract: extractChunks(name) }
    case "Signed":
      return {
        ...base,
        extract: extractSigned(name, form.signers, outdated),
        outdated: (token) => outdated.has(token)
      }
  }
}
