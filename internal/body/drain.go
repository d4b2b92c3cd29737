package body

import (
	"io"
	"net/http"
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
	if rc == nil || rc == http.NoBody {
		return
	}
	closed := make(chan struct{})
	late := time.AfterFunc(drainTime, func() {
		defer close(closed)
		_ = rc.Close()
	})
	// Errors do not matter: the body is unwanted either way.
	_, _ = io.CopyN(io.Discard, rc, drainLimit+1)
	if !late.Stop() {
		// Who follows the body has been told before Discard returns.
		<-closed
	}
	_ = rc.Close()
}
