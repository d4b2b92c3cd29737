package body

import (
	"io"
	"time"
)

const (
	// drainLimit and drainTime bound what is spent on an unwanted body so
	// that its connection can be used again. Past either a new connection is
	// the cheaper way.
	drainLimit = 64 << 10
	drainTime  = 50 * time.Millisecond
)

// Discard closes a body that nobody wants, reading a short rest first so that
// the connection can be used again. A body that is long or slow is given up
// together with its connection.
func Discard(rc io.ReadCloser) {
	if rc == nil {
		return
	}
	late := time.AfterFunc(drainTime, func() { _ = rc.Close() })
	// Errors do not matter: the body is unwanted either way.
	_, _ = io.CopyN(io.Discard, rc, drainLimit+1)
	late.Stop()
	_ = rc.Close()
}
