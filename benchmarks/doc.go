// Package benchmarks compares what a call costs through Tulle with what it
// costs through other libraries that wrap an http.RoundTripper, and the parts
// of Tulle with others of their kind. It is a module of its own, so that those
// libraries stay out of the graph of whoever imports Tulle. README.md says how
// to run it and how to read it.
package benchmarks
