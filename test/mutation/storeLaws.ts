/** The laws with few histories: every mutant runs them. */
import * as StoreLaws from "../../src/StoreLaws.js"

export * from "../../src/StoreLaws.js"

export const suite: typeof StoreLaws.suite = (name, options) =>
  StoreLaws.suite(name, { ...options, thoroughness: 0.04 })
