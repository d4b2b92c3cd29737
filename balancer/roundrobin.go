package balancer

import (
	"math"
	"math/bits"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/endpoint"
)

// RoundRobin gives each endpoint its turn, as often as its weight says, and
// spreads the turns of each evenly: in any row of picks an endpoint has less
// than two more or two fewer than its share. It begins at a random place, so
// that many processes do not fall on the same endpoint at once, and an update
// goes on from where the one before had come to, so that no endpoint is
// passed over or favoured, however often the set changes.
//
// An endpoint that a query avoids loses its turn.
//
// Proportions are exact as long as the weights, divided by their greatest
// common divisor, add up to no more than 65,536 or eight for each endpoint.
// Beyond that they are rounded to parts of that sum, to at least one.
type RoundRobin struct{}

// New implements Policy.
func (RoundRobin) New(env Env) Balancer {
	b := &roundRobin{}
	seed := random{env.Seed}
	b.phase.Store(seed.word())
	return b
}

// Validate implements Policy. There is nothing to get wrong.
func (RoundRobin) Validate() error { return nil }

// roundRobin holds how far into the cycle the turn has come, in parts of
// 2⁶⁴. Kept so, and not as an index, it means the same to every set. All its
// pickers move the same phase.
type roundRobin struct {
	_     [64]byte // the one word that all picks write has its cache line
	phase atomic.Uint64
	_     [64]byte
}

// Update implements Balancer.
func (b *roundRobin) Update(eps []*endpoint.Endpoint) Picker {
	p := &roundRobinPicker{phase: &b.phase, members: members(eps)}
	weights := make([]uint32, len(eps))
	for i := range p.members {
		weights[i] = p.members[i].weight
	}
	p.turns = turns(weights)
	p.cycle = uint64(len(p.turns))
	if p.turns == nil {
		p.cycle = uint64(len(eps))
	}
	// Rounded up by less than 1, so that a cycle ends early by less than
	// cycle²/2⁶⁴ of a turn.
	p.step = math.MaxUint64/p.cycle + 1
	return p
}

type roundRobinPicker struct {
	phase   *atomic.Uint64
	step    uint64 // one turn, in parts of 2⁶⁴ of the cycle
	cycle   uint64 // turns
	members []member
	turns   []uint32 // who has the turn; nil if each has one, in order
}

// maxSkips is how many turns of avoided endpoints a pick passes over before
// it takes any other endpoint. There are more only where one endpoint
// outweighs the rest by far.
const maxSkips = 8

// Pick implements Picker.
func (p *roundRobinPicker) Pick(q Query) *endpoint.Endpoint {
	first := p.next()
	if len(q.Avoid) == 0 || !q.Avoids(first) {
		return first
	}
	for range min(maxSkips, p.cycle-1) {
		if ep := p.next(); !q.Avoids(ep) {
			return ep
		}
	}
	if ep := other(p.members, &q); ep != nil {
		return ep
	}
	return first
}

func (p *roundRobinPicker) next() *endpoint.Endpoint {
	// With a cycle of one the step is 2⁶⁴, which is 0, and so is the turn.
	turn, _ := bits.Mul64(p.phase.Add(p.step)-p.step, p.cycle)
	if p.turns != nil {
		turn = uint64(p.turns[turn])
	}
	return p.members[turn].ep
}
