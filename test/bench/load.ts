/**
 * A client that keeps a fixed number of connections busy, one request at a time on each, every request of a visitor with
 * a cookie of its own. It reads as much of HTTP/1.1 as the servers measured here speak: a response has a content length.
 */
import { connect, type Socket } from "node:net"
import { serve } from "./processes.js"

export interface Load {
  readonly port: number
  readonly path: string
  readonly connections: number
  /** How many visitors take turns. Default: one a connection. */
  readonly visitors?: number
  readonly requests: number
  /** Without a cookie, and forgetting any that is set. */
  readonly anonymous?: boolean
}

export interface Loaded {
  /** Milliseconds from the first request to the last response. */
  readonly millis: number
  readonly failed: number
  /** The last response, for a look at what was measured. */
  readonly body: string
}

/** Cookies by port and visitor: they outlive a turn. */
const cookies = new Map<string, string>()

const open = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1")
    socket.setNoDelay(true)
    socket.once("error", reject)
    socket.once("connect", () => resolve(socket))
  })

const run = async (
  { anonymous = false, connections, path, port, requests, visitors = connections }: Load
): Promise<Loaded> => {
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)))
  let left = requests
  let failed = 0
  let body = ""

  const connection = (socket: Socket): Promise<void> =>
    new Promise((resolve, reject) => {
      let name = ""
      let received = ""

      const next = (): void => {
        if (left === 0) return resolve()
        left--
        name = `${port}/${left % visitors}`
        const cookie = anonymous ? undefined : cookies.get(name)
        socket.write(
          `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${
            cookie === undefined ? "" : `cookie: ${cookie}\r\n`
          }\r\n`
        )
      }

      socket.on("data", (chunk) => {
        received += chunk.toString("latin1")
        const end = received.indexOf("\r\n\r\n")
        if (end === -1) return
        const head = received.slice(0, end)
        const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
        if (length === undefined) return reject(new Error(`a response without a length:\n${head}`))
        if (received.length < end + 4 + Number(length)) return
        if (!head.startsWith("HTTP/1.1 200")) failed++
        if (!anonymous) {
          const set = /\r\nset-cookie: *([^;\r]+)/i.exec(head)?.[1]
          if (set !== undefined) cookies.set(name, set)
        }
        body = received.slice(end + 4)
        received = ""
        next()
      })
      socket.once("error", reject)
      socket.once("close", () => reject(new Error(`the server on port ${port} hung up`)))
      next()
    })

  const start = performance.now()
  await Promise.all(sockets.map(connection))
  const millis = performance.now() - start
  for (const socket of sockets) socket.destroy()
  return { millis, failed, body }
}

if (process.send !== undefined) {
  serve("ready", (message) => run(message as Load))
}
