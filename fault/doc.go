// Package fault injects trouble: a delay, an answer that is a failure, or a
// lost connection, into a share of requests.
//
// It is for finding out what a program does when what it calls is slow or
// broken, before that happens by itself. A [Policy] says which requests are
// hit, how often and how; an [Injector] made of it decides by a source of
// chance that a test can seed. Nothing in a request can ask for a fault: only
// the configuration can.
//
// The root package has a Policy among its policies. Alone, [Injector.Middleware]
// wraps an http.RoundTripper and [Injector.Handler] an http.Handler.
//
// It is not for load: a delay holds the caller's goroutine and nothing else.
package fault
