/**
 * The one place that looks up the runtime's cryptography. `node` is Node's own, whose hash and ciphers are synchronous.
 * Bun, Deno and most workers have it too. It is looked up rather than imported, so that a bundle still loads on a
 * runtime without it. `web` is WebCrypto, which every runtime has and which returns promises.
 */
import { builtin } from "../runtime/builtin.js"

/** @internal */
export interface Bytes extends Uint8Array {
  readonly toString: (encoding?: "base64url" | "utf8" | "hex", start?: number, end?: number) => string
  readonly write: (text: string, offset: number, encoding: "base64url" | "utf8") => number
  readonly readDoubleBE: (offset: number) => number
  readonly writeDoubleBE: (value: number, offset: number) => number
  readonly copy: (target: Uint8Array, targetStart: number, start: number, end: number) => number
  readonly subarray: (start?: number, end?: number) => Bytes
}

interface BufferLike {
  readonly alloc: (size: number) => Bytes
  readonly allocUnsafe: (size: number) => Bytes
  readonly byteLength: (text: string, encoding: "utf8") => number
  readonly from: (text: string, encoding: "base64url" | "utf8" | "hex" | "latin1") => Bytes
}

interface Digest {
  readonly update: (data: string | Uint8Array) => Digest
  readonly digest: {
    (): Bytes
    (encoding: "base64" | "base64url"): string
  }
}

interface Cipher {
  readonly setAAD: (data: Uint8Array) => unknown
  readonly update: (data: Uint8Array) => Bytes
  readonly final: () => Bytes
}

/** @internal */
export interface CryptoLike {
  readonly createHash: (algorithm: "sha256") => Digest
  /** Hashes in one call. Node has it from 20.12 on. */
  readonly hash?: (algorithm: "sha256", text: string, encoding: "base64url") => string
  readonly createHmac: (algorithm: "sha256", key: string | Uint8Array) => Digest
  readonly createCipheriv: {
    (algorithm: "aes-256-gcm", key: Uint8Array, iv: Uint8Array): Cipher & { readonly getAuthTag: () => Bytes }
    (algorithm: "aes-256-ecb", key: Uint8Array, iv: Uint8Array): Cipher & {
      readonly setAutoPadding: (padding: boolean) => unknown
    }
  }
  readonly createDecipheriv: (
    algorithm: "aes-256-gcm",
    key: Uint8Array,
    iv: Uint8Array,
    options: { readonly authTagLength: number }
  ) => Cipher & { readonly setAuthTag: (tag: Uint8Array) => unknown }
}

/** @internal */
export interface Node {
  readonly crypto: CryptoLike
  readonly Buffer: BufferLike
}

const load = (): Node | undefined => {
  const crypto = builtin<CryptoLike>("node:crypto")
  const buffer = builtin<{ readonly Buffer: BufferLike }>("node:buffer")
  return crypto === undefined || buffer === undefined ? undefined : { crypto, Buffer: buffer.Buffer }
}

/** Node's cryptography; undefined if this runtime does not have it. @internal */
export const node: Node | undefined = load()

/** WebCrypto. @internal */
export const web: Crypto = globalThis.crypto
