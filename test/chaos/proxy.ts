/**
 * A proxy between clients and a server. It passes everything on in order. It can delay answers, cut connections, and
 * cut them in place of an answer, when the server has done already what it was asked.
 */
import { Effect } from "effect"
import type { Scope } from "effect"
import { once } from "node:events"
import * as net from "node:net"

export interface Proxy {
  readonly port: number
  /** New connections go to this port. */
  readonly lead: (port: number) => void
  /** Ends every connection. */
  readonly cut: () => void
  /** Ends the connections on which the next answers would come, as many as said. */
  readonly cutAnswers: (count: number) => void
  /** Delays what servers send by up to so many milliseconds. */
  readonly delay: (milliseconds: number) => void
}

export const make = (to: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<net.Socket>()
      let target = to
      let cutting = 0
      let longest = 0
      const hold = (socket: net.Socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => sockets.delete(socket))
        return socket
      }
      const listener = net.createServer((client) => {
        const server = hold(net.connect(target, "127.0.0.1"))
        hold(client).setNoDelay(true)
        server.setNoDelay(true)
        client.on("close", () => server.destroy())
        client.on("data", (chunk) => server.write(chunk))
        let last = Promise.resolve()
        const wait = () => longest === 0 ? 0 : Math.random() * longest
        server.on("close", () => void last.then(() => client.destroy()))
        server.on("data", (chunk) => {
          if (cutting > 0) {
            cutting--
            client.destroy()
            return
          }
          const milliseconds = wait()
          last = last.then(() => {
            if (milliseconds === 0) {
              client.write(chunk)
              return
            }
            return new Promise((resolve) =>
              setTimeout(() => {
                client.write(chunk)
                resolve()
              }, milliseconds)
            )
          })
        })
      }).listen(0, "127.0.0.1")
      await once(listener, "listening")
      const cut = () => sockets.forEach((socket) => socket.destroy())
      return {
        port: (listener.address() as net.AddressInfo).port,
        lead: (port: number) => {
          target = port
        },
        cut,
        cutAnswers: (count: number) => {
          cutting = count
        },
        delay: (milliseconds: number) => {
          longest = milliseconds
        },
        close: () => {
          cut()
          listener.close()
        }
      }
    }),
    (proxy) => Effect.sync(proxy.close)
  )
