// Package breaker protects a caller from a dependency that fails, and the
// dependency from its callers: a circuit breaker and a concurrency limit.
//
// A [Breaker] made of a [Policy] watches how calls end. Closed, it lets them
// flow; when too many fail, or are slow, it opens and refuses all for a while;
// then, half-open, it lets a few trial calls decide whether to close again.
// The beginning and the end of such an incident are one [Event] each, with the
// evidence. A [Limiter] made of a [Limit] holds calls back while too many are
// in flight.
//
// The root package has both among its policies, and can give every endpoint a
// breaker of its own. Alone, [Breaker.Middleware] and [Limiter.Middleware] wrap
// an http.RoundTripper.
//
// A breaker is no substitute for balancing: where some endpoints of a service
// fail and others do not, leaving out the former serves better than refusing
// calls to all. It is not for limiting rates either.
package breaker
