package body

import "io"

// drainLimit is how much of an unwanted body is read so that its connection
// can be used again. Past it a new connection is the cheaper way.
const drainLimit = 64 << 10

// Discard closes a body that nobody wants, reading a short rest first so that
// the connection can be used again. It does not wait long: what is not there
// within the limit is given up with its connection.
func Discard(rc io.ReadCloser) {
	if rc == nil {
		return
	}
	// Errors do not matter: the body is unwanted either way.
	_, _ = io.CopyN(io.Discard, rc, drainLimit)
	_ = rc.Close()
}
