// Package overload protects a server from more requests than it can serve in
// time, and tells its callers how busy it is.
//
// A [Guard] made of a [Policy] lets only so many requests in at once: a fixed
// number, or one that it finds out by watching how long requests take. For a
// short while others wait. Who finds no place is refused at once, with 503 and
// a Retry-After, while the caller still has time to ask another endpoint.
// Without that, a server that is asked for twice what it can do does twice as
// much at the same time, each half as fast, until all of it comes too late.
//
// Every response carries a load report: ORCA's endpoint-load-metrics with the
// requests in flight, the limit, the time that a request takes, the use of the
// processors, and requests and errors per second. Callers balance on it.
// Handlers add figures of their own by [AddMetric]. Responses that go on for more
// than a second have another report in their trailers.
//
// A caller that balances on reports can be wrong: others have called meanwhile.
// It may say in the field Tulle-Call how many requests it expects to be in
// flight at most, and where there are more, and no processor or place is free,
// the request goes back to it unworked, with 421 and a report, to be made anew
// elsewhere; see [Guard.SendBack]. That is for this server alone: the handler
// does not see a field that says so, and cannot pass it on.
//
// [Guard.Middleware] wraps an http.Handler; the root package has a Policy
// among those for inbound requests.
//
// It is not for rates of single callers, and it knows no importance: of two
// requests it refuses whichever comes when there is no place. Requests that
// take hours, such as streams of events, hold their places for hours; let them
// be exempt. A report tells strangers something about the server: where the
// callers are not known, Policy.NoReport leaves it away.
package overload
