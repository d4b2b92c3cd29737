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
// An endpoint whose factor f is less than the mean m is accepted with
// probability f/m, and with f of m or more always. For one that is not
// accepted there are further draws, in which an endpoint is accepted in
// proportion to f-m. If each is picked with a probability in proportion to
// its weight w, it so gets w·f of the sum of all w·f: of what those below the
// mean lose, each of the others gets what it lacks, as in the alias method.
//
// To draw until an endpoint is accepted with f alone would come to the same
// where picks are by chance. But of two endpoints a policy that looks at load
// picks the idle newcomer again and again, until it has all calls.
type thinner struct {
	shape
	ramps map[*endpoint.Endpoint]ramping
	// order has the endpoints of ramps, the first to end first.
	order []*endpoint.Endpoint
	// front is nil if an endpoint of the set has no ramp.
	front []ramp
	// means are the mean factors from time at up to end, at the squares of
	// even steps.
	means   [numMeans + 1]float64
	at, end int64
}

type ramping struct {
	ramp
	place int // in order
	hash  uint64
}

const (
	// maxRedraws bounds what a pick spends on endpoints in their ramps before
	// it leaves them out.
	maxRedraws = 8
	// maxPassed is how many endpoints in their ramps a pick leaves out at
	// once, and maxMoves how often it does so.
	maxPassed = 64
	maxMoves  = 16
	numMeans  = 64

	thinSalt = 0x5851f42d4c957f2d
)

// newThinner returns nil if none of the candidates is in a ramp.
func newThinner(p *part, sh shape, at int64) *thinner {
	if len(p.ramping) == 0 {
		return nil
	}
	t := &thinner{shape: sh, ramps: make(map[*endpoint.Endpoint]ramping, len(p.ramping)), at: at, end: noTime}
	var steady, total float64
	for _, c := range p.usable {
		total += c.weight
		if c.ramp.end <= at {
			steady += c.weight
			continue
		}
		t.ramps[c.ep] = ramping{ramp: c.ramp, hash: xxh64.Sum(c.ep.Addr(), thinSalt)}
		t.order = append(t.order, c.ep)
		t.end = max(t.end, c.ramp.end)
	}
	slices.SortStableFunc(t.order, func(a, b *endpoint.Endpoint) int {
		return cmp.Compare(t.ramps[a].end, t.ramps[b].end)
	})
	lines := make([]ramp, len(t.order))
	for i, ep := range t.order {
		r := t.ramps[ep]
		r.place, lines[i] = i, r.ramp
		t.ramps[ep] = r
	}
	if len(lines) == len(p.usable) {
		t.front = front(lines)
	}
	for i := range t.means {
		x := float64(i) / numMeans
		sum, when := steady, at+int64(x*x*float64(t.end-at))
		for _, l := range p.ramping {
			sum += l.weight * sh.factor(l.ramp, when)
		}
		t.means[i] = sum / total
	}
	return t
}

func (t *thinner) mean(at int64) float64 {
	x := numMeans * math.Sqrt(float64(max(0, at-t.at))/float64(t.end-t.at))
	i := min(int(x), numMeans-1)
	return t.means[i] + (x-float64(i))*(t.means[i+1]-t.means[i])
}

// of returns the factor of an endpoint.
func (t *thinner) of(ep *endpoint.Endpoint, at int64) float64 {
	if r, ok := t.ramps[ep]; ok {
		return t.factor(r.ramp, at)
	}
	return 1
}

// pick has p pick until it may be what is picked.
func (t *thinner) pick(p *pickable, q *Query, at int64) *endpoint.Endpoint {
	ep := p.picker.Pick(*q)
	if at == noTime || at >= t.end {
		return ep
	}
	mean := t.mean(at)
	if q.HasHash {
		return t.pickKey(p, q, ep, at, mean)
	}
	r := random{q.Draw ^ thinSalt}
	f := t.of(ep, at)
	if f >= mean || r.part() < f/mean {
		return ep
	}
	most := t.furthest(t.front, at)
	again := *q
	again.again = true
	for range maxRedraws {
		p.putBack(ep, q.Now)
		again.Draw = r.word()
		ep = p.picker.Pick(again)
		if f = t.of(ep, at); f >= most || r.part() < (f-mean)/(most-mean) {
			return ep
		}
	}
	for range maxMoves {
		next := t.pass(p, q, r.word(), ep)
		if next == nil {
			break
		}
		if ep = next; t.of(ep, at) >= mean {
			break
		}
	}
	return ep
}

// pickKey decides by the key itself, so that all its calls go the same way:
// the endpoint of a key has it from when the ramp is as far as the key says.
// Until then the key is where it would be without that endpoint and those
// that end their ramps later.
func (t *thinner) pickKey(p *pickable, q *Query, ep *endpoint.Endpoint, at int64, mean float64) *endpoint.Endpoint {
	for range maxMoves {
		ramp, ok := t.ramps[ep]
		if !ok {
			return ep
		}
		r := random{q.Hash ^ ramp.hash}
		if r.part() < t.factor(ramp.ramp, at)/mean {
			return ep
		}
		next := t.pass(p, q, q.Draw, ep)
		if next == nil {
			return ep
		}
		ep = next
	}
	return ep
}

// pass takes back an endpoint in its ramp and has p pick one that ends its
// own earlier, or has none. It returns nil if that cannot be had: there is no
// room for a list of these and of what the query avoids, so that what the
// query avoids may be picked, and is not taken.
func (t *thinner) pass(p *pickable, q *Query, draw uint64, ep *endpoint.Endpoint) *endpoint.Endpoint {
	place := t.ramps[ep].place
	again := *q
	again.again = true
	again.Draw, again.Avoid = draw, t.order[place:min(len(t.order), place+maxPassed)]
	next := p.picker.Pick(again)
	if again.Avoids(next) || q.Avoids(next) {
		p.putBack(next, q.Now)
		return nil
	}
	p.putBack(ep, q.Now)
	return next
}

// part returns a number from 0 up to but not including 1.
func (r *random) part() float64 { return float64(r.word()>>11) / (1 << 53) }

// returner is a Picker that remembers what it has picked, and must be told
// what was not taken.
type returner interface {
	putBack(*endpoint.Endpoint, time.Time)
}
