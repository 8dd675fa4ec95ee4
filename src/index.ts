/**
 * Sessions for Effect HTTP apps. A State says how the client carries its token, a Store where the session lives, and
 * `HttpMiddleware.session` joins them.
 *
 * @since 0.1.0
 */
/** @since 0.1.0 */
export * as CacheStore from "./CacheStore.js"
/** @since 0.1.0 */
export * as CookieState from "./CookieState.js"
/** @since 0.1.0 */
export * as Csrf from "./Csrf.js"
/** @since 0.1.0 */
export * as ExpressStore from "./ExpressStore.js"
/** @since 0.1.0 */
export * as FileStore from "./FileStore.js"
/** @since 0.1.0 */
export * as HeaderState from "./HeaderState.js"
/** @since 0.1.0 */
export * as HttpApiSession from "./HttpApiSession.js"
/** @since 0.1.0 */
export * as HttpMiddleware from "./HttpMiddleware.js"
/** @since 0.1.0 */
export * as MemoryStore from "./MemoryStore.js"
/** @since 0.1.0 */
export * as NullStore from "./NullStore.js"
/** @since 0.1.0 */
export * as ParamState from "./ParamState.js"
/** @since 0.1.0 */
export * as SealedStore from "./SealedStore.js"
/** @since 0.1.0 */
export * as Session from "./Session.js"
/** @since 0.1.0 */
export * as SessionError from "./SessionError.js"
/** @since 0.1.0 */
export * as SessionEvents from "./SessionEvents.js"
/** @since 0.1.0 */
export * as SessionField from "./SessionField.js"
/** @since 0.1.0 */
export * as SessionPolicy from "./SessionPolicy.js"
/** @since 0.1.0 */
export * as SessionRecord from "./SessionRecord.js"
/** @since 0.1.0 */
export * as SessionRouter from "./SessionRouter.js"
/** @since 0.1.0 */
export * as SessionToken from "./SessionToken.js"
/** @since 0.1.0 */
export * as Sessions from "./Sessions.js"
/** @since 0.1.0 */
export * as State from "./State.js"
/** @since 0.1.0 */
export * as Store from "./Store.js"
/** @since 0.1.0 */
export * as StoreBackend from "./StoreBackend.js"
/** @since 0.1.0 */
export * as TieredStore from "./TieredStore.js"
