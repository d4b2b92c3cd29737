package outcome

import (
	"errors"
	"net"
)

// UnsentError marks an error after which it is certain that nothing of the
// request reached the endpoint. Dialers and transports of the mesh wrap what
// they know in it; its text is that of the error it holds.
type UnsentError struct{ Err error }

// Error returns the text of the wrapped error.
func (e *UnsentError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *UnsentError) Unwrap() error { return e.Err }

// Timeout reports whether the wrapped error is a time-out.
func (e *UnsentError) Timeout() bool { return timedOut(e.Err) }

// h2RefusedStream is the HTTP/2 error code REFUSED_STREAM.
//
// "The REFUSED_STREAM error code can be included in a RST_STREAM frame to
// indicate that the stream is being closed prior to any processing having
// occurred. Any request that was sent on the reset stream can be safely
// retried." - RFC 9113, 8.7
const h2RefusedStream = 0x7

// streamError has the fields of the HTTP/2 stream error inside net/http,
// which converts itself to any struct of this shape for errors.As.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "http2: stream error" }

// Unsent reports whether err proves that the endpoint did not act on the
// request: an *UnsentError, a failed dial, or an HTTP/2 stream that was
// refused unprocessed. It goes by types, never by text; what it cannot prove
// it denies.
func Unsent(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[*UnsentError](err); ok {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	if se, ok := errors.AsType[streamError](err); ok && se.Code == h2RefusedStream {
		return true
	}
	return false
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
