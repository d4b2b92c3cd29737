package overload

import (
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// SendBack decides whether a request goes back to its caller unworked, and
// counts it. room is how many requests the caller expects to be in flight here
// at most, this one among them, 0 if it does not say; see balancer.Wary. It is
// asked before anything is charged for the request, and neither Exempt requests
// nor those that a caller cannot send again, such as an upgrade, are to be asked
// about. Enter is not called for what is sent back; the answer is for the
// caller to write, with 421, and its load report says SentBack by the mark that
// t gets, which is a Ticket without a place; nil is none.
//
// It is sent back if more than room would be in flight, with those that wait
// for a place, and it would not be alone: as long as there are fewer than
// Options.Processors, and fewer than the limit, the request would be worked on
// at once and as fast as anywhere. The lower of the two counts, because a limit
// that adapts, or a generous one, is far above what the server can do without
// each request being slower for the others.
//
// Under Observe it is only counted. With NoReport nothing is sent back: the
// caller would not understand.
//
// It is no request of the figures of a report: it is neither answered nor in
// error, and takes no time. Whoever sends a room learns no more than a report
// tells him, and has nothing from it but to be turned away.
func (g *Guard) SendBack(t *Ticket, room int) bool {
	if room <= 0 || g.policy.NoReport {
		return false
	}
	n := g.present()
	if n < int64(room) || n < min(g.places.limit.Load(), g.meter.found.Load().processors) {
		return false
	}
	if g.policy.Mode == outcome.Observe {
		g.wouldSendBack.Add(1)
		return false
	}
	g.sentBack.Add(1)
	// The report is to be as new as one of a request that is let in.
	g.meter.tick(time.Now())
	if t != nil {
		t.sentBack = true
	}
	return true
}

// present returns how many requests are in, and how many wait: in this order
// who gets a place meanwhile is counted twice, not missed.
func (g *Guard) present() int64 { return g.waiting.Load() + g.inFlight.Load() }
