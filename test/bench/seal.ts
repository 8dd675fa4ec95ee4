/**
 * What it costs to seal a session into a token and to open it again, beside Node's AES-256-GCM alone and the libraries
 * that do the same: text to token and back, then session to token and back, which adds each one's JSON and checks.
 */
import secureSession from "@fastify/secure-session"
import { Effect, Redacted } from "effect"
import * as SealedStore from "effect-session/SealedStore"
import * as SessionToken from "effect-session/SessionToken"
import type * as Store from "effect-session/Store"
import * as testing from "effect-session/testing"
import Fastify from "fastify"
import { sealData, unsealData } from "iron-session"
import { EncryptJWT, jwtDecrypt } from "jose"
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto"
import type { Bytes } from "../../src/internal/crypto/node.js"
import * as SealKeys from "../../src/internal/sealedStore/masterKeys.js"
import * as Seal from "../../src/internal/sealedStore/seal.js"
import { interleave, table } from "./harness.js"
import { standalone } from "./standalone.js"

interface Contender {
  readonly name: string
  readonly seal: () => unknown
  readonly open: () => unknown
}

const audience = "cookie:__Host-session"
const call = (): Store.Call => ({ now: Date.now(), audience, limit: 16_384 })
const key = randomBytes(32)

const rawSeal = (text: string): string => {
  const nonce = randomBytes(12)
  const cipher = createCipheriv("aes-256-gcm", key, nonce)
  const body = cipher.update(text, "utf8")
  cipher.final()
  return Buffer.concat([nonce, body, cipher.getAuthTag()]).toString("base64url")
}

const rawOpen = (token: string): string => {
  const bytes = Buffer.from(token, "base64url")
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(bytes.subarray(-16))
  const text = decipher.update(bytes.subarray(12, -16)).toString("utf8")
  decipher.final()
  return text
}

/** Session data whose JSON has this many characters, in keys of about 100. */
const dataOf = (size: number): { readonly [key: string]: string | number } => {
  const data: { [key: string]: string | number } = { visits: 3 }
  for (let n = 0; JSON.stringify(data).length + 130 < size; n++) {
    data[`key${n}`] = randomBytes(60).toString("base64url")
  }
  const rest = size - JSON.stringify(data).length - 10
  return rest > 0 ? { ...data, rest: "x".repeat(rest) } : data
}

const textContenders = async (size: number): Promise<ReadonlyArray<Contender>> => {
  const keyring = await Effect.runPromise(SealKeys.make("bench", [Redacted.make(key.toString("base64"))]))
  const sealer = Seal.make(keyring.runtime, keyring.keys)
  const body = "x".repeat(size)
  const content = (): Bytes => keyring.runtime.Buffer.from(body, "utf8")
  const raw = rawSeal(body)
  const token = sealer.seal(audience, content())
  return [
    { name: "node:crypto AES-256-GCM, text", seal: () => rawSeal(body), open: () => rawOpen(raw) },
    {
      name: "effect-session, text",
      seal: () => sealer.seal(audience, content()),
      open: () => {
        const opened = sealer.open(audience, sealer.parse(token) ?? content())
        if (typeof opened === "string") {
          throw new Error(`the bench's own token is ${opened}`)
        }
        return opened.content.toString("utf8")
      }
    }
  ]
}

const sessionContenders = async (size: number): Promise<ReadonlyArray<Contender>> => {
  const data = dataOf(size)
  const raw = rawSeal(JSON.stringify(data))

  const store = await Effect.runPromise(SealedStore.make({ keys: [Redacted.make(key.toString("base64"))] }))
  const record = testing.record({ data, createdAt: Date.now() })
  const drawn = SessionToken.draw(randomBytes)
  const created = await Effect.runPromise(store.create(drawn, record, call()))
  const sealed = created._tag === "Created" ? Redacted.value(created.token) : ""
  const create = Effect.suspend(() => store.create(drawn, record, call()))
  const load = Effect.suspend(() => store.load(SessionToken.fromString(sealed), call()))

  const app = Fastify()
  await app.register(secureSession, { key })
  await app.ready()
  const secure = app.createSecureSession(data)
  const secured = app.encodeSecureSession(secure)

  const password = randomBytes(32).toString("base64")
  const iron = await sealData(data, { password, ttl: 86_400 })

  const encrypt = () =>
    new EncryptJWT({ ...data }).setProtectedHeader({ alg: "dir", enc: "A256GCM" }).setIssuedAt().setExpirationTime("1h")
      .setAudience(audience).encrypt(key)
  const jwe = await encrypt()

  return [
    {
      name: "node:crypto AES-256-GCM, JSON",
      seal: () => rawSeal(JSON.stringify(data)),
      open: () => JSON.parse(rawOpen(raw))
    },
    { name: "effect-session SealedStore", seal: () => Effect.runSync(create), open: () => Effect.runSync(load) },
    {
      name: "@fastify/secure-session (libsodium)",
      seal: () => app.encodeSecureSession(secure),
      open: () => app.decodeSecureSession(secured)
    },
    { name: "jose, JWE dir A256GCM", seal: encrypt, open: () => jwtDecrypt(jwe, key, { audience }) },
    {
      name: "iron-session",
      seal: () => sealData(data, { password, ttl: 86_400 }),
      open: () => unsealData(iron, { password, ttl: 86_400 })
    }
  ]
}

/** Calls in one measured run: enough to be long beside the timer and the harness's own `await`. */
const batch = 100

const batched = (call: () => unknown): () => Promise<void> => async () => {
  for (let n = 0; n < batch; n++) {
    const result = call()
    if (result instanceof Promise) {
      await result
    }
  }
}

const measure = async (contenders: ReadonlyArray<Contender>, size: string): Promise<ReadonlyArray<Array<string>>> => {
  const options = { rounds: 21, calls: 5 }
  const seal = await interleave(contenders.map(({ name, seal }) => ({ name, run: batched(seal) })), options)
  const open = await interleave(contenders.map(({ name, open }) => ({ name, run: batched(open) })), options)
  return seal.map(({ micros, name, ratio }, index) => {
    const opened = open[index]
    return [
      size,
      name,
      (micros / batch).toFixed(1),
      `x${ratio.toFixed(2)}`,
      ((opened?.micros ?? Number.NaN) / batch).toFixed(1),
      `x${(opened?.ratio ?? Number.NaN).toFixed(2)}`
    ]
  })
}

export const run = async (): Promise<string> => {
  const rows: Array<Array<string>> = []
  for (const [size, name] of [[100, "100 B"], [1024, "1 KB"], [3072, "3 KB"]] as const) {
    rows.push(...await measure(await textContenders(size), name))
    rows.push(...await measure(await sessionContenders(size), name))
  }
  return table(["size", "seal and open", "seal us", "over raw", "open us", "over raw"], rows)
}

await standalone(import.meta.url, run)
