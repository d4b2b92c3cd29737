// Package match says which requests are meant: a [Request] is a set of
// conditions on host, path, method, headers, query and principal, and a [Key]
// is where a stable hash of a request comes from.
//
// Both are data to be written in configuration and compared in tests. [Compile]
// turns a Request into a [Matcher] for the hot path: it judges a request
// without allocating, unless noted otherwise. To choose among many Requests use
// package routing, whose cost does not grow with their number.
//
// # Paths
//
// Conditions are judged on the path's canonical form, [CanonicalPath], never on
// what was typed: dot segments and repeated slashes are resolved, percent-encoding
// is removed, and only an encoded slash stays as "%2F", so that it is never taken
// for a separator, and an encoded percent sign as "%25", so that nothing is
// ambiguous. "/a/%2e%2e/b//c" is judged as "/b/c", and "/v1%2Fx" is not below
// "/v1". Patterns in configuration may be percent-encoded or not:
// "/café" and "/caf%C3%A9" are the same.
//
// # Regular expressions
//
// All expressions are RE2 ([regexp]), at most [MaxRegex] bytes, and anchored at
// both ends: they must match the whole path or value, as if written
// \A(?s:...)\z. A dot matches every character, line feeds too. Write ".*" where
// any beginning or end will do.
package match
