/**
 * When a commit is carried out: at once where the store answers at once; else in its turn among the commits of the same
 * session in this process, and no longer than the policy's store timeout. Knows nothing of how it is carried out.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { SessionRecord } from "../../SessionRecord.js"
import type { StoreError } from "../../Store.js"
import { Pending } from "../runtime/pending.js"
import * as Timeout from "../runtime/timeout.js"
import type { CommitError, Run } from "./commit.js"
import { carryOut, planned } from "./commit.js"
import { queueOf } from "./commitQueue.js"
import type { Planned } from "./model.js"
import { spanned } from "./spans.js"
import type { SessionState } from "./state.js"
import { gaveUp, late } from "./storeCalls.js"
import { commitWithin, learnEndings } from "./transactions.js"

/** Commits a session that is loaded, by the plan that is there, or by one that is made when the turn comes. @internal */
export const commit = <B>(run: Run<B>, plan: Planned<B> | undefined): Effect.Effect<B, CommitError> => {
  const { caller, state } = run
  const { transaction } = state.environment.store
  const committing = () =>
    transaction === undefined ? inTurn(run, plan) : Effect.flatMap(
      transaction,
      Option.match({
        onNone: () => Effect.flatMap(learnEndings(run.state), () => inTurn(run, undefined)),
        // It holds the record until the transaction ends, so it must not wait for a turn. It runs in the caller's fiber, so
        // that it never goes on after the transaction, on a connection that is another's by then.
        onSome: (transaction) =>
          Effect.timeoutFail(commitWithin(run, transaction), {
            duration: run.state.environment.policy.storeTimeout,
            onTimeout: () => tooLate(run)
          })
      })
    )
  return spanned(caller, "session.commit", committing, () => state.open.base)
}

const inTurn = <B>(run: Run<B>, plan: Planned<B> | undefined): Effect.Effect<B, CommitError> => {
  const { state } = run
  const queue = queueOf(state.environment.store)
  const key = keyOf(state)
  if (queue.isBusy(key)) {
    return inTime(run, queue.run(key, (ahead, leave) => carryOutBehind(run, key, ahead, leave)))
  }
  // The key is free, so that nothing can come between the call of the store here and the taking of the key below.
  const carried = carryOut(run, plan ?? planned(run))
  if (Exit.isExit(carried)) {
    return carried
  }
  if (!(carried instanceof Pending)) {
    return inTime(run, queue.run(key, (_, leave) => leaving(run, carried, leave)))
  }
  const end = queue.take(key)
  return inTime(run, carried, () => end(run.left))
}

/** The token that the session rests on; a session that has none yet goes by its name in this process. */
const keyOf = ({ open: { base, incarnation } }: SessionState): string =>
  base._tag === "Live" ? Redacted.value(base.token) : incarnation.name

type Leave = (record: SessionRecord) => void

/** Goes on from what the commit ahead left, unless the session rests on another token by now. */
const carryOutBehind = <B>(
  run: Run<B>,
  key: string,
  ahead: SessionRecord | undefined,
  leave: Leave
): Effect.Effect<B, CommitError> => {
  const { state } = run
  const { base } = state.open
  if (
    ahead !== undefined && base._tag === "Live" && Redacted.value(base.token) === key &&
    ahead.revision > base.record.revision
  ) {
    state.rebase(base.token, ahead)
  }
  return leaving(run, carryOut(run, planned(run)), leave)
}

const leaving = <B, E>(run: Run<B>, carried: Effect.Effect<B, E>, leave: Leave): Effect.Effect<B, E> =>
  Effect.tap(carried, () => {
    if (run.left !== undefined) {
      leave(run.left)
    }
    return Effect.void
  })

/** Waits for a commit no longer than the policy says. What the handler no longer waits for goes on. */
const inTime = <B>(
  run: Run<B>,
  commit: Effect.Effect<B, CommitError>,
  whenDone?: () => void
): Effect.Effect<B, CommitError> => {
  const { state } = run
  const started = Timeout.start(
    run.caller,
    commit,
    state.environment.policy.storeTimeout,
    () => tooLate(run)
  )
  if (whenDone !== undefined) {
    started.whenDone(whenDone)
  }
  const outcome = Timeout.outcome(started)
  if (run.request.explicit) {
    state.starts(outcome)
  }
  return outcome
}

/** The write that was tried last did not answer in time, or others won every attempt. */
const tooLate = <B>({ caller, conflicted, state, write }: Run<B>): StoreError => {
  if (!conflicted && write._tag !== "Nothing") {
    gaveUp(caller, methodOf(write._tag), state.environment.policy.storeTimeout)
  }
  return late("commit", conflicted ? "Contention" : "Timeout")
}

const methodOf = <Tag extends string>(tag: Tag): Lowercase<Tag> => tag.toLowerCase() as Lowercase<Tag>
