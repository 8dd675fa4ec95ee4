/**
 * What would surprise in how long users stay signed in: a cookie and a policy that do not fit together. Pure functions of
 * both; the middleware logs what they say when the first request comes.
 */
import type * as SessionPolicy from "../../SessionPolicy.js"
import type * as State from "../../State.js"

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const units = [["day", day], ["hour", hour], ["minute", minute], ["second", second]] as const

/** A duration as options take it, such as "30 days". */
const words = (millis: number): string => {
  const [unit, length] = units.find(([, length]) => millis % length === 0) ?? ["millisecond", 1]
  const count = millis / length
  return `${count} ${unit}${count === 1 ? "" : "s"}`
}

const ofCookie = (
  { audience, clientKeeps }: State.Transport,
  { idleTimeout, lifetime }: SessionPolicy.Policy
): ReadonlyArray<string> => {
  const longest = Math.min(idleTimeout, lifetime)
  if (clientKeeps === "browser") {
    return longest <= day ? [] : [
      `A session lives for ${
        words(longest)
      } without being used, but its token (${audience}) is lost when the browser is ` +
      `closed. To keep users signed in for ${words(longest)}, set the cookie's maxAge to "${
        words(longest)
      }". Otherwise ` +
      "lower SessionPolicy's idleTimeout."
    ]
  }
  if (clientKeeps === undefined || clientKeeps <= longest) {
    return []
  }
  const short = [
    ...idleTimeout < clientKeeps ? ["idleTimeout"] : [],
    ...lifetime < clientKeeps ? ["lifetime"] : []
  ]
  return [
    `The cookie's maxAge (${audience}) is ${words(clientKeeps)}, but a session ends when it is not used for ` +
    `${words(idleTimeout)}, and after ${words(lifetime)} in any case. To keep users signed in for ` +
    `${words(clientKeeps)}, set SessionPolicy's ${short.join(" and ")} to "${words(clientKeeps)}". Otherwise lower ` +
    `maxAge to "${words(longest)}".`
  ]
}

const ofPolicy = ({ idleTimeout, lifetime }: SessionPolicy.Policy): ReadonlyArray<string> =>
  idleTimeout <= lifetime ? [] : [
    `SessionPolicy's idleTimeout is ${words(idleTimeout)}, but its lifetime ends every session after ${
      words(lifetime)
    }. ` +
    `To keep users signed in for ${words(idleTimeout)}, set lifetime to "${words(idleTimeout)}". Otherwise lower ` +
    `idleTimeout to "${words(lifetime)}".`
  ]

/** One sentence or more for each surprise, each with what to change (N5). @internal */
export const lifetimeWarnings = (state: State.State, policy: SessionPolicy.Policy): ReadonlyArray<string> => {
  const ofCookies = state.transports.flatMap((transport) => ofCookie(transport, policy))
  return ofCookies.length > 0 ? ofCookies : ofPolicy(policy)
}
