/**
 * Hashing and randomness on any runtime. Node's synchronous hash is taken where the runtime has it (Node, Bun, Deno and
 * most workers), because WebCrypto's answers by promise and costs several times as much; WebCrypto is the fallback, so
 * no module of the core imports a Node built-in.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"

interface NodeCrypto {
  readonly createHash: (algorithm: "sha256") => {
    readonly update: (text: string, encoding: "utf8") => { readonly digest: (encoding: "base64url") => string }
  }
  readonly hash?: (algorithm: "sha256", text: string, encoding: "base64url") => string
}

interface ProcessLike {
  readonly getBuiltinModule?: (id: string) => unknown
}

interface CryptoLike {
  readonly getRandomValues: (array: Uint8Array) => Uint8Array
  readonly subtle: { readonly digest: (algorithm: "SHA-256", data: Uint8Array) => Promise<ArrayBuffer> }
}

const globals = globalThis as unknown as { readonly process?: ProcessLike; readonly crypto: CryptoLike }

const node = globals.process?.getBuiltinModule?.("node:crypto") as NodeCrypto | undefined

const hashNode = (node: NodeCrypto): (text: string) => string => {
  const oneShot = node.hash
  return oneShot === undefined
    ? (text) => node.createHash("sha256").update(text, "utf8").digest("base64url")
    : (text) => oneShot("sha256", text, "base64url")
}

/** The synchronous SHA-256, where the runtime has one. @internal */
export const sha256Sync: ((text: string) => string) | undefined = node === undefined ? undefined : hashNode(node)

/** SHA-256 by WebCrypto. @internal */
export const sha256Web = (text: string): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => globals.crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (digest) => Encoding.encodeBase64Url(new Uint8Array(digest))
  )

const poolSize = 4096
const pool = new Uint8Array(poolSize)
let used = poolSize

/** Random bytes of the runtime's CSPRNG, drawn in bulk; what was handed out is wiped from the pool. @internal */
export const randomBytes = (size: number): Uint8Array => {
  if (size > poolSize) {
    return globals.crypto.getRandomValues(new Uint8Array(size))
  }
  if (used + size > poolSize) {
    globals.crypto.getRandomValues(pool)
    used = 0
  }
  const bytes = pool.slice(used, used + size)
  pool.fill(0, used, used + size)
  used += size
  return bytes
}
