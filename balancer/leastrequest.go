package balancer

import (
	"fmt"
	"math/bits"

	"github.com/tulle-mesh/tulle/endpoint"
)

// LeastRequest draws a few endpoints by chance, two unless told otherwise,
// and takes the one with the fewest calls of this process in flight: "the
// power of two choices" (Mitzenmacher, 2001). That keeps away from slow
// endpoints nearly as well as a look at all of them would, without sending
// every call to the one that happens to be idle: a new endpoint is drawn in
// no more than Choices/n of the picks among n.
//
// An endpoint is drawn as often as its weight says, and its calls in flight
// are divided by its weight: one drawn later takes the place of one drawn
// before if it has fewer for its weight, both as things stand and with the
// call added. So traffic follows the weights exactly while there is little of
// it, and calls in flight follow them when there is much. Of equals the one
// drawn first is taken.
type LeastRequest struct {
	// Choices is how many different endpoints are drawn, from 2 to 10; of
	// fewer all. Zero means 2. More choices follow load closer, and are
	// closer to all callers falling on the same idle endpoint.
	Choices int
}

const (
	defaultChoices = 2
	maxChoices     = 10
	// maxDraws bounds what a pick spends on endpoints that it is to avoid.
	maxDraws = 16
)

// New implements Policy.
func (p LeastRequest) New(Env) Balancer {
	if p.Choices == 0 {
		p.Choices = defaultChoices
	}
	return leastRequest{choices: min(max(1, p.Choices), maxChoices)}
}

// Validate implements Policy.
func (p LeastRequest) Validate() error {
	if p.Choices != 0 && (p.Choices < 2 || p.Choices > maxChoices) {
		return fmt.Errorf("choices: %d is not from 2 to %d", p.Choices, maxChoices)
	}
	return nil
}

type leastRequest struct{ choices int }

// Update implements Balancer.
func (b leastRequest) Update(eps []*endpoint.Endpoint) Picker {
	ms := members(eps)
	return &leastRequestPicker{members: ms, lots: newLots(ms), choices: b.choices}
}

type leastRequestPicker struct {
	members []member
	lots    lots
	choices int
}

// Pick implements Picker.
func (p *leastRequestPicker) Pick(q Query) *endpoint.Endpoint {
	n := len(p.members)
	if n == 1 {
		return p.members[0].ep
	}
	r := random{q.Draw}
	// best is the best of those that are not avoided, found counts them;
	// avoided is the best of the others, for when there is nothing else.
	var best, avoided *member
	var inFlight, avoidedInFlight int64
	found := 0
	var buf [maxDraws]uint32
	for drawn := buf[:0]; found < p.choices && len(drawn) < min(n, maxDraws); {
		var i uint32
		i, drawn = p.draw(&r, drawn)
		m := &p.members[i]
		k := m.ep.InFlight()
		if len(q.Avoid) > 0 && q.Avoids(m.ep) {
			if avoided == nil || lighter(m, k, avoided, avoidedInFlight) {
				avoided, avoidedInFlight = m, k
			}
			continue
		}
		found++
		if best == nil || lighter(m, k, best, inFlight) {
			best, inFlight = m, k
		}
	}
	if best != nil {
		return best.ep
	}
	if ep := other(p.members, &q); ep != nil {
		return ep
	}
	return avoided.ep
}

// draw returns a member that is not among those drawn before, which are
// sorted, and adds it to them. Who was drawn already is replaced by any of
// the others, each as likely: with equal weights every draw is then uniform
// among those that are left.
func (p *leastRequestPicker) draw(r *random, drawn []uint32) (uint32, []uint32) {
	i := p.lots.draw(r)
	at, again := place(drawn, i)
	if again {
		i = uint32(r.below(uint64(len(p.members) - len(drawn))))
		for at = 0; at < len(drawn) && drawn[at] <= i; at++ {
			i++
		}
	}
	drawn = append(drawn, 0)
	copy(drawn[at+1:], drawn[at:])
	drawn[at] = i
	return i, drawn
}

func place(sorted []uint32, v uint32) (at int, found bool) {
	for at < len(sorted) && sorted[at] < v {
		at++
	}
	return at, at < len(sorted) && sorted[at] == v
}

// lighter reports whether a, with i calls in flight, should take the place of
// b, with j.
func lighter(a *member, i int64, b *member, j int64) bool {
	wa, wb := int64(a.weight), int64(b.weight)
	return i*wb < j*wa && (i+1)*wb < (j+1)*wa
}

// lots draws members in proportion to their weights, at the same cost for any
// number of them: the alias method of Walker (1977), in the form of Vose
// (1991), in whole numbers.
type lots struct {
	n uint64
	// alias is nil if the weights are equal.
	alias []lot
}

// lot is one of n equal parts of the whole: up to keep, in parts of 2⁶⁴, it
// belongs to the member of the same index, the rest of it to other.
type lot struct {
	keep  uint64
	other uint32
}

func newLots(ms []member) lots {
	l := lots{n: uint64(len(ms))}
	var total uint64
	equal := true
	for i := range ms {
		total += uint64(ms[i].weight)
		equal = equal && ms[i].weight == ms[0].weight
	}
	if equal {
		return l
	}
	// A lot holds total, a member brings its weight times n.
	l.alias = make([]lot, len(ms))
	left := make([]uint64, len(ms))
	var small, large []uint32
	for i := range ms {
		left[i] = uint64(ms[i].weight) * l.n
		if left[i] < total {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 {
		s, g := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		keep, _ := bits.Div64(left[s], 0, total)
		l.alias[s] = lot{keep, g}
		if left[g] -= total - left[s]; left[g] < total {
			large = large[:len(large)-1]
			small = append(small, g)
		}
	}
	for _, g := range large {
		l.alias[g] = lot{^uint64(0), g}
	}
	return l
}

func (l *lots) draw(r *random) uint32 {
	i, part := bits.Mul64(r.word(), l.n)
	if l.alias != nil {
		if a := &l.alias[i]; part >= a.keep {
			return a.other
		}
	}
	return uint32(i)
}
