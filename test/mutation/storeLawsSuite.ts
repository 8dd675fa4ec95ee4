/** The laws with few histories: every mutant runs them. */
import * as StoreLawsSuite from "../../src/StoreLawsSuite.js"

export const suite: typeof StoreLawsSuite.suite = (name, options) =>
  StoreLawsSuite.suite(name, { ...options, thoroughness: 0.04 })
