package balancer

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// PeakEWMA draws two endpoints by chance, as LeastRequest does, and takes the
// one at which a call would cost less: its average latency up to the headers,
// times its calls of this process in flight and the one to come, for its
// weight. The average is the peak-sensitive one of Finagle: it takes on a
// higher latency at once and falls slowly, so that an endpoint in trouble is
// left at its first slow answer and tried again as time goes by.
//
//   - A failure and an answer that asks for less (429) count as slow, however
//     fast they came, and never lower the average; see FailurePenalty.
//   - An attempt that was cut off took at least so long: it can raise the
//     average only. A neutral result says nothing.
//   - An attempt that has waited for its headers longer than the average,
//     while none was answered that began after it, makes its endpoint count
//     with that time instead: one that hangs is left before a time-out says
//     so. Bodies are not waited for, and after eight times Decay the silence
//     is forgotten. This needs Query.Now.
//   - An endpoint of which nothing is known counts as fast as the one it is
//     compared with, so that calls in flight decide.
//
// What is known of an endpoint stays while it is held back and is forgotten
// with it. Averages are of all calls to an endpoint: where one route takes
// long by nature, its calls make the endpoints that got them look slow for a
// while, and LeastRequest may be the better choice. It is too where a process
// makes so few calls that latencies are old before they are used.
type PeakEWMA struct {
	// Decay is the time in which an average falls to 1/e of itself, at least
	// a millisecond. Zero means 10 s.
	Decay time.Duration
	// FailurePenalty is what a failure counts as if it took less. Zero means
	// 5 s, as in Linkerd. At the default Decay an endpoint that fails once is
	// avoided for about 85 s by calls that others answer in 1 ms, and for 16 s
	// if they take 1 s.
	FailurePenalty time.Duration
}

const (
	defaultDecay          = 10 * time.Second
	minDecay              = time.Millisecond
	defaultFailurePenalty = 5 * time.Second
	// silence is for how long, in decays, an endpoint that answers nothing
	// counts as waited for, and what is known of an endpoint that is not in
	// the set is kept: averages fall to 1/3000 in it.
	silence = 8
)

// New implements Policy.
func (p PeakEWMA) New(Env) Balancer {
	b := &peakEWMA{decay: float64(defaultDecay), penalty: float64(defaultFailurePenalty), base: time.Now()}
	if p.Decay != 0 {
		b.decay = float64(max(p.Decay, minDecay))
	}
	if p.FailurePenalty > 0 {
		b.penalty = float64(p.FailurePenalty)
	}
	return b
}

// Validate implements Policy.
func (p PeakEWMA) Validate() error {
	var errs []error
	if p.Decay != 0 && p.Decay < minDecay {
		errs = append(errs, fmt.Errorf("decay: %v is less than %v", p.Decay, minDecay))
	}
	if p.FailurePenalty < 0 {
		errs = append(errs, fmt.Errorf("failurePenalty: %v is negative", p.FailurePenalty))
	}
	return errors.Join(errs...)
}

type peakEWMA struct {
	decay, penalty float64 // ns
	// base is what times are counted from, which keeps their monotonic part.
	base time.Time
	// known is replaced by Update and never changed.
	known atomic.Pointer[map[*endpoint.Endpoint]*estimate]
}

// Update implements Balancer.
func (b *peakEWMA) Update(eps []*endpoint.Endpoint) Picker {
	ms := members(eps)
	p := &peakPicker{
		peers: make([]peer, len(ms)), members: ms, lots: newLots(ms), decay: b.decay, base: b.base,
	}
	known := map[*endpoint.Endpoint]*estimate{}
	if old := b.known.Load(); old != nil {
		known = keep(*old, func(e *estimate) int64 { return e.at.Load() }, silence*b.decay)
	}
	var total float64
	for i := range ms {
		total += float64(ms[i].weight)
	}
	for i, m := range ms {
		e := known[m.ep]
		if e == nil {
			e = new(estimate)
			known[m.ep] = e
		}
		p.peers[i] = peer{m.ep, e, float64(m.weight) * float64(len(ms)) / total, i}
	}
	b.known.Store(&known)
	p.known = known
	return p
}

// keep returns a copy of what is known, without endpoints that discovery has
// removed and without what is so much older than the newest, as last says of
// it, that it means nothing any more.
func keep[T any](known map[*endpoint.Endpoint]T, last func(T) int64, within float64) map[*endpoint.Endpoint]T {
	kept := maps.Clone(known)
	var newest int64
	for _, v := range kept {
		newest = max(newest, last(v))
	}
	maps.DeleteFunc(kept, func(ep *endpoint.Endpoint, v T) bool {
		removed, _, _ := ep.Availability().Held(endpoint.Removed)
		return removed || float64(newest-last(v)) > within
	})
	return kept
}

// Observe implements Observer.
func (b *peakEWMA) Observe(ep *endpoint.Endpoint, r outcome.Result) {
	if known := b.known.Load(); known != nil {
		if e := (*known)[ep]; e != nil {
			e.observe(r, int64(r.At.Sub(b.base)), b.decay, b.penalty)
		}
	}
}

type peakPicker struct {
	peers   []peer
	known   map[*endpoint.Endpoint]*estimate
	members []member
	lots    lots
	decay   float64
	base    time.Time
}

// peer is a member with its estimate and its weight in parts of the mean.
type peer struct {
	ep    *endpoint.Endpoint
	est   *estimate
	share float64
	index int
}

// Pick implements Picker.
func (p *peakPicker) Pick(q Query) *endpoint.Endpoint {
	now := noTime
	if !q.Now.IsZero() {
		now = int64(q.Now.Sub(p.base))
	}
	best := p.best(&q, now)
	if now != noTime {
		best.est.mark(now)
	}
	return best.ep
}

// putBack implements returner: nobody waits for an endpoint that was not asked
// after all.
func (p *peakPicker) putBack(ep *endpoint.Endpoint, now time.Time) {
	if e := p.known[ep]; e != nil && !now.IsZero() {
		e.settle(int64(now.Sub(p.base)), false)
	}
}

// noTime stands for a time that the query does not say.
const noTime = int64(-1 << 63)

func (p *peakPicker) best(q *Query, now int64) *peer {
	r := random{q.Draw}
	a, b := p.pair(&r, q.Avoid)
	switch {
	case a == nil:
		// So few are not to be avoided, or none, that drawing missed them.
		if i := otherIndex(p.members, q); i >= 0 {
			return &p.peers[i]
		}
		if a, b = p.pair(&r, nil); b == nil {
			return a
		}
	case b == nil:
		return a
	}
	if p.cheaper(b, a, now, 0, 0) {
		return b
	}
	return a
}

// pair draws two different peers that are not among avoid; what it does not
// find is nil.
func (p *peakPicker) pair(r *random, avoid []*endpoint.Endpoint) (a, b *peer) {
	q := Query{Avoid: avoid}
	var buf [maxDraws]uint32
	for drawn := buf[:0]; len(drawn) < min(len(p.peers), maxDraws); {
		var i uint32
		i, drawn = p.lots.another(r, drawn)
		switch c := &p.peers[i]; {
		case len(avoid) > 0 && q.Avoids(c.ep):
		case a == nil:
			a = c
		default:
			return a, c
		}
	}
	return a, nil
}

// cheaper reports whether a should take the place of b, which was drawn
// first: if a call costs less at it counting the calls in flight for each
// weight, both as they are and with the call added. With equal weights that
// is one and the same; with others it leaves the shares by weight alone while
// there is little in flight.
func (p *peakPicker) cheaper(a, b *peer, now int64, moreA, moreB float64) bool {
	i, j := float64(a.ep.InFlight()), float64(b.ep.InFlight())
	ca, cb := p.costs(a.est, b.est, now, i > 0, j > 0)
	if a.share != b.share && now != noTime {
		// An average that falls for want of calls must not draw them to who is
		// to have few.
		ca, cb = max(ca, min(a.est.last(p.decay), cb)), max(cb, min(b.est.last(p.decay), ca))
	}
	ca, cb = ca+moreA, cb+moreB
	return ca*(i+a.share)*b.share < cb*(j+b.share)*a.share && ca*(i+1)*b.share < cb*(j+1)*a.share
}

// costs returns the latencies to be expected of two peers, in ns or, where
// the time is not known, in proportion.
func (p *peakPicker) costs(a, b *estimate, now int64, busyA, busyB bool) (ca, cb float64) {
	la, lb := a.level.Load(), b.level.Load()
	if la == 0 && lb == 0 {
		return 1, 1
	}
	level := func(bits uint64) float64 { return math.Float64frombits(bits) }
	switch {
	case la == 0:
		la = lb
	case lb == 0:
		lb = la
	}
	origin := max(level(la), level(lb))
	if now != noTime {
		origin = float64(now) / p.decay
	}
	ca, cb = exp(level(la)-origin), exp(level(lb)-origin)
	if now != noTime {
		if busyA {
			ca = max(ca, a.waited(now, p.decay))
		}
		if busyB {
			cb = max(cb, b.waited(now, p.decay))
		}
	}
	return ca, cb
}
