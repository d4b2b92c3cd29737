// Package respwriter watches an http.ResponseWriter: it tells its owner when
// the header is about to be sent, and counts what the handler answers, without
// taking any ability from the writer or making one up.
package respwriter
