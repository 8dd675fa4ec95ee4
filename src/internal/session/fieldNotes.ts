/**
 * Which stored values their fields' schemas no longer accept, reported once for each request and key.
 */
import * as Effect from "effect/Effect"
import { emitting, namedIn } from "./events.js"
import type { SessionState } from "./state.js"

/** @internal */
export interface Notes {
  /** Notes that the value under a key can't be decoded. */
  readonly undecodable: (key: string) => void
}

/** @internal */
export class FieldNotes implements Notes {
  private readonly known = new Set<string>()
  private unreported: ReadonlyArray<string> = []

  constructor(private readonly state: SessionState) {}

  get isEmpty(): boolean {
    return this.unreported.length === 0
  }

  undecodable(key: string): void {
    if (!this.known.has(key)) {
      this.known.add(key)
      this.unreported = [...this.unreported, key]
    }
  }

  get report(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const keys = this.unreported
      this.unreported = []
      return Effect.flatMap(namedIn(this.state), (session) =>
        Effect.forEach(keys, (key) =>
          emitting(
            this.state,
            { _tag: "Rejected", ...session, reason: "invalid field", field: key },
            Effect.annotateLogs(
              Effect.logWarning(
                "the schema of a session's field no longer accepts the stored value, which counts as missing"
              ),
              "session.field",
              key
            )
          ), { discard: true }))
    })
  }
}
