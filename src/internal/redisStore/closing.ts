/**
 * How a client of the package `redis` is closed, however far its connection is. The module knows nothing of sessions.
 */

interface Closeable {
  readonly on: (event: "connect" | "ready" | "error" | "reconnecting", listener: () => void) => unknown
  readonly isOpen: boolean
  readonly destroy: () => void
}

/**
 * Gives the function that closes a client, which is about to connect for the first time. While a connection is being
 * made, `destroy` would leave it open, so the client is destroyed when the attempt has ended.
 *
 * @internal
 */
export const closer = (client: Closeable): () => void => {
  let closed = false
  let attempting = true
  const destroy = () => {
    if (closed && !attempting && client.isOpen) {
      client.destroy()
    }
  }
  const attempted = () => {
    attempting = false
    destroy()
  }
  client.on("reconnecting", () => {
    attempting = true
  })
  client.on("connect", attempted)
  // `createSentinel` says no more than this when it has connected again
  client.on("ready", attempted)
  client.on("error", attempted)
  return () => {
    closed = true
    destroy()
  }
}
