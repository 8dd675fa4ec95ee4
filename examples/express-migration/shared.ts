/**
 * What both apps must agree on.
 */
import type { Store } from "express-session"

export interface Shared {
  /** The cookie's name. */
  readonly name: string
  /** The newest first: it signs, all verify. */
  readonly secrets: ReadonlyArray<string>
  readonly cookie: {
    readonly path: string
    readonly httpOnly: boolean
    readonly sameSite: "lax"
    readonly secure: boolean
  }
  /** How long the cookie and an idle session live, in milliseconds. */
  readonly maxAge: number
  readonly store: Store
}
