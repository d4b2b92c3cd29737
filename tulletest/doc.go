// Package tulletest helps to test programs that call services over net/http:
// on a network in memory, with endpoints that answer by a script, and with a
// conformance kit for whatever wraps an http.RoundTripper or an http.Handler.
//
// [Network] carries real http.Transport and http.Server connections, HTTP/1.1
// and unencrypted HTTP/2, without sockets, so that a whole fleet fits in one
// testing/synctest bubble, where an hour of retries, time-outs and ejections
// passes in milliseconds and always in the same way. [Script] is an
// http.Handler whose answers, delays and failures are written down beforehand.
//
// [TestRoundTripper] and [TestHandler] check the contracts of
// http.RoundTripper and http.Handler, written and customary, one named subtest
// for each way in which wrappers are known to break them:
//
//	func TestMyTransportKeepsTheContract(t *testing.T) {
//		tulletest.TestRoundTripper(t, func(next http.RoundTripper) http.RoundTripper {
//			return mypackage.NewTransport(next)
//		})
//	}
//
// A test of a handler with two scripted dependencies, mesh included, stands in
// example_bubble_test.go.
//
// The package is for tests alone. It does not replace a few tests over real
// sockets: the network in memory has no TLS of its own, loses nothing, and its
// scheduling is kinder than a kernel's.
package tulletest
