package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// usual is what the reports to one caller usually say.
type usual struct {
	// service is the service time in ns, typical the cost of a token, inFlight
	// how many requests are and 1, local what PeakEWMA compares: moving averages,
	// as bits of a float64, 0 if nothing is known.
	service, typical, inFlight, local atomic.Uint64
}

const (
	// doubt is by how much a service time may be below what is usual: no
	// server is believed to be faster than so many times the others.
	doubt = 4
	// belief is by how much a cost may be below what the caller sees itself.
	belief = 1.5
	// inertia is how many reports make an average, and drift by how much each
	// of them can differ from it, so that none can move it far.
	inertia = 32
	drift   = 2
	// maxPart is how many reports one counts as at most, of an endpoint that was
	// not heard of for long.
	maxPart = 8
	// mostCost is far beyond any cost that makes a difference.
	mostCost     = 1e30
	mostInFlight = 1e6
)

// tells reports whether a report says anything about requests: those of other
// systems may have the use of processors only.
func tells(r *endpoint.LoadReport) bool {
	return r.Limit > 0 || r.InFlight > 0 || r.ServiceTime > 0
}

// cost returns what a call costs at a server that reports r, in ns for each of
// n requests in flight, the one to come among them: what it takes where all of
// them share the server, and where those beyond the limit wait. A server with
// few in flight is better than one with more in either case; a limit that is far
// away, such as one that adapts, says nothing about how many requests the
// server can bear. own is how many requests of this caller the server has at
// least.
func (u *usual) cost(r *endpoint.LoadReport, own int64, latency time.Duration) (each, n float64) {
	s := u.takes(r, float64(latency))
	n = 1 + max(float64(own), 0)
	if r.InFlight >= n {
		n = min(r.InFlight, mostInFlight) + 1
	}
	if r.Limit > 0 && n > r.Limit {
		s *= n / max(1, r.Limit)
	}
	return s, n
}

// takes returns what a request takes by a report, in ns: what is usual, or else
// otherwise, if it does not say.
func (u *usual) takes(r *endpoint.LoadReport, otherwise float64) float64 {
	usual := math.Float64frombits(u.service.Load())
	s := float64(r.ServiceTime)
	if !(s > 0) {
		if s = usual; s == 0 {
			s = otherwise
		}
	}
	return max(s, usual/doubt, float64(minLatency))
}

// weigh returns what n requests in flight, with the one to come, count as at an
// endpoint of the given share. The one to come counts as one, so that weights
// make no difference to costs while there is nothing in flight.
func weigh(n, share float64) float64 { return (n-1)/share + 1 }

// believe returns a cost as far as it can be believed of an endpoint at which
// latency, times the calls of this process in flight there, is local: what
// would cost more than elsewhere by that, as PeakEWMA sees it, costs more. It
// keeps an endpoint whose reports are wrong from having all calls, and makes
// the most of what the process knows by itself, which is much if callers are
// few.
func (u *usual) believe(cost, local float64) float64 {
	usually := math.Float64frombits(u.local.Load())
	if local <= 0 || usually == 0 {
		return cost
	}
	return max(cost, local/usually*math.Float64frombits(u.typical.Load())/belief)
}

// note takes a report, its cost and what is known of its endpoint into the
// averages, counted as part of a report.
func (u *usual) note(r *endpoint.LoadReport, cost, local, part float64) {
	if local > 0 {
		blend(&u.local, local, part)
	}
	if s := float64(r.ServiceTime); s > 0 {
		blend(&u.service, s, part)
	}
	blend(&u.typical, cost, part)
	if r.InFlight >= 0 {
		blend(&u.inFlight, min(r.InFlight, mostInFlight)+1, part)
	}
}

// blend adds to an average. It tries once; what meets another is lost.
func blend(average *atomic.Uint64, v, part float64) {
	old := average.Load()
	if a := math.Float64frombits(old); a > 0 {
		v = a + (min(max(v, a/drift), a*drift)-a)*part/inertia
	}
	average.CompareAndSwap(old, math.Float64bits(v))
}
