package balancer

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// ramp is the time in which an endpoint comes to its full share, in ns from
// the base of its Spreader.
type ramp struct{ start, end int64 }

// over is the ramp of an endpoint that has none.
func over() ramp { return ramp{noTime, noTime} }

// shape is what all ramps of a Spreader have in common.
type shape struct {
	exponent float64 // 1/aggression
	least    float64
}

// factor returns the part of its share that an endpoint has at the given time.
func (s shape) factor(r ramp, at int64) float64 {
	if at >= r.end {
		return 1
	}
	f := float64(max(0, at-r.start)) / float64(r.end-r.start)
	if s.exponent != 1 {
		f = math.Pow(f, s.exponent)
	}
	return max(s.least, f)
}

// front returns the ramps of which one is the furthest at any time: of two
// that differ in begin and end, the one that both begins and ends earlier is
// never behind the other.
func front(rs []ramp) []ramp {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b ramp) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	first := rs[:0]
	for _, r := range rs {
		if len(first) == 0 || r.end < first[len(first)-1].end {
			first = append(first, r)
		}
	}
	return slices.Clip(first)
}

// furthest returns the largest factor of a front, and 1 if it is nil.
func (s shape) furthest(front []ramp, at int64) float64 {
	if front == nil {
		return 1
	}
	var most float64
	for _, r := range front {
		most = max(most, s.factor(r, at))
	}
	return most
}

// thinner takes from endpoints in their ramps what they are not to have yet.
//
// An endpoint that a Picker has picked is accepted with the probability of
// its factor in proportion to the largest one, else there is another draw:
// rejection sampling (von Neumann, 1951), by which an endpoint that is picked
// with probability p gets p·f of the sum of all p·f, whatever the policy.
type thinner struct {
	shape
	ramps map[*endpoint.Endpoint]ramping
	// order has the endpoints of ramps, the first to end first.
	order []*endpoint.Endpoint
	// front is nil if an endpoint of the set has no ramp.
	front []ramp
	end   int64 // of the last ramp
}

type ramping struct {
	ramp
	place int // in order
	hash  uint64
}

const (
	// maxRedraws bounds what a pick spends on endpoints in their ramps.
	// Beyond it one gets a call that it should not have: where nine of ten
	// are new, 3 calls in a hundred at the very beginning.
	maxRedraws = 16
	// maxPassed is how many endpoints in their ramps a key passes over at
	// once.
	maxPassed = 64

	thinSalt = 0x5851f42d4c957f2d
)

// newThinner returns nil if none of the candidates is in a ramp.
func newThinner(cs []candidate, sh shape, now int64) *thinner {
	t := &thinner{shape: sh, ramps: map[*endpoint.Endpoint]ramping{}, end: noTime}
	var lines []ramp
	for _, c := range cs {
		if c.ramp.end > now {
			t.ramps[c.ep] = ramping{ramp: c.ramp, hash: xxh64.Sum(c.ep.Addr(), thinSalt)}
			t.order = append(t.order, c.ep)
			lines = append(lines, c.ramp)
			t.end = max(t.end, c.ramp.end)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	slices.SortStableFunc(t.order, func(a, b *endpoint.Endpoint) int {
		return cmp.Compare(t.ramps[a].end, t.ramps[b].end)
	})
	for i, ep := range t.order {
		r := t.ramps[ep]
		r.place = i
		t.ramps[ep] = r
	}
	if len(lines) == len(cs) {
		t.front = front(lines)
	}
	return t
}

// pick has p pick until it may be what is picked.
func (t *thinner) pick(p *pickable, q *Query, at int64) *endpoint.Endpoint {
	if at == noTime || at >= t.end {
		return p.picker.Pick(*q)
	}
	most := t.furthest(t.front, at)
	if q.HasHash {
		return t.pickKey(p, q, at, most)
	}
	r := random{q.Draw ^ thinSalt}
	again := *q
	for range maxRedraws {
		ep := p.picker.Pick(again)
		ramp, ok := t.ramps[ep]
		if !ok || r.part() < t.factor(ramp.ramp, at)/most {
			return ep
		}
		p.putBack(ep, q.Now)
		again.Draw = r.word()
	}
	return p.picker.Pick(again)
}

// pickKey decides by the key itself, so that all its calls go the same way:
// the endpoint of a key has it from when the ramp is as far as the key says.
// Until then the key is where it would be without that endpoint, or any that
// ends its ramp later.
//
// In an attempt that is to avoid others, what is left may be an endpoint that
// is in its ramp; then it has the call.
func (t *thinner) pickKey(p *pickable, q *Query, at int64, most float64) *endpoint.Endpoint {
	ep := p.picker.Pick(*q)
	again := *q
	for range maxRedraws {
		ramp, ok := t.ramps[ep]
		if !ok {
			return ep
		}
		r := random{q.Hash ^ ramp.hash}
		if r.part() < t.factor(ramp.ramp, at)/most {
			return ep
		}
		again.Avoid = t.order[ramp.place:min(len(t.order), ramp.place+maxPassed)]
		next := p.picker.Pick(again)
		if again.Avoids(next) || q.Avoids(next) {
			p.putBack(next, q.Now)
			return ep
		}
		p.putBack(ep, q.Now)
		ep = next
	}
	return ep
}

// part returns a number from 0 up to but not including 1.
func (r *random) part() float64 { return float64(r.word()>>11) / (1 << 53) }

// returner is a Picker that remembers what it has picked, and must be told
// what was not taken.
type returner interface {
	putBack(*endpoint.Endpoint, time.Time)
}
