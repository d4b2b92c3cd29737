package balancer

import (
	"math"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// divided picks a part, and in it an endpoint.
type divided struct {
	parts []pickable
	// strict keeps attempts that must avoid others from parts without a share.
	strict bool
	base   time.Time
	// steps are the shares of the parts from time at on, the last one from
	// the end of the span.
	steps []step
	at    int64
	span  float64
}

// pickable is a part that has endpoints to pick.
type pickable struct {
	picker   Picker
	thinner  *thinner // nil if none of the endpoints is in a ramp
	returner returner // nil if the picker is none
	wary     Wary     // nil if the picker is none
	hash     uint64
}

// step is the shares of all parts for some time.
type step struct {
	// upTo is where the range of each part ends in parts of 2⁶⁴; those
	// without a share have none.
	upTo []uint64
	last int // part with a share
	// inverse of each share, 0 if there is none.
	inverse []float64
}

// numSteps is in how many steps shares change while endpoints are in their
// ramps. They are shorter at first, when factors grow the most in proportion
// and the shorter of several ramps go on: from 1/1000 to 1/16 of the longest.
const numSteps = 32

// schedule works out the shares of the parts, now and while ramps go on.
func (d *divided) schedule(s *Spreader, set *partition) {
	if end := set.end(); len(d.parts) > 1 && end > set.at {
		d.span = float64(end - set.at)
		for i := range numSteps {
			x := float64(i) / numSteps
			d.steps = append(d.steps, stepOf(set, set.shares(s, set.at+int64(x*x*d.span))))
		}
	}
	d.steps = append(d.steps, stepOf(set, set.shares(s, math.MaxInt64)))
}

// stepAt is the reverse of the times in schedule.
func (d *divided) stepAt(at int64) *step {
	last := len(d.steps) - 1
	if last == 0 || at == noTime {
		return &d.steps[last]
	}
	x := float64(max(0, at-d.at)) / d.span
	return &d.steps[int(numSteps*math.Sqrt(min(x, 1)))]
}

// stepOf returns the step of shares, which has the parts that can be picked
// from only.
func stepOf(set *partition, shares []float64) step {
	var st step
	var sum float64
	for i, p := range set.parts {
		if len(p.usable) == 0 {
			continue
		}
		var inverse float64
		if shares[i] > 0 {
			inverse = 1 / shares[i]
			st.last = len(st.upTo)
		}
		sum += shares[i]
		st.upTo = append(st.upTo, uint64(min(sum, 1)*(1<<63))<<1)
		st.inverse = append(st.inverse, inverse)
	}
	return st
}

// Pick implements Picker.
func (d *divided) Pick(q Query) *endpoint.Endpoint {
	at := noTime
	if !q.Now.IsZero() {
		at = int64(q.Now.Sub(d.base))
	}
	if len(d.parts) == 1 {
		return d.parts[0].pick(&q, at)
	}
	st := d.stepAt(at)
	i := st.choose(&q, d.parts)
	ep := d.parts[i].pick(&q, at)
	if len(q.Avoid) == 0 || !q.Avoids(ep) {
		return ep
	}
	return d.elsewhere(&q, st, i, ep, at)
}

// Room implements Wary. A part says nothing of endpoints that are not its own,
// and is all that a call that was picked for it is compared with.
func (d *divided) Room(ep *endpoint.Endpoint, now time.Time) int {
	for i := range d.parts {
		if w := d.parts[i].wary; w != nil {
			if room := w.Room(ep, now); room > 0 {
				return room
			}
		}
	}
	return 0
}

func (p *pickable) pick(q *Query, at int64) *endpoint.Endpoint {
	if p.thinner == nil {
		return p.picker.Pick(*q)
	}
	return p.thinner.pick(p, q, at)
}

func (p *pickable) putBack(ep *endpoint.Endpoint, now time.Time) {
	if p.returner != nil {
		p.returner.putBack(ep, now)
	}
}

const (
	drawSalt = 0x2545f4914f6cdd1d
	hashSalt = 0x9fb21c651e98df25
)

// choose returns the part that has the call: the one whose range a draw is
// in or, for a call with a key, the first in the rank of its hash. Neither
// tells anything of the bits that the policy sees.
func (st *step) choose(q *Query, parts []pickable) int {
	if q.HasHash {
		i, _ := st.rank(q.Hash, parts, 0)
		return i
	}
	r := random{q.Draw ^ drawSalt}
	u := r.word()
	for i, end := range st.upTo {
		if u < end {
			return i
		}
	}
	return st.last
}

// rank is weighted rendezvous hashing, see Rendezvous: it returns the part of
// the least score beyond the given one, and the score, which is infinite if
// there is none.
func (st *step) rank(hash uint64, parts []pickable, beyond float64) (int, float64) {
	first, least := st.last, math.Inf(1)
	for i, inverse := range st.inverse {
		if inverse == 0 {
			continue
		}
		r := random{hash ^ parts[i].hash ^ hashSalt}
		rest := (float64(r.word()>>11) + 0.5) / (1 << 53)
		if rest*inverse >= least {
			continue
		}
		if score := -math.Log1p(-rest) * inverse; score < least && score > beyond {
			first, least = i, score
		}
	}
	return first, least
}

// elsewhere returns an endpoint of another part than i that need not be
// avoided, as ep must. Parts that have a share of the calls come in the rank
// of the call's key, or of chance; those without one in order of their tiers.
func (d *divided) elsewhere(q *Query, st *step, i int, ep *endpoint.Endpoint, at int64) *endpoint.Endpoint {
	hash := q.Hash
	if !q.HasHash {
		hash = q.Draw
	}
	var score float64
	for range d.parts {
		var j int
		if j, score = st.rank(hash, d.parts, score); math.IsInf(score, 1) {
			break
		}
		if other := d.refuge(q, i, j, at); other != nil {
			d.parts[i].putBack(ep, q.Now)
			return other
		}
	}
	for j := range d.parts {
		if st.inverse[j] != 0 || d.strict {
			continue
		}
		if other := d.refuge(q, i, j, at); other != nil {
			d.parts[i].putBack(ep, q.Now)
			return other
		}
	}
	return ep
}

// refuge returns an endpoint of part j that need not be avoided, nil if there
// is none or if that is part i.
func (d *divided) refuge(q *Query, i, j int, at int64) *endpoint.Endpoint {
	if i == j {
		return nil
	}
	again := *q
	again.again = true
	ep := d.parts[j].pick(&again, at)
	if q.Avoids(ep) {
		d.parts[j].putBack(ep, q.Now)
		return nil
	}
	return ep
}
