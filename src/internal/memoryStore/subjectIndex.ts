/**
 * The ids of sessions by subject. A session without a subject costs one comparison. The module knows nothing of records
 * or of time.
 */
import type { SessionId } from "../../SessionToken.js"

const nobody: ReadonlySet<SessionId> = new Set()

/** @internal */
export class SubjectIndex {
  private readonly subjects = new Map<string, Set<SessionId>>()

  /** How many subjects have a session. */
  get size(): number {
    return this.subjects.size
  }

  /** The ids of a subject's sessions, in the order in which they were added. */
  idsOf(subject: string): ReadonlySet<SessionId> {
    return this.subjects.get(subject) ?? nobody
  }

  add(subject: string | undefined, id: SessionId): void {
    if (subject === undefined) {
      return
    }
    const ids = this.subjects.get(subject)
    if (ids === undefined) {
      this.subjects.set(subject, new Set([id]))
    } else {
      ids.add(id)
    }
  }

  delete(subject: string | undefined, id: SessionId): void {
    if (subject === undefined) {
      return
    }
    const ids = this.subjects.get(subject)
    if (ids?.delete(id) === true && ids.size === 0) {
      this.subjects.delete(subject)
    }
  }
}
