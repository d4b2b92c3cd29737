package balancer

import (
	"fmt"

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
		i, drawn = p.lots.another(&r, drawn)
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

// lighter reports whether a, with i calls in flight, should take the place of
// b, with j.
func lighter(a *member, i int64, b *member, j int64) bool {
	wa, wb := int64(a.weight), int64(b.weight)
	return i*wb < j*wa && (i+1)*wb < (j+1)*wa
}
