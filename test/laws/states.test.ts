import { Redacted } from "effect"
import * as CookieState from "effect-session/CookieState"
import * as HeaderState from "effect-session/HeaderState"
import * as ParamState from "effect-session/ParamState"
import * as State from "effect-session/State"
import * as StateLaws from "effect-session/StateLaws"

const secrets = [Redacted.make("new"), Redacted.make("old")]

StateLaws.suite("CookieState", { layer: CookieState.layer() })
StateLaws.suite("CookieState, plain HTTP", { layer: CookieState.layer({ secure: false }) })
StateLaws.suite("CookieState, prefixed and kept", {
  layer: CookieState.layer({ name: "__Http-sid", domain: "example.com", path: "/app", maxAge: "14 days" })
})
StateLaws.suite("CookieState, partitioned", { layer: CookieState.layer({ partitioned: true, priority: "high" }) })
StateLaws.suite("CookieState, signed", { layer: CookieState.layer({ name: "connect.sid", signed: { secrets } }) })
StateLaws.suite("HeaderState, bearer", { layer: HeaderState.layer() })
StateLaws.suite("HeaderState, a header of its own", { layer: HeaderState.layer({ header: "X-Session" }) })
StateLaws.suite("HeaderState, a scheme of its own", {
  layer: HeaderState.layer({ header: "X-Session", scheme: "Session" })
})
StateLaws.suite("State.orElse", {
  layer: State.orElse(
    CookieState.layer(),
    State.orElse(HeaderState.layer(), HeaderState.layer({ header: "X-Session" }))
  )
})
StateLaws.suite("ParamState", {
  layer: ParamState.layer(),
  emits: false,
  carry: (transport, text) => new Request(`http://localhost/?a=1&${transport.audience}=${text}`)
})
StateLaws.suite("ParamState, body too", {
  layer: ParamState.layer({ key: "a b", body: true }),
  emits: false,
  carry: (_, text) => new Request(`http://localhost/?a+b=${text}`)
})
