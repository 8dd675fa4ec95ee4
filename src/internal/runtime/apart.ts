/**
 * Runs what outlives the fiber that starts it. It holds nothing of that fiber but what is the app's own: the default
 * services, among them the clock and the tracer, the loggers, the metric labels and the scheduler. So a request that is
 * over can be freed, and what belongs to it, such as its log annotations, is not that of others.
 */
import type * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Runtime from "effect/Runtime"
import type { Running } from "./caller.js"

/** Runs effects in fibers of their own, with these services and no others. @internal */
export const forkApart = <R>(caller: Running, context: Context.Context<R>) => {
  const keep = <A>(kept: FiberRefs.FiberRefs, fiberRef: FiberRef.FiberRef<A>): FiberRefs.FiberRefs =>
    FiberRefs.updateAs(kept, { fiberId: caller.id(), fiberRef, value: caller.getFiberRef(fiberRef) })
  let fiberRefs = keep(FiberRefs.empty(), DefaultServices.currentServices)
  fiberRefs = keep(fiberRefs, FiberRef.currentLoggers)
  fiberRefs = keep(fiberRefs, FiberRef.currentMinimumLogLevel)
  fiberRefs = keep(fiberRefs, FiberRef.currentMetricLabels)
  fiberRefs = keep(fiberRefs, FiberRef.currentScheduler)
  return Runtime.runFork(Runtime.make({ context, fiberRefs, runtimeFlags: Runtime.defaultRuntimeFlags }))
}
