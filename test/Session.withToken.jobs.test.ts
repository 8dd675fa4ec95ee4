/**
 * A session in a job: a worker takes from a queue what requests put there, each job with the token of its request.
 */
import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Inspectable, Queue } from "effect"
import { HttpMiddleware, Session, SessionField, SessionToken, Store } from "effect-session"
import * as testing from "effect-session/testing"
import * as fixture from "./fixtures/http.js"
import { clocked } from "./support/clocked.js"

const { answering, increment, services } = fixture

type Failure = Session.SessionGone | Session.HeadSent | Store.StoreError

interface Job {
  readonly token: SessionToken.Token
  readonly work: Effect.Effect<unknown, never, Session.Session>
  readonly ended: Deferred.Deferred<unknown, Failure>
}

/** Runs one job after another, each on its own session. A job that fails does not end the worker. */
const worker = (jobs: Queue.Dequeue<Job>) =>
  Queue.take(jobs).pipe(
    Effect.flatMap(({ ended, token, work }) => Effect.intoDeferred(Session.withToken(token)(work), ended)),
    Effect.forever
  )

/** An app that queues jobs, its worker, and a browser whose session counts 1. */
const started = Effect.gen(function*() {
  const jobs = yield* Queue.unbounded<Job>()
  const queued: Array<Job> = []
  const queue = (token: SessionToken.Token, work: Job["work"] = increment) =>
    Effect.gen(function*() {
      const job: Job = { token, work, ended: yield* Deferred.make<unknown, Failure>() }
      queued.push(job)
      yield* Queue.offer(jobs, job)
      return job
    })
  const app = HttpMiddleware.session(fixture.routes({
    "/add": answering(increment),
    "/read": answering(SessionField.get(fixture.Count)),
    "/logout": answering(Session.destroy),
    "/export": Effect.flatMap(
      Session.token,
      (token) => Effect.as(queue(token), HttpServerResponse.empty({ status: 202 }))
    )
      .pipe(Effect.orDie)
  }))
  const client = yield* testing.client(app)
  yield* client.get("/add")
  const controls = yield* testing.Controls
  yield* controls.reset
  return {
    client,
    controls,
    queue,
    queued,
    token: SessionToken.fromString(yield* fixture.tokenOf(client)),
    work: Effect.forkScoped(worker(jobs)),
    counts: Effect.flatMap(client.get("/read"), ({ text }) => text)
  }
})

/** What a job came to: the tag of its failure, or `Right`. */
const outcome = (job: Job) =>
  Effect.match(Deferred.await(job.ended), { onFailure: ({ _tag }) => _tag as string, onSuccess: () => "Right" })

describe("a job that carries the token of its request", () => {
  it.scoped("changes the session of that request, after the request has been answered", () =>
    Effect.gen(function*() {
      const { client, counts, queued, work } = yield* started
      assert.strictEqual((yield* client.get("/export")).status, 202)
      assert.strictEqual(yield* counts, "1")
      yield* work
      assert.strictEqual(yield* outcome(queued[0] as Job), "Right")
      assert.strictEqual(yield* counts, "2")
    }).pipe(Effect.provide(services())))

  it.scoped("S26: SessionGone when the session was destroyed while it was queued: it does not run, nothing is written", () =>
    Effect.gen(function*() {
      const { client, controls, queue, token, work } = yield* started
      let ran = false
      const late = yield* queue(token, Effect.zipRight(Effect.sync(() => ran = true), increment))
      yield* client.get("/logout")
      yield* controls.reset
      yield* work
      assert.strictEqual(yield* outcome(late), "SessionGone")
      assert.isFalse(ran)
      assert.deepStrictEqual(yield* controls.methods, ["load"])
    }).pipe(Effect.provide(services())))

  it.scoped("S26: SessionGone when the session is destroyed while it runs: its change is dropped", () =>
    Effect.gen(function*() {
      const { client, controls, queue, token, work } = yield* started
      const store = yield* Store.Store
      const late = yield* queue(token, Effect.zipLeft(increment, client.get("/logout")))
      yield* work
      assert.strictEqual(yield* outcome(late), "SessionGone")
      assert.strictEqual((yield* clocked(store).load(token))._tag, "Superseded")
      assert.notInclude(yield* controls.methods, "create")
    }).pipe(Effect.provide(services())))

  it.scoped("the worker goes on after a job that failed, and each job has its own session", () =>
    Effect.gen(function*() {
      const { client, controls, counts, queue, token, work } = yield* started
      const gone = SessionToken.draw(yield* SessionToken.Generator)
      const jobs = [yield* queue(token), yield* queue(gone), yield* queue(token, Session.renew), yield* queue(token)]
      yield* work
      assert.deepStrictEqual(yield* Effect.forEach(jobs, outcome), ["Right", "SessionGone", "HeadSent", "Right"])
      assert.notInclude(yield* controls.methods, "create")
      assert.strictEqual(yield* counts, "3")
      assert.strictEqual(yield* (yield* client.get("/add")).text, "4")
    }).pipe(Effect.provide(services())))

  it.scoped("S07: a job that is logged, or written as JSON, does not show its token", () =>
    fixture.logged((lines) =>
      Effect.gen(function*() {
        const { client, queue, token, work } = yield* started
        const text = yield* fixture.tokenOf(client)
        const late = yield* queue(token)
        yield* client.get("/logout")
        yield* work
        yield* Effect.logInfo("a job", late.token, { token: late.token })
        yield* Effect.logInfo(yield* Effect.exit(Deferred.await(late.ended)))
        assert.isAbove(lines.length, 1)
        assert.lengthOf(text, 43)
        for (const shown of [JSON.stringify(lines), JSON.stringify(late), Inspectable.toStringUnknown(late)]) {
          assert.notInclude(shown, text)
        }
        assert.include(JSON.stringify(late), "<redacted>")
      })
    ).pipe(Effect.provide(services())))
})
