/**
 * A process that hammers a store until it is told to stop, or is killed. Its parent passes on the tokens that other
 * workers announce.
 */
import { Effect, Layer, Schedule } from "effect"
import * as Store from "../../src/Store.js"
import { type Board, hammer, remembered } from "./hammer.js"
import * as History from "./history.js"
import { layerOf, type StoreConfig } from "./stores.js"

/** What a worker is started with, as its one argument. */
export interface Order {
  readonly name: string
  readonly store: StoreConfig
  readonly history: string
  readonly sessions: number
  readonly fibers: number
  readonly clockOffset: number
  /** The milliseconds after which a call is given up. */
  readonly limit: number
}

export interface Announcement {
  readonly place: number
  readonly token: string
}

export type ToWorker = Announcement | "stop"
export type FromWorker = Announcement | "ready"

const order = JSON.parse(process.argv[2]!) as Order
const places = new Map<number, Array<string>>()
let stopped = false

const remember = ({ place, token }: Announcement) => {
  const tokens = places.get(place) ?? []
  places.set(place, tokens)
  tokens.push(token)
  tokens.splice(0, tokens.length - remembered)
}

const tell = (message: FromWorker) => {
  // without a parent there is nobody to work for
  process.send?.(message, undefined, undefined, (error) => error === null || process.exit(0))
}

process.on("message", (message: ToWorker) => {
  if (message === "stop") {
    stopped = true
  } else {
    remember(message)
  }
})
process.on("disconnect", () => process.exit(0))

const board: Board = {
  tokens: (place) => places.get(place) ?? [],
  announce: (place, token) => {
    remember({ place, token })
    tell({ place, token })
  }
}

const program = Effect.gen(function*() {
  const store = yield* Store.Store
  tell("ready")
  yield* hammer(
    History.recorded(store, History.toFile(order.history), order.name, order.limit),
    board,
    { ...order, stopped: () => stopped }
  )
}).pipe(
  // a server may be down while a worker starts
  Effect.provide(
    Layer.unwrapEffect(Effect.promise(() => layerOf(order.store))).pipe(
      Layer.retry(Schedule.intersect(Schedule.spaced("200 millis"), Schedule.recurs(50)))
    )
  ),
  Effect.scoped
)

await Effect.runPromise(program)
process.exit(0)
