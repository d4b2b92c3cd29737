package outcome

import (
	"crypto/tls"
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

// RequestBodyError marks an error that came from reading the caller's own
// request body. Transports return such an error as that of the attempt, where
// it would be taken for a failure of the endpoint or, if the body itself is
// read over a network, for a proof that nothing was sent. Its outcome is
// Neutral. Whoever stands between the body and the transport wraps what it
// reads, io.EOF aside, in it.
type RequestBodyError struct{ Err error }

// Error returns the text of the wrapped error.
func (e *RequestBodyError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *RequestBodyError) Unwrap() error { return e.Err }

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
// request:
//
//   - an *UnsentError;
//   - a connection that failed: dialling, or reaching the endpoint through a
//     proxy, as *net.OpError says it;
//   - a TLS handshake that failed because what answered does not speak TLS or
//     has a certificate that was refused;
//   - an HTTP/2 stream refused with REFUSED_STREAM.
//
// It goes by types, never by text; what it cannot prove it denies, among it
// all other failures of a handshake, which look like failures after it. A
// *RequestBodyError proves nothing, whatever it holds.
func Unsent(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[*RequestBodyError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*UnsentError](err); ok {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		switch op.Op {
		case "dial", "proxyconnect", "socks connect":
			return true
		}
	}
	// The certificate is judged in the handshake, and nothing is sent before
	// its end. (It is judged again where a server may renegotiate, which
	// crypto/tls allows only if asked to and HTTP/2 and TLS 1.3 forbid.)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	// "It is nil if there's already been a handshake" - crypto/tls on Conn.
	if rh, ok := errors.AsType[tls.RecordHeaderError](err); ok && rh.Conn != nil {
		return true
	}
	se, ok := errors.AsType[streamError](err)
	return ok && se.Code == h2RefusedStream
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
