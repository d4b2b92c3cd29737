// Package mirror sends copies of requests to another service, to see how it
// fares with real traffic before anybody depends on it.
//
// A copy is detached: it never delays or fails the request that it is a copy
// of, it is read to its end and thrown away, and there are only so many at
// once; what exceeds that is dropped and counted. Credentials stay behind
// unless the [Policy] says otherwise.
//
// The root package mirrors calls by route. Alone, [Mirror.Middleware] wraps an
// http.RoundTripper.
//
// A copy is a request like any other to the service that gets it. Mirror only
// to what may be called twice: a shadow with a database of its own, or reads.
package mirror
