package tulle

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// target is an endpoint together with the right to change it and the way to
// it. It lives as long as its service knows the address and the wire stays
// the same; the endpoint and its statistics also outlive a change of wire.
type target struct {
	*endpoint.Endpoint
	control *endpoint.Control
	// feeds is never nil. Only the service replaces it, under its mutex.
	feeds atomic.Pointer[feeds]
	// rt is the transport within the attempt middleware.
	rt        http.RoundTripper
	transport *http.Transport
	wire      *wire
	// retired is set once no new call should come here. Calls in flight
	// end, and with the last of them goes the last connection.
	retired atomic.Bool
}

// linger is how long after a call a retired target closes idle
// connections once more: HTTP/2 counts a connection as busy for a moment
// after the end of its last body.
const linger = time.Second

// newTarget returns the target of a new endpoint, or with f, what fed its last
// one, of an endpoint that is known.
func newTarget(o *options, w *wire, e *endpoint.Endpoint, c *endpoint.Control, f *feeds) *target {
	t := &target{Endpoint: e, control: c, wire: w, transport: newTransport(o, w, e)}
	if f == nil {
		f = &feeds{leaving: new(leaving), notes: new(notes)}
	}
	t.feeds.Store(f)
	t.rt = chain(o.perAttempt, t.transport)
	return t
}

// end takes an attempt out of flight.
func (t *target) end() {
	t.control.End()
	if t.retired.Load() {
		// Whether others are in flight here cannot be told: after a change of
		// wire the endpoint counts those of its new target as well.
		t.closeIdle()
		time.AfterFunc(linger, t.closeIdle)
	}
}

// closeIdle closes the idle connections, those of middleware that has a
// transport of its own included.
func (t *target) closeIdle() {
	closeIdle(t.rt)
	t.transport.CloseIdleConnections()
}

// retire closes the idle connections, now and as calls end.
func (t *target) retire() {
	t.retired.Store(true)
	t.closeIdle()
	time.AfterFunc(linger, t.closeIdle)
}
